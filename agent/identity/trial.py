"""Which certificate the next connection is made with, and what its end means. PURE.

Two certificates may be there: a new one and one that is known to work. The new one has TRIES connections, then the other one has a turn.
If that one connects, the network is fine and the new certificate is not; if it fails too, nothing is known, and the new one is next.
A broker may take a certificate and then throw its connections out, for want of a right: a connection that ends sooner than SHORT has failed,
and the other certificate has to do better than that, not only to connect.
"""

from dataclasses import dataclass

from agent.identity.record import TRIES, Record, Slot

SHORT = 30.0  # seconds
WAITS = (60.0, 600.0, 3600.0)  # seconds on the certificate that works, before each further turn of a candidate


@dataclass(frozen=True, slots=True)
class Verdict:
    """The record after a connection. `swapped`: another certificate is current now."""

    record: Record
    swapped: bool = False


class Trial:
    """Of one hub. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = 0.0
        self._last_error = ""
        self._candidate = ""
        self._thrown_out = False

    def _meet(self, record: Record) -> None:
        """What is known of one candidate says nothing of the next."""
        candidate = record.held[record.candidate].certificate_id if record.candidate else ""
        if candidate and candidate != self._candidate:
            self._candidate, self._failures, self._not_before = candidate, 0, 0.0

    def choose(self, record: Record, now: float, *, leads: bool) -> Slot | None:
        """The slot to connect with. Only one uplink, which `leads`, tries a candidate."""
        self._meet(record)
        candidate = record.candidate if leads and now >= self._not_before else None
        first, second = (candidate, record.current) if candidate else (record.current, record.fallback)
        if second is not None and self._failures >= TRIES:
            return second
        return first

    def connected(self, record: Record, slot: Slot, now: float, wall: float, *, confirm: str) -> Verdict:
        """A connection with `slot` stands. `confirm`: the source of the candidate, if it wants to hear of it."""
        failed = self._failures >= TRIES
        why = self._last_error
        if slot != record.current or record.candidate or not record.fallback:
            self.held()  # else it is to last, too: a fallback is there
        after = record.connected(slot, wall, confirm)
        if slot == record.candidate:
            return Verdict(after, swapped=True)
        if slot == record.fallback and failed:
            return Verdict(after.rolled_back(why), swapped=True)
        if slot == record.current and record.candidate and failed:
            self._not_before = now + WAITS[min(record.rounds, len(WAITS) - 1)]
            return Verdict(after.turn_over(why))
        return Verdict(after)

    def held(self) -> None:
        """A connection has lasted, or its making is enough."""
        self._failures, self._thrown_out = 0, False

    def doubts(self, record: Record, slot: Slot) -> bool:
        """Whether a connection with `slot` has to last before it is judged: the other certificate's did not, and may not be to blame."""
        return slot == record.fallback and self._thrown_out and self._failures >= TRIES

    def failed(self, record: Record, slot: Slot, why: str, *, thrown_out: bool = False) -> None:
        """A connection with `slot` could not be made, or was ended at once (`thrown_out`)."""
        tried = record.candidate or (record.current if record.fallback else None)
        if slot == tried:
            self._failures += 1
            self._last_error = why
            self._thrown_out = self._thrown_out or thrown_out
        else:
            self.held()  # the one that works does not either: it is the network

    def next_turn(self, record: Record) -> float | None:
        """When a candidate has its next turn (monotonic seconds), None when none waits."""
        self._meet(record)
        return self._not_before if record.candidate else None
