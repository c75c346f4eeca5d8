"""A scan that silently stops, and what is done about it, step by step. PURE: time is an argument (monotonic seconds).

Controllers and bluetoothd stop to tell advertisements without an error (bluez issue 1554, Theengs gateway 264). Where something was heard
before and then nothing at all for `after` seconds: the scan is restarted; after as long again the adapter is switched off and on; after as
long again the radio is given up, so that it is reported away and opened anew. An adapter that never heard anything is left alone: there
may be nobody.
"""

from enum import StrEnum


class Step(StrEnum):
    RESTART_SCAN = "restart the scan"
    POWER_CYCLE = "switch the adapter off and on"
    GIVE_UP = "report the radio"


LADDER = (Step.RESTART_SCAN, Step.POWER_CYCLE, Step.GIVE_UP)


class Silence:
    """The ladder of one adapter; `after` 0 switches it off."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._last: float | None = None  # when something was heard; None: never
        self._since = 0.0  # of the wait for the next step
        self._rung = 0
        self.taken: dict[Step, int] = dict.fromkeys(LADDER, 0)

    def heard(self, now: float) -> None:
        self._last = self._since = now
        self._rung = 0

    def due(self, now: float) -> Step | None:
        """The step to take now."""
        if not self._after or self._last is None or now - self._since < self._after or self._rung >= len(LADDER):
            return None
        step = LADDER[self._rung]
        self._rung += 1
        self._since = now
        self.taken[step] += 1
        return step

    def next_deadline(self) -> float | None:
        if not self._after or self._last is None or self._rung >= len(LADDER):
            return None
        return self._since + self._after

    def silent_for(self, now: float) -> float:
        return 0.0 if self._last is None else now - self._last
