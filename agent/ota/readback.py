"""Syncs what a download has written and reads it back from the disk, in a thread of its own while more is received.

Done after the download it would cost its time once more; done by the receiving thread, each fsync would be a hole in the transfer. It takes
whatever has come meanwhile, so a slow network has each chunk synced and a slow disk has many at once.
"""

import hashlib
import os
import threading
from collections.abc import Callable

BLOCK = 1 << 18  # bytes read or received at a time
_LOOK = 0.2  # seconds between two looks whether the download was canceled


class ReadBack:
    """Follows the bytes that are right, up to `reach`. `at`: bytes that are on the disk and were read back; `note` is told of it.

    `ahead`: bytes that may be written and not yet be on the disk. `check` is called while `reach` waits, and ends that by what it raises.
    """

    def __init__(
        self, descriptor: int, *, ahead: int, note: Callable[[int], None], check: Callable[[], object]
    ) -> None:
        self._descriptor, self._ahead, self._note, self._check = descriptor, ahead, note, check
        self._changed = threading.Condition()
        self._goal = self.at = 0
        self._hash = hashlib.sha256()
        self._ended = False
        self._trouble: BaseException | None = None
        self._buffer = memoryview(bytearray(BLOCK))
        self._thread = threading.Thread(target=self._work, name="ota-read-back", daemon=True)
        self._thread.start()

    def reach(self, end: int, *, ahead: int | None = None) -> None:
        """The bytes before `end` are written and right. Waits while too many are not on the disk. Raises OSError, and what `check` raises."""
        most = self._ahead if ahead is None else ahead
        if end > self._goal:  # of what is not yet written this starts the writing: less is left for fsync to wait for
            os.posix_fadvise(self._descriptor, self._goal, end - self._goal, os.POSIX_FADV_DONTNEED)
        with self._changed:
            self._goal = end
            self._changed.notify_all()
            while self._trouble is None and end - self.at > most:
                self._changed.wait(_LOOK)
                self._check()
            if self._trouble is not None:
                raise self._trouble

    def digest(self, size: int) -> str:
        """SHA-256, in hex, of the whole file as the disk gives it. Raises as `reach`."""
        self.reach(size, ahead=0)
        return self._hash.hexdigest()

    def anew(self) -> None:
        """Nothing of what was read counts. Raises as `reach`."""
        self.reach(self._goal, ahead=0)
        with self._changed:
            self._goal = self.at = 0
            self._hash = hashlib.sha256()

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
                self._read(goal)
                self._note(goal)
                with self._changed:
                    self.at = goal
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  the receiving thread is told
            with self._changed:
                self._trouble = error
                self._changed.notify_all()

    def _next(self) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._goal > self.at)
            return None if self._ended else self._goal

    def _read(self, goal: int) -> None:
        """What the disk lacks is left out: the hash tells."""
        os.posix_fadvise(self._descriptor, self.at, goal - self.at, os.POSIX_FADV_DONTNEED)  # from the disk, not memory
        os.posix_fadvise(
            self._descriptor, self.at, goal - self.at, os.POSIX_FADV_WILLNEED
        )  # while the first part is hashed
        start = self.at
        while start < goal and (count := os.preadv(self._descriptor, [self._buffer[: goal - start]], start)):
            self._hash.update(self._buffer[:count])
            start += count
