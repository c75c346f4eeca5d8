"""One MQTT connection on the asyncio loop: paho without its thread. Single use: when it is lost, the link makes the next one.

Only the TCP connect and the TLS handshake, which paho does blocking, run in an executor. What comes in is acknowledged by the caller
(`Inbound.acknowledge`), after it is durable; what goes out at QoS 1 is reported by `on_acknowledged(mid)`.
"""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.cloud.dialect import Publication
from agent.cloud.tls import CLOSED_AFTER_HANDSHAKE, is_tls_trouble, remedy_of
from agent.errors import Anew, HubError

V311, V5 = 4, 5  # protocol levels of CONNECT
VERSION_NAMES = {V311: "3.1.1", V5: "5"}
SUBSCRIPTIONS_PER_PACKET = 8  # AWS IoT Core refuses more in one SUBSCRIBE
HANDSHAKE_TIMEOUT = 20.0
HOUSEKEEPING = 5.0  # keep-alive is checked this often: its shortest value is 30 s

_CLOSED = "Unspecified error"  # paho's word for an end without DISCONNECT
_TAKEN_OVER = "Session taken over"
_UNSUPPORTED_VERSION = frozenset({"Unsupported protocol version"})
_REFUSED_FOR_GOOD = frozenset({"Bad user name or password", "Not authorized", "Banned", "Client identifier not valid"})


class MqttLost(HubError):  # noqa: N818  an end, not a mistake
    """The connection could not be made or has ended; the text says why."""


class ProtocolRefused(MqttLost):
    """The broker says that it does not speak this protocol version."""


class SubscriptionRefused(MqttLost):
    """The broker does not allow a subscription."""


class Leaves(MqttLost, Anew):
    """A connection was left on purpose, for another one."""


class Refused(MqttLost):
    """The broker is there and will not have this client."""


class HungUp(MqttLost):
    """The broker closed the connection instead of answering CONNECT."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to connect. `tls` is None only for loopback."""

    host: str
    port: int
    client_id: str
    keep_alive: int
    tls: ssl.SSLContext | None
    username: str = ""
    password: str = field(default="", repr=False)
    session_expiry: int = 3600
    fresh: bool = False  # have the broker drop what it keeps for this client


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic is one that a subscription's filter stands for (MQTT 5, 4.7)."""
    return paho.topic_matches_sub(topic_filter, topic)


@dataclass(frozen=True, slots=True)
class Inbound:
    """A PUBLISH from the broker; it is sent again after a reconnect until it is acknowledged."""

    topic: str
    payload: bytes
    retained: bool
    acknowledge: Callable[[], None]


class ProtocolChoice:
    """Which MQTT version to try next. PURE.

    A broker that names the version as unsupported gets 3.1.1 for good. One that hangs up without an answer may just be
    starting: the version is changed from the second time on, and 5 is tried again after the next loss.
    """

    def __init__(self, configured: str) -> None:
        self._auto = configured == "auto"
        self._refused = configured == "3.1.1"
        self._hang_ups = 0
        self.level = V311 if self._refused else V5

    def refused(self) -> None:
        """The broker has named the version as unsupported."""
        if self._auto:
            self._refused, self.level = True, V311

    def hung_up(self) -> None:
        """The broker has closed instead of answering CONNECT."""
        self._hang_ups += 1
        if self._auto and not self._refused and self._hang_ups > 1:
            self.level = V311 if self.level == V5 else V5

    def connected(self) -> None:
        self._hang_ups = 0

    def failed(self, error: MqttLost) -> None:
        """A connection was not made, or has ended."""
        if isinstance(error, ProtocolRefused):
            self.refused()
        elif isinstance(error, HungUp):
            self.hung_up()

    def lost(self) -> None:
        """A connection that worked has ended."""
        if not self._refused:
            self.level = V5


