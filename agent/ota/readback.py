"""Syncs what a download has written and reads it back, in a thread of its own while more is received.

Done after the download it would cost its time once more; done by the receiving thread, each fsync would be a hole in the transfer. It takes
whatever has come meanwhile, so a slow network has each chunk synced and a slow disk has many at once. What the file gives back is what is
hashed: the receiving thread only receives and writes. The kernel may answer from its memory here; before a file is used the disk itself is
asked (agent/ota/downloads.py).
"""

import hashlib
import os
import threading
from collections.abc import Callable

from agent.ota.source import Source

BLOCK = 1 << 18  # bytes read or received at a time
_LOOK = 0.2  # seconds between two looks whether the download was canceled


class ReadBack:
    """Follows what is written, from `at` on, the start of a chunk, up to `reach`.

    `at`: bytes that are on the disk and were read back; `note` is told of it. `ahead`: bytes that may be written and not yet be on the disk.
    `check` is called while `reach` waits, and ends that by what it raises. `spoiled`: the first chunk that is not what was signed, by its
    start, -1 for none; `rewind` goes on from there, or from before it. Without a chunk map `digest` is that of the whole.
    """

    def __init__(
        self,
        descriptor: int,
        source: Source,
        *,
        at: int,
        ahead: int,
        note: Callable[[int], None],
        check: Callable[[], object],
    ) -> None:
        self._descriptor, self._source, self._ahead, self._note, self._check = descriptor, source, ahead, note, check
        self._changed = threading.Condition()
        self._goal = self.at = at
        self.spoiled = -1
        self._begin(at)
        self._ended = False
        self._trouble: BaseException | None = None
        self._buffer = bytearray(BLOCK)
        self._thread = threading.Thread(target=self._work, name="ota-read-back", daemon=True)
        self._thread.start()

    def reach(self, end: int, *, ahead: int | None = None) -> None:
        """The bytes before `end` are written. Waits while too many are not on the disk. Raises OSError, and what `check` raises."""
        most = self._ahead if ahead is None else ahead
        if end > self._goal:  # of what is not yet written this starts the writing: less is left for fsync to wait for
            os.posix_fadvise(self._descriptor, self._goal, end - self._goal, os.POSIX_FADV_DONTNEED)
        with self._changed:
            self._goal = end
            self._changed.notify_all()
            while self._trouble is None and self.spoiled < 0 and end - self.at > most:
                self._changed.wait(_LOOK)
                self._check()
            if self._trouble is not None:
                raise self._trouble

    def digest(self, size: int) -> str:
        """SHA-256, in hex, of the whole file. Raises as `reach`."""
        self.reach(size, ahead=0)
        return self._hash.hexdigest()

    def rewind(self, offset: int) -> None:
        """What is written from `offset` on, the start of a chunk, does not count. Raises as `reach`."""
        self.reach(self._goal, ahead=0)
        with self._changed:
            self._goal = self.at = min(self.at, offset)
            self.spoiled = -1
            self._begin(self.at)

    def end(self) -> None:
        """Stop, and wait for a sync that is under way."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        try:
            while (goal := self._next()) is not None:
                os.fsync(self._descriptor)
                end = self._read(goal)
                if end == goal:
                    self._note(goal)
                with self._changed:
                    self.at, self.spoiled = end, -1 if end == goal else end
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  the receiving thread is told
            with self._changed:
                self._trouble = error
                self._changed.notify_all()

    def _next(self) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (self.spoiled < 0 and self._goal > self.at))
            return None if self._ended else self._goal

    def _read(self, goal: int) -> int:
        """The end of what is as it was signed. Without a chunk map what the disk lacks is left out: the hash of the whole tells."""
        view, start = memoryview(self._buffer), self.at
        while start < goal:
            piece = view[: min(BLOCK, goal - start, self._chunk.end - start)]
            count = os.preadv(self._descriptor, [piece], start)
            if not count:
                return self._chunk.start if self._chunk.sha256 else goal
            self._hash.update(piece[:count])
            start += count
            if start == self._chunk.end and self._chunk.sha256:
                if self._hash.hexdigest() != self._chunk.sha256:
                    return self._chunk.start
                self._begin(start)
        return goal

    def _begin(self, offset: int) -> None:
        self._hash = hashlib.sha256()
        if offset < self._source.size:
            self._chunk = self._source.chunk_at(offset)
