"""Supervision sessions (SDS13783, Supervision command class): what we asked for, and what we were asked. PURE.

Session ids are 0..63 for each node. Time is monotonic seconds.
"""

from dataclasses import dataclass, field

from drivers.zwave.codec import Command
from drivers.zwave.commands.transport import SupervisionStatus

SESSIONS = 64
REPORT_TIMEOUT = 5.0  # seconds to the first report
UPDATE_GRACE = 5.0  # seconds after the announced end of work
UNKNOWN_WORK = 60.0  # seconds that a node may work without saying how long
REMEMBERED = 10.0  # seconds in which a Get with the same id counts as a repetition


class NoSessionError(RuntimeError):
    """All 64 sessions of the node are open."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a supervised command goes on. `final` False: more reports follow; `duration` in seconds, None unknown."""

    session: int
    status: int
    final: bool
    duration: int | None = None


@dataclass(slots=True)
class Asked:
    """The sessions that we opened."""

    _next: dict[int, int] = field(default_factory=dict)
    _open: dict[tuple[int, int], float] = field(default_factory=dict)  # node and session -> deadline

    def open(self, node: int, now: float) -> int:
        """An id for the next Supervision Get to `node`. Raises NoSessionError."""
        start = self._next.get(node, 0)
        for step in range(SESSIONS):
            session = (start + step) % SESSIONS
            if (node, session) not in self._open:
                self._next[node] = (session + 1) % SESSIONS
                self._open[node, session] = now + REPORT_TIMEOUT
                return session
        raise NoSessionError(f"node {node} has {SESSIONS} supervised commands open")

    def report(self, node: int, command: Command, now: float) -> Outcome | None:
        """A Supervision Report of `node`; None where nobody waits for it."""
        key = (node, command["session"])
        if key not in self._open:
            return None
        duration = command.get("duration")
        seconds = duration if isinstance(duration, int) else None
        final = not command["more_updates"] or command["status"] != SupervisionStatus.WORKING
        if final:
            del self._open[key]
        else:
            self._open[key] = now + (UNKNOWN_WORK if seconds is None else seconds) + UPDATE_GRACE
        return Outcome(command["session"], command["status"], final, seconds)

    def close(self, node: int, session: int) -> None:
        """The command was not delivered: no report will come."""
        self._open.pop((node, session), None)

    def expire(self, now: float) -> list[tuple[int, int]]:
        """Node and session of what waited too long; closed with it."""
        over = [key for key, deadline in self._open.items() if deadline <= now]
        for key in over:
            del self._open[key]
        return over

    @property
    def deadline(self) -> float | None:
        """When `expire` will have something to say."""
        return min(self._open.values(), default=None)


@dataclass(slots=True)
class Answered:
    """The last session of each node and endpoint that asked us: a repetition gets the same answer and is not done twice."""

    _last: dict[tuple[int, int], tuple[int, bytes, float]] = field(default_factory=dict)

    def repeated(self, node: int, endpoint: int, session: int, now: float) -> bytes | None:
        """The answer that was given to this session; None where it is new."""
        known = self._last.get((node, endpoint))
        if known is None or known[0] != session or known[2] <= now:
            return None
        return known[1]

    def answered(self, node: int, endpoint: int, session: int, report: bytes, now: float) -> None:
        """Remember `report`, the whole Supervision Report."""
        self._last[node, endpoint] = (session, report, now + REMEMBERED)

    def forget(self, node: int) -> None:
        self._last = {key: value for key, value in self._last.items() if key[0] != node}
