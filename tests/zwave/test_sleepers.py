"""When a sleeping node is sent to sleep again, and when not."""

import asyncio
from typing import Any

import pytest

from agent.driver import DeviceUnreachable
from agent.model import DeviceAwake, DeviceId
from drivers.zwave import sleepers
from drivers.zwave.node import Node
from drivers.zwave.nodes import WAKE_UP, NodeRecord
from drivers.zwave.sleepers import Sleepers


class Air:
    """A network of one node, whose clock stands still."""

    def __init__(self) -> None:
        record = NodeRecord(4, "", listening=False, done=["abilities"])
        record.root.classes = {WAKE_UP: 2}
        self.node = Node(record)
        self.messages = self
        self.sleepers = Sleepers(self, lambda _: False)  # type: ignore[arg-type]
        self.told: list[Any] = []
        self.sink = self.told.append
        self.sent = 0
        self.crossing = False  # the next time, a wake-up comes while it is sent to sleep
        self.crossed = asyncio.Event()
        self.deaf = False

    def id(self, number: int) -> DeviceId:
        return DeviceId("zwave", str(number))

    def now(self) -> float:
        return 100.0

    def spawn(self, work: Any, _name: str) -> asyncio.Task[None]:
        self.task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        return self.task

    def make(self, _node: int, name: str) -> str:
        return name

    async def send(self, _node: int, command: str, **_options: Any) -> None:
        assert command == "Wake Up No More Information"
        self.sent += 1
        if self.crossing:
            self.crossing = False
            self.crossed.set()
            self.sleepers.woke(self.node)
        await asyncio.sleep(0)
        if self.deaf:
            raise DeviceUnreachable("it does not hear")


@pytest.mark.parametrize("deaf", [True, False])
async def test_a_wake_up_that_crosses_the_word_to_sleep_is_attended_to(
    deaf: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sleepers, "LOOK", 0.001)
    monkeypatch.setattr(sleepers, "IDLE", 0.005)
    air, done = Air(), []

    async def work() -> None:
        done.append(air.sent)

    air.crossing, air.deaf = True, deaf
    air.sleepers.woke(air.node)
    await air.crossed.wait()
    job = air.node.mailbox.put("set", work, 200.0)
    air.sleepers.attend(air.node)
    async with asyncio.timeout(5):
        await job
        await air.task
    assert done == [1], "before it was sent to sleep anew"
    assert air.sent == 2
    assert air.told == [DeviceAwake(DeviceId("zwave", "4"))] * 2
    assert not air.node.awake(100.0)


async def test_what_comes_for_a_node_that_nobody_attends_to_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    air = Air()
    air.node.awake_until = 110.0

    async def work() -> None:
        pass

    job = air.node.mailbox.put("set", work, 200.0)
    monkeypatch.setattr(sleepers, "IDLE", 0.01)
    air.sleepers.attend(air.node)
    async with asyncio.timeout(5):
        await job
        await air.task
    assert air.sent == 1
