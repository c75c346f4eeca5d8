"""Raw GATT, as a gateway uses it: who is around, who is connected, and who is no longer wanted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.gatt import Advert
from agent.model import Discovery
from tests.ble_rig import DEVICES, LAMP, BleRig, ble_rig
from tests.conformance.driver_contract import running
from tests.conftest import until

BUFFER = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[BleRig]:
    devices = [{**one, "pairing": True} for one in DEVICES if one["address"] == LAMP]
    async with ble_rig(tmp_path, {"devices": devices}) as rig:
        yield rig


async def test_a_scan_is_active_for_as_long_as_anybody_wants_it_so(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        adapter = rig.simulation.world.adapters["hci0"]
        await until(lambda: adapter.monitors and not adapter.scanning)
        gatt = watched.driver.gatt
        heard: list[Advert] = []
        scan = asyncio.create_task(gatt.scan(0.4, heard.append, active=True))
        await until(lambda: adapter.scanning)
        await watched.driver.discover(Discovery("d1", "BLE", 60))
        await watched.driver.stop_discovery()
        assert adapter.scanning, "the scan goes on"
        await scan
        await until(lambda: adapter.monitors and not adapter.scanning)
        assert {(one.address, one.address_type) for one in heard} == {(LAMP, "public")}
        assert gatt.address_type(LAMP) == "public"


async def test_who_was_heard_long_ago_is_not_around(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        gatt = watched.driver.gatt
        await until(lambda: gatt.silent_for(LAMP) < 5)
        await rig.control("power", "lamp", on=False)
        heard: list[Advert] = []
        await gatt.scan(0, heard.append)
        assert [one.address for one in heard] == [LAMP]
        watched.driver._running.seen.get(LAMP).at -= 60
        await gatt.scan(0, heard.append)
        assert len(heard) == 1
        assert gatt.silent_for(LAMP) > 59
        assert gatt.silent_for("C0:00:00:00:00:00") == float("inf")


async def test_connections_are_told_and_a_listener_hears_once(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        gatt = watched.driver.gatt
        told: list[tuple[str, bool]] = []
        unwatch = gatt.watch(lambda address, up: told.append((address, up)))
        gatt.want(LAMP)
        await until(lambda: told == [(LAMP, True)], what="the connection")
        changes: list[bytes] = []
        for _ in range(2):
            await gatt.subscribe(LAMP, BUFFER, changes.append)
        await gatt.write(LAMP, BUFFER, b"\x07")
        await until(lambda: changes == [b"\x07"])
        await rig.control("vanish", "lamp", seconds=0.1)
        await until(lambda: told == [(LAMP, True), (LAMP, False), (LAMP, True)], what="the loss, and the way back")
        unwatch()
        await gatt.disconnect(LAMP)
        await until(lambda: rig.simulation.world.connected(LAMP) == [])
        assert len(told) == 3


async def test_who_is_wanted_no_more_is_not_connected_by_an_attempt_that_was_under_way(rig: BleRig) -> None:
    async with running(rig.driver()) as watched:
        gatt = watched.driver.gatt
        told: list[tuple[str, bool]] = []
        gatt.watch(lambda address, up: told.append((address, up)))
        await rig.control("fault", "lamp", step="services", kind="slow", seconds=0.3)
        gatt.want(LAMP)
        await until(lambda: rig.simulation.world.connected(LAMP), what="a connection whose services are awaited")
        await gatt.disconnect(LAMP)
        await until(lambda: rig.simulation.world.connected(LAMP) == [], what="the connection, given up")
        assert gatt.connected() == ()
        assert told == []
        gatt.want(LAMP)
        await until(lambda: told == [(LAMP, True)], what="another attempt")
