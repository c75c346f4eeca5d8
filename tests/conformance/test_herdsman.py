"""zigbee-herdsman, the stack of Zigbee2MQTT, as a second host of the simulated sticks over TCP."""

import asyncio
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import until

from drivers.sim import home
from drivers.sim.zigbee import server
from drivers.sim.zigbee.profiles import PROFILES
from drivers.sim.zigbee.server import Simulation

pytestmark = pytest.mark.conformance

CLIENT = Path(__file__).parent / "herdsman"
HOME = Path(__file__).parents[2] / "config" / "examples" / "home.toml"
SPEC = home.load(HOME)["zigbee"]
INSTALL_CODE = "83FED3407A939723A5C639B26916D505C3B5"  # the Zigbee specification's example, CRC included


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """zigbee-herdsman by its lock file."""
    if (CLIENT / "node_modules" / "zigbee-herdsman").exists():
        return
    npm = shutil.which("npm")
    assert npm is not None, "install node and npm (Debian: apt install npm)"
    subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=CLIENT, check=True)


class Herdsman:
    """A running client: one request at a time, events as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if "event" in message:
                self.events.append(message)
            elif "log" in message:
                self.logged.append(message)
            elif "error" in message:
                self._waiting.pop(message["id"]).set_exception(RuntimeError(message["error"]))
            else:
                self._waiting.pop(message["id"]).set_result(message["result"])

    async def call(self, operation: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"id": number, "op": operation, **arguments}).encode() + b"\n")
        async with asyncio.timeout(30):
            return await answer

    def interviewed(self) -> dict[str, dict[str, Any]]:
        """Devices whose interview has ended well, by address."""
        ended = [event for event in self.events if event["event"] == "interview" and event["status"] == "successful"]
        return {event["device"]["ieee"]: event["device"] for event in ended}

    def messages(self, ieee: str, cluster: str) -> list[tuple[str, Any]]:
        """Type and data of what a device has sent on a cluster."""
        return [
            (event["type"], event["data"])
            for event in self.events
            if event["event"] == "message" and (event["ieee"], event["cluster"]) == (ieee, cluster)
        ]


@pytest.fixture(params=[("ember", "ezsp"), ("zstack", "znp")], ids=lambda pair: pair[0])
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """herdsman's adapter, and the stick that it drives."""
    adapter, stick_kind = request.param
    return adapter, stick_kind


def only(*names: str) -> dict[str, Any]:
    return {**SPEC, "devices": [device for device in SPEC["devices"] if device["name"] in names]}


def address(simulation: Simulation, name: str) -> str:
    """A device's address as herdsman writes it."""
    node = simulation.network.named(name)
    assert node is not None
    return f"0x{node.ieee:016x}"


@asynccontextmanager
async def stick(folder: Path, spec: dict[str, Any], kind: tuple[str, str]) -> AsyncIterator[Simulation]:
    spec = {**spec, "stick": kind[1], "port": "tcp"}
    simulation = await server.start("zigbee", spec, link=None, state=folder / "stick.json", faults="", seed=5)
    try:
        yield simulation
    finally:
        await simulation.close()


