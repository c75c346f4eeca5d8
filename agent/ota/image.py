"""The file of one download: room taken first, checked chunk by chunk as it is written, and read back through the one descriptor that is used.

The file has its full length from the start, so its length tells nothing: what it holds is told by the hashes of its chunks, or, where there
is no chunk map, by a note beside it. Not for two threads at once, beside the one that reads back (agent/ota/readback.py).
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.errors import HubError, StorageError, TryAgainError, UsageError
from agent.files import sync_folder, write_atomic
from agent.ota.readback import BLOCK, ReadBack
from agent.ota.source import Chunk, Source
from agent.ota.trouble import CorruptError, NoSpaceError

log = logging.getLogger(__name__)

STEP = 1 << 20  # bytes that are handed over to be read back at once, at most
_NOTE = ".resume"
_LONGEST_NOTE = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BAD = "the file is damaged at its server, on its way or on this disk: compare it with what was signed"


class DamagedError(CorruptError):
    """A chunk is not what was signed; the image stands at its start again, to have it once more."""


class Image:
    """`path` as it fills. `done`: bytes that it has; `best`: the most it ever had.

    `origin` is (mirror's key, validator) of what was written, for a download without a chunk map. With one, each chunk is hashed as the disk
    gives it back.
    """

    def __init__(self, path: Path, source: Source, *, tries: int, unsynced: int, check: Callable[[], object]) -> None:
        self.path, self._source, self._tries, self._unsynced, self._check = path, source, tries, unsynced, check
        self.done = self.best = 0
        self.origin = ("", "")
        self._handed = self._noted = 0
        self._again: dict[int, int] = {}
        self._mixed = False
        self._descriptor = -1
        self._back: ReadBack | None = None
        self._buffer = memoryview(bytearray(BLOCK))
        self._step = min(source.chunk_size, STEP)
        self._note = path.with_name(path.name + _NOTE)
        self._begin(0)

    # ---- life -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make or take the file, keep what is right of it, and take the room for the rest.

        Raises NoSpaceError before a byte is fetched, TryAgainError while another download has the file, StorageError.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with self._disk():
                self._descriptor = os.open(self.path, flags, 0o600)
                if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    raise StorageError("is no file", place=str(self.path), remedy="remove what is there")
                self._lock()
                os.fchmod(self._descriptor, 0o600)  # who else could write to it could change it after the check
                self._keep()
                self._take_room()
                os.fsync(self._descriptor)
                sync_folder(self.path.parent)
            self._back = self._followed()
            self._hand_over()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._end_back()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def detach(self) -> int:
        """The descriptor, at offset 0; the caller closes it."""
        self._end_back()
        found, self._descriptor = self._descriptor, -1
        os.lseek(found, 0, os.SEEK_SET)
        return found

    # ---- writing ----------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Bytes that may be written at once: no write crosses the end of a chunk."""
        return self._chunk.end - self.done

    def space(self, most: int) -> memoryview:
        """Where the next bytes are to be put, up to `most` of them; `write` takes them from there."""
        return self._buffer[:most]

    def write(self, count: int) -> None:
        """The first `count` bytes of the space.

        Raises DamagedError soon after the end of a chunk that is wrong, CorruptError when it was fetched too often, StorageError.
        """
        data = self.space(count)
        with self._disk():
            at, left = self.done, data
            while left:
                written = os.pwrite(self._descriptor, left, at)
                at, left = at + written, left[written:]
        self.done += len(data)
        self.best = max(self.best, self.done)
        if self.done == self._chunk.end:
            self._begin(self.done)
        if self.done - self._handed >= self._step:
            self._hand_over()

    def anew(self) -> None:
        """Begin again: the server has another file now."""
        if not self._source.chunks:
            self._mixed = False
            self._forget()
            self._begin(0)

    def mixed(self) -> None:
        """What follows comes from another answer than what is there."""
        self._mixed = self._mixed or self.done > 0

    def finish(self) -> bool:
        """All is written: whether the disk gives the right whole. False when a part of it is wrong and must be fetched again.

        Raises CorruptError when that cannot help, StorageError.
        """
        if self._source.chunks:
            try:
                self._hand_over(ahead=0)
            except DamagedError:
                return False
            return True
        with self._disk(), self._durable() as back:
            if back.digest(self._source.size) != self._source.sha256:
                self._begin_again()
                return False
            self._forget_note()
        return True

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _end_back(self) -> None:
        if self._back is not None:
            self._back.end()
            self._back = None

    def _begin(self, offset: int) -> None:
        self.done = offset
        self._handed = min(self._handed, offset)
        if offset < self._source.size:
            self._chunk = self._source.chunk_at(offset)

    def _followed(self) -> ReadBack:
        """With a chunk map what is there was read from the disk already, and what is wrong is to be seen before much has followed it."""
        mapped = bool(self._source.chunks)
        return ReadBack(
            self._descriptor,
            self._source,
            at=self.done if mapped else 0,
            ahead=self._unsynced,
            note=self._write_note,
            check=self._check,
        )

    def _hand_over(self, ahead: int | None = None) -> None:
        """What was written may be synced and read back. Raises as `write`."""
        self._handed = self.done
        with self._disk(), self._durable() as back:
            back.reach(self._handed, ahead=ahead)
        if back.spoiled >= 0:
            self._damaged(self._source.chunk_at(back.spoiled))

    @contextmanager
    def _durable(self) -> Iterator[ReadBack]:
        """After a failed fsync the kernel may call its pages clean: a second one would lie. They are cut off the file instead."""
        if self._back is None:
            raise UsageError("the image is not open", place=str(self.path))
        try:
            yield self._back
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._back.at)
            raise

    def _forget(self) -> None:
        """What was read back does not count."""
        with self._disk(), self._durable() as back:
            back.rewind(0)
            self._noted = 0
            self._forget_note()

    def _damaged(self, chunk: Chunk) -> None:
        with self._disk(), self._durable() as back:
            back.rewind(chunk.start)
        self._begin(chunk.start)
        count = self._again[chunk.number] = self._again.get(chunk.number, 0) + 1
        if count > self._tries:
            text = f"chunk {chunk.number} is not what was signed, also after {self._tries} more tries"
            raise CorruptError(text, place=str(self.path), remedy=_BAD, chunk=chunk.number)
        raise DamagedError(
            f"chunk {chunk.number} is not what was signed", place=str(self.path), remedy=_BAD, chunk=chunk.number
        )

    def _begin_again(self) -> None:
        """The whole is wrong, and nobody knows where. Raises CorruptError where another try cannot help."""
        if not self._mixed or self._again.get(0, 0) >= self._tries:
            raise CorruptError("the file is not what was signed", place=str(self.path), remedy=_BAD)
        self._again[0] = self._again.get(0, 0) + 1
        self.anew()

    def _keep(self) -> None:
        """What a former run left: chunks up to the first that is wrong, or what the note tells of."""
        size = os.fstat(self._descriptor).st_size
        if size:  # what a killed run has left in memory alone must not count
            os.fsync(self._descriptor)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        offset = self._good_chunks(size) if self._source.chunks else self._from_note(size)
        if offset < size:
            os.ftruncate(self._descriptor, offset)
        self._mixed = offset > 0
        self._begin(offset)
        self.best = offset

    def _from_note(self, size: int) -> int:
        length = self._read_note()
        if not length and size == self._source.size and self._digest(0, size) == self._source.sha256:
            return size  # it was finished, which takes the note away
        return min(length, size)

    def _good_chunks(self, size: int) -> int:
        """The end of the last chunk before the first that is wrong, or that the disk cannot read: written again, it may be well."""
        offset = 0
        while offset < self._source.size:
            chunk = self._source.chunk_at(offset)
            try:
                if chunk.end > size or self._digest(chunk.start, chunk.end) != chunk.sha256:
                    break
            except OSError as error:
                log.warning("%s: chunk %d cannot be read and is fetched again: %s", self.path, chunk.number, error)
                break
            offset = chunk.end
        return offset

    def _digest(self, start: int, end: int) -> str:
        """SHA-256 of the file's bytes from the disk; those that it does not have are left out."""
        found = hashlib.sha256()
        while start < end:
            piece = self._buffer[: min(BLOCK, end - start)]
            count = os.preadv(self._descriptor, [piece], start)
            if not count:
                break
            found.update(piece[:count])
            start += count
            self._check()
        return found.hexdigest()

    def _take_room(self) -> None:
        if self.done >= self._source.size:
            return
        disk, has = os.fstatvfs(self._descriptor), os.fstat(self._descriptor).st_blocks * 512
        missing = self._source.size - has - disk.f_bavail * disk.f_frsize
        if missing > 0:
            self._give_back()
            raise self._full(missing)
        try:
            os.posix_fallocate(self._descriptor, 0, self._source.size)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                self._give_back()
                raise

    def _give_back(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._descriptor, self.done)

    def _full(self, missing: int) -> NoSpaceError:
        text = f"the disk is full: {missing} bytes more are needed"
        return NoSpaceError(text, place=str(self.path), remedy="free the disk, and try again", missing=missing)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError(
                "another download has this file", place=str(self.path), remedy="wait until it has ended"
            ) from None

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except HubError:
            raise
        except OSError as error:
            if error.errno in _FULL:
                has = os.fstat(self._descriptor).st_blocks * 512 if self._descriptor >= 0 else 0
                raise self._full(max(1, self._source.size - has)) from error
            text = error.strerror or type(error).__name__
            remedy = "see what the kernel's log says of the disk"
            raise StorageError(text, place=str(self.path), remedy=remedy) from error

    # ---- the note ---------------------------------------------------------------------------------------------------

    def _write_note(self, length: int) -> None:
        """Called by the thread that reads back, with what is on the disk by then."""
        if self._source.chunks or length >= self._source.size or length - self._noted < self._unsynced:
            return
        key, validator = self.origin
        told = {"sha256": self._source.sha256, "length": length, "mirror": key, "validator": validator}
        write_atomic(self._note, json.dumps(told).encode())
        self._noted = length

    def _read_note(self) -> int:
        """How many bytes are known to be there; 0 for a note that is none, or of another file."""
        try:
            with self._note.open("rb") as file:
                told = json.loads(file.read(_LONGEST_NOTE))
            length, key, validator = told["length"], told["mirror"], told["validator"]
            known = told["sha256"] == self._source.sha256 and isinstance(key, str) and isinstance(validator, str)
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError):  # damaged: then nothing is known
            return 0
        if not known or not isinstance(length, int) or not 0 <= length <= self._source.size:
            return 0
        self.origin = (key, validator)
        return length

    def _forget_note(self) -> None:
        if self._note.exists():
            self._note.unlink()
            sync_folder(self.path.parent)


def discard(path: Path) -> None:
    """Remove what a download left at `path`, whole or not. Raises StorageError."""
    try:
        for one in (path, path.with_name(path.name + _NOTE)):
            one.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        text = error.strerror or type(error).__name__
        raise StorageError(text, place=str(path), remedy="see what the kernel's log says of the disk") from error
