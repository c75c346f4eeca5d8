"""Declared wire layouts: a message is a table of fields, read and written by one engine. PURE.

Values are a dict by field name. Names that begin with `_` belong to the wire alone (lengths, counts, precisions): they are computed when
writing and dropped after reading. In `bits`, `-` marks reserved bits. Numbers are big-endian.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

Values = dict[str, Any]

_BYTE = 8


class LayoutError(ValueError):
    """Bytes that do not fit a layout, or values that do not; the message says which field."""


@dataclass(frozen=True, slots=True)
class Context:
    """What decides the layout from outside: `wide` node ids have 16 bits; fields newer than `version` are not written (None: all)."""

    wide: bool = False
    version: int | None = None


NARROW = Context()


class Reader:
    """A place in a message. `ended`: an optional field was cut short, so what is left is a tail that nobody claims."""

    __slots__ = ("at", "context", "data", "ended")

    def __init__(self, data: bytes, context: Context) -> None:
        self.data = data
        self.at = 0
        self.context = context
        self.ended = False

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int, name: str) -> bytes:
        """The next bytes. Raises LayoutError where the message ends before."""
        if not 0 <= count <= self.left:
            raise LayoutError(f"{name}: {count} bytes expected, {self.left} left")
        self.at += count
        return self.data[self.at - count : self.at]


class Writer:
    """A message that grows. `ended` names the first optional field that was left out: nothing may follow it."""

    __slots__ = ("context", "ended", "out")

    def __init__(self, context: Context) -> None:
        self.out = bytearray()
        self.context = context
        self.ended: str | None = None

    def add(self, data: bytes, name: str) -> None:
        if self.ended is not None:
            raise LayoutError(f"{name} needs {self.ended} before it")
        self.out += data


class Field(ABC):
    """One declared part of a message."""

    names: tuple[str, ...] = ()

    def prepare(self, values: Values) -> None:  # noqa: B027  most fields need nothing
        """Compute what the wire needs from the values."""

    @abstractmethod
    def read(self, reader: Reader, values: Values) -> None:
        """From the bytes into the values. Raises LayoutError."""

    @abstractmethod
    def write(self, writer: Writer, values: Values) -> None:
        """From the values into bytes. Raises LayoutError."""


def need(values: Mapping[str, Any], name: str) -> Any:
    """The value. Raises LayoutError where it is missing."""
    try:
        return values[name]
    except KeyError:
        raise LayoutError(f"{name} is missing") from None


def pack(value: int, size: int, name: str, *, signed: bool = False) -> bytes:
    """`value` in `size` bytes. Raises LayoutError where it does not fit."""
    try:
        return int(value).to_bytes(size, "big", signed=signed)
    except (OverflowError, TypeError, ValueError) as error:
        raise LayoutError(f"{name}: {value!r} does not fit {size} bytes") from error


def known(enum: type[IntEnum] | None, value: int) -> int:
    """`value` as a member of `enum` where it has one; vendors and later versions use others."""
    if enum is not None and value in enum._value2member_map_:
        return enum(value)
    return value


def _size(size: int | str | None, reader: Reader, values: Values) -> int:
    if size is None:
        return reader.left
    return int(values[size]) if isinstance(size, str) else size


class Int(Field):
    """A whole number."""

    def __init__(self, name: str, size: int, *, signed: bool = False, enum: type[IntEnum] | None = None) -> None:
        self.names = (name,)
        self.size = size
        self.signed = signed
        self.enum = enum

    def read(self, reader: Reader, values: Values) -> None:
        name = self.names[0]
        value = int.from_bytes(reader.take(self.size, name), "big", signed=self.signed)
        values[name] = known(self.enum, value)

    def write(self, writer: Writer, values: Values) -> None:
        name = self.names[0]
        value = values.get(name, 0) if name.startswith("_") else need(values, name)
        writer.add(pack(value, self.size, name, signed=self.signed), name)


class Node(Int):
    """A node id: 8 or 16 bits by the context."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 1)

    def read(self, reader: Reader, values: Values) -> None:
        name = self.names[0]
        values[name] = int.from_bytes(reader.take(1 + reader.context.wide, name), "big")

    def write(self, writer: Writer, values: Values) -> None:
        name = self.names[0]
        writer.add(pack(need(values, name), 1 + writer.context.wide, name), name)


