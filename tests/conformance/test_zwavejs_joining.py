"""The zwave-js driver adds, secures and removes our simulated nodes."""

from pathlib import Path
from typing import Any

import pytest
from conformance.zwavejs_host import host, include, join, stick
from conftest import until

from drivers.sim.zwave.profiles import PROFILES
from drivers.zwave.security import dsk as dsks

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(180)]


def waiting(*profiles: str) -> list[dict[str, Any]]:
    """Devices outside the network, whose buttons nobody has pressed."""
    return [{"name": one, "profile": one, "pairing": False} for one in profiles]


@pytest.mark.parametrize("kind", ["500", "800"])
async def test_an_s2_lock_joins_by_its_pin_and_ignores_who_has_no_key(tmp_path: Path, kind: str) -> None:
    async with (
        stick(tmp_path, {"stick": kind, "devices": waiting("lock")}) as simulation,
        host(tmp_path, simulation) as js,
    ):
        lock = await join(js, simulation, "lock", "Security_S2")
        assert js.seen("added")[0]["security"] == "S2_AccessControl"
        assert js.seen("dsk")[0]["dsk"] == dsks.to_text(lock.dsk)[dsks.DIGITS :]
        assert lock.guard.describe()["granted"] == ["S2_ACCESS_CONTROL"]
        assert await js.call("insecure", node=lock.id) is False
        assert lock.refused == 1
        await js.call("call", node=lock.id, **{"class": "Door Lock", "method": "set", "args": [0]})
        assert lock.root.values["lock"] == 0
        result = await js.call("call", node=lock.id, **{"class": "User Code", "method": "set", "args": [1, 1, "2468"]})
        assert result["status"] == 0xFF
        assert lock.root.values["user/1"] == [1, b"2468".hex()]
        await simulation.control({"op": "set", "device": "lock", "name": "locked", "value": True})
        await js.value(lock.id, "currentMode", value=255)


async def test_a_wrong_pin_ends_the_exchange_and_leaves_no_keys(tmp_path: Path) -> None:
    spec = {"devices": waiting("lock", "switch")}
    async with stick(tmp_path, spec) as simulation, host(tmp_path, simulation) as js:
        lock = await include(js, simulation, "lock", "Security_S2", pin="00001")
        assert js.seen("added")[0]["low"] is True
        assert not lock.guard.keys
        assert lock.guard.failure == "the peer gave up"


@pytest.mark.parametrize("kind", ["500", "800"])
async def test_an_old_lock_joins_with_s0(tmp_path: Path, kind: str) -> None:
    spec = {"stick": kind, "devices": waiting("s0-lock")}
    async with stick(tmp_path, spec) as simulation, host(tmp_path, simulation) as js:
        lock = await join(js, simulation, "s0-lock", "Security_S0")
        assert js.seen("added")[0]["security"] == "S0_Legacy"
        await js.call("call", node=lock.id, **{"class": "Door Lock", "method": "set", "args": [0]})
        await until(lambda: lock.root.values["lock"] == 0)
        await simulation.control({"op": "set", "device": "s0-lock", "name": "battery", "value": 11})
        assert (await js.call("call", node=lock.id, **{"class": "Battery", "method": "get"}))["level"] == 11
        assert await js.call("insecure", node=lock.id) is False


