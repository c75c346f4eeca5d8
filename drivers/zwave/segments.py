"""Commands that exceed a frame, on the air: the timers and sending of `drivers.zwave.transport_service`."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from agent.driver import DeviceUnreachable
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.transmit import Sent, Spawn, Transmitter, Urgency
from drivers.zwave.transport_service import SESSIONS, Datagram, Done, Effect, Receiver, Send, Sender

TRANSPORT_SERVICE = 0x55


class Segments:
    """Frames as they fit. `arrived` gets each datagram that came in segments."""

    def __init__(self, radio: Transmitter, spawn: Spawn) -> None:
        self.radio = radio
        self.arrived: Callable[[int, bytes], None] = lambda _node, _data: None
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._receiver = Receiver()
        self._sending: dict[int, tuple[Sender, asyncio.Future[bool]]] = {}
        self._session = 0
        self._timer: asyncio.TimerHandle | None = None

    def room(self, node: int) -> int:
        """Bytes of a command that one frame to `node` carries."""
        facts = self.radio.controller.facts
        return facts.long_range_payload or facts.max_payload if node >= FIRST_LONG_RANGE else facts.max_payload

    async def send(self, node: int, data: bytes, urgency: Urgency) -> Sent:
        """In one frame, or in segments. Raises as the transmitter does, and DeviceUnreachable where segments are not completed."""
        if len(data) <= self.room(node):
            return await self.radio.send(node, data, urgency=urgency)
        self._session = (self._session + 1) % SESSIONS
        sender = Sender(node, data, self._session, self.room(node))
        done: asyncio.Future[bool] = self._loop.create_future()
        self._sending[node] = (sender, done)
        try:
            sent = await self._transmit(sender.start(self._loop.time()), urgency)
            while not done.done():
                wait = max(0.0, (sender.deadline or self._loop.time()) - self._loop.time())
                await asyncio.wait({done}, timeout=wait)
                if not done.done():
                    await self._transmit(sender.tick(self._loop.time()), urgency)
        finally:
            self._sending.pop(node, None)
        if not done.result():
            raise DeviceUnreachable(f"node {node} did not complete a command of {len(data)} bytes")
        return sent

    async def _transmit(self, effects: Iterable[Effect], urgency: Urgency) -> Sent:
        sent = Sent()
        for effect in effects:
            if isinstance(effect, Send):
                sent = await self.radio.send(effect.peer, effect.data, urgency=urgency)
            elif isinstance(effect, Done):
                self._done(effect)
        return sent

    def _done(self, effect: Done) -> None:
        sending = self._sending.get(effect.peer)
        if sending is not None and not sending[1].done():
            sending[1].set_result(effect.delivered)

    def receive(self, node: int, data: bytes) -> None:
        """A Transport Service command came in."""
        now = self._loop.time()
        sending = self._sending.get(node)
        if sending is not None:
            self._perform(sending[0].receive(data, now))
        self._perform(self._receiver.receive(node, data, now))
        self._set_timer()

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(peer, data):
                    self._spawn(self._answer(peer, data), "segments")
                case Datagram(peer, data):
                    self.arrived(peer, data)
                case Done():
                    self._done(effect)

    async def _answer(self, node: int, data: bytes) -> None:
        with suppress(DeviceUnreachable):  # it sends its segments again
            await self.radio.send(node, data, urgency=Urgency.NONCE)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._receiver.deadline
        self._timer = None if due is None else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._perform(self._receiver.tick(self._loop.time()))
        self._set_timer()

    def close(self) -> None:
        """No timer is left behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
