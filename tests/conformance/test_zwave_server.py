"""The driver contract on a real @zwave-js/server: users of Z-Wave JS UI move in without pairing anything again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from conftest import until, until_async

from agent.driver import Asking, DriverError, DriverLost, Excluding, Expecting, InvalidParameters, NotNow, UnknownDevice
from agent.model import (
    Action,
    AvailabilityChanged,
    Command,
    Device,
    DeviceAwake,
    DeviceEvent,
    DeviceFound,
    DeviceJoining,
    DeviceLost,
    Discovery,
    Exclusion,
    JoinWindow,
    RadioUp,
    Report,
)
from drivers.zwave.security import dsk, qr
from tests.conformance.driver_contract import DriverContract, Watched, command, running, shows
from tests.conformance.zwave_server_rig import Server, ServerRig, server
from tests.conformance.zwave_sim_rig import ON_OFF, SimRig

SMART_START = 4  # InclusionState
LOCK = "matter.DoorLock@1.4"
pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all tests: it takes seconds to start."""
    async with server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def rig(shared: Server, tmp_path: Path) -> AsyncIterator[ServerRig]:
    yield ServerRig(tmp_path, shared)
    await shared.clear()


class TestServer(DriverContract):
    """All of DriverContract."""


@pytest_asyncio.fixture(loop_scope="module")
async def own(tmp_path: Path) -> AsyncIterator[SimRig]:
    """The same devices behind our own driver."""
    rig = SimRig(tmp_path / "own", "800")
    rig.folder.mkdir()
    await rig.start()
    yield rig
    await rig.close()


async def join(rig: ServerRig | SimRig, watched: Watched, device: str, material: str = "") -> Device:
    before = len(watched.events)
    await watched.driver.discover(Discovery("d1", "ZWAVE", 60, material))
    await rig.join(device)
    found = await watched.wait(DeviceFound, after=before, timeout=60)
    await watched.driver.stop_discovery()
    return found.device


def state(watched: Watched, device: Device) -> dict[tuple[str, str, str], Any]:
    """All that was reported of a device, the newest value of each property."""
    return {
        (one.endpoint, one.capability, name): value
        for one in watched.events
        if isinstance(one, Report) and one.id == device.id
        for name, value in one.properties.items()
    }


def same(ours: Device, theirs: Device) -> None:
    """Equal but for what names a device."""
    assert replace(theirs, id=ours.id, node_id=ours.node_id, address=ours.address) == ours


def done(rig: ServerRig, device: Device, capability: str, name: str, place: str = "0", **values: Any) -> Command:
    return command(rig, Action(place, f"matter.{capability}@1.4", name, values), key=device.id.key)


async def test_devices_are_the_same_as_behind_our_own_driver_and_obey(rig: ServerRig, own: SimRig) -> None:
    async with running(rig.driver()) as theirs, running(own.driver()) as ours:
        pins = [(await one.label("lock"))[:5] for one in (own, rig)]
        locks = await asyncio.gather(join(own, ours, "lock", pins[0]), join(rig, theirs, "lock", pins[1]))
        strips = await asyncio.gather(join(own, ours, "strip"), join(rig, theirs, "strip"))
        for our, their in (locks, strips):
            same(our, their)
            assert their.secure
            await asyncio.gather(ours.driver.refresh(our.id.key), theirs.driver.refresh(their.id.key))
            known = state(ours, our)
            await until(lambda known=known, their=their: known.items() <= state(theirs, their).items())  # type: ignore[misc]
        lock, strip = locks[1], strips[1]
        assert lock.address == await rig.label("lock")
        assert (await theirs.driver.execute(done(rig, lock, "DoorLock", "UnlockDoor"))).succeeded
        await theirs.wait(Report, shows(("0", LOCK, "LockState", 2)))
        before = len(theirs.events)
        await rig.server.control("set", "lock", name="locked", value=True)
        await theirs.wait(Report, shows(("0", LOCK, "LockState", 1)), after=before)
        await theirs.wait(DeviceEvent, lambda e: e.event == "LockOperation", after=before)
        assert (await theirs.driver.execute(done(rig, strip, "OnOff", "On", "2"))).succeeded
        await theirs.wait(Report, shows(("2", ON_OFF, "OnOff", True)))
        read = await theirs.driver.execute(done(rig, strip, "OnOff", "ReadState", "2", propertiesToRead=["OnOff"]))
        assert dict(read.results[0].values) == {"OnOff": True}


async def test_a_sleeping_device_is_left_alone_until_it_wakes_up(rig: ServerRig, own: SimRig) -> None:
    async with running(rig.driver()) as theirs, running(own.driver()) as ours:
        our, their = await asyncio.gather(join(own, ours, "thermostat"), join(rig, theirs, "thermostat"))
        same(our, their)
        key = their.id.key
        await rig.server.control("sleep", "thermostat")
        warm = done(rig, their, "Thermostat", "UpdateState", OccupiedHeatingSetpoint=2350)
        await until_async(lambda: rig.server.host.call("status", node=int(key)), lambda status: status == 1)
        with pytest.raises(NotNow):
            await theirs.driver.execute(warm)
        with pytest.raises(NotNow):
            await theirs.driver.refresh(key)
        before = len(theirs.events)
        await rig.server.control("wake", "thermostat")
        await theirs.wait(DeviceAwake, after=before)
        assert (await theirs.driver.execute(warm)).succeeded
        await theirs.wait(Report, shows(("0", "matter.Thermostat@1.4", "OccupiedHeatingSetpoint", 2350)), after=before)
        offline = [e for e in theirs.events if isinstance(e, AvailabilityChanged) and e.availability == "offline"]
        assert offline == []


