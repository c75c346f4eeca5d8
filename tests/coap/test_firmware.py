"""Firmware of CoAP devices by the Firmware Update object of LwM2M, in blocks, on simulated devices."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from device_rig import Fleet
from hypothesis import given
from hypothesis import strategies as st

from agent.driver import DeviceRefused, DeviceUnreachable, Firmware, InvalidParameters, NotSupported, UnknownDevice
from agent.model import DeviceFound
from agent.ota.plan import State
from drivers.coap import firmware
from drivers.coap.client import Incomplete
from drivers.sim.coap.firmware import LARGEST, FirmwareObject, Taken, package
from tests.conformance.coap_rig import CoapRig, Made
from tests.conformance.driver_contract import Watched, joined, running
from tests.conftest import examples
from tests.firmware_rig import nobody
from tests.stick_home import StickHome

NEW = 0x01020003
LAMP = {"name": "lamp", "profile": "updatable"}
FILE = package("1.2.3", bytes(range(256)) * 20)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "LOOK", 0.05)


@asynccontextmanager
async def up(make: Made, *devices: dict[str, Any]) -> AsyncIterator[tuple[CoapRig, Watched, Any]]:
    rig = await make(*devices)
    rig.settings["update_restart"] = 3.0
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        yield rig, watched, watched.driver


def taker(rig: CoapRig) -> FirmwareObject:
    found = rig.simulation.devices["lamp"].firmware
    assert found is not None
    return found


async def test_a_device_runs_what_it_was_sent_in_blocks_of_its_size(make: Made) -> None:
    async with up(make, LAMP) as (rig, watched, driver):
        assert await driver.firmware(rig.key) == (Firmware("Tern", "Lamp", 0x01000000),)
        path, told, at = rig.folder / "it.bin", list[int](), len(watched.events)
        path.write_bytes(FILE)
        await driver.update_firmware(rig.key, path, progress=lambda done, _total: told.append(done))
        assert await driver.firmware(rig.key) == (Firmware("Tern", "Lamp", NEW),)
        assert told == [1024, *range(1536, len(FILE), 512), len(FILE)], "the device wants smaller blocks than the first"
        assert taker(rig).received == len(FILE)
        await watched.wait(DeviceFound, lambda found: found.device.firmware == "1.2.3", after=at)


async def test_a_transfer_goes_on_at_the_block_that_was_not_acknowledged(make: Made) -> None:
    async with up(make, LAMP) as (rig, _, driver):
        path = rig.folder / "it.bin"
        path.write_bytes(FILE)

        def cut(done: int, _total: int) -> None:
            if done == 2048:
                rig.simulation.devices["lamp"].silent_until = float("inf")

        with pytest.raises(DeviceUnreachable):
            await driver.update_firmware(rig.key, path, progress=cut)
        rig.simulation.devices["lamp"].silent_until = 0.0
        await driver.update_firmware(rig.key, path, progress=nobody)
        assert await driver.firmware(rig.key) == (Firmware("Tern", "Lamp", NEW),)
        assert taker(rig).received == len(FILE), "no octet was sent twice"


async def test_a_device_that_forgot_the_blocks_gets_them_anew_once(make: Made) -> None:
    async with up(make, LAMP) as (rig, _, driver):
        path = rig.folder / "it.bin"
        path.write_bytes(FILE)

        def forget(done: int, _total: int) -> None:
            if done == 4096:
                taker(rig).spoil.append("forget")

        with pytest.raises(Incomplete):
            await driver.update_firmware(rig.key, path, progress=forget)
        await driver.update_firmware(rig.key, path, progress=nobody)
        assert await driver.firmware(rig.key) == (Firmware("Tern", "Lamp", NEW),)


async def test_what_goes_wrong_is_said_and_the_device_runs_what_it_ran(make: Made) -> None:
    async with up(make, LAMP, {"name": "plain", "profile": "light"}) as (rig, _, driver):
        path, plain = rig.folder / "it.bin", f"127.0.0.1-{rig.port('plain')}"
        for spoilt, says in (("damage", "the package is damaged"), ("fail", "the update failed")):
            path.write_bytes(FILE)
            await rig.control("spoil", kind=spoilt)
            with pytest.raises(DeviceRefused, match=says):
                await driver.update_firmware(rig.key, path, progress=nobody)
        path.write_bytes(b"something else")
        with pytest.raises(DeviceRefused, match="packages of this kind"):
            await driver.update_firmware(rig.key, path, progress=nobody)
        for key, target, error in ((plain, 0, NotSupported), (rig.key, 1, InvalidParameters), ("no", 0, UnknownDevice)):
            with pytest.raises(error):
                await driver.update_firmware(key, path, target=target, progress=nobody)
        with pytest.raises(InvalidParameters, match="cannot be read"):
            await driver.update_firmware(rig.key, rig.folder / "nothing", progress=nobody)
        with pytest.raises(NotSupported):
            await driver.firmware(plain)
        assert await driver.firmware(rig.key) == (Firmware("Tern", "Lamp", 0x01000000),)


async def test_a_signed_release_updates_a_device(make: Made, tmp_path: Path) -> None:
    async with up(make, LAMP) as (rig, watched, driver):
        home = StickHome("coap")
        hub = Fleet(tmp_path / "hub", home)
        device = {"manufacturer": "Tern", "products": ["Lamp"]}
        document = hub.release(7, FILE, kind="coap", device=device, file_version=NEW)
        with home.with_driver(watched):
            task = await hub.to_the_end(document, start=False)
        assert task.state == State.SUCCEEDED, task
        assert await driver.firmware(rig.key) == (Firmware("Tern", "Lamp", NEW),)


@examples(1)
@given(st.lists(st.tuples(st.integers(0, 64), st.booleans(), st.binary(max_size=32)), max_size=6))
def test_the_simulated_object_takes_any_blocks(blocks: list[tuple[int, bool, bytes]]) -> None:
    made = FirmwareObject("1.0.0")
    for offset, more, payload in blocks:
        assert made.write(offset, more, payload) in Taken
        made.update()
        made.begin()
        assert made.version == "1.0.0"


def test_the_simulated_object_has_only_so_much_room() -> None:
    made = FirmwareObject("1.0.0")
    assert made.write(0, True, bytes(LARGEST)) is Taken.MORE
    assert made.write(LARGEST, False, b"x") is Taken.TOO_LARGE
