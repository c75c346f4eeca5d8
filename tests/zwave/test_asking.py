"""A person is asked for the PIN of a device that joins, and told what is agreed, on a simulated stick."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import until

from agent.driver import Asking, InvalidParameters, NotNow
from agent.model import DeviceFound, DeviceJoining, Discovery, JoinWindow
from drivers.zwave.codec import make
from drivers.zwave.commands.transport import KexFailType
from drivers.zwave.driver import ZwaveDriver
from tests.conformance.driver_contract import Watched, running
from tests.conformance.zwave_sim_rig import SimRig, hasten

ATTENDED = Discovery("d1", "ZWAVE", 60, attended=True)


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, "800")
    await rig.start()
    yield rig
    await rig.close()


async def asked(rig: SimRig, watched: Watched) -> DeviceJoining:
    """The question for the lock's PIN."""
    await watched.driver.discover(ATTENDED)
    await rig.join("lock")
    return await watched.wait(DeviceJoining, lambda e: e.stage == "pin", timeout=20)


def driver(watched: Watched) -> ZwaveDriver:
    assert isinstance(watched.driver, Asking)
    assert isinstance(watched.driver, ZwaveDriver)
    return watched.driver


async def failed(watched: Watched) -> str:
    return (await watched.wait(DeviceJoining, lambda e: e.stage == "failed", timeout=20)).detail


async def test_a_lock_gets_its_keys_once_its_pin_is_typed(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        question = await asked(rig, watched)
        label = await rig.label("lock")
        assert label[5:] in question.detail
        assert label[:5] not in question.detail
        assert question.seconds == 240
        for mistyped in ("1234", "lock", "99999"):
            with pytest.raises(InvalidParameters, match="five digits"):
                await driver(watched).reply(question.id.key, mistyped)
        with pytest.raises(NotNow):
            await driver(watched).reply("77", label[:5])
        await driver(watched).reply(question.id.key, f" {label[:5]}\n")
        found = await watched.wait(DeviceFound, timeout=60)
        assert found.device.secure
        assert found.device.address == label
        said = {e.stage: e.detail for e in watched.events if isinstance(e, DeviceJoining)}
        assert list(said) == ["joined", "securing", "pin", "secured", "interviewing"]
        assert said["securing"] == "the device asks for S2 Access Control; it may have S2 Access Control"
        assert said["secured"] == "S2 Access Control"
        with pytest.raises(NotNow):
            await driver(watched).reply(question.id.key, label[:5])


@pytest.mark.parametrize("right", [True, False])
async def test_people_take_longer_than_the_device_waits_to_repeat_itself(
    rig: SimRig,
    monkeypatch: pytest.MonkeyPatch,
    right: bool,  # noqa: FBT001
) -> None:
    """Meanwhile it says again and again what can be read only with its PIN."""
    monkeypatch.setattr("drivers.zwave.security.kex.STEP_TIMEOUT", 0.3)
    async with running(rig.driver()) as watched:
        question = await asked(rig, watched)
        lock, label = rig.simulation.network.nodes["lock"], await rig.label("lock")
        assert lock.guard.joiner is not None
        before, lock.guard.joiner.deadline = lock.said, time.monotonic()  # for the first time at once
        lock.guard._arm()
        await rig.control("list")  # it looks at its timers
        await until(lambda: lock.said >= before + 3)
        await driver(watched).reply(question.id.key, label[:5] if right else f"{int(label[:5]) ^ 1:05d}")
        if right:
            assert (await watched.wait(DeviceFound, timeout=30)).device.secure
        else:
            assert "is the PIN right?" in await failed(watched)


async def test_without_an_answer_it_stays_out(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        await driver(watched).reply((await asked(rig, watched)).id.key, "")
        assert "nobody gave the device's PIN" in await failed(watched)


async def test_a_question_ends_with_the_time_of_the_key_exchange(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.zwave.security.kex.USER_TIMEOUT", 0.2)
    async with running(rig.driver()) as watched:
        await asked(rig, watched)
        assert "nobody answered" in await failed(watched)


async def test_a_question_ends_with_the_window(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        await asked(rig, watched)
        await watched.driver.stop_discovery()
        assert "nobody gave the device's PIN" in await failed(watched)
        assert await watched.wait(JoinWindow, lambda e: e.seconds == 0, after=len(watched.events) - 2)


async def test_a_question_ends_when_the_device_gives_up(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        question = await asked(rig, watched)
        fail = make("Security 2 KEX Fail", type=KexFailType.CANCEL)
        await rig.control("raw", "lock", data=fail.hex())
        assert "the device gave up" in await failed(watched)
        with pytest.raises(NotNow):
            await driver(watched).reply(question.id.key, "12345")


async def test_nobody_is_asked_where_nobody_is_there(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60))
        await rig.join("plug")
        found = await watched.wait(DeviceFound, timeout=60)
        said = {e.stage: e.detail for e in watched.events if isinstance(e, DeviceJoining)}
        assert said["securing"].endswith("it may have S2 Unauthenticated, not S2 Authenticated")
        assert found.device.secure
        await rig.join("lock")
        assert await failed(watched) == (
            "the device wants S2 Access Control: give its PIN, DSK or QR code"
            "; it is not used: press its button once more to take it off, and pair it again"
        )


async def test_a_known_pin_is_not_asked_for_and_lets_one_device_in(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        pin = (await rig.label("lock"))[:5]
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60, pin, attended=True))
        await rig.join("lock")
        assert (await watched.wait(DeviceFound, timeout=60)).device.secure
        assert await watched.wait(JoinWindow, lambda e: e.seconds == 0, after=4)
        assert "pin" not in [e.stage for e in watched.events if isinstance(e, DeviceJoining)]
