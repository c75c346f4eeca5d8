"""Bad days of Bluetooth: bluetoothd, D-Bus and adapters that go, devices that vanish in each step, floods, and silence."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from agent.driver import DeviceUnreachable, DriverLost
from agent.model import Action, Availability, AvailabilityChanged, DeviceFound, DeviceJoining, Discovery, Report
from drivers.ble.silence import Step
from tests.ble_rig import HEART, KEY, LAMP, ON_OFF, THERMOMETER, BleRig, ble_rig, device
from tests.conformance.driver_contract import Watched, command, joined, running
from tests.conftest import until, until_async

ON, OFF = Action("1", ON_OFF, "On"), Action("1", ON_OFF, "Off")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[BleRig]:
    async with ble_rig(tmp_path) as rig:
        yield rig


async def lost(watched: Watched, match: str) -> DriverLost:
    with pytest.raises(DriverLost, match=match) as found:
        async with asyncio.timeout(10):
            await watched.task
    return found.value


async def comes_back(rig: BleRig) -> None:
    """A new driver finds the lamp again and switches it."""
    async with running(rig.driver()) as watched:
        await watched.wait(DeviceFound, lambda f: f.known and f.device.id.key == LAMP)
        assert (await watched.driver.execute(command(rig, ON))).succeeded


# ---- BlueZ and D-Bus ------------------------------------------------------------------------------------------------------


async def test_bluetoothd_is_killed_and_comes_back(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.simulation.stop_bluetoothd()
        await lost(watched, "bluetoothd is gone")
    with pytest.raises(DriverLost, match="bluetoothd does not run") as found:
        await rig.driver().run(lambda _: None)
    assert "systemctl" in found.value.remedy
    await rig.simulation.start_bluetoothd()
    await comes_back(rig)


async def test_a_bluetoothd_that_restarts_at_once_is_noticed_too(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.control("bluetoothd", seconds=0)
        await lost(watched, "bluetoothd is gone")
    await until(lambda: rig.simulation._service is not None)
    await comes_back(rig)


async def test_an_end_that_is_cancelled_half_way_holds_nothing(rig: BleRig) -> None:
    """The supervisor may stop a radio in the moment in which it is lost."""
    for turns in range(0, 40, 8):
        async with running(rig.driver()) as watched:
            watched.driver._running.bluez.lose("the test says so")
            for _ in range(turns):
                await asyncio.sleep(0)
            await watched.stop()
        with pytest.raises(DriverLost, match="cannot be reached"):
            await rig.driver(bus="unix:path=/nowhere").run(lambda _: None)


async def test_a_connection_that_a_killed_hub_has_left_is_made_anew(rig: BleRig) -> None:
    """BlueZ keeps a connection when the client that asked for it dies, and a connected device does not advertise."""
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
    bus = await MessageBus(rig.simulation.port).connect()
    path = f"/org/bluez/hci0/dev_{LAMP.replace(':', '_')}"
    await bus.call(Message("org.bluez", path, "org.bluez.Device1", "Connect"))
    await until(lambda: rig.simulation.world.tree.value(path, "org.bluez.Device1", "ServicesResolved"))
    # Bleak hears of it for all of this process, and must not do so in the next driver's time.
    await bus.call(Message("org.bluez", "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"))
    bus.disconnect()
    assert rig.simulation.world.connected(LAMP) == [path]
    async with running(rig.driver()) as watched:
        await watched.wait(AvailabilityChanged, lambda a: a.availability is Availability.ONLINE)
        await watched.wait(Report, lambda r: r.id.key == LAMP)


async def test_the_bus_is_killed_and_comes_back(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.simulation.stop_bus()
        await lost(watched, "D-Bus is gone|bluetoothd is gone")
    with pytest.raises(DriverLost, match="D-Bus cannot be reached") as found:
        await rig.driver().run(lambda _: None)
    assert found.value.place == rig.simulation.port
    await rig.simulation.start_bus()
    await comes_back(rig)


async def test_a_command_under_way_when_bluetoothd_dies_has_an_end(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.control("hang", "lamp")
        under_way = asyncio.create_task(watched.driver.execute(command(rig, ON)))
        await until(lambda: rig.simulation.gatt._open)
        await rig.simulation.stop_bluetoothd()
        async with asyncio.timeout(3):
            try:
                assert not (await under_way).succeeded
            except DriverLost as error:
                assert "bluetoothd" in str(error)  # noqa: PT017
        await lost(watched, "bluetoothd is gone")


async def test_an_adapter_that_is_switched_off_ends_the_run_and_the_next_switches_it_on(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.control("adapter", powered=False)
        await lost(watched, "was switched off")
    await comes_back(rig)
    assert rig.simulation.world.adapters["hci0"].powered


async def test_an_adapter_that_is_not_there_is_named_with_those_that_are(rig: BleRig) -> None:
    with pytest.raises(DriverLost, match="no adapter hci7; it has: hci0") as found:
        await rig.driver(adapter="hci7").run(lambda _: None)
    assert "adapter" in found.value.remedy


# ---- a device that vanishes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["connect", "services", "descriptor", "read", "notify"])
@pytest.mark.parametrize("kind", ["vanish", "hang"])
async def test_a_device_that_goes_in_a_step_of_its_interview_is_found_later(rig: BleRig, step: str, kind: str) -> None:
    async with running(rig.driver(answer_timeout=0.15, connect_timeout=0.4)) as watched:
        await rig.control("fault", "lamp", step=step, kind=kind, seconds=0.1)
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await rig.join()

        async def again() -> bool:
            """Once it failed, a person asks for it again."""
            if any(isinstance(e, DeviceJoining) and e.stage == "failed" for e in watched.events):
                watched.events[:] = [e for e in watched.events if not isinstance(e, DeviceJoining)]
                await watched.driver.discover(Discovery("d2", "BLE", 60))
            return any(isinstance(e, DeviceFound) for e in watched.events)

        await until_async(again, bool, timeout=15)
        await until_async(lambda: watched.driver.execute(command(rig, ON)), lambda o: bool(o.succeeded), timeout=15)
        assert rig.simulation.world.peripherals[LAMP].values["on"]


@pytest.mark.parametrize("kind", ["vanish", "hang", "fail"])
async def test_a_device_that_goes_while_it_is_written_to_has_an_outcome_and_is_back(rig: BleRig, kind: str) -> None:
    async with running(rig.driver(answer_timeout=0.3)) as watched:
        await joined(rig, watched)
        await rig.control("fault", "lamp", step="write", kind=kind, seconds=0.15)
        outcome = await watched.driver.execute(command(rig, ON))
        assert [r.code for r in outcome.results] == [502 if kind == "fail" else 504]
        assert (await watched.driver.execute(command(rig, ON))).succeeded


async def test_bluez_that_is_busy_is_asked_again(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        for step in ("connect", "read", "write"):
            await rig.control("fault", "lamp", step=step, kind="in_progress", count=2)
        await joined(rig, watched)
        assert (await watched.driver.execute(command(rig, ON))).succeeded


async def test_a_slow_connection_is_waited_for_and_one_that_never_comes_is_not(rig: BleRig) -> None:
    async with running(rig.driver(connect_timeout=0.6)) as watched:
        await rig.control("fault", "lamp", step="connect", kind="slow", seconds=0.2)
        await joined(rig, watched)
        await rig.control("power", "lamp", on=False)
        await until(lambda: not rig.simulation.world.connected(LAMP))
        with pytest.raises(DeviceUnreachable):
            await watched.driver.refresh(LAMP)


async def test_more_devices_than_places_take_turns(tmp_path: Path) -> None:
    lamps = [device(f"lamp {n}", "gatt-lamp", f"A4:C1:38:00:01:0{n}", pairing=True) for n in range(3)]
    async with ble_rig(tmp_path, {"devices": lamps}, connections=1) as rig, running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        keys = [lamp["address"] for lamp in lamps]
        for key in keys:
            await watched.wait(DeviceFound, lambda f, k=key: f.device.id.key == k)
        for key in keys:
            assert (await watched.driver.execute(command(rig, ON, key=key))).succeeded
        assert len([k for k in keys if rig.simulation.world.connected(k)]) == 1
        assert all(p.values["on"] for p in rig.simulation.world.peripherals.values())


async def test_who_only_waits_gets_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.ble.links.TURN", 0.1)
    lamps = [device(f"lamp {n}", "gatt-lamp", f"A4:C1:38:00:01:0{n}", pairing=True) for n in range(2)]
    async with ble_rig(tmp_path, {"devices": lamps}, connections=1) as rig, running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        for lamp in lamps:
            await watched.wait(DeviceFound, lambda f, k=lamp["address"]: f.device.id.key == k)
        for lamp in lamps:
            await rig.control("set", lamp["name"], name="on", value=True)
            told = await watched.wait(
                Report, lambda r, k=lamp["address"]: r.id.key == k and r.properties.get("OnOff") is True
            )
            assert told.capability == ON_OFF


async def test_connections_that_come_and_go_leave_no_file_open(rig: BleRig) -> None:
    driver = rig.driver()
    async with running(driver) as watched:
        await joined(rig, watched)
        files = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            await rig.control("vanish", "lamp", seconds=0)
            await until(lambda: not driver.gatt.connected())
            await until(driver.gatt.connected)
        assert len(list(Path("/proc/self/fd").iterdir())) <= files + 1


# ---- silence and floods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mute", "steps"),
    [("scan", [Step.RESTART_SCAN]), ("power", [Step.RESTART_SCAN, Step.POWER_CYCLE])],
)
async def test_a_scan_that_silently_stopped_is_woken_up(rig: BleRig, mute: str, steps: list[Step]) -> None:
    driver = rig.driver(silence=0.3)
    async with running(driver) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await rig.control("pair", "thermometer")
        await watched.wait(DeviceFound)
        silence = driver._running.silence
        await rig.control("adapter", mute=mute)
        before = len(watched.events)
        await rig.control("set", "thermometer", name="temperature", value=3333)
        await watched.wait(Report, lambda r: r.properties.get("MeasuredValue") == 3333, after=before)
        assert [step for step, count in silence.taken.items() if count] == steps


async def test_an_adapter_that_stays_silent_is_reported(rig: BleRig) -> None:
    async with running(rig.driver(silence=0.15)) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await rig.control("pair", "thermometer")
        await watched.wait(DeviceFound)
        await rig.control("adapter", mute="never")
        await lost(watched, "nothing is heard, also after the scan was restarted and the adapter switched off and on")


async def test_a_flood_of_adverts_is_bounded_and_commands_go_on(tmp_path: Path) -> None:
    """1,000 adverts a second from 300 addresses, each of which says something else, and the lamp obeys meanwhile."""
    spec = {"passive": False, "temporary": 0.5}
    async with ble_rig(tmp_path, spec, known=64, answer_timeout=10) as rig:
        driver = rig.driver()
        async with running(driver) as watched:
            await joined(rig, watched)
            sizes = []
            for _ in range(3):
                before = driver._running.seen.adverts
                await rig.control("flood", rate=1000, seconds=0.5, addresses=300)
                for action in (ON, OFF):
                    assert (await driver.execute(command(rig, action))).succeeded
                await until(lambda b=before: driver._running.seen.adverts >= b + 490, timeout=15)
                sizes.append(resident())
            assert len(driver._running.seen) <= 64
            assert driver._running.seen.forgotten > 1000
            assert sizes[2] - sizes[1] < 8_000_000, sizes


def resident() -> int:
    """Octets of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_malformed_adverts_of_a_known_device_change_nothing(rig: BleRig) -> None:
    driver = rig.driver()
    async with running(driver) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await rig.control("pair", "thermometer")
        await watched.wait(DeviceFound)
        await rig.control("pair", "thermometer", on=False)
        await watched.driver.stop_discovery()
        adapter = rig.simulation.world.adapters["hci0"]
        await until(lambda: any(adapter.monitors.values()))
        before, heard = len(watched.events), driver._running.seen.adverts
        for data in ("40", "4002", "4002CA", "41", "41" + "00" * 20, "60FF", "4053FF41", "00"):
            await rig.control("advert", address=THERMOMETER, service_data={"0xFCD2": data})
        await until(lambda: driver._running.seen.adverts >= heard + 8)
        assert [e for e in watched.events[before:] if isinstance(e, Report)] == []
        await rig.control("advert", address=THERMOMETER, service_data={"0xFCD2": "4002CA09"})
        await watched.wait(Report, lambda r: r.properties == {"MeasuredValue": 2506}, after=before)


