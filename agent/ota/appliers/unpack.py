"""Unpacks what an update of the agent comes as: a wheel, or a tar of a tree with all its dependencies. Only plain files and folders.

Each file is written, synced, and read back; what it should hold is hashed from the archive, whose own hash is signed.
"""

import errno
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from agent.files import sync_folder
from agent.ota.appliers.contract import ApplierError, Progress

BLOCK = 1 << 16
MOST_FILES, MOST_MEMBERS, MOST_BYTES = 50_000, 60_000, 1 << 30  # members: with folders, all of which tarfile keeps
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
# For headers that make no sense, and encrypted entries.
_SENSELESS = (RuntimeError, ValueError, OverflowError, IndexError)
# Of an OSError that is the archive's fault and not the disk's. None: gzip's and bz2's own.
_NOT_THE_DISK = (None, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
Entry = tuple[str, int, bool, IO[bytes]]  # path, size, executable, content


def unpack(archive: BinaryIO, name: str, folder: Path, progress: Progress) -> dict[str, str]:
    """Unpack into `folder`, which is made: path -> SHA-256 of each file, as read back. Raises ApplierError, OSError."""
    folder.mkdir(mode=0o755)
    hashes: dict[str, str] = {}
    total = 0
    archive.seek(0)
    try:
        for path, size, executable, content in _entries(archive, name):
            total += size
            if len(hashes) >= MOST_FILES or total > MOST_BYTES:
                raise _bad(name, f"more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB")
            if path in hashes:
                raise _bad(name, f"{path} is in it twice")
            hashes[path] = _write(folder / path, content, size, executable=executable, name=name)
            progress(archive.tell())
    except (*_DAMAGED, *_SENSELESS) as error:
        raise _bad(name, str(error) or type(error).__name__) from error
    except OSError as error:
        if error.errno not in _NOT_THE_DISK:
            raise
        raise _bad(name, f"{(error.filename or '')[-200:]} {error.strerror or error}".strip()) from error
    for path, expected in hashes.items():
        if digest(folder / path) != expected:
            raise ApplierError("read-back", f"{path} does not read back as it was written", place=str(folder / path))
    for parent in {folder, *(folder / parent for path in hashes for parent in PurePosixPath(path).parents)}:
        sync_folder(parent)
    return hashes


def digest(path: Path) -> str:
    """SHA-256 of a file, read from the disk rather than from memory where the system lets us. Raises OSError."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(BLOCK):
            hashed.update(block)
    return hashed.hexdigest()


def _entries(archive: BinaryIO, name: str) -> Iterator[Entry]:
    return _wheel(archive, name) if name.endswith(".whl") else _tar(archive, name)


def _tar(archive: BinaryIO, name: str) -> Iterator[Entry]:
    with tarfile.open(fileobj=archive, mode="r:*") as tar:
        for number, member in enumerate(tar):
            if number >= MOST_MEMBERS:
                raise _bad(name, f"more than {MOST_MEMBERS} files and folders")
            if member.isdir():
                continue
            if not member.isreg():
                raise _bad(name, f"{member.name[:200]} is no plain file")
            content = tar.extractfile(member)
            if content is not None:
                yield _path(member.name, name), member.size, bool(member.mode & 0o100), content


def _wheel(archive: BinaryIO, name: str) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as wheel:
        for info in wheel.infolist():
            if info.is_dir():
                continue
            if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000):
                raise _bad(name, f"{info.filename[:200]} is no plain file")
            with wheel.open(info) as content:
                yield _path(info.filename, name), info.file_size, False, content


def _path(given: str, name: str) -> str:
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in given or "\\" in given:
        raise _bad(name, f"{given[:200]!r} would be written outside the slot")
    return str(path)


def _write(path: Path, content: IO[bytes], size: int, *, executable: bool, name: str) -> str:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    hashed, left = hashlib.sha256(), size
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o755 if executable else 0o644), "wb") as file:
        while block := content.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise _bad(name, f"{path.name} is longer than it says")
            hashed.update(block)
            file.write(block)
        if left:
            raise _bad(name, f"{path.name} is shorter than it says")
        file.flush()
        os.fsync(file.fileno())
    return hashed.hexdigest()


def _bad(name: str, text: str) -> ApplierError:
    return ApplierError(
        "bad-image", f"the image cannot be used: {text}", place=name, remedy="build it anew and sign it"
    )
