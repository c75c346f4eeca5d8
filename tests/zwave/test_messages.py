"""Commands to and from nodes, over a scripted stick: what is wrapped, answered, repeated and put together."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from zwave_peer import LEGACY, Peer, callback, response, stick

from agent.driver import DeviceRefused, DeviceUnreachable, NotSupported
from drivers.zwave import functions
from drivers.zwave import messages as messages_module
from drivers.zwave.codec import Command, make
from drivers.zwave.commands.transport import SupervisionStatus
from drivers.zwave.controller import Controller
from drivers.zwave.encapsulation import Layers, crc_encapsulate, wrap
from drivers.zwave.link import Link
from drivers.zwave.messages import NoAnswer, Received
from drivers.zwave.transport_service import COMPLETE, Receiver, Sender
from drivers.zwave.transport_service import Send as Segment
from tests.conformance.zwave_mock import Stack

REPORT = make("Binary Switch Report", current_value=255)
GET = make("Binary Switch Get")


class Rig:
    """A node 2 at the far end of a scripted stick. `answers` are what it says next, one for each command that it gets."""

    def __init__(self, peer: Peer, stack: Stack) -> None:
        self.peer, self.stack = peer, stack
        self.messages = stack.messages
        self.heard: list[Received] = []
        self.got: list[bytes] = []
        self.answers: list[bytes | None] = []
        self.messages.listener = self.heard.append
        peer.on("SendData", say=self._send)
        stack.record(2, {0x25: 1, 0x6C: 1, 0x55: 2})

    def _send(self, payload: bytes) -> list[bytes]:
        values = functions.decode_request(0x13, payload)
        self.got.append(values["payload"])
        said = [response("SendData", started=1), callback("SendData", callback_id=payload[-1], status=0)]
        answer = self.answers.pop(0) if self.answers else None
        return said if answer is None else [*said, self.from_node(answer)]

    @staticmethod
    def from_node(data: bytes) -> bytes:
        return callback("ApplicationCommand", source=2, payload=data)

    async def says(self, *commands: bytes, answers: int = 0) -> None:
        """The node sends these; wait until all are worked off and it got `answers` commands."""
        before = len(self.got)
        self.peer.send(*map(self.from_node, commands))
        await self.stack.link.call("GetVersion")
        await self.peer.until(lambda: len(self.got) >= before + answers)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    peer = Peer(tmp_path / "stick")
    stick(peer, LEGACY)
    link = Link(str(peer.link))
    await link.open()
    controller = Controller(link)
    await controller.start()
    stack = Stack(link, controller, {})
    yield Rig(peer, stack)
    stack.secured.segments.close()
    link.close()
    await stack.settled()
    peer.unplug()


def names(rig: Rig) -> list[str]:
    return [one.command.name for one in rig.heard if isinstance(one.command, Command)]


async def test_a_supervised_command_is_reported_and_a_repetition_only_reported(rig: Rig) -> None:
    wrapped = wrap(REPORT, Layers(session=9))
    await rig.says(wrapped, wrapped, answers=2)
    assert names(rig) == ["Binary Switch Report"]
    report = make("Supervision Report", more_updates=0, wake_up_request=0, session=9, status=0xFF, duration=0)
    assert rig.got == [report, report]


async def test_what_an_endpoint_says_is_answered_there(rig: Rig) -> None:
    await rig.says(wrap(REPORT, Layers(source=3, session=1)), answers=1)
    assert rig.heard[0].endpoint == 3
    assert rig.got[0][:4] == bytes((0x60, 0x0D, 0, 3))


async def test_checksums_and_lists_of_commands(rig: Rig) -> None:
    good = crc_encapsulate(REPORT)
    await rig.says(good, good[:-1] + bytes((good[-1] ^ 1,)), wrap([REPORT, GET], Layers()), b"", b"\x25")
    assert names(rig) == ["Binary Switch Report", "Binary Switch Report", "Binary Switch Get"]
    assert rig.messages.figures["unreadable"] == 1


async def test_a_lost_answer_is_asked_for_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.answers = [None, REPORT]
    answer = await rig.messages.ask(2, GET, "Binary Switch Report", timeout=0.05)
    assert answer.command.values["current_value"] == 255
    assert len(rig.got) == 2
    with pytest.raises(NoAnswer):
        await rig.messages.ask(2, GET, "Binary Switch Report", timeout=0.01, tries=3)
    assert len(rig.got) == 5


@pytest.mark.parametrize(
    ("status", "error"),
    [(SupervisionStatus.NO_SUPPORT, NotSupported), (SupervisionStatus.FAIL, DeviceRefused)],
)
async def test_what_became_of_a_command_is_said(rig: Rig, status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        await supervised(rig, status)


async def supervised(rig: Rig, *statuses: int) -> Any:
    """Set, and let the node report these; sessions begin at 0."""
    session = rig.messages._asked._next.get(2, 0)

    def report(status: int) -> bytes:
        more = status == SupervisionStatus.WORKING
        return make(
            "Supervision Report", more_updates=more, wake_up_request=0, session=session, status=status, duration=1
        )

    rig.answers = [report(statuses[0])]
    outcome = await rig.messages.set(2, make("Binary Switch Set", target_value=255))
    if statuses[1:]:
        await rig.says(*map(report, statuses[1:]))
    return outcome


async def test_work_that_takes_time_ends_later(rig: Rig) -> None:
    ended: list[int] = []
    rig.messages.ended = lambda _node, _endpoint, outcome: ended.append(outcome.status)
    outcome = await supervised(rig, SupervisionStatus.WORKING, SupervisionStatus.SUCCESS)
    assert (outcome.status, outcome.final, outcome.duration) == (SupervisionStatus.WORKING, False, 1)
    assert ended == [SupervisionStatus.SUCCESS]


async def test_a_node_that_says_nothing_of_a_command_is_not_believed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages_module, "SUPERVISION_TIMEOUT", 0.01)
    with pytest.raises(DeviceUnreachable, match="what became of it"):
        await rig.messages.set(2, make("Binary Switch Set", target_value=255))


async def test_long_commands_come_in_segments(rig: Rig) -> None:
    long = make("Node Naming Name Report", text="x" * 90)
    segments = [one.data for one in Sender(1, long, 3, 46).start(0.0) if isinstance(one, Segment)]
    assert len(segments) > 2
    await rig.says(*segments, answers=1)
    assert names(rig) == ["Node Naming Name Report"]
    assert rig.got == [make(COMPLETE, session=3)]


async def test_long_commands_are_sent_in_segments(rig: Rig) -> None:
    long = make("Node Naming Name Set", text="y" * 90)
    receiver = Receiver()
    whole: list[bytes] = []
    plain = rig._send

    def assemble(payload: bytes) -> list[bytes]:
        said = plain(payload)
        for effect in receiver.receive(1, rig.got[-1], 0.0):
            if isinstance(effect, Segment):
                said.append(rig.from_node(effect.data))
            else:
                whole.append(effect.data)  # type: ignore[union-attr]
        return said

    rig.peer.on("SendData", say=assemble)
    await rig.messages.send(2, long)
    assert whole == [long]
