"""A link with its store, and a watcher at the broker: for tests against real brokers."""

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from conftest import Broker, until
from paho.mqtt.enums import CallbackAPIVersion

from agent import records
from agent.clock import SystemClock
from agent.cloud.channel import Channel
from agent.cloud.lane import LinkPolicy
from agent.cloud.link import Link
from agent.cloud.managed_integrations import ManagedIntegrations
from agent.cloud.mqtt import Endpoint, MqttLost
from agent.outbox import Outbox
from agent.requests import Kind
from agent.store import Limits, Store

FAST = LinkPolicy(publishes_per_second=0, spool_after=0.3)


class Watcher:
    """Everything that reaches the broker, in order."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, dict[str, Any], bool]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="watcher", clean_session=False)
        self.client.on_message = self._heard
        self.client.on_connect = lambda client, *_: client.subscribe("north/#", 1)
        self.ready = False
        self.client.on_subscribe = lambda *_: setattr(self, "ready", True)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _heard(self, _client: Any, _userdata: Any, message: Any) -> None:
        body = json.loads(message.payload) if message.payload else {}
        self.messages.append((message.topic, body, message.retain))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [body for _, body, _ in list(self.messages) if body.get("messageType") == kind]

    def values(self) -> list[int]:
        return [
            body["payload"]["addedStates"]["endpoints"][0]["capabilities"][0]["properties"][0]["value"]["propertyValue"]
            for body in self.of("DEVICE_STATE")
        ]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Rig:
    """Store, outbox and link, with the link kept alive as the supervisor would."""

    def __init__(self, folder: Path, port: int, policy: LinkPolicy, tls: ssl.SSLContext | None = None) -> None:
        self.store = Store.open(folder, Limits(ballast=4096))
        self.clock = SystemClock()
        self.outbox = Outbox(self.store)
        self.requests: list[Any] = []
        self.history_told = 0
        self.link = Link(
            "main",
            lambda: Endpoint("127.0.0.1", port, "hub-1", 60, tls),
            policy,
            ManagedIntegrations("main", "hub-1"),
            self.outbox,
            self.clock,
            on_request=self._request,
            on_history_told=self._told,
            channel=Channel(f"127.0.0.1:{port}"),
        )
        self.link.set_status({"status": "online"})
        self._task: asyncio.Task[None] | None = None

    def _request(self, request: Any, acknowledge: Any) -> None:
        self.requests.append(request)
        acknowledge()

    def _told(self) -> None:
        self.history_told += 1

    async def _keep(self) -> None:
        while True:
            try:
                await self.link.run()
            except MqttLost:
                await asyncio.sleep(0.05)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def message(self, kind: Kind, body: Any, device: str = "dev-1") -> Any:
        return records.stamp(self.store.next_id(), "main", kind, device, "", body, self.clock.now())

    def state(self, number: int, device: str = "dev-1") -> Any:
        value = ("1", "matter.TemperatureMeasurement@1.4", "MeasuredValue", number, 1_700_000_000.0)
        return self.message(Kind.STATE, (value,), device)

    async def durable(self, *messages: Any) -> None:
        await self.store.submit([records.put_outbox(list(messages))])
        for message in messages:
            self.link.offer(message)

    def event(self, number: int) -> Any:
        body = {"endpoint": "1", "capability": "matter.Switch@1.4", "event": "InitialPress", "at": 1.7e9}
        return self.message(Kind.EVENT, {**body, "fields": {"NewPosition": number}})


MakeRig = Callable[..., Rig]  # port, policy, TLS context


def pressed(watcher: Watcher) -> list[int]:
    return [
        body["payload"]["endpoints"][0]["capabilities"][0]["properties"][0]["value"]["NewPosition"]
        for body in watcher.of("DEVICE_EVENT")
    ]


def rows(rig: Rig) -> int:
    return sum(rig.store.stats.backlog.values())


async def kill_between(rig: Rig, broker: Broker, watcher: Watcher) -> None:
    """Kill the broker at a moment when it holds nothing that it has acknowledged and not passed on: that would be its own loss.

    It is frozen to be sure of that, with messages of ours under way.
    """
    for _ in range(100):
        broker.freeze()
        await asyncio.sleep(0.02)  # both ends read what is in their sockets
        if len(watcher.values()) + len(pressed(watcher)) >= rig.link.counters["acknowledged"]:
            broker.stop(kill=True)
            return
        broker.thaw()
    raise AssertionError("the broker was never found without messages of its own")


async def live_through_a_kill(rig: Rig, broker: Broker, watcher: Watcher) -> None:
    """300 values and events, a broker killed at the 100th and back at the 200th: all of them arrive."""
    rig.start()
    await until(lambda: rig.link.connected and watcher.ready, what="the connection")
    for number in range(300):
        rig.link.offer_live(rig.state(number))
        await rig.durable(rig.event(number))
        if number == 100:
            await kill_between(rig, broker, watcher)
        if number == 200:
            broker.start()
    await until(lambda: set(watcher.values()) == set(range(300)), 20.0, "every value")
    await until(lambda: set(pressed(watcher)) == set(range(300)), 20.0, "every event")
    await until(lambda: rows(rig) == 0, 20.0)
