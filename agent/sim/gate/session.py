"""One client's connection: packets of the client to the broker and the cloud, packets of the broker to the client."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.sim.gate import packets
from agent.sim.gate.faults import Faults
from agent.sim.gate.packets import Connect, Framer, Kind, MalformedPacketError, Packet, Publish, Subscribe
from agent.sim.gate.policy import BROKERED, MAX_PAYLOAD, PER_CONNECTION, PER_SUBSCRIBE, Principal, covers

log = logging.getLogger(__name__)

CHUNK = 65536
SHORTEST, LONGEST = 30, 1200  # seconds of keep-alive; others are taken for the nearest
REORDERED_WITHIN = 0.3  # seconds that a message waits for the one that overtakes it

# Reasons of AWS IoT Core's lifecycle events
CLIENT_INITIATED, CLIENT_ERROR = "CLIENT_INITIATED_DISCONNECT", "CLIENT_ERROR"
CONNECTION_LOST, KEEP_ALIVE = "CONNECTION_LOST", "MQTT_KEEP_ALIVE_TIMEOUT"
DUPLICATE, FORBIDDEN, AUTH_ERROR = "DUPLICATE_CLIENTID", "FORBIDDEN_ACCESS", "AUTH_ERROR"
SERVER_ERROR, SERVER_INITIATED = "SERVER_ERROR", "SERVER_INITIATED_DISCONNECT"
_CODES = {
    DUPLICATE: 0x8E,
    FORBIDDEN: 0x87,
    AUTH_ERROR: 0x87,
    CLIENT_ERROR: 0x82,
    KEEP_ALIVE: 0x8D,
    SERVER_INITIATED: 0x8B,
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """The broker behind the gate."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    v5: bool = True
    dollar: str = "$"  # what stands there for the $ of reserved topics, which not every broker takes from its clients

    def inner(self, topic: str) -> str:
        """A topic or filter as it is at the broker."""
        return self.dollar + topic[1:] if topic.startswith("$") else topic

    def outer(self, topic: str) -> str:
        """And back."""
        return "$" + topic[len(self.dollar) :] if topic.startswith(self.dollar) else topic


class Ended(Exception):  # noqa: N818  an end, not a mistake
    """The connection ends, for this reason."""


