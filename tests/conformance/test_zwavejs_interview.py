"""Interviews of the nodes of zwave-js's mock server."""

from pathlib import Path
from typing import Any

import pytest

from agent.driver import DeviceUnreachable
from drivers.zwave.catalog import NodeMap
from drivers.zwave.codec import Command
from drivers.zwave.interview import Interview
from drivers.zwave.messages import Received
from drivers.zwave.nodes import NodeBook, NodeRecord
from drivers.zwave.nodes import interviewed as described
from tests.conformance.zwave_mock import Stack, mock_server, node, stack

pytestmark = pytest.mark.conformance

METER = {"meterType": 1, "supportedScales": [0, 2], "supportedRateTypes": [1], "supportsReset": True}
PLUG = node(2, ("Binary Switch", 2), ("Supervision", 1), ("Meter", 4, METER))
CLIMATE = node(
    4, ("Multilevel Sensor", 11, {"sensors": {"1": {"supportedScales": [0, 1]}, "5": {"supportedScales": [0]}}})
)
LOCK = node(
    5, ("Security 2", 1), ("Supervision", 1), ("Door Lock", 4, {"secure": True}),
    security=["S2_AccessControl", "S2_Authenticated", "S2_Unauthenticated"],
    isListening=False, isFrequentListening="1000ms",
)  # fmt: skip
OLD_LOCK = node(6, ("Security", 1, {"secure": False}), ("Door Lock", 1, {"secure": True}), security=["S0_Legacy"])
THERMOSTAT = node(
    7, ("Thermostat Mode", 3, {"supportedModes": [0, 1, 2]}),
    ("Thermostat Setpoint", 3, {"setpoints": {
        "1": {"minValue": 5, "maxValue": 30, "scale": "°C"}, "2": {"minValue": 16, "maxValue": 32, "scale": "°C"}}}),
)  # fmt: skip
ALARM = node(
    8, ("Notification", 8, {"supportsV1Alarm": False, "notificationTypesAndEvents": {"1": [1, 2], "6": [22, 23]}})
)
STRIP = node(
    9, ("Multi Channel", 4), ("Binary Switch", 1),
    endpoints=[{"genericDeviceClass": 0x10, "specificDeviceClass": 1, "classes": [["Binary Switch", 1, {}]]}] * 2,
)  # fmt: skip


async def interviewed(ours: Stack, number: int, **known: Any) -> NodeRecord:
    record = ours.records.setdefault(number, NodeRecord(number, f"zw.{number}"))
    for key, value in known.items():
        setattr(record, key, value)
    saves: list[str] = []
    await Interview(record, ours.messages, lambda: saves.append(record.done[-1])).run()
    assert saves[-1] == "abilities"
    return record


async def test_a_plug(tmp_path: Path) -> None:
    async with mock_server(PLUG) as mock, stack(mock) as ours:
        record = await interviewed(ours, 2, listening=False)
        assert record.listening
        assert (record.root.generic, record.security) == (6, [])
        assert record.root.classes[0x25] == 2
        assert record.root.classes[0x86] == 3
        assert record.manufacturer is not None
        assert record.firmware
        assert record.root.answer("Meter Supported Report")
        heard: list[str] = []
        ours.messages.listener = lambda received: heard.append(received.command.name)  # type: ignore[union-attr]
        await Interview(record, ours.messages, lambda: None).state(NodeMap(described(record)).refresh())
        assert heard.count("Meter Report") == 2
        assert "Binary Switch Report" in heard
        book = NodeBook(tmp_path, 1)
        book.load()
        book.nodes[2] = record
        book.save(2)
        again = NodeBook(tmp_path, 1)
        assert again.load() == []
        assert again.nodes == {2: record}


async def test_sensors_of_several_types() -> None:
    async with mock_server(CLIMATE) as mock, stack(mock) as ours:
        record = await interviewed(ours, 4)
        assert described(record).endpoints[0].facts.sensors == {1: {0, 1}, 5: {0}}


async def test_a_lock_whose_keys_are_found() -> None:
    async with mock_server(LOCK) as mock, stack(mock) as ours:
        record = await interviewed(ours, 5)
        assert record.security == ["S2_ACCESS_CONTROL", "S2_AUTHENTICATED", "S2_UNAUTHENTICATED"]
        assert record.root.secure == [0x62]
        assert record.frequent
        assert record.root.classes[0x62] == 4
        assert record.root.answer("Door Lock Capabilities Report")


async def test_a_lock_of_security_0() -> None:
    async with mock_server(OLD_LOCK) as mock, stack(mock) as ours:
        record = await interviewed(ours, 6)
        assert (record.security, record.root.secure) == (["S0"], [0x62])


async def test_a_thermostat() -> None:
    async with mock_server(THERMOSTAT) as mock, stack(mock) as ours:
        facts = described(await interviewed(ours, 7)).endpoints[0].facts
        assert facts.modes == {0, 1, 2}
        limits = {kind: found and (found.minimum, found.maximum) for kind, found in (facts.setpoints or {}).items()}
        assert limits == {1: (5, 30), 2: (16, 32)}


async def test_an_alarm() -> None:
    async with mock_server(ALARM) as mock, stack(mock) as ours:
        facts = described(await interviewed(ours, 8)).endpoints[0].facts
        assert facts.notifications == {1: {1, 2}, 6: {22, 23}}


async def test_endpoints() -> None:
    async with mock_server(STRIP) as mock, stack(mock) as ours:
        record = await interviewed(ours, 9)
        assert sorted(record.endpoints) == [0, 1, 2]
        assert all(record.endpoints[index].classes[0x25] == 1 for index in (1, 2))


async def test_an_interview_goes_on_where_it_stopped() -> None:
    async with mock_server(CLIMATE) as mock, stack(mock) as ours:
        await mock("sleep", node=4, on=True)
        record = ours.records.setdefault(4, NodeRecord(4, "zw.4"))
        with pytest.raises(DeviceUnreachable):
            await Interview(record, ours.messages, lambda: None).run()
        assert record.done == ["protocol"]
        await mock("sleep", node=4, on=False)
        record = await interviewed(ours, 4)
        received = await mock("received", node=4)
        assert received.count("VersionCCGet") == 1
        await interviewed(ours, 4, done=[one for one in record.done if one != "abilities"])
        assert (await mock("received", node=4)).count("MultilevelSensorCCGetSupportedSensor") == 1


async def test_a_strip_that_counts_instances() -> None:
    old = {**STRIP, "classes": [["Multi Channel", 1, {}], ["Binary Switch", 1, {}]]}
    async with mock_server(old) as mock, stack(mock) as ours:
        record = await interviewed(ours, 9)
        assert record.version(0x60) == 1
        assert sorted(record.endpoints) == [0, 1, 2]
        assert [record.endpoints[index].classes for index in (1, 2)] == [{0x25: 1}, {0x25: 1}]
        assert record.endpoints[2].generic == record.root.generic
        heard: list[Received] = []
        ours.messages.listener = heard.append
        await Interview(record, ours.messages, lambda: None).state(NodeMap(described(record)).refresh())
        switches = [
            one.endpoint for one in heard if isinstance(one.command, Command) and one.command.command_class == 0x25
        ]
        assert switches == [1, 2]
