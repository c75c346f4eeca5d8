"""What the uplinks connect with: the certificate of the right slot, and what their connections say of it."""

import copy
import logging
from collections.abc import Callable

from agent.clock import Clock, iso, plausible
from agent.errors import StorageError
from agent.identity.certificates import SKEW
from agent.identity.record import Record, Slot
from agent.identity.slots import Slots
from agent.identity.trial import SHORT, Trial

CONFIRMING = frozenset({"vendor"})  # sources that want to hear that their certificate works
log = logging.getLogger(__name__)


class Credentials:
    """Shared by the uplinks that take the hub's identity; the first of them leads a trial."""

    def __init__(self, slots: Slots, clock: Clock) -> None:
        self.slots = slots
        self._clock, self._trial = clock, Trial()
        self._uplinks: list[str] = []
        self._lost_at: dict[str, float] = {}
        self._lived_since: dict[str, float] = {}  # counted until then
        self._stood_since: dict[str, float] = {}
        self._unjudged: dict[str, tuple[Slot, float]] = {}  # connections that stand, and when they are judged
        self.unusable = ""  # the certificate in use, by its id, whose key or chain is lost
        self.on_swap: list[Callable[[str], None]] = []  # told the uplink that has connected
        self.on_change: list[Callable[[], None]] = []  # a connection has been judged

    def join(self, uplink: str) -> None:
        self._uplinks.append(uplink)

    @property
    def leader(self) -> str:
        return self._uplinks[0] if self._uplinks else ""

    def choose(self, uplink: str) -> Slot | None:
        """The slot for the next connection; None while there is no certificate."""
        return self._trial.choose(self.slots.record, self._clock.now().mono, leads=uplink == self.leader)

    def connected(self, uplink: str, slot: Slot) -> None:
        """A connection of an uplink stands. A disk that takes nothing does not end it: it is written later (`settle`)."""
        self._lived_since[uplink] = self._stood_since[uplink] = self._clock.now().mono
        self.unusable = ""
        try:
            if self._trial.doubts(self.slots.record, slot):
                self._unjudged[uplink] = (slot, self._clock.now().mono + SHORT)
            else:
                self._judge(uplink, slot)
        except StorageError as error:
            self._unjudged[uplink] = (slot, 0.0)
            log.error("what this connection says of the hub's certificate cannot be written yet: %s", error.advice)  # noqa: TRY400  expected
        for changed in self.on_change:
            changed()

    @property
    def unjudged(self) -> bool:
        """Whether something waits for `settle`."""
        return bool(self._unjudged)

    def settle(self) -> None:
        """Judge connections that had to last first, or that the disk did not take. Raises StorageError while it still does not."""
        for uplink, (slot, due) in list(self._unjudged.items()):
            if self._clock.now().mono >= due:
                self._judge(uplink, slot)

    def _judge(self, uplink: str, slot: Slot) -> None:
        """Write what a connection says of the certificate. Raises StorageError, and then nothing has changed here either."""
        now = self._clock.now()
        away = now.mono - self._lost_at.get(uplink, now.mono)
        trial, before, swapped = copy.copy(self._trial), self.slots.record, False

        def arrow(record: Record) -> Record:
            nonlocal swapped
            source = record.held[slot].source if slot in record.held else ""
            confirm = source if source in CONFIRMING else ""
            verdict = trial.connected(record, slot, now.mono, now.wall, confirm=confirm)
            swapped = verdict.swapped
            return verdict.record.away(away)

        _tell(before, self.slots.change(arrow))
        self._trial = trial
        self._lost_at.pop(uplink, None)
        self._unjudged.pop(uplink, None)
        if swapped:
            for told in self.on_swap:
                told(uplink)

    def lost(self, uplink: str, slot: Slot | None, why: str, *, stood: bool, unusable: bool = False) -> str:
        """A connection has ended or was not made; the reason as a person should read it. `unusable`: our own files were to blame."""
        now = self._clock.now()
        self._lost_at.setdefault(uplink, now.mono)
        self.lived(uplink)
        self._lived_since.pop(uplink, None)
        self._unjudged.pop(uplink, None)
        lasted = now.mono - self._stood_since.pop(uplink, now.mono)
        record = self.slots.record
        if slot is None or slot not in record.held:
            return why
        if stood:
            self._thrown_out(uplink, record, slot, lasted, why)
            return why
        if "CERTIFICATE_VERIFY_FAILED" in why:
            return why  # we have refused the broker, by a wrong clock or authority: that says nothing of our own certificate
        if uplink == self.leader or record.candidate is None:
            self._trial.failed(record, slot, why)
        if unusable:
            self._cannot_use(record, slot)
            return why
        begins, wall = record.held[slot].begins, self.wall()
        if wall is not None and wall < begins - SKEW:
            return f"the hub's certificate is valid only from {iso(begins)}, and it is {iso(wall)} here: is the clock right? ({why})"
        if record.held[slot].proved or slot == record.candidate:
            return why
        return f"pending: the cloud may register this new certificate at its first connection, and take it at the next ({why})"

    def _thrown_out(self, uplink: str, record: Record, slot: Slot, lasted: float, why: str) -> None:
        """A connection that stood has ended: too soon, or not."""
        if uplink != self.leader or record.candidate is not None:
            return
        if lasted < SHORT:
            self._trial.failed(record, slot, f"thrown out after {lasted:.0f} s: {why}", thrown_out=True)
        else:
            self._trial.held()

    def _cannot_use(self, record: Record, slot: Slot) -> None:
        held = record.held[slot].certificate_id
        if slot == record.current and held != self.unusable:
            self.unusable = held
            for changed in self.on_change:
                changed()

    def lived(self, uplink: str) -> None:
        """Count the health of the current certificate: the time that the leading uplink was connected."""
        now = self._clock.now().mono
        since = self._lived_since.get(uplink)
        if since is None or uplink != self.leader:
            return
        try:
            if self.slots.record.fallback is not None:
                self.slots.change(lambda record: record.lived(now - since))
            self._lived_since[uplink] = now
        except StorageError as error:
            log.warning("the health of the hub's certificate is counted later: %s", error.advice)

    def next_turn(self) -> float | None:
        """When a candidate is tried next, monotonic seconds."""
        return self._trial.next_turn(self.slots.record)

    def wall(self) -> float | None:
        """Seconds since 1970, None while the clock was never set."""
        return plausible(self._clock.now().wall)


def _tell(before: Record, after: Record) -> None:
    if after.current != before.current:
        if before.candidate and after.current == before.candidate:
            log.info("the new certificate works: slot %s is current", after.current)
        else:
            log.error(
                "the new certificate is refused, the old one works: back to slot %s (%s)", after.current, after.trouble
            )
    elif before.candidate and not after.candidate:
        log.error("the new certificate is given up after %d turns: %s", before.rounds + 1, after.trouble)
    elif after.rounds != before.rounds:
        log.warning("the new certificate was refused (%s); it has another turn later", after.trouble)
