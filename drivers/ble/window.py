"""The discovery window: opened on request, bound to one device or key where there is material, closed by itself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from agent.driver import InvalidParameters, Sink
from agent.model import Discovery, JoinWindow
from drivers.ble.material import Material, parse

LONGEST = 3600  # seconds
REMEMBERED = 4096  # strangers that are not looked at twice

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
Changed = Callable[[bool], Coroutine[Any, Any, None]]


class Window:
    """The window of one adapter. `changed` is awaited when it opens and when it closes."""

    def __init__(self, radio: str, sink: Sink, spawn: Spawn, changed: Changed) -> None:
        self._radio, self._sink, self._spawn, self._changed = radio, sink, spawn, changed
        self._task: asyncio.Task[None] | None = None
        self.material: Material | None = None  # of the open window
        self._passed: set[str] = set()

    @property
    def is_open(self) -> bool:
        return self.material is not None

    def material_of(self, request: Discovery) -> Material:
        """Raises InvalidParameters."""
        if request.duration <= 0:
            raise InvalidParameters("duration must be at least 1 second")
        return parse(request.material)

    async def open(self, duration: int, material: Material) -> None:
        """Open it, in place of one that is open."""
        await self.close()
        seconds = min(duration, LONGEST)
        await self._changed(True)
        self._passed.clear()
        self.material = material
        self._sink(JoinWindow(self._radio, seconds))
        self._task = self._spawn(self._hold(seconds), "discovery window")

    async def close(self) -> None:
        """Nothing happens when none is open."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})
        await self._ended()

    async def _hold(self, seconds: int) -> None:
        await asyncio.sleep(seconds)
        await self._ended()

    async def _ended(self) -> None:
        if self.material is not None:
            self.material = None
            self._sink(JoinWindow(self._radio, 0))
            await self._changed(False)

    # ---- who is considered ------------------------------------------------------------------------------------------

    def admits(self, address: str) -> bool:
        """Whether a stranger may come in: the window is open, it is meant for this address, and it was not passed over before."""
        return self.material is not None and self.material.admits(address) and address not in self._passed

    def pass_over(self, address: str) -> None:
        """Do not take this one in this window: it was just removed, failed, or is nothing that the hub knows."""
        if len(self._passed) < REMEMBERED:
            self._passed.add(address)
