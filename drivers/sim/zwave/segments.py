"""A node's end of Transport Service: what exceeds a frame, both ways. PURE."""

from collections import deque
from collections.abc import Callable, Iterable

from drivers.sim.zwave.timers import Timers
from drivers.zwave.transport_service import SESSIONS, Datagram, Done, Effect, Receiver, Send, Sender

Say = Callable[[bytes, float], None]


class Segments:
    """Datagrams from and to the controller; one of ours at a time. `heard` gets each whole datagram."""

    def __init__(self, peer: int, say: Say, heard: Say) -> None:
        self._peer, self._say, self._heard = peer, say, heard
        self._receiver = Receiver()
        self._sender: Sender | None = None
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._session = 0

    def take(self, data: bytes, timers: Timers, now: float) -> None:
        """A Transport Service command of the controller."""
        if self._sender is not None:
            self._do(self._sender.receive(data, now), timers, now)
        self._do(self._receiver.receive(self._peer, data, now), timers, now)

    def send(self, datagram: bytes, room: int, timers: Timers, now: float) -> None:
        """A datagram in frames of `room` bytes."""
        self._waiting.append((datagram, room))
        self._next(timers, now)

    def _next(self, timers: Timers, now: float) -> None:
        if self._sender is None and self._waiting:
            datagram, room = self._waiting.popleft()
            self._session = (self._session + 1) % SESSIONS
            self._sender = Sender(self._peer, datagram, self._session, room)
            self._do(self._sender.start(now), timers, now)

    def _do(self, effects: Iterable[Effect], timers: Timers, now: float) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._say(effect.data, now)
                case Datagram():
                    self._heard(effect.data, now)
                case Done():
                    self._sender = None
        self._arm(timers)
        self._next(timers, now)

    def _arm(self, timers: Timers) -> None:
        sender = self._sender
        if sender is not None and sender.deadline is not None:
            due = sender.deadline
            timers.at(due, lambda now: self._tick(sender, due, timers, now))
        if self._receiver.deadline is not None:
            timers.at(self._receiver.deadline, lambda now: self._do(self._receiver.tick(now), timers, now))

    def _tick(self, sender: Sender, due: float, timers: Timers, now: float) -> None:
        if self._sender is sender and sender.deadline == due:
            self._do(sender.tick(now), timers, now)
