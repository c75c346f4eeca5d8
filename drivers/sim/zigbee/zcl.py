"""ZCL on the wire: data types, frame header, foundation commands (Zigbee Cluster Library 6, chapter 2). PURE.

Written for the simulator, on purpose without the library that the driver uses: a mistake that both halves share would not be seen.
"""

import struct
from dataclasses import dataclass
from typing import Any

BOOL, BITMAP8, BITMAP16, BITMAP32 = 0x10, 0x18, 0x19, 0x1B
U8, U16, U24, U32, U48 = 0x20, 0x21, 0x22, 0x23, 0x25
S8, S16, S24, S32 = 0x28, 0x29, 0x2A, 0x2B
ENUM8, ENUM16, FLOAT, STRING, EUI64 = 0x30, 0x31, 0x39, 0x42, 0xF0

_INTEGERS: dict[int, tuple[int, bool]] = {  # type -> (octets, signed)
    BOOL: (1, False),
    BITMAP8: (1, False),
    BITMAP16: (2, False),
    BITMAP32: (4, False),
    U8: (1, False),
    U16: (2, False),
    U24: (3, False),
    U32: (4, False),
    U48: (6, False),
    S8: (1, True),
    S16: (2, True),
    S24: (3, True),
    S32: (4, True),
    ENUM8: (1, False),
    ENUM16: (2, False),
    EUI64: (8, False),
}
ANALOG = frozenset({U8, U16, U24, U32, U48, S8, S16, S24, S32, FLOAT})  # these carry a reportable change

READ, READ_RSP, WRITE, WRITE_RSP, WRITE_QUIET = 0x00, 0x01, 0x02, 0x04, 0x05
CONFIGURE, CONFIGURE_RSP, READ_CONFIG, READ_CONFIG_RSP = 0x06, 0x07, 0x08, 0x09
REPORT, DEFAULT_RSP, DISCOVER, DISCOVER_RSP = 0x0A, 0x0B, 0x0C, 0x0D

SUCCESS, MALFORMED, UNSUP_CLUSTER_COMMAND, UNSUP_GENERAL_COMMAND = 0x00, 0x80, 0x81, 0x82
UNSUPPORTED_ATTRIBUTE, INVALID_VALUE, READ_ONLY, NOT_FOUND, UNREPORTABLE, INVALID_TYPE = (
    0x86,
    0x87,
    0x88,
    0x8B,
    0x8C,
    0x8D,
)

CLUSTER_SPECIFIC, MANUFACTURER, FROM_SERVER, NO_DEFAULT = 0x01, 0x04, 0x08, 0x10


class ZclError(ValueError):
    """Bytes that are no ZCL."""


def encode(kind: int, value: Any) -> bytes:
    """A value of a ZCL type. Raises ZclError when it does not fit."""
    try:
        if kind == STRING:
            text = str(value).encode()
            return bytes([len(text)]) + text
        if kind == FLOAT:
            return struct.pack("<f", value)
        size, signed = _INTEGERS[kind]
        return int(value).to_bytes(size, "little", signed=signed)
    except (KeyError, OverflowError, ValueError, TypeError, struct.error) as error:
        raise ZclError(f"{value!r} is no value of type 0x{kind:02X}") from error


def decode(kind: int, data: bytes) -> tuple[Any, bytes]:
    """The value at the start of `data`, and the rest. Raises ZclError."""
    if kind == STRING:
        if not data or len(data) < 1 + data[0]:
            raise ZclError("string cut short")
        return data[1 : 1 + data[0]].decode("utf-8", "replace"), data[1 + data[0] :]
    size, signed = (4, False) if kind == FLOAT else _INTEGERS.get(kind, (0, False))
    if not size or len(data) < size:
        raise ZclError(f"no value of type 0x{kind:02X}")
    if kind == FLOAT:
        return struct.unpack("<f", data[:4])[0], data[4:]
    value = int.from_bytes(data[:size], "little", signed=signed)
    return (bool(value) if kind == BOOL else value), data[size:]


@dataclass(frozen=True, slots=True)
class Frame:
    """Header and payload. `control` is the frame control octet."""

    control: int
    sequence: int
    command: int
    payload: bytes = b""
    manufacturer: int | None = None

    @property
    def specific(self) -> bool:
        return bool(self.control & CLUSTER_SPECIFIC)

    @property
    def from_server(self) -> bool:
        return bool(self.control & FROM_SERVER)

    def pack(self) -> bytes:
        code = b"" if self.manufacturer is None else self.manufacturer.to_bytes(2, "little")
        return bytes([self.control]) + code + bytes([self.sequence, self.command]) + self.payload

    def answer(self, command: int, payload: bytes, *, specific: bool = False) -> "Frame":
        """The response to this frame: same sequence number, other direction, no default response to it."""
        control = NO_DEFAULT | (self.control & MANUFACTURER) | (0 if self.from_server else FROM_SERVER)
        control |= CLUSTER_SPECIFIC if specific else 0
        return Frame(control, self.sequence, command, payload, self.manufacturer)


def parse(data: bytes) -> Frame:
    """A frame. Raises ZclError."""
    if len(data) < 3:  # noqa: PLR2004  control, sequence, command
        raise ZclError("frame cut short")
    control = data[0]
    if not control & MANUFACTURER:
        return Frame(control, data[1], data[2], data[3:])
    if len(data) < 5:  # noqa: PLR2004  with a manufacturer code
        raise ZclError("frame cut short")
    return Frame(control, data[3], data[4], data[5:], int.from_bytes(data[1:3], "little"))


def u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def words(data: bytes) -> list[int]:
    """16-bit numbers, little-endian; an odd octet at the end is ignored."""
    return [int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data) - 1, 2)]
