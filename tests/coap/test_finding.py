"""How devices are found: by multicast, in a resource directory, at configured addresses; and the simulated home as people start it."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from agent import simulate
from agent.errors import ConfigError
from agent.model import DeviceFound, Discovery, JoinWindow
from drivers.sim.coap.profiles import Resource
from drivers.sim.coap.server import start
from tests.conformance.coap_rig import OSCORE, CoapRig, Made
from tests.conformance.driver_contract import running

LAMP = {"name": "lamp", "profile": "light"}
HALL = {"name": "hall", "profile": "climate"}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


async def test_a_multicast_finds_those_that_answer(make: Made) -> None:
    port = free_port()
    rig = await make(LAMP, HALL, {"name": "safe", "profile": "light", **OSCORE}, group_port=port)
    rig.settings |= {"addresses": [], "interfaces": ["lo"], "multicast_port": port}
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "COAP", 30))
        for name in ("lamp", "hall"):
            await watched.wait(DeviceFound, lambda f, n=name: f.device.id.key == f"127.0.0.1-{rig.port(n)}")  # type: ignore[misc]
    assert rig.simulation.devices["safe"].clear == 0


async def test_a_resource_directory_names_its_endpoints(make: Made) -> None:
    rig = await make({"name": "directory", "profile": "directory"}, LAMP, {"name": "north hall", "profile": "climate"})
    rig.settings |= {"addresses": [], "directory": rig.address("directory")}
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "COAP", 30))
        for name in ("lamp", "north-hall"):
            found = await watched.wait(DeviceFound, lambda f, n=name: f.device.id.key == n)  # type: ignore[misc]
            assert found.device.node_id == f"coap.{name}"


async def test_a_device_that_answers_at_two_addresses_is_one(make: Made) -> None:
    rig = await make(LAMP, {"name": "same lamp", "profile": "light"})
    for device in rig.simulation.devices.values():
        device.resources["/3/0/2"] = Resource("SN-7")
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "COAP", 1))
        await watched.wait(JoinWindow, lambda w: w.seconds == 0, after=2)
        assert [f.device.id.key for f in watched.events if isinstance(f, DeviceFound)] == ["SN-7"]


async def test_a_known_name_at_another_address_has_moved(make: Made) -> None:
    first = await make({"name": "directory", "profile": "directory"}, LAMP)
    first.settings |= {"addresses": [], "directory": first.address("directory")}
    async with running(first.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "COAP", 30))
        await watched.wait(DeviceFound, lambda f: f.device.id.key == "lamp")
    await first.close()
    second = await make({"name": "directory", "profile": "directory"}, LAMP)
    second.settings |= {"addresses": [], "directory": second.address("directory")}
    second.state_dir = first.state_dir
    async with running(second.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "COAP", 30))
        moved = await watched.wait(DeviceFound, lambda f: f.device.address == second.address("lamp"))
        assert moved.device.id.key == "lamp"


@pytest.mark.xdist_group("ports of config/examples/coap.toml")
async def test_the_home_file_as_a_person_starts_it(tmp_path: Path) -> None:
    home = Path(__file__).parents[2] / "config" / "examples" / "coap.toml"
    running_ = await simulate.start_all(home, tmp_path / "links", "", 1, tmp_path / "state")
    try:
        ((name, kind, simulation),) = running_
        assert (name, kind) == ("coap", "coap")
        assert simulation.port.startswith("coap://127.0.0.1:")
        reader, writer = await asyncio.open_unix_connection(simulation.control_path)
        for request, key in (
            ({"op": "list"}, "devices"),
            ({"op": "set", "device": "hall", "path": "/3303/0/5700", "value": 20}, "ok"),
            ({"op": "set", "device": "hall", "path": "/x", "value": 20}, "error"),
            ({"op": "nothing"}, "error"),
            ([], "error"),
        ):
            writer.write(json.dumps(request).encode() + b"\n")
            assert key in json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
    finally:
        for _, _, simulation in running_:
            await simulation.close()


async def test_what_is_written_survives_a_power_cut_of_the_device(make: Made, tmp_path: Path) -> None:
    rig = await make(LAMP)
    await rig.control("set", path="/3311/0/5851", value=30)
    port = rig.port("lamp")
    await rig.close()
    again = CoapRig(rig.folder, pytest.MonkeyPatch(), [LAMP])
    await again.start()
    try:
        assert (await again.control("get", path="/3311/0/5851"))["value"] == 30
        assert again.port("lamp") == port
    finally:
        await again.close()


@pytest.mark.parametrize(
    "spec",
    [
        {"stick": "ezsp"},
        {"port": -1},
        {"devices": [{"name": "a", "profile": "toaster"}]},
        {"devices": [{"name": "a", "profile": "light", "psk": "xy"}]},
        {"devices": [{"name": "a", "profile": "light", "psk": "00", "secret": "00"}]},
    ],
)
async def test_a_home_file_that_is_wrong_is_told_with_its_place(spec: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        await start("coap", spec, link=None, state=None, faults="", seed=1)
    assert caught.value.place.startswith("radios.coap")
    assert caught.value.remedy
