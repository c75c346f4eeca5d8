"""Updates that nobody has signed, for an owner whose configuration says that anyone may replace the firmware. Blocking.

A job names a file and nobody's word of it. What it is is found out by fetching it: a release of this one file is made here, for this hub
alone, and carried out like any other, on trial and with the way back. It raises no floor, and nothing of it is for devices.
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from agent.cloud.rest_answer import Answer, failure
from agent.cloud.rest_request import file_request
from agent.errors import TryAgainError
from agent.files import disk_trouble, make_folder, sync_folder
from agent.ota.documents import order
from agent.ota.http_get import Line
from agent.ota.manifest import CHUNK, Release
from agent.ota.readback import BLOCK
from agent.ota.refusals import TooLargeError
from agent.ota.signatures import Envelope
from agent.ota.source import FetchPolicy

MOST = 1 << 30  # bytes of such a file, where the job does not say
_CHUNKS = 512  # hashes that such a release has at most: it is to stay as small as others
_PAGE, _LONGEST = 4096, 64  # bytes; characters of a version
_KINDS = {".raucb": "rauc", ".swu": "command", ".mender": "command", ".whl": "agent"}  # the rest: a tree of the agent
_REFUSED = 300
_NO_END = "2099-12-31T00:00:00Z"


def made(url: str, document: Mapping[str, Any], folder: Path, policy: FetchPolicy) -> bytes:
    """The file at `url`, fetched into `folder`, and an envelope without signatures that says what it is.

    Raises RestError, TryAgainError, TooLargeError, StorageError.
    """
    ending = next((one for one in _KINDS if urlsplit(url).path.endswith(one)), "")
    told = document.get("fileSize")
    most = told if isinstance(told, int) and 0 < told <= MOST else MOST
    with disk_trouble(), _beginning(folder) as (path, file):
        size, place = _fetched(url, policy, most, file), urlsplit(url).path
        if not size or (told and size != told):
            text = f"{size} bytes came, and the job says {told}" if told else "the file is empty"
            raise TryAgainError(text, place=place, remedy="see what was uploaded")
        whole, chunk, chunks = _hashes(path, size)
        path.replace(folder / whole)  # as a download has it, which then finds all of it there
        sync_folder(folder)
    said = {"name": f"unsigned{ending}", "size": size, "sha256": whole, "chunk_size": chunk, "chunks": chunks}
    version, kind = _version(document.get("version")), _KINDS.get(ending, "agent")
    component = {"name": kind, "kind": kind, "version": version, "files": [said], "hub": {"boards": ["*"]}}
    release = {
        "type": "release",
        "schema_version": 1,
        "product": "unsigned",
        "release": version,
        "number": 1,
        "created": "2026-01-01T00:00:00Z",
        "expires": _NO_END,
        "components": [component],
    }
    payload = Release.model_validate(release).encoded()
    return Envelope(payload=base64.b64encode(payload).decode(), signatures=()).encoded()


@contextmanager
def _beginning(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A file under a name of its own; what is left of it in the end is of no use."""
    make_folder(folder)
    path = folder / "unsigned.part"
    try:
        with path.open("wb") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def _fetched(url: str, policy: FetchPolicy, most: int, file: BinaryIO) -> int:
    """How many bytes came, on the disk."""
    line, buffer, done = Line(policy), memoryview(bytearray(BLOCK)), 0
    with line.get(file_request(url, plain=policy.plain_http), {}) as (head, response):
        if head.status >= _REFUSED:
            raise failure(Answer(head.status, head.headers, b"", head.place), wait=None)
        while response.length != 0:
            count = line.read(response, buffer)
            done += count
            if done > most:
                remedy = "ask who made the job: such a file is smaller"
                raise TooLargeError(f"more than {most} bytes", place=head.place, remedy=remedy)
            file.write(buffer[:count])
    file.flush()
    os.fsync(file.fileno())
    return done


def _hashes(path: Path, size: int) -> tuple[str, int, list[str]]:
    """Of the whole, bytes of a chunk, of each chunk."""
    chunk = max(CHUNK, -(-size // _CHUNKS // _PAGE) * _PAGE)
    whole, chunks = hashlib.sha256(), []
    with path.open("rb") as file:
        while data := file.read(chunk):
            whole.update(data)
            chunks.append(hashlib.sha256(data).hexdigest())
    return whole.hexdigest(), chunk, chunks


def _version(given: Any) -> str:
    """The job's own word of it, where there is one that can be compared."""
    text = str(given)[:_LONGEST]
    try:
        order(text)
    except ValueError:
        return "0"
    return text
