"""ASH, the serial link of EZSP sticks (Silicon Labs UG101): PURE, bytes in, bytes out, time as an argument.

`Link` is the stick's end: frames numbered modulo 8, a window of unacknowledged frames, go-back-N after a NAK or a
time-out, RST answered by RSTACK, ERROR and silence after too many time-outs. Damaged bytes are counted, never raised.
"""

import binascii
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto

FLAG = 0x7E  # ends a frame
ESCAPE = 0x7D
XON, XOFF = 0x11, 0x13
SUBSTITUTE = 0x18  # stands for a byte that the UART could not read
CANCEL = 0x1A  # drops what came since the last flag
_RESERVED = frozenset((FLAG, ESCAPE, XON, XOFF, SUBSTITUTE, CANCEL))
_FLIP = 0x20

VERSION = 2
WINDOW = 5  # DATA frames under way without an acknowledgement (UG101, TX_K)
MIN_DATA, MAX_DATA = 3, 220  # bytes of a payload
CRC_SIZE = 2

T_ACK_INIT = 1.6  # seconds to wait for an acknowledgement, adapted to the host (UG101, T_RX_ACK)
T_ACK_MIN = 0.4
T_ACK_MAX = 3.2
T_ACK_DELAY = 0.02  # time in which a DATA frame may carry the acknowledgement (T_TX_ACK_DELAY)
T_NOT_READY = 1.0  # a host that says "not ready" is believed for this long (T_REMOTE_NOTRDY)
MAX_TIMEOUTS = 4  # time-outs in a row until the link fails (ACK_TIMEOUTS)

_RST, _RSTACK, _ERROR = 0xC0, 0xC1, 0xC2
_ACK, _NAK = 0x80, 0xA0
_NOT_READY_BIT = 0x08
_RETRANSMITTED_BIT = 0x08


class ResetCode(IntEnum):
    """Why the stick restarted (RSTACK) or gave up (ERROR)."""

    POWER_ON = 0x02
    WATCHDOG = 0x03
    SOFTWARE = 0x0B
    ACK_TIMEOUTS = 0x51


class Kind(Enum):
    """Frame types of UG101 section 3."""

    DATA = auto()
    ACK = auto()
    NAK = auto()
    RST = auto()
    RSTACK = auto()
    ERROR = auto()


class AshError(ValueError):
    """A frame that is not ASH: CRC, length or control byte is wrong."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One ASH frame. `data` is the payload of DATA (plain), or version and code of RSTACK and ERROR."""

    kind: Kind
    number: int = 0  # DATA: 0..7
    ack: int = 0  # DATA, ACK, NAK: the next number that the sender expects
    retransmitted: bool = False  # DATA
    not_ready: bool = False  # ACK, NAK
    data: bytes = b""


def _pseudo_random(length: int) -> bytes:
    """The sequence that DATA payloads are mixed with, so that they hold few reserved bytes (UG101 4.3)."""
    value, out = 0x42, bytearray()
    for _ in range(length):
        out.append(value)
        value = value >> 1 ^ 0xB8 if value & 1 else value >> 1
    return bytes(out)


_RANDOM = _pseudo_random(MAX_DATA)


def randomise(data: bytes) -> bytes:
    """Mix or unmix a DATA payload of at most MAX_DATA bytes; its own inverse."""
    return bytes(byte ^ mask for byte, mask in zip(data, _RANDOM, strict=False))


def crc(data: bytes) -> bytes:
    """CRC-CCITT, initial value 0xFFFF, most significant byte first."""
    return binascii.crc_hqx(data, 0xFFFF).to_bytes(CRC_SIZE, "big")


def stuff(data: bytes) -> bytes:
    """Escape every reserved byte."""
    out = bytearray()
    for byte in data:
        if byte in _RESERVED:
            out += bytes((ESCAPE, byte ^ _FLIP))
        else:
            out.append(byte)
    return bytes(out)


def encode(frame: Frame) -> bytes:
    """The bytes on the line, flag included. Raises ValueError for a payload that does not fit."""
    if frame.kind is Kind.DATA:
        if not MIN_DATA <= len(frame.data) <= MAX_DATA:
            raise ValueError(f"a DATA frame holds {MIN_DATA} to {MAX_DATA} bytes, not {len(frame.data)}")
        body = bytes((frame.number << 4 | frame.retransmitted << 3 | frame.ack,)) + randomise(frame.data)
    elif frame.kind in (Kind.ACK, Kind.NAK):
        base = _ACK if frame.kind is Kind.ACK else _NAK
        body = bytes((base | frame.not_ready << 3 | frame.ack,))
    else:
        body = bytes((_PLAIN_CONTROL[frame.kind],)) + frame.data
    return stuff(body + crc(body)) + bytes((FLAG,))


_PLAIN_CONTROL = {Kind.RST: _RST, Kind.RSTACK: _RSTACK, Kind.ERROR: _ERROR}
_PLAIN_KIND = {(_RST, 0): Kind.RST, (_RSTACK, 2): Kind.RSTACK, (_ERROR, 2): Kind.ERROR}  # by control byte and length


