"""Who is taken in and what they say, on bleak's BlueZ back end and a simulated BlueZ."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.driver import DriverLost, InvalidParameters, NotNow
from agent.model import (
    Action,
    Availability,
    AvailabilityChanged,
    Device,
    DeviceEvent,
    DeviceFound,
    DeviceJoining,
    DeviceLost,
    Discovery,
    JoinWindow,
    Report,
)
from tests.ble_rig import (
    BUTTON,
    CLIMATE,
    EDDYSTONE,
    HEART,
    IBEACON,
    KEY,
    LAMP,
    LOCKED,
    ON_OFF,
    RUUVI,
    THERMOMETER,
    BleRig,
    ble_rig,
)
from tests.conformance.driver_contract import Watched, command, running
from tests.conftest import until

OTHER_KEY = "00112233445566778899aabbccddeeff"
ADAPTERS = {"adapters": ["hci0", "hci1"]}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[BleRig]:
    async with ble_rig(tmp_path) as rig:
        yield rig


async def found(rig: BleRig, watched: Watched, name: str, key: str, material: str = "") -> Device:
    before = len(watched.events)
    await watched.driver.discover(Discovery(f"d-{name}", "BLE", 60, material))
    await rig.control("pair", name)
    return (await watched.wait(DeviceFound, lambda f: f.device.id.key == key, after=before)).device


async def listening(rig: BleRig) -> None:
    """BlueZ has taken up the patterns of a passive scan."""
    await until(lambda: any(rig.simulation.world.adapters["hci0"].monitors.values()))


def offers(device: Device) -> set[tuple[str, str]]:
    return {(e.id, one.id.split(".")[1].split("@")[0]) for e in device.endpoints for one in e.capabilities}


@pytest.mark.parametrize(
    ("name", "key", "wanted"),
    [
        ("thermometer", THERMOMETER, {("1", "TemperatureMeasurement"), ("1", "PowerSource")}),
        ("tag", RUUVI, {("1", "TemperatureMeasurement"), ("1", "PressureMeasurement"), ("movements", "NumericSensor")}),
        ("url", EDDYSTONE, {("1", "OccupancySensing")}),
        ("beacon", IBEACON, {("1", "OccupancySensing")}),
        ("strap", HEART, {("heartRate", "NumericSensor"), ("1", "PowerSource")}),
        ("climate", CLIMATE, {("1", "TemperatureMeasurement"), ("1", "RelativeHumidityMeasurement")}),
    ],
)
async def test_each_kind_is_found_and_reports(rig: BleRig, name: str, key: str, wanted: set[tuple[str, str]]) -> None:
    async with running(rig.driver()) as watched:
        device = await found(rig, watched, name, key)
        assert wanted <= offers(device)
        assert (device.node_id, device.address) == (f"ble.{key.replace(':', '')}", key)
        for endpoint, capability in wanted:
            await watched.wait(
                Report,
                lambda r, e=endpoint, c=capability: (r.id.key, r.endpoint) == (key, e) and f".{c}@" in r.capability,
            )


async def test_a_changed_value_is_reported_and_can_be_read(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await found(rig, watched, "thermometer", THERMOMETER)
        before = len(watched.events)
        await rig.control("set", "thermometer", name="temperature", value=1875)
        await watched.wait(Report, lambda r: r.properties.get("MeasuredValue") == 1875, after=before)
        read = Action("1", "matter.TemperatureMeasurement@1.4", "ReadState", {"propertiesToRead": ["MeasuredValue"]})
        outcome = await watched.driver.execute(command(rig, read, key=THERMOMETER))
        assert outcome.results[0].values == {"MeasuredValue": 1875}
        await found(rig, watched, "climate", CLIMATE)
        outcome = await watched.driver.execute(command(rig, read, key=CLIMATE))
        assert outcome.results[0].values == {"MeasuredValue": 2100}


async def test_an_encrypted_button_needs_its_key_and_is_heard_once_for_each_press(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await rig.control("pair", "button")
        refused = await watched.wait(DeviceJoining, lambda j: j.id.key == BUTTON and j.stage == "failed")
        assert "--auth" in refused.detail
        device = await found(rig, watched, "button", BUTTON, KEY)
        assert device.secure
        for kind, presses in (("single", 1), ("double", 2), ("triple", 3)):
            before = len(watched.events)
            await rig.control("press", "button", kind=kind)
            await watched.wait(DeviceEvent, lambda e: e.event == "ShortRelease", after=before)
            await until(lambda: rig.simulation.world.peripherals[BUTTON].values["button"] == 0)
            events = [e for e in watched.events[before:] if isinstance(e, DeviceEvent)]
            assert [e.event for e in events].count("InitialPress") == 1
            assert [e.fields["TotalNumberOfPressesCounted"] for e in events if e.event == "MultiPressComplete"] == (
                [presses] if presses > 1 else []
            )
    assert rig.secrets.get("bindkey-" + BUTTON.replace(":", "")) == bytes.fromhex(KEY)


async def test_a_replay_and_a_spoof_in_clear_are_not_believed(rig: BleRig) -> None:
    driver = rig.driver()
    async with running(driver) as watched:
        await found(rig, watched, "button", BUTTON, KEY)
        button = rig.simulation.world.peripherals[BUTTON]
        button.sequence = 50
        old = button.payload().service_data
        button.sequence = 90
        before = len(watched.events)
        await rig.control("press", "button")
        await watched.wait(DeviceEvent, after=before)
        await rig.control("pair", "button", on=False)
        await driver.stop_discovery()
        await listening(rig)
        before, devices = len(watched.events), driver._running.devices
        data = {"0xFCD2": next(iter(old.values())).hex()}
        await rig.control("advert", address=BUTTON, service_data=data)
        await rig.control("advert", address=BUTTON, service_data={"0xFCD2": "403A01"})
        await until(lambda: devices.replayed >= 2)
        assert [e for e in watched.events[before:] if isinstance(e, DeviceEvent | Report)] == []
    again = rig.driver()
    async with running(again) as watched:  # nor after a restart
        await listening(rig)
        await rig.control("advert", address=BUTTON, service_data=data)
        await until(lambda: again._running.devices.replayed >= 1)
        assert [e for e in watched.events if isinstance(e, DeviceEvent)] == []


async def test_a_button_with_another_key_is_given_it_by_a_new_window(rig: BleRig) -> None:
    driver = rig.driver()
    async with running(driver) as watched:
        await found(rig, watched, "button", BUTTON, KEY)
        rig.simulation.world.peripherals[BUTTON].bindkey = bytes.fromhex(OTHER_KEY)
        await until(lambda: driver._running.devices.locked > 0)
        await driver.discover(Discovery("d2", "BLE", 60, f"{BUTTON}={KEY}"))
        before = len(watched.events)
        await driver.discover(Discovery("d3", "BLE", 60, f"{BUTTON}={OTHER_KEY}"))
        await watched.wait(DeviceFound, after=before)
        await rig.control("press", "button")
        await watched.wait(DeviceEvent, after=before)
    assert rig.secrets.get("bindkey-" + BUTTON.replace(":", "")) == bytes.fromhex(OTHER_KEY)


async def test_a_wrong_key_takes_nobody_in(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60, f"{BUTTON}={OTHER_KEY}"))
        await rig.control("pair", "button")
        refused = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert refused.detail == "wrong bindkey"
        assert OTHER_KEY not in str(watched.events)


async def test_a_passkey_makes_a_bond_which_a_removal_ends(rig: BleRig) -> None:
    peripheral = rig.simulation.world.peripherals[LOCKED]
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60, f"{LOCKED}=654321"))
        await rig.control("pair", "locked")
        refused = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert "pairing failed" in refused.detail
        assert not peripheral.bonded
        device = await found(rig, watched, "locked", LOCKED, f"{LOCKED}=123456")
        assert device.secure
        assert peripheral.bonded
        assert (await watched.driver.execute(command(rig, Action("1", ON_OFF, "On"), key=LOCKED))).succeeded
        assert peripheral.values["on"]
        await watched.driver.remove(LOCKED, force=False)
        await watched.wait(DeviceLost)
        assert not peripheral.bonded


async def test_a_bond_without_a_passkey(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        assert (await found(rig, watched, "lamp", LAMP, f"{LAMP}=pair")).secure
        assert rig.simulation.world.peripherals[LAMP].bonded
        await rig.simulation.stop_bluetoothd()
        await rig.simulation.start_bluetoothd()
    assert rig.simulation.world.tree.value("/org/bluez/hci0/dev_A4_C1_38_00_00_01", "org.bluez.Device1", "Bonded")


async def test_a_device_that_wants_a_bond_says_so(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60, LOCKED))
        await rig.control("pair", "locked")
        refused = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert "bond" in refused.detail
        assert "--auth" in refused.detail
        assert not rig.simulation.world.connected(LOCKED)
        await found(rig, watched, "locked", LOCKED, f"{LOCKED}=123456")


async def test_a_window_for_one_address_takes_no_other(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await rig.control("pair", "tag")
        await found(rig, watched, "thermometer", THERMOMETER, THERMOMETER)
        assert {f.device.id.key for f in watched.events if isinstance(f, DeviceFound)} == {THERMOMETER}


async def test_a_window_finds_who_was_heard_before_it_was_opened(rig: BleRig) -> None:
    driver = rig.driver()
    async with running(driver) as watched:
        await rig.control("pair", "beacon")
        await until(lambda: driver._running.seen.get(IBEACON))
        await rig.control("pair", "beacon", on=False)
        await driver.discover(Discovery("d1", "BLE", 60))
        await watched.wait(DeviceFound)


async def test_filters_take_strangers_as_raw_gatt_and_leave_out_the_weak(rig: BleRig) -> None:
    rig.simulation.world.peripherals[RUUVI].rssi = -95
    async with running(rig.driver(names=["la*"], rssi=-80)) as watched:
        await rig.control("pair", "tag")
        device = await found(rig, watched, "lamp", LAMP)
        assert device.unmapped == ("service 6e400001-b5a3-f393-e0a9-e50e24dcca9e",)
        assert (device.manufacturer, device.model, device.firmware) == ("Simulated", "S-1", "1.2.3")
        assert [f.device.id.key for f in watched.events if isinstance(f, DeviceFound)] == [LAMP]


async def test_who_is_silent_is_away_and_a_beacon_is_not_present(rig: BleRig) -> None:
    async with running(rig.driver(absent_after=0.4)) as watched:
        await found(rig, watched, "beacon", IBEACON)
        before = len(watched.events)
        await rig.control("power", "beacon", on=False)
        gone = await watched.wait(AvailabilityChanged, after=before)
        assert (gone.id.key, gone.availability) == (IBEACON, Availability.OFFLINE)
        await watched.wait(Report, lambda r: r.properties == {"Occupancy": 0}, after=before)
        with pytest.raises(NotNow):
            await watched.driver.refresh(IBEACON)
        before = len(watched.events)
        await rig.control("power", "beacon", on=True)
        back = await watched.wait(AvailabilityChanged, after=before)
        assert back.availability is Availability.ONLINE
        await watched.wait(Report, lambda r: r.properties == {"Occupancy": 1}, after=before)


async def test_a_backup_brings_devices_and_keys_back(rig: BleRig, tmp_path: Path) -> None:
    async with running(rig.driver()) as watched:
        await found(rig, watched, "button", BUTTON, KEY)
        document = await watched.driver.backup()
        await watched.driver.reset()
        with pytest.raises(DriverLost):
            await watched.task
    assert rig.secrets.names() == ()
    async with running(rig.driver()) as watched:
        with pytest.raises(InvalidParameters):
            await watched.driver.restore(b"{}")
        await watched.driver.restore(document)
        with pytest.raises(DriverLost):
            await watched.task
    async with running(rig.driver()) as watched:
        await watched.wait(DeviceFound, lambda f: f.known and f.device.id.key == BUTTON)
        await rig.control("press", "button")
        await watched.wait(DeviceEvent)


async def test_two_adapters_in_one_process(tmp_path: Path) -> None:
    async with ble_rig(tmp_path, ADAPTERS) as rig:
        first, second = rig.driver(), rig.driver(adapter="hci1", state="other")
        async with running(first) as one, running(second) as two:
            await first.discover(Discovery("d1", "BLE", 60))
            await rig.control("pair", "beacon")
            await one.wait(DeviceFound)
            await rig.control("adapter", adapter="hci1", present=False)
            with pytest.raises(DriverLost, match="hci1 was unplugged"):
                await two.task
            await found(rig, one, "lamp", LAMP)
            assert (await first.execute(command(rig, rig.good))).succeeded
        foreign = rig.driver(bus="unix:path=/nowhere")
        async with running(rig.driver()):
            with pytest.raises(DriverLost, match="another Bluetooth radio"):
                await foreign.run(lambda _: None)


async def test_raw_gatt_reads_writes_and_follows_any_device(rig: BleRig) -> None:
    driver, buffer = rig.driver(), "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
    async with running(driver):
        await rig.control("pair", "lamp")
        heard: list[str] = []
        await driver.gatt.scan(0.3, lambda advert: heard.append(advert.address))
        assert set(heard) == {LAMP}
        services = await driver.gatt.connect(LAMP)
        assert [len(s.characteristics) for s in services] == [1, 1, 3, 1]
        assert await driver.gatt.mtu(LAMP) == 247
        assert driver.gatt.rssi(LAMP) < 0
        assert await driver.gatt.read(LAMP, buffer) == b"\x00"
        told: list[bytes] = []
        await driver.gatt.subscribe(LAMP, buffer, told.append)
        await driver.gatt.write(LAMP, buffer, b"\x2a\x2b")
        await until(lambda: told == [b"\x2a\x2b"])
        name = "00002901-0000-1000-8000-00805f9b34fb"
        assert await driver.gatt.read_descriptor(LAMP, buffer, name) == b"buffer"
        await driver.gatt.write_descriptor(LAMP, buffer, name, b"other")
        assert await driver.gatt.read_descriptor(LAMP, buffer, name) == b"other"
        await rig.control("vanish", "lamp", seconds=0.3)
        await until(lambda: driver.gatt.connected() == ())
        await until(lambda: driver.gatt.connected() == (LAMP,))
        await rig.control("set", "lamp", name="buffer", value="07")
        await until(lambda: b"\x07" in told, what="a subscription outlives its connection")
        await driver.gatt.unsubscribe(LAMP, buffer, told.append)
        await driver.gatt.disconnect(LAMP)
        assert driver.gatt.connected() == ()


async def test_a_window_scans_actively_and_leaves_the_scan_as_it_was(rig: BleRig) -> None:
    adapter = rig.simulation.world.adapters["hci0"]
    async with running(rig.driver()) as watched:
        await until(lambda: adapter.monitors and not adapter.scanning)
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await until(lambda: adapter.scanning and not adapter.monitors)
        await watched.driver.stop_discovery()
        await until(lambda: adapter.monitors and not adapter.scanning)
        assert [w.seconds for w in watched.events if isinstance(w, JoinWindow)] == [0, 60, 0]
