"""nRF Cloud's location services, whichever way a device asks: ground fixes, A-GNSS, P-GPS, and where its devices have been. PURE.

Requests and answers: protocol notes, sections 1.3 and 2.6; the API's description (GroundFix, GNSS, LocationHistory). The P-GPS file is
written by who made this object; A-GNSS answers are made for the moment of their first byte.
"""

import functools
import json
import operator
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from agent.clock import iso
from agent.sim.exchange import Query
from agent.sim.nrf.answers import BAD_REQUEST, INVALID, NOT_FOUND, NrfError
from agent.sim.nrf.assistance import DAY, DEFAULT, LOCATION, TYPES, Where, assistance, gps_time, predictions
from agent.sim.nrf.pages import first, flag, page
from agent.sim.nrf.positions import IDENTITY, SINGLE, Fix, cell_place, check_numbers, ground_fix
from agent.sim.records import Record, Records

MASK = 5  # degrees above the horizon, of a filtered answer
KEPT = 60.0  # seconds that the rest of an A-GNSS answer can be fetched
COUNT, INTERVAL = 42, 240  # predictions and minutes, when the device names none
MOST_PREDICTIONS = 84
INTERVALS = range(120, 481, 60)  # minutes
AHEAD = 14 * DAY  # seconds: how late predictions may begin, and how long they last
_PGPS = {
    "predictionCount": range(1, MOST_PREDICTIONS + 1),
    "predictionIntervalMinutes": INTERVALS,
    "startGpsDay": range(1, 65536),
    "startGpsTimeOfDaySeconds": range(DAY),
}
_META = ("acc", "alt", "spd", "hdg")  # of a GNSS position: metres, metres, m/s, degrees
_GGA = re.compile(
    r"\$(?P<text>G[A-Z]GGA,[^,]*,(?P<lat>\d{2})(?P<lat_minutes>\d{2}\.\d+),(?P<south>[NS]),"
    r"(?P<lon>\d{3})(?P<lon_minutes>\d{2}\.\d+),(?P<west>[EW]),(?P<quality>\d),[^,]*,[^,]*,(?P<alt>-?\d*\.?\d*),[^*]*)"
    r"(?:\*(?P<sum>[0-9A-Fa-f]{2}))?",
    re.ASCII,
)

Body = dict[str, Any]
WriteFile = Callable[[str, bytes], dict[str, str]]


