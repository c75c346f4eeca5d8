"""The JSON of a zwave-js-server: what may stand in it, and what its refusals mean. PURE.

The server is another program's: nothing in a message is believed before it was looked at. What does not fit is Malformed, and costs its
message only.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from agent.driver import (
    DeviceRefused,
    DeviceUnreachable,
    DriverError,
    DriverLost,
    InvalidParameters,
    NotSupported,
    UnknownDevice,
)

Json = Mapping[str, Any]

OLDEST, NEWEST = 40, 50  # schema versions that this driver speaks
UPDATE_SERVER = "update Z-Wave JS UI (or zwave-js-server) to a version of 2025 or later"
UPDATE_HUB = "update hub-agent: the server speaks only schemas that are newer than this version knows"


class Malformed(ValueError):  # noqa: N818  a finding
    """A message that is not what the schema promises; the text says where."""


class StickBusy(DriverError):  # noqa: N818
    """The server's stick cannot transmit, or restarts."""

    code = 503


class StickRestarts(StickBusy):
    """The server's Z-Wave driver ended what it was doing, to start anew."""


def whole(value: Any, where: str) -> int:
    """A whole number. Raises Malformed."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed(f"{where} is {_kind(value)}, not a whole number")
    return value


def number(value: Any, where: str) -> float:
    """A number that can be calculated with. Raises Malformed."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise Malformed(f"{where} is {_kind(value)}, not a number")
    return value


def text(value: Any, where: str) -> str:
    """Text. Raises Malformed."""
    if not isinstance(value, str):
        raise Malformed(f"{where} is {_kind(value)}, not text")
    return value


def record(value: Any, where: str) -> Json:
    """An object. Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"{where} is {_kind(value)}, not an object")
    return value


def records(value: Any, where: str) -> Iterator[Json]:
    """The objects of a list. Raises Malformed."""
    if not isinstance(value, list):
        raise Malformed(f"{where} is {_kind(value)}, not a list")
    for one in value:
        yield record(one, where)


def numbers(value: Any) -> frozenset[int] | None:
    """The whole numbers of a list; None where it is none: what a server does not know it leaves out."""
    if not isinstance(value, list):
        return None
    return frozenset(one for one in value if isinstance(one, int) and not isinstance(one, bool))


def keyed(value: Any) -> dict[int, Any]:
    """A map with whole numbers as keys, as zwave-js writes it into JSON."""
    found = value if isinstance(value, dict) else {}
    return {int(key): one for key, one in found.items() if is_small(key)}


def is_small(digits: str) -> bool:
    """Whether a text is a number that has a place in Z-Wave: Python takes seconds for one of a million digits."""
    return digits.isdecimal() and digits.isascii() and len(digits) <= SMALL


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def negotiated(version: Json, place: str = "") -> int:
    """The schema to speak with a server that introduced itself. Raises DriverLost with the remedy, Malformed."""
    if version.get("type") != "version":
        raise Malformed("the first message is not the server's version")
    least = whole(version.get("minSchemaVersion"), "minSchemaVersion")
    most = whole(version.get("maxSchemaVersion"), "maxSchemaVersion")
    name = f"zwave-js-server {str(version.get('serverVersion', ''))[:40]} speaks schemas {least} to {most}"
    if most < OLDEST:
        raise DriverLost(f"{name}, this hub needs {OLDEST} or newer", place=place, remedy=UPDATE_SERVER)
    if least > NEWEST:
        raise DriverLost(f"{name}, this hub knows {OLDEST} to {NEWEST}", place=place, remedy=UPDATE_HUB)
    return min(most, NEWEST)


_REFUSED = {  # names of zwave-js's error codes -> what they are here; whatever is not in it was refused
    **dict.fromkeys(
        (
            "Controller_Timeout",
            "Controller_NodeTimeout",
            "Controller_MessageDropped",
            "Controller_CallbackNOK",
            "Controller_MessageExpired",
        ),
        DeviceUnreachable,
    ),
    **dict.fromkeys(("Controller_Jammed", "Controller_Reset", "Driver_NotReady", "Controller_ResponseNOK"), StickBusy),
    "Driver_TaskRemoved": StickRestarts,
    **dict.fromkeys(
        ("Controller_NodeNotFound", "Controller_EndpointNotFound", "Controller_NodeRemoved"), UnknownDevice
    ),
    **dict.fromkeys(
        (
            "Controller_NotSupported",
            "Driver_NotSupported",
            "CC_NotSupported",
            "CC_NotImplemented",
            "CC_NoAPI",
            "NVM_NotSupported",
            "Controller_NotSupportedForLongRange",
            "Driver_NoSecurity",
        ),
        NotSupported,
    ),
    **dict.fromkeys(
        ("Argument_Invalid", "NVM_InvalidFormat", "NVM_InvalidJSON", "Security2CC_InvalidQRCode"), InvalidParameters
    ),
    **dict.fromkeys(("Driver_Failed", "Driver_Destroyed", "Driver_SerialPortClosed"), DriverLost),
}
_CODES = {  # of the server itself
    "node_not_found": UnknownDevice,
    "endpoint_not_found": UnknownDevice,
    "unknown_command": NotSupported,
    "no_longer_supported": NotSupported,
}
SMALL = 9  # digits
LONGEST = 300  # characters of another program's words in ours


def refusal(message: Json) -> DriverError:
    """What a failed result means."""
    code = str(message.get("errorCode", ""))
    if code != "zwave_error":
        kind: type[DriverError] = _CODES.get(code, DeviceRefused)
        return kind(f"the server refused it: {_said(message, 'message') or code or 'no reason given'}")
    name = str(message.get("zwaveErrorCodeName", ""))
    said = _said(message, "zwaveErrorMessage") or f"zwave-js error {str(message.get('zwaveErrorCode', ''))[:10]}"
    return _REFUSED.get(name, DeviceRefused)(said)


def _said(message: Json, name: str) -> str:
    """The first line of a text: what follows is where in its program it was."""
    said = message.get(name)
    return said.strip().split("\n", 1)[0][:LONGEST] if isinstance(said, str) else ""


_DONE = (1, 254, 255)  # SetValueStatus, SupervisionStatus: working, success without and with supervision
_WORKING, _SUCCESS = 1, 255
_TROUBLE = {
    0: (NotSupported, "the device does not support it"),
    2: (DeviceRefused, "the device answered that it failed"),
    3: (UnknownDevice, "the device has no such endpoint"),
    4: (NotSupported, "zwave-js cannot set this"),
    5: (InvalidParameters, "zwave-js does not take this value"),
}


def done(result: Json) -> bool | None:
    """How a command ended: True when the device confirmed it, False while it works on it, None where nobody knows.

    Raises DriverError where it failed.
    """
    found = result.get("result", result.get("response"))
    status = found.get("status") if isinstance(found, dict) else None
    if status is None:
        return None
    if status not in _DONE:
        kind, why = _TROUBLE.get(status, (DeviceRefused, f"status {str(status)[:20]}"))
        said = found.get("message") if isinstance(found, dict) else None
        raise kind(f"{why}: {said[:LONGEST]}" if isinstance(said, str) else why)
    return True if status == _SUCCESS else False if status == _WORKING else None
