"""The clocks of devices, and the hub's own as they ask for it: local time, as people read it (SDS13782, "Clock", "Time"). PURE."""

import time

from drivers.zwave.codec import Command

CLOCK, TIME = 0x81, 0x8A
SLACK = 1  # minutes that a clock may be off: it is told no seconds
WEEK = 7 * 24 * 60


def reading(now: time.struct_time) -> dict[str, int]:
    """What a device's clock is set to; weekday 1 is Monday."""
    return {"weekday": now.tm_wday + 1, "hour": now.tm_hour, "minute": now.tm_min}


def wrong(report: Command, now: time.struct_time) -> bool:
    """Whether a Clock Report tells another time; a clock that does not know its weekday does."""
    told, right = (
        (clock["weekday"] * 24 + clock["hour"]) * 60 + clock["minute"] for clock in (report.values, reading(now))
    )
    off = abs(told - right) % WEEK
    return not report["weekday"] or bool(min(off, WEEK - off) > SLACK)
