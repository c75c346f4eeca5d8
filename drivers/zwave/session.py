"""The host's end of the Serial API link (INS12350 / Host Application Programming Guide, "Transmission"). PURE.

`Session.handle(event, now)` returns effects; time is monotonic seconds, `deadline` says when to call with `Tick()` next. One frame is in
flight, one command waits for its response, any number wait for callbacks, but only one of those that transmit. Every `Submit` ends in
exactly one `Done`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from drivers.zwave.frame import Damaged, Data, Decoder, Frame, Signal, Type, encode

ACK_TIMEOUT = 1.6  # seconds; a missing ACK counts as a NAK
RETRANSMISSIONS = 3
BACKOFF, BACKOFF_STEP = 0.1, 1.0  # seconds before retransmission n: BACKOFF + n * BACKOFF_STEP
ABORT_GRACE = 5.0  # seconds in which an aborted transmission still reports its end
QUEUE = 256  # commands that may wait
CALLBACK_IDS = 255

ABORT_FUNCTION = 0x16  # ZW_SendDataAbort


class Outcome(Enum):
    """How a command ended."""

    DONE = auto()
    REFUSED = auto()  # the response said that it does not start
    NO_ACK = auto()  # not even after all retransmissions
    NO_RESPONSE = auto()
    NO_CALLBACK = auto()
    ABORTED = auto()
    BUSY = auto()  # the queue is full, or all callback ids are open
    LOST = auto()  # the line is gone


def _yes(_: bytes) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Request:
    """One command to the chip.

    `callback_at` is the index of the callback id in `payload`, None for commands without a callback. `accepted` reads the response's
    payload: does a callback follow? `final` reads a callback's payload after its id: is it the last one? Times are seconds.
    """

    function: int
    payload: bytes = b""
    responds: bool = True
    callback_at: int | None = None
    transmits: bool = False
    accepted: Callable[[bytes], bool] = _yes
    final: Callable[[bytes], bool] = _yes
    response_timeout: float = 10.0
    callback_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Submit:
    """Send `request`; `tag` comes back in its Done."""

    tag: object
    request: Request


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes came from the line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """Give a command up. A transmission in the air ends with its callback, everything else at once."""

    tag: object


@dataclass(frozen=True, slots=True)
class Tick:
    """`deadline` has passed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The line is gone: everything open ends."""


Event = Submit | Received | Abort | Tick | Lost


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes to the line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """A callback that is not the last one; `payload` is what follows its id."""

    tag: object
    payload: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a command. `response` is None where none came, `callback` what follows the id of the last callback."""

    tag: object
    outcome: Outcome
    response: bytes | None = None
    callback: bytes | None = None


@dataclass(frozen=True, slots=True)
class Unsolicited:
    """A request of the chip that no command waits for."""

    function: int
    payload: bytes


Effect = Write | Progress | Done | Unsolicited


@dataclass(slots=True)
class Counters:
    """What went wrong on the link."""

    retransmissions: int = 0
    naks: int = 0
    cans: int = 0
    ack_timeouts: int = 0
    stray_signals: int = 0
    stray_responses: int = 0
    stale_callbacks: int = 0


class _Stage(Enum):
    ACK = auto()
    BACKOFF = auto()
    RESPONSE = auto()
    CALLBACK = auto()


@dataclass(slots=True, eq=False)
class _Open:
    tag: object
    request: Request
    callback_id: int = 0
    stage: _Stage = _Stage.ACK
    deadline: float = 0.0
    attempts: int = 0
    response: bytes | None = None
    silent: bool = False  # its Done was given; it only keeps its place on the link
    aborting: bool = False  # the transmission's end is wanted

    def frame(self) -> bytes:
        payload = self.request.payload
        at = self.request.callback_at
        if at is not None:
            payload = payload[:at] + bytes((self.callback_id,)) + payload[at + 1 :]
        return encode(Data(Type.REQUEST, self.request.function, payload))


_INTERNAL: Any = object()  # tag of commands that the session sends by itself


