"""Who can be reached. PURE: time is an argument (monotonic seconds).

Mains devices that are silent longer than `mains_timeout` are asked (a ping); two unanswered pings in a row make them OFFLINE. Battery devices
are never asked; they are OFFLINE after `battery_timeout` of silence. Anything heard makes a device ONLINE at once.
"""

from dataclasses import dataclass, field

from agent.model import Availability

PINGS = 2  # unanswered pings until a mains device counts as offline: one frame is lost in any home
PING_PAUSE = 15.0  # seconds between the first unanswered ping and the second


@dataclass(slots=True)
class Heard:
    """What is known of one device's reachability."""

    sleepy: bool
    last: float
    state: Availability = Availability.UNKNOWN
    missed: int = 0
    pinged: float = float("-inf")


@dataclass(slots=True)
class Due:
    """What is to be done now: devices to ask, devices that just became offline."""

    ping: list[str] = field(default_factory=list)
    offline: list[str] = field(default_factory=list)


class Watch:
    """The reachability of every device of one radio."""

    def __init__(self, *, mains_timeout: float, battery_timeout: float) -> None:
        self._mains = mains_timeout
        self._battery = battery_timeout
        self.devices: dict[str, Heard] = {}

    def add(self, key: str, now: float, *, sleepy: bool) -> Heard:
        """Watch a device. One that was watched before keeps its history."""
        entry = self.devices.setdefault(key, Heard(sleepy, now))
        entry.sleepy = sleepy
        return entry

    def forget(self, key: str) -> None:
        self.devices.pop(key, None)

    def heard(self, key: str, now: float) -> bool:
        """A frame of the device came in. True when it was not known to be online."""
        entry = self.devices.get(key)
        if entry is None:
            return False
        entry.last = now
        entry.missed = 0
        if entry.state is Availability.ONLINE:
            return False
        entry.state = Availability.ONLINE
        return True

    def unanswered(self, key: str, now: float) -> bool:
        """The device did not answer. True when that made it offline."""
        entry = self.devices.get(key)
        if entry is None or entry.sleepy:
            return False
        entry.pinged = now
        entry.missed = min(entry.missed + 1, PINGS)
        if entry.missed < PINGS or entry.state is Availability.OFFLINE:
            return False
        entry.state = Availability.OFFLINE
        return True

    def due(self, now: float) -> Due:
        """Whom to ask and who is offline now. Asking again only after `unanswered` or the next silence."""
        due = Due()
        for key, entry in self.devices.items():
            if entry.sleepy:
                if entry.state is not Availability.OFFLINE and now - entry.last >= self._battery:
                    entry.state = Availability.OFFLINE
                    due.offline.append(key)
            elif self._ping_at(entry) <= now:
                entry.pinged = now
                due.ping.append(key)
        return due

    def next_deadline(self) -> float | None:
        """When `due` will have something to say, in monotonic seconds."""
        times = (
            entry.last + self._battery if entry.sleepy else self._ping_at(entry)
            for entry in self.devices.values()
            if not (entry.sleepy and entry.state is Availability.OFFLINE)
        )
        return min(times, default=None)

    def _ping_at(self, entry: Heard) -> float:
        pause = PING_PAUSE if 0 < entry.missed < PINGS else self._mains
        return max(entry.last + (0.0 if entry.missed else self._mains), entry.pinged + pause)
