"""The location services as CoAP has them: maps whose keys are numbers. PURE; `coap` reads and writes the CBOR.

Keys: the SDK's `nrf_cloud_coap_{ground_fix,agnss,pgps}.cddl`.
"""

from collections.abc import Mapping
from typing import Any

from agent.sim.nrf.answers import BAD_REQUEST, NrfError
from agent.sim.nrf.location import Location

GROUND_FIX = dict(
    enumerate(
        (
            "earfcn",
            "pci",
            "rsrp",
            "rsrq",
            "timeDiff",
            "mcc",
            "mnc",
            "eci",
            "tac",
            "adv",
            "nmr",
            "macAddress",
            "age",
            "signalStrength",
            "channel",
            "frequency",
            "ssid",
            "accessPoints",
            "lte",
            "wifi",
        ),
        1,
    )
)
AGNSS = dict(enumerate(("types", "eci", "filtered", "mask", "mcc", "mnc", "rsrp", "tac"), 1))
PGPS = dict(enumerate(("predictionCount", "predictionIntervalMinutes", "startGpsDay", "startGpsTimeOfDaySeconds"), 1))
_FIX, _FILE = ("lat", "lon", "uncertainty", "fulfilledWith"), ("host", "path")
_FLAGS = {"": None, "true": True, "1": True, "false": False, "0": False}

Answered = dict[int, Any] | bytes | None


def locate(location: Location, device: str, service: str, body: Any, query: Mapping[str, str]) -> Answered:
    """The answer of `loc/<service>`: a map for CBOR, bytes as they are, None for an empty payload. Raises NrfError."""
    if service == "agnss":
        return location.assistance(device, _named(body, AGNSS))
    if service == "pgps":
        return _numbered(location.predictions(_named(body, PGPS)), _FILE)
    fallback, sure = _flag(query, "fallback", default=True), _flag(query, "hiConf", default=False)
    fix = location.ground_fix(device, _named(body, GROUND_FIX), fallback=fallback, sure=sure)
    return _numbered(fix.document(), _FIX) if _flag(query, "doReply", default=True) else None


def _named(value: Any, names: Mapping[int, str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise NrfError(BAD_REQUEST, "the body is a map")
    named = {}
    for key, member in value.items():
        name = names.get(key) if isinstance(key, int) else None
        if name is None:
            raise NrfError(BAD_REQUEST, f"{str(key)[:40]} is no key of this request")
        named[name] = _member(member, names)
    return named


def _member(value: Any, names: Mapping[int, str]) -> Any:
    match value:
        case bytes():  # a MAC address is the only one
            return value.hex()
        case list():
            return [_member(entry, names) for entry in value]
        case Mapping():
            return _named(value, names)
        case bool() | int() | float() | str():
            return value
    raise NrfError(BAD_REQUEST, "the body has a value of a kind that no member is of")


def _numbered(body: Mapping[str, Any], names: tuple[str, ...]) -> dict[int, Any]:
    return {number: body[name] for number, name in enumerate(names, 1)}


def _flag(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = query.get(name, "").lower()
    if text not in _FLAGS:
        raise NrfError(BAD_REQUEST, f"{name} is true or false")
    found = _FLAGS[text]
    return default if found is None else found
