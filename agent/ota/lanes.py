"""Updates of devices beside the queue: one at a time for each kind of devices, and none while the hub itself is changed (turns.py).

Whoever has to give way ends at the next safe point, and goes on later where it was.
"""

import asyncio
from collections.abc import Awaitable, Callable

from agent.ota import turns
from agent.ota.desk import Desk
from agent.ota.plan import Task


class Lanes:
    """`advance` does one step of a task."""

    def __init__(self, desk: Desk, advance: Callable[[Task], Awaitable[None]]) -> None:
        self._desk, self._advance = desk, advance
        self._busy: set[str] = set()

    async def beside(self, queue: Callable[[], Awaitable[None]]) -> None:
        """Both, for as long as the hub runs. Raises what ends one of them."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._open(group), name="updates of devices")
                await queue()
        except BaseExceptionGroup as several:
            raise _first(several) from several

    async def _open(self, group: asyncio.TaskGroup) -> None:
        """A lane for each kind, once there is something for it."""
        begun: set[str] = set()
        while True:
            self._desk.attention.clear()
            for lane in turns.lanes(self._desk.tasks.values()) - begun:
                begun.add(lane)
                group.create_task(self._lane(lane), name=f"updates of {lane} devices")
            await self._desk.attention.wait()

    async def quiet(self) -> None:
        """Until no device is being updated; the journal has said already why."""
        while self._busy:
            self._desk.attention.clear()
            await self._desk.attention.wait()

    async def _lane(self, lane: str) -> None:
        while True:
            self._desk.attention.clear()
            task = self._next(lane)
            if task is None:
                await self._desk.rest(self._desk.rests.left())
            else:
                await self._turn(lane, task)

    def _next(self, lane: str) -> Task | None:
        tasks = self._desk.tasks.values()
        return None if turns.held(tasks) else turns.in_lane(tasks, lane, self._desk.rests.keys())

    async def _turn(self, lane: str, task: Task) -> None:
        self._busy.add(lane)
        try:
            with self._desk.pausing(task) as pause:
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(self._watch(lane, task, pause))
                    await self._advance(task)
                    watch.cancel()
        finally:
            self._busy.discard(lane)
            self._desk.attention.set()

    async def _watch(self, lane: str, task: Task, pause: asyncio.Event) -> None:
        """Have it give way to another, to the hub, or to its own end."""
        while (first := self._next(lane)) is not None and (first.key, first.state) == (task.key, task.state):
            self._desk.attention.clear()
            await self._desk.attention.wait()
        pause.set()


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended them all, however deep."""
    found: BaseException = several
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
