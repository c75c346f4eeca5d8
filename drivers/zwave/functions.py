"""Serial API functions as messages of both ends: requests for the session, and the chip's responses and callbacks. PURE.

`Context.wide` follows SerialAPISetup SET_NODE_ID_TYPE and falls back to 8 bits with every soft reset.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from drivers.zwave.function_tables import FUNCTIONS_TABLE, Function, Setup
from drivers.zwave.layout import NARROW, Context, Layout, LayoutError, Values
from drivers.zwave.session import Request

BY_NAME = {function.name: function for function in FUNCTIONS_TABLE}
BY_ID = {function.id: function for function in FUNCTIONS_TABLE}

FIRST_LONG_RANGE = 256
LONG_RANGE_SEGMENT = 1024  # node ids of one segment
RSSI_NOT_AVAILABLE, RSSI_SATURATED, RSSI_BELOW_SENSITIVITY = 127, 126, 125

_SETUP_MASK_FIXED = (7, 19, 1)  # older firmware shifts the mask of setup commands by one bit
_ANY = 0xFF


def request(name: str, context: Context = NARROW, *, called_back: bool = True, **values: Any) -> Request:
    """A command for the session. Raises LayoutError for wrong values, KeyError for a name that the table does not have.

    `called_back` False asks for no callback (id 0), as SetSUCNodeId of the own id or the last Stop of AddNode want it.
    """
    function = BY_NAME[name]
    layout = function.request
    if "callback_id" not in layout.names:
        payload, at = layout.encode(values, context), None
    else:
        payload = layout.encode({**values, "callback_id": 0}, context)
        other = layout.encode({**values, "callback_id": _ANY}, context)
        # The id is one byte, so the first difference is its place.
        place = next(at for at, pair in enumerate(zip(payload, other, strict=True)) if pair[0] != pair[1])
        at = place if called_back else None
    return Request(
        function.id,
        payload,
        responds=function.response is not None,
        callback_at=at,
        transmits=function.transmits,
        accepted=_reads(lambda data: function.accepted(decode_response(function.id, data, context))),
        final=_reads(lambda data: function.final(decode_callback(function.id, b"\0" + data, context))),
        response_timeout=function.response_timeout,
        callback_timeout=function.callback_timeout,
    )


def _reads(test: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """What cannot be read is neither a refusal nor a stage: the command ends with it, and the driver sees the bytes."""

    def tolerant(data: bytes) -> bool:
        try:
            return test(data)
        except LayoutError:
            return True

    return tolerant


def _layout(function: int, part: str) -> Layout:
    found = BY_ID.get(function)
    layout = None if found is None else getattr(found, part)
    if not isinstance(layout, Layout):
        raise LayoutError(f"function {function:#04x} has no {part}")
    return layout


def decode_request(function: int, payload: bytes, context: Context = NARROW) -> Values:
    """What the host asks. Raises LayoutError, also for functions without a table."""
    return _layout(function, "request").decode(payload, context)[0]


def decode_response(function: int, payload: bytes, context: Context = NARROW) -> Values:
    """What the chip answers. Raises LayoutError."""
    return _layout(function, "response").decode(payload, context)[0]


def decode_callback(function: int, payload: bytes, context: Context = NARROW) -> Values:
    """A request of the chip with all its bytes: a callback begins with its id. Raises LayoutError."""
    return _layout(function, "callback").decode(payload, context)[0]


def encode_response(function: int, values: Values, context: Context = NARROW) -> bytes:
    """The chip's end of `decode_response`."""
    return _layout(function, "response").encode(values, context)


def encode_callback(function: int, values: Values, context: Context = NARROW) -> bytes:
    """The chip's end of `decode_callback`."""
    return _layout(function, "callback").encode(values, context)


def first_available(functions: Collection[int], *names: str) -> Function | None:
    """The first of `names` that the chip has by its mask (GetCapabilities, `functions`)."""
    return next((BY_NAME[name] for name in names if BY_NAME[name].id in functions), None)


def setup_commands(values: Values, firmware: tuple[int, int, int]) -> frozenset[int]:
    """The setup commands of a GET_SUPPORTED response. `firmware` is GetProtocolVersion's major, minor and patch."""
    mask: bytes = values["mask"]
    if not mask:
        legacy = (1 << bit for bit in range(8))
        return frozenset(number for number in legacy if values["legacy_mask"] & number) | {Setup.GET_SUPPORTED}
    first = 0 if firmware < _SETUP_MASK_FIXED else 1
    numbers = (at * 8 + bit + first for at, byte in enumerate(mask) for bit in range(8) if byte & 1 << bit)
    return frozenset(numbers) | {Setup.GET_SUPPORTED}


def setup_mask(commands: Iterable[int], *, shifted: bool = False) -> Values:
    """The chip's end of `setup_commands`; `shifted` as firmware before 7.19.1."""
    out = bytearray(32)
    for number in commands:
        place = number - (not shifted)
        out[place // 8] |= 1 << place % 8
    legacy = sum({number for number in commands if number in {1 << bit for bit in range(8)}})
    return {"legacy_mask": legacy, "mask": bytes(out)}


def long_range_nodes(values: Values) -> list[int]:
    """Node ids of one GetLongRangeNodes response."""
    first = FIRST_LONG_RANGE + int(values["segment"]) * LONG_RANGE_SEGMENT
    return [first + number for number in values["mask"]]


def rssi(value: int) -> int | None:
    """dBm, or None where `value` is one of the codes for "no figure"."""
    return None if value >= RSSI_BELOW_SENSITIVITY else value
