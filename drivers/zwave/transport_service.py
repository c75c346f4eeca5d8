"""Transport Service version 2 (SDS13783): commands that exceed a frame, in segments with a checksum each. PURE.

`Receiver` puts datagrams together, one for each sender; `Sender` sends one. Effects go to the peer; `tick` is called at `deadline`. Time
is monotonic seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from drivers.zwave.codec import Command, decode, make
from drivers.zwave.encapsulation import crc16
from drivers.zwave.layout import LayoutError

MAX_DATAGRAM = 0x7FF
FIRST_OVERHEAD, OVERHEAD = 6, 7  # bytes around the payload of a segment
MAX_SEGMENT = 39  # bytes of payload, whatever the frame could carry
GAP = 0.8  # seconds without a segment until the missing ones are asked for; 0.4 at 100 kbit/s
COMPLETE_TIMEOUT = 1.0  # seconds to Segment Complete after the last segment
WAIT_PER_SEGMENT = 0.1  # seconds for each segment that the receiver has before us
MAX_REQUESTS = 4  # in a row without a new byte
SESSIONS = 16
REASSEMBLIES = 8  # senders at once

FIRST = "Transport Service First Segment"
SUBSEQUENT = "Transport Service Subsequent Segment"
REQUEST = "Transport Service Segment Request"
COMPLETE = "Transport Service Segment Complete"
WAIT = "Transport Service Segment Wait"


class TransportError(ValueError):
    """A datagram that cannot be sent."""


@dataclass(frozen=True, slots=True)
class Send:
    """A command to the peer."""

    peer: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Datagram:
    """A whole datagram came."""

    peer: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a datagram that we sent; `delivered` False: the peer did not complete it."""

    peer: int
    delivered: bool


Effect = Send | Datagram | Done


def _segment(name: str, **values: Any) -> bytes:
    head = make(name, checksum=0, **values)[:-2]
    return head + crc16(head).to_bytes(2, "big")


def _decode(data: bytes) -> Command | None:
    """A Transport Service command with a right checksum where it has one."""
    try:
        command = decode(data)
    except LayoutError:
        return None
    if not isinstance(command, Command) or not command.name.startswith("Transport Service"):
        return None
    if command.name in (FIRST, SUBSEQUENT) and crc16(data[:-2]) != command["checksum"]:
        return None
    return command


@dataclass(slots=True)
class _Reassembly:
    session: int
    data: bytearray
    have: bytearray  # one byte for each of `data`: is it here?
    deadline: float
    requests: int = 0

    def put(self, offset: int, payload: bytes) -> None:
        end = min(offset + len(payload), len(self.data))
        if offset < end and 0 in self.have[offset:end]:
            self.data[offset:end] = payload[: end - offset]
            self.have[offset:end] = b"\x01" * (end - offset)
            self.requests = 0

    @property
    def missing(self) -> int:
        """The first offset that is not here; -1 where all is."""
        return self.have.find(0)


