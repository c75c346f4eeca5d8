"""The way of CoAP messages to one peer: a connected socket, plain or with DTLS inside, under aiocoap's message layer.

The socket is connected, so the kernel drops what comes from any other address or port. A channel never changes what it is: one with DTLS
knows no other way out.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from aiocoap import interfaces
from aiocoap.message import Message
from OpenSSL import SSL

from agent.coap.dtls import TICK, DtlsEndedError, Session
from agent.errors import TryAgainError

Heard = Callable[["Channel", bytes], None]
Broken = Callable[["Channel", Exception], None]


class NotOpenedError(TryAgainError):
    """The peer cannot be reached, does not answer, or no session comes about.

    `answered`: it has taken part in a handshake. `distrust`: why its certificate was refused, empty where it was not.
    """

    def __init__(self, message: str, *, answered: bool = False, distrust: str = "") -> None:
        super().__init__(message)
        self.answered, self.distrust = answered, distrust


class Channel(interfaces.EndpointAddress, asyncio.DatagramProtocol):  # type: ignore[misc]  # aiocoap is not typed
    """The socket of one peer. aiocoap takes it as the remote of messages, and tells one from another by identity.

    `heard` is told what the peer sends, `broken` that it is not there (ICMP), or that its session has ended.
    """

    is_multicast = is_multicast_locally = False
    maximum_block_size_exp = 6  # 1024 bytes
    maximum_payload_size = 1024  # with options and a record of DTLS around it, a datagram stays below its MTU
    scheme, hostinfo, uri_base, uri_base_local, hostinfo_local = "coap", "", "", "", ""
    blockwise_key = 0

    def __init__(
        self, host: str, port: int, dtls: Callable[[], SSL.Connection] | None, heard: Heard, broken: Broken
    ) -> None:
        self.hostinfo = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.scheme = "coap" if dtls is None else "coaps"
        self._to, self._dtls = (host, port), dtls
        self._heard, self._broken = heard, broken
        self._transport: asyncio.DatagramTransport | None = None
        self._session: Session | None = None
        self._ready: asyncio.Event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._why = ""
        self.closed = False

    async def open(self, limit: float) -> None:
        """Connect, and shake hands where there is DTLS. Raises NotOpenedError within `limit` seconds, and what `dtls` raises."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                await loop.create_datagram_endpoint(lambda: self, remote_addr=self._to, proto=socket.IPPROTO_UDP)
                if self._dtls is not None:
                    self._shake_hands(self._dtls())
                    await self._ready.wait()
        except TimeoutError:
            raise self._not_opened() from None
        except OSError as problem:
            text = f"{self.hostinfo} cannot be reached: {problem.strerror or problem}"
            raise NotOpenedError(text) from problem
        finally:
            if not self._usable():
                self.close()
        if self.closed:
            raise self._not_opened()

    def _usable(self) -> bool:
        return self._transport is not None and not self.closed and (self._dtls is None or self._ready.is_set())

    def _not_opened(self) -> NotOpenedError:
        if self._session is None or not self._session.answered:
            return NotOpenedError(f"{self.hostinfo} does not answer")
        text = f"{self.hostinfo}: the DTLS handshake fails{self._why and f': {self._why}'}"
        return NotOpenedError(text, answered=True, distrust=self._session.distrust)

    # ---- out ----------------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Put a message on the wire. After the end of the session nothing leaves; whoever waits for an answer is told of the end."""
        datagram = message.encode()
        if self._dtls is None:
            self._write(datagram)
        elif self._session is not None and self._ready.is_set():
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
            if self._dtls is None:
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

    def _shake_hands(self, connection: SSL.Connection) -> None:
        self._session = Session(connection, self._write, lambda data: self._heard(self, data))
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
        self._why = str(problem)
        self.close()
        self._broken(self, problem)
