"""Devices leave their network, ours and others, while our driver excludes on simulated sticks; zwave-js excludes there as well."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conformance.zwavejs_host import host, include, stick
from conftest import until, until_async

from agent.driver import DriverLost, Excluding, InvalidParameters
from agent.model import DeviceId, DeviceLost, Discovery, Exclusion, JoinWindow
from drivers.sim.zwave.inclusion import Kind
from drivers.zwave.driver import ZwaveDriver
from tests.conformance.driver_contract import Watched, joined, running
from tests.conformance.zwave_sim_rig import SimRig, hasten

USED = {"name": "used", "profile": "plug", "node": 9, "home_id": "deadbeef"}


@pytest.fixture(params=["500", "800"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, request.param)
    rig.devices = [*rig.devices, USED]
    await rig.start()
    yield rig
    await rig.close()


async def step(watched: Watched, stage: str, after: int = 0) -> Exclusion:
    return await watched.wait(Exclusion, lambda e: e.stage == stage, after=after)


async def test_whatever_device_is_asked_to_leaves_its_network(rig: SimRig) -> None:
    driver = rig.driver()
    assert isinstance(driver, ZwaveDriver)
    assert isinstance(driver, Excluding)
    with pytest.raises(DriverLost):
        await driver.exclude(10)
    async with running(driver) as watched:
        with pytest.raises(InvalidParameters):
            await driver.exclude(0)
        await joined(rig, watched)
        before = len(watched.events)
        await driver.exclude(60)  # in place of the join window
        assert await watched.wait(JoinWindow, lambda e: not e.seconds, after=before)
        assert (await step(watched, "open")).seconds == 60
        used = rig.simulation.network.nodes["used"]
        await rig.control("pair", "used")
        assert (await step(watched, "left", before)).device is None
        assert used.id == 0
        await rig.control("pair", "plug")
        await step(watched, "found", before)
        left = await watched.wait(Exclusion, lambda e: e.device is not None, after=before)
        assert left.device == DeviceId(rig.radio, rig.key)
        assert (await watched.wait(DeviceLost, after=before)).id == left.device
        assert (await rig.control("truth"))["nodes"] == {}
        asked = (await rig.control("truth"))["adding"]
        assert (asked["high_power"], asked["network_wide"]) == (True, True)
        await driver.discover(Discovery("d2", "ZWAVE", 60))  # in place of the exclusion window
        await step(watched, "closed", before)
        await rig.control("pair", "used")
        await until(lambda: used.home_id == rig.simulation.network.home_id)
        await driver.stop_discovery()


async def test_the_window_closes_by_itself_and_when_it_is_told_to(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        driver = watched.driver
        assert isinstance(driver, Excluding)
        await driver.exclude(1)
        await step(watched, "closed")
        before = len(watched.events)
        await driver.exclude(60)
        await watched.driver.stop_discovery()
        await step(watched, "closed", before)
        assert (await rig.control("truth"))["adding"]["session"] is None


async def test_a_device_that_the_stick_loses_half_way_is_told_and_the_window_goes_on(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        driver = watched.driver
        assert isinstance(driver, Excluding)
        await driver.exclude(60)
        await rig.control("fault", kind="inclusion")
        await rig.control("pair", "used")
        assert "press its button again" in (await step(watched, "failed")).detail
        await rig.control("pair", "used")
        await step(watched, "left")


async def test_a_window_of_a_run_that_was_cut_off_is_closed(rig: SimRig) -> None:
    rig.settings["soft_reset"] = False
    inclusion = rig.simulation.stick.inclusion
    inclusion.start(Kind.REMOVE, 7, 0.0)
    async with running(rig.driver()):
        await until(lambda: inclusion.session is None)


@pytest.mark.conformance
@pytest.mark.timeout(180)
async def test_zwave_js_excludes_a_device_of_another_network_and_takes_it_in(tmp_path: Path) -> None:
    """Which says of our stick that a network-wide inclusion and exclusion go as on a real one."""
    async with stick(tmp_path, {"devices": [USED]}) as simulation, host(tmp_path, simulation) as js:
        used = simulation.network.nodes["used"]
        await js.call("exclude")
        await simulation.control({"op": "pair", "device": "used"})
        await until(lambda: not used.id)
        await until_async(lambda: js.call("state"), lambda state: state == 0)
        await include(js, simulation, "used", "Insecure")
        assert used.home_id == simulation.network.home_id
        assert simulation.stick.inclusion.asked == {"high_power": True, "network_wide": True}
