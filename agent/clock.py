"""Time: wall time with its quality, and a monotonic stamp with the boot that it belongs to.

Timers use the monotonic clock. Wall time is for people and clouds; before the first time sync it is only an estimate, and events that
carry (boot, monotonic) can be back-dated once the clock is known.
"""

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

TRUSTED = "trusted"
ESTIMATED = "estimated"

# A wall clock before this moment was never set: the agent did not exist yet.
BUILD_TIME = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: `wall` in seconds since 1970 UTC, `mono` in seconds since `boot`."""

    wall: float
    mono: float
    boot: str
    quality: str = TRUSTED

    @property
    def iso(self) -> str:
        """ISO-8601 UTC with milliseconds, the form of every timestamp that leaves the hub."""
        return iso(self.wall)


class Clock(Protocol):
    """The only way to ask for the time, so that tests hold it still."""

    def now(self) -> Moment: ...


class SystemClock:
    """The kernel's clocks. Quality is `trusted` once the kernel says that its clock is synchronised."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._trusted = False
        self._checked = float("-inf")

    def now(self) -> Moment:
        wall, mono = time.time(), time.monotonic()
        if not self._trusted and mono - self._checked > 1.0:  # adjtimex for every report would cost more than it tells
            self._checked = mono
            self._trusted = wall > BUILD_TIME and kernel_synchronised()
        return Moment(wall, mono, self._boot, TRUSTED if self._trusted else ESTIMATED)


def plausible(wall: float) -> float | None:
    """`wall`, or None when it is before the agent existed: the clock was never set.

    What is only judged by it (a certificate's validity) does not wait for a synchronised clock: a hub on an island may never have one.
    """
    return wall if wall > BUILD_TIME else None


def iso(wall: float) -> str:
    """`wall` seconds since 1970 as `2026-11-23T09:32:36.123Z`."""
    whole = datetime.fromtimestamp(wall, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"


def parse_iso(text: str) -> float:
    """Seconds since 1970 of an ISO-8601 text, or of epoch milliseconds as text (clouds send both). Raises ValueError."""
    if text.isdigit():
        return int(text) / 1000
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def boot_id() -> str:
    """The kernel's id of this boot (random(4)); a constant where the kernel has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "no-boot-id"


class _Timex(ctypes.Structure):
    _fields_ = (("modes", ctypes.c_uint), ("pad", ctypes.c_byte * 512))


def kernel_synchronised() -> bool:
    """True when adjtimex(2) reports a synchronised clock (chrony, timesyncd, ntpd set it)."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    state = libc.adjtimex(ctypes.byref(timex))
    return bool(0 <= state < _TIME_ERROR)
