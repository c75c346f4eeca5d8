"""bellows, an EZSP host that we did not write, drives the simulated stick on a pty through its whole life."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bellows.zigbee.application
import pytest
import zigpy.application
import zigpy.types as t
import zigpy.zdo.types as zdo_t
from conftest import until
from zigpy.backups import NetworkBackup
from zigpy.device import Device
from zigpy.exceptions import DeliveryError
from zigpy.util import convert_install_code
from zigpy.zcl import foundation

from drivers.sim import home
from drivers.sim.zigbee import server
from drivers.sim.zigbee.ezsp import Ezsp
from drivers.sim.zigbee.model import ieee_text
from drivers.sim.zigbee.profiles import PROFILES
from drivers.sim.zigbee.server import Simulation

pytestmark = pytest.mark.conformance

HOME = Path(__file__).parents[2] / "config" / "examples" / "home.toml"
SPEC = {**home.load(HOME)["zigbee"], "stick": "ezsp"}
INSTALL_CODE = "83FED3407A939723A5C639B26916D505C3B5"  # the Zigbee specification's example, CRC included
ONE_OF_EACH_KIND = ("desk plug", "bedroom climate", "living room bulb")


class Events:
    """What the application tells its listeners."""

    def __init__(self) -> None:
        self.initialized: dict[str, Device] = {}
        self.gone: set[str] = set()
        self.values: list[tuple[int, Any]] = []
        self.commands: list[int] = []

    def device_initialized(self, device: Device) -> None:
        self.initialized[str(device.ieee)] = device

    def device_left(self, device: Device) -> None:
        self.gone.add(str(device.ieee))

    device_removed = device_left

    def reported(self, event: Any) -> None:
        self.values.append((event.attribute_id, event.value))

    def cluster_command(self, _tsn: int, command: int, _args: Any) -> None:
        self.commands.append(command)


def only(*names: str, **changes: Any) -> dict[str, Any]:
    """The example home with these devices alone."""
    return {**SPEC, **changes, "devices": [device for device in SPEC["devices"] if device["name"] in names]}


@asynccontextmanager
async def stick(folder: Path, spec: dict[str, Any], name: str = "stick", faults: str = "") -> AsyncIterator[Simulation]:
    simulation = await server.start(
        "zigbee", spec, link=folder / name, state=folder / f"{name}.json", faults=faults, seed=3
    )
    try:
        yield simulation
    finally:
        await simulation.close()


@asynccontextmanager
async def application(port: str, *, start: bool = True) -> AsyncIterator[tuple[Any, Events]]:
    config = {
        "device": {"path": port, "baudrate": 115200},
        "database_path": None,
        "ota": {"enabled": False},
        "backup_enabled": False,
        "topology_scan_enabled": False,
        "startup_energy_scan": False,
        "use_thread": False,
    }
    app = await bellows.zigbee.application.ControllerApplication.new(config, start_radio=False)
    events = Events()
    app.add_listener(events)
    try:
        await (app.startup(auto_form=True) if start else app.connect())
        yield app, events
    finally:
        await app.shutdown()


async def join(simulation: Simulation, app: Any, events: Events, timeout: float = 60.0) -> None:
    """Open the window until every device of the home has been interviewed."""
    await app.permit(60)
    wanted = {ieee_text(ieee) for ieee in simulation.network.nodes}
    await until(lambda: wanted <= events.initialized.keys(), timeout, f"interviews of {wanted}")


async def device_state(simulation: Simulation, name: str) -> dict[str, Any]:
    answer = await simulation.control({"op": "list"})
    return next(device for device in answer["devices"] if device["name"] == name)


def front_end(simulation: Simulation) -> Ezsp:
    assert isinstance(simulation._front_end, Ezsp)
    return simulation._front_end


def named(simulation: Simulation, app: Any, name: str) -> Device:
    node = simulation.network.named(name)
    assert node is not None
    return app.get_device(t.EUI64.convert(ieee_text(node.ieee)))


async def test_it_forms_and_resumes_the_same_network_quickly(tmp_path: Path) -> None:
    async with stick(tmp_path, only()) as simulation:
        async with application(simulation.port) as (app, _events):
            formed = app.state.network_info
            assert app.state.node_info.ieee == t.EUI64.convert(SPEC["ieee"])
            assert simulation.network.params is not None
            assert formed.pan_id == simulation.network.params.pan_id
            assert formed.network_key.key.serialize() == simulation.network.params.network_key
        began = time.monotonic()
        async with application(simulation.port) as (app, _events):
            assert time.monotonic() - began < 3, "a stick on a pty starts in half a second"
            resumed = app.state.network_info
            assert (resumed.pan_id, resumed.channel) == (formed.pan_id, formed.channel)
            assert resumed.network_key.key == formed.network_key.key
    async with stick(tmp_path, only()) as again, application(again.port) as (app, _events):
        assert app.state.network_info.network_key.key == formed.network_key.key, "it survives a power cut"


async def test_every_device_of_the_example_home_joins_and_is_interviewed(tmp_path: Path) -> None:
    async with stick(tmp_path, SPEC) as simulation, application(simulation.port) as (app, events):
        assert len(simulation.network.nodes) >= 20
        await join(simulation, app, events)
        assert front_end(simulation).counters.unknown == {}, "bellows uses no frame that the stick lacks"
        for node in simulation.network.nodes.values():
            device = events.initialized[ieee_text(node.ieee)]
            profile = PROFILES[node.profile_name]
            assert (device.manufacturer, device.model) == (profile.manufacturer, profile.model)
            assert device.node_desc.is_mains_powered is not profile.battery
            for part in profile.parts:
                endpoint = device.endpoints[part.endpoint]
                assert endpoint.device_type == part.device_type
                assert set(endpoint.in_clusters) == {0x0000, *part.inputs}
                assert set(endpoint.out_clusters) == set(part.outputs)


async def test_a_bound_device_reports_and_is_controlled(tmp_path: Path) -> None:
    async with stick(tmp_path, only("desk plug")) as simulation, application(simulation.port) as (app, events):
        await join(simulation, app, events)
        plug = named(simulation, app, "desk plug")
        on_off, power = plug.endpoints[1].on_off, plug.endpoints[1].electrical_measurement
        for cluster, attribute, change in ((on_off, "on_off", 1), (power, "active_power", 5)):
            (status, *_rest) = await cluster.bind()
            assert status == zdo_t.Status.SUCCESS
            await cluster.configure_reporting(attribute, 0, 900, change)
        state = await device_state(simulation, "desk plug")
        assert (state["bindings"], state["reporting"]) == (2, 2)
        on_off.on_event("attribute_report", events.reported)
        power.on_event("attribute_report", events.reported)
        assert (await on_off.on())[1] == foundation.Status.SUCCESS
        assert (await device_state(simulation, "desk plug"))["state"]["1/0x0006/0x0000"] is True
        await until(lambda: (0x0000, t.Bool.true) in events.values, what="the report of on")
        change_power = {"op": "set", "device": "desk plug", "cluster": 0x0B04, "attribute": 0x050B, "value": 1234}
        await simulation.control(change_power)
        await until(lambda: (0x050B, 1234) in events.values, what="the report of power")
        values, _failures = await on_off.read_attributes(["on_off", "start_up_on_off"])
        assert values["on_off"] == 1


async def test_sleepy_sensors_and_buttons_speak_by_themselves(tmp_path: Path) -> None:
    names = ("bedroom climate", "bed remote")
    async with stick(tmp_path, only(*names)) as simulation, application(simulation.port) as (app, events):
        await join(simulation, app, events)
        climate, remote = (named(simulation, app, name) for name in names)
        climate.endpoints[1].temperature.on_event("attribute_report", events.reported)
        remote.endpoints[1].out_clusters[0x0006].add_listener(events)
        report = {"op": "set", "device": "bedroom climate", "cluster": 0x0402, "value": 1987, "report": True}
        await simulation.control(report)
        await simulation.control({"op": "press", "device": "bed remote", "button": 3})
        await until(lambda: (0x0000, 1987) in events.values and 0x02 in events.commands, what="report and toggle")


async def test_groups_reach_their_members(tmp_path: Path) -> None:
    home_of_two = only("living room bulb", "desk plug")
    async with stick(tmp_path, home_of_two) as simulation, application(simulation.port) as (app, events):
        await join(simulation, app, events)
        group = app.groups.add_group(0x0042, "light")
        await named(simulation, app, "living room bulb").endpoints[1].add_to_group(0x0042, "light")
        await group.endpoint.on_off.on()
        bulb = simulation.network.named("living room bulb")
        assert bulb is not None
        await until(lambda: bulb.get(1, 6, 0) is True, what="the bulb to follow its group")
        assert (await device_state(simulation, "desk plug"))["state"]["1/0x0006/0x0000"] is False


@pytest.mark.parametrize("forced", [False, True])
async def test_a_device_is_removed(tmp_path: Path, forced: bool) -> None:  # noqa: FBT001
    async with stick(tmp_path, only("desk plug")) as simulation, application(simulation.port) as (app, events):
        await join(simulation, app, events)
        plug = named(simulation, app, "desk plug")
        if forced:
            await app.force_remove(plug)
        else:
            await app.remove(plug.ieee)
        node = simulation.network.named("desk plug")
        assert node is not None
        await until(lambda: events.gone == {str(plug.ieee)} and not node.joined, what="the leave")


async def test_what_does_not_answer_fails_in_time(tmp_path: Path) -> None:
    async with stick(tmp_path, only("desk plug")) as simulation, application(simulation.port) as (app, events):
        await join(simulation, app, events)
        await simulation.control({"op": "power", "device": "desk plug", "on": False})
        began = time.monotonic()
        with pytest.raises((DeliveryError, TimeoutError)):
            await named(simulation, app, "desk plug").endpoints[1].on_off.on()
        assert time.monotonic() - began < 10


async def restored(target: Simulation, backup: NetworkBackup, wanted: Iterable[str]) -> None:
    """Put `backup` onto a blank stick and drive a device of the old network with it."""
    async with application(target.port, start=False) as (app, _events):
        await app.backups.restore_backup(backup, counter_increment=5000)
    async with application(target.port) as (app, _events):
        info = app.state.network_info
        assert app.state.node_info.ieee == backup.node_info.ieee
        assert (info.pan_id, info.channel) == (backup.network_info.pan_id, backup.network_info.channel)
        assert info.extended_pan_id == backup.network_info.extended_pan_id
        assert info.network_key.key == backup.network_info.network_key.key
        assert info.network_key.tx_counter >= backup.network_info.network_key.tx_counter + 5000
        assert info.nwk_update_id == backup.network_info.nwk_update_id
        hashed = backup.network_info.stack_specific["ezsp"]["hashed_tclk"]
        assert info.stack_specific["ezsp"]["hashed_tclk"] == hashed
        for name in wanted:
            node = target.network.named(name)
            assert node is not None
            device = app.add_device(t.EUI64.convert(ieee_text(node.ieee)), t.NWK(node.nwk))
            status, *_answer = await device.zdo.Node_Desc_req(device.nwk)
            assert status == zdo_t.Status.SUCCESS


async def test_a_backup_moves_the_network_onto_another_stick(tmp_path: Path) -> None:
    async with stick(tmp_path, only(*ONE_OF_EACH_KIND)) as first:
        async with application(first.port) as (app, events):
            await join(first, app, events)
            backup = await app.backups.create_backup(load_devices=True)
        await restored(first, NetworkBackup.from_dict(backup.as_dict()), ONE_OF_EACH_KIND)
        assert backup.is_complete()
        climate = first.network.named("bedroom climate")
        assert climate is not None
        children = {str(ieee) for ieee in backup.network_info.children}
        assert children == {ieee_text(climate.ieee)}
        nodes = first.network.snapshot()["nodes"]
    async with stick(tmp_path, only(*ONE_OF_EACH_KIND, ieee="00:12:4b:00:00:00:bb:02"), "other") as second:
        blank = {"params": None, "ieee": second.network.ieee, "frame_counter": 0, "link_keys": {}}
        second.network.restore({**blank, "nodes": nodes}, asyncio.get_running_loop().time())
        copy = NetworkBackup.from_dict(backup.as_dict())
        await restored(second, copy, ONE_OF_EACH_KIND)


async def test_the_whole_network_changes_its_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zigpy.application, "CHANNEL_CHANGE_BROADCAST_DELAY_S", 0.01)
    monkeypatch.setattr(zigpy.application, "CHANNEL_CHANGE_SETTINGS_RELOAD_DELAY_S", 0.01)
    async with stick(tmp_path, only("desk plug")) as simulation, application(simulation.port) as (app, events):
        await join(simulation, app, events)
        wanted = 11 if app.state.network_info.channel != 11 else 25
        await app.move_network_to_channel(wanted)
        assert app.state.network_info.channel == wanted
        await named(simulation, app, "desk plug").endpoints[1].on_off.on()


async def test_only_the_right_install_code_joins(tmp_path: Path) -> None:
    spec = only("desk plug", "living room bulb")
    spec["devices"][0] = {**spec["devices"][0], "install_code": INSTALL_CODE, "pairing": False}
    spec["devices"][1] = {**spec["devices"][1], "install_code": INSTALL_CODE, "pairing": False}
    coded, other = (simulated["name"] for simulated in spec["devices"])
    async with stick(tmp_path, spec) as simulation, application(simulation.port) as (app, events):
        right, wrong = simulation.network.named(coded), simulation.network.named(other)
        assert right is not None
        assert wrong is not None
        key = convert_install_code(bytes.fromhex(INSTALL_CODE))
        assert key is not None
        await app.permit_with_link_key(t.EUI64.convert(ieee_text(right.ieee)), key, 60)
        await app.permit_with_link_key(t.EUI64.convert(ieee_text(wrong.ieee)), t.KeyData(bytes(16)), 60)
        await simulation.control({"op": "pair", "device": other})
        await simulation.control({"op": "pair", "device": coded})
        await until(lambda: ieee_text(right.ieee) in events.initialized, 20, "the device with the right code")
        assert not wrong.joined
        assert ieee_text(wrong.ieee) not in events.initialized


async def test_it_works_over_a_bad_line(tmp_path: Path) -> None:
    """ASH of both ends repairs what the line loses and damages."""
    async with stick(tmp_path, only("desk plug"), faults="lost=0.01,corrupt=0.01") as simulation:
        async with application(simulation.port) as (app, events):
            await join(simulation, app, events)
            for _ in range(10):
                await named(simulation, app, "desk plug").endpoints[1].on_off.toggle()
        link = front_end(simulation).link
        assert link.counters.retransmissions + link.counters.naks_sent > 0
