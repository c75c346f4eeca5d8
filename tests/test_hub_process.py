"""The whole daemon as users run it: real broker, simulated stick on a pty, kill -9 and unplugging."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from conftest import Broker, until, until_async
from daemon import ask, configure, ready
from paho.mqtt.enums import CallbackAPIVersion

from agent.client import Client
from drivers.sim.zigbee.server import Simulation, start

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

    def __init__(self, folder: Path, broker: Broker, durability: str) -> None:
        self.folder = folder
        self.config = configure(folder, broker.port, durability)
        self.client = Client(folder / "run")
        self.heard: list[dict[str, Any]] = []
        self.sim: Simulation | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.mqtt = paho.Client(CallbackAPIVersion.VERSION2, client_id="cloud", clean_session=False)
        self.mqtt.on_message = lambda _c, _u, m: self.heard.append(json.loads(m.payload)) if m.payload else None
        self.mqtt.on_connect = lambda client, *_: client.subscribe("north/#", 1)
        self.mqtt.connect("127.0.0.1", broker.port)
        self.mqtt.loop_start()

    def run(self) -> None:
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(self.config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

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
        assert lines[-1]["count"] == len(HOME["devices"])

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


@pytest.fixture(params=["default", "strict"])
async def house(request: pytest.FixtureRequest, tmp_path: Path, broker: Broker) -> AsyncIterator[House]:
    made = House(tmp_path, broker, request.param)
    made.sim = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=1)
    made.run()
    await made.online()
    await made.join()
    yield made
    assert made.process is not None
    if made.process.poll() is None:
        made.process.send_signal(signal.SIGTERM)
        made.process.wait(10)
    made.mqtt.disconnect()
    made.mqtt.loop_stop()
    await made.sim.close()


async def test_kill_9_under_traffic_loses_no_event_and_ends_every_command_once(house: House) -> None:
    assert house.sim is not None
    bulb, plug = await house.device("SIM-BULB-RGB"), await house.device("SIM-PLUG")
    cycles = int(os.environ.get("HUB_AGENT_KILL_CYCLES", "3"))
    for cycle in range(cycles):
        house.send(bulb["managedThingId"], f"on-{cycle}", "On")
        house.send(plug["managedThingId"], f"toggle-{cycle}", "Toggle")
        await house.sim.control({"op": "press", "device": "remote", "button": 1})
        await asyncio.sleep(0.03 * cycle)
        house.kill()
        house.send(bulb["managedThingId"], f"while-{cycle}", "Off")
        house.run()
        await house.online()
        for trace in (f"on-{cycle}", f"toggle-{cycle}", f"while-{cycle}"):
            await until(lambda trace=trace: house.outcomes(trace), 20.0, f"an Outcome of {trace}")
    state = (await house.sim.control({"op": "list"}))["devices"]
    truth = next(d for d in state if d["name"] == "plug")["state"]["1/0x0006/0x0000"]
    await until(lambda: house.values(plug["managedThingId"], "OnOff")[-1] is truth, 10.0, "the plug's true state")
    for cycle in range(cycles):
        for trace in (f"on-{cycle}", f"toggle-{cycle}", f"while-{cycle}"):
            assert len(house.outcomes(trace)) == 1, f"{trace} has one Outcome"


async def test_a_stick_unplugged_and_plugged_comes_back_without_a_restart(house: House) -> None:
    assert house.sim is not None
    bulb = await house.device("SIM-BULB-RGB")
    for number in range(3):
        await house.sim.control({"op": "unplug", "seconds": 0.7})

        async def away() -> bool:
            return (await house.device("SIM-BULB-RGB"))["availability"] == "radio_away"

        await until_async(away, bool)
        house.send(bulb["managedThingId"], f"parked-{number}", "Toggle")
        await until(lambda number=number: house.outcomes(f"parked-{number}"), 20.0, "the parked command")
        assert house.outcomes(f"parked-{number}") == ["succeeded"]
        await house.online()
    assert house.process is not None
    assert house.process.poll() is None


async def test_expired_retained_and_hostile_messages_do_nothing_but_are_answered(house: House) -> None:
    bulb = (await house.device("SIM-BULB-RGB"))["managedThingId"]
    house.send(bulb, "late", "On", expiresAt="2020-01-01T00:00:00Z")
    house.send("no-such-thing", "stranger", "On")
    house.send(bulb, "nonsense", "Explode")
    for payload in (b"\xff", b"{}", b"[" * 100_000, b'{"version":1}'):
        house.mqtt.publish("south/hub-1/control", payload, 1)
        house.mqtt.publish("south/hub-1/setup", payload, 1)
    for trace in ("late", "stranger", "nonsense"):
        await until(lambda trace=trace: house.outcomes(trace) == ["failed"], what=f"the refusal of {trace}")

    async def counted() -> int:
        return (await house.ask("status"))["uplinks"]["main"]["counters"].get("malformed", 0)

    await until_async(counted, lambda count: count >= 8)
    house.send(bulb, "fine", "On")
    await until(lambda: house.outcomes("fine") == ["succeeded"])


async def test_an_orderly_stop_is_quick_and_says_offline(house: House) -> None:
    assert house.process is not None
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(5) == 0
    await until(lambda: house.told("HUB_STATUS")[-1]["payload"]["status"] == "offline")
    assert house.told("HUB_STATUS")[-1]["payload"]["reason"] == "stopped"
