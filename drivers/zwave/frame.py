"""Frames of the Z-Wave Serial API (INS12350 / Host Application Programming Guide, "Frame layout"). PURE.

A data frame is SOF, length, type, function, payload, checksum; ACK, NAK and CAN are single bytes. `Decoder` takes bytes as they come
and time in monotonic seconds; what it cannot read is counted, never raised.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from functools import reduce
from operator import xor

SOF = 0x01
MIN_LENGTH = 3  # type, function, checksum
MAX_LENGTH = 0xFF
MAX_PAYLOAD = MAX_LENGTH - MIN_LENGTH
RECEPTION_TIMEOUT = 1.5  # seconds from SOF to the last byte; a longer reception is dropped without a NAK (6.2.2)


class Signal(IntEnum):
    """Single-byte frames."""

    ACK = 0x06
    NAK = 0x15
    CAN = 0x18


class Type(IntEnum):
    """Second byte after SOF."""

    REQUEST = 0x00
    RESPONSE = 0x01


@dataclass(frozen=True, slots=True)
class Data:
    """One data frame. `payload` has at most 252 bytes."""

    type: Type
    function: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A complete frame with a wrong checksum came in: the only case that is answered by NAK."""


Frame = Data | Signal
Item = Frame | Damaged


@dataclass(slots=True)
class Problems:
    """What the decoder could not use."""

    garbage: int = 0  # bytes outside frames
    checksum: int = 0
    length: int = 0  # length bytes below 3
    type: int = 0  # neither request nor response
    aborted: int = 0  # receptions that took too long


def checksum(body: bytes) -> int:
    """0xFF and all bytes from the length byte on, exclusive-or."""
    return reduce(xor, body, 0xFF)


def encode(frame: Frame) -> bytes:
    """Bytes on the line. Raises ValueError when the payload does not fit."""
    if isinstance(frame, Signal):
        return bytes((frame,))
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame carries {MAX_PAYLOAD} bytes of payload, not {len(frame.payload)}")
    body = bytes((len(frame.payload) + MIN_LENGTH, frame.type, frame.function)) + frame.payload
    return bytes((SOF,)) + body + bytes((checksum(body),))


@dataclass(slots=True)
class Decoder:
    """Bytes in, frames out; holds at most one unfinished frame. `deadline` is when that one is given up."""

    problems: Problems = field(default_factory=Problems)
    deadline: float | None = None
    _buffer: bytearray = field(default_factory=bytearray)

    @property
    def receiving(self) -> bool:
        """A frame has begun and is not complete."""
        return self.deadline is not None

    def feed(self, data: bytes, now: float) -> list[Item]:
        """What `data` completes, in order."""
        self.abort(now)
        items: list[Item] = []
        for byte in data:
            item = self._byte(byte, now)
            if item is not None:
                items.append(item)
        return items

    def abort(self, now: float) -> bool:
        """Drop a reception whose time is over. True when there was one."""
        if self.deadline is None or now < self.deadline:
            return False
        self._reset()
        self.problems.aborted += 1
        return True

    def _byte(self, byte: int, now: float) -> Item | None:
        if self.deadline is None:
            return self._outside(byte, now)
        self._buffer.append(byte)
        if len(self._buffer) == 1:
            if byte < MIN_LENGTH:
                self.problems.length += 1
                self._reset()
                return self._outside(byte, now)
            return None
        if len(self._buffer) <= self._buffer[0]:
            return None
        body = bytes(self._buffer)
        self._reset()
        return self._complete(body)

    def _outside(self, byte: int, now: float) -> Signal | None:
        if byte == SOF:
            self.deadline = now + RECEPTION_TIMEOUT
        elif byte in (Signal.ACK, Signal.NAK, Signal.CAN):
            return Signal(byte)
        else:
            self.problems.garbage += 1
        return None

    def _complete(self, body: bytes) -> Data | Damaged | None:
        if checksum(body[:-1]) != body[-1]:
            self.problems.checksum += 1
            return Damaged()
        if body[1] not in (Type.REQUEST, Type.RESPONSE):
            self.problems.type += 1
            return None
        return Data(Type(body[1]), body[2], body[3:-1])

    def _reset(self) -> None:
        self._buffer.clear()
        self.deadline = None
