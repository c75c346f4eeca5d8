"""The driver's behaviour on a simulated stick, beyond what the contract of all drivers says."""

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.driver import DriverError, DriverLost, InvalidParameters, NotNow
from agent.model import (
    Action,
    Availability,
    AvailabilityChanged,
    DeviceAwake,
    DeviceFound,
    DeviceJoining,
    DeviceLost,
    Discovery,
    JoinWindow,
    RadioUp,
    Report,
)
from tests.conformance.driver_contract import JOIN, Watched, command, joined, running
from tests.conformance.zigbee_rig import CODED, INSTALL_CODE, PLUG, SENSOR, STRANGER, ZigbeeRig

STICKS = ["znp", "ezsp"]
MATERIAL = f"$I:{INSTALL_CODE}"


@pytest.fixture(params=STICKS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ZigbeeRig]:
    rig = ZigbeeRig(tmp_path, request.param)
    await rig.start()
    yield rig
    await rig.close()


async def join_sensor(rig: ZigbeeRig, watched: Watched) -> DeviceFound:
    await watched.driver.discover(Discovery("d1", "ZIGBEE", 60))
    await rig.control("pair", "sensor")
    return await watched.wait(DeviceFound, lambda f: f.device.id.key == SENSOR, timeout=JOIN)


async def test_five_times_unplugged_and_back_under_another_path(rig: ZigbeeRig) -> None:
    rig.settings |= {"port": "auto", "candidates": [f"{rig.folder}/zb*"]}
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await watched.driver.stop_discovery()
    for turn in range(5):
        async with running(rig.driver()) as watched:
            assert (await watched.driver.execute(command(rig, rig.good))).succeeded
            await rig.control("unplug", seconds=0.2, new_path=True)
            with pytest.raises(DriverLost):
                await watched.task
        while not rig.simulation.plugged:  # noqa: ASYNC110  the simulator has no event for it
            await asyncio.sleep(0.02)
        assert rig.simulation.port.endswith(f"zb~{turn + 1}")


async def test_another_stick_is_refused_and_says_how_to_use_it(rig: ZigbeeRig, tmp_path: Path) -> None:
    async with running(rig.driver()):
        pass
    nodes = rig.state_dir / "nodes.json"
    book = json.loads(nodes.read_text())
    identity, book["stick"]["identity"] = book["stick"]["identity"], "00:12:4b:ff:ff:ff:ff:ff"
    nodes.write_text(json.dumps(book))
    with pytest.raises(DriverLost, match=identity) as caught:
        await rig.driver().run(lambda _: None)
    assert identity in caught.value.remedy
    rig.settings |= {"identity": identity}
    async with running(rig.driver()):
        pass


