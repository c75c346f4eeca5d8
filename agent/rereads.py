"""Devices that are there and did not answer when they were to be read: they are read again, after growing pauses. PURE.

A device that wakes, a radio that comes back and a device that is heard after it was offline have theirs read at once. Between those, one
lost frame would leave a cloud with an old value for good.
"""

from agent.clock import Moment
from agent.home import DeviceRecord
from agent.model import Availability, DeviceId
from agent.requests import RadioWorkEnded, Refresh

FIRST, LONGEST = 5.0, 300.0  # seconds


class Rereads:
    """When each device is read again."""

    def __init__(self) -> None:
        self._due: dict[DeviceId, float] = {}  # monotonic seconds
        self._pause: dict[DeviceId, float] = {}

    def ended(self, device: DeviceId, record: DeviceRecord | None, event: RadioWorkEnded, now: Moment) -> None:
        """A reading has ended."""
        self._due.pop(device, None)
        if record is None or not event.error:
            self._pause.pop(device, None)
            if record is not None:
                record.stale = False
        elif record.availability is not Availability.OFFLINE:
            pause = self._pause[device] = min(LONGEST, 2 * self._pause.get(device, FIRST / 2))
            self._due[device] = now.mono + pause

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which a Tick is due."""
        return min(self._due.values(), default=None)

    def tick(self, now: Moment) -> list[Refresh]:
        """What is to be read now."""
        due = [device for device, at in self._due.items() if at <= now.mono]
        for device in due:
            del self._due[device]
        return [Refresh(device) for device in due]
