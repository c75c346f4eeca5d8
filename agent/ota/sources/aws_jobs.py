"""Updates as AWS IoT jobs, which is what OTA tasks of managed integrations are too: taken, reported, and given up when the cloud says so.

The engine's journal decides how a task stands. A job that is delivered again is told the same again; one that is no longer pending was
cancelled, removed or timed out, which is honoured up to the activation.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection
from random import SystemRandom

from agent.cloud.channel import AnswerTroubleError, RefusedError
from agent.cloud.jobs import Job, JobOverError, Jobs
from agent.cloud.mqtt import MqttLost
from agent.errors import TryAgainError
from agent.ota.engine import Engine
from agent.ota.pauses import after_trouble
from agent.ota.plan import State, Task, key_of
from agent.wire.jobs import Status

log = logging.getLogger(__name__)

OPERATION = "firmware-update"
EVERY = 10.0  # seconds between two reports of progress
AGAIN = 30.0  # seconds after what was not heard, the first time
STEP_TIMEOUT, LONGEST_TIMEOUT = 120, 10080  # minutes
_PATIENT = frozenset({State.WAITING, State.STAGED})  # these wait for a window or a person
_ENDS: dict[State, Status] = {
    State.SUCCEEDED: "SUCCEEDED",
    State.FAILED: "FAILED",
    State.REJECTED: "REJECTED",
    State.CANCELED: "FAILED",
    State.TIMED_OUT: "FAILED",
}
_GONE = {"CANCELED": State.CANCELED, "REMOVED": State.CANCELED, "TIMED_OUT": State.TIMED_OUT}


class AwsJobs:
    """One uplink's. `live` is a unit of the daemon; `Jobs` calls `take` and `pending`."""

    def __init__(self, name: str, jobs: Jobs, engine: Engine, now: Callable[[], float]) -> None:
        self.name = name
        self._jobs, self._engine, self._now = jobs, engine, now
        self._known: dict[str, Job] = {}
        self._pending: frozenset[str] | None = None
        self._told: dict[str, tuple[float, str]] = {}  # key -> when, and what
        self._unheard, self._random = Counter[str](), SystemRandom()
        self._attention, self._listed = asyncio.Event(), asyncio.Event()
        engine.desk.sources[name] = self

    # ---- what the jobs say ------------------------------------------------------------------------------------------

    async def take(self, job: Job) -> None:
        """An execution that is pending: the cloud has not heard its end, whatever was heard of that here. Raises StorageError."""
        task = await self._engine.offer(self.name, job.id, job.number, job.document)
        if task.told:
            await self._engine.change(task.key, told=False)
        if (
            not task.over and task.document != job.document
        ):  # the same, but for presigned addresses, which live for an hour
            await self._engine.change(task.key, document=job.document)
        self._known[task.key] = job
        self._told.pop(task.key, None)
        self._attention.set()
        self._listed.set()

    def pending(self, executions: Collection[tuple[str, int]]) -> None:
        """All that the cloud has for this hub at this moment: (job id, execution number)."""
        self._pending = frozenset(key_of(self.name, job, number) for job, number in executions)
        self._attention.set()
        self._listed.set()

    # ---- what the engine says ---------------------------------------------------------------------------------------

    def changed(self, task: Task) -> None:
        if not task.told:
            self._attention.set()

    async def still_wanted(self, task: Task) -> bool:
        """Told as progress: a job that is over refuses it. After a start the cloud's list is waited for, which may lack it by now."""
        while (job := self._known.get(task.key)) is None:
            if self._pending is not None and task.key not in self._pending:
                return False
            self._listed.clear()
            await self._listed.wait()
        try:
            await self._progress(job, task)
        except JobOverError as error:
            await self._gone(task, error)
            return False
        except (MqttLost, TryAgainError) as error:
            log.info("job %s cannot be asked about just now: %s", task.job, error)
        return True

    async def renewed(self, task: Task) -> bool:
        """See agent.ota.desk.Source: the job is described again."""
        job = self._known.get(task.key)
        if job is None:
            return False
        try:
            again = await job.anew()
        except (MqttLost, TryAgainError, RefusedError, AnswerTroubleError) as error:
            log.info("job %s cannot be asked for again just now: %s", task.job, error)
            return False
        if again.document == task.document:
            return False
        self._known[task.key] = again
        await self._engine.change(task.key, document=again.document)
        return True

    # ---- reports ----------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Report, for as long as the hub runs."""
        while True:
            self._attention.clear()
            await self._withdrawn()
            wait = [await self._report(task) for task in list(self._engine.tasks.values()) if self._to_tell(task)]
            try:
                async with asyncio.timeout(min(wait, default=3600.0)):
                    await self._attention.wait()
            except TimeoutError:
                continue

    def _to_tell(self, task: Task) -> bool:
        return task.source == self.name and not task.told

    async def _withdrawn(self) -> None:
        """Tasks whose job is no longer pending: nobody waits for them, and what has not been activated is not done."""
        if self._pending is None:
            return
        for task in [
            task for task in self._engine.tasks.values() if self._to_tell(task) and task.key not in self._pending
        ]:
            if task.over:
                log.info("job %s is over in the cloud, and takes no status any more", task.job)
                await self._engine.change(task.key, told=True)
            else:
                await self._given_up(task)

    async def _given_up(self, task: Task) -> None:
        """As what the cloud has ended it, which it says to who reports on it."""
        job = self._known.get(task.key)
        try:
            if job is not None:
                await self._progress(job, task)
        except JobOverError as error:
            self._known.pop(task.key, None)  # it is asked once
            await self._gone(task, error)
            return
        except (MqttLost, TryAgainError) as error:
            log.info("job %s cannot be asked about just now: %s", task.job, error)
        await self._engine.cancel(task.key, "canceled", "the cloud has withdrawn the job")

    async def _report(self, task: Task) -> float:
        """Seconds until it is to be told of again."""
        job = self._known.get(task.key)
        if job is None:
            return 3600.0
        try:
            if task.over:
                return await self._end(job, task)
            when, what = self._told.get(task.key, (float("-inf"), ""))
            news = what != _words(task)
            due = when + (
                EVERY
                if news and what.split()[:1] == _words(task).split()[:1]
                else 0.0
                if news
                else 60.0 * STEP_TIMEOUT / 2
            )
            if due > self._now():
                return due - self._now()
            await self._progress(job, task)
        except JobOverError as error:
            log.info("%s", error)
            self._known.pop(task.key, None)
            await self._gone(task, error)
            return 0.1
        except (MqttLost, TryAgainError) as error:
            log.info("job %s is not told of yet: %s", task.job, error)
            self._unheard[task.key] += 1
            return after_trouble(self._unheard[task.key], AGAIN, self._random)
        del self._unheard[task.key]
        return EVERY

    async def _end(self, job: Job, task: Task) -> float:
        await job.end(_ENDS[task.state], _details(task))
        log.info("job %s: the cloud has heard that it is %s", task.job, task.state)
        await self._engine.change(task.key, told=True)
        self._known.pop(task.key, None)
        self._told.pop(task.key, None)
        del self._unheard[task.key]
        return 3600.0

    async def _gone(self, task: Task, error: JobOverError) -> None:
        if task.over:
            await self._engine.change(task.key, told=True)
        else:
            to = _GONE.get(error.status, State.CANCELED)
            await self._engine.cancel(task.key, to.lower().replace("_", "-"), "the cloud has ended the job", to)

    async def _progress(self, job: Job, task: Task) -> None:
        minutes = LONGEST_TIMEOUT if task.state in _PATIENT else STEP_TIMEOUT
        await job.progress(_details(task), minutes)
        self._told[task.key] = self._now(), _words(task)


def _words(task: Task) -> str:
    return f"{task.state} {task.component} {task.percent}"


def _details(task: Task) -> dict[str, str]:
    """Within the service's limits; `agent.wire.jobs.details` sees to the lengths."""
    told = {"state": str(task.state), "release": task.release, "component": task.component, "from": task.was}
    if task.percent and not task.over:
        told["percent"] = str(task.percent)
    return told | {"installed": " ".join(task.done), "code": task.code, "reason": task.detail}
