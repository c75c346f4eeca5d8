"""What is fetched, and within which limits. PURE.

A chunk map makes every mebibyte verifiable as it comes: a damaged one is fetched again, not the file, and after a restart the disk itself
tells how far the download came.
"""

import re
from dataclasses import dataclass, field

from agent.ota.trouble import SourceError

MIB = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
LARGEST = 1 << 50  # bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes `start` to `end` (not included) of the file, and their SHA-256 in hex ("" where no map was given)."""

    number: int
    start: int
    end: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its mirrors, `size` in bytes, `sha256` in small hex, and the hash of each chunk of `chunk_size` bytes.

    The last chunk may be shorter. `chunks` is empty where nobody made a map: then the hash of the whole file decides, at the end.
    Raises SourceError.
    """

    urls: tuple[str, ...] = field(repr=False)  # the query of a presigned one is a signature
    size: int
    sha256: str
    chunk_size: int = MIB
    chunks: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        needed = -(-self.size // self.chunk_size) if self.chunk_size > 0 else 0
        wrong = ""
        if not self.urls:
            wrong = "there is no URL to fetch it from"
        elif not 0 < self.size <= LARGEST:
            wrong = f"its size is {self.size} bytes"
        elif any(_SHA256.fullmatch(text) is None for text in (self.sha256, *self.chunks)):
            wrong = "a hash is not 64 small hexadecimal digits"
        elif self.chunk_size < 1 or (self.chunks and len(self.chunks) != needed):
            wrong = f"{len(self.chunks)} chunks of {self.chunk_size} bytes do not make up {self.size} bytes"
        if wrong:
            raise SourceError(f"the file cannot be fetched: {wrong}", remedy="see the manifest, or the job's document")

    def chunk_at(self, offset: int) -> Chunk:
        """The chunk that holds byte `offset`; without a map the whole file is one. Raises IndexError past the end."""
        if not 0 <= offset < self.size:
            raise IndexError(offset)
        if not self.chunks:
            return Chunk(0, 0, self.size, "")
        number = offset // self.chunk_size
        start = number * self.chunk_size
        return Chunk(number, start, min(self.size, start + self.chunk_size), self.chunks[number])


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Limits of one download. Times in seconds on the monotonic clock, sizes in bytes.

    Plain HTTP goes to loopback; to any host only with `plain_http`, which is safe for the content where its hash was signed, but shows
    everybody on the way what this hub runs. A redirect never leads from HTTPS to plain HTTP, nor to plain HTTP off loopback.
    """

    bandwidth: int = 0  # bytes a second of this download, 0 without a limit
    total: float = 24 * 3600.0  # for the whole download, pauses and all
    connect: float = 10.0  # also for the TLS handshake
    head: float = 30.0  # from the request to the end of the answer's head
    stall: float = 60.0  # without a byte
    slowest: int = 16  # bytes a second, over `stall` seconds of waiting for the server
    first: float = 1.0  # the first pause, at most (full jitter)
    longest: float = 900.0  # one pause, at most; a server that asks for more is not asked again
    resumes: int = 20  # without a new byte
    chunk_tries: int = 3  # times that one chunk is fetched again
    strikes: int = 3  # answers of one mirror that cannot be used
    unsynced: int = 8 * MIB  # what may be written and not yet be on the disk, and so what a power cut can take
    ca: str = ""  # PEM file of the authorities, "" for the system's
    plain_http: bool = False
