"""Sleeping nodes: what waits for one is done when it wakes up, and then it is sent to sleep again (SDS10242, Wake Up)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.driver import DeviceUnreachable, DriverError, DriverLost
from agent.model import DeviceAwake, DeviceId
from drivers.zwave.node import Job, Node
from drivers.zwave.nodes import WAKE_UP
from drivers.zwave.transmit import Urgency

if TYPE_CHECKING:
    from drivers.zwave.network import Network

AWAKE = 10.0  # seconds that a node listens after it woke up, at least
IDLE = 0.25  # seconds without anything for a node that is awake until it is sent to sleep
WANTED = 3.0  # the same while the hub has a command for it: that goes to disk before it comes here
LOOK = 0.05  # seconds between two looks into a mailbox


class Sleepers:
    """`waits` tells whether the hub has a command for a device."""

    def __init__(self, network: "Network", waits: Callable[[DeviceId], bool]) -> None:
        self._network = network
        self._waits = waits
        self._attending: dict[int, asyncio.Task[None]] = {}

    def woke(self, node: Node) -> None:
        """A node said that it is awake."""
        node.awake_until = self._network.now() + AWAKE
        if not node.record.sleepy:
            return
        if node.ready:  # told every time: what was tried while it slept is to be tried anew
            self._network.sink(DeviceAwake(self._network.id(node.id)))
        self.attend(node)

    def attend(self, node: Node) -> None:
        """Have somebody do what waits for a node that is awake."""
        running = self._attending.get(node.id)
        if running is None or running.done():
            with suppress(DriverLost):
                self._attending[node.id] = self._network.spawn(self._attend(node), f"node {node.id} is awake")

    def pop(self, number: int) -> asyncio.Task[None] | None:
        """Who attends to a node that is gone."""
        return self._attending.pop(number, None)

    async def _attend(self, node: Node) -> None:
        while node.awake(self._network.now()):  # it may wake up anew while it is sent to sleep
            if not node.ready:
                await self._network.interview_rest(node.id)
            await self._empty(node)
            if not node.awake(self._network.now()) or not node.record.version(WAKE_UP):
                return
            node.awake_until = 0.0
            done = self._network.messages.make(node.id, "Wake Up No More Information")
            with suppress(DeviceUnreachable):  # then it sleeps already
                await self._network.messages.send(node.id, done, urgency=Urgency.BACKGROUND)

    async def _empty(self, node: Node) -> None:
        """Work off its mailbox, until nothing has come for a while, or it sleeps."""
        network, quiet = self._network, 0.0
        while node.awake(network.now()) and quiet < (WANTED if self._waits(network.id(node.id)) else IDLE):
            job = node.mailbox.take(network.now())
            if job is not None:
                quiet = 0.0
                await _done(job)
                continue
            quiet = 0.0 if node.busy else quiet + LOOK
            await asyncio.sleep(LOOK)


async def _done(job: Job) -> None:
    try:
        await job.work()
    except DriverError as error:
        if not job.done.done():
            job.done.set_exception(error)
    else:
        if not job.done.done():
            job.done.set_result(None)