async def test_a_backup_is_taken_and_restored(rig: ServerRig) -> None:
    async with running(rig.driver()) as watched:
        document = await watched.driver.backup()
        with pytest.raises(InvalidParameters, match="no backup"):
            await watched.driver.restore(b"{}")
        home = next(e.identity for e in watched.events if isinstance(e, RadioUp))
        await watched.driver.restore(document)
        with pytest.raises(DriverLost):
            await watched.task
    await until_async(lambda: rig.server.host.call("up"), bool, 30)
    async with running(rig.driver()) as watched:
        assert next(e.identity for e in watched.events if isinstance(e, RadioUp)) == home


async def test_a_server_that_dies_and_comes_back(rig: ServerRig) -> None:
    async with running(rig.driver()) as watched:
        plug = await join(rig, watched, "plug")
        await rig.server.kill()
        with pytest.raises(DriverLost):
            await watched.task
    with pytest.raises(DriverLost, match="no zwave-js-server answers"):
        await rig.driver().run(lambda _: None)
    await rig.server.start()
    async with running(rig.driver()) as watched:
        assert (await watched.wait(DeviceFound)).device == plug
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded


async def test_a_smart_start_device_joins_by_itself(rig: ServerRig) -> None:
    async with running(rig.driver()) as watched:
        code = qr.compose(0x03, dsk.from_text(await rig.label("smart")), [])
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, code))
        await watched.wait(JoinWindow, lambda e: e.seconds > 0)
        await watched.driver.stop_discovery()
        await until_async(lambda: rig.server.host.call("state"), lambda state: state == SMART_START)
        driver, label = watched.driver, await rig.label("smart")
        assert isinstance(driver, Expecting)
        assert await driver.expected() == [label]
        assert [await driver.expect_no_more(label) for _ in range(2)] == [True, False]
        await watched.driver.discover(Discovery("d2", "ZWAVE", 60, code))
        await watched.driver.stop_discovery()
        await rig.join("smart")
        found = (await watched.wait(DeviceFound, timeout=60)).device
        assert found.sleepy
        assert found.secure
        assert await driver.expected() == []


async def test_a_person_is_asked_for_the_pin_of_a_lock(rig: ServerRig) -> None:
    async with running(rig.driver()) as watched:
        asking = watched.driver
        assert isinstance(asking, Asking)
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, attended=True))
        await rig.join("lock")
        question = await watched.wait(DeviceJoining, lambda e: e.stage == "pin", timeout=30)
        label = await rig.label("lock")
        assert question.seconds == 240
        assert question.detail == f"the 5 digits before {label[dsk.DIGITS :]}, underlined on its label"
        with pytest.raises(InvalidParameters, match="five digits"):
            await asking.reply(question.id.key, "1234")
        with pytest.raises(NotNow):
            await asking.reply("77", label[:5])
        await asking.reply(question.id.key, label[:5])
        found = await watched.wait(DeviceFound, timeout=60)
        assert found.device.address == label
        said = {e.stage: e.detail for e in watched.events if isinstance(e, DeviceJoining)}
        assert said["securing"] == "the device asks for S2 Access Control; it may have S2 Access Control"
        with pytest.raises(NotNow):
            await asking.reply(question.id.key, label[:5])


async def test_a_device_takes_the_place_of_a_failed_one_and_whatever_is_asked_to_leaves(rig: ServerRig) -> None:
    async with running(rig.driver()) as watched:
        driver, devices = watched.driver, rig.server.simulation.network.nodes
        assert isinstance(driver, Excluding)
        old = await join(rig, watched, "plug")
        with pytest.raises(DriverError, match="responded"):
            await driver.discover(Discovery("d2", "ZWAVE", 60, replaces=old.id.key))
        with pytest.raises(UnknownDevice):
            await driver.discover(Discovery("d3", "ZWAVE", 60, replaces="77"))
        await rig.silence(True)
        before = len(watched.events)
        await driver.discover(Discovery("d4", "ZWAVE", 60, replaces=old.id.key))
        await rig.join("dimmer")
        found = await watched.wait(DeviceFound, after=before, timeout=60)
        lost = await watched.wait(DeviceLost, after=before)
        assert (lost.id, lost.reason) == (old.id, "another device took its place")
        assert found.device.id == old.id
        assert found.device.address == await rig.label("dimmer")
        await watched.wait(JoinWindow, lambda e: not e.seconds, after=watched.events.index(found))
        used = devices["old switch"]
        used.home_id, used.id = bytes.fromhex("deadbeef"), 9
        before = len(watched.events)
        await driver.exclude(60)
        await rig.join("old switch")
        assert (await watched.wait(Exclusion, lambda e: e.stage == "left", after=before)).device is None
        assert used.id == 0
        await rig.join("dimmer")
        left = await watched.wait(Exclusion, lambda e: e.device is not None, after=before)
        assert left.device == found.device.id
        assert [e.id for e in watched.events[before:] if isinstance(e, DeviceLost)] == [found.device.id]
        await watched.driver.stop_discovery()
        await watched.wait(Exclusion, lambda e: e.stage == "closed", after=before)


async def test_a_wrong_pin_keeps_a_device_out(rig: ServerRig) -> None:
    async with running(rig.driver()) as watched:
        pin = int((await rig.label("plug"))[:5]) ^ 1
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, f"{pin:05d}"))
        await rig.join("plug")
        failed = await watched.wait(DeviceJoining, lambda e: e.stage == "failed", timeout=60)
        assert "PIN" in failed.detail
        await rig.join("plug")  # its button once more, while the window is open
        await watched.wait(DeviceLost, lambda e: e.id == failed.id)
        await until(lambda: not rig.server.simulation.network.nodes["plug"].id)
        assert not [e for e in watched.events if isinstance(e, DeviceFound)]