class _Complaints(logging.Handler):
    """Keeps paho's last error: the only place where it names what TLS or the socket said."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


class MqttConnection:
    """One connection. `closed` is done when it has ended, with the reason; `taken`: the broker has taken something on it."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        version: int,
        will: Publication | None,
        on_message: Callable[[Inbound], None],
        on_acknowledged: Callable[[int], None],
    ) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_acknowledged = on_acknowledged
        self._version = paho.MQTTv5 if version == V5 else paho.MQTTv311
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.taken = False
        self._granted: dict[int, asyncio.Future[list[Any]]] = {}
        self._housekeeping: asyncio.TimerHandle | None = None
        self._thread = threading.get_ident()
        self._waits_for_room = False
        self._complaints = _Complaints()
        self._client = self._build(will)

    def _build(self, will: Publication | None) -> paho.Client:
        endpoint = self._endpoint
        v5 = self._version == paho.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=endpoint.client_id,
            protocol=self._version,
            clean_session=None if v5 else endpoint.fresh,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        complaints = logging.Logger("paho", logging.ERROR)  # noqa: LOG001  not for the agent's log: each ends in a reason
        complaints.addHandler(self._complaints)
        client.enable_logger(complaints)
        client.max_inflight_messages_set(0)  # the link bounds what is in flight
        if endpoint.tls is not None:
            client.tls_set_context(endpoint.tls)
        if endpoint.username:
            client.username_pw_set(endpoint.username, endpoint.password or None)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._connect_answered
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._acknowledged
        client.on_subscribe = self._subscribed
        client.on_socket_open = self._socket_opened
        client.on_socket_close = self._socket_closed
        client.on_socket_register_write = self._want_write
        return client

    # ---- what the link calls ----------------------------------------------------------------------------------------

    async def open(self, subscriptions: tuple[str, ...]) -> None:
        """Connect and subscribe. Raises MqttLost with the broker's reason, ProtocolRefused to fall back."""
        properties = None
        if self._version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._endpoint.session_expiry
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                await self._loop.run_in_executor(None, self._connect_blocking, properties)
                self._housekeep()
                await self._connected
                await self.subscribe(subscriptions)
        except TimeoutError:
            self.close("no answer from the broker")
            raise MqttLost("no answer from the broker", place=self._place) from None
        except (OSError, ssl.SSLError) as error:
            self.close(str(error))
            raise MqttLost(f"cannot connect: {error}", place=self._place, remedy=remedy_of(str(error))) from error

    async def subscribe(self, topics: tuple[str, ...]) -> None:
        """At QoS 1. Raises SubscriptionRefused, MqttLost."""
        for start in range(0, len(topics), SUBSCRIPTIONS_PER_PACKET):
            batch = topics[start : start + SUBSCRIPTIONS_PER_PACKET]
            _result, mid = self._client.subscribe([(topic, 1) for topic in batch])
            if mid is None:
                raise MqttLost("the connection ended before SUBSCRIBE", place=self._place)
            self._granted[mid] = self._loop.create_future()
            reasons = await self._granted[mid]
            del self._granted[mid]
            refused = [topic for topic, reason in zip(batch, reasons, strict=True) if reason.is_failure]
            if refused:
                remedy = "allow these subscriptions in the broker's policy for this client"
                text = f"the broker refused to subscribe to {', '.join(refused)}"
                raise SubscriptionRefused(text, place=self._place, remedy=remedy)

    def publish(self, publication: Publication) -> int:
        """Send at QoS 1; returns the packet id that on_acknowledged names. Raises MqttLost when the connection has ended."""
        if self.closed.done():
            raise MqttLost(self.closed.result(), place=self._place)
        info = self._client.publish(publication.topic, publication.payload, qos=1, retain=publication.retain)
        return info.mid

    async def drain_and_close(self, timeout: float) -> None:
        """Say DISCONNECT, so that the broker keeps the last will to itself, and wait for the socket to end."""
        if not self.closed.done():
            self._client.disconnect()
            try:
                async with asyncio.timeout(timeout):
                    await asyncio.shield(self.closed)
            except TimeoutError:
                pass
        self.close("closed")

    def close(self, reason: str) -> None:
        """Drop the connection without a word: the broker publishes the last will."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            self._housekeeping = None
        client = self._client
        sock = client.socket()
        # From here on paho must not call into a loop that may be gone.
        client.on_socket_open = client.on_socket_close = None
        client.on_socket_register_write = None
        if sock is not None:
            self._socket_closed(client, None, sock)
            sock.close()
        self._end(reason)

    # ---- paho on the loop -------------------------------------------------------------------------------------------

    @property
    def _place(self) -> str:
        return f"{self._endpoint.host}:{self._endpoint.port}"

    def _connect_blocking(self, properties: Properties | None) -> None:
        endpoint = self._endpoint
        if properties is None:
            self._client.connect(endpoint.host, endpoint.port, endpoint.keep_alive)
        else:
            self._client.connect(
                endpoint.host, endpoint.port, endpoint.keep_alive, clean_start=endpoint.fresh, properties=properties
            )

    def _housekeep(self) -> None:
        if self.closed.done():
            return
        self._client.loop_misc()
        self._housekeeping = self._loop.call_later(HOUSEKEEPING, self._housekeep)

    def _socket_opened(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        # Without this, small publishes wait for the acknowledgement of the one before (Nagle): 20 to 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.call_soon_threadsafe(self._watch, sock)

    def _watch(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._readable, sock)

    def _readable(self, sock: Any) -> None:
        self._client.loop_read()
        # TLS may hold decrypted bytes that the selector cannot see.
        while sock.fileno() >= 0 and isinstance(sock, ssl.SSLSocket) and sock.pending():
            self._client.loop_read()

    def _socket_closed(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())

    def _want_write(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._flush, sock)  # one write call for all that this turn of the loop publishes
        else:
            self._loop.call_soon_threadsafe(self._flush, sock)

    def _flush(self, sock: Any) -> None:
        """Write what is queued; the selector is asked only when the socket has no room."""
        if sock.fileno() < 0:
            return
        self._client.loop_write()
        if sock.fileno() >= 0 and self._client.want_write():
            self._loop.add_writer(sock.fileno(), self._flush, sock)
            self._waits_for_room = True
        elif self._waits_for_room:
            self._loop.remove_writer(sock.fileno())
            self._waits_for_room = False

    # ---- paho's callbacks -------------------------------------------------------------------------------------------

    def _connect_answered(self, _c: paho.Client, _u: Any, _flags: Any, reason: ReasonCode, _p: Any) -> None:
        if self._connected.done():
            return
        if not reason.is_failure:
            self._connected.set_result(None)
            return
        text = str(reason)
        remedy = "check the user name, password or certificate" if text in _REFUSED_FOR_GOOD else ""
        kind: type[MqttLost] = Refused if remedy else MqttLost
        if text in _UNSUPPORTED_VERSION:
            kind = ProtocolRefused
        self._connected.set_exception(kind(f"the broker refused: {text}", place=self._place, remedy=remedy))

    def _disconnected(self, _c: paho.Client, _u: Any, _flags: Any, reason: ReasonCode, _p: Any) -> None:
        detail = self._complaints.last.removeprefix("failed to receive on socket: ")
        told = f"{reason} ({detail})" if detail else self._explain(str(reason))
        if threading.get_ident() == self._thread:
            self._end(told)
            return
        with suppress(
            RuntimeError
        ):  # the connecting thread outlives a handshake that was given up, and perhaps the loop
            self._loop.call_soon_threadsafe(self._end, told)

    def _explain(self, reason: str) -> str:
        name = f"the client id {self._endpoint.client_id!r}"
        if reason == _TAKEN_OVER:
            return f"{reason}: another client has {name}; give each hub its own hub.id"
        if reason != _CLOSED:
            return reason
        closed = "the broker closed it without a word"
        if not self._connected.done():
            return closed
        return f"{closed}; if it does so again and again, another client may have {name}"

    def _end(self, reason: str) -> None:
        if not self._connected.done():
            kind = Refused if is_tls_trouble(reason) else HungUp
            remedy = remedy_of(reason) or (CLOSED_AFTER_HANDSHAKE if self._endpoint.tls is not None else "")
            ended = kind(f"connection closed: {reason}", place=self._place, remedy=remedy)
            self._connected.set_exception(ended)
        if not self.closed.done():
            self.closed.set_result(reason)
        for granted in self._granted.values():
            if not granted.done():
                granted.set_exception(MqttLost(reason, place=self._place))
        if not self._connected.cancelled():
            self._connected.exception()  # seen here, in case that nobody waits any more

    def _received(self, client: paho.Client, _u: Any, message: paho.MQTTMessage) -> None:
        mid, qos = message.mid, message.qos

        def acknowledge() -> None:
            if qos and not self.closed.done():
                client.ack(mid, qos)

        self._on_message(Inbound(message.topic, bytes(message.payload), message.retain, acknowledge))

    def _acknowledged(self, _c: paho.Client, _u: Any, mid: int, reason: ReasonCode, _p: Any) -> None:
        """MQTT 5 acknowledges what it refuses, too: that stays where it is, and goes out again on a later connection, as with 3.1.1."""
        if reason.is_failure:
            self._loop.call_soon(self.close, f"the broker does not take what is sent: {reason}")
            return
        self.taken = True
        self._on_acknowledged(mid)

    def _subscribed(self, _c: paho.Client, _u: Any, mid: int, reasons: list[ReasonCode], _p: Any) -> None:
        granted = self._granted.get(mid)
        if granted is not None and not granted.done():
            granted.set_result(reasons)