class Bits(Field):
    """Bit fields of one or more bytes, most significant first: "more:1 -:1 session:6". One-bit fields are booleans."""

    def __init__(self, spec: str, enums: Mapping[str, type[IntEnum]] | None = None) -> None:
        self.parts = [(part.split(":")[0], int(part.split(":")[1])) for part in spec.split()]
        width = sum(bits for _, bits in self.parts)
        if width % _BYTE:
            raise AssertionError(spec)
        self.size = width // _BYTE
        self.names = tuple(name for name, _ in self.parts if name != "-")
        self.enums = enums or {}

    def read(self, reader: Reader, values: Values) -> None:
        number = int.from_bytes(reader.take(self.size, self.names[0]), "big")
        left = self.size * _BYTE
        for name, bits in self.parts:
            left -= bits
            if name != "-":
                value = number >> left & ((1 << bits) - 1)
                plain = name.startswith("_") or bits > 1
                values[name] = known(self.enums.get(name), value) if plain else bool(value)

    def write(self, writer: Writer, values: Values) -> None:
        number = 0
        for name, bits in self.parts:
            value = 0 if name == "-" else int(values.get(name, 0))
            if not 0 <= value < 1 << bits:
                raise LayoutError(f"{name}: {value} does not fit {bits} bits")
            number = number << bits | value
        writer.add(number.to_bytes(self.size, "big"), self.names[0])


class Bytes(Field):
    """Bytes: a fixed number, as many as an earlier field plus `extra` says (`clamp`: or what there is), or the rest plus `extra`."""

    def __init__(self, name: str, size: int | str | None, extra: int = 0, *, clamp: bool = False) -> None:
        self.names = (name,)
        self.size = size
        self.extra = extra
        self.clamp = clamp

    def wire(self, value: Any) -> bytes:
        if isinstance(value, int):
            raise TypeError(f"{self.names[0]} is text, or a list of bytes")  # bytes(10**9) is a gigabyte of zeros
        return value.encode() if isinstance(value, str) else bytes(value)

    def value(self, data: bytes) -> Any:
        return data

    def prepare(self, values: Values) -> None:
        if isinstance(self.size, str) and self.names[0] in values:
            values[self.size] = len(self.wire(values[self.names[0]])) - self.extra

    def read(self, reader: Reader, values: Values) -> None:
        name = self.names[0]
        size = _size(self.size, reader, values) + self.extra
        values[name] = self.value(reader.take(min(size, reader.left) if self.clamp else size, name))

    def write(self, writer: Writer, values: Values) -> None:
        name = self.names[0]
        data = self.wire(need(values, name))
        if isinstance(self.size, int) and len(data) != self.size:
            raise LayoutError(f"{name}: {self.size} bytes expected, not {len(data)}")
        writer.add(data, name)