@dataclass(slots=True)
class Receiver:
    """Datagrams from all peers."""

    gap: float = GAP
    _open: dict[int, _Reassembly] = field(default_factory=dict)
    _completed: dict[int, int] = field(default_factory=dict)  # peer -> session that was completed last

    def receive(self, peer: int, data: bytes, now: float) -> list[Effect]:
        """A Transport Service command of `peer`. Damaged segments are dropped: they are asked for later."""
        command = _decode(data)
        if command is None or command.name not in (FIRST, SUBSEQUENT):
            return []
        session, offset = command["session"], command.get("offset", 0)
        current = self._open.get(peer)
        if command.name == FIRST:
            if current is None and len(self._open) >= REASSEMBLIES:
                return [Send(peer, make(WAIT, pending=MAX_DATAGRAM // MAX_SEGMENT))]
            if current is None or current.session != session or len(current.data) != command["size"]:
                current = _Reassembly(session, bytearray(command["size"]), bytearray(command["size"]), now)
                self._open[peer] = current
                self._completed.pop(peer, None)
        elif current is None or current.session != session:
            return self._stray(peer, session)
        current.put(offset, command["payload"])
        current.deadline = now + self.gap
        if current.missing >= 0:
            return []
        del self._open[peer]
        self._completed[peer] = session
        return [Send(peer, make(COMPLETE, session=session)), Datagram(peer, bytes(current.data))]

    def _stray(self, peer: int, session: int) -> list[Effect]:
        """A segment without a beginning: its Complete was lost, or its first segment was."""
        if self._completed.get(peer) == session:
            return [Send(peer, make(COMPLETE, session=session))]
        return [Send(peer, make(WAIT, pending=0))]  # begin anew

    def tick(self, now: float) -> list[Effect]:
        """Ask for what is missing; give up what does not come."""
        effects: list[Effect] = []
        for peer, current in list(self._open.items()):
            if current.deadline > now:
                continue
            if current.requests >= MAX_REQUESTS:
                del self._open[peer]
                continue
            current.requests += 1
            current.deadline = now + self.gap
            effects.append(Send(peer, make(REQUEST, session=current.session, offset=current.missing)))
        return effects

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min((current.deadline for current in self._open.values()), default=None)


@dataclass(slots=True)
class Sender:
    """One datagram to one peer. `room`: bytes of a frame's command."""

    peer: int
    datagram: bytes
    session: int
    room: int
    deadline: float | None = None
    _tries: int = 0
    _ended: bool = False

    def __post_init__(self) -> None:
        if not 0 < len(self.datagram) <= MAX_DATAGRAM:
            raise TransportError(f"a datagram has 1 to {MAX_DATAGRAM} bytes")
        if self.room <= OVERHEAD or not 0 <= self.session < SESSIONS:
            raise TransportError("no room for a segment, or no such session")

    def start(self, now: float) -> list[Effect]:
        """All segments, to be sent one after the other."""
        self.deadline = now + COMPLETE_TIMEOUT
        return [Send(self.peer, segment) for _, segment in self._segments()]

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """A Transport Service command of the peer."""
        command = _decode(data)
        if command is None or self._ended:
            return []
        if command.name == WAIT:
            self._tries += 1
            if self._tries > MAX_REQUESTS:
                return self._end(delivered=False)
            self.deadline = now + command["pending"] * WAIT_PER_SEGMENT
            return []
        if command.get("session") != self.session:
            return []
        if command.name == COMPLETE:
            return self._end(delivered=True)
        if command.name == REQUEST:
            self._tries += 1
            if self._tries > MAX_REQUESTS * sum(1 for _ in self._segments()):
                return self._end(delivered=False)
            self.deadline = now + COMPLETE_TIMEOUT
            wanted = command["offset"]
            return [Send(self.peer, one) for at, one in self._segments() if at <= wanted < at + self._size(at)]
        return []

    def tick(self, now: float) -> list[Effect]:
        """Nothing came: everything once more; what the peer has already costs it nothing."""
        if self.deadline is None or now < self.deadline or self._ended:
            return []
        self._tries += 1
        if self._tries > MAX_REQUESTS:
            return self._end(delivered=False)
        self.deadline = now + COMPLETE_TIMEOUT
        return [Send(self.peer, segment) for _, segment in self._segments()]

    def _end(self, *, delivered: bool) -> list[Effect]:
        self._ended, self.deadline = True, None
        return [Done(self.peer, delivered)]

    def _size(self, offset: int) -> int:
        return min(MAX_SEGMENT, self.room - (OVERHEAD if offset else FIRST_OVERHEAD))

    def _segments(self) -> Iterator[tuple[int, bytes]]:
        offset = 0
        while offset < len(self.datagram):
            payload = self.datagram[offset : offset + self._size(offset)]
            values: dict[str, Any] = {"size": len(self.datagram), "session": self.session, "payload": payload}
            yield offset, _segment(SUBSEQUENT, offset=offset, **values) if offset else _segment(FIRST, **values)
            offset += len(payload)
