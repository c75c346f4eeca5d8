"""nRF Cloud's CBOR over CoAP: a message as a map of numbers (SDK, `msg_encode.cddl`), and a state as the JSON that it stands for.

{1: appId, 2: data, 3: ts}      data: a text, a number, or a position {4: lat, 5: lng, 6: acc, 7: spd, 8: hdg, 9: alt}
"""

import json
import math
from collections.abc import Mapping

import cbor2
from pydantic import JsonValue, TypeAdapter, ValidationError

from agent.wire.nrf import JsonObject

APP_ID, DATA, TIME = 1, 2, 3
POSITION = {"lat": 4, "lng": 5, "acc": 6, "spd": 7, "hdg": 8, "alt": 9}
_WHOLE = 1 << 63
_OBJECT = TypeAdapter(JsonObject)


class NotCborError(ValueError):
    """The bytes are no CBOR that JSON has a form for; the text says why, without repeating them."""


def message(body: Mapping[str, JsonValue]) -> bytes | None:
    """A DATA message in CBOR; None where the form has no place for all of it, and JSON must be used."""
    names = {"appId", "messageType", "data", "ts"}
    if not {"appId", "data"} <= body.keys() <= names or body.get("messageType", "DATA") != "DATA":
        return None
    app, data, time = body["appId"], _data(body["data"]), body.get("ts", 0)
    if not isinstance(app, str) or data is None or not _is_number(time) or not isinstance(time, int) or time < 0:
        return None
    return cbor2.dumps({APP_ID: app, DATA: data} | ({TIME: time} if "ts" in body else {}))


def _data(value: JsonValue) -> str | float | dict[int, JsonValue] | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return value if _is_number(value) else None
    if isinstance(value, dict) and value and value.keys() <= POSITION.keys() and all(map(_is_number, value.values())):
        return {POSITION[name]: number for name, number in value.items()}
    return None


def _is_number(value: JsonValue) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and -_WHOLE <= value < _WHOLE


def state(body: bytes) -> JsonObject:
    """A section of a shadow. Raises NotCborError, also for what JSON has no form for: bytes, dates, NaN."""
    try:
        found = _OBJECT.validate_python(cbor2.loads(body), strict=True)
        json.dumps(found, allow_nan=False)
    except ValidationError as error:
        raise NotCborError(f"no object of JSON: {error.errors(include_input=False)[0]['msg']}") from None
    except (ValueError, RecursionError, OverflowError, cbor2.CBORDecodeError) as error:
        raise NotCborError(f"no CBOR: {type(error).__name__}") from None
    return found