class Session:
    """A connected client. `heard(session, topic, payload)` takes what is for the cloud; `reply` answers this client alone."""

    def __init__(
        self,
        principal: Principal,
        connect: Connect,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: Upstream,
        heard: Callable[["Session", str, bytes], None],
        faults: Faults,
    ) -> None:
        self.principal, self.client_id, self.v5 = principal, connect.client_id, connect.v5
        self._connect, self._faults, self._heard = connect, faults, heard
        self._reader, self._writer = client
        self._upstream = upstream
        self._filters: set[str] = set()
        self._asked: dict[
            int, bytes
        ] = {}  # packet id of a SUBSCRIBE under way -> its codes as far as known; 0: the broker's
        self._recent: deque[float] = deque()
        self._late: tuple[bytes, asyncio.TimerHandle] | None = None
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    def end(self, reason: str) -> None:
        """Drop the client; MQTT 5 is told why."""
        if not self._end.done():
            self._end.set_result(reason)

    async def run(self, framer: Framer, connected: Callable[[], None]) -> str:
        """Serve until one side ends; returns the reason. `framer` may hold packets that came with CONNECT."""
        try:
            broker_reader, broker = await asyncio.open_connection(self._upstream.host, self._upstream.port)
        except OSError:
            return SERVER_ERROR
        broker.write(self._connect.encode(self._upstream.user, self._upstream.password))
        pumps = [
            asyncio.ensure_future(self._from_client(framer, broker)),
            asyncio.ensure_future(self._from_broker(broker_reader, broker, connected)),
        ]
        try:
            done, _ = await asyncio.wait([*pumps, self._end], return_when=asyncio.FIRST_COMPLETED)
            reason = self._end.result() if self._end in done else _reason(done.pop())
            if self.v5 and reason in _CODES:
                self._writer.write(packets.disconnect(_CODES[reason]))
            return reason
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            broker.close()  # without DISCONNECT, unless the client has said it: the broker publishes the will

    def reply(self, topic: str, payload: bytes) -> None:
        """A message of the cloud's to this client alone."""
        data = Publish(topic, payload).encode(v5=self.v5)
        if self._faults.happens(self._faults.drop_reply):
            return
        if self._faults.happens(self._faults.slow_reply):
            asyncio.get_running_loop().call_later(self._faults.slow_seconds, self._send, data)
            return
        self._send(data)

    def has_subscribed(self, topic: str) -> bool:
        return any(covers(wanted, topic) for wanted in self._filters)

    # ---- from the client --------------------------------------------------------------------------------------------

    async def _from_client(self, framer: Framer, broker: asyncio.StreamWriter) -> str:
        patience = 1.5 * min(max(self._connect.keep_alive or LONGEST, SHORTEST), LONGEST)
        data = b""
        while True:
            try:
                for packet in framer.feed(data):
                    self._take(packet, broker)
            except MalformedPacketError as error:
                log.info("%s: %s", self.client_id, error)
                return CLIENT_ERROR
            except Ended as end:
                await broker.drain()
                return str(end)
            await broker.drain()
            try:
                async with asyncio.timeout(patience):
                    data = await self._reader.read(CHUNK)
            except TimeoutError:
                return KEEP_ALIVE
            except (OSError, ssl.SSLError):
                return CONNECTION_LOST
            if not data:
                return CONNECTION_LOST

    def _take(self, packet: Packet, broker: asyncio.StreamWriter) -> None:
        if self.principal.expires <= time.time():
            raise Ended(AUTH_ERROR)
        if self._faults.happens(self._faults.drop_connection):
            raise Ended(SERVER_ERROR)
        match packet.kind:
            case Kind.PUBLISH:
                self._published(packet, broker)
            case Kind.SUBSCRIBE:
                self._subscribe(Subscribe.decode(packet, v5=self.v5), broker)
            case Kind.CONNECT:
                raise MalformedPacketError("a second CONNECT")
            case kind:
                if kind == Kind.UNSUBSCRIBE:
                    left = Subscribe.decode(packet, v5=self.v5)
                    self._filters -= {wanted for wanted, _ in left.filters}
                    broker.write(self._at_broker(left).encode())
                else:
                    broker.write(packet.encode())
                if kind == Kind.DISCONNECT:
                    raise Ended(CLIENT_INITIATED)

    def _published(self, packet: Packet, broker: asyncio.StreamWriter) -> None:
        publish = Publish.decode(packet, v5=self.v5)
        if publish.qos > 1 or len(publish.payload) > MAX_PAYLOAD:
            raise MalformedPacketError(f"QoS {publish.qos} or a payload of {len(publish.payload)} bytes")
        if not self.principal.policy.may_publish(publish.topic):
            log.warning("%s may not publish to %s", self.client_id, publish.topic[:200])
            raise Ended(FORBIDDEN)
        if self._is_too_fast():
            return
        if publish.topic.startswith(BROKERED):
            broker.write(packet.encode())
            return
        self._heard(self, publish.topic, publish.payload)
        if publish.qos:
            self._send(packets.puback(publish.packet_id))

    def _is_too_fast(self) -> bool:
        limit = self._faults.publishes_per_second
        if not limit:
            return False
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= limit:
            return True
        self._recent.append(now)
        return False

    def _subscribe(self, wanted: Subscribe, broker: asyncio.StreamWriter) -> None:
        if len(wanted.filters) > PER_SUBSCRIBE:
            raise MalformedPacketError(f"{len(wanted.filters)} filters in one SUBSCRIBE")
        policy, codes, good = self.principal.policy, bytearray(), []
        for name, options in wanted.filters:
            allowed = policy.may_subscribe(name)
            if not allowed:
                log.warning("%s may not subscribe to %s", self.client_id, name[:200])
                if policy.drops:
                    raise Ended(FORBIDDEN)
            room = name in self._filters or len(self._filters) < PER_CONNECTION
            if allowed and room and not self._faults.happens(self._faults.refuse_subscription):
                self._filters.add(name)
                good.append((name, options))
                codes.append(0)
            else:
                codes.append(packets.SUBACK_REFUSED[self.v5])
        if not good:
            self._send(packets.suback(wanted.packet_id, bytes(codes), v5=self.v5))
            return
        self._asked[wanted.packet_id] = bytes(codes)
        broker.write(self._at_broker(Subscribe(wanted.packet_id, wanted.properties, tuple(good))).encode())

    def _at_broker(self, wanted: Subscribe) -> Subscribe:
        filters = tuple((self._upstream.inner(name), options) for name, options in wanted.filters)
        return Subscribe(wanted.packet_id, wanted.properties, filters)

    # ---- from the broker --------------------------------------------------------------------------------------------

    async def _from_broker(
        self, reader: asyncio.StreamReader, broker: asyncio.StreamWriter, connected: Callable[[], None]
    ) -> str:
        framer = Framer()
        while data := await reader.read(CHUNK):
            for packet in framer.feed(data):
                if packet.kind == Kind.CONNACK and packet.body[1:2] == b"\0":
                    connected()
                self._pass_on(packet)
            with contextlib.suppress(ConnectionError):  # the other pump says so
                await self._writer.drain()
        broker.close()
        return SERVER_ERROR

    def _pass_on(self, packet: Packet) -> None:
        if packet.kind == Kind.SUBACK:
            packet_id, granted = packets.suback_codes(packet, v5=self.v5)
            codes = iter(granted)
            merged = bytes(code or next(codes, code) for code in self._asked.pop(packet_id, granted))
            self._send(packets.suback(packet_id, merged, v5=self.v5))
            return
        data = packet.encode()
        if packet.kind != Kind.PUBLISH:
            self._send(data)
            return
        if self._upstream.dollar != "$":
            said = Publish.decode(packet, v5=self.v5)
            data = replace(said, topic=self._upstream.outer(said.topic)).encode(v5=self.v5)
        if self._faults.happens(self._faults.reorder) and self._late is None:
            timer = asyncio.get_running_loop().call_later(REORDERED_WITHIN, self._send_late)
            self._late = (data, timer)
            return
        self._send(data)
        self._send_late()
        if self._faults.happens(self._faults.duplicate):
            said = Publish.decode(packet, v5=self.v5)
            self._send(Publish(said.topic, said.payload, properties=said.properties).encode(v5=self.v5))

    def _send_late(self) -> None:
        if self._late is not None:
            (data, timer), self._late = self._late, None
            timer.cancel()
            self._send(data)

    def _send(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)


def _reason(pump: "asyncio.Future[str]") -> str:
    """How a pump has ended: by its word, or by what it met."""
    error = pump.exception()
    if error is None:
        return pump.result()
    if isinstance(error, OSError):
        return SERVER_ERROR
    raise error
