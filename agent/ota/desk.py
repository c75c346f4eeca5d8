"""The tasks as they stand, on disk and in memory, and who is told of them."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from agent.ota.journal import Journal
from agent.ota.plan import State, Task

log = logging.getLogger(__name__)

NOTED = 10  # percent


class Source(Protocol):
    """Who asks for updates."""

    def changed(self, task: Task) -> None:
        """A task of it has moved, or has come further."""

    async def still_wanted(self, task: Task) -> bool:
        """Whether it is still to be done; asked before activation. True where that cannot be found out in time."""


class CanceledError(Exception):
    """The task was cancelled while a step was at work: no trouble, and never seen outside of the engine."""


class Desk:
    """What the engine and its steps share."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._cancel: dict[str, tuple[State, str, str]] = {}
        self._interrupt: Callable[[], None] = _nothing
        self.attention = asyncio.Event()
        self.sources: dict[str, Source] = {}

    @property
    def tasks(self) -> Mapping[str, Task]:
        """All that the journal holds, by key."""
        return self._journal.tasks

    async def keep(self, task: Task, *, floor: str = "") -> Task:
        """On disk, and told. Raises StorageError."""
        before = self.tasks.get(task.key)
        await self._journal.put(task, floor=floor)
        if before is None or before.state != task.state:
            log.info("update %s: %s%s", task.key, task.state, f": {task.detail}" if task.over and task.detail else "")
        if task.over:
            self._cancel.pop(task.key, None)
        self.tell(task)
        return task

    def further(self, task: Task, percent: int, text: str = "") -> None:
        """Progress, which is written down now and then; `text` is what people read of it."""
        now = self.tasks[task.key]
        now = replace(now, percent=percent, tries=0, detail=text or now.detail)
        self._journal.note(now, durable=percent % NOTED == 0)
        self.tell(now)

    def tell(self, task: Task) -> None:
        source = self.sources.get(task.source)
        if source is not None:
            source.changed(task)

    def withdraw(self, task: Task, to: State, code: str, detail: str) -> None:
        """Have a task end; the step that is at work on it is told."""
        self._cancel[task.key] = (to, code, detail)
        self._interrupt()
        self.attention.set()

    @contextmanager
    def interrupting(self, how: Callable[[], None]) -> Iterator[None]:
        """What ends the work in this block when a task is withdrawn; another task's work is only begun anew."""
        self._interrupt = how
        try:
            yield
        finally:
            self._interrupt = _nothing

    def withdrawn(self, task: Task) -> tuple[State, str, str] | None:
        """To which end, with which word and sentence; None when it goes on."""
        return self._cancel.get(task.key)

    def check(self, task: Task) -> None:
        """Raises CanceledError."""
        if task.key in self._cancel:
            raise CanceledError

    async def rest(self, seconds: float) -> None:
        """Until there is news, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.attention.wait()
        except TimeoutError:
            return


def _nothing() -> None:
    """Nothing that could be ended is at work."""
