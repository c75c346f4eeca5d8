"""Assistance data for GNSS receivers: A-GNSS answers and P-GPS files in nRF Cloud's binary format, version 1. PURE.

An answer is the version (one byte), then for each type: type (one byte), count (two), and so many elements; all numbers are little
endian. Elements and their layout: the SDK's `nrf_cloud_agnss_schema_v1.h` and `nrf_cloud_pgps_schema_v1.h`; scale factors of orbits:
IS-GPS-200; of places: 3GPP TS 23.032 (a length r in metres is r = 10 (1.1^k - 1), k in the message). The satellites are those of
`satellites`.
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.sim.nrf.satellites import GPS, QZSS, SECONDS_OF_WEEK, Orbit, gps, qzss, visible

VERSION, PREDICTIONS = 1, 10  # the format, and the type of a P-GPS file
UTC, EPHEMERIDES, ALMANAC, KLOBUCHAR, NEQUICK, TOWS, CLOCK, LOCATION, INTEGRITY = range(1, 10)
QZSS_ALMANAC, QZSS_EPHEMERIDES, QZSS_INTEGRITY = range(11, 14)
TYPES = (*range(1, 10), *range(11, 14))
DEFAULT = (UTC, EPHEMERIDES, ALMANAC, KLOBUCHAR, TOWS, CLOCK, INTEGRITY)
FILTERED = 16  # ephemerides of a filtered answer
EPOCH = 315_964_800  # 6 January 1980, Unix seconds
LEAP_SECONDS = 18  # GPS time before UTC, since 2017
DAY, WEEK_DAYS = 86_400, 7
EPHEMERIS_STEP = 7_200  # seconds between the reference times of ephemerides
PREDICTION = 2006  # bytes of one prediction of 32 satellites
_HEADER = struct.Struct("<BH")
_EPHEMERIS = struct.Struct("<BBHHbhibBBHihiiIhIiihhhhhh")
_ALMANAC = struct.Struct("<BBBBHhhBIiiihh")
_CLOCK = struct.Struct("<HIHI4x")
_FILE = struct.Struct("<BBHHHHhi")
_QUIET_IONOSPHERE = (
    11,
    1,
    -1,
    -1,
    45,
    2,
    -3,
    -1,
)  # Klobuchar's alphas and betas of a quiet day, in units of IS-GPS-200


@dataclass(frozen=True, slots=True)
class Where:
    """A place in degrees, and the radius in metres within which the receiver is."""

    place: tuple[float, float]
    uncertainty: float


def gps_time(unix: float) -> float:
    """GPS seconds."""
    return unix - EPOCH + LEAP_SECONDS


def assistance(types: Sequence[int], now: float, where: Where | None, mask: float | None = None) -> bytes:
    """An A-GNSS answer at GPS second `now`; LOCATION is left out without a place.

    With `mask` (degrees) and a place, only the ephemerides of satellites above it are given, FILTERED at most.
    """
    builders: dict[int, Callable[[], list[bytes]]] = {
        UTC: lambda: [_utc(now)],
        EPHEMERIDES: lambda: [_ephemeris(orbit, now) for orbit in _seen(now, where, mask)],
        ALMANAC: lambda: [_almanac(gps(number), now, 0.30, 0.0) for number in GPS],
        KLOBUCHAR: lambda: [struct.pack("<8b", *_QUIET_IONOSPHERE)],
        NEQUICK: lambda: [struct.pack("<hhhBB", 236, 0, 0, 0, 0)],
        TOWS: lambda: [struct.pack("<BHB", number, 0, 0) for number in GPS],  # the words of telemetry are not known
        CLOCK: lambda: [_clock(now)],
        LOCATION: lambda: [] if where is None else [_location(where)],
        INTEGRITY: lambda: [struct.pack("<I", 0)],  # a bit would be set for each satellite that is not healthy
        QZSS_ALMANAC: lambda: [_almanac(qzss(number), now, 0.25, 0.06) for number in QZSS],
        QZSS_EPHEMERIDES: lambda: [_ephemeris(qzss(number), now) for number in QZSS],
        QZSS_INTEGRITY: lambda: [struct.pack("<I", 0)],
    }
    parts = [bytes([VERSION])]
    for kind in sorted(
        set(types)
    ):  # ascending: a receiver takes the times of week with the clock that comes after them
        elements = builders[kind]()
        if elements:  # a count of nothing is none of the format
            parts += [_HEADER.pack(kind, len(elements)), *elements]
    return b"".join(parts)


def predictions(start: int, count: int, minutes: int) -> bytes:
    """A P-GPS file: `count` predictions, each for the `minutes` around its time; the first is for GPS second `start`."""
    day, second = divmod(start, DAY)
    parts = [_FILE.pack(VERSION, PREDICTIONS, 1, count, PREDICTION, minutes, day, second)]
    for number in range(count):
        middle = start + number * minutes * 60
        parts += [_HEADER.pack(CLOCK, 1), _clock(middle), _HEADER.pack(EPHEMERIDES, len(GPS))]
        parts += [_ephemeris(gps(satellite), middle) for satellite in GPS]
    return b"".join(parts)


def _seen(now: float, where: Where | None, mask: float | None) -> list[Orbit]:
    orbits = [gps(number) for number in GPS]
    if mask is None or where is None:
        return orbits
    return visible(orbits, where.place, now % SECONDS_OF_WEEK, mask)[:FILTERED]


def _utc(now: float) -> bytes:
    """The reference time is in 2^12 seconds; the leap second of 2017 is the last that is known."""
    week = int(now // SECONDS_OF_WEEK) % 256
    last = int(gps_time(1_483_228_800) // SECONDS_OF_WEEK) % 256
    tot = int(now % SECONDS_OF_WEEK) >> 12
    return struct.pack("<iiBBbBbb", 0, 0, tot, week, LEAP_SECONDS, last, WEEK_DAYS, LEAP_SECONDS)


def _clock(now: float) -> bytes:
    day, second = divmod(now, DAY)
    return _CLOCK.pack(int(day) % 65536, int(second), int(second % 1 * 1000), 0)


def _location(where: Where) -> bytes:
    lat, lon = where.place
    radius = min(127, math.ceil(math.log(1 + where.uncertainty / 10) / math.log(1.1)))
    north, east = round(lat / 90 * 2**23), round(lon / 360 * 2**24)
    return struct.pack("<iihBBBBB", north, east, 0, radius, radius, 0, 255, 68)


def _ephemeris(orbit: Orbit, now: float) -> bytes:
    """At the reference time that is nearest to `now`."""
    nearest = round(now / EPHEMERIS_STEP) * EPHEMERIS_STEP
    toe = nearest % SECONDS_OF_WEEK
    return _EPHEMERIS.pack(
        orbit.satellite,
        0,  # health
        nearest // EPHEMERIS_STEP % 1024,  # iodc
        toe >> 4,  # toc
        0,  # af2
        0,  # af1
        0,  # af0
        0,  # tgd
        0,  # ura
        0,  # fit_int
        toe >> 4,
        _scaled(orbit.perigee, 31),
        0,  # delta_n
        _scaled(orbit.anomaly_at(toe), 31),
        0,  # omega_dot
        _scaled(orbit.eccentricity, 33),
        0,  # idot
        _scaled(orbit.root, 19),
        _scaled(orbit.inclination, 31),
        _scaled(orbit.node, 31),
        *(0,) * 6,  # harmonic corrections
    )


def _almanac(orbit: Orbit, now: float, inclination: float, eccentricity: float) -> bytes:
    """At the beginning of the week. The message counts inclination (semicircles) and eccentricity from the values that are given."""
    return _ALMANAC.pack(
        orbit.satellite,
        int(now // SECONDS_OF_WEEK) % 256,
        0,  # toa
        0,  # ioda
        _scaled(orbit.eccentricity - eccentricity, 21),
        _scaled(orbit.inclination - inclination, 19),
        0,  # omega_dot
        0,  # health
        _scaled(orbit.root, 11),
        _scaled(orbit.node, 23),
        _scaled(orbit.perigee, 23),
        _scaled(orbit.anomaly, 23),
        0,  # af0
        0,  # af1
    )


def _scaled(value: float, power: int) -> int:
    return round(math.ldexp(value, power))
