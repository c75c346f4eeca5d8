"""The zwave-js driver as the host of our simulated stick: three kinds of chips, nodes of every kind, backup, routes, firmware, faults."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from conformance.zwavejs_host import Host, host, join, stick
from conftest import until
from gbl_rig import gbl

from drivers.sim.zwave.profiles import PROFILES
from drivers.sim.zwave.server import Simulation

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(180)]


def included(*profiles: str) -> list[dict[str, Any]]:
    """Nodes that are in the network from the start, without security; they wake up seldom by themselves."""
    return [{"name": one, "profile": one, "node": number} for number, one in enumerate(profiles, 2)]


@pytest.mark.parametrize("kind", ["tiny", "500", "800"])
async def test_each_kind_of_stick_is_taken_and_its_nodes_interviewed(tmp_path: Path, kind: str) -> None:
    spec = {"stick": kind, "devices": included("switch", "dimmer", "old-switch")}
    async with stick(tmp_path, spec) as simulation, host(tmp_path, simulation, soft=kind != "tiny") as js:
        controller = await js.call("controller")
        assert controller["nodes"] == [1, 2, 3, 4]
        assert controller["homeId"] == 0xC0FFEE01
        assert controller["longRange"] is True if kind == "800" else not controller["longRange"]
        await js.event("all ready")
        assert all(node["ready"] for node in await js.call("nodes"))
        await js.call("set", node=2, cc=0x25, property="targetValue", value=True)
        await js.value(2, "currentValue", value=True, cc=0x25)
        assert simulation.network.nodes["switch"].root.values["switch"] == 0xFF
        await js.call("set", node=3, cc=0x26, property="targetValue", value=40)
        await js.value(3, "currentValue", value=40, cc=0x26)
        assert not simulation.stick.unknown


async def test_it_works_on_a_pty_as_well(tmp_path: Path) -> None:
    async with (
        stick(tmp_path, {"devices": included("switch")}, tcp=False) as simulation,
        host(tmp_path, simulation) as js,
    ):
        await js.event("all ready")
        await js.call("set", node=2, cc=0x25, property="targetValue", value=True)
        assert simulation.network.nodes["switch"].root.values["switch"] == 0xFF


async def interviewed(js: Host, simulation: Simulation) -> dict[str, int]:
    """All nodes, the sleepy ones woken for it; node ids by name."""
    for node in simulation.network.members():
        if node.profile.power != "sleepy":
            await js.event("interviewed", id=node.id)
    for node in simulation.network.members():
        if node.profile.power == "sleepy":
            await simulation.control({"op": "wake", "device": node.name})
            await js.event("interviewed", id=node.id)
    return {node.name: node.id for node in simulation.network.members()}


async def test_a_whole_house_is_interviewed_and_says_what_it_measures(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": included(*PROFILES)}) as simulation, host(tmp_path, simulation) as js:
        ids = await interviewed(js, simulation)
        assert not js.seen("interview failed")
        changes: list[tuple[str, str, Any, str, Any]] = [
            ("multisensor", "temperature", 23.4, "Air temperature", 23.4),
            ("multisensor", "humidity", 51.0, "Humidity", 51),
            ("plug", "power", 12.5, "value", 12.5),
            ("multisensor", "motion", True, "Home Security", 8),
            ("door-sensor", "open", True, "Access Control", 22),
            ("water-sensor", "water", True, "Water Alarm", 2),
            ("smoke-alarm", "smoke", True, "Smoke Alarm", 2),
            ("co-alarm", "carbon_monoxide", True, "CO Alarm", 2),
            ("thermostat", "battery", 33, "level", 33),
            ("thermostat", "setpoint", 19.5, "setpoint", 19.5),
            ("power-strip", "on_off", True, "currentValue", True),
        ]
        for name, what, value, shown, expected in changes:
            await simulation.control({"op": "set", "device": name, "name": what, "value": value})
            await js.value(ids[name], shown, value=expected)
        await simulation.control({"op": "press", "device": "remote", "button": 3, "kind": "double"})
        await js.value(ids["remote"], "scene", key="003", value=3)
        assert not simulation.stick.unknown


async def test_every_actor_does_what_it_is_told(tmp_path: Path) -> None:
    names = ("color-lamp", "cover", "siren", "power-strip", "protected-switch")
    async with stick(tmp_path, {"devices": included(*names)}) as simulation, host(tmp_path, simulation) as js:
        ids = await interviewed(js, simulation)
        nodes = simulation.network.nodes
        await js.call("set", node=ids["color-lamp"], cc=0x33, property="hexColor", value="ff8000")
        await until(lambda: [nodes["color-lamp"].root.values[f"color/{at}"] for at in (2, 3, 4)] == [255, 128, 0])
        await js.call("set", node=ids["cover"], cc=0x6A, property="targetValue", key=13, value=50)
        await js.value(ids["cover"], "currentValue", key=13, value=50)
        await js.call("set", node=ids["siren"], cc=0x79, property="toneId", value=2)
        await until(lambda: nodes["siren"].root.values["tone"] == 2)
        await js.call("set", node=ids["power-strip"], cc=0x25, endpoint=2, property="targetValue", value=True)
        await until(lambda: [place.values.get("switch") for place in nodes["power-strip"].places[1:]] == [0, 255, 0])
        await js.call("set", node=ids["protected-switch"], cc=0x75, property="local", value=2)
        await until(lambda: nodes["protected-switch"].root.values["protection"][0] == 2)
        await js.call("set", node=ids["cover"], cc=0x70, property=3, value=120)
        await until(lambda: nodes["cover"].root.values.get("config/3") == 120)


async def test_a_sleeping_thermostat_hears_what_was_queued_when_it_wakes(tmp_path: Path) -> None:
    spec = {"devices": [{"name": "thermostat", "profile": "thermostat", "pairing": False}]}
    async with stick(tmp_path, spec) as simulation, host(tmp_path, simulation) as js:
        node = await join(js, simulation, "thermostat", "Default")
        assert node.guard.describe()["highest"] == "S2_AUTHENTICATED"
        await js.event("sleep", node=node.id)
        setting = js.call("set", node=node.id, cc=0x43, property="setpoint", key=1, value=18.5)
        await simulation.control({"op": "wake", "device": "thermostat"})
        await setting
        await until(lambda: node.root.values["setpoint/1"] == 18.5, 20)
        assert node.wake_target == 1


@pytest.mark.parametrize("kind", ["500", "800"])
async def test_memory_is_backed_up_and_routes_are_rebuilt(tmp_path: Path, kind: str) -> None:
    spec = {"stick": kind, "devices": included("switch", "plug")}
    async with stick(tmp_path, spec) as simulation, host(tmp_path, simulation) as js:
        await js.event("all ready")
        assert await js.call("rebuild", node=2) is True
        assert await js.call("routes", node=2) == [1, 3]
        image = base64.b64decode(await js.call("backup"))
        assert len(image) == simulation.stick.profile.nvm
        parsed = await js.call("parse", image=base64.b64encode(image).decode(), old=kind == "500")
        told = parsed["controller"]
        assert (parsed["format"], told.get("homeId", told.get("ownHomeId"))) == (
            5 if kind == "800" else 500,
            "0xc0ffee01",
        )
        assert sorted(parsed["nodes"]) == ["1", "2", "3"]
        assert (parsed["nodes"]["2"]["isListening"], parsed["nodes"]["2"]["genericDeviceClass"]) == (True, 0x10)
        assert parsed["nodes"]["2"]["neighbors"] == [1, 3]
        assert simulation.network.radio_on


async def test_a_node_gets_new_firmware(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": included("switch")}) as simulation, host(tmp_path, simulation) as js:
        await js.event("all ready")
        node = simulation.network.nodes["switch"]
        before = node.firmware
        result = await js.call("update", node=2, image=bytes(range(256)).hex() * 3, limit=100)
        assert result["success"] is True
        assert node.firmware == (before[0], before[1] + 1)


async def test_faults_on_the_line_are_survived(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": included("switch")}) as simulation, host(tmp_path, simulation) as js:
        await js.event("all ready")
        for kind in ("can", "deaf", "no_ack", "busy"):
            await simulation.control({"op": "fault", "kind": kind})
            await js.call("set", node=2, cc=0x25, property="targetValue", value=True)
        await simulation.control({"op": "reset"})
        await js.call("set", node=2, cc=0x25, property="targetValue", value=False)
        await until(lambda: simulation.network.nodes["switch"].root.values["switch"] == 0)


@pytest.mark.parametrize("kind", ["500", "800"])
async def test_a_restored_backup_brings_back_a_node_that_was_lost(tmp_path: Path, kind: str) -> None:
    async with stick(tmp_path, {"stick": kind, "devices": included("switch", "plug")}) as simulation:
        async with host(tmp_path, simulation) as js:
            await js.event("all ready")
            image = await js.call("backup")
            simulation.network.leave(simulation.network.nodes["plug"], 0.0)
            await js.call("restore", image=image)
        await simulation.control({"op": "reset"})  # an old chip takes it up when it starts
        assert [node.name for node in simulation.network.members()] == ["switch", "plug"]


async def test_a_stick_that_enumerates_again_with_each_reset_is_found_again(tmp_path: Path) -> None:
    spec = {"devices": included("switch"), "reenumerates": True}
    async with stick(tmp_path, spec, tcp=False) as simulation, host(tmp_path, simulation) as js:
        await js.event("all ready")
        assert simulation.unplugs >= 1
        await js.call("set", node=2, cc=0x25, property="targetValue", value=True)
        assert simulation.network.nodes["switch"].root.values["switch"] == 0xFF


async def test_a_jammed_channel_is_reported_and_passes(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": included("switch")}) as simulation, host(tmp_path, simulation) as js:
        await js.event("all ready")
        await simulation.control({"op": "jam", "on": True})
        setting = asyncio.create_task(js.call("set", node=2, cc=0x25, property="targetValue", value=True))
        before = simulation.stick.link.frames_in
        await until(lambda: simulation.stick.link.frames_in > before + 1, 20)
        await simulation.control({"op": "jam", "on": False})
        await setting
        assert simulation.network.nodes["switch"].root.values["switch"] == 0xFF


async def test_a_stick_in_its_bootloader_is_brought_back(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": included("switch")}) as simulation:
        await simulation.control({"op": "bootloader"})
        async with host(tmp_path, simulation) as js:
            await js.event("all ready")
            assert simulation.stick.bootloader is None


async def test_the_stick_gets_new_firmware_through_its_bootloader(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": included("switch")}) as simulation, host(tmp_path, simulation) as js:
        await js.event("all ready")
        image = gbl(bytes(range(256)) * 4)
        result = await js.call("flash", image=image.hex())
        assert result["success"] is True
        assert simulation.stick.firmware_image.startswith(image)
