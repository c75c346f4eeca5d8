"""Commands in Z-Wave's own words, on simulated nodes: what a user asks and tells that no capability covers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import examples, until
from hypothesis import given
from hypothesis import strategies as st

from agent.driver import DriverLost, InvalidParameters, Native, NotNow, NotSupported, UnknownDevice
from drivers.sim.zwave.node import Node
from drivers.zwave.codec import CodecError, Command, Raw, decode, encode, layout_of, make, names
from drivers.zwave.keys import network_keys
from drivers.zwave.native import _plain
from drivers.zwave.settings import ZwaveSettings
from tests.conformance.driver_contract import running
from tests.conformance.zwave_sim_rig import SimRig, hasten

DIMMER, MOTION, LOCK = "2", "3", "4"
CLASSES = {0x26: 4, 0x70: 4, 0x81: 1, 0x85: 2, 0x87: 3, 0x98: 1}


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, "800")
    profiles = {"dimmer": "dimmer", "motion": "motion-sensor", "lock": "lock"}
    rig.devices = [{"name": n, "profile": p, "node": at} for at, (n, p) in enumerate(profiles.items(), 2)]
    rig.interviewed(2, CLASSES)
    rig.interviewed(3, {0x70: 1, 0x84: 2}, listening=False)
    rig.interviewed(4, {0x63: 1, 0x6C: 1, 0x9F: 1}, security=["S2_ACCESS_CONTROL"])
    rig.secure(4, [0x63])
    await rig.start()
    yield rig
    await rig.close()


def native(driver: object) -> Native:
    assert isinstance(driver, Native)
    return driver


async def test_a_device_says_what_it_can_be_told(rig: SimRig) -> None:
    driver = native(rig.driver())
    with pytest.raises(DriverLost):
        driver.native_commands(DIMMER)
    with pytest.raises(DriverLost):
        await driver.native(DIMMER, "0", "Configuration Get", {}, wait=0)
    async with running(driver):  # type: ignore[arg-type]
        offered = driver.native_commands(DIMMER)["0"]
        assert offered["Configuration Set"] == ["default", "parameter", "size", "value"]
        assert "Configuration Report" not in offered, "which it says itself"
        assert not [name for name in offered if name.startswith("Security")]


async def test_parameters_are_read_and_set_in_the_size_that_they_have(rig: SimRig) -> None:
    dimmer = rig.simulation.network.nodes["dimmer"]
    driver = native(rig.driver())

    async def tell(command: str, **values: Any) -> list[dict[str, Any]]:
        return await driver.native(DIMMER, "0", command, values, wait=0)

    async with running(driver):  # type: ignore[arg-type]
        (before,) = await tell("Configuration Get", parameter=1)
        assert before["command"] == "Configuration Report"
        wanted = before["value"] + 1
        assert await tell("Configuration Set", parameter=1, value=wanted) == []
        (after,) = await tell("Configuration Get", parameter=1)
        assert (after["value"], after["size"]) == (wanted, before["size"])
        await tell("Configuration Set", parameter=1, default=True)
        assert (await tell("Configuration Get", parameter=1))[0]["value"] == before["value"]
        info = await tell("Configuration Info Get", parameter=1)
        assert "".join(one["info"] for one in info) == dimmer.profile.parameters[0].info
        assert info[-1]["reports_to_follow"] == 0
        await tell("Association Set", group=1, nodes=[1, 7])
        assert (await tell("Association Get", group=1))[0]["nodes"] == [1, 7]


@pytest.mark.parametrize(
    ("command", "values", "error"),
    [
        ("Configuration Get", {}, InvalidParameters),
        ("Configuration Get", {"parameter": 1, "colour": 2}, InvalidParameters),
        ("Configuration Get", {"parameter": 999}, InvalidParameters),
        ("Association Set", {"group": 1, "nodes": 10**9}, InvalidParameters),
        ("Association Set", {"group": 1, "nodes": [1] * 2000}, InvalidParameters),
        ("Configuration Report", {"parameter": 1}, InvalidParameters),
        ("Warp Drive Set", {}, InvalidParameters),
        ("Security 0 Nonce Get", {}, NotSupported),
        ("Door Lock Operation Get", {}, NotSupported),
    ],
)
async def test_what_cannot_be_told_is_said(rig: SimRig, command: str, values: Any, error: type[Exception]) -> None:
    driver = native(rig.driver())
    async with running(driver):  # type: ignore[arg-type]
        heard = rig.simulation.network.nodes["dimmer"].heard
        with pytest.raises(error):
            await driver.native(DIMMER, "0", command, values, wait=0)
        with pytest.raises(UnknownDevice):
            await driver.native(DIMMER, "9", "Configuration Get", {"parameter": 1}, wait=0)
        assert rig.simulation.network.nodes["dimmer"].heard == heard


async def test_a_sleeping_device_is_told_when_it_wakes_up(rig: SimRig) -> None:
    driver = native(rig.driver())
    motion = rig.simulation.network.nodes["motion"]
    async with running(driver):  # type: ignore[arg-type]
        with pytest.raises(NotNow):
            await driver.native(MOTION, "0", "Wake Up Interval Set", {"seconds": 7200}, wait=0)
        telling = asyncio.create_task(driver.native(MOTION, "0", "Wake Up Interval Set", {"seconds": 7200}, wait=60))
        await asyncio.sleep(0)
        await rig.control("wake", "motion")
        assert await telling == []
        await until(lambda: motion.wake_interval == 7200)
        assert motion.wake_target == 1


async def test_the_code_of_a_lock_is_told_with_its_key(rig: SimRig) -> None:
    lock, driver = rig.simulation.network.nodes["lock"], native(rig.driver())
    keys = network_keys(rig.secrets, ZwaveSettings(), bytes)
    (one,) = (one for one in keys if one.name == "S2_ACCESS_CONTROL")
    lock.guard.restore({one.name: keys[one].hex()})
    async with running(driver):  # type: ignore[arg-type]
        values = {"user": 3, "status": 1, "code": "2468"}
        assert await driver.native(LOCK, "0", "User Code Set", values, wait=0) == []
        assert lock.root.values["user/3"] == [1, b"2468".hex()]
        (told,) = await driver.native(LOCK, "0", "User Code Get", {"user": 3}, wait=0)
        assert (bytes(told["code"]), told["status"]) == (b"2468", 1)


async def test_a_device_gets_the_time_when_it_asks_and_when_its_clock_is_off(
    rig: SimRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Command | Raw] = []
    monkeypatch.setattr("agent.clock.kernel_synchronised", lambda: True)
    async with running(rig.driver()):
        monkeypatch.setattr(Node, "hear", lambda _node, payload, *_, **__: heard.append(decode(payload)))
        await rig.control("raw", "dimmer", data=make("Time Get").hex())
        await rig.control("raw", "dimmer", data=make("Clock Report", weekday=0, hour=0, minute=0).hex())
        wanted = {"Time Report", "Clock Set"}
        await until(lambda: wanted <= {one.name for one in heard if isinstance(one, Command)})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
OBJECTS = st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
JSON = SCALARS | OBJECTS | st.lists(SCALARS, max_size=3) | st.lists(OBJECTS, max_size=3)


@examples(2)
@given(st.data())
def test_whatever_values_are_given_cost_an_error_at_most(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names()))
    fields = sorted(layout_of(name).names)
    values = {field: data.draw(JSON) for field in fields if data.draw(st.booleans())}
    with suppress(CodecError):
        encode(Command(name, values))


@examples(2)
@given(st.sampled_from(names()), st.binary(max_size=40))
def test_whatever_a_device_says_is_json(name: str, payload: bytes) -> None:
    head = encode(Raw(Command(name).command_class, None))
    for number in range(0x20):
        try:
            said = decode(head + bytes((number,)) + payload)
        except CodecError:
            continue
        if isinstance(said, Command):
            json.dumps(_plain(dict(said.values)), ensure_ascii=False, allow_nan=False).encode()
