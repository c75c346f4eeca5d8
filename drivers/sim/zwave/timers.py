"""What is to be done later, in order of time. PURE."""

import heapq
import itertools
from collections.abc import Callable

Act = Callable[[float], None]


class Timers:
    """Acts with the time (monotonic seconds) at which they are due; equal times keep their order."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Act]] = []
        self._numbers = itertools.count()

    def at(self, due: float, act: Act) -> None:
        """Do `act` at `due`."""
        heapq.heappush(self._queue, (due, next(self._numbers), act))

    def run(self, now: float) -> None:
        """Do what is due, also what that makes due."""
        while self._queue and self._queue[0][0] <= now:
            due, _, act = heapq.heappop(self._queue)
            act(due)

    @property
    def next(self) -> float | None:
        """When the next act is due."""
        return self._queue[0][0] if self._queue else None

    def clear(self) -> None:
        self._queue.clear()
