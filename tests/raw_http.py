"""A small raw HTTP server for faults that no web framework sends: each request takes the next step of a script."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

Write = asyncio.StreamWriter
Step = bytes | Callable[["Asked", Write], Awaitable[None]]


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = field(repr=False)


def answer(status: int, body: bytes = b"", *headers: str, length: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class RawHttp:
    """Serves on loopback. The last step of `script` is repeated; an empty script closes the connection."""

    def __init__(self, *script: Step, tls: ssl.SSLContext | None = None) -> None:
        self.script, self._tls = list(script), tls
        self.asked: list[Asked] = []
        self.open = asyncio.Event()  # set at the end: what waits for it ends

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.open.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: Write) -> None:
        try:
            while (asked := await _request(reader)) is not None:
                self.asked.append(asked)
                step: Step = b""
                if self.script:
                    step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                else:
                    await step(asked, writer)
                if not step or writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has gone, which some faults are made for
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    place = urlsplit(target)
    return Asked(method, place.path, dict(parse_qsl(place.query)), headers, body)
