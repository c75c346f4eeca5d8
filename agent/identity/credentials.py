"""What the uplinks connect with: the certificate of the right slot, and what their connections say of it."""

import logging
import time
from collections.abc import Callable

from agent.clock import Clock, plausible
from agent.identity.record import Record, Slot
from agent.identity.slots import Slots
from agent.identity.trial import Trial

CONFIRMING = frozenset({"vendor"})  # sources that want to hear that their certificate works
log = logging.getLogger(__name__)


class Credentials:
    """Shared by the uplinks that take the hub's identity; the first of them leads a trial."""

    def __init__(self, slots: Slots, clock: Clock) -> None:
        self.slots = slots
        self._clock, self._trial = clock, Trial()
        self._uplinks: list[str] = []
        self._lost_at: dict[str, float] = {}
        self._lived_since: dict[str, float] = {}
        self.on_swap: list[Callable[[str], None]] = []  # told the uplink that has connected
        self.on_change: list[Callable[[], None]] = []  # a connection has been judged

    def join(self, uplink: str) -> None:
        self._uplinks.append(uplink)

    @property
    def leader(self) -> str:
        return self._uplinks[0] if self._uplinks else ""

    def choose(self, uplink: str) -> Slot | None:
        """The slot for the next connection; None while there is no certificate."""
        return self._trial.choose(self.slots.record, time.monotonic(), leads=uplink == self.leader)

    def connected(self, uplink: str, slot: Slot) -> None:
        """A connection of an uplink stands."""
        now = self._clock.now()
        away = now.mono - self._lost_at.pop(uplink, now.mono)
        self._lived_since[uplink] = now.mono
        before, swapped = self.slots.record, False

        def arrow(record: Record) -> Record:
            nonlocal swapped
            source = record.held[slot].source if slot in record.held else ""
            confirm = source if source in CONFIRMING else ""
            verdict = self._trial.connected(record, slot, now.mono, now.wall, confirm=confirm)
            swapped = verdict.swapped
            return verdict.record.away(away)

        _tell(before, self.slots.change(arrow))
        if swapped:
            for told in self.on_swap:
                told(uplink)
        for changed in self.on_change:
            changed()

    def lost(self, uplink: str, slot: Slot | None, why: str, *, stood: bool) -> str:
        """A connection has ended or was not made; the reason as a person should read it."""
        now = self._clock.now()
        self._lost_at.setdefault(uplink, now.mono)
        self.lived(uplink)
        self._lived_since.pop(uplink, None)
        record = self.slots.record
        if stood or slot is None or slot not in record.held:
            return why
        if uplink == self.leader or record.candidate is None:
            self._trial.failed(record, slot, why)
        if record.held[slot].proved or slot == record.candidate:
            return why
        return f"pending: the cloud may register this new certificate at its first connection, and take it at the next ({why})"

    def lived(self, uplink: str) -> None:
        """Count the health of the current certificate: the time that the leading uplink was connected."""
        now = self._clock.now().mono
        since = self._lived_since.get(uplink)
        if since is None or uplink != self.leader:
            return
        self._lived_since[uplink] = now
        if self.slots.record.fallback is not None:
            self.slots.change(lambda record: record.lived(now - since))

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