async def test_a_stick_that_goes_during_a_command_ends_it(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.silence(True)
        under_way = asyncio.create_task(watched.driver.execute(command(rig, rig.good, ttl=30)))
        await asyncio.sleep(0)
        await rig.unplug()
        async with asyncio.timeout(5):
            result = (await asyncio.gather(under_way, return_exceptions=True))[0]
        assert isinstance(result, DriverLost) or not result.succeeded
        with pytest.raises(DriverLost):
            await watched.task


async def test_a_stick_that_resets_itself_is_lost(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.control("reset")
        async with asyncio.timeout(20):
            with pytest.raises(DriverLost):
                await watched.task
    async with running(rig.driver()) as watched:
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded


async def test_stopping_is_quick_even_with_work_under_way(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.silence(True)
        under_way = asyncio.create_task(watched.driver.refresh(PLUG))
        await asyncio.sleep(0)
        async with asyncio.timeout(3):
            await watched.stop()
        with pytest.raises(DriverError):
            await under_way


async def test_a_sleeping_device_is_not_now_and_then_awake(rig: ZigbeeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.sim.zigbee.network.PARENT_HOLDS", 0.5)
    async with running(rig.driver()) as watched:
        found = await join_sensor(rig, watched)
        assert found.device.sleepy
        await rig.control("sleep", "sensor", every=3600)
        read = Action("1", "matter.TemperatureMeasurement@1.4", "ReadState", {"propertiesToRead": ["*"]})
        with pytest.raises(NotNow):
            await watched.driver.execute(command(rig, read, key=SENSOR, ttl=60))
        before = len(watched.events)
        await rig.control("sleep", "sensor", every=0.2)
        await rig.control("set", "sensor", cluster=0x0402, attribute=0, value=1234, report=True)
        await watched.wait(DeviceAwake, lambda e: e.id.key == SENSOR, after=before)
        await watched.wait(Report, lambda r: r.properties.get("MeasuredValue") == 1234, after=before)
        outcome = await watched.driver.execute(command(rig, read, key=SENSOR))
        assert outcome.results[0].values["MeasuredValue"] == 1234


async def test_an_unexpected_joiner_is_removed_while_the_expected_one_joins(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        with pytest.raises(InvalidParameters, match="checksum"):
            await watched.driver.discover(Discovery("d1", "ZIGBEE", 60, f"Z:{'00' * 8}{MATERIAL[:-1]}0"))
        await watched.driver.discover(Discovery("d1", "ZIGBEE", 60))
        window = watched.driver.session.window  # type: ignore[attr-defined]
        window.strangers.expected = PLUG  # as an install code would; the simulated plug has none
        await rig.control("pair", "stranger")
        failed = await watched.wait(DeviceJoining, lambda j: j.id.key == STRANGER, timeout=JOIN)
        assert (failed.stage, failed.detail) == ("failed", "unexpected joiner, removed")
        await rig.join()
        found = await watched.wait(DeviceFound, timeout=JOIN)
        assert found.device.id.key == PLUG
        assert found.device.secure
        listed = {d["name"]: d["joined"] for d in (await rig.control("list"))["devices"]}
        assert not listed["stranger"]


async def test_a_window_for_an_install_code_opens_and_closes(rig: ZigbeeRig) -> None:
    rig.settings |= {"require_install_code": True}
    async with running(rig.driver()) as watched:
        with pytest.raises(InvalidParameters, match="install code"):
            await watched.driver.discover(Discovery("d1", "ZIGBEE", 60))
        before = len(watched.events)
        await watched.driver.discover(Discovery("d1", "ZIGBEE", 999, "Z:" + PLUG.replace(":", "") + MATERIAL))
        assert (await watched.wait(JoinWindow, after=before)).seconds == 254
        await watched.driver.stop_discovery()
        await watched.wait(JoinWindow, lambda w: w.seconds == 0, after=before)


async def test_an_install_code_window_is_not_opened_to_strangers_by_the_window_before_it(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        for turn in range(3):
            await watched.driver.discover(Discovery(f"open-{turn}", "ZIGBEE", 60))
            await watched.driver.stop_discovery()
        await watched.driver.discover(Discovery("coded", "ZIGBEE", 60, "Z:" + CODED.replace(":", "") + MATERIAL))
        await rig.control("pair", "stranger")
        await rig.control("pair", "coded")
        await watched.wait(DeviceFound, lambda f: f.device.id.key == CODED, timeout=JOIN)
        nodes = {node["name"]: node["joined"] for node in (await rig.control("list"))["devices"]}
        assert nodes["coded"]
        assert STRANGER not in {event.device.id.key for event in watched.events if isinstance(event, DeviceFound)}
        if rig.stick == "ezsp":
            assert not nodes["stranger"], "the stick itself turns it away"


async def test_a_device_joins_with_its_install_code_and_nobody_else_does(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("d1", "ZIGBEE", 60, "Z:" + CODED.replace(":", "") + MATERIAL))
        await rig.control("pair", "stranger")
        await rig.control("pair", "coded")
        found = await watched.wait(DeviceFound, timeout=JOIN)
        assert (found.device.id.key, found.device.secure) == (CODED, True)
        assert not {d["name"]: d["joined"] for d in (await rig.control("list"))["devices"]}["stranger"]
    async with running(rig.driver()) as watched:
        assert (await watched.wait(DeviceFound)).device.secure


async def test_a_rejoin_under_another_address_keeps_the_node_id(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        found = await joined(rig, watched)
        before = len(watched.events)
        await rig.control("rejoin", "plug")
        again = await watched.wait(DeviceFound, after=before, timeout=JOIN)
        assert again.device.node_id == found.device.node_id
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded


async def test_a_device_that_leaves_is_lost_and_its_node_id_comes_back_with_it(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        found = await joined(rig, watched)
        before = len(watched.events)
        await rig.control("leave", "plug")
        await watched.wait(DeviceLost, lambda e: e.id.key == PLUG, after=before)
        before = len(watched.events)
        await rig.join()
        again = await watched.wait(DeviceFound, after=before, timeout=JOIN)
        assert again.device.node_id == found.device.node_id


async def test_a_silent_mains_device_goes_offline_and_comes_back(
    rig: ZigbeeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.zigbee.availability.PING_PAUSE", 0.1)
    rig.settings |= {"mains_timeout": 10.0}
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        watched.driver.session.watch._mains = 0.5  # type: ignore[attr-defined]  # below what the settings allow
        watched.driver.session.check_soon()  # type: ignore[attr-defined]
        before = len(watched.events)
        await rig.silence(True)
        offline = AvailabilityChanged(found_id(rig), Availability.OFFLINE)
        await watched.wait(AvailabilityChanged, lambda e: e == offline, after=before, timeout=60)
        before = len(watched.events)
        await rig.silence(False)
        await rig.change()
        online = AvailabilityChanged(found_id(rig), Availability.ONLINE)
        await watched.wait(AvailabilityChanged, lambda e: e == online, after=before)


def found_id(rig: ZigbeeRig) -> object:
    return command(rig, rig.good).device


async def test_reports_do_not_wear_the_card(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await join_sensor(rig, watched)
        await watched.driver.stop_discovery()
        files = [path for path in rig.state_dir.rglob("*") if path.is_file() and path.suffix != ".db-shm"]
        before = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
        count = len(watched.events)
        await rig.control("load", rate=400, count=400, first=-2000, devices=["sensor"])
        await watched.wait(Report, lambda r: r.properties.get("MeasuredValue") == -1601, after=count)
        assert {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files} == before


async def test_a_backup_is_written_and_can_be_restored(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        document = await watched.driver.backup()
        assert json.loads(document)["metadata"]["format"] == "zigpy/open-coordinator-backup"
        kept = [name for name in rig.secrets.names() if name.startswith("network-")]
        assert rig.secrets.get(kept[-1]) == document
        with pytest.raises(InvalidParameters):
            await watched.driver.restore(b"{}")
        await watched.driver.restore(document)
        with pytest.raises(DriverLost, match="restored"):
            await watched.task
    async with running(rig.driver()) as watched:
        before = len(watched.events)
        await rig.control(
            "rejoin", "plug"
        )  # the simulated air lets go of its devices when the stick writes its network anew
        await watched.wait(DeviceFound, after=before, timeout=JOIN)
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded


async def test_a_stop_while_a_lost_stick_is_given_back_leaves_nothing_open(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await rig.control("unplug", seconds=0.5)
        closing = watched.driver
        while closing.session is not None:  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(0)
        watched.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, DriverLost):
            await watched.task
        assert not [thread.name for thread in threading.enumerate() if "_connection_worker" in thread.name]


async def test_a_reset_leaves_the_network_for_good(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        before = (await rig.control("network"))["network"]
        await watched.driver.reset()
        with pytest.raises(DriverLost, match="was left"):
            await watched.task
    shutil.rmtree(rig.state_dir)  # as offboarding does: the database holds a backup that would bring the network back
    rig.state_dir.mkdir()
    async with running(rig.driver()) as watched:
        await watched.wait(RadioUp)
        after = (await rig.control("network"))["network"]
    assert after["key"] != before["key"]
    assert after["extendedPanId"] != before["extendedPanId"]


async def test_a_power_cut_right_after_the_interview_loses_no_device(rig: ZigbeeRig, tmp_path: Path) -> None:
    """What DeviceFound told is on disk at that moment: the state folder as it is then is enough."""
    copy = tmp_path / "copy"
    copy.mkdir()
    watched = Watched(rig.driver())

    def cut(event: object) -> None:
        if isinstance(event, DeviceFound) and not any(copy.iterdir()):
            for path in rig.state_dir.iterdir():
                if path.is_file() and path.suffix != ".db-shm":
                    (copy / path.name).write_bytes(path.read_bytes())

    watched.events = _Spy(cut)
    await watched.wait(RadioUp, timeout=20)
    await joined(rig, watched)
    await watched.stop()
    rig.state_dir = copy
    assert os.listdir(copy)  # noqa: PTH208
    async with running(rig.driver()) as watched:
        assert (await watched.wait(DeviceFound)).device.id.key == PLUG


async def test_a_configuration_that_is_cut_off_by_the_next_one_costs_no_knowledge(rig: ZigbeeRig) -> None:
    """What values are scaled and named by is on disk: a sensor without it would tell an open door as closed after a restart."""
    watched, times = Watched(rig.driver()), [1]

    def initialised_again(event: object) -> None:
        if isinstance(event, DeviceJoining) and event.stage == "configuring" and times:
            times.clear()
            devices = watched.driver._running.devices
            (device,) = (one for one in devices._link.app.devices.values() if str(one.ieee) == PLUG)
            asyncio.get_running_loop().call_later(0.02, devices.device_initialized, device)

    watched.events = _Spy(initialised_again)
    await watched.wait(RadioUp, timeout=20)
    await joined(rig, watched)
    await watched.stop()
    with contextlib.closing(sqlite3.connect(rig.state_dir / "zigbee.db")) as database:
        (table,) = database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'attributes_cache%'").fetchone()
        rows = database.execute(f"SELECT cluster_id, attr_id FROM {table} WHERE ieee = ?", [PLUG]).fetchall()  # noqa: S608
    assert {(0x0702, 0x0301), (0x0702, 0x0302)} <= set(rows)


class _Spy(list):  # type: ignore[type-arg]
    def __init__(self, spy: object) -> None:
        super().__init__()
        self._spy = spy

    def append(self, event: object) -> None:
        super().append(event)
        self._spy(event)  # type: ignore[operator]
