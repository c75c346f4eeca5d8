"""MQTT control packets, as far as a gate between client and broker must know them. PURE.

Sources: MQTT 3.1.1 (OASIS, 2014) and MQTT 5.0 (OASIS, 2019), chapters 2 and 3. What the gate need not know stays bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

V5 = 5
MAX_PACKET = 149504  # bytes; AWS IoT Core's 146 KB
_LENGTH_BYTES = 4

CONNACK_REFUSED = {True: 0x87, False: 7}  # by "is MQTT 5": not authorised; AWS IoT Core says 7 where 3.1.1 has 5
CONNACK_VERSION = 0x84  # unsupported protocol version
SUBACK_REFUSED = {True: 0x87, False: 0x80}


class Kind(IntEnum):
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    DISCONNECT = 14


class MalformedPacketError(ValueError):
    """Bytes that are no packet, with what is wrong."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One control packet: its type nibble, its flags and what follows the fixed header."""

    kind: int
    flags: int
    body: bytes

    def encode(self) -> bytes:
        return bytes([self.kind << 4 | self.flags]) + varint(len(self.body)) + self.body


@dataclass(slots=True)
class Framer:
    """Bytes in any pieces to packets. Raises MalformedPacketError; then the connection is of no use any more."""

    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Packet]:
        self._buffer += data
        while len(self._buffer) > 1:
            length, start = _read_varint(self._buffer, 1, partial=True)
            if start == 0:
                return
            if length > MAX_PACKET:
                raise MalformedPacketError(f"a packet of {length} bytes is longer than {MAX_PACKET}")
            if len(self._buffer) < start + length:
                return
            first, body = self._buffer[0], bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            yield Packet(first >> 4, first & 15, body)


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT. `rest`: will properties, will topic and will payload as they came, without user name and password."""

    level: int
    flags: int
    keep_alive: int
    properties: bytes
    client_id: str
    rest: bytes

    @property
    def v5(self) -> bool:
        return self.level == V5

    @classmethod
    def decode(cls, packet: Packet) -> "Connect":
        at = _Cursor(packet.body)
        if packet.kind != Kind.CONNECT or at.text() != "MQTT":
            raise MalformedPacketError("the first packet is no CONNECT of MQTT 3.1.1 or 5")
        level, flags, keep_alive = at.byte(), at.byte(), at.short()
        properties = at.properties() if level == V5 else b""
        client_id, will = at.text(), at.place
        if flags & 4:
            if level == V5:
                at.properties()
            at.binary()
            at.binary()
        return cls(level, flags, keep_alive, properties, client_id, packet.body[will : at.place])

    def encode(self, username: str, password: str) -> bytes:
        """The same CONNECT with another login; with none when `username` is empty."""
        login = b"" if not username else _binary(username.encode()) + _binary(password.encode())
        flags = self.flags & 0x3F | (0xC0 if login else 0)
        head = _binary(b"MQTT") + struct.pack(">BBH", self.level, flags, self.keep_alive)
        body = head + self.properties + _binary(self.client_id.encode()) + self.rest + login
        return Packet(Kind.CONNECT, 0, body).encode()


@dataclass(frozen=True, slots=True)
class Publish:
    """PUBLISH. `properties` are as they came, with their length; empty for 3.1.1."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    retain: bool = False
    properties: bytes = b""

    @classmethod
    def decode(cls, packet: Packet, *, v5: bool) -> "Publish":
        at, qos = _Cursor(packet.body), packet.flags >> 1 & 3
        topic = at.text()
        packet_id = at.short() if qos else 0
        properties = at.properties() if v5 else b""
        return cls(topic, packet.body[at.place :], qos, packet_id, bool(packet.flags & 1), properties)

    def encode(self, *, v5: bool) -> bytes:
        identifier = struct.pack(">H", self.packet_id) if self.qos else b""
        properties = (self.properties or b"\0") if v5 else b""
        body = _binary(self.topic.encode()) + identifier + properties + self.payload
        return Packet(Kind.PUBLISH, self.qos << 1 | self.retain, body).encode()


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, or UNSUBSCRIBE with options of -1."""

    packet_id: int
    properties: bytes
    filters: tuple[tuple[str, int], ...]

    @classmethod
    def decode(cls, packet: Packet, *, v5: bool) -> "Subscribe":
        at = _Cursor(packet.body)
        packet_id = at.short()
        properties = at.properties() if v5 else b""
        filters = []
        while at.place < len(packet.body):
            filters.append((at.text(), at.byte() if packet.kind == Kind.SUBSCRIBE else -1))
        if not filters:
            raise MalformedPacketError("a subscription to nothing")
        return cls(packet_id, properties, tuple(filters))

    def encode(self) -> bytes:
        wanted = b"".join(
            _binary(name.encode()) + (b"" if options < 0 else bytes([options])) for name, options in self.filters
        )
        kind = Kind.UNSUBSCRIBE if self.filters[0][1] < 0 else Kind.SUBSCRIBE
        return Packet(kind, 2, struct.pack(">H", self.packet_id) + self.properties + wanted).encode()


def suback_codes(packet: Packet, *, v5: bool) -> tuple[int, bytes]:
    """Packet id and reason codes of a SUBACK."""
    at = _Cursor(packet.body)
    packet_id = at.short()
    if v5:
        at.properties()
    return packet_id, packet.body[at.place :]


def suback(packet_id: int, codes: bytes, *, v5: bool) -> bytes:
    return Packet(Kind.SUBACK, 0, struct.pack(">H", packet_id) + (b"\0" if v5 else b"") + codes).encode()


def puback(packet_id: int) -> bytes:
    """Success, in either version."""
    return Packet(Kind.PUBACK, 0, struct.pack(">H", packet_id)).encode()


def connack(code: int, *, v5: bool) -> bytes:
    return Packet(Kind.CONNACK, 0, bytes([0, code]) + (b"\0" if v5 else b"")).encode()


def disconnect(code: int) -> bytes:
    """The server's DISCONNECT; MQTT 5 only."""
    return Packet(Kind.DISCONNECT, 0, bytes([code, 0])).encode()


def varint(number: int) -> bytes:
    """A variable byte integer (MQTT 5.0, 1.5.5)."""
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (128 if number else 0))
        if not number:
            return bytes(out)


def _read_varint(data: bytes | bytearray, start: int, *, partial: bool = False) -> tuple[int, int]:
    """The number and where it ends; end 0 when `partial` and bytes are missing."""
    value = 0
    for index in range(_LENGTH_BYTES):
        if start + index >= len(data):
            if partial:
                return 0, 0
            raise MalformedPacketError("a packet ends within a length")
        value |= (data[start + index] & 127) << 7 * index
        if data[start + index] < 128:  # noqa: PLR2004  the continuation bit
            return value, start + index + 1
    raise MalformedPacketError("a length of more than four bytes")


def _binary(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


@dataclass(slots=True)
class _Cursor:
    """Reads the members of a packet in order. Raises MalformedPacketError at its end."""

    data: bytes
    place: int = 0

    def take(self, count: int) -> bytes:
        end = self.place + count
        if end > len(self.data):
            raise MalformedPacketError("a packet ends within a member")
        piece, self.place = self.data[self.place : end], end
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2))

    def binary(self) -> bytes:
        return self.take(self.short())

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError:
            raise MalformedPacketError("a text that is not UTF-8") from None

    def properties(self) -> bytes:
        """All properties of MQTT 5 with their length, unread."""
        begin = self.place
        length, end = _read_varint(self.data, begin)
        self.place = end
        self.take(length)
        return self.data[begin : self.place]
