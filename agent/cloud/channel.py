"""Questions and answers on an MQTT connection, beside what its uplink's dialect says: AWS IoT's reserved topics and the like.

A channel outlives its connections. Whoever asks while there is none, or loses it, gets MqttLost and asks again on the next.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.cloud.dialect import Publication
from agent.cloud.mqtt import Inbound, MqttConnection, MqttLost, SubscriptionRefused, matches
from agent.errors import HubError, TryAgainError

log = logging.getLogger(__name__)

Body = TypeVar("Body", bound=BaseModel)
ANSWER = 30.0  # seconds; fleet provisioning's check alone may take five
Hear = Callable[[Inbound], None]


class AnswerTroubleError(HubError):
    """An answer cannot be read."""


class RefusedError(HubError):
    """An answer on the `rejected` topic; `payload` is what it said."""

    def __init__(self, topic: str, payload: bytes, place: str) -> None:
        super().__init__(f"rejected: {payload[:200].decode(errors='replace')}", place=f"{place} {topic}")
        self.payload = payload


class Channel:
    """`listeners`: topic filters and who hears what comes there; they are subscribed on every connection."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.refused: tuple[str, ...] = ()  # filters that the broker does not allow
        self.on_up: list[Callable[[], None]] = []
        self._listeners: dict[str, Hear] = {}
        self._waiting: dict[str, asyncio.Future[Inbound]] = {}
        self._sent: dict[int, asyncio.Future[None]] = {}  # packet id -> its acknowledgement
        self._connection: MqttConnection | None = None
        self._changed = asyncio.Event()

    # ---- what the connection's owner calls --------------------------------------------------------------------------

    async def bind(self, connection: MqttConnection) -> None:
        """A connection stands: subscribe. Raises MqttLost when it ends meanwhile."""
        refused = []
        for topic in self._listeners:
            try:
                await connection.subscribe((topic,))
            except SubscriptionRefused as error:
                refused.append(topic)
                log.warning("%s", error.advice)
        self.refused = tuple(refused)
        self._connection = connection
        self._tell()
        for told in self.on_up:
            told()

    def unbind(self) -> None:
        """The connection is gone, and so is every answer that was on its way."""
        self._connection = None
        expected: list[asyncio.Future[Any]] = [*self._waiting.values(), *self._sent.values()]
        for waiting in expected:
            if not waiting.done():
                waiting.set_exception(MqttLost("the connection was lost", place=self.place))
        self._sent.clear()
        self._tell()

    def acknowledged(self, mid: int) -> None:
        """The broker has taken a packet."""
        sent = self._sent.pop(mid, None)
        if sent is not None and not sent.done():
            sent.set_result(None)

    def hear(self, inbound: Inbound) -> bool:
        """Whether a message was for someone here; it is acknowledged then."""
        waiting = self._waiting.get(inbound.topic)
        if waiting is not None:
            inbound.acknowledge()
            if not waiting.done():
                waiting.set_result(inbound)
            return True
        for topic, listener in self._listeners.items():
            if matches(topic, inbound.topic):
                inbound.acknowledge()
                listener(inbound)
                return True
        return False

    # ---- what services call -----------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        return self._connection is not None

    async def wait(self, good: Callable[[], bool] = lambda: True) -> None:
        """Until the channel has a connection, and one that is `good`."""
        while not (self.up and good()):
            self._changed.clear()
            await self._changed.wait()

    def listen(self, topic: str, listener: Hear) -> None:
        """Hear what comes on a filter, from the next connection on."""
        self._listeners[topic] = listener

    def unlisten(self, topic: str) -> None:
        """The next connection does not subscribe to it."""
        self._listeners.pop(topic, None)

    async def subscribe(self, topic: str, listener: Hear) -> None:
        """Hear what comes on a filter, from now on. Raises MqttLost, also when the broker refuses."""
        await self._connected().subscribe((topic,))
        self._listeners[topic] = listener

    def publish(self, topic: str, payload: bytes) -> None:
        """Send at QoS 1. Raises MqttLost."""
        self._connected().publish(Publication(topic, payload))

    async def tell(self, topic: str, payload: bytes, timeout: float = ANSWER) -> None:
        """Send at QoS 1, until the broker has it. Raises MqttLost, TryAgainError without an acknowledgement."""
        mid = self._connected().publish(Publication(topic, payload))
        self._sent[mid] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._sent[mid]
        except TimeoutError:
            raise TryAgainError(f"no acknowledgement on {topic} within {timeout:.0f} s", place=self.place) from None
        finally:
            self._sent.pop(mid, None)

    async def ask(self, topic: str, body: BaseModel | bytes, answer: type[Body], timeout: float | None = None) -> Body:
        """Publish, and the answer on <topic>/accepted. Raises RefusedError, AnswerTroubleError, MqttLost, TryAgainError without an answer.

        The answers' topics must be subscribed, or the server sends them without that (AWS IoT jobs).
        """
        answered: asyncio.Future[Inbound] = asyncio.get_running_loop().create_future()
        for end in ("accepted", "rejected"):
            self._waiting[f"{topic}/{end}"] = answered
        timeout = ANSWER if timeout is None else timeout
        payload = body if isinstance(body, bytes) else body.model_dump_json(by_alias=True, exclude_none=True).encode()
        try:
            self.publish(topic, payload)
            async with asyncio.timeout(timeout):
                heard = await answered
        except TimeoutError:
            raise TryAgainError(f"no answer on {topic} within {timeout:.0f} s", place=self.place) from None
        finally:
            for end in ("accepted", "rejected"):
                self._waiting.pop(f"{topic}/{end}", None)
        if heard.topic.endswith("/rejected"):
            raise RefusedError(topic, heard.payload, self.place)
        return self.read(heard, answer)

    def read(self, heard: Inbound, answer: type[Body]) -> Body:
        """The body of a message. Raises AnswerTroubleError."""
        try:
            return answer.model_validate_json(heard.payload)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "body"
            text = f"the message on {heard.topic} cannot be read: {where}: {first['msg']}"
            raise AnswerTroubleError(text, place=self.place) from None

    def _connected(self) -> MqttConnection:
        if self._connection is None:
            raise MqttLost("there is no connection", place=self.place)
        return self._connection

    def _tell(self) -> None:
        self._changed.set()
