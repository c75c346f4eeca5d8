"""When a device is asked again, and whether it can be reached. PURE: time is an argument (monotonic seconds).

An observation is renewed when the device has been silent for longer than the Max-Age of its last notification (RFC 7641, 3.3.1); that
renewal is also the question whether the device is there. Two unanswered requests in a row make it OFFLINE, and then the pauses grow.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.model import Availability

MISSES = 2  # unanswered requests; each is sent up to five times (RFC 7252, 4.2)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0  # seconds between attempts at a device that does not answer
_HALF = 1 << 23
STALE = 128.0  # seconds after which an order of numbers means nothing (RFC 7641, 3.4)
GRACE = (2.0, 5.0)  # seconds after Max-Age: a notification may be on its way, and not all are renewed at once


@dataclass(slots=True)
class Reachability:
    """One device."""

    state: Availability = Availability.UNKNOWN
    missed: int = 0

    def heard(self) -> bool:
        """A message of the device came in. True when it was not known to be online."""
        self.missed = 0
        before, self.state = self.state, Availability.ONLINE
        return before is not Availability.ONLINE

    def unanswered(self) -> bool:
        """The device did not answer. True when that made it offline."""
        self.missed += 1
        if self.missed < MISSES or self.state is Availability.OFFLINE:
            return False
        self.state = Availability.OFFLINE
        return True

    def pause(self, spread: Callable[[float, float], float] = random.uniform) -> float:
        """Seconds until the device is tried again: twice as long after each miss, up to `LONGEST_PAUSE`."""
        whole = min(FIRST_PAUSE * 2.0 ** min(self.missed - 1, 16), LONGEST_PAUSE)
        return spread(whole / 2, whole)


@dataclass(slots=True)
class Schedule:
    """When each resource of a device is read or observed anew. A new time for a path replaces its old one."""

    _heap: list[tuple[float, str]] = field(default_factory=list)
    _when: dict[str, float] = field(default_factory=dict)

    def set(self, path: str, when: float) -> None:
        self._when[path] = when
        heapq.heappush(self._heap, (when, path))

    def next(self) -> float | None:
        """When something is due."""
        while self._heap and self._when.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> str | None:
        """A path that is due, taken out of the schedule; the one that has waited longest."""
        when = self.next()
        if when is None or when > now:
            return None
        path = heapq.heappop(self._heap)[1]
        del self._when[path]
        return path

    def all_at(self, when: float) -> None:
        """Everything at `when`: the device has been away."""
        self._when = dict.fromkeys(self._when, when)
        self._heap = [(when, path) for path in sorted(self._when)]


def renewal(
    now: float, max_age: float, silence: float, spread: Callable[[float, float], float] = random.uniform
) -> float:
    """When an observation is renewed after a notification that is good for `max_age`; `silence` is the longest that we wait."""
    return now + min(max_age, silence) + spread(*GRACE)


def fresher(number: int, when: float, later_number: int, later: float, *, counted: bool = False) -> bool:
    """Whether a notification is newer than the newest so far (RFC 7641, 3.4): numbers have 24 bits and go round.

    `counted`: the numbers are OSCORE's, which only grow (RFC 8613, 7.4.1), so a replay is old for ever.
    """
    if counted:
        return later_number > number
    if number < later_number:
        return later_number - number < _HALF
    return (number > later_number and number - later_number > _HALF) or later > when + STALE
