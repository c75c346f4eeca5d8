"""The location services as REST has them: paths, queries and ranges. PURE.

Devices ask with their token, onboarded or not; where devices have been is for the account.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from agent.sim.exchange import Answer, Ask, Query
from agent.sim.nrf.answers import DENIED, INVALID, NrfError, answer, json_body, object_body
from agent.sim.nrf.location import Location
from agent.sim.nrf.pages import first, flag

NO_RANGE = 41600
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_COUNTS = ("predictionCount", "predictionIntervalMinutes", "startGpsDay", "startGpsTimeOfDaySeconds")


class LocationApi:
    """Answers what is under `/location`. `tagged` gives the ids of the devices with a tag."""

    def __init__(self, location: Location, tagged: Callable[[str], Iterable[str]]) -> None:
        self._location, self._tagged = location, tagged

    def answer(self, device: str, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        """None when it is about something else; `device` is empty for the account. Raises NrfError."""
        if words[:1] != ("location",):
            return None
        if device:
            return self._cells(device, ask, words[1:]) or self._receivers(device, ask, words[1:])
        match ask.method, words[1:]:
            case "GET", ("history",):
                return answer(200, self._location.history(ask.query, self._tagged))
            case "DELETE", ("history", owner, identifier):
                self._location.forget(owner, identifier)
                return answer(202)
        raise NrfError(DENIED, "Access denied: a device token is wanted here", status=403)

    def _cells(self, device: str, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        """A fix by what is heard of networks: the present way, and those before it."""
        match ask.method, words:
            case "POST", ("ground-fix",):
                return self._ground_fix(device, ask, object_body(ask.body))
            case "POST", ("cell",):
                return self._ground_fix(device, ask, {**object_body(ask.body), "wifi": None})
            case "POST", ("wifi",):
                return self._ground_fix(device, ask, {"wifi": object_body(ask.body)})
            case "GET", ("single-cell",):
                return self._ground_fix(device, ask, {"lte": [_numbers(ask.query, ("mcc", "mnc", "tac", "eci"))]})
        return None

    def _receivers(self, device: str, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        """What receivers of satellites need, and what they have found."""
        match ask.method, words:
            case (("POST" | "HEAD"), ("agnss",)):
                return self._assistance(device, ask, object_body(ask.body or b"{}") | _asked(ask.query))
            case (("GET" | "HEAD"), ("agps",)):
                return self._assistance(device, ask, _asked(ask.query))
            case "GET", ("pgnss" | "pgps",):
                return answer(200, self._location.predictions(_numbers(ask.query, _COUNTS)))
            case "POST", ("gnss",):
                self._location.record(device, _position(ask.body))
                return answer(202)
        return None

    def _ground_fix(self, device: str, ask: Ask, body: dict[str, Any]) -> Answer:
        fallback, sure = flag(ask.query, "fallback", default=True), flag(ask.query, "hiConf", default=False)
        found = self._location.ground_fix(device, body, fallback=fallback, sure=sure).document()
        return answer(200, found if flag(ask.query, "doReply", default=True) else None)

    def _assistance(self, device: str, ask: Ask, body: dict[str, Any]) -> Answer:
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if ask.method == "HEAD":
            return Answer(200, self._location.assistance(device, body), headers)  # its length is told, it is not sent
        found = _RANGE.fullmatch(ask.headers.get("range", ""))
        if found is None or not any(found.groups()):
            raise NrfError(NO_RANGE, "Range: bytes=<first>-<last> is wanted")
        content = self._location.assistance(device, body, int(found[1] or 0))
        size = len(content)
        begin = int(found[1]) if found[1] else max(0, size - int(found[2]))
        end = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
        if not begin <= end:
            raise NrfError(NO_RANGE, f"there are {size} bytes")
        headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
        return Answer(206, content[begin : end + 1], headers)


def _position(body: bytes) -> Any:
    return body.decode("ascii", "replace") if body[:1] == b"$" else json_body(body)


def _asked(query: Query) -> dict[str, Any]:
    """A-GNSS parameters of a query, as the body has them. Raises NrfError."""
    asked = _numbers(query, ("mcc", "mnc", "tac", "eci", "rsrp", "mask"))
    if "filtered" in query:
        asked["filtered"] = flag(query, "filtered", default=False)
    given = [text for name in ("types", "customTypes") for value in query.get(name, ()) for text in value.split(",")]
    return {**asked, "types": [_number("types", text) for text in given]} if given else asked


def _numbers(query: Query, names: Iterable[str]) -> dict[str, Any]:
    return {name: _number(name, first(query, name)) for name in names if name in query}


def _number(name: str, text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise NrfError(INVALID, f"{name} is a number") from None
