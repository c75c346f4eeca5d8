"""Firmware updates of Bluetooth devices: SMP and legacy DFU, over bleak and a simulated BlueZ, with a fault in every step."""

from contextlib import suppress
from pathlib import Path

import pytest

from agent.driver import (
    DeviceRefused,
    DeviceUnreachable,
    DriverError,
    Firmware,
    InvalidParameters,
    NotSupported,
    UnknownDevice,
    UpdatesFirmware,
)
from agent.model import DeviceFound
from drivers.ble import dfu_update, link, smp_update
from drivers.sim.ble import gatt_calls
from drivers.sim.ble.firmware import APPLICATION, BOOTLOADER
from drivers.sim.ble.peripheral import UPDATE_STEPS
from tests.ble_update_rig import (
    BOOT,
    DFU,
    DFU_MODEL,
    MAKER,
    MODEL,
    MOVING,
    NEW,
    NEW_VERSION,
    OLD,
    PLAIN,
    SMP,
    UpdateRig,
    application,
    body,
    house,
    init_packet,
    mcuboot,
    package,
)
from tests.conformance.driver_contract import running
from tests.firmware_rig import nobody, updater

SPOILT = {  # what each kind of fault makes of an update
    ("smp-upload", "wrong_offset"): "wants octet",
    ("smp-upload", "bad_hash"): "its hash is another one",
    ("smp-upload", "refuse"): "it has no free slot",
    ("smp-mark", "refuse"): "it has no free slot",
    ("smp-reset", "refuse"): "it is busy",
    ("smp-reset", "reverts"): "runs the old one again",
    ("dfu-start", "refuse"): "did not take the image",
    ("dfu-init", "refuse"): "did not take the init packet",
    ("dfu-validate", "bad_hash"): "checksum is wrong",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that end, and devices that restart, a tenth as slowly as real ones."""
    for module, name, seconds in (
        (gatt_calls, "SUPERVISION", 0.02),
        (gatt_calls, "PAGE_TIMEOUT", 0.05),
        (link, "SETTLE", 0.03),
        (dfu_update, "SETTLE", 0.03),
        (dfu_update, "LOOK", 0.02),
        (smp_update, "LOOK", 0.05),
    ):
        monkeypatch.setattr(module, name, seconds)


async def version(driver: UpdatesFirmware, key: str) -> int:
    (told,) = await driver.firmware(key)
    return told.version


async def test_a_device_with_smp_runs_and_keeps_what_it_was_sent(tmp_path: Path) -> None:
    async with house(tmp_path, SMP) as (rig, watched, driver):
        assert await driver.firmware(SMP) == (Firmware(MAKER, MODEL, OLD),)
        image, told = mcuboot(), list[int]()
        at = len(watched.events)
        await driver.update_firmware(SMP, rig.file(image), progress=lambda done, _total: told.append(done))
        assert await version(driver, SMP) == NEW
        assert told == sorted(told)
        assert told[-1] == len(image)
        server = rig.updated(SMP)
        slots = server.document()["slots"]
        assert [(slot["version"], slot["confirmed"]) for slot in slots] == [(NEW_VERSION, True), ("1.0.0", True)]
        assert server.received == len(image)
        found = await watched.wait(DeviceFound, lambda found: found.device.firmware == NEW_VERSION, after=at)
        assert found.device.endpoints, "it is the device that it was"
        await driver.update_firmware(SMP, rig.file(image), progress=nobody)
        assert server.received == len(image), "what runs is not sent again"


async def test_an_upload_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    async with house(tmp_path, SMP, update_restart=0.4) as (rig, _, driver):
        image = mcuboot(body(6000))
        path, server, cuts = rig.file(image), rig.updated(SMP), iter((1000, 3000, 5000))
        due = next(cuts)

        def cut(done: int, _total: int) -> None:
            nonlocal due
            if done > due:
                due = next(cuts, len(image))
                rig.spoil(SMP, "smp-upload")

        rig.spoil(SMP, "smp-mark")
        with pytest.raises(DeviceUnreachable):
            await driver.update_firmware(SMP, path, progress=cut)
        assert due == len(image), "the connection was lost three times, and once before the restart"
        assert await version(driver, SMP) == OLD
        rig.spoil(SMP, "smp-reset")  # gone before its answer, and not restarted: asked once more by the next try
        with pytest.raises(DeviceUnreachable):
            await driver.update_firmware(SMP, path, progress=nobody)
        await driver.update_firmware(SMP, path, progress=nobody)
        assert await version(driver, SMP) == NEW
        print(f"octets sent again after five losses: {server.received - len(image)}")
        assert server.received == len(image)


async def test_what_is_in_the_slot_is_compared_before_the_restart(tmp_path: Path) -> None:
    async with house(tmp_path, SMP) as (rig, _, driver):

        def bend(done: int, total: int) -> None:
            if done == total:
                rig.spoil(SMP, "smp-state", "bad_hash")

        with pytest.raises(DeviceRefused, match="holds another image"):
            await driver.update_firmware(SMP, rig.file(mcuboot()), progress=bend)
        assert await version(driver, SMP) == OLD
        assert not rig.updated(SMP).document()["slots"][1]["pending"]


async def test_a_device_that_forgot_a_part_is_sent_it_again(tmp_path: Path) -> None:
    async with house(tmp_path, SMP) as (rig, _, driver):
        image = mcuboot(body(6000))

        def forget(done: int, _total: int) -> None:
            if done > 2000 and not rig.peripheral(SMP).faults:
                rig.spoil(SMP, "smp-upload", "rewind")

        await driver.update_firmware(SMP, rig.file(image), progress=forget)
        assert await version(driver, SMP) == NEW
        assert rig.updated(SMP).received > len(image)


async def test_dfu_leaves_the_application_and_comes_back_with_the_new_one(tmp_path: Path) -> None:
    async with house(tmp_path, DFU, MOVING) as (rig, watched, driver):
        path, at = rig.file(package(), "app.zip"), len(watched.events)
        for key in (DFU, MOVING):
            told = list[int]()
            await driver.update_firmware(key, path, progress=lambda done, _total, told=told: told.append(done))  # type: ignore[misc]
            assert await driver.firmware(key) == (Firmware(MAKER, DFU_MODEL, NEW),)
            assert told == [*range(20, len(application()), 20), len(application())]
            assert rig.updated(key).mode == APPLICATION
        assert all(
            event.device.endpoints and event.device.id.key != BOOT
            for event in watched.events[at:]
            if isinstance(event, DeviceFound)
        ), "a boot loader is not taken for the device"


async def test_a_device_that_is_stuck_in_its_boot_loader_is_helped(tmp_path: Path) -> None:
    """The connection is lost in the middle: the application is gone, and the boot loader begins anew, from the start."""
    async with house(tmp_path, DFU) as (rig, _, driver):
        path = rig.file(package(), "app.zip")
        rig.spoil(DFU, "dfu-packet")
        with pytest.raises(DeviceUnreachable):
            await driver.update_firmware(DFU, path, progress=nobody)
        assert rig.updated(DFU).mode == BOOTLOADER
        assert await version(driver, DFU) == OLD, "as it said last"
        await driver.update_firmware(DFU, path, progress=nobody)
        assert await version(driver, DFU) == NEW


@pytest.mark.parametrize("key", [SMP, MOVING])
async def test_a_device_may_vanish_in_every_step(tmp_path: Path, key: str) -> None:
    steps = [step for step in UPDATE_STEPS if step.startswith("smp" if key == SMP else "dfu")]
    async with house(tmp_path, key, update_restart=0.5) as (rig, _, driver):
        path = rig.file(mcuboot(body(600)) if key == SMP else package(application(size=300)))
        for step in steps:
            rig.spoil(BOOT if step.startswith("dfu") and step != "dfu-jump" else key, step)
        for tries in range(1, 3 * len(steps)):  # noqa: B007  printed
            with suppress(DeviceUnreachable):
                await driver.update_firmware(key, path, progress=nobody)
                break
        assert await version(driver, key) == NEW
        left = [one.faults for one in rig.simulation.world.peripherals.values()]
        assert not any(waiting for faults in left for waiting in faults.values()), "each step went wrong once"
        print(f"{len(steps)} steps in which the device vanished, {tries} tries")


async def test_what_goes_wrong_in_the_device_is_said(tmp_path: Path) -> None:
    async with house(tmp_path, SMP, DFU, update_restart=3) as (rig, _, driver):
        for (step, kind), says in SPOILT.items():
            key = SMP if step.startswith("smp") else DFU
            rig.spoil(key, step, kind)
            with pytest.raises(DeviceRefused, match=says):
                await driver.update_firmware(key, rig.file(mcuboot() if key == SMP else package()), progress=nobody)
            assert await version(driver, key) == OLD
        rig.spoil(DFU, "dfu-packet", "slow")
        for _ in range(30):
            rig.spoil(DFU, "dfu-packet", "wrong_offset")  # lost on their way
        with pytest.raises(DeviceUnreachable, match="was lost"):
            await driver.update_firmware(DFU, rig.file(package()), progress=nobody)


async def test_what_is_no_image_for_a_device_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with house(tmp_path, SMP, DFU, PLAIN) as (rig, _, driver):
        wrong = [
            (SMP, b"\x00" * 100, 0, InvalidParameters),
            (SMP, mcuboot()[:-1], 0, InvalidParameters),
            (SMP, mcuboot(), 3, InvalidParameters),
            (SMP, package(), 0, NotSupported),
            (DFU, mcuboot(), 0, NotSupported),
            (DFU, package(), 1, InvalidParameters),
            (DFU, package(init=init_packet(b"another")), 0, InvalidParameters),
            (PLAIN, mcuboot(), 0, NotSupported),
            (PLAIN, package(), 0, NotSupported),
            ("11:22:33:44:55:66", mcuboot(), 0, UnknownDevice),
        ]
        for key, content, target, error in wrong:
            with pytest.raises(error):
                await driver.update_firmware(key, rig.file(content), target=target, progress=nobody)
        with pytest.raises(InvalidParameters, match="cannot be read"):
            await driver.update_firmware(SMP, tmp_path / "nothing", progress=nobody)
        with pytest.raises(NotSupported):
            await driver.firmware(PLAIN)
        path = rig.file(package(application(), init_packet(application(), 7)))
        with pytest.raises(DeviceRefused, match="init packet"):
            await driver.update_firmware(DFU, path, progress=nobody)
        assert rig.updated(SMP).received == rig.updated(DFU).received == 0


async def test_a_device_that_is_away_runs_what_it_said_last(tmp_path: Path) -> None:
    async with house(tmp_path, SMP, connect_timeout=0.4) as (rig, watched, driver):
        await driver.firmware(SMP)
        await rig.control("power", "smp", on=False)
        await watched.stop()
        async with running(rig.driver()) as again:
            assert await version(updater(again), SMP) == OLD
            with pytest.raises(DriverError):
                await updater(again).update_firmware(SMP, rig.file(mcuboot()), progress=nobody)


async def test_the_simulator_keeps_what_a_device_runs(tmp_path: Path) -> None:
    async with house(tmp_path, SMP, DFU) as (rig, _, driver):
        await driver.update_firmware(SMP, rig.file(mcuboot()), progress=nobody)
        await driver.update_firmware(DFU, rig.file(package()), progress=nobody)
    rig = UpdateRig(tmp_path)
    await rig.start()
    try:
        assert [rig.updated(key).version for key in (SMP, DFU, MOVING)] == [NEW_VERSION, NEW_VERSION, "1.0.0"]
    finally:
        await rig.close()
