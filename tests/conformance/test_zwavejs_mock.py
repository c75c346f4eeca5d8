"""Our driver's parts against the mock server of zwave-js: its controller and its nodes are not ours."""

import pytest

from agent.driver import DeviceUnreachable
from drivers.zwave.codec import make
from drivers.zwave.commands.transport import SupervisionStatus
from drivers.zwave.controller import Controller
from drivers.zwave.link import Link
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.transmit import Undelivered
from tests.conformance.zwave_mock import mock_server, node, stack

pytestmark = pytest.mark.conformance

SWITCH = node(2, ("Binary Switch", 2), ("Supervision", 1))
LOCK = node(
    5,
    ("Security 2", 1),
    ("Supervision", 1),
    ("Door Lock", 4, {"secure": True}),
    security=["S2_AccessControl", "S2_Authenticated", "S2_Unauthenticated"],
    isListening=False,
    isFrequentListening="1000ms",
)
OLD_LOCK = node(6, ("Security", 1, {"secure": False}), ("Door Lock", 1, {"secure": True}), security=["S0_Legacy"])
STRIP = node(
    9, ("Multi Channel", 4), ("Binary Switch", 1),
    endpoints=[{"genericDeviceClass": 0x10, "specificDeviceClass": 1, "classes": [["Binary Switch", 1, {}]]}] * 2,
)  # fmt: skip
ON, GET = make("Binary Switch Set", target_value=255), make("Binary Switch Get")


async def test_its_controller_starts() -> None:
    async with mock_server(SWITCH) as mock:
        link = Link(mock.port)
        await link.open()
        facts = await Controller(link).start()
        assert (facts.home_id, facts.nodes, facts.restart_reason) == (0xC0FFEE01, (1, 2), 7)
        assert not link.figures()["retransmissions"]
        link.close()


async def test_its_nodes_obey_and_answer() -> None:
    async with mock_server(SWITCH) as mock, stack(mock) as ours:
        ours.record(2, {0x25: 2})
        assert await ours.messages.set(2, ours.messages.make(2, "Binary Switch Set", target_value=255)) is None
        answer = await ours.messages.ask(2, GET, "Binary Switch Report")
        assert answer.command.values["current_value"] == 255
        info = await ours.radio.node_info(2)
        assert 0x25 in info["command_classes"]


async def test_supervision_says_what_became_of_a_command() -> None:
    async with mock_server(SWITCH) as mock, stack(mock) as ours:
        ours.record(2, {0x25: 2, 0x6C: 1})
        outcome = await ours.messages.set(2, ON)
        assert outcome is not None
        assert outcome.status == SupervisionStatus.SUCCESS


async def test_endpoints_are_reached() -> None:
    async with mock_server(STRIP) as mock, stack(mock) as ours:
        ours.record(9, {0x60: 4, 0x25: 1})
        await ours.messages.send(9, ON, 2)
        answer = await ours.messages.ask(9, GET, "Binary Switch Report", 2)
        assert (answer.endpoint, answer.command.values["current_value"]) == (2, 255)


async def test_security_2_carries_commands_both_ways() -> None:
    async with mock_server(LOCK) as mock, stack(mock) as ours:
        ours.record(5, {0x62: 4, 0x6C: 1}, (0x62,), "S2_ACCESS_CONTROL")
        outcome = await ours.messages.set(5, make("Door Lock Operation Set", mode=255))
        assert outcome is not None
        for _ in range(3):
            answer = await ours.messages.ask(5, make("Door Lock Operation Get"), "Door Lock Operation Report")
            assert answer.security is SecurityClass.S2_ACCESS_CONTROL
        ours.secured.s2.drop_span(5)
        answer = await ours.messages.ask(5, make("Door Lock Operation Get"), "Door Lock Operation Report")
        assert answer.command.values["mode"] == 255


async def test_a_command_that_the_node_cannot_read_is_sent_again() -> None:
    async with mock_server(LOCK) as mock, stack(mock) as ours:
        ours.record(5, {0x62: 4}, (0x62,), "S2_ACCESS_CONTROL")
        for _ in range(2):
            await ours.messages.ask(5, make("Door Lock Operation Get"), "Door Lock Operation Report")
            await mock("desync", node=5)
        await ours.messages.ask(5, make("Door Lock Operation Get"), "Door Lock Operation Report")
        assert ours.secured.figures["s2_repeated"] >= 2


async def test_a_plain_report_of_a_secure_class_is_not_believed() -> None:
    async with mock_server(LOCK) as mock, stack(mock) as ours:
        ours.record(5, {0x62: 4}, (0x62,), "S2_ACCESS_CONTROL")
        heard = []
        ours.messages.listener = heard.append
        await mock("send", node=5, hex="6203ff00020000")
        await ours.messages.ask(5, make("Door Lock Operation Get"), "Door Lock Operation Report")
        assert [one.security for one in heard] == [SecurityClass.S2_ACCESS_CONTROL]
        assert ours.messages.figures["insecure"] == 1


async def test_security_0_carries_commands_both_ways() -> None:
    async with mock_server(OLD_LOCK) as mock, stack(mock) as ours:
        ours.record(6, {0x62: 1}, (0x62,), "S0")
        await ours.messages.set(6, make("Door Lock Operation Set", mode=255))
        answer = await ours.messages.ask(6, make("Door Lock Operation Get"), "Door Lock Operation Report")
        assert (answer.security, answer.command.values["mode"]) == (SecurityClass.S0, 255)


async def test_a_node_that_sleeps_is_not_reached() -> None:
    async with mock_server(SWITCH) as mock, stack(mock) as ours:
        ours.record(2, {0x25: 2})
        await mock("sleep", node=2, on=True)
        with pytest.raises(Undelivered):
            await ours.messages.send(2, ON)
        with pytest.raises(DeviceUnreachable):
            await ours.messages.ask(2, GET, "Binary Switch Report")
        await mock("sleep", node=2, on=False)
        await ours.messages.ask(2, GET, "Binary Switch Report")