async def test_a_strap_that_is_lost_and_found_goes_on_telling(rig: BleRig) -> None:
    async with running(rig.driver(absent_after=0.2)) as watched:
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await rig.control("pair", "strap")
        await watched.wait(Report, lambda r: r.id.key == HEART and r.endpoint == "heartRate")
        before = len(watched.events)
        await rig.control("power", "strap", on=False)
        states = [await watched.wait(AvailabilityChanged, after=before)]
        before = len(watched.events)
        await rig.control("power", "strap", on=True)
        states.append(await watched.wait(AvailabilityChanged, after=before))
        assert [s.availability for s in states] == ["offline", "online"]
        await rig.control("set", "strap", name="rate", value=88)
        await watched.wait(Report, lambda r: r.properties.get("MeasuredValue") == 88, after=before)


async def test_a_disk_that_takes_nothing_takes_nobody_in(rig: BleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "devices.json")

    async with running(rig.driver()) as watched:
        with monkeypatch.context() as patch:
            patch.setattr("drivers.ble.book.write_atomic", full)
            await watched.driver.discover(Discovery("d1", "BLE", 60))
            await rig.control("pair", "thermometer")
            failed = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
            assert "No space left" in failed.detail
        await watched.driver.discover(Discovery("d2", "BLE", 60))
        await watched.wait(DeviceFound)


async def test_a_store_that_keeps_no_key_is_said(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        folder = rig.state_dir / "secrets"
        folder.write_text("no folder")
        await watched.driver.discover(Discovery("d1", "BLE", 60, KEY))
        await rig.control("pair", "button")
        failed = await watched.wait(DeviceJoining, lambda j: j.stage == "failed")
        assert KEY not in failed.detail
        assert not [e for e in watched.events if isinstance(e, DeviceFound)]
