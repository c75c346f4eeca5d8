"""Fields whose values are more than numbers and bytes: text, bit masks, decimals, durations. PURE."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from drivers.zwave.layout import Bytes, Field, Group, Int, LayoutError, Reader, Values, Writer, need, pack, public

SIZES = (1, 2, 4)  # bytes of a decimal

MASKED = 0x10000  # numbers of a mask, at most: no message has a longer one
_BYTE = 8


class Text(Bytes):
    """Text, padded with zeros where its size is fixed. Undecodable bytes survive a round trip."""

    def __init__(self, name: str, size: int | str | None, encoding: str = "utf-8") -> None:
        super().__init__(name, size)
        self.encoding = encoding

    def wire(self, value: Any) -> bytes:
        data = str(value).encode(self.encoding, "surrogateescape" if self.encoding == "utf-8" else "replace")
        return data.ljust(self.size, b"\0") if isinstance(self.size, int) else data

    def value(self, data: bytes) -> Any:
        text = data.decode(self.encoding, "surrogateescape" if self.encoding == "utf-8" else "replace")
        return text.rstrip("\0") if isinstance(self.size, int) else text


class Mask(Bytes):
    """A bit mask, least significant bit of the first byte first, as a list of numbers from `first` on.

    It is written with at least `least` bytes.
    """

    def __init__(self, name: str, size: int | str | None, first: int = 0, extra: int = 0, least: int = 0) -> None:
        super().__init__(name, size, extra)
        self.first = first
        self.least = max(least, extra, size if isinstance(size, int) else 0)

    def wire(self, value: Any) -> bytes:
        numbers = [number - self.first for number in value]
        if any(not 0 <= number < MASKED for number in numbers):
            raise LayoutError(f"{self.names[0]}: numbers start at {self.first}, and end before {MASKED}")
        out = bytearray(max(max(numbers, default=-1) // _BYTE + 1, self.least))
        for number in numbers:
            out[number // _BYTE] |= 1 << number % _BYTE
        return bytes(out)

    def value(self, data: bytes) -> Any:
        return [
            at * _BYTE + bit + self.first for at, byte in enumerate(data) for bit in range(_BYTE) if byte & 1 << bit
        ]


@dataclass(frozen=True, slots=True)
class Scaled:
    """A decimal number as Z-Wave writes it: raw x 10^-precision in 1, 2 or 4 bytes."""

    raw: int
    precision: int = 0
    size: int = 0  # 0: the smallest that holds it

    MAX_PRECISION: ClassVar[int] = 7

    @property
    def value(self) -> float:
        """The number; a whole one where there are no decimals."""
        return float(Decimal(self.raw).scaleb(-self.precision)) if self.precision else self.raw

    @property
    def least(self) -> int:
        """Bytes that it takes."""
        bits = (self.raw if self.raw >= 0 else ~self.raw).bit_length() + 1  # and its sign
        return max(self.size, next((size for size in SIZES if bits <= size * _BYTE), SIZES[-1]))

    @classmethod
    def of(cls, number: float | Decimal, precision: int | None = None, size: int = 0) -> "Scaled":
        """`number` with the decimals that it has (at most 7), or rounded to `precision`. Raises LayoutError out of range."""
        exact = Decimal(str(number))
        exponent = exact.normalize().as_tuple().exponent
        if not isinstance(exponent, int):
            raise LayoutError(f"{number} is no number")
        places = min(max(0, -exponent), cls.MAX_PRECISION) if precision is None else precision
        raw = int(exact.scaleb(places).to_integral_value())
        if not -(1 << 31) <= raw < 1 << 31:
            raise LayoutError(f"{number} does not fit 4 bytes")
        return cls(raw, places, size)


class Decimals(Field):
    """A Scaled; several in one message share precision and size (`keys`: the names of those wire fields)."""

    def __init__(self, name: str, keys: tuple[str, str] = ("_precision", "_size")) -> None:
        self.names = (name,)
        self.keys = keys

    def prepare(self, values: Values) -> None:
        value = values.get(self.names[0])
        if isinstance(value, int | float | Decimal):
            value = values[self.names[0]] = Scaled.of(value)
        if isinstance(value, Scaled):
            precision, size = self.keys
            values[precision] = max(values.get(precision, 0), value.precision)
            shifted = Scaled(value.raw * 10 ** (values[precision] - value.precision), 0, value.size)
            values[size] = max(values.get(size, 0), shifted.least)

    def read(self, reader: Reader, values: Values) -> None:
        precision, size = (int(values[key]) for key in self.keys)
        if size not in SIZES:
            raise LayoutError(f"{self.names[0]}: a number of {size} bytes")
        raw = int.from_bytes(reader.take(size, self.names[0]), "big", signed=True)
        values[self.names[0]] = Scaled(raw, precision, size)

    def write(self, writer: Writer, values: Values) -> None:
        name = self.names[0]
        value = need(values, name)
        if not isinstance(value, Scaled):
            raise LayoutError(f"{name}: {value!r} is no number")
        precision, size = (int(values[key]) for key in self.keys)
        writer.add(pack(value.raw * 10 ** (precision - value.precision), size, name, signed=True), name)


class Duration(Int):
    """A duration byte (SDS13781, "Duration"): whole seconds, None for unknown (0xFE), "default" for 0xFF.

    Whole minutes above 127 s are all that the wire can say; other numbers are rounded.
    """

    UNKNOWN, DEFAULT, SECONDS, MINUTES = 0xFE, 0xFF, 0x7F, 0x7E

    def __init__(self, name: str) -> None:
        super().__init__(name, 1)

    def read(self, reader: Reader, values: Values) -> None:
        raw = reader.take(1, self.names[0])[0]
        special = {self.UNKNOWN: None, self.DEFAULT: "default"}
        values[self.names[0]] = (
            special[raw] if raw in special else raw if raw <= self.SECONDS else (raw - self.SECONDS) * 60
        )

    def write(self, writer: Writer, values: Values) -> None:
        name = self.names[0]
        value = need(values, name)
        if value is None or value == "default":
            raw = self.UNKNOWN if value is None else self.DEFAULT
        else:
            raw = value if value <= self.SECONDS else min(round(value / 60), self.MINUTES) + self.SECONDS
        writer.add(pack(raw, 1, name), name)


class SizedInt(Int):
    """A whole number of as many bytes as an earlier value says; `signed` may depend on the values."""

    def __init__(self, name: str, size: str, signed: Callable[[Values], bool] = lambda _: True) -> None:
        super().__init__(name, 0)
        self.key = size
        self.is_signed = signed

    def read(self, reader: Reader, values: Values) -> None:
        name = self.names[0]
        data = reader.take(int(values[self.key]), name)
        values[name] = int.from_bytes(data, "big", signed=self.is_signed(values))

    def write(self, writer: Writer, values: Values) -> None:
        name = self.names[0]
        size = int(need(values, self.key))
        writer.add(pack(need(values, name), size, name, signed=self.is_signed(values)), name)


class Joined(Field):
    """A number whose bits lie in several earlier wire fields, most significant first: ("_high", 1), ("_low", 2)."""

    def __init__(self, name: str, *parts: tuple[str, int]) -> None:
        self.names = (name,)
        self.parts = parts

    def prepare(self, values: Values) -> None:
        left = int(need(values, self.names[0]))
        for part, bits in reversed(self.parts):
            values[part] = left & ((1 << bits) - 1)
            left >>= bits
        if left:
            raise LayoutError(f"{self.names[0]}: {values[self.names[0]]} is too large")

    def read(self, _: Reader, values: Values) -> None:
        number = 0
        for part, bits in self.parts:
            number = number << bits | values[part]
        values[self.names[0]] = number

    def write(self, writer: Writer, values: Values) -> None:
        pass


class Encoded(Field):
    """The rest of a message as text, in the encoding that the wire field `key` names: 0 ASCII, 1 extended ASCII, 2 UTF-16."""

    ASCII, UTF16 = 0, 2
    ENCODINGS: ClassVar[dict[int, str]] = {0: "ascii", 1: "latin-1", 2: "utf-16-be"}

    def __init__(self, name: str, key: str = "_encoding") -> None:
        self.names = (name,)
        self.key = key

    def prepare(self, values: Values) -> None:
        values[self.key] = self.ASCII if str(values.get(self.names[0], "")).isascii() else self.UTF16

    def read(self, reader: Reader, values: Values) -> None:
        encoding = self.ENCODINGS.get(values[self.key], "ascii")
        values[self.names[0]] = reader.take(reader.left, self.names[0]).decode(encoding, "replace")

    def write(self, writer: Writer, values: Values) -> None:
        text = str(need(values, self.names[0]))
        writer.add(text.encode(self.ENCODINGS[values[self.key]], "replace"), self.names[0])


class Present(Field):
    """A wire flag that says whether a value is there."""

    def __init__(self, flag: str, name: str) -> None:
        self.flag = flag
        self.name = name

    def prepare(self, values: Values) -> None:
        values[self.flag] = int(self.name in values)

    def read(self, _: Reader, values: Values) -> None:
        pass

    def write(self, writer: Writer, values: Values) -> None:
        pass


class Sub(Field):
    """Fields as a dict of their own."""

    def __init__(self, name: str, *fields: Field) -> None:
        self.names = (name,)
        self.group = Group(*fields)

    def read(self, reader: Reader, values: Values) -> None:
        inner: Values = {}
        self.group.read(reader, inner)
        values[self.names[0]] = public(inner)

    def write(self, writer: Writer, values: Values) -> None:
        inner = dict(need(values, self.names[0]))
        self.group.prepare(inner)
        self.group.write(writer, inner)