@dataclass(slots=True)
class Session:
    """The link of one stick. See the module's docstring."""

    counters: Counters = field(default_factory=Counters)
    decoder: Decoder = field(default_factory=Decoder)
    _queue: deque[_Open] = field(default_factory=deque)
    _link: _Open | None = None  # its frame is in flight, or it waits for its response
    _waiting: list[_Open] = field(default_factory=list)  # for callbacks, by age
    _last_id: int = 0
    _called_back: set[int] = field(default_factory=set)  # functions that were sent with a callback id
    _effects: list[Effect] = field(default_factory=list)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What follows from `event`. Never raises for what the line brings."""
        match event:
            case Submit(tag, request):
                self._submit(tag, request)
            case Received(data):
                for item in self.decoder.feed(data, now):
                    self._item(item, now)
            case Abort(tag):
                self._abort(tag, now)
            case Lost():
                self._lost()
            case Tick():
                pass
        self._expire(now)
        self._start(now)
        effects, self._effects = self._effects, []
        return effects

    @property
    def deadline(self) -> float | None:
        """When `Tick` is due."""
        times = [open_.deadline for open_ in self._waiting]
        until = self.decoder.deadline
        if until is not None:
            times.append(until)
        if self._link is not None:
            held = until is not None and self._link.stage is _Stage.BACKOFF
            times.append(max(self._link.deadline, until or 0.0) if held else self._link.deadline)
        return min(times, default=None)

    @property
    def idle(self) -> bool:
        """Nothing is open or waits."""
        return self._link is None and not self._queue and not self._waiting

    def _submit(self, tag: object, request: Request) -> None:
        if len(self._queue) >= QUEUE:
            self._effects.append(Done(tag, Outcome.BUSY))
        else:
            self._queue.append(_Open(tag, request))

    def _start(self, now: float) -> None:
        """Send the first command that may go, unless the line is taken by either side."""
        while self._link is None and not self.decoder.receiving:
            transmitting = any(open_.request.transmits for open_ in self._waiting)
            free = (open_ for open_ in self._queue if not (transmitting and open_.request.transmits))
            candidate = next(free, None)
            if candidate is None:
                return
            self._queue.remove(candidate)
            if candidate.request.callback_at is not None and not self._give_id(candidate):
                self._finish(candidate, Outcome.BUSY)
                continue
            self._link = candidate
            self._send(candidate, now)

    def _give_id(self, candidate: _Open) -> bool:
        taken = {open_.callback_id for open_ in self._waiting}
        for step in range(CALLBACK_IDS):
            number = (self._last_id + step) % CALLBACK_IDS + 1
            if number not in taken:
                self._last_id = candidate.callback_id = number
                self._called_back.add(candidate.request.function)
                return True
        return False

    def _send(self, open_: _Open, now: float) -> None:
        open_.attempts += 1
        open_.stage = _Stage.ACK
        open_.deadline = now + ACK_TIMEOUT
        self._effects.append(Write(open_.frame()))

    def _item(self, item: Frame | Damaged, now: float) -> None:
        if isinstance(item, Damaged):
            self._effects.append(Write(encode(Signal.NAK)))
        elif isinstance(item, Data):
            self._effects.append(Write(encode(Signal.ACK)))
            if item.type is Type.RESPONSE:
                self._on_response(item, now)
            else:
                self._on_request(item, now)
        else:
            self._signal(item, now)

    def _signal(self, signal: Signal, now: float) -> None:
        link = self._link
        if link is None or link.stage is not _Stage.ACK:
            self.counters.stray_signals += 1
        elif signal is Signal.ACK:
            self._acknowledged(link, now)
        else:
            if signal is Signal.NAK:
                self.counters.naks += 1
            else:
                self.counters.cans += 1
            self._again(link, now, now)

    def _acknowledged(self, link: _Open, now: float) -> None:
        if link.request.responds:
            link.stage = _Stage.RESPONSE
            link.deadline = now + link.request.response_timeout
        else:
            self._await_callback(link, now)

    def _await_callback(self, link: _Open, now: float) -> None:
        self._link = None
        if link.request.callback_at is None:
            self._finish(link, Outcome.DONE)
            return
        link.stage = _Stage.CALLBACK
        link.deadline = now + link.request.callback_timeout
        self._waiting.append(link)
        if link.aborting:
            self._abort_transmission(link, now)

    def _again(self, link: _Open, since: float, now: float) -> None:
        """Retransmit after the back-off that began at `since`, or give up."""
        if link.silent or link.aborting or link.attempts > RETRANSMISSIONS:
            self._link = None
            self._finish(link, Outcome.ABORTED if link.aborting else Outcome.NO_ACK)
            return
        link.stage = _Stage.BACKOFF
        link.deadline = max(now, since + BACKOFF + (link.attempts - 1) * BACKOFF_STEP)

    def _on_response(self, data: Data, now: float) -> None:
        link = self._link
        # A response proves that the frame arrived, also where its ACK was lost.
        if link is None or not link.request.responds or link.request.function != data.function:
            self.counters.stray_responses += 1
            return
        link.response = data.payload
        if not link.request.accepted(data.payload):
            self._link = None
            self._finish(link, Outcome.REFUSED)
        else:
            self._await_callback(link, now)

    def _on_request(self, data: Data, now: float) -> None:
        candidates = [*self._waiting] if self._link is None else [*self._waiting, self._link]
        for open_ in candidates:
            request = open_.request
            if request.callback_at is None or request.function != data.function:
                continue
            if data.payload[:1] == bytes((open_.callback_id,)):
                self._callback(open_, data.payload[1:], now)
                return
        if data.function in self._called_back:
            self.counters.stale_callbacks += 1
        else:
            self._effects.append(Unsolicited(data.function, data.payload))

    def _callback(self, open_: _Open, payload: bytes, now: float) -> None:
        if open_ is self._link:  # ACK or response was lost or is late: the callback says that the command runs
            self._link = None
            self._waiting.append(open_)
        if open_.request.final(payload):
            self._waiting.remove(open_)
            self._finish(open_, Outcome.DONE, payload)
            return
        open_.stage = _Stage.CALLBACK
        open_.deadline = now + open_.request.callback_timeout
        if not open_.silent:
            self._effects.append(Progress(open_.tag, payload))

    def _finish(self, open_: _Open, outcome: Outcome, callback: bytes | None = None) -> None:
        if not open_.silent and open_.tag is not _INTERNAL:
            self._effects.append(Done(open_.tag, outcome, open_.response, callback))
        open_.silent = True

    def _expire(self, now: float) -> None:
        self.decoder.abort(now)
        link = self._link
        if link is not None and link.deadline <= now:
            if link.stage is _Stage.ACK:
                self.counters.ack_timeouts += 1
                self._again(link, now - ACK_TIMEOUT, now)
            if link.stage is _Stage.RESPONSE:
                self._link = None
                self._finish(link, Outcome.NO_RESPONSE)
            elif link.stage is _Stage.BACKOFF and link.deadline <= now and not self.decoder.receiving:
                self.counters.retransmissions += 1
                self._send(link, now)
        for open_ in [open_ for open_ in self._waiting if open_.deadline <= now]:
            if open_.request.transmits and not open_.aborting:
                self._abort_transmission(open_, now)
            else:
                self._waiting.remove(open_)
                self._finish(open_, Outcome.NO_CALLBACK)

    def _abort_transmission(self, open_: _Open, now: float) -> None:
        """The chip takes no second transmission before the callback of the first, so the first must end."""
        open_.aborting = True
        open_.deadline = now + ABORT_GRACE
        self._queue.appendleft(_Open(_INTERNAL, Request(ABORT_FUNCTION, responds=False)))

    def _abort(self, tag: object, now: float) -> None:
        for open_ in self._queue:
            if open_.tag == tag:
                self._queue.remove(open_)
                self._finish(open_, Outcome.ABORTED)
                return
        for open_ in self._waiting:
            if open_.tag == tag:
                if open_.request.transmits:
                    if not open_.aborting:
                        self._abort_transmission(open_, now)
                elif not open_.silent:
                    self._waiting.remove(open_)
                    self._finish(open_, Outcome.ABORTED)
                return
        link = self._link
        if link is not None and link.tag == tag:
            if link.request.transmits:
                link.aborting = True
            else:
                self._finish(link, Outcome.ABORTED)

    def _lost(self) -> None:
        everything = [*([self._link] if self._link else []), *self._waiting, *self._queue]
        self._link = None
        self._waiting.clear()
        self._queue.clear()
        self.decoder = Decoder(self.decoder.problems)
        for open_ in everything:
            self._finish(open_, Outcome.LOST)
