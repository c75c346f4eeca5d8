"""Files that survive a power cut: written beside, synced, renamed, and the folder synced too."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StorageError, TryAgainError

_LOCK_LOOK = 0.05  # seconds between two looks at a lock


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


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder, and those above it, durably: what is synced in a folder without a name is lost all the same. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent, 0o777)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


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
def disk_trouble() -> Iterator[None]:
    """What the disk refuses in this block is expected trouble: a full one is emptied, and the same is tried again. Raises StorageError."""
    try:
        yield
    except OSError as error:
        remedy = "free the disk, or see what the kernel's log says of it"
        text = error.strerror or type(error).__name__
        raise StorageError(text, place=str(error.filename or ""), remedy=remedy) from error


@contextmanager
def locked(path: Path, *, wait: float = 0.0, busy: str = "another run is at work here") -> Iterator[None]:
    """Hold a folder, or the lock file `path` (made, mode 0600, and left there).

    Raises TryAgainError with the words `busy` while another process holds it for longer than `wait` seconds, and OSError.
    """
    how = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, how | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + wait
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise TryAgainError(busy, place=str(path), remedy="wait until it has ended") from None
                time.sleep(_LOCK_LOOK)
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
