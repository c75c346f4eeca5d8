"""Where a device is, from the LTE cells and Wi-Fi access points that it sees: a ground fix. PURE.

The answer is always the same for the same request. A few cells and access points, those of the API's own examples, are declared here;
every other one has a place that is derived from SHA-256 of its identity: a tracking area within 20 km of TOWN, a cell within 3 km of
its tracking area's centre, a neighbour within 2 km of the cell that is served, an access point within 200 m of TOWN. What is in no
database, so that the ways without an answer can be tested: cells of MCC 001 (3GPP's test network; their tracking area is known), cells
of MCC 999 (private networks; neither is known), and access points of 00:00:5E:00:53 (RFC 7042's for documentation).

Members, ranges and the meaning of the options: nRF Cloud's API description (GetLocationFromCellsOrWifiNetworks) and the schemas
`ground_fix` of its application protocols.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.sim.nrf.answers import INVALID, NOT_FOUND, NrfError

Body = Mapping[str, Any]
Place = tuple[float, float]  # latitude and longitude in degrees, WGS 84

TOWN: Place = (63.421800, 10.437200)
CELLS: Mapping[tuple[int, int, int, int], Place] = {  # mcc, mnc, tac, eci
    (244, 91, 4099, 36078631): (61.498200, 23.761000),
    (310, 260, 333, 21858829): (45.524098, -122.688408),
}
ACCESS_POINTS: Mapping[str, Place] = {
    "00:18:39:59:8C:53": (61.497800, 23.760100),
    "00:21:55:61:F3:0A": (61.498100, 23.760900),
    "FD:70:40:B9:58:DC": (45.523900, -122.688100),
    "C5:AB:C7:55:8D:E3": (45.524300, -122.688700),
}
TEST_NETWORK, PRIVATE = 1, 999
UNLISTED = "00:00:5E:00:53:"
AREA_RADIUS, CELL_RADIUS, NEIGHBOUR_RADIUS, WIFI_RADIUS = 20_000.0, 3_000.0, 2_000.0, 200.0  # metres
AREA, SINGLE, MULTI, WIFI = 20_000, 1_500, 600, 25  # uncertainty in metres, the least of each kind
TIMING_STEP = 9.77  # metres that a radio wave goes in one Ts of 3GPP TS 36.211, there and not back
CONFIDENT = 1.621  # 95 % instead of 68 %, for an error that is normal in two dimensions
LOCAL = 0x02  # of a MAC address's first byte: administered locally (IEEE 802)
_METRES = 111_320.0  # in a degree of latitude
_MAC = re.compile(r"[0-9A-F]{2}([:-][0-9A-F]{2}){5}|[0-9A-F]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fix:
    """A place, the radius in metres within which the device is, and what it was found by: WIFI, MCELL or SCELL."""

    lat: float
    lon: float
    uncertainty: int
    by: str

    def document(self) -> dict[str, Any]:
        """The answer of the API."""
        return {"lat": self.lat, "lon": self.lon, "uncertainty": self.uncertainty, "fulfilledWith": self.by}


@dataclass(frozen=True, slots=True)
class _Range:
    low: float
    high: float
    whole: bool = True
    needed: bool = False


_SIGNAL = {"rsrp": _Range(-157, -44, whole=False), "rsrq": _Range(-34.5, 3.5, whole=False)}
_NEIGHBOUR = {
    **_SIGNAL,
    "earfcn": _Range(0, 262143, needed=True),
    "pci": _Range(0, 503, needed=True),
    "eci": _Range(0, 268435455),
    "timeDiff": _Range(-99999, 99999, whole=False),
}
IDENTITY = {
    "mcc": _Range(1, 999, needed=True),
    "mnc": _Range(0, 999, needed=True),
    "eci": _Range(0, 268435455, needed=True),
    "tac": _Range(0, 65535, needed=True),
}
_CELL = {
    **IDENTITY,
    **_SIGNAL,
    "pci": _Range(0, 503),
    "earfcn": _Range(0, 262143),
    "adv": _Range(0, 20512, whole=False),
    "age": _Range(0, 2**31, whole=False),
}
_POINT = {
    "signalStrength": _Range(-128, 0, whole=False),
    "age": _Range(0, 2**31, whole=False),
    "signalToNoiseRatio": _Range(-200, 200, whole=False),
    "frequency": _Range(0, 10000, whole=False),
    "channel": _Range(0, 300, whole=False),
}
_KINDS = ("lte", "ltecatm", "nbiot")


def ground_fix(request: Body, *, fallback: bool = True, sure: bool = False) -> Fix:
    """By Wi-Fi when two access points are known, else by cells, else (`fallback`) by the tracking area.

    `sure`: the radius is that of 95 % and not of 68 %. Raises NrfError: 42200 for a request that breaks a rule, 40410 when nothing of
    it is known.
    """
    cells, points = _checked(request)
    found = _by_wifi(points) or _by_cells(cells) or (_by_area(cells) if fallback else None)
    if found is None:
        raise NrfError(NOT_FOUND, "no location was found for these cells and access points")
    place, uncertainty, kind = found
    return Fix(round(place[0], 6), round(place[1], 6), math.ceil(uncertainty * (CONFIDENT if sure else 1)), kind)


def cell_place(cell: Body) -> Place | None:
    """Where a cell is; None for one that is in no database. `cell` has mcc, mnc, tac and eci."""
    key = (int(cell["mcc"]), int(cell["mnc"]), int(cell["tac"]), int(cell["eci"]))
    if key in CELLS:
        return CELLS[key]
    area = None if key[0] == TEST_NETWORK else _area_place(cell)
    return None if area is None else _near(area, CELL_RADIUS, "cell", *key)


def check_numbers(entry: Any, rules: Mapping[str, _Range], what: str) -> None:
    """Raises NrfError for what is no object, lacks a member, or has one that is no number of its range."""
    if not isinstance(entry, Mapping):
        raise NrfError(INVALID, f"{what} is not an object")
    for name, rule in rules.items():
        value = entry.get(name)
        if value is None and not rule.needed:
            continue
        if name == "mnc" and isinstance(value, str) and re.fullmatch("[0-9]{1,3}", value):
            continue
        kinds = (int,) if rule.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not rule.low <= value <= rule.high:
            number = "a whole number" if rule.whole else "a number"
            raise NrfError(INVALID, f"{what}: {name} is {number} from {rule.low:g} to {rule.high:g}")


# ---- what is asked --------------------------------------------------------------------------------------------------


def _checked(request: Body) -> tuple[list[Body], list[Body]]:
    cells = [cell for kind in _KINDS for cell in _rows(request, kind, kind)]
    for cell in cells:
        check_numbers(cell, _CELL, "a cell")
        for neighbour in _rows(cell, "nmr", "nmr"):
            check_numbers(neighbour, _NEIGHBOUR, "a neighbour")
    wifi = request.get("wifi")
    # the API's own example has a plain list where its description has an object
    points = _rows({"accessPoints": wifi} if isinstance(wifi, list) else (wifi or {}), "accessPoints", "wifi")
    for point in points:
        check_numbers(point, _POINT, "an access point")
        _check_mac(point)
    if wifi is not None and len(points) < 2:  # noqa: PLR2004  "At least two Access Points are required"
        raise NrfError(INVALID, "at least two access points are required")
    if not cells and not points:
        raise NrfError(INVALID, "lte or wifi is required")
    return cells, points


def _rows(holder: Any, name: str, what: str) -> list[Body]:
    rows = holder.get(name) if isinstance(holder, Mapping) else holder
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise NrfError(INVALID, f"{what} is not a list")
    return rows


def _check_mac(point: Body) -> None:
    text = point.get("macAddress")
    if not isinstance(text, str) or not _MAC.fullmatch(text):
        raise NrfError(INVALID, "macAddress is six hexadecimal pairs, separated by colons or dashes")
    if int(text[:2], 16) & LOCAL:
        raise NrfError(INVALID, f"Mac address {text} is a local mac address")


# ---- what is answered -----------------------------------------------------------------------------------------------

_Found = tuple[Place, float, str]


def _by_wifi(points: Sequence[Body]) -> _Found | None:
    known = [(_point_place(mac), _strength(point, "signalStrength", -128)) for mac, point in _by_address(points)]
    seen = [(place, weight) for place, weight in known if place is not None]
    if len(seen) < 2:  # noqa: PLR2004  one access point is no fix
        return None
    place = _middle(seen)
    return place, max(float(WIFI), _spread(place, seen)), "WIFI"


def _by_address(points: Sequence[Body]) -> list[tuple[str, Body]]:
    return list({_mac(point): point for point in points}.items())


def _by_cells(cells: Sequence[Body]) -> _Found | None:
    seen: list[tuple[Place, float]] = []
    for cell in cells:
        place = cell_place(cell)
        if place is None:
            continue
        seen.append((place, _strength(cell, "rsrp", -157)))
        for neighbour in cell.get("nmr") or ():
            near = _near(place, NEIGHBOUR_RADIUS, "neighbour", neighbour["earfcn"], neighbour["pci"])
            seen.append((near, _strength(neighbour, "rsrp", -157)))
    if not seen:
        return None
    place = _middle(seen)
    if len(seen) > 1:
        return place, max(float(MULTI), _spread(place, seen)), "MCELL"
    distance = next((cell["adv"] * TIMING_STEP for cell in cells if cell.get("adv") is not None), SINGLE)
    return place, max(distance, TIMING_STEP * 16), "SCELL"


def _by_area(cells: Sequence[Body]) -> _Found | None:
    for cell in cells:
        area = _area_place(cell)
        if area is not None:
            return area, AREA, "SCELL"
    return None


def _area_place(cell: Body) -> Place | None:
    mcc = int(cell["mcc"])
    return None if mcc == PRIVATE else _near(TOWN, AREA_RADIUS, "area", mcc, int(cell["mnc"]), int(cell["tac"]))


def _point_place(mac: str) -> Place | None:
    if mac.startswith(UNLISTED):
        return None
    return ACCESS_POINTS.get(mac) or _near(TOWN, WIFI_RADIUS, "access point", mac)


def _mac(point: Body) -> str:
    digits = re.sub("[:-]", "", str(point["macAddress"])).upper()
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))


def _strength(entry: Body, name: str, least: float) -> float:
    """The weight of what is heard: its decibels above the least that can be."""
    value = entry.get(name)
    return 1.0 if value is None else max(1.0, float(value) - least)


def _near(centre: Place, radius: float, *identity: object) -> Place:
    """A place within `radius` metres of `centre` that is always the same for an identity."""
    digest = hashlib.sha256(repr(identity).encode()).digest()
    turn, share = (int.from_bytes(digest[start : start + 4], "big") / 2**32 for start in (0, 4))
    north, east = (radius * math.sqrt(share) * part(math.tau * turn) for part in (math.cos, math.sin))
    return centre[0] + north / _METRES, centre[1] + east / (_METRES * math.cos(math.radians(centre[0])))


def _middle(seen: Sequence[tuple[Place, float]]) -> Place:
    total = math.fsum(weight for _, weight in seen)
    mean: Callable[[int], float] = lambda axis: math.fsum(place[axis] * weight for place, weight in seen) / total  # noqa: E731
    return mean(0), mean(1)


def _spread(centre: Place, seen: Sequence[tuple[Place, float]]) -> float:
    """The weighted mean distance from the middle, in metres."""
    narrow = math.cos(math.radians(centre[0]))
    total = math.fsum(weight for _, weight in seen)
    return (
        math.fsum(
            weight * _METRES * math.hypot(place[0] - centre[0], (place[1] - centre[1]) * narrow)
            for place, weight in seen
        )
        / total
    )
