"""How often a value is reported: tags say their acceleration every second, and nobody pays a cloud for that. PURE.

A value that changes is reported at once when the last report of its capability is `interval` seconds old, and otherwise when it is: the
newest one. States (on, open, occupied, alarm) are never held back. What did not change is reported again after `again` seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.told import Values

STATES = frozenset(
    f"matter.{name}@1.4" for name in ("OnOff", "BooleanState", "OccupancySensing", "SmokeCOAlarm", "Switch")
)
Place = tuple[str, str, str]  # device, endpoint, capability


@dataclass(slots=True)
class _Told:
    at: float
    properties: Mapping[str, Any]
    waiting: Mapping[str, Any] | None = None


class Pace:
    """What was reported last of every capability of the known devices."""

    def __init__(self, interval: float, again: float) -> None:
        self._interval, self._again = interval, again
        self._told: dict[Place, _Told] = {}
        self._waiting: set[Place] = set()

    def take(self, key: str, values: Values, now: float, *, asked: bool = False) -> bool:
        """Whether to report these values now."""
        place = (key, values.endpoint, values.capability)
        told = self._told.get(place)
        if told is None:
            self._told[place] = _Told(now, values.properties)
            return True
        changed = any(told.properties.get(name, _NEVER) != value for name, value in values.properties.items())
        held = changed and values.capability not in STATES and now - told.at < self._interval
        if not asked and (held or (not changed and now - told.at < self._again)):
            told.waiting = {**(told.waiting or {}), **values.properties} if held else None
            (self._waiting.add if held else self._waiting.discard)(place)
            return False
        self._settle(place, told, values.properties, now)
        return True

    def _settle(self, place: Place, told: _Told, properties: Mapping[str, Any], now: float) -> None:
        told.at, told.properties, told.waiting = now, {**told.properties, **properties}, None
        self._waiting.discard(place)

    def due(self, now: float) -> list[tuple[str, Values]]:
        """What was held back and is to be reported now."""
        ready = []
        for place in list(self._waiting):
            told = self._told[place]
            if now - told.at >= self._interval and told.waiting is not None:
                key, endpoint, capability = place
                ready.append((key, Values(endpoint, capability, told.waiting)))
                self._settle(place, told, told.waiting, now)
        return ready

    def next_deadline(self) -> float | None:
        return min((self._told[place].at + self._interval for place in self._waiting), default=None)

    def last(self, key: str) -> list[Values]:
        """The newest of every capability of a device."""
        return [
            Values(endpoint, capability, {**told.properties, **(told.waiting or {})})
            for (owner, endpoint, capability), told in self._told.items()
            if owner == key
        ]

    def forget(self, key: str) -> None:
        for place in [place for place in self._told if place[0] == key]:
            del self._told[place]
            self._waiting.discard(place)


_NEVER = object()
