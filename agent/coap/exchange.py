"""One request and its whole answer over a channel; aiocoap cuts both into blocks (RFC 7959)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiocoap import error
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.constants import TransportTuning
from aiocoap.pipe import Pipe
from aiocoap.protocol import BlockwiseRequest

from agent.coap.channel import Channel
from agent.coap.messages import Messenger

TEXT, OCTETS, JSON, CBOR = 0, 42, 50, 60  # content formats (RFC 7252, 12.3; RFC 8949, 9.4)
MOST_BLOCKS = 1024  # of a request and its answer together: a mebibyte at most


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: `ack` before the first repetition, `response` after the last one for an answer that comes apart from its acknowledgement."""

    ack: float = 2.0  # RFC 7252, 4.8, as the number of repetitions
    repetitions: int = 4
    response: float = 30.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `path` begins with /, and is given as it is, not percent-encoded."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    content_format: int | None = None
    accept: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `code` as 205 for 2.05; `max_age` in seconds, None where it is not told."""

    code: int
    body: bytes = field(repr=False)
    content_format: int | None
    max_age: int | None


class NoAnswerError(Exception):
    """Nothing came, the peer rejects the message, or the channel broke: the request may have been carried out."""


class NoSenseError(Exception):
    """The blocks of an answer do not fit together, or are too many."""


async def exchange(messenger: Messenger, channel: Channel, ask: Ask, timing: Timing) -> Reply:
    """Raises NoAnswerError, NoSenseError."""
    message = Message(code=Code[ask.method], payload=ask.body)
    message.remote = channel
    message.opt.uri_path = tuple(ask.path.strip("/").split("/"))
    message.opt.uri_query = tuple(f"{name}={value}" for name, value in ask.query.items())
    if ask.content_format is not None:
        message.opt.content_format = ask.content_format
    if ask.accept is not None:
        message.opt.accept = ask.accept
    requests = _Requests(messenger, timing)
    try:
        async with asyncio.timeout(requests.limit) as requests.deadline:
            answer = await BlockwiseRequest(requests, message).response
    except TimeoutError:
        raise NoAnswerError("it took the request and did not answer in time") from None
    except error.MessageError:
        raise NoAnswerError("it rejects the message (reset)") from None
    except error.NetworkError as problem:
        raise NoAnswerError(str(problem) or "it does not acknowledge") from None
    except error.LibraryShutdown:
        raise NoAnswerError("the client is closed") from None
    except (error.Error, ValueError) as problem:
        raise NoSenseError(f"the blocks do not fit together ({type(problem).__name__})") from None
    code = int(answer.code)
    return Reply((code >> 5) * 100 + (code & 31), bytes(answer.payload), answer.opt.content_format, answer.opt.max_age)


class _Requests:
    """What aiocoap's transfer in blocks takes for its context: each block is a request of its own, and has the whole time."""

    def __init__(self, messenger: Messenger, timing: Timing) -> None:
        self.log, self.loop = messenger.log, messenger.loop
        self._messenger = messenger
        self._tuning = TransportTuning()
        self._tuning.ACK_TIMEOUT, self._tuning.MAX_RETRANSMIT = timing.ack, timing.repetitions
        self.limit: float = self._tuning.MAX_TRANSMIT_WAIT + timing.response
        self.deadline: asyncio.Timeout | None = None
        self._left = MOST_BLOCKS

    async def find_remote_and_interface(self, message: Message) -> None:
        """The message has its channel."""

    def request(self, message: Message, handle_blockwise: bool = False) -> SimpleNamespace:  # noqa: ARG002, FBT001, FBT002  the library's signature
        """Send one block; `response` is a future. Not aiocoap's Request: one that was given up fails when something still comes."""
        self._left -= 1
        if self._left < 0:
            raise error.UnexpectedBlock2
        if self.deadline is not None:
            self.deadline.reschedule(self.loop.time() + self.limit)
        message.transport_tuning = self._tuning
        pipe, done = Pipe(message, self.log), self.loop.create_future()

        def event(happened: Any) -> bool:
            if not done.done() and happened.exception is not None:
                done.set_exception(happened.exception)
            elif not done.done():
                done.set_result(happened.message)
            return not happened.is_last

        stop = pipe.on_event(event)
        done.add_done_callback(lambda _: stop())
        self._messenger.send(pipe)
        return SimpleNamespace(response=done)