class Group(Field):
    """Fields one after the other."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self.names = tuple(name for field in fields for name in field.names)

    def prepare(self, values: Values) -> None:
        for field in self.fields:
            field.prepare(values)

    def read(self, reader: Reader, values: Values) -> None:
        for field in self.fields:
            field.read(reader, values)

    def write(self, writer: Writer, values: Values) -> None:
        for field in self.fields:
            field.write(writer, values)


class Array(Field):
    """A list: of plain values where one field is called "", otherwise of dicts. `count` as in Bytes, in elements.

    Its fields see the values before the list.
    """

    def __init__(self, name: str, *fields: Field, count: int | str | None = None) -> None:
        self.names = (name,)
        self.group = Group(*fields)
        self.count = count
        self.plain = "" in self.group.names

    def prepare(self, values: Values) -> None:
        if isinstance(self.count, str) and self.names[0] in values:
            values[self.count] = len(values[self.names[0]])

    def read(self, reader: Reader, values: Values) -> None:
        items: list[Any] = []
        count = None if self.count is None else _size(self.count, reader, values)
        while reader.left if count is None else len(items) < count:
            inner = dict(values)
            before = reader.at
            self.group.read(reader, inner)
            if reader.at == before:
                break
            items.append(
                inner[""] if self.plain else public({key: inner[key] for key in self.group.names if key in inner})
            )
        values[self.names[0]] = items

    def write(self, writer: Writer, values: Values) -> None:
        items = need(values, self.names[0])
        if isinstance(self.count, int) and len(items) != self.count:
            raise LayoutError(f"{self.names[0]}: {self.count} expected, not {len(items)}")
        for item in items:
            inner = {**values, "": item} if self.plain else {**values, **item}
            self.group.prepare(inner)
            self.group.write(writer, inner)


class When(Group):
    """Fields that are there only where a condition on earlier values holds."""

    def __init__(self, condition: Callable[[Values], Any], *fields: Field) -> None:
        super().__init__(*fields)
        self.condition = condition

    def prepare(self, values: Values) -> None:
        if any(name in values for name in self.names):
            super().prepare(values)

    def read(self, reader: Reader, values: Values) -> None:
        if self.condition(values):
            super().read(reader, values)

    def write(self, writer: Writer, values: Values) -> None:
        if self.condition(values):
            super().write(writer, values)


class Since(Group):
    """Fields that came with a version, always at the end: absent where the message ends before or within them."""

    def __init__(self, version: int, *fields: Field) -> None:
        super().__init__(*fields)
        self.version = version

    def prepare(self, values: Values) -> None:
        if any(name in values for name in self.names):
            super().prepare(values)

    def read(self, reader: Reader, values: Values) -> None:
        if reader.ended or not reader.left:
            return
        start, found = reader.at, dict(values)
        try:
            super().read(reader, found)
        except LayoutError:
            reader.at, reader.ended = start, True
        else:
            values.update(found)

    def write(self, writer: Writer, values: Values) -> None:
        limit = writer.context.version
        given = any(name in values for name in self.names if not name.startswith("_"))
        if not given or (limit is not None and limit < self.version):
            writer.ended = writer.ended or next(iter(self.names), "a field")
        else:
            super().write(writer, values)


class Switch(Field):
    """The fields that an earlier value selects; what it does not know stays bytes under `other`."""

    def __init__(self, key: str, cases: Mapping[int, Field], other: str = "data") -> None:
        self.key = key
        self.cases = cases
        self.other = Bytes(other, None)
        names = dict.fromkeys(name for case in cases.values() for name in case.names)
        self.names = (*names, other)

    def _case(self, values: Values) -> Field:
        return self.cases.get(int(values.get(self.key, -1)), self.other)

    def prepare(self, values: Values) -> None:
        self._case(values).prepare(values)

    def read(self, reader: Reader, values: Values) -> None:
        self._case(values).read(reader, values)

    def write(self, writer: Writer, values: Values) -> None:
        self._case(values).write(writer, values)


def public(values: Values) -> Values:
    """Without what belongs to the wire alone."""
    return {key: value for key, value in values.items() if not key.startswith("_")}


class Layout:
    """A whole message."""

    def __init__(self, *fields: Field) -> None:
        self.group = Group(*fields)
        self.names = frozenset(name for name in self.group.names if not name.startswith("_"))

    def decode(self, data: bytes, context: Context = NARROW) -> tuple[Values, bytes]:
        """The values, and bytes that no field claims: later versions add fields. Raises LayoutError."""
        reader = Reader(data, context)
        values: Values = {}
        self.group.read(reader, values)
        return public(values), data[reader.at :]

    def encode(self, values: Mapping[str, Any], context: Context = NARROW) -> bytes:
        """The message. Raises LayoutError for values that are missing, unknown or do not fit."""
        unknown = values.keys() - self.names
        if unknown:
            raise LayoutError(f"no field is called {', '.join(sorted(unknown))}")
        writer = Writer(context)
        wire = dict(values)
        try:
            self.group.prepare(wire)
            self.group.prepare(wire)  # decimals share a precision: their sizes are known when all have been seen
            self.group.write(writer, wire)
        except LayoutError:
            raise
        except (TypeError, AttributeError, KeyError, ValueError, OverflowError, ArithmeticError) as error:
            raise LayoutError(f"a value has the wrong type: {error}") from error
        return bytes(writer.out)


def u8(name: str, enum: type[IntEnum] | None = None) -> Field:
    return Int(name, 1, enum=enum)


def u16(name: str, enum: type[IntEnum] | None = None) -> Field:
    return Int(name, 2, enum=enum)


def u24(name: str) -> Field:
    return Int(name, 3)


def u32(name: str) -> Field:
    return Int(name, 4)


def i8(name: str) -> Field:
    return Int(name, 1, signed=True)


def i16(name: str) -> Field:
    return Int(name, 2, signed=True)


def rest(name: str) -> Field:
    return Bytes(name, None)
