"""A constellation that never was: GPS and QZSS satellites on nominal orbits, where they are at a time, and who sees them. PURE.

GPS: 32 satellites in six planes 60 degrees apart, on circles with the nominal radius and inclination (IS-GPS-200). QZSS: satellites
193 to 196 with the nominal figures of its quasi-zenith orbit (IS-QZSS-PNT), a quarter of a day apart. A receiver that computes with
these orbits gets places on Earth's sky, though not those of the satellites that it hears.
"""

import math
from dataclasses import dataclass

SECONDS_OF_WEEK = 604_800
ROTATION = 7.2921151467e-5  # of the Earth, radians in a second (IS-GPS-200)
GRAVITY = 3.986005e14  # of the Earth, m^3/s^2 (IS-GPS-200)
RADIUS = 6_371_000.0  # of the Earth, metres
GPS, QZSS = range(1, 33), range(193, 197)
PLANES = 6


@dataclass(frozen=True, slots=True)
class Orbit:
    """Keplerian elements at the beginning of a GPS week; angles in semicircles, as the messages of GPS have them."""

    satellite: int
    root: float  # of the semi-major axis, sqrt(m)
    eccentricity: float
    inclination: float
    node: float  # longitude of the ascending node
    perigee: float
    anomaly: float  # mean anomaly

    def anomaly_at(self, second: float) -> float:
        """The mean anomaly after `second` seconds of the week, semicircles from -1 to 1."""
        return _wrapped(self.anomaly + math.sqrt(GRAVITY) / self.root**3 / math.pi * second)

    def place(self, second: float) -> tuple[float, float, float]:
        """Metres from the Earth's centre, turning with it."""
        mean = math.pi * self.anomaly_at(second)
        eccentric = mean
        for _ in range(5):  # Kepler's equation; these orbits are nearly circles
            eccentric = mean + self.eccentricity * math.sin(eccentric)
        flat = math.sqrt(1 - self.eccentricity**2) * math.sin(eccentric), math.cos(eccentric) - self.eccentricity
        argument = math.atan2(*flat) + math.pi * self.perigee
        radius = self.root**2 * (1 - self.eccentricity * math.cos(eccentric))
        along, across = radius * math.cos(argument), radius * math.sin(argument)
        node, tilt = math.pi * self.node - ROTATION * second, math.pi * self.inclination
        east, north = across * math.cos(tilt), across * math.sin(tilt)
        return (
            along * math.cos(node) - east * math.sin(node),
            along * math.sin(node) + east * math.cos(node),
            north,
        )


def gps(satellite: int) -> Orbit:
    plane, slot = (satellite - 1) % PLANES, (satellite - 1) // PLANES
    anomaly = slot * 2 / 6 + plane / 12
    return Orbit(satellite, 5153.65, 0.0, 55 / 180, _wrapped(plane / 3), 0.0, _wrapped(anomaly))


def qzss(satellite: int) -> Orbit:
    """The middle of its track is 135 degrees east, over Japan: node, perigee and anomaly are 0.75 semicircles together."""
    turn = (satellite - QZSS[0]) / 2
    return Orbit(satellite, 6493.39, 0.075, 41 / 180, _wrapped(-0.75 + turn), -0.5, _wrapped(-turn))


def visible(orbits: list[Orbit], place: tuple[float, float], second: float, mask: float) -> list[Orbit]:
    """Those at least `mask` degrees above the horizon of `place` (degrees), the highest first."""
    lat, lon = (math.radians(angle) for angle in place)
    up = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
    heights = [(_elevation(orbit.place(second), up), orbit) for orbit in orbits]
    seen = [entry for entry in heights if entry[0] >= mask]
    return [orbit for _, orbit in sorted(seen, key=lambda entry: -entry[0])]


def _elevation(satellite: tuple[float, float, float], up: tuple[float, float, float]) -> float:
    away = tuple(there - RADIUS * here for there, here in zip(satellite, up, strict=True))
    distance = math.hypot(*away)
    return math.degrees(math.asin(math.fsum(part * here for part, here in zip(away, up, strict=True)) / distance))


def _wrapped(semicircles: float) -> float:
    return (semicircles + 1) % 2 - 1
