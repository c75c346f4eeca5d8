"""Files that survive a power cut: written beside, synced, renamed, and the folder synced too."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import TryAgainError


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` with `data`, or leave it as it was. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(path: Path, size: int) -> bool:
    """Take `size` bytes of the disk for `path`, really allocated. False when there is no room."""
    if path.exists() and path.stat().st_size == size:
        return True
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        path.unlink()
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` (made, mode 0600, and left there). Raises TryAgainError while another process holds it, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError(
                "another run is at work here", place=str(path), remedy="wait until it has ended"
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Root works in a folder as the user whom it belongs to, so that this user can go on; anybody else as themselves."""
    status = folder.stat() if folder.exists() else None
    if status is None or os.geteuid() != 0 or status.st_uid == 0:
        yield
        return
    gid = os.getegid()
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
