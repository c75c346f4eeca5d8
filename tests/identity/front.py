"""A front before a real broker that treats each connection as it is told: it says nothing, refuses, throws out, or passes on."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from certificates import Authority

Mode = str | int  # a word of `_treat`, or CONNACK's reason code
CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x20, 0x32, 0x40, 0x82, 0x90


class Front:
    """`treat(certificate_id)`: what happens to a connection; the id is "" before TLS. `seen`: what happened to each."""

    def __init__(self, authority: Authority, behind: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.issue("front"))
        self._context.load_verify_locations(authority.ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._behind = behind
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.silent = 0  # so many connections get no answer to their first byte
        self.treat: Callable[[str], Mode] = lambda _certificate: "pass"
        self.seen: list[tuple[str, Mode]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection that is open."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            if self.silent > 0:
                self.silent -= 1
                self.seen.append(("", "nothing"))
                await asyncio.Event().wait()
            await writer.start_tls(self._context)
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            certificate = hashlib.sha256(der).hexdigest()
            mode = self.treat(certificate)
            self.seen.append((certificate, mode))
            await self._treat(mode, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            self._tasks.discard(task)

    async def _treat(self, mode: Mode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if mode == "pass":
            await self._pass(reader, writer)
            return
        if mode == "silent":
            await asyncio.Event().wait()
        _, connect = await _packet(reader)
        new = connect[6] == 5
        code = mode if isinstance(mode, int) else 0
        writer.write(bytes([CONNACK, 3, 0, code, 0]) if new else bytes([CONNACK, 2, 0, 5 if code else 0]))
        await writer.drain()
        if mode == "half":
            await asyncio.Event().wait()
        if mode == "kick":
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):  # time for all that a hub subscribes to
                    while True:
                        _answer(*await _packet(reader), writer, new=new)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        self._open.add(far_writer)
        try:
            pipes = [asyncio.create_task(_pipe(reader, far_writer)), asyncio.create_task(_pipe(far_reader, writer))]
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
        finally:
            far_writer.transport.abort()
            self._open.discard(far_writer)


def _answer(kind: int, packet: bytes, writer: asyncio.StreamWriter, *, new: bool) -> None:
    """SUBACK, and PUBACK at QoS 1."""
    none = b"\0" if new else b""  # of MQTT 5's properties
    if kind == SUBSCRIBE:
        rest, topics = packet[2 + len(none) :], 0
        while rest:
            rest, topics = rest[3 + int.from_bytes(rest[:2]) :], topics + 1
        body = packet[:2] + none + bytes([1] * topics)
        writer.write(bytes([SUBACK, len(body)]) + body)
    elif kind & 0xF6 == PUBLISH:
        length = int.from_bytes(packet[:2])
        writer.write(bytes([PUBACK, 2]) + packet[2 + length : 4 + length])


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return kind, await reader.readexactly(length)
