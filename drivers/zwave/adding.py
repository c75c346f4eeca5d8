"""The stick adds and removes nodes, one at a time: each call from its start until the stick is idle again.

Always with high power and network wide (INS13954, AddNodeToNetwork and RemoveNodeFromNetwork): devices far away join and leave through
others that repeat for them, and one of another network leaves that one.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agent.driver import DeviceRefused, DriverLost
from drivers.zwave.function_tables import AddMode, AddStatus
from drivers.zwave.layout import Values
from drivers.zwave.link import Answer, CallAborted, Link, StickRefused, StickSilent

PROTOCOL_TIMEOUT = 60.0  # seconds that a node which was found has to get its id; large networks take long
STOP_TIMEOUT = 10.0
REPLACED, WAITS_FOR_NODE = 4, 3  # status of ReplaceFailedNode
Told = Callable[[], None]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Found:
    """What the stick said of a node that joins or leaves. `node` 0: one of another network, or of none, that left it."""

    node: int = 0
    info: Values = field(default_factory=dict)


def _nothing() -> None:
    """Nobody wants to know."""


class Adding:
    """Adding and removing on one stick. `busy`: a node was found, and whoever called is not done with it; the caller resets it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.busy = False

    async def add(self, limit: float, ready: Told = _nothing, **mode: Any) -> Found | None:
        """Add one node; None where none came within `limit` seconds. Raises DeviceRefused, DriverError."""
        found = Found()
        answer = await self._run("AddNode", limit, found, ready, **mode)
        if answer is None:
            return None
        status = answer.callback["status"]
        done = await self._stop("AddNode")
        found.node = found.node or answer.callback.get("node", 0) or done.callback.get("node", 0)
        if status not in (AddStatus.PROTOCOL_DONE, AddStatus.DONE) or not found.node:
            raise DeviceRefused("the stick could not add the device: put it into its pairing mode again")
        return found

    async def remove(self, limit: float, ready: Told = _nothing, met: Told = _nothing) -> Found | None:
        """The node that left; None where none did within `limit` seconds. Raises DeviceRefused, DriverError."""
        found = Found()
        answer = await self._run("RemoveNode", limit, found, ready, met, mode=AddMode.ANY)
        if answer is None:
            return None
        await self._stop("RemoveNode")
        if answer.callback["status"] != AddStatus.DONE:
            raise DeviceRefused("the stick could not remove the device: press its button again")
        found.node = found.node or int(answer.callback.get("node", 0))
        return found

    async def replace(self, node: int, limit: float, ready: Told = _nothing) -> bool:
        """Let another node take the id of one that has failed; False where none came within `limit` seconds.

        Raises DeviceRefused, DriverError.
        """
        try:
            async with asyncio.timeout(limit):
                answer = await self._link.call("ReplaceFailedNode", progress=lambda _waits: ready(), node=node)
        except StickRefused as error:
            raise DeviceRefused("the device answers, so the stick does not take it for failed") from error
        except TimeoutError:
            await self._stop("AddNode")
            return False
        except BaseException:
            await self._stop("AddNode")
            raise
        if answer.callback["status"] != REPLACED:
            raise DeviceRefused("the stick could not replace the device: put the new one into its pairing mode again")
        self.busy = True
        return True

    async def end(self) -> None:
        """Whatever an earlier run was at is over. Raises DriverError."""
        for name in ("AddNode", "RemoveNode"):
            with suppress(StickRefused, StickSilent):
                await self._link.call(name, called_back=False, mode=AddMode.STOP, high_power=1, network_wide=1)

    async def _run(
        self, name: str, limit: float, found: Found, ready: Told, met: Told = _nothing, **mode: Any
    ) -> Answer | None:
        try:
            async with asyncio.timeout(limit) as scope:
                return await self._link.call(
                    name,
                    progress=lambda values: self._progress(values, found, scope, ready, met),
                    high_power=1,
                    network_wide=1,
                    **mode,
                )
        except TimeoutError:
            await self._stop(name)
            return None
        except BaseException:
            await self._stop(name)
            raise

    def _progress(self, values: Values, found: Found, scope: asyncio.Timeout, ready: Told, met: Told) -> None:
        status = values["status"]
        if status == AddStatus.READY:
            ready()
        elif status == AddStatus.NODE_FOUND:
            self.busy = True  # closing the window waits for it
            met()
            scope.reschedule(asyncio.get_running_loop().time() + PROTOCOL_TIMEOUT)
        elif status in (AddStatus.END_NODE, AddStatus.CONTROLLER):
            found.node, found.info = values.get("node", 0), values

    async def _stop(self, name: str) -> Answer:
        """End adding or removing: once with a callback, and once without, which is what sets every stick idle."""
        answer = Answer()
        try:
            with suppress(StickRefused, StickSilent, CallAborted, TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    answer = await self._link.call(name, mode=AddMode.STOP, high_power=1, network_wide=1)
            with suppress(StickRefused, StickSilent):
                await self._link.call(name, called_back=False, mode=AddMode.STOP)
        except DriverLost:
            log.debug("the stick is gone while it was adding or removing")
        return answer
