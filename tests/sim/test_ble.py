"""The simulated BlueZ by itself: its home file, its control socket, its capture, and `agent simulate`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.bluetooth4LE import BTLE, BTLE_ADV_IND

from agent.errors import ConfigError
from drivers.sim.ble import air, house
from drivers.sim.ble.control import Control
from drivers.sim.ble.gatt_calls import Gatt
from drivers.sim.ble.objects import Added, Changed, Refusal, Removed
from drivers.sim.ble.payloads import Payload, ibeacon
from drivers.sim.ble.profiles import PROFILES, PROXIMITY
from drivers.sim.ble.world import World
from drivers.sim.home import load
from drivers.sim.requests import ControlError

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "config" / "examples" / "ble.toml"


def a_world(**spec: Any) -> tuple[World, Control]:
    made = house.read("ble", {"kind": "ble", "devices": [{"name": "lamp", "profile": "gatt-lamp"}], **spec})
    world = World(made.adapters, temporary=2.0)
    for one in made.peripherals:
        world.peripherals[one.address] = one
    control = Control(world, Gatt(world))
    world.tree.out.clear()
    for adapter in world.adapters.values():
        adapter.scanning.add(":1.1")
    return world, control


def test_the_example_has_one_of_each_kind() -> None:
    made = house.read("ble", load(EXAMPLE)["ble"])
    assert {one.kind for one in made.peripherals} == set(PROFILES)
    assert [adapter.name for adapter in made.adapters] == ["hci0", "hci1"]
    assert len(made.scripts) == 1


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"adapters": ["usb0"]}, "radios.ble"),
        ({"port": "tcp"}, "radios.ble"),
        ({"devices": [{"profile": "toaster"}]}, "radios.ble.devices[0]"),
        ({"devices": [{"profile": "ruuvi", "address": "12:34"}]}, "radios.ble.devices[0]"),
        ({"devices": [{"profile": "bthome-button", "bindkey": "00"}]}, "radios.ble.devices[0]"),
        ({"devices": [{"profile": "gatt-lamp", "passkey": "12"}]}, "radios.ble.devices[0]"),
        ({"devices": [{"profile": "gatt-lamp", "values": {"smell": 1}}]}, "radios.ble.devices[0]"),
        ({"devices": [{"profile": "ruuvi", "address": "A4:C1:38:00:00:01"}] * 2}, "radios.ble.devices[1]"),
        ({"devices": [{"profile": "ruuvi", "firmware": {"version": "1.0.0"}}]}, "radios.ble.devices[0]"),
        ({"devices": [{"profile": "smp-lamp", "firmware": {"version": "one"}}]}, "radios.ble.devices[0].firmware"),
        ({"devices": [{"profile": "dfu-lamp", "firmware": {"moves": "far"}}]}, "radios.ble.devices[0].firmware"),
    ],
)
def test_a_home_that_cannot_be_names_its_place_and_remedy(spec: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as found:
        house.read("ble", {"kind": "ble", **spec})
    assert found.value.place == place
    assert found.value.remedy


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "dance"},
        {"op": "set", "device": "lamp", "name": "smell", "value": 1},
        {"op": "set", "device": "nobody", "name": "on", "value": True},
        {"op": "set", "device": "lamp", "name": "on", "value": 7},
        {"op": "press", "device": "lamp"},
        {"op": "drift", "device": "lamp", "name": "on", "by": 1},
        {"op": "fault", "device": "lamp", "step": "dance"},
        {"op": "fault", "device": "lamp", "step": "read", "kind": "explode"},
        {"op": "adapter", "adapter": "hci9"},
        {"op": "adapter", "mute": "loudly"},
        {"op": "advert", "service_data": {"0xFCD2": "zz"}},
        {"op": "load"},
        {"op": "power", "device": "lamp", "on": "yes"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_changes_nothing(request_: dict[str, Any]) -> None:
    world, control = a_world()
    with pytest.raises(ControlError):
        control.prepare(request_)(0.0)
    assert world.tree.out == []


def test_a_device_appears_changes_and_is_forgotten() -> None:
    world, control = a_world()
    control.prepare({"op": "advert", "address": "C1:00:00:00:00:01", "manufacturer": {"1": "aa"}})(0.0)
    control.prepare({"op": "advert", "address": "C1:00:00:00:00:01", "manufacturer": {"1": "bb"}})(0.5)
    control.prepare({"op": "advert", "address": "C1:00:00:00:00:01", "manufacturer": {"1": "bb"}})(0.6)
    appeared, changed, again = world.tree.out
    assert isinstance(appeared, Added)
    assert isinstance(changed, Changed)
    assert isinstance(again, Changed)
    assert set(changed.properties) == {"RSSI", "ManufacturerData"}
    assert set(again.properties) == {"RSSI"}
    world.peripherals.clear()
    world.start(1.0)
    world.poll(5.0)
    assert isinstance(world.tree.out[-1], Removed)


def test_nobody_scans_and_nobody_hears() -> None:
    world, control = a_world()
    world.adapters["hci0"].scanning.clear()
    control.prepare({"op": "advert", "manufacturer": {"1": "aa"}})(0.0)
    assert world.tree.out == []


def test_calls_to_what_is_not_there_are_refused_as_dbus_does() -> None:
    from drivers.sim.ble.objects import Call  # noqa: PLC0415

    world, _ = a_world()
    world.call(Call(1, ":1.1", "/org/bluez/hci0/dev_00", "org.bluez.Device1", "Connect"), 0.0)
    world.call(Call(2, ":1.1", "/org/bluez/hci0", "org.bluez.Adapter1", "Dance"), 0.0)
    names = [one.name.rpartition(".")[2] for one in world.tree.out if isinstance(one, Refusal)]
    assert names == ["UnknownObject", "UnknownMethod"]


def test_a_captured_advert_is_read_by_a_foreign_decoder() -> None:
    for address, payload in (("C0:00:00:00:00:05", ibeacon(PROXIMITY, 1, 2)), ("A4:C1:38:00:00:01", Payload("lamp"))):
        read = BTLE(air.frame(address, payload))
        assert read.access_addr == 0x8E89BED6
        assert read[BTLE_ADV_IND].AdvA == address.lower()
        assert bytes(read)[-3:] == air.frame(address, payload)[-3:]
        assert BTLE.compute_crc(bytes(read)[4:-3]) == air.frame(address, payload)[-3:]


def test_agent_simulate_prints_the_bus_and_obeys_on_its_control_socket(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (function,) = (line for line in readme.splitlines() if line.startswith("sim() {"))
    simulate = [sys.executable, "-m", "agent.cli", "simulate", str(EXAMPLE), "--links", str(tmp_path)]
    with subprocess.Popen([*simulate, "--capture", str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = json.loads(process.stdout.readline())
            script = f"""{function}\nsim '{{"op": "list"}}'""".replace("/tmp/home/zigbee.control", line["control"])
            told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=30)
        finally:
            process.terminate()
    assert (line["radio"], line["kind"]) == ("ble", "ble")
    assert line["port"].startswith("unix:path=")
    assert len(json.loads(told.stdout)["devices"]) == 12  # one is two: its boot loader has an address of its own
    assert process.returncode == 0
    assert (tmp_path / "ble.pcap").stat().st_size >= 24
