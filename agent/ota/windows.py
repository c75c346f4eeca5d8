"""When an update may be installed: a cron line, a length and a time zone, and the hub's own place within it. PURE.

A fleet whose windows open in the same second would fetch in the same second: each hub begins a little later, always by the same while.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

LOOK_BACK = timedelta(days=2)  # a window is no longer than a day (AWS: 1,430 minutes)


@dataclass(frozen=True, slots=True)
class Window:
    """`cron` (five fields) in `zone` opens it; `length` and `jitter` are seconds. Without a cron line it is always open."""

    cron: str = ""
    length: float = 7200.0
    zone: str = "UTC"
    jitter: float = 0.0

    def opens(self, wall: float, hub: str) -> float:
        """When it is open next, in seconds since 1970: `wall` itself when it is open. `hub` decides its place in the jitter.

        Raises ValueError for a cron line or a zone that there is not: the settings have checked both.
        """
        if not self.cron:
            return wall
        from cronsim import CronSim  # noqa: PLC0415  most hubs have no window

        late = self.late(hub)
        start = datetime.fromtimestamp(wall, ZoneInfo(self.zone)) - LOOK_BACK
        for begin in CronSim(self.cron, start):
            opened = begin.astimezone(UTC).timestamp() + late
            if opened + self.length - late > wall:
                return max(wall, opened)
        raise ValueError(f"the cron line {self.cron!r} has no next time")  # CronSim ends after 50 years

    def late(self, hub: str) -> float:
        """Seconds after the window's begin, the same for ever for a hub."""
        share = int.from_bytes(hashlib.sha256(hub.encode()).digest()[:4]) / 2**32
        return share * min(self.jitter, self.length / 2)
