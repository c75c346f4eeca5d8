"""The real zigpy-znp on the simulated Z-Stack stick, over a pty: form, join, interview, bind, report, command, restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.sim import home
from drivers.sim.zigbee.server import Simulation, start

pytestmark = pytest.mark.conformance
znp = pytest.importorskip("zigpy_znp.zigbee.application")
HOME = Path(__file__).parents[2] / "config" / "examples" / "home.toml"
BULB, CLIMATE = "bedroom bulb", 0x0402


class Heard:
    """Listener that counts interviewed devices."""

    def __init__(self) -> None:
        self.interviewed: dict[int, Any] = {}
        self.failed: list[Any] = []
        self.changed = asyncio.Event()

    def device_initialized(self, device: Any) -> None:
        self.interviewed[int.from_bytes(device.ieee.serialize(), "little")] = device
        self.changed.set()

    def device_init_failure(self, device: Any) -> None:
        self.failed.append(device)


async def until(event: asyncio.Event, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not true():
            event.clear()
            await event.wait()


@pytest.fixture
async def simulation(tmp_path: Path) -> AsyncIterator[Simulation]:
    spec = {**home.load(HOME)["zigbee"], "stick": "znp"}
    simulation = await start("zigbee", spec, link=tmp_path / "zb", state=tmp_path / "sim.json", faults="", seed=1)
    yield simulation
    await simulation.close()


async def application(simulation: Simulation) -> tuple[Any, Heard]:
    config = {
        "device": {"path": simulation.port},
        "ota": {"enabled": False},
        "backup_enabled": False,
        "topology_scan_enabled": False,
    }
    app, heard = await znp.ControllerApplication.new(config, auto_form=True, start_radio=False), Heard()
    app.add_listener(heard)
    await app.startup(auto_form=True)
    return app, heard


async def test_a_stranger_forms_joins_interviews_and_controls_the_whole_home(simulation: Simulation) -> None:
    app, heard = await application(simulation)
    nodes = simulation.network.nodes
    window = asyncio.create_task(app.permit(60))
    await until(heard.changed, lambda: set(nodes) <= set(heard.interviewed))
    await window
    assert heard.failed == []
    for ieee, node in nodes.items():
        device = heard.interviewed[ieee]
        assert device.model == node.profile.model
        assert set(device.endpoints[1].in_clusters) == {0, *node.profile.parts[0].inputs}
    await _command(simulation, heard)
    await _report(simulation, heard)
    await app.load_network_info(load_devices=True)
    assert len(app.state.network_info.key_table) == len(nodes)
    pan, key = app.state.network_info.pan_id, app.state.network_info.network_key.key
    await app.shutdown()
    again, _heard = await application(simulation)
    assert (again.state.network_info.pan_id, again.state.network_info.network_key.key) == (pan, key)
    await again.shutdown()
    assert simulation._front_end.counters.unknown == {}  # type: ignore[attr-defined]


async def _command(simulation: Simulation, heard: Heard) -> None:
    node = simulation.network.named(BULB)
    assert node is not None
    endpoint = heard.interviewed[node.ieee].endpoints[1]
    await endpoint.on_off.on()
    await endpoint.level.move_to_level_with_on_off(level=77, transition_time=0)
    assert (node.get(1, 6, 0), node.get(1, 8, 0)) == (True, 77)
    assert await endpoint.on_off.read_attributes(["on_off"]) == ({"on_off": 1}, {})


async def _report(simulation: Simulation, heard: Heard) -> None:
    node = next(n for n in simulation.network.nodes.values() if n.profile_name == "climate")
    cluster = heard.interviewed[node.ieee].endpoints[1].in_clusters[CLIMATE]
    arrived, values = asyncio.Event(), []

    def take(event: Any) -> None:
        values.append(event.value)
        arrived.set()

    cluster.on_event("attribute_report", take)
    await cluster.bind()
    await cluster.configure_reporting("measured_value", 0, 3600, 10)
    await simulation.control({"op": "set", "device": node.name, "cluster": CLIMATE, "attribute": 0, "value": 2345})
    await until(arrived, lambda: 2345 in values)