class Location:
    """Places in the records of kind `nrf-location`. `write(name, content)` keeps a file for download: `{"host", "path"}`."""

    def __init__(self, records: Records, now: Callable[[], float], write: WriteFile) -> None:
        self._records, self._now, self._write = records, now, write
        self._begun: dict[str, tuple[float, bytes]] = {}

    def ground_fix(self, device: str, request: Body, *, fallback: bool = True, sure: bool = False) -> Fix:
        """Find a device, and keep where it is. Raises NrfError."""
        fix = ground_fix(request, fallback=fallback, sure=sure)
        self._keep(device, fix.by, fix.lat, fix.lon, fix.uncertainty)
        return fix

    def assistance(self, device: str, request: Body, start: int = 0) -> bytes:
        """A whole A-GNSS answer. From its byte `start` on it is the one that the device began to fetch. Raises NrfError."""
        now, key = self._now(), json.dumps([device, request], sort_keys=True)
        self._begun = {name: entry for name, entry in self._begun.items() if entry[0] > now}
        if not start or key not in self._begun:
            self._begun[key] = now + KEPT, _assistance(request, gps_time(now))
        return self._begun[key][1]

    def predictions(self, request: Mapping[str, Any]) -> dict[str, str]:
        """A P-GPS file: `{"host", "path"}`. Raises NrfError."""
        for name, allowed in _PGPS.items():
            value = request.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value not in allowed):
                raise NrfError(INVALID, f"{name} is {allowed[0]} to {allowed[-1]}, in steps of {allowed.step}")
        minutes, now = request.get("predictionIntervalMinutes", INTERVAL), int(gps_time(self._now()))
        count, span = request.get("predictionCount", COUNT), minutes * 60
        start = now // span * span + span // 2
        if "startGpsDay" in request or "startGpsTimeOfDaySeconds" in request:
            start = request.get("startGpsDay", now // DAY) * DAY + request.get("startGpsTimeOfDaySeconds", 0)
        end = start + (count - 1) * span
        if not now - DAY <= start <= now + AHEAD or count * span > AHEAD:
            raise NrfError(INVALID, "there are predictions for 14 days, which begin within the next 14")
        (day, second), (last_day, last_second) = divmod(start, DAY), divmod(end, DAY)
        # without the interval, two files could have one name
        name = f"public/{day}-{second}_{last_day}-{last_second}-{minutes}.bin"
        return self._write(name, predictions(start, count, minutes))

    def heard(self, device: str, message: Any) -> None:
        """Keep the place that a device tells in a message of its receiver."""
        match message:
            case {"appId": "GNSS" | "GPS", "data": str(sentence)}:
                found = nmea(sentence)
            case {"appId": "GNSS" | "GPS", "data": {"lat": lat, "lng": lon, **more}}:
                found = {"lat": lat, "lon": lon} | {str(name): value for name, value in more.items()}
            case _:
                return
        if found and _is_place(found):
            self._keep_position(device, found)

    def record(self, device: str, body: Any) -> None:
        """RecordGnssCoordinates: `{"lat", "lon", …}` or an NMEA sentence. Raises NrfError."""
        found = nmea(body) if isinstance(body, str) else body
        if not isinstance(found, dict) or not _is_place(found):
            raise NrfError(INVALID, "the body is an object with lat and lon in degrees, or an NMEA sentence with a fix")
        self._keep_position(device, found)

    def _keep_position(self, device: str, found: Body) -> None:
        meta = {name: found[name] for name in _META if name in found}
        self._keep(device, "GNSS", found["lat"], found["lon"], found.get("acc", ""), meta)

    def _keep(self, device: str, kind: str, lat: Any, lon: Any, uncertainty: Any, meta: Body | None = None) -> None:
        entry: Record = {
            "id": str(uuid.uuid4()),
            "deviceId": device,
            "serviceType": kind,
            "insertedAt": iso(self._now()),
        }
        entry |= {"lat": str(lat), "lon": str(lon), "uncertainty": str(uncertainty), "meta": meta or {}}
        self._records.put("nrf-location", entry["id"], entry)

    def history(self, query: Query, devices: Callable[[str], Iterable[str]]) -> Body:
        """A page of places, the newest first unless `pageSort` is asc. `devices` gives those of a tag. Raises NrfError."""
        found = [entry for entry in self._records.all("nrf-location") if _within(entry, query)]
        tags = query.get("tags")
        if tags:
            wanted = {device for tag in tags for device in devices(tag)}
            found = [entry for entry in found if entry["deviceId"] in wanted]
        if flag(query, "latest", default=False):
            found = list({entry["deviceId"]: entry for entry in found}.values())
        if first(query, "pageSort") != "asc":
            found.reverse()
        return page(found, query)

    def forget(self, device: str, identifier: str) -> None:
        """Delete one place of a device. Raises NrfError."""
        found = self._records.get("nrf-location", identifier)
        if found is None or found["deviceId"] != device:
            raise NrfError(NOT_FOUND, "no such place")
        self._records.delete("nrf-location", identifier)


def _assistance(request: Body, now: float) -> bytes:
    types, filtered, mask = (
        request.get("types", list(DEFAULT)),
        request.get("filtered", False),
        request.get("mask", MASK),
    )
    if not isinstance(types, list) or not types or any(isinstance(kind, bool) or kind not in TYPES for kind in types):
        raise NrfError(INVALID, f"types is a list of {', '.join(map(str, TYPES))}")
    if not isinstance(filtered, bool):
        raise NrfError(INVALID, "filtered is true or false")
    if isinstance(mask, bool) or not isinstance(mask, int | float) or not 0 <= mask <= 90:  # noqa: PLR2004  degrees
        raise NrfError(INVALID, "mask is 0 to 90 degrees")
    where = None
    if filtered or LOCATION in types or request.keys() & IDENTITY.keys():
        where = _where(request, needed=filtered or types == [LOCATION])
    return assistance(types, now, where, mask if filtered else None)


def _where(request: Body, *, needed: bool) -> Where | None:
    check_numbers(request, IDENTITY, "the cell")
    place = cell_place(request)
    if place is None and needed:
        raise NrfError(NOT_FOUND, "no location was found for this cell")
    return None if place is None else Where(place, SINGLE)


def _within(entry: Record, query: Query) -> bool:
    device = first(query, "deviceId") or first(query, "deviceIdentifier")
    if device and entry["deviceId"] != device:
        return False
    at = _moment("insertedAt", entry["insertedAt"])
    for name in ("start", "inclusiveStart", "end", "inclusiveEnd"):
        text = first(query, name)
        bound = _moment(name, text) if text else at
        if (at < bound) if name.lower().endswith("start") else (at > bound):
            return False
    return True


def _moment(name: str, text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise NrfError(BAD_REQUEST, f"{name} is no ISO-8601 time") from None
    return found.timestamp() if found.tzinfo else datetime.fromisoformat(f"{found.isoformat()}+00:00").timestamp()


def _is_place(found: Body) -> bool:
    return all(_is_within(found.get(name), most) for name, most in (("lat", 90), ("lon", 180)))


def _is_within(value: Any, most: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most


def nmea(sentence: str) -> Body | None:
    """The fix of an NMEA 0183 sentence GGA: `{"lat", "lon", "alt"?}`, None when it has none or its checksum is wrong."""
    found = _GGA.search(sentence)
    if found is None or not found["quality"].strip("0"):
        return None
    told = found["sum"]
    if told and functools.reduce(operator.xor, found["text"].encode(), 0) != int(told, 16):
        return None
    place = {
        "lat": (int(found["lat"]) + float(found["lat_minutes"]) / 60) * (-1 if found["south"] == "S" else 1),
        "lon": (int(found["lon"]) + float(found["lon_minutes"]) / 60) * (-1 if found["west"] == "W" else 1),
    }
    place = {name: round(degrees, 7) for name, degrees in place.items()}
    return {**place, "alt": float(found["alt"])} if found["alt"] else place
