"""Does what the plan says, for the task whose turn it is: each step ends in a move that is in the journal before anything follows from it.

A step may be cut off at any point and is then done again; which point it was is asked from the applier, not from memory.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from random import SystemRandom
from typing import Any

from agent.clock import Clock
from agent.errors import HubError
from agent.ota import plan, steps, turns
from agent.ota.appliers.contract import SuspendedError
from agent.ota.desk import CanceledError, Desk, WaitError
from agent.ota.lanes import Lanes
from agent.ota.pauses import after_trouble
from agent.ota.plan import HARMLESS, WITHDRAWN, Runs, State, Task, moved
from agent.ota.refusals import RollbackError, TimeUnknownError
from agent.ota.steps import Steps
from agent.ota.trouble import DeadlineError

log = logging.getLogger(__name__)

AGAIN = 30.0  # seconds after trouble that may pass, the first time
LEAVINGS = 5  # tries


class Engine:
    """`live` is a unit of the daemon; `again` is the first pause after trouble, seconds."""

    def __init__(self, desk: Desk, steps: Steps, clock: Clock, again: float = AGAIN) -> None:
        self.desk = desk
        self._steps, self._clock, self._again = steps, clock, again
        self._random = SystemRandom()
        self._cut_off: list[str] | None = None  # keys of tasks that this process has not looked at yet
        self._lanes = Lanes(desk, self._advance)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """All that the journal holds, by key."""
        return self.desk.tasks

    # ---- what sources and people ask --------------------------------------------------------------------------------

    async def offer(self, source: str, job: str, execution: int, document: Mapping[str, Any]) -> Task:
        """Take an update on; one that is known already is no news, and its source is told again how it stands. Raises StorageError."""
        key = plan.key_of(source, job, execution)
        known = self.tasks.get(key)
        if known is not None:
            return known
        log.info("update %s is taken on", key)
        task = await self.desk.keep(Task(key, source, job, execution, document, self._clock.now().wall))
        self.desk.attention.set()
        self.desk.break_off()  # it may be an emergency
        return task

    async def cancel(self, key: str, code: str, detail: str, to: State = State.CANCELED) -> bool:
        """Have a task end before its activation, or an update of devices before the next one; False when it is too late, or over.

        Raises StorageError.
        """
        async with self.desk.moving:
            task = self.tasks.get(key)
            after = None if task is None else plan.canceled(task, code, detail, to)
            if task is None or after is None:
                return False
            if task.state in HARMLESS:
                after = replace(task, facts={**task.facts, WITHDRAWN: f"{to}\n{code}\n{detail}"})
            await self.desk.keep(after)
            if task.state in HARMLESS:
                self.desk.withdraw(task, to, code, detail)
        return True

    async def change(self, key: str, **changes: Any) -> Task:
        """Approve, postpone, or mark as told. Raises KeyError for a task that there is not, StorageError."""
        async with self.desk.moving:
            task = await self.desk.keep(replace(self.tasks[key], **changes))
        if "document" in changes:
            self._steps.renew(task)
        self.desk.rests.end(key)
        self.desk.attention.set()
        return task

    async def decide(self, key: str, *, well: bool) -> bool:
        """A person ends a trial: it stays, or what ran before comes back. False when the task is not on trial."""
        async with self.desk.moving:
            task = self.tasks.get(key)
            if task is None or task.state != State.TRIAL:
                return False
            after = moved(task, State.CONFIRMED)
            if not well:
                after = moved(task, State.ROLLING_BACK, code="operator", detail="rolled back by a person")
            await self.desk.keep(after)
        self.desk.attention.set()
        return True

    # ---- the life of the engine -------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Carry out tasks for as long as the hub runs. What was cut off goes on first."""
        if self._cut_off is None:
            self._cut_off = [task.key for task in self.tasks.values() if not task.over]
        while self._cut_off:  # each counts its start once, also where the disk has ended this at the next one
            await self._found(self.tasks[self._cut_off[0]])
            del self._cut_off[0]
        await self._lanes.beside(self._queue)

    async def _queue(self) -> None:
        """All that is not in a lane, one step after the other."""
        while True:
            self.desk.attention.clear()
            task = turns.in_queue(self.tasks.values(), self.desk.rests.keys())
            if task is None:
                await self.desk.rest(self.desk.rests.left())
                continue
            if turns.changes_the_hub(task):
                await self._lanes.quiet()
            await self._advance(task)

    async def _found(self, task: Task) -> None:
        """Apply the table of what a restart means. What was withdrawn ends at its turn."""
        if WITHDRAWN in task.facts and task.state in HARMLESS:
            to, code, detail = task.facts[WITHDRAWN].split("\n", 2)
            self.desk.withdraw(task, State(to), code, detail)
            return
        asked = task.state in (State.ACTIVATING, State.TRIAL)
        runs = await self._steps.runs(task) if asked else Runs.OLD
        after = plan.at_start(task, runs)
        if after != task:
            fact = f", and what is found is: {runs}" if asked else ""
            log.info("update %s was cut off as %s%s: it goes on as %s", task.key, task.state, fact, after.state)
            if after.state in HARMLESS:
                self._steps.renew(after)  # read as one that is activated: it is verified again before it goes on
            await self._leave(task, after)
            try:
                async with asyncio.timeout(steps.WRITTEN if runs == Runs.ON_TRIAL else None):
                    await self._keep(task, after)
            except TimeoutError:  # a version that fills the disk at once keeps itself no other way
                await self._steps.take_back(task, "the journal takes nothing")

    async def _advance(self, task: Task) -> None:
        """One step; a bug in it ends the process, and the update with it where that can be."""
        try:
            await self._step(task)
        except HubError:
            raise
        except Exception as error:
            await self._fails(task, error)
            raise

    async def _step(self, task: Task) -> None:
        """What each kind of trouble means."""
        try:
            if task.state in HARMLESS:
                self.desk.check(task)
            after = await self._steps.take(task)
        except CanceledError:
            after = self._after_cancel(self.tasks[task.key])
        except SuspendedError:
            return
        except WaitError as error:
            self.desk.rests.put(task.key, error.seconds)
            return
        except HubError as error:
            if task.state in HARMLESS and (self.desk.withdrawn(task) or self.desk.broken_off()):
                return  # what was at work was ended on purpose
            after = self._after_trouble(self.tasks[task.key], error)
            if after.state == task.state:
                if await self._keep(task, after):
                    self.desk.rests.put(task.key, self._pause(after))
                return
        await self._leave(task, after)
        await self._keep(task, after)

    def _pause(self, task: Task) -> float:
        """Seconds until the same is tried again; while the hub is changed nobody waits longer for that than the first time."""
        times = task.tries if task.state in HARMLESS or task.state == State.CONFIRMED else 1
        return after_trouble(times, self._again, self._random)

    async def _keep(self, task: Task, after: Task) -> bool:
        """What has become of a task, unless somebody has decided otherwise meanwhile.

        False where it is withdrawn and goes no further: its next turn ends it.
        """
        async with self.desk.moving:
            now = self.tasks[task.key]
            if task.state in HARMLESS and not after.over and self.desk.withdrawn(task):
                return False
            if now.state == task.state:
                told = replace(after, approved=now.approved, not_before=now.not_before, document=now.document)
                await self.desk.keep(told)
        if after.over:
            self._steps.forget(task)
        return True

    async def _fails(self, task: Task, error: Exception) -> None:
        """One that began anew with each start, and failed each time, would keep the hub down."""
        now = self.tasks[task.key]
        if task.state in HARMLESS and now.state == task.state:
            after = plan.failed(now, "bug", f"{type(error).__name__} as {task.state}: the agent's log has the place")
            try:
                await self._leave(now, after)
            finally:
                await self._keep(task, after)

    async def _leave(self, task: Task, after: Task) -> None:
        """Have nothing selected of a task that ends before its activation; before its end is kept, so that what is cut off is done again."""
        for _ in range(LEAVINGS if after.over and task.state in HARMLESS else 0):
            try:
                await self._steps.clean(after)
            except HubError as error:
                log.warning("update %s: what it leaves: %s", task.key, error.advice)
                self.desk.attention.clear()
                await self.desk.rest(self._again)
            else:
                break

    def _after_cancel(self, task: Task) -> Task:
        told = self.desk.withdrawn(task)
        if told is None:
            return task
        to, code, detail = told
        return plan.canceled(task, code, detail, to) or task

    def _after_trouble(self, task: Task, error: HubError) -> Task:
        """A refusal has a code and is for good, a deadline is one; anything else is tried again, as often as the plan allows.

        So is what only a synchronised clock can tell.
        """
        timeless = isinstance(error, TimeUnknownError) and task.state == State.RECEIVED
        code = "" if timeless else getattr(error, "code", "")
        log.warning("update %s: %s: %s", task.key, task.state.lower(), error.advice)
        if isinstance(error, DeadlineError) and task.state == State.DOWNLOADING:
            return plan.ended(task, State.TIMED_OUT, "deadline", error.advice)
        if not code or task.state in (State.ROLLING_BACK, State.CONFIRMED):
            keeps = task.state == State.ROLLING_BACK and task.detail  # why it is taken back is what people want to know
            return plan.tried(replace(task, detail=keeps or error.advice))
        overtaken = task.state == State.WAITING and isinstance(error, RollbackError)  # while it waited, and for good
        if task.state in (State.RECEIVED, State.CHECKED) or overtaken:
            return plan.refused(task, code, error.advice)
        return plan.failed(task, code, error.advice)
