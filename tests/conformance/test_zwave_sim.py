"""The driver contract on simulated sticks of two generations, and what zwave-js's mock has not: failed nodes, sleep, SmartStart, jams."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.driver import Asking, DeviceRefused, Expecting, NotNow, UnknownDevice
from agent.model import (
    AvailabilityChanged,
    DeviceAwake,
    DeviceFound,
    DeviceJoining,
    DeviceLost,
    Discovery,
    JoinWindow,
)
from drivers.zwave import interview
from drivers.zwave.security import dsk, qr
from tests.conformance.driver_contract import DriverContract, Watched, command, running
from tests.conformance.zwave_sim_rig import SimRig, hasten


@pytest.fixture(params=["500", "800"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, request.param)
    await rig.start()
    yield rig
    await rig.close()


class TestZwave(DriverContract):
    """All of DriverContract."""


async def join(rig: SimRig, watched: Watched, device: str, material: str = "") -> DeviceFound:
    before = len(watched.events)
    await watched.driver.discover(Discovery("d1", "ZWAVE", 60, material))
    await rig.join(device)
    found = await watched.wait(DeviceFound, after=before, timeout=60)
    await watched.driver.stop_discovery()
    return found


async def test_a_lock_joins_with_its_pin_and_is_known_after_a_restart(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        found = await join(rig, watched, "lock", (await rig.label("lock"))[:5])
        assert found.device.secure
        assert found.device.address == await rig.label("lock")
    async with running(rig.driver()) as watched:
        again = await watched.wait(DeviceFound)
        assert again.device == found.device
        await watched.driver.refresh(again.device.id.key)


async def test_a_wrong_pin_keeps_a_device_out(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        pin = int((await rig.label("plug"))[:5]) ^ 1
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, f"{pin:05d}"))
        await rig.join("plug")
        failed = await watched.wait(DeviceJoining, lambda e: e.stage == "failed", timeout=60)
        assert "PIN" in failed.detail
        await watched.driver.stop_discovery()
        await rig.silence(True)
        await watched.driver.remove(failed.id.key, force=True)
        assert (await watched.wait(DeviceLost)).reason == "removed"
        assert (await rig.control("truth"))["nodes"] == {}


async def test_another_device_takes_the_place_of_one_that_has_failed(rig: SimRig) -> None:
    """With S2 and a PIN that is asked for; the window is over then, and nothing of the old one is left."""
    async with running(rig.driver()) as watched:
        driver = watched.driver
        assert isinstance(driver, Asking)
        await join(rig, watched, "plug")
        for key, error in (("2", DeviceRefused), ("9", UnknownDevice)):
            with pytest.raises(error):
                await watched.driver.discover(Discovery("d2", "ZWAVE", 30, replaces=key))
        await rig.silence(True)
        before = len(watched.events)
        await watched.driver.discover(Discovery("d3", "ZWAVE", 30, attended=True, replaces="2"))
        assert not [e for e in watched.events[before:] if isinstance(e, DeviceLost)], (
            "it has its place until another comes"
        )
        await rig.control("pair", "lock")
        question = await watched.wait(DeviceJoining, lambda e: e.stage == "pin", after=before, timeout=20)
        await driver.reply(question.id.key, (await rig.label("lock"))[:5])
        found = await watched.wait(DeviceFound, after=before, timeout=60)
        assert (found.device.id.key, found.device.address) == ("2", await rig.label("lock"))
        assert (await watched.wait(DeviceLost, after=before)).reason == "another device took its place"
        await watched.wait(JoinWindow, lambda e: not e.seconds, after=watched.events.index(question))
        assert (await rig.control("truth"))["nodes"] == {"2": "lock"}


async def test_a_device_that_gets_no_keys_does_not_keep_the_place_of_another(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        await join(rig, watched, "plug")
        await rig.silence(True)
        before = len(watched.events)
        await rig.control("fault", kind="inclusion")
        await watched.driver.discover(Discovery("d2", "ZWAVE", 30, replaces="2"))
        await rig.control("pair", "old switch")
        failed = await watched.wait(DeviceJoining, lambda e: e.stage == "failed", after=before)
        assert "could not replace" in failed.detail
        await watched.wait(JoinWindow, lambda e: not e.seconds, after=before)
        assert not [e for e in watched.events[before:] if isinstance(e, DeviceLost)]
        before = len(watched.events)
        await watched.driver.discover(Discovery("d3", "ZWAVE", 30, replaces="2"))
        await rig.control("pair", "old switch")
        assert "has no S2" in (await watched.wait(DeviceJoining, lambda e: e.stage == "failed", after=before)).detail
        await rig.control("pair", "old switch")  # once more: it must not stay
        await watched.wait(JoinWindow, lambda e: not e.seconds, after=before)
        assert (await rig.control("truth"))["nodes"] == {}


async def test_devices_without_s2_join_by_policy(rig: SimRig) -> None:
    rig.settings["security"] = "none"
    async with running(rig.driver()) as watched:
        lock = await join(rig, watched, "old lock")
        await watched.driver.refresh(lock.device.id.key)
        switch = await join(rig, watched, "old switch")
        assert (await watched.driver.execute(command(rig, rig.good, key=switch.device.id.key))).succeeded
        assert not lock.device.secure
        assert not switch.device.secure


async def test_a_smart_start_device_joins_by_itself(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        code = qr.compose(0x03, dsk.from_text(await rig.label("smart")), [])
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, code))
        await watched.wait(JoinWindow, lambda e: e.seconds > 0)
        await watched.driver.stop_discovery()
        await rig.join("smart")
        found = await watched.wait(DeviceFound, timeout=60)
        assert found.expected
        assert found.device.sleepy
        assert found.device.secure


async def test_a_device_that_is_expected_no_more_stays_out(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        driver, label = watched.driver, await rig.label("smart")
        assert isinstance(driver, Expecting)
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, qr.compose(0x03, dsk.from_text(label), [])))
        await watched.driver.stop_discovery()
        assert await driver.expected() == [label]
        assert [await driver.expect_no_more(label) for _ in range(2)] == [True, False]
        assert await driver.expected() == []


async def test_a_device_that_is_not_expected_does_not_start_by_itself(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        code = qr.compose(0x03, dsk.from_text(await rig.label("lock")), [])
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, code))
        await rig.join("smart")
        await rig.control("pair", "smart", on=False)
        await watched.driver.stop_discovery()
        await join(rig, watched, "plug")
        assert {e.id.key for e in watched.events if isinstance(e, DeviceJoining)} == {rig.key}


async def test_a_sleeping_device_is_left_alone_until_it_wakes_up(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        found = await join(rig, watched, "thermostat")
        key = found.device.id.key
        assert found.device.sleepy
        await rig.control("sleep", "thermostat")
        with pytest.raises(NotNow):
            await watched.driver.refresh(key)
        before = len(watched.events)
        await rig.control("wake", "thermostat")
        await watched.wait(DeviceAwake, after=before)
        await watched.driver.refresh(key)
        assert not [e for e in watched.events if isinstance(e, AvailabilityChanged) and e.availability == "offline"]


async def test_a_jam_blames_no_node(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        found = await join(rig, watched, "plug")
        await rig.control("jam", on=True)
        before = len(watched.events)
        jammed = command(rig, rig.good, key=found.device.id.key)
        assert (await watched.driver.execute(jammed)).results[0].code == 503
        assert not [e for e in watched.events[before:] if isinstance(e, AvailabilityChanged)]
        await rig.control("jam", on=False)
        assert (await watched.driver.execute(jammed)).succeeded


async def test_a_device_that_was_reset_by_hand_is_gone(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        await join(rig, watched, "plug")
        await rig.control("leave", "plug")
        await watched.wait(DeviceLost)
        assert (await rig.control("truth"))["nodes"] == {}


async def test_a_stick_that_restarts_is_set_up_again(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        found = await join(rig, watched, "plug")
        await rig.control("reset")
        assert (await watched.driver.execute(command(rig, rig.good, key=found.device.id.key))).succeeded


async def test_a_device_that_comes_back_is_told_and_one_without_interview_gets_it(
    rig: SimRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interview, "TRIES", 1)  # of the classes that it has no key for
    async with running(rig.driver()) as watched:
        await join(rig, watched, "plug")
        await rig.silence(True)
        for _ in range(2):
            assert not (await watched.driver.execute(command(rig, rig.good))).succeeded
        await watched.wait(AvailabilityChanged, lambda e: e.availability == "offline")
        before = len(watched.events)
        await rig.silence(False)
        await rig.change()
        await watched.wait(AvailabilityChanged, lambda e: e.availability == "online", after=before)
    for path in rig.state_dir.glob("nodes/*/2.json"):
        path.write_text("damaged")
    await rig.silence(True)
    async with running(rig.driver()) as watched:
        await watched.wait(DeviceJoining, lambda e: e.stage == "failed", timeout=60)
        await rig.silence(False)
        await rig.change()
        found = await watched.wait(DeviceFound, timeout=60)
        assert found.device.secure


async def test_every_wake_up_is_told_also_while_the_last_one_is_attended_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was tried in between, on a device that slept, is tried anew only then."""
    hasten(monkeypatch)
    monkeypatch.setattr(
        "drivers.zwave.sleepers.IDLE", 60.0
    )  # the first one is attended to for as long as the test runs
    rig = SimRig(tmp_path, "800")
    rig.devices = [{"name": "motion", "profile": "motion-sensor", "node": 4}]
    rig.interviewed(4, {0x30: 2, 0x84: 2}, listening=False)
    await rig.start()
    try:
        async with running(rig.driver()) as watched:
            for _ in range(2):
                before = len(watched.events)
                await rig.control("wake", "motion")
                await watched.wait(DeviceAwake, lambda event: event.id.key == "4", after=before)
                await rig.control("sleep", "motion")
    finally:
        await rig.close()


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_device_that_wakes_up_is_kept_awake_while_the_hub_has_a_command_for_it(
    wanted: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten(monkeypatch)
    monkeypatch.setattr("drivers.zwave.sleepers.IDLE", 0.0)  # however slow the hub's disk is
    rig = SimRig(tmp_path, "800")
    rig.devices = [{"name": "motion", "profile": "motion-sensor", "node": 4}]
    rig.interviewed(4, {0x30: 2, 0x84: 2}, listening=False)
    rig.wanted = wanted
    await rig.start()

    try:
        async with running(rig.driver()) as watched:
            before = len(watched.events)
            await rig.control("wake", "motion")
            await watched.wait(DeviceAwake, after=before)
            if wanted:
                await watched.driver.refresh("4")
            else:
                with pytest.raises(NotNow):
                    await watched.driver.refresh("4")
    finally:
        await rig.close()