async def test_nodes_without_security_join_and_leave(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": waiting("old-switch")}) as simulation, host(tmp_path, simulation) as js:
        node = await join(js, simulation, "old-switch", "Insecure")
        number = node.id
        await js.call("exclude")
        await simulation.control({"op": "pair", "device": "old-switch"})
        await js.event("removed", node=number)
        assert node.id == 0
        again = await join(js, simulation, "old-switch", "Insecure")
        assert again.id == number + 1


@pytest.mark.parametrize("long_range", [False, True], ids=["mesh", "long range"])
async def test_a_smart_start_sensor_joins_by_itself(tmp_path: Path, *, long_range: bool) -> None:
    async with (
        stick(tmp_path, {"devices": waiting("smart-start-sensor")}) as simulation,
        host(tmp_path, simulation) as js,
    ):
        sensor = simulation.network.nodes["smart-start-sensor"]
        await simulation.control({"op": "pair", "device": sensor.name})
        classes = ["S2_Authenticated"] if long_range else ["S2_Authenticated", "S2_Unauthenticated"]
        await js.call("provision", dsk=dsks.to_text(sensor.dsk), classes=classes, longRange=long_range)
        await until(lambda: sensor.id, 30)
        assert (sensor.id >= 256) is long_range
        await js.event("interviewed", id=sensor.id)
        assert js.seen("added")[0]["security"] == "S2_Authenticated"
        assert not js.seen("dsk")
        await simulation.control({"op": "set", "device": sensor.name, "name": "temperature", "value": -3.5})
        await js.value(sensor.id, "Air temperature", value=-3.5)


async def test_a_failed_node_is_removed_and_another_takes_the_place_of_one(tmp_path: Path) -> None:
    devices = [{"name": "a", "profile": "switch", "node": 2}, {"name": "b", "profile": "switch", "node": 3}]
    spec = {"devices": [*devices, *waiting("plug")]}
    async with stick(tmp_path, spec) as simulation, host(tmp_path, simulation) as js:
        await js.event("all ready")
        for name in ("a", "b"):
            await simulation.control({"op": "power", "device": name, "on": False})
        for number in (2, 3):
            assert await js.call("ping", node=number) is False
            assert await js.call("isFailed", node=number) is True
        await js.call("removeFailed", node=2)
        await js.event("removed", node=2)
        await js.call("replaceFailed", node=3)
        await simulation.control({"op": "pair", "device": "plug"})
        await js.event("added", node=3)
        assert simulation.network.nodes["plug"].id == 3


async def test_zwave_js_reads_the_codes_that_are_printed_on_our_devices(tmp_path: Path) -> None:
    devices = waiting("smart-start-sensor", "lock")
    async with stick(tmp_path, {"devices": devices}) as simulation, host(tmp_path, simulation) as js:
        told = (await simulation.control({"op": "list"}))["devices"]
        for device in told:
            found = await js.call("qr", text=device["qr"])
            assert found["dsk"] == device["dsk"]
            assert found["version"] == (1 if device["profile"] == "smart-start-sensor" else 0)
            assert found["productId"] == PROFILES[device["profile"]].product


async def test_one_secure_multicast_reaches_several_nodes(tmp_path: Path) -> None:
    devices = [{"name": name, "profile": "switch", "pairing": False} for name in ("left", "right")]
    async with stick(tmp_path, {"devices": devices}) as simulation, host(tmp_path, simulation) as js:
        nodes = [await join(js, simulation, name, "Default") for name in ("left", "right")]
        for value in (True, False, True):
            await js.call("multicast", nodes=[node.id for node in nodes], cc=0x25, property="targetValue", value=value)
            await until(lambda value=value: all(bool(n.root.values["switch"]) is value for n in nodes))  # type: ignore[misc]


async def test_what_exceeds_a_frame_comes_in_segments_under_s2(tmp_path: Path) -> None:
    async with stick(tmp_path, {"devices": waiting("lock", "dimmer")}) as simulation, host(tmp_path, simulation) as js:
        lock = await join(js, simulation, "lock", "Security_S2")
        codes = [{"userId": number, "userIdStatus": 1, "userCode": f"12345678{number:02d}"} for number in range(1, 6)]
        await js.call("call", node=lock.id, **{"class": "User Code", "method": "setMany", "args": [codes]})
        await until(lambda: all(f"user/{number}" in lock.root.values for number in range(1, 6)))
        dimmer = await join(js, simulation, "dimmer", "Default")
        told = await js.call("metadata", node=dimmer.id, cc=0x70, property=1)
        assert told["description"] == PROFILES["dimmer"].parameters[0].info
