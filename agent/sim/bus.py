"""The stand-in's own connection to the broker: what devices say goes to `hear`, what the cloud says is sent in order."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from agent.cloud.dialect import Publication
from agent.cloud.mqtt import V5, V311, Endpoint, Inbound, MqttConnection, MqttLost

log = logging.getLogger(__name__)

RETRY = 1.0  # seconds
BROKERED = ("north/+/#",)  # a gate hears all else
SUBSCRIPTIONS = (
    *BROKERED,
    "$aws/things/+/jobs/get",
    "$aws/things/+/jobs/start-next",
    "$aws/things/+/jobs/+/get",
    "$aws/things/+/jobs/+/update",
    *(
        f"$aws/things/+/shadow/{name}{operation}"
        for name in ("", "name/+/")
        for operation in ("get", "update", "delete")
    ),
    "$aws/certificates/create/+",
    "$aws/certificates/create-from-csr/+",
    "$aws/provisioning-templates/+/provision/+",
)
WILL = Publication("stand-in/status", b"offline", retain=True)


class Bus:
    """One MQTT client that connects again when the broker was away; what is published meanwhile waits."""

    def __init__(
        self,
        endpoint: Endpoint,
        hear: Callable[[str, bytes], None],
        subscriptions: tuple[str, ...] = SUBSCRIPTIONS,
        *,
        v5: bool = True,
        at_broker: Callable[[str], str] = str,
    ) -> None:
        self._endpoint = endpoint
        self._at_broker = at_broker
        self._version = V5 if v5 else V311
        self._subscriptions = subscriptions
        self._hear = hear
        self._waiting: deque[Publication] = deque()
        self._connection: MqttConnection | None = None
        self.ready = asyncio.Event()

    def publish(self, publication: Publication) -> None:
        self._waiting.append(replace(publication, topic=self._at_broker(publication.topic)))
        self._flush()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            connection = MqttConnection(
                self._endpoint,
                version=self._version,
                will=WILL,
                on_message=self._received,
                on_acknowledged=lambda _mid: None,
            )
            try:
                await connection.open(self._subscriptions)
                self._connection = connection
                self.ready.set()
                self._flush()
                reason = await asyncio.shield(connection.closed)
                log.warning("the broker is away: %s", reason)
            except MqttLost as error:
                log.warning("the broker cannot be reached: %s", error)
            except asyncio.CancelledError:
                await connection.drain_and_close(1.0)
                raise
            finally:
                self._connection = None
                self.ready.clear()
            await asyncio.sleep(RETRY)

    def _received(self, inbound: Inbound) -> None:
        self._hear(inbound.topic, inbound.payload)
        inbound.acknowledge()

    def _flush(self) -> None:
        while self._waiting and self._connection is not None:
            with contextlib.suppress(MqttLost):
                self._connection.publish(self._waiting[0])
                self._waiting.popleft()
                continue
            return
