"""A served Z-Wave stick: its home file, its pty, its control socket, faults at the line, and what it keeps."""

import asyncio
import json
import os
import tomllib
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import until

from agent.errors import ConfigError
from drivers.sim import home
from drivers.sim.zwave import house, label
from drivers.sim.zwave.profiles import PROFILES
from drivers.sim.zwave.server import Simulation, start
from drivers.zwave.frame import Data, Decoder, Signal, Type, encode
from drivers.zwave.security import qr

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "examples" / "zwave.toml"
VERSION = encode(Data(Type.REQUEST, 0x15))


def spec(*devices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": "zwave", "devices": list(devices), **more}


@asynccontextmanager
async def served(folder: Path, *devices: dict[str, Any], faults: str = "", **more: Any) -> AsyncIterator[Simulation]:
    state = folder / "zwave.json"
    made = await start("zwave", spec(*devices, **more), link=folder / "zwave", state=state, faults=faults, seed=7)
    try:
        yield made
    finally:
        await made.close()


class Line:
    """The host's end of a pty: acknowledges what comes, and keeps it; sends again what has met a frame of the stick."""

    def __init__(self, port: str) -> None:
        self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.fd)
        self.frames: list[Data] = []
        self._sent = b""
        self._decoder = Decoder()
        asyncio.get_running_loop().add_reader(self.fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, 4096)
        except (BlockingIOError, OSError):
            return
        for item in self._decoder.feed(data, 0.0):
            if isinstance(item, Data):
                self.frames.append(item)
                os.write(self.fd, encode(Signal.ACK))
            elif item is Signal.CAN:
                os.write(self.fd, self._sent)

    def send(self, data: bytes) -> None:
        self._sent = data
        os.write(self.fd, data)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)


async def ask(simulation: Simulation, **request: Any) -> Any:
    """Over the control socket, as a test or a person does it."""
    reader, writer = await asyncio.open_unix_connection(simulation.control_path, limit=1 << 20)
    writer.write(json.dumps(request).encode() + b"\n")
    answer = json.loads(await reader.readline())
    writer.close()
    return answer


def test_the_example_has_a_device_of_every_profile() -> None:
    network, played = house.build("zwave", home.load(EXAMPLE)["zwave"], seed=1)
    assert {node.profile_name for node in network.nodes.values()} == set(PROFILES)
    assert [one.node.profile_name for one in played] == ["multisensor"]


def test_the_simulator_is_found_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["hub_agent.simulators"]["zwave"].partition(":")
    assert getattr(import_module(module), name) is start


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec({"profile": "toaster"}), "unknown profile 'toaster'"),
        (spec({"profile": "lock", "colour": "red"}), "unknown key 'colour'"),
        (spec({"profile": "lock"}, {"profile": "lock"}), "two devices are called"),
        (spec({"profile": "lock", "node": 300}), "node cannot be 300"),
        (
            spec({"name": "a", "profile": "lock", "node": 2}, {"name": "b", "profile": "lock", "node": 2}),
            "no node id 2",
        ),
        (spec({"profile": "lock", "node": 2, "granted": ["S2_ACCESS_CONTROL"]}), "granted cannot be"),
        (spec(home_id="here"), "no number of 4 bytes"),
        (spec(keys={"S3": "00"}), "keys cannot be"),
        (spec(stick="900"), "no simulated stick '900'"),
        (spec(brand="x"), "unknown key 'brand'"),
        (spec({"profile": "switch", "script": [{"after": 1, "op": "dance"}]}), "the script cannot be played"),
    ],
)
async def test_mistakes_in_the_home_file_are_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await start("zwave", given, link=None, state=None, faults="", seed=1)


