"""One uplink: drains its part of the outbox into one broker, and hands the broker's messages to the hub.

Order and durability:
- A durable-first message is on disk before it is offered here. It leaves memory and disk when its PUBACK has come.
- A deliver-first message (state) is sent at once. Without a PUBACK after `spool_after` it goes to disk, and at once while the link is down.
- Lanes are drained in order: dialogue, events, state, logs; within a lane by id, so the order of each device is kept.
- A backlog of state that would hold up live data for long (HISTORY) is sent behind the live data. When it is through, every device's
  state is told once more, so that the last word on each property is the newest one.
- After a lost connection all memory of what was under way is dropped: the outbox on disk is the truth, and ids stay the same.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from agent.clock import Clock
from agent.cloud.channel import Channel
from agent.cloud.dialect import Dialect, MalformedMessage
from agent.cloud.lane import Lane, LinkPolicy, Outbox, shift
from agent.cloud.last_word import LastWord
from agent.cloud.mqtt import (
    VERSION_NAMES,
    Endpoint,
    Inbound,
    Leaves,
    MqttConnection,
    MqttLost,
    ProtocolChoice,
)
from agent.cloud.opening import Opening
from agent.cloud.pace import Pace
from agent.cloud.unsaved import Unsaved
from agent.requests import LANE_LOG, LANE_STATE, Message, Request

log = logging.getLogger(__name__)

CHUNK = 200  # rows read from disk at a time: about 60 kB
HISTORY = 1000  # rows of state: ten seconds of AWS IoT Core's 100 publishes a second
LEAVE = 2.0  # seconds for what is in flight, when a connection is left for another
DELETE_WINDOW = 0.5  # acknowledged rows are deleted in groups; a crash before that sends them again under the same id


class Link:
    """An uplink by name. `run` is one connection's life; the supervisor calls it again after a backoff."""

    def __init__(
        self,
        name: str,
        endpoint: Callable[[], Endpoint],
        policy: LinkPolicy,
        dialect: Dialect,
        outbox: Outbox,
        clock: Clock,
        *,
        on_request: Callable[[Request, Callable[[], None]], None],
        on_history_told: Callable[[], None],
        channel: Channel,
        opening: Opening | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.counters: Counter[str] = Counter()
        self.connected = self.proved = False
        self.last_error = ""
        self._endpoint, self.channel = endpoint, channel
        self._dialect, self._outbox, self._clock = dialect, outbox, clock
        self._on_request, self._on_history_told = on_request, on_history_told
        self._opening = opening
        self._leaving: MqttLost | None = None
        self._status: Mapping[str, Any] = {}
        self._last_word: LastWord | None = None
        self._connection: MqttConnection | None = None
        self._protocol = ProtocolChoice(policy.protocol)
        self._attention = asyncio.Event()
        self._acked = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._unsaved = Unsaved(clock, policy.spool_after, self._spool)
        self._reset()

    def _reset(self) -> None:
        self._lanes = [Lane() for _ in range(LANE_LOG + 1)]
        self._live: deque[Message] = deque()  # state that goes ahead of history
        self._history_until = 0
        self._in_flight: dict[int, tuple[int, int]] = {}  # packet id -> (message id, lane)
        self._parts: Counter[int] = Counter()  # publications under way of a message
        self._moved = self._clock.now().mono
        self._pace = Pace(self.policy.publishes_per_second, self._moved)

    # ---- what the runtime calls -------------------------------------------------------------------------------------

    def offer(self, message: Message) -> None:
        """A durable message has been committed."""
        lane = self._lanes[message.lane]
        if self._connection is None or lane.more:
            lane.on_disk()
            self._attention.set()
            return
        lane.ready.append(message)
        lane.after = message.id
        self._pump()

    def offer_live(self, message: Message) -> None:
        """State, deliver-first: send at once if the link is up, else put it on disk."""
        lane = self._lanes[LANE_STATE]
        if self._connection is None:
            self._unsaved.keep(message)  # to disk in groups, within `spool_after`; the next connection reads it there
        elif lane.more and not self._history_until:
            lane.on_disk()
            self._outbox.spool([message])
            self._attention.set()
        else:
            self._unsaved.keep(message)
            if self._history_until:
                self._live.append(message)
            else:
                lane.ready.append(message)
                lane.after = message.id
            self._pump()

    def set_status(self, status: Mapping[str, Any]) -> None:
        """The hub's status; told now if the link is up, and after every connect."""
        if self._last_word is None:
            self._status = status
            self._tell_status()

    async def say_last(self, status: Mapping[str, Any], timeout: float) -> bool:
        """Tell a status that nothing may follow; False when the broker did not take it in time."""
        self._status, self._last_word = status, LastWord()
        self._tell_status()
        return bool((await asyncio.wait([self._last_word.taken], timeout=timeout))[0])

    @property
    def protocol_level(self) -> int:
        """The MQTT version in use or tried next: 5, or 4 for 3.1.1."""
        return self._protocol.level

    @property
    def waiting(self) -> int:
        """Messages in memory that are not acknowledged."""
        return len(self._in_flight) + len(self._live) + sum(len(lane.ready) for lane in self._lanes)

    def reconnect(self) -> None:
        """End the connection in order and make another: what it connects with has changed."""
        self.leave(Leaves("it connects anew", place=self._place))

    def leave(self, error: MqttLost) -> None:
        """End the connection in order, with this error."""
        self._leaving = error
        self._attention.set()
        if self._opening is not None and self._connection is None:
            self._opening.abandon(error)

    async def run(self) -> None:
        """Connect, drain, and end with MqttLost. Raises what the endpoint cannot be made for."""
        self._leaving = None
        connection = self._connect(self._endpoint())
        try:
            await connection.open(self._dialect.subscriptions)
            if self._opening is not None:
                await self._opening.open(connection, self._waits)
            self._up(connection)
            await self.channel.bind(connection)
            for early in self._opening.held() if self._opening is not None else ():
                self._received(early)
            while not connection.closed.done():
                await self._attended()
                await self._left(connection)
                await self._refill()
            self._protocol.lost()
            ended = connection.closed.result()
            remedy = "let this client publish in the broker's policy" if "Not authorized" in ended else ""
            raise MqttLost(f"connection lost: {ended}", place=self._place, remedy=remedy)
        except MqttLost as error:
            self._protocol.failed(error)
            if self._last_word is not None:
                self._last_word.ended(error)
            self.last_error = error.advice
            raise
        finally:
            self._down()
            connection.close("the link ends")

    async def _left(self, connection: MqttConnection) -> None:
        """Raises what the connection is to be left with."""
        if self._leaving is not None:
            await self._drained(connection, LEAVE)
            await connection.drain_and_close(LEAVE)
            raise self._leaving

    def _waits(self, reason: str) -> None:
        self.last_error = reason

    async def _drained(self, connection: MqttConnection, timeout: float) -> bool:
        """Whether everything in flight is acknowledged in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._in_flight and not connection.closed.done():
                    self._acked.clear()
                    await self._acked.wait()
        return not self._in_flight

    async def _attended(self) -> None:
        """Until there is something to do. Raises MqttLost when the broker has acknowledged nothing for too long."""
        try:
            async with asyncio.timeout(self.policy.acknowledge_within):
                await self._attention.wait()
        except TimeoutError:
            if self._in_flight and self._still > self.policy.acknowledge_within:
                remedy = "see the broker's log; a new connection is made"
                raise MqttLost(
                    f"no PUBACK for {self._still:.0f} s, {len(self._in_flight)} messages wait for one",
                    place=self._place,
                    remedy=remedy,
                ) from None
        self._attention.clear()

    @property
    def _still(self) -> float:
        """Seconds since the last message was sent into an idle connection, or acknowledged."""
        return self._clock.now().mono - self._moved

    def stalled(self) -> bool:
        """Connected, with something to send, and nothing moves: a bug, which the watchdog ends."""
        return self.connected and self.waiting > 0 and self._still > 3 * self.policy.acknowledge_within

    async def stop(self, timeout: float) -> None:
        """Say offline, wait for what is in flight, and disconnect in order."""
        connection = self._connection
        if connection is None:
            return
        self.set_status({**self._status, "status": "offline", "reason": "stopped"})
        if not await self._drained(connection, timeout / 2):
            log.info("%d messages are not acknowledged; they go out again after the next start", len(self._in_flight))
        self._unsaved.spool_all()
        await connection.drain_and_close(timeout / 2)

    # ---- the connection ---------------------------------------------------------------------------------------------

    @property
    def _place(self) -> str:
        return self.channel.place

    def _connect(self, endpoint: Endpoint) -> MqttConnection:
        now = self._clock.now()
        will = self._dialect.will(self._outbox.message_id(self._outbox.next_id()), now.iso)
        connection = MqttConnection(
            replace(endpoint, fresh=self._opening is not None and self._opening.fresh),
            version=self._protocol.level,
            will=will,
            on_message=self._received,
            on_acknowledged=self._acknowledged,
        )
        connection.closed.add_done_callback(lambda _: self._attention.set())
        return connection

    def _up(self, connection: MqttConnection) -> None:
        self._unsaved.spool_all()
        self._reset()
        for number, lane in enumerate(self._lanes):  # where nothing lies, nothing is read, and state is sent at once
            lane.more = self._outbox.backlog(self.name, number) > 0
        if self._outbox.backlog(self.name, LANE_STATE) > HISTORY:
            self._history_until = self._outbox.next_id()
        self._connection = connection
        self._protocol.connected()
        self.connected, self.last_error = True, ""
        self.counters["connects"] += 1
        log.info("uplink %s is connected to %s (MQTT %s)", self.name, self._place, VERSION_NAMES[self._protocol.level])
        self._tell_status()
        self._attention.set()

    def _down(self) -> None:
        self.connected = self.proved = False
        self._connection = None
        self.channel.unbind()
        self._unsaved.spool_all()
        self._reset()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell_status(self) -> None:
        if self._connection is None or not self._status:
            return
        message_id = self._outbox.message_id(self._outbox.next_id())
        try:
            mid = self._connection.publish(self._dialect.status(message_id, self._clock.now().iso, self._status))
        except MqttLost:
            self._attention.set()
            return
        if self._last_word is not None:
            self._last_word.sent(mid)

    def _received(self, inbound: Inbound) -> None:
        self.counters["received"] += 1
        if (self._opening is not None and self._opening.hear(inbound)) or self.channel.hear(inbound):
            return
        try:
            request = self._dialect.decode(inbound.topic, inbound.payload, retained=inbound.retained)
        except MalformedMessage as error:
            self.counters["malformed"] += 1
            log.warning("message of the cloud refused: %s", error)
            inbound.acknowledge()
            return
        self._on_request(request, inbound.acknowledge)

    # ---- draining ---------------------------------------------------------------------------------------------------

    async def _refill(self) -> None:
        """Read from disk what the lanes have room for."""
        for number, lane in enumerate(self._lanes):
            if self._connection is None or not lane.more or len(lane.ready) >= CHUNK // 2:
                continue
            history = number == LANE_STATE and self._history_until
            until = self._history_until if history else 0
            lane.late = False
            rows = await self._outbox.read_outbox(self.name, number, lane.after, until, CHUNK)
            lane.ready.extend(rows)
            if rows:
                lane.after = rows[-1].id
            if len(rows) < CHUNK and not lane.late:
                lane.more = False
        self._pump()
        if self._history_until and self._history_drained():
            self._history_until = 0
            self._lanes[LANE_STATE].more = True  # what was spooled since lies beyond
            self._lanes[LANE_STATE].ready.extend(self._live)
            self._live.clear()
            self._on_history_told()
            self._attention.set()

    def _spool(self, messages: list[Message]) -> None:
        self.counters["spooled"] += len(messages)
        self._outbox.spool(messages)

    def _history_drained(self) -> bool:
        lane = self._lanes[LANE_STATE]
        return not lane.more and not lane.ready and not self._live and not self._unsaved

    def _next(self) -> deque[Message] | None:
        """The queue whose head is to be sent next."""
        for number, lane in enumerate(self._lanes):
            if number == LANE_STATE and self._live:
                return self._live
            if lane.ready:
                return lane.ready
        return None

    def _pump(self) -> None:
        """Send what may be sent now."""
        while self._connection is not None and len(self._in_flight) < self.policy.in_flight:
            queue = self._next()
            if queue is None or self._leaving is not None or not self._may_send():
                break
            message = queue.popleft()
            if not self._send(self._connection, message):
                return
        room = any(lane.more and len(lane.ready) < CHUNK // 2 for lane in self._lanes)
        if room or (self._history_until and self._history_drained()):
            self._attention.set()

    def _may_send(self) -> bool:
        """True when the pace allows a publish; else a timer pumps again when it does."""
        wait = self._pace.take(self._clock.now().mono)
        if wait and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._pace_due)
        return not wait

    def _pace_due(self) -> None:
        self._timer = None
        self._pump()

    def _send(self, connection: MqttConnection, message: Message) -> bool:
        publications = self._dialect.encode(
            message, self._outbox.message_id(message.id), shift(message, self._clock.now())
        )
        if not publications:
            self._finished(message.id, message.lane)
            return True
        if any(len(publication.payload) > self.policy.max_payload for publication in publications):
            self.counters["oversized"] += 1
            log.error("a %s message of %s is larger than the broker takes and is dropped", message.kind, message.device)
            self._finished(message.id, message.lane)
            return True
        if not self._in_flight:
            self._moved = self._clock.now().mono
        try:
            for publication in publications:
                self._in_flight[connection.publish(publication)] = (message.id, message.lane)
                self._parts[message.id] += 1
        except MqttLost:
            self._attention.set()
            return False
        self.counters["sent"] += 1
        return True

    def _acknowledged(self, mid: int) -> None:
        identifier, lane = self._in_flight.pop(mid, (0, 0))
        self._moved = self._clock.now().mono
        self.proved = self._connection is not None and self._connection.taken
        self._acked.set()
        self.channel.acknowledged(mid)
        if self._last_word is not None:
            self._last_word.acknowledged(mid)
        if not identifier:
            return
        self._parts[identifier] -= 1
        if self._parts[identifier] <= 0:
            del self._parts[identifier]
            self.counters["acknowledged"] += 1
            self._finished(identifier, lane)
        self._pump()

    def _finished(self, identifier: int, lane: int) -> None:
        if not self._unsaved.forget(identifier):
            self._outbox.forget(self.name, [(lane, identifier)], DELETE_WINDOW)
