"""What simulated devices do by themselves: the `script` of a device in the home file. PURE.

A step waits `after` seconds and then does one operation of the control socket (`op` and its keys, without `device`):

    script = [{after = 5, op = "set", name = "temperature", value = 2150}, {after = 60, op = "drift", name = "humidity", by = 40}]
    repeat = true
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from drivers.sim.requests import ControlError

LEAST = 0.01  # seconds of a repeated script, so that one without waits does not stop the house

Later = Callable[[float, Callable[[float], None]], None]  # at a time, do this
Prepare = Callable[[Mapping[str, Any]], Callable[[float], Any]]  # the act of a request. Raises ControlError


class Script:
    """The steps of one device. Raises ControlError when a step can never be done."""

    def __init__(
        self, later: Later, prepare: Prepare, device: str, steps: Sequence[Mapping[str, Any]], *, repeat: bool
    ) -> None:
        self._later, self._repeat = later, repeat
        self._steps = [(float(step["after"]), prepare({**step, "device": device})) for step in steps]
        self.failed = 0

    def start(self, now: float) -> None:
        """Begin to wait for the first step."""
        self._wait(0, now)

    def _wait(self, place: int, now: float) -> None:
        after, _ = self._steps[place]
        self._later(now + (max(LEAST, after) if self._repeat else after), partial(self._do, place))

    def _do(self, place: int, now: float) -> None:
        try:
            self._steps[place][1](now)
        except ControlError:
            self.failed += 1  # a step may not fit the moment; the next ones still come
        if place + 1 < len(self._steps) or self._repeat:
            self._wait((place + 1) % len(self._steps), now)
