"""CBOR (RFC 8949) as far as SenML and the Simple Management Protocol need it. PURE and bounded; shared by the drivers that speak it.

Numbers, texts, bytes, lists, maps and decimal fractions. A general decoder makes dates, big numbers and shared references of what a stranger
sends; here they are refused.
"""

import math
import struct
from typing import Any

DEEPEST = 4  # SenML: a list of maps, and one of its values may be a decimal fraction; SMP: a map with a list of maps
MOST = 4096  # items of a document
_EXPONENT = 64  # of a decimal fraction: SenML has no greater numbers, and 1e1000000 takes a while

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(8)
_DIRECT, _INDEFINITE = 24, 31
_DECIMAL_FRACTION = 4  # tag
_HALF, _SINGLE, _DOUBLE = 25, 26, 27
_FLOATS = {_HALF: ">e", _SINGLE: ">f", _DOUBLE: ">d"}
_SIMPLE_VALUES = {20: False, 21: True, 22: None}
_BREAK = object()


class CborError(ValueError):
    """This is no CBOR that is read here; the text says why."""


def loads(data: bytes) -> Any:
    """The one item of `data`. Raises CborError."""
    reader = _Reader(data)
    value = reader.item(0)
    if value is _BREAK or reader.at != len(data):
        raise CborError(f"it should end at byte {reader.at}")
    return value


def dumps(value: Any) -> bytes:
    """One item in its shortest form: integers of 64 bits, texts, bytes, booleans, None, lists and maps. Raises TypeError, OverflowError."""
    match value:
        case bool() | None:
            return bytes((_SIMPLE << 5 | next(number for number, one in _SIMPLE_VALUES.items() if one is value),))
        case int():
            return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            raw = value.encode()
            return _head(_TEXT, len(raw)) + raw
        case list():
            return _head(_LIST, len(value)) + b"".join(map(dumps, value))
        case dict():
            return _head(_MAP, len(value)) + b"".join(dumps(key) + dumps(one) for key, one in value.items())
    raise TypeError(f"{type(value).__name__} is nothing that is written here")


def _head(major: int, number: int) -> bytes:
    if number < _DIRECT:
        return bytes((major << 5 | number,))
    size = next((size for size in (1, 2, 4, 8) if number < 1 << 8 * size), 0)
    if not size:
        raise OverflowError(f"{number} has more than 64 bits")
    return bytes((major << 5 | _DIRECT + size.bit_length() - 1,)) + number.to_bytes(size, "big")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data
        self._items = 0

    def item(self, depth: int) -> Any:
        self._items += 1
        if depth > DEEPEST or self._items > MOST:
            raise CborError("too deep or too many items")
        first = self._take(1)[0]
        major, info = first >> 5, first & 0x1F
        if major == _SIMPLE:
            return self._simple(info)
        if info == _INDEFINITE:
            return self._indefinite(major, depth)
        number = self._number(info)
        if major in (_UNSIGNED, _NEGATIVE):
            return number if major == _UNSIGNED else -1 - number
        if major in (_BYTES, _TEXT):
            return self._take(number) if major == _BYTES else self._text(self._take(number))
        if major == _TAG:
            return self._tagged(number, depth)
        if number > MOST:
            raise CborError("too many items")
        if major == _LIST:
            return [self._inner(depth) for _ in range(number)]
        return self._map((self._inner(depth), self._inner(depth)) for _ in range(number))

    def _inner(self, depth: int) -> Any:
        value = self.item(depth + 1)
        if value is _BREAK:
            raise CborError(f"a break in the middle, before byte {self.at}")
        return value

    def _number(self, info: int) -> int:
        if info < _DIRECT:
            return info
        if info > 27:  # noqa: PLR2004  28 to 30 are reserved
            raise CborError(f"reserved length before byte {self.at}")
        return int.from_bytes(self._take(1 << (info - _DIRECT)), "big")

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise CborError(f"it ends at byte {len(self._data)}, in the middle of an item")
        self.at += size
        return self._data[self.at - size : self.at]

    def _simple(self, info: int) -> Any:
        if info in _FLOATS:
            kind = _FLOATS[info]
            return struct.unpack(kind, self._take(struct.calcsize(kind)))[0]
        if info == _INDEFINITE:
            return _BREAK
        if info not in _SIMPLE_VALUES:
            raise CborError(f"simple value {info} before byte {self.at}")
        return _SIMPLE_VALUES[info]

    def _indefinite(self, major: int, depth: int) -> Any:
        found = []
        while (value := self.item(depth + 1)) is not _BREAK:
            found.append(value)
        if major == _LIST:
            return found
        if major == _MAP and len(found) % 2 == 0:
            return self._map(zip(found[::2], found[1::2], strict=True))
        if major == _TEXT and all(isinstance(part, str) for part in found):
            return "".join(found)
        if major == _BYTES and all(isinstance(part, bytes) for part in found):
            return b"".join(found)
        raise CborError(f"an item of indefinite length that cannot be one, before byte {self.at}")

    @staticmethod
    def _map(pairs: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in pairs:
            if not isinstance(key, int | str) or isinstance(key, bool) or key in found:
                raise CborError(f"{key!r:.40} is no key, or comes twice")
            found[key] = value
        return found

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise CborError(f"no UTF-8 before byte {self.at}") from None

    def _tagged(self, tag: int, depth: int) -> float:
        value = self._inner(depth)
        if tag != _DECIMAL_FRACTION or not _is_fraction(value):
            raise CborError(f"tag {tag} before byte {self.at}")
        exponent, mantissa = value
        number = float(f"{mantissa}e{exponent}")  # correctly rounded, as the same digits in JSON are
        if not math.isfinite(number):
            raise CborError(f"a fraction out of range before byte {self.at}")
        return number


def _is_fraction(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004  exponent and mantissa
        and all(isinstance(part, int) and not isinstance(part, bool) for part in value)
        and abs(value[0]) <= _EXPONENT
    )
