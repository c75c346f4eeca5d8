"""A whole house for tests: the daemon as users run it, a simulated stick on a pty, and a cloud that listens at a real broker."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import paho.mqtt.client as paho
from conftest import Broker, until_async
from daemon import ask, configure, ready
from paho.mqtt.enums import CallbackAPIVersion

from agent.client import Client
from drivers.sim.zigbee.server import Simulation

HOME = {
    "kind": "zigbee",
    "stick": "ezsp",
    "ieee": "00:12:4b:00:00:00:ff:01",
    "devices": [
        {"name": "bulb", "profile": "color-bulb"},
        {"name": "plug", "profile": "plug"},
        {"name": "climate", "profile": "climate"},
        {"name": "remote", "profile": "remote"},
    ],
}


class House:
    """Everything around one daemon."""

    def __init__(self, folder: Path, broker: Broker, durability: str, home: dict[str, Any] = HOME) -> None:
        self.folder, self.home = folder, home
        self.config = configure(folder, broker.port, durability)
        self.client = Client(folder / "run")
        self.heard: list[dict[str, Any]] = []
        self.topics: list[tuple[str, dict[str, Any]]] = []
        self.sim: Simulation | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.mqtt = paho.Client(CallbackAPIVersion.VERSION2, client_id="cloud", clean_session=False)
        self.mqtt.on_message = self._hear
        self.mqtt.on_connect = lambda client, *_: client.subscribe("north/#", 1)
        self.mqtt.connect("127.0.0.1", broker.port)
        self.mqtt.loop_start()

    def _hear(self, _client: Any, _userdata: Any, message: Any) -> None:
        if message.payload:
            told = json.loads(message.payload)
            self.heard.append(told)
            self.topics.append((message.topic, told))

    def run(self) -> None:
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(self.config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = forked.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def ask(self, path: str) -> Any:
        return await ask(self.client, path)

    async def online(self) -> None:
        await until_async(lambda: ready(self.client), bool, 20.0)

    async def join(self) -> None:
        def run() -> list[dict[str, Any]]:
            return list(self.client.stream("discover", {"kind": "ZIGBEE", "duration": 4}))

        lines = await asyncio.get_running_loop().run_in_executor(None, run)
        assert lines[-1]["status"] == "SUCCEEDED"
        assert lines[-1]["count"] == len(self.home["devices"])

    async def device(self, model: str) -> dict[str, Any]:
        return next(device for device in await self.ask("devices") if device["model"] == model)

    def send(self, device: str, trace: str, action: str, **more: Any) -> None:
        capability = {"id": "matter.OnOff@1.4", "actions": [{"name": action}]}
        body = {
            "version": "1.0.0",
            "messageId": trace,
            "messageType": "COMMAND",
            "managedThingId": device,
            "traceId": trace,
            "payload": {"Endpoints": [{"endpointId": "1", "capabilities": [capability]}]},
        }
        self.mqtt.publish("south/hub-1/control", json.dumps({**body, **more}), 1)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in list(self.heard) if message["messageType"] == kind]

    def outcomes(self, trace: str) -> list[str]:
        """Results by message id: a delivery that was cut off comes again under the same id, and counts once."""
        found = {
            m["messageId"]: m["payload"]["result"] for m in self.told("DEVICE_COMMAND") if m.get("traceId") == trace
        }
        return list(found.values())

    def values(self, device: str, name: str) -> list[Any]:
        return [
            entry["value"]["propertyValue"]
            for message in self.told("DEVICE_STATE")
            if message["managedThingId"] == device
            for endpoint in message["payload"]["addedStates"]["endpoints"]
            for capability in endpoint["capabilities"]
            for entry in capability["properties"]
            if entry["name"] == name
        ]