def test_nodes_can_be_in_the_network_from_the_start_with_their_keys() -> None:
    key = "00112233445566778899aabbccddeeff"
    lock = {"name": "door", "profile": "lock", "node": 9, "granted": ["S2_ACCESS_CONTROL"]}
    network, _ = house.build("zwave", spec(lock, keys={"S2_ACCESS_CONTROL": key}), seed=1)
    assert network.nodes["door"].guard.snapshot() == {"S2_ACCESS_CONTROL": key}
    copies, _ = house.build("zwave", spec({"name": "lamp", "profile": "dimmer", "node": 10, "count": 3}), seed=1)
    assert [(node.id, node.name) for node in copies.members()] == [(10, "lamp 1"), (11, "lamp 2"), (12, "lamp 3")]


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.keys & 0x07])
def test_each_s2_device_has_a_qr_code(name: str) -> None:
    network, _ = house.build("zwave", spec({"profile": name}), seed=1)
    node = network.nodes[name]
    found = qr.parse(label.code(node))
    assert (found.dsk, found.keys, found.smart_start) == (
        node.dsk,
        PROFILES[name].keys & 0x7F,
        PROFILES[name].smart_start,
    )
    assert (found.generic, found.product) == (PROFILES[name].root.generic, PROFILES[name].product)


async def test_a_pty_that_is_unplugged_comes_back(tmp_path: Path) -> None:
    async with served(tmp_path, {"profile": "switch"}) as simulation:
        line = Line(simulation.port)
        line.send(VERSION)
        await until(lambda: [frame for frame in line.frames if frame.function == 0x15])
        line.close()
        assert await ask(simulation, op="unplug", seconds=0.05, new_path=True) == {"ok": True}
        assert not (tmp_path / "zwave").exists()
        await until(lambda: simulation.plugged)
        assert simulation.port.endswith("~1")
        line = Line(simulation.port)
        line.send(VERSION)
        await until(lambda: [frame for frame in line.frames if frame.function == 0x15])
        line.close()


async def test_the_house_is_as_it_was_after_a_restart(tmp_path: Path) -> None:
    device = {"name": "plug", "profile": "plug", "node": 2}
    async with served(tmp_path, device) as simulation:
        await ask(simulation, op="set", device="plug", name="on_off", value=True)
        await ask(simulation, op="set", device="plug", name="energy", value=99.5)
        before = await ask(simulation, op="truth")
    async with served(tmp_path, device) as simulation:
        (told,) = (await ask(simulation, op="list"))["devices"]
        assert (told["node"], told["state"]["0"]["switch"], told["state"]["0"]["meter/0"]) == (2, 255, 99.5)
        assert (await ask(simulation, op="truth"))["nodes"] == before["nodes"] == {"2": "plug"}


async def test_the_control_socket_says_what_cannot_be_done(tmp_path: Path) -> None:
    async with served(tmp_path, {"profile": "switch"}) as simulation:
        assert "no operation" in (await ask(simulation, op="dance"))["error"]
        assert "no fault" in (await ask(simulation, op="fault", kind="boredom"))["error"]
        for kind in ("nak", "busy", "no_ack", "inclusion"):
            assert await ask(simulation, op="fault", kind=kind) == {"ok": True}


async def test_frames_that_are_lost_on_the_line_are_sent_again(tmp_path: Path) -> None:
    async with served(tmp_path, {"profile": "switch"}, faults="lost=0.3,corrupt=0.1") as simulation:
        line = Line(simulation.port)
        loop = asyncio.get_running_loop()
        end = loop.time() + 20
        while not [frame for frame in line.frames if frame.function == 0x15] and loop.time() < end:
            line.send(VERSION)
            seen = len(line.frames)
            with_answer = loop.time() + 0.3
            await until(lambda seen=seen, by=with_answer: len(line.frames) > seen or loop.time() > by)  # type: ignore[misc]
        assert [frame for frame in line.frames if frame.function == 0x15]
        line.close()


async def test_a_script_plays_by_itself(tmp_path: Path) -> None:
    script = [{"after": 0.05, "op": "set", "name": "temperature", "value": 30.0}]
    async with served(tmp_path, {"name": "s", "profile": "multisensor", "node": 2, "script": script}) as simulation:
        await until(lambda: simulation.network.nodes["s"].root.values["sensor/1"] == 30.0)


async def test_what_is_on_the_line_is_captured(tmp_path: Path) -> None:
    file = tmp_path / "zwave.pcap"
    simulation = await start("zwave", spec(), link=tmp_path / "z", state=None, faults="", seed=1, capture=file)
    line = Line(simulation.port)
    line.send(VERSION)
    await until(lambda: [frame for frame in line.frames if frame.function == 0x15])
    line.close()
    await simulation.close()
    assert VERSION in file.read_bytes()
