"""Bodies of REST calls: what is sent and can be sent again, and where an answer goes, with its bounds."""

import asyncio
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from agent.errors import HubError
from agent.files import sync_folder

_GZIP_OR_ZLIB = 47  # zlib: window of 32 KiB, the form found out by its header
_STEP = 65_536
_MEMBERS = 64  # of one gzip stream: more is an attack on the time


class TooMuchError(HubError):
    """An answer is larger than its limit, also after decompression."""


class EncodingError(HubError):
    """An answer's content encoding is unknown or damaged."""


class NotReadError(HubError):
    """A file that was to be sent cannot be read."""


class NotWrittenError(HubError):
    """A download cannot be written; what was there before is still there."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a multipart form: its content, or the file that holds it (read anew for every attempt)."""

    content: bytes | Path = field(repr=False)
    name: str
    kind: str = "application/octet-stream"


class Sink(Protocol):
    """Where the body of a successful answer goes. Every attempt begins anew."""

    limit: int  # bytes

    def begin(self) -> None: ...

    async def write(self, data: bytes) -> None: ...


class Memory:
    """Keeps a body of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._parts: list[bytes] = []

    def begin(self) -> None:
        self._parts.clear()

    async def write(self, data: bytes) -> None:
        self._parts.append(data)

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)


class Download:
    """A file that is there whole or not at all: written beside, synced, renamed. A context manager, which leaves nothing behind.

    Its methods raise NotWrittenError. `size` and `sha256` are those of what was written.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit
        self.size, self._hash = 0, hashlib.sha256()
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._temporary.unlink(missing_ok=True)

    def begin(self) -> None:
        with self._telling():
            self._close()
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.fdopen(os.open(self._temporary, flags, 0o600), "wb")
            self.size, self._hash = 0, hashlib.sha256()

    async def write(self, data: bytes) -> None:
        with self._telling():
            await asyncio.to_thread(self._write, data)  # an SD card may take seconds

    async def commit(self) -> None:
        """Make it the file."""
        with self._telling():
            await asyncio.to_thread(self._commit)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
            self._hash.update(data)
            self.size += len(data)

    def _commit(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._close()
            self._temporary.replace(self.path)
            sync_folder(self.path.parent)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = "check the free space, and that the agent may write to the folder"
            raise NotWrittenError(f"cannot be written: {error.strerror}", place=str(self.path), remedy=remedy) from None

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Decoder:
    """Takes the content encoding off, in steps of bounded size. Raises EncodingError and TooMuchError."""

    def __init__(self, encoding: str, limit: int) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise EncodingError("the answer's content encoding is none of gzip and deflate")
        self._packed = name not in ("", "identity")
        self._limit, self.size, self._members = limit, 0, 1
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes hold, in pieces that together never pass the limit."""
        if not self._packed:
            yield self._counted(data)
            return
        while data:  # what zlib still holds comes with the next bytes: a trailer follows the last
            try:
                piece = self._zlib.decompress(data, _STEP)
            except zlib.error as error:
                raise EncodingError(f"the answer's compression is damaged: {error}") from None
            yield self._counted(piece)
            data = self._zlib.unconsumed_tail
            if self._zlib.eof and (data := self._zlib.unused_data):
                self._next_member()

    def end(self) -> None:
        """The body is over. Raises EncodingError when it ends inside."""
        if self._packed and self.size and not self._zlib.eof:
            raise EncodingError("the answer's compression ends in the middle")

    def _next_member(self) -> None:
        self._members += 1
        if self._members > _MEMBERS:
            raise EncodingError("the answer's compression has too many members")
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)

    def _counted(self, piece: bytes) -> bytes:
        self.size += len(piece)
        if self.size > self._limit:
            raise TooMuchError(f"the answer is larger than {self._limit} bytes")
        return piece