def decode(body: bytes) -> Frame:
    """The frame of an unstuffed body without its flag. Raises AshError."""
    if len(body) <= CRC_SIZE:
        raise AshError("shorter than a control byte and its CRC")
    if crc(body[:-CRC_SIZE]) != body[-CRC_SIZE:]:
        raise AshError("CRC is wrong")
    control, data = body[0], body[1:-CRC_SIZE]
    if not control & 0x80:
        if not MIN_DATA <= len(data) <= MAX_DATA:
            raise AshError(f"DATA of {len(data)} bytes")
        again = bool(control & _RETRANSMITTED_BIT)
        return Frame(Kind.DATA, control >> 4, control & 7, retransmitted=again, data=randomise(data))
    if control & 0xE0 in (_ACK, _NAK):
        if data:
            raise AshError("an acknowledgement with data")
        kind = Kind.ACK if control & 0xE0 == _ACK else Kind.NAK
        return Frame(kind, ack=control & 7, not_ready=bool(control & _NOT_READY_BIT))
    if (control, len(data)) not in _PLAIN_KIND:
        raise AshError(f"control byte 0x{control:02X} with {len(data)} bytes")
    return Frame(_PLAIN_KIND[control, len(data)], data=data)


class Decoder:
    """Bytes in any pieces to frames."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._escaped = False
        self._damaged = ""  # why everything up to the next flag is dropped

    def feed(self, data: bytes) -> Iterator[Frame | AshError]:
        """The frames that end in `data`, an AshError in place of each one that is damaged."""
        for byte in data:
            if byte == FLAG:
                item = self._end()
                if item is not None:
                    yield item
            else:
                self._take(byte)

    def _take(self, byte: int) -> None:
        if byte == CANCEL:
            self._restart()
        elif byte == SUBSTITUTE:
            self._damaged = "a byte was lost"
        elif byte in (XON, XOFF):
            return
        elif byte == ESCAPE:
            self._escaped = True
        else:
            self._body.append(byte ^ _FLIP if self._escaped else byte)
            self._escaped = False
            if len(self._body) > 1 + MAX_DATA + CRC_SIZE:
                self._body.clear()
                self._damaged = "too long"

    def _restart(self) -> None:
        self._body.clear()
        self._escaped, self._damaged = False, ""

    def _end(self) -> Frame | AshError | None:
        body, damaged, escaped = bytes(self._body), self._damaged, self._escaped
        self._restart()
        if damaged or escaped:
            return AshError(damaged or "an escape at the end")
        if not body:
            return None  # flags may follow each other
        try:
            return decode(body)
        except AshError as error:
            return error


class ResetRequest:
    """The host sent RST: the link has restarted and RSTACK waits in poll()."""


@dataclass(slots=True)
class LinkCounters:
    """What happened on the link since it was made."""

    frames_in: int = 0
    frames_out: int = 0
    bad_frames: int = 0
    out_of_sequence: int = 0
    retransmissions: int = 0
    naks_sent: int = 0
    timeouts: int = 0


@dataclass(slots=True)
class _Transmit:
    """The sending half: what waits, what is under way, and when it is due."""

    queue: deque[tuple[bytes, bool]] = field(default_factory=deque)  # payload, is it a callback
    flight: deque[bytes] = field(default_factory=deque)
    oldest: int = 0  # number of flight[0]
    again: bool = False  # everything in flight goes out again
    sent_at: float = 0.0  # when the newest was sent
    repeated: bool = False  # a retransmission says nothing about the round trip
    due: float | None = None  # the acknowledgement is late from here on
    patience: float = T_ACK_INIT
    timeouts: int = 0  # in a row
    hold_until: float | None = None  # the host has no room for callbacks


class Link:
    """The stick's end of the line."""

    def __init__(self, *, window: int = WINDOW) -> None:
        self.counters = LinkCounters()
        self.failed: ResetCode | None = None
        self._window = window
        self._decoder = Decoder()
        self._control: list[Frame] = []  # go out before any DATA
        self._tx = _Transmit()
        self._expected = 0
        self._rejecting = False  # one NAK per gap
        self._nak = False  # it has not gone out yet
        self._ack_due: float | None = None

    def reset(self, code: ResetCode) -> None:
        """Restart; the host hears RSTACK with `code`."""
        self._restart()
        self._control.append(Frame(Kind.RSTACK, data=bytes((VERSION, code))))

    def send(self, payload: bytes, *, callback: bool = False) -> None:
        """Queue a payload; a callback waits while the host says that it is not ready. Dropped on a failed link."""
        if self.failed is None:
            self._tx.queue.append((payload, callback))

    def receive(self, data: bytes, now: float) -> list[bytes | ResetRequest]:
        """Bytes from the host in any pieces: payloads in order, each once, and ResetRequest where it sent RST."""
        events: list[bytes | ResetRequest] = []
        for item in self._decoder.feed(data):
            if isinstance(item, AshError):
                self.counters.bad_frames += 1
                self._reject()
                continue
            self.counters.frames_in += 1
            event = self._take(item, now)
            if event is not None:
                events.append(event)
        return events

    def poll(self, now: float) -> list[bytes]:
        """The frames due at `now`, in order, ready for the line."""
        tx = self._tx
        if tx.due is not None and now >= tx.due:
            self._late()
        out = self._control
        self._control = []
        if self._nak:
            out.append(Frame(Kind.NAK, ack=self._expected))
            self._nak, self._ack_due = False, None
            self.counters.naks_sent += 1
        if tx.again:
            for index, payload in enumerate(tx.flight):
                out.append(self._data((tx.oldest + index) % 8, payload, again=True))
            self.counters.retransmissions += len(tx.flight)
            tx.again, tx.repeated, tx.due = False, True, now + tx.patience
        while len(tx.flight) < self._window and (payload_ := self._next(now)) is not None:
            out.append(self._data((tx.oldest + len(tx.flight)) % 8, payload_, again=False))
            tx.flight.append(payload_)
            tx.sent_at, tx.repeated = now, False
            tx.due = now + tx.patience if tx.due is None else tx.due
        if any(frame.kind is Kind.DATA for frame in out):
            self._ack_due = None
        elif self._ack_due is not None and now >= self._ack_due:
            out.append(Frame(Kind.ACK, ack=self._expected))
            self._ack_due = None
        self.counters.frames_out += len(out)
        return [encode(frame) for frame in out]

    def next_deadline(self) -> float | None:
        """When poll() has something to send; a time in the past means now."""
        tx = self._tx
        if self._control or self._nak or tx.again:
            return 0.0
        times = [time for time in (tx.due, self._ack_due) if time is not None]
        if tx.queue and len(tx.flight) < self._window:
            waits = tx.hold_until is not None and all(callback for _payload, callback in tx.queue)
            times.append(tx.hold_until if waits and tx.hold_until is not None else 0.0)
        return min(times, default=None)

    def _restart(self) -> None:
        self.failed = None
        self._control.clear()
        self._tx = _Transmit()
        self._expected = 0
        self._rejecting = self._nak = False
        self._ack_due = None

    def _take(self, frame: Frame, now: float) -> bytes | ResetRequest | None:
        if frame.kind is Kind.RST:
            self.reset(ResetCode.SOFTWARE)
            return ResetRequest()
        if self.failed is not None:
            self._control = [Frame(Kind.ERROR, data=bytes((VERSION, self.failed)))]
            return None
        if frame.kind in (Kind.DATA, Kind.ACK, Kind.NAK):
            if not self._acknowledged(frame.ack, now):
                self.counters.bad_frames += 1
                self._reject()
                return None
            if frame.kind is Kind.DATA:
                return self._take_data(frame, now)
            self._tx.hold_until = now + T_NOT_READY if frame.not_ready else None
            if frame.kind is Kind.NAK:
                self._tx.again = bool(self._tx.flight)
        return None  # RSTACK and ERROR are the stick's own words

    def _take_data(self, frame: Frame, now: float) -> bytes | None:
        if frame.number == self._expected:
            self._expected = (self._expected + 1) % 8
            self._rejecting = self._nak = False
            if self._ack_due is None:
                self._ack_due = now + T_ACK_DELAY
            return frame.data
        self.counters.out_of_sequence += 1
        if frame.retransmitted:
            self._ack_due = now  # the host missed the acknowledgement
        else:
            self._reject()
        return None

    def _acknowledged(self, ack: int, now: float) -> bool:
        """Forget what the host has; False if it acknowledges what was never sent."""
        tx = self._tx
        count = (ack - tx.oldest) % 8
        if count > len(tx.flight):
            return False
        if count:
            for _ in range(count):
                tx.flight.popleft()
            tx.oldest = ack
            tx.timeouts = 0
            if not tx.repeated:
                tx.patience = _bounded(tx.patience * 7 / 8 + (now - tx.sent_at) / 2)
            tx.due = now + tx.patience if tx.flight else None
            tx.again = tx.again and bool(tx.flight)
        return True

    def _late(self) -> None:
        tx = self._tx
        tx.timeouts += 1
        self.counters.timeouts += 1
        if tx.timeouts > MAX_TIMEOUTS:
            self._restart()
            self.failed = ResetCode.ACK_TIMEOUTS
            self._control.append(Frame(Kind.ERROR, data=bytes((VERSION, self.failed))))
        else:
            tx.patience = _bounded(tx.patience * 2)
            tx.again = True

    def _reject(self) -> None:
        if self.failed is None and not self._rejecting:
            self._rejecting = True
            self._nak = True

    def _next(self, now: float) -> bytes | None:
        tx = self._tx
        if tx.hold_until is not None and now >= tx.hold_until:
            tx.hold_until = None
        for index, (payload, callback) in enumerate(tx.queue):
            if tx.hold_until is None or not callback:
                del tx.queue[index]
                return payload
        return None

    def _data(self, number: int, payload: bytes, *, again: bool) -> Frame:
        return Frame(Kind.DATA, number, self._expected, retransmitted=again, data=payload)


def _bounded(patience: float) -> float:
    return min(max(patience, T_ACK_MIN), T_ACK_MAX)
