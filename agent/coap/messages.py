"""aiocoap's two lower layers over channels: messages, their repetition and acknowledgement, and tokens (RFC 7252, 4 and 5.3).

A request that nobody waits for any more is not repeated: what it asks for must not be done after its caller was told that it was not.
"""

import asyncio
import logging
import secrets
from types import SimpleNamespace
from typing import Any

from aiocoap import error, interfaces
from aiocoap.message import Message
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.codes import EMPTY, Code
from aiocoap.numbers.types import ACK, RST
from aiocoap.pipe import Pipe
from aiocoap.tokenmanager import TokenManager

from agent.coap.channel import Channel
from agent.errors import HubError

log = logging.getLogger(__name__)

TOKEN = 8  # bytes: nobody guesses it


class Messenger:
    """The messages of any number of channels; `name` is the logger's."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.log = logging.getLogger(name)
        self.log.setLevel(logging.ERROR)  # a peer's mistakes are no news; what they lead to is told
        context = SimpleNamespace(log=self.log, loop=self.loop, client_credentials=None, render_to_pipe=_refuse)
        self._tokens = _Tokens(context)
        self._messages = _Messages(self._tokens)
        self._messages.message_interface = _Outward()
        self._tokens.token_interface = self._messages

    async def close(self) -> None:
        await self._tokens.shutdown()

    def heard(self, channel: Channel, datagram: bytes) -> None:
        """A datagram of a peer."""
        message = decode(channel, datagram)
        if message is not None:
            self._messages.dispatch_message(message)

    def broken(self, channel: Channel, problem: Exception) -> None:
        """The network says that the peer is not there (ICMP), or its session has ended."""
        self._messages.dispatch_error(error.NetworkError(str(problem)), channel)

    def send(self, pipe: Pipe, token: bytes = b"") -> None:
        """Send the request of a pipe to its remote; the pipe hears what comes of it. Its token is drawn where none is given."""
        self._tokens.send(pipe, token or secrets.token_bytes(TOKEN))


class _Tokens(TokenManager):  # type: ignore[misc]  # aiocoap is not typed
    """aiocoap counts its tokens up: who has seen one knows the next. Ours are drawn, or given."""

    def send(self, pipe: Pipe, token: bytes) -> None:
        if self.outgoing_requests is None:
            pipe.add_exception(error.LibraryShutdown())
            return
        message = pipe.request
        message.token = token
        key = (token, message.remote)
        self.outgoing_requests[key] = pipe

        def over() -> None:
            if self.outgoing_requests is not None and self.outgoing_requests.get(key) is pipe:
                del self.outgoing_requests[key]
            self.token_interface.forget(message)

        pipe.on_interest_end(over)
        try:
            self.token_interface.send_message(message, lambda: pipe.add_exception(error.MessageError()))
        except (HubError, OSError) as problem:
            pipe.add_exception(problem)


class _Messages(MessageManager):  # type: ignore[misc]  # aiocoap is not typed
    """aiocoap goes on with a message whose sender has given up; here it ends with the interest in its answer."""

    def dispatch_message(self, message: Message) -> None:
        """An acknowledgement or reset is of a message under way, and what answers in it has that one's token (RFC 7252, 4.2 and 5.3.2).

        aiocoap believes an answer with the right token and another id, and lets one with the right id and another token end the repetition.
        """
        if self._active_exchanges is None:
            return
        ends, remote = message.mtype in (ACK, RST), message.remote
        foreign = message.code is not EMPTY and (message.token, remote) not in self.token_manager.outgoing_requests
        if ends and (foreign or (remote, message.mid) not in self._active_exchanges):
            log.debug("%s: message %d is nobody's", remote.hostinfo, message.mid)
            return
        super().dispatch_message(message)

    def forget(self, message: Message) -> None:
        if self._active_exchanges is None:
            return
        remote = message.remote
        waiting = self._backlogs.get(remote)
        if waiting:
            self._backlogs[remote] = [entry for entry in waiting if entry[0] is not message]
        exchange = self._active_exchanges.pop((remote, message.mid), None)
        if exchange is not None:
            exchange[1].cancel()
            self._continue_backlog(remote)


class _Outward(interfaces.MessageInterface):  # type: ignore[misc]  # aiocoap is not typed
    """aiocoap's messages go to the channel that they name, and to no other."""

    def send(self, message: Message) -> None:
        message.remote.send(message)

    async def shutdown(self) -> None:
        """Channels are closed by their owners."""

    async def determine_remote(self, message: Message) -> None:  # noqa: ARG002  the library's signature
        return None

    async def recognize_remote(self, remote: interfaces.EndpointAddress) -> bool:
        return isinstance(remote, Channel)


def decode(channel: Channel | None, datagram: bytes) -> Message | None:
    """A response or an empty message; None for what is neither: we serve no requests."""
    try:
        message = Message.decode(datagram, remote=channel)
    except (error.UnparsableMessage, error.BadRequest, ValueError, IndexError) as problem:
        log.debug("what %s sends is no message: %s", channel and channel.hostinfo, problem)
        return None
    if not isinstance(message.code, Code) or message.code.is_request():
        return None
    return message


def _refuse(pipe: Any) -> None:
    raise AssertionError(f"a request came in: {pipe}")  # decode lets none pass
