"""Routes of our driver on simulated sticks: found anew, preferred, and counted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import until

from agent.driver import DeviceUnreachable, InvalidParameters, NotNow, NotSupported, Observed, Routing
from agent.model import DeviceAwake
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.figures import LinkFigures
from drivers.zwave.functions import BY_NAME, decode_callback
from drivers.zwave.node import Expired
from drivers.zwave.routes import Route
from drivers.zwave.transmit import Sent, broken_hop
from tests.conformance.driver_contract import command, running
from tests.conformance.zwave_sim_rig import SimRig, hasten

PLUG, STRIP = "2", "3"


@pytest.fixture(params=["800"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, request.param)
    rig.devices = [
        {"name": "plug", "profile": "old-switch", "node": 2},
        {"name": "dimmer", "profile": "dimmer", "node": 3},
        {"name": "motion", "profile": "motion-sensor", "node": 4},
    ]
    rig.interviewed(2, {0x25: 1})
    rig.interviewed(3, {0x25: 1, 0x85: 2})
    rig.interviewed(4, {0x25: 1, 0x84: 2}, listening=False)
    await rig.start()
    yield rig
    await rig.close()


async def driver_of(rig: SimRig) -> ZwaveDriver:
    driver = rig.driver()
    assert isinstance(driver, ZwaveDriver)
    return driver


@pytest.mark.parametrize("rig", ["500", "800"], indirect=True)
async def test_routes_are_rebuilt_and_told(rig: SimRig) -> None:
    driver = await driver_of(rig)
    network = rig.simulation.network
    async with running(driver):
        network.nodes["dimmer"].groups(0)[1] = [[1, -1], [2, -1]]
        network.routes[3] = {1, 4}
        steps: list[str] = []
        rebuilt = await driver.rebuild_routes(STRIP, steps.append)
        assert rebuilt == {"neighbors": [1, 2], "destinations": [2]}
        assert network.routes[3] == {1, 2}
        assert steps[0] == "neighbors"
        assert isinstance(driver, Observed)
        assert isinstance(driver, Routing)
        assert "priorityRoute" not in await driver.details(STRIP)
        await driver.set_priority_route(STRIP, ("2",), 100_000)
        assert await driver._running.routes.priority_route(3) == Route((2,), 3, 16)
        for repeaters, speed in (
            (("3",), 40_000),
            (("9",), 40_000),
            (("two",), 40_000),
            (("2", "2"), 9600),
            (("2",), 7),
        ):
            with pytest.raises(InvalidParameters):
                await driver.set_priority_route(STRIP, repeaters, speed)
        details = await driver.details(STRIP)
        assert details["priorityRoute"] == {"repeaters": [2], "speed": 100_000}
        assert details["neighbors"] == [1, 2]
        await driver.set_priority_route(STRIP, None, 0)
        assert "priorityRoute" not in await driver.details(STRIP)

        assert (await driver.execute(command(rig, rig.good, key=PLUG))).succeeded
        figures = driver.figures()
        assert figures["sent"][PLUG] > 0
        assert figures["lost"][PLUG] == 0
        assert ("rssi" in figures) is (rig.stick == "800")  # the older one reports nothing of its transmissions

        await rig.silence(True)
        with pytest.raises(DeviceUnreachable):
            await driver.rebuild_routes(PLUG, steps.append)


async def test_a_sleeping_device_gets_its_routes_when_it_wakes_up(rig: SimRig) -> None:
    driver = await driver_of(rig)
    async with running(driver) as watched:
        with pytest.raises(NotNow):
            await driver.rebuild_routes("4", print, wait=0)
        waiting = asyncio.create_task(driver.rebuild_routes("4", print, wait=-1))
        await asyncio.sleep(0)
        await rig.control("wake", "motion")
        with pytest.raises(Expired):
            await waiting
        motion, loop = rig.simulation.network.nodes["motion"], asyncio.get_running_loop()
        await until(lambda: not motion.awake(loop.time()))  # it was sent to sleep again
        before = len(watched.events)
        rebuilding = asyncio.create_task(driver.rebuild_routes("4", print))
        await asyncio.sleep(0)
        await rig.control("wake", "motion")
        await watched.wait(DeviceAwake, after=before)
        assert (await rebuilding)["neighbors"] == [1, 2, 3]


async def test_a_stick_without_routing_says_so(tmp_path: Path) -> None:
    rig = SimRig(tmp_path, "tiny", soft_reset=False)
    rig.devices = [{"name": "plug", "profile": "old-switch", "node": 2}]
    rig.interviewed(2, {0x25: 1})
    await rig.start()
    driver = await driver_of(rig)
    try:
        async with running(driver):
            with pytest.raises(NotSupported):
                await driver.rebuild_routes(PLUG, print)
            assert "GetRoutingInfo" in str((await driver.details(PLUG))["routes"])
    finally:
        await rig.close()


def test_reports_of_transmissions_are_counted() -> None:
    link = LinkFigures()
    link.delivered(Sent())
    assert link.told() == {"sent": 1, "lost": 0, "retried": 0, "routeChanges": 0}
    link.delivered(Sent(0.04, -60, (), 1, reported=True))
    link.delivered(Sent(0.08, -70, (5, 6), 3, reported=True))
    link.failed((5, 6))
    assert link.told() == {
        "sent": 4,
        "lost": 1,
        "retried": 1,
        "routeChanges": 1,
        "rssi": -70,
        "route": [5, 6],
        "roundTripMs": 50,
        "brokenHop": [5, 6],
    }


def test_the_hop_that_broke_is_read_from_the_report() -> None:
    report = bytes.fromhex("07 01 0064 02 7f 7f7f7f7f 00 01 08 05060000 03 03 05 06".replace(" ", ""))
    values = decode_callback(BY_NAME["SendData"].id, report)
    assert broken_hop(values) == (5, 6)
    assert broken_hop({"status": 1}) is None
