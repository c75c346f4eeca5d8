"""The way of CoAP messages to a device: one connected socket each, plain or inside DTLS, under aiocoap's message layer.

The socket is connected, so the kernel drops what comes from any other address or port. A channel never changes what it is: one that was made
for OSCORE refuses a message without it, one for DTLS knows no other way out. There is no transport to fall back to.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from aiocoap import error, interfaces
from aiocoap.message import Message
from aiocoap.numbers.codes import EMPTY, Code

from agent.driver import DeviceUnreachable, DriverError
from drivers.coap.dtls import TICK, DtlsEndedError, Session
from drivers.coap.keys import Address, DtlsKey, Key

log = logging.getLogger(__name__)

Heard = Callable[["Channel", bytes], None]
Broken = Callable[["Channel", Exception], None]


class InTheClearError(DriverError):
    """A message for a protected device was about to leave unprotected. It did not."""


class Channel(interfaces.EndpointAddress, asyncio.DatagramProtocol):  # type: ignore[misc]  # aiocoap is not typed
    """The socket of one device. aiocoap takes it as the remote of messages, and tells one from another by identity."""

    is_multicast = is_multicast_locally = False
    maximum_block_size_exp = 6  # 1024 bytes
    scheme, hostinfo, uri_base, uri_base_local, hostinfo_local = "coap", "", "", "", ""
    blockwise_key = 0

    def __init__(self, address: Address, key: Key | None, heard: Heard, broken: Broken) -> None:
        self.address = address
        self.hostinfo = str(address)
        self.scheme = "coaps" if isinstance(key, DtlsKey) else "coap"
        self._oscore = key is not None and not isinstance(key, DtlsKey)
        self._dtls = isinstance(key, DtlsKey)
        self._key = key
        self._heard, self._broken = heard, broken
        self._transport: asyncio.DatagramTransport | None = None
        self._session: Session | None = None
        self._ready: asyncio.Event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    async def open(self, limit: float) -> None:
        """Connect, and shake hands where there is DTLS. Raises DeviceUnreachable within `limit` seconds."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                await loop.create_datagram_endpoint(
                    lambda: self, remote_addr=(self.address.host, self.address.port), proto=socket.IPPROTO_UDP
                )
                if self._dtls:
                    self._shake_hands()
                    await self._ready.wait()
        except TimeoutError:
            raise self._no_handshake() from None
        except OSError as problem:
            text = f"{self.address} cannot be reached: {problem.strerror or problem}"
            raise DeviceUnreachable(text) from problem
        finally:
            if not self._usable():
                self.close()
        if self.closed:
            raise self._no_handshake()

    def _usable(self) -> bool:
        return self._transport is not None and not self.closed and (not self._dtls or self._ready.is_set())

    def _no_handshake(self) -> DeviceUnreachable:
        if self._session is not None and self._session.answered and isinstance(self._key, DtlsKey):
            text = f"{self.address} does not take the key of identity {self._key.identity!r}: the DTLS handshake stops at its proof"
            return DeviceUnreachable(
                text, remedy="compare identity and key with the device's, and add it again with --auth"
            )
        return DeviceUnreachable(f"{self.address} does not answer")

    # ---- out ----------------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Put a message on the wire. Raises InTheClearError for one that this device must not be sent."""
        if self._oscore and message.code is not EMPTY and message.opt.oscore is None:
            raise InTheClearError(f"a message for {self.address} has no OSCORE protection: it is not sent")
        datagram = message.encode()
        if not self._dtls:
            self._write(datagram)
            return
        if self._session is None or not self._ready.is_set():
            return  # the session has ended; whoever waits for an answer is told so
        try:
            self._session.send(datagram)
        except DtlsEndedError as problem:
            self._end(problem)

    def _write(self, datagram: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(datagram)

    def close(self) -> None:
        """End the session and close the socket."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            self._session.close()
        if self._transport is not None:
            self._transport.close()
        self._ready.set()

    # ---- in -----------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, _addr: object) -> None:
        if self._session is None:
            self._heard(self, data)
            return
        try:
            self._session.take(data)
        except DtlsEndedError as problem:
            self._end(problem)
        else:
            if self._session.open:
                self._ready.set()

    def error_received(self, exc: Exception) -> None:
        self._broken(self, exc)

    def _shake_hands(self) -> None:
        assert isinstance(self._key, DtlsKey)  # noqa: S101  the caller has looked
        self._session = Session(self._key, self._write, lambda data: self._heard(self, data))
        self._session.start()
        self._tick()

    def _tick(self) -> None:
        if self._session is None or self._ready.is_set():
            return
        try:
            self._session.repeat()
        except DtlsEndedError as problem:
            self._end(problem)
        else:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _end(self, problem: Exception) -> None:
        self.close()
        self._broken(self, problem)


class Outward(interfaces.MessageInterface):  # type: ignore[misc]  # aiocoap is not typed
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
