"""The tasks as they stand, on disk and in memory, who is told of them, and who has to wait or to give way."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
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

    async def renewed(self, task: Task) -> bool:
        """Have its document anew, since an address in it has expired; whether it has changed. False where that cannot be found out."""


class CanceledError(Exception):
    """The task was cancelled while a step was at work: no trouble, and never seen outside of the engine."""


class WaitError(Exception):
    """It is not the time for a step yet; `seconds` until it is worth another look. Never seen outside of the engine."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Rests:
    """Tasks that wait for a time, by the loop's clock."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def put(self, key: str, seconds: float) -> None:
        self._until[key] = asyncio.get_running_loop().time() + seconds

    def end(self, key: str) -> None:
        """There is news that is worth a look."""
        self._until.pop(key, None)

    def keys(self) -> Collection[str]:
        """Those whose time has not come."""
        now = asyncio.get_running_loop().time()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return self._until.keys()

    def left(self) -> float | None:
        """Seconds until the first one's time has come; None when nobody waits."""
        return min((until - asyncio.get_running_loop().time() for until in self._until.values()), default=None)


class Desk:
    """What the engine and its steps share."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pauses: dict[str, asyncio.Event] = {}
        self._broken_off = False
        self.rests = Rests()
        self._cancel: dict[str, tuple[State, str, str]] = {}
        self._interrupt: Callable[[], None] = _nothing
        self.attention = asyncio.Event()
        self.moving = asyncio.Lock()  # held from a look at a task to the end of a `keep` that follows from it
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
            self.attention.set()
        if task.over:
            self._cancel.pop(task.key, None)
        self.tell(task)
        return task

    def further(self, task: Task, percent: int, text: str = "") -> None:
        """Progress, which is written down now and then; `text` is what people read of it."""
        now = self.tasks[task.key]
        if now.state != task.state:
            return  # it is to end, and why is what people read
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
        self.rests.end(task.key)
        self.break_off()
        self.attention.set()

    def break_off(self) -> None:
        """Have what is at work give way to what may be more urgent; it goes on where it was."""
        self._broken_off = self._interrupt is not _nothing
        self._interrupt()

    def broken_off(self) -> bool:
        """Whether it was on purpose that a step has failed just now."""
        found, self._broken_off = self._broken_off, False
        return found

    @contextmanager
    def pausing(self, task: Task) -> Iterator[asyncio.Event]:
        """What is set when the step of a task in this block has to come to its next safe point."""
        pause = self._pauses[task.key] = asyncio.Event()
        try:
            yield pause
        finally:
            del self._pauses[task.key]

    def pause(self, task: Task) -> asyncio.Event:
        """See `pausing`; outside of such a block one that nobody sets."""
        return self._pauses.get(task.key) or asyncio.Event()

    @contextmanager
    def interrupting(self, how: Callable[[], None]) -> Iterator[None]:
        """What ends the work in this block when a task is withdrawn; another task's work is only begun anew."""
        self._interrupt, self._broken_off = how, False
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

    async def rest(self, seconds: float | None) -> None:
        """Until there is news, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.attention.wait()
        except TimeoutError:
            return


def _nothing() -> None:
    """Nothing that could be ended is at work."""
