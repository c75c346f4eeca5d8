"""A file server on loopback with good manners and bad ones: threads and plain sockets, since no framework sends what these send.

A manner is a function of one request. What it does not send itself it leaves to `good`, which is a correct server with ranges.
"""

import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Self

from agent.ota.fetch import Fetch, FetchPolicy, Source

LIMITS: dict[str, Any] = {"connect": 2.0, "head": 0.2, "stall": 0.2, "unsynced": 16_384}
TAG = '"one"'
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that look like chance, the same each time."""
    found = b"".join(hashlib.sha256(f"{seed}/{n}".encode()).digest() for n in range(size // 32 + 1))
    return found[:size]


def source(data: bytes, *urls: str, chunk: int = 4096, mapped: bool = True) -> Source:
    hashes = [hashlib.sha256(data[n : n + chunk]).hexdigest() for n in range(0, len(data), chunk)]
    return Source(urls, len(data), hashlib.sha256(data).hexdigest(), chunk, tuple(hashes) if mapped else ())


async def download(
    path: Path,
    data: bytes,
    *urls: str,
    mapped: bool = True,
    chunk: int = 4096,
    options: dict[str, Any] | None = None,
    **policy: Any,
) -> tuple[Fetch, list[float]]:
    """A download of `data` that has ended well, and its pauses, which take no time."""
    pauses: list[float] = []
    limits = FetchPolicy(**{**LIMITS, **policy})
    given = {"random": Random(6), "pause": pauses.append, **(options or {})}
    with Fetch(source(data, *urls, chunk=chunk, mapped=mapped), path, limits, **given) as made:
        await made.run()
        with made.take() as file:
            assert file.read() == data
    assert path.read_bytes() == data
    return made, pauses


class Talk:
    """One request, and the connection that it came on."""

    def __init__(self, connection: socket.socket, path: str, headers: dict[str, str], number: int) -> None:
        self.connection, self.path, self.headers, self.number = connection, path, headers, number

    @property
    def offset(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else 0

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: int, *headers: str, reason: str = "X") -> None:
        self.send("\r\n".join([f"HTTP/1.1 {status} {reason}", *headers, "", ""]).encode())

    def reset(self) -> None:
        """End the connection as a firewall does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()


Manner = Callable[["Server", Talk], None]


class Server:
    """Serves `data` in a manner. `asked` has the requests."""

    def __init__(self, data: bytes, manner: Manner | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.data, self.manner, self.tls = data, manner or good, tls
        self.tag = TAG
        self.asked: list[Talk] = []
        self.over = threading.Event()
        self.raw: Manner | None = None  # of a connection, before anything is read
        self.other = ""  # another server's URL
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def body(self, talk: Talk, start: int, end: int, data: bytes | None = None) -> None:
        """Bytes of the file, in small pieces, so that a client that leaves is seen."""
        view = memoryview(self.data if data is None else data)
        for at in range(start, end, 65536):
            piece = view[at : min(end, at + 65536)]
            talk.connection.sendall(piece)

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        self._connections.append(connection)
        with suppress(OSError, ssl.SSLError, ValueError):  # the client has gone, which some manners are made for
            if self.raw is not None:
                self.raw(self, Talk(connection, "", {}, 0))
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            self._answer(connection)
        with suppress(OSError):
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = connection.recv(4096)
            if not piece:
                return
            head += piece
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        talk = Talk(connection, first.split(" ")[1], headers, len(self.asked) + 1)
        self.asked.append(talk)
        self.manner(self, talk)


def good(server: Server, talk: Talk, *headers: str, data: bytes | None = None) -> None:
    """A correct answer, to a range as well."""
    data = server.data if data is None else data
    size, told = len(data), (f"ETag: {server.tag}", "Connection: close", *headers)
    condition = talk.headers.get("if-range", server.tag)
    if "range" not in talk.headers or condition != server.tag:
        talk.head(200, f"Content-Length: {size}", *told)
        server.body(talk, 0, size, data)
    elif talk.offset >= size:
        talk.head(416, f"Content-Range: bytes */{size}", "Content-Length: 0", *told)
    else:
        part = f"Content-Range: bytes {talk.offset}-{size - 1}/{size}"
        talk.head(206, part, f"Content-Length: {size - talk.offset}", *told)
        server.body(talk, talk.offset, size, data)


def cut(manner: Manner, after: int, *, times: int = 1 << 30, reset: bool = False) -> Manner:
    """The first `times` answers end `after` bytes of the body."""

    def cutting(server: Server, talk: Talk) -> None:
        if talk.number > times:
            manner(server, talk)
            return
        inner = _Cut(talk, after)
        with suppress(EOFError):
            manner(server, inner)
        if reset:
            talk.reset()

    return cutting


class _Cut(Talk):
    """A talk whose connection ends after so many bytes of the body."""

    def __init__(self, talk: Talk, after: int) -> None:
        super().__init__(talk.connection, talk.path, talk.headers, talk.number)
        self._whole, self._left, self.connection = talk.connection, after, self  # type: ignore[assignment]

    def sendall(self, data: bytes) -> None:
        self._whole.sendall(data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            raise EOFError

    def head(self, status: int, *headers: str, reason: str = "X") -> None:
        self._whole.sendall("\r\n".join([f"HTTP/1.1 {status} {reason}", *headers, "", ""]).encode())


def tls_server(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
