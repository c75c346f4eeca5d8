"""Who is there: by the age of the last advertisement, or by a connection. PURE: time is an argument (monotonic seconds)."""

from dataclasses import dataclass

from agent.model import Availability


@dataclass(slots=True)
class _Heard:
    last: float
    connected: bool = False
    state: Availability = Availability.UNKNOWN


class Presence:
    """The reachability of every device of one adapter: OFFLINE after `absent_after` seconds of silence without a connection."""

    def __init__(self, absent_after: float) -> None:
        self._absent_after = absent_after
        self._devices: dict[str, _Heard] = {}

    def add(self, key: str, now: float) -> None:
        self._devices.setdefault(key, _Heard(now))

    def forget(self, key: str) -> None:
        self._devices.pop(key, None)

    def state(self, key: str) -> Availability:
        found = self._devices.get(key)
        return found.state if found is not None else Availability.UNKNOWN

    def heard(self, key: str, now: float, *, connected: bool | None = None) -> bool:
        """It said something, or its connection is there or gone. True when it was not known to be online."""
        entry = self._devices.get(key)
        if entry is None:
            return False
        if connected is not None:
            entry.connected = connected
        entry.last = now
        if entry.state is Availability.ONLINE:
            return False
        entry.state = Availability.ONLINE
        return True

    def dropped(self, key: str, now: float) -> None:
        """Its connection is gone; from now on its adverts count."""
        entry = self._devices.get(key)
        if entry is not None:
            entry.connected, entry.last = False, now

    def absent(self, now: float) -> list[str]:
        """Who became offline until now."""
        gone = []
        for key, entry in self._devices.items():
            silent = not entry.connected and now - entry.last >= self._absent_after
            if silent and entry.state is not Availability.OFFLINE:
                entry.state = Availability.OFFLINE
                gone.append(key)
        return gone

    def next_deadline(self) -> float | None:
        """When `absent` may have something to say."""
        waiting = (
            entry.last + self._absent_after
            for entry in self._devices.values()
            if not entry.connected and entry.state is not Availability.OFFLINE
        )
        return min(waiting, default=None)