@asynccontextmanager
async def herdsman(folder: Path, simulation: Simulation, kind: tuple[str, str]) -> AsyncIterator[Herdsman]:
    node = shutil.which("node")
    assert node is not None, "install node (Debian: apt install nodejs)"
    port = simulation.port.replace("socket://", "tcp://")
    process = await asyncio.create_subprocess_exec(
        node,
        str(CLIENT / "client.js"),
        kind[0],
        port,
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    client = Herdsman(process)
    reading = asyncio.create_task(client.read())
    try:
        yield client
        await client.call("stop")
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await reading


async def join(simulation: Simulation, client: Herdsman, timeout: float = 90.0) -> None:
    await client.call("permit", seconds=60)
    wanted = {f"0x{ieee:016x}" for ieee in simulation.network.nodes}
    await until(lambda: wanted <= client.interviewed().keys(), timeout, f"interviews of {wanted}")


async def test_it_forms_then_resumes_and_backs_up(tmp_path: Path, kind: tuple[str, str]) -> None:
    async with stick(tmp_path, only(), kind) as simulation:
        async with herdsman(tmp_path, simulation, kind) as client:
            assert await client.call("start") == "reset"
            network = await client.call("network")
            assert (network["panID"], network["channel"]) == (0x1A62, 15)
            assert simulation.network.params is not None
            assert simulation.network.params.network_key == bytes(range(16))
            await client.call("backup")
        async with herdsman(tmp_path, simulation, kind) as client:
            assert await client.call("start") == "resumed"
            assert await client.call("network") == network
            assert [entry for entry in client.logged if entry["log"] == "error"] == []
    backup = json.loads((tmp_path / "coordinator_backup.json").read_text())
    assert backup["network_key"]["key"] == bytes(range(16)).hex()
    assert backup["pan_id"] == "1a62"


async def test_a_backup_restores_onto_a_blank_stick(tmp_path: Path, kind: tuple[str, str]) -> None:
    async with stick(tmp_path, only(), kind) as simulation, herdsman(tmp_path, simulation, kind) as client:
        await client.call("start")
        await client.call("backup")
    (tmp_path / "stick.json").unlink()
    async with stick(tmp_path, only(), kind) as simulation, herdsman(tmp_path, simulation, kind) as client:
        assert await client.call("start") == "restored"
        assert simulation.network.params is not None
        assert simulation.network.params.network_key == bytes(range(16))


async def test_every_device_of_the_example_home_joins_and_is_interviewed(tmp_path: Path, kind: tuple[str, str]) -> None:
    async with stick(tmp_path, {**SPEC}, kind) as simulation, herdsman(tmp_path, simulation, kind) as client:
        await client.call("start")
        await join(simulation, client)
        devices = client.interviewed()
        for node in simulation.network.nodes.values():
            profile, device = PROFILES[node.profile_name], devices[f"0x{node.ieee:016x}"]
            assert (device["manufacturer"], device["model"]) == (profile.manufacturer, profile.model), node.name
            ends = {end["id"]: end for end in device["endpoints"]}
            for part in profile.parts:
                assert ends[part.endpoint]["type"] == part.device_type
                assert set(ends[part.endpoint]["inputs"]) == {0x0000, *part.inputs}


async def test_devices_are_controlled_and_report(tmp_path: Path, kind: tuple[str, str]) -> None:
    names = ("desk plug", "bedroom climate", "bed remote")
    async with stick(tmp_path, only(*names), kind) as simulation, herdsman(tmp_path, simulation, kind) as client:
        await client.call("start")
        await join(simulation, client)
        plug, climate, remote = (address(simulation, name) for name in names)
        await client.call("bind", ieee=plug, cluster="genOnOff")
        await client.call("report", ieee=plug, cluster="genOnOff", attribute="onOff", change=1)
        await client.call("command", ieee=plug, cluster="genOnOff", command="on")
        assert await client.call("read", ieee=plug, cluster="genOnOff", attributes=["onOff"]) == {"onOff": 1}
        on = ("attributeReport", {"onOff": 1})
        await until(lambda: on in client.messages(plug, "genOnOff"), what="the report of on")
        report = {"op": "set", "device": names[1], "cluster": 0x0402, "value": 2222, "report": True}
        await simulation.control(report)
        value = ("attributeReport", {"measuredValue": 2222})
        await until(lambda: value in client.messages(climate, "msTemperatureMeasurement"), what="the temperature")
        await simulation.control({"op": "press", "device": names[2], "button": 3})
        await until(lambda: ("commandToggle", {}) in client.messages(remote, "genOnOff"), what="the button")


async def test_a_device_is_removed(tmp_path: Path, kind: tuple[str, str]) -> None:
    async with stick(tmp_path, only("desk plug"), kind) as simulation, herdsman(tmp_path, simulation, kind) as client:
        await client.call("start")
        await join(simulation, client)
        plug = address(simulation, "desk plug")
        assert plug in await client.call("devices")
        await client.call("remove", ieee=plug)
        node = simulation.network.named("desk plug")
        assert node is not None
        await until(lambda: not node.joined, what="the leave")
        assert plug not in await client.call("devices")


async def test_an_install_code_joins_its_device(tmp_path: Path, kind: tuple[str, str]) -> None:
    spec = only("desk plug")
    spec["devices"] = [{**spec["devices"][0], "install_code": INSTALL_CODE}]
    async with stick(tmp_path, spec, kind) as simulation, herdsman(tmp_path, simulation, kind) as client:
        await client.call("start")
        (node,) = simulation.network.nodes.values()
        await client.call("install", code=f"Z:{node.ieee:016X}$I:{INSTALL_CODE}")
        await join(simulation, client)
        assert simulation.network.transient_keys[node.ieee] == node.install_key
