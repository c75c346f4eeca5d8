"""Updates as nRF Cloud's firmware jobs: taken on one at a time, told of, and ended once the cloud has the end.

Protocol notes, section 3; how jobs come and are told of is agent.cloud.nrf_wires' matter. A job names a file and nobody's signature, so the
signed release must lie beside the file (agent.ota.verifier). Over MQTT nRF Cloud does not tell a device that a job was cancelled: such an
update is carried out, and the cloud passes over its end. Over REST each word on a job finds out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from math import inf
from random import SystemRandom

from agent.cloud.mqtt import MqttLost
from agent.cloud.nrf_jobs import RejectedJob
from agent.cloud.nrf_wires import AGAIN, FirmwareJob, Wire
from agent.errors import TryAgainError
from agent.ota.engine import Engine
from agent.ota.pauses import after_trouble
from agent.ota.plan import State, Task, key_of
from agent.wire.nrf import FotaStatus

log = logging.getLogger(__name__)

FIRMWARE = ("APP",)  # what this hub's updates are there; a modem's are another program's
EXECUTION = 1  # nRF Cloud does not try a job again under the same id
STEP, WHOLE = 10, 100  # percent
EVERY, LONG = 10.0, 3600.0  # seconds
SOON = 1.0  # seconds until a cloud that could not be reached is asked again, before an activation
REMEMBERED = 100  # rejected jobs that do not have the next one asked for: a cloud may offer the same again at once
_BEFORE = frozenset({State.RECEIVED, State.CHECKED, State.WAITING})  # the next component is begun there too
_DOWNLOADED = frozenset({State.VERIFIED, State.WRITING, State.STAGED})
_ENDS: dict[State, FotaStatus] = {
    State.SUCCEEDED: FotaStatus.SUCCEEDED,
    State.FAILED: FotaStatus.FAILED,
    State.REJECTED: FotaStatus.REJECTED,
    State.CANCELED: FotaStatus.CANCELLED,
    State.TIMED_OUT: FotaStatus.TIMED_OUT,
}


class NrfFota:
    """One uplink's. `live` is a unit of the daemon; `taker` is whose firmware it is, in words."""

    taker = "this hub"

    def __init__(self, name: str, wire: Wire, engine: Engine, now: Callable[[], float]) -> None:
        self.name = name
        self._wire, self._engine, self._now = wire, engine, now
        self._offered: deque[FirmwareJob | RejectedJob] = deque(maxlen=REMEMBERED)
        self._rejected: deque[str] = deque(maxlen=REMEMBERED)
        self._retold: deque[str] = deque(maxlen=REMEMBERED)
        self._told: dict[str, tuple[float, State, int]] = {}  # key -> when, and what
        self._ask_at = -inf
        self._attention, self._heard_again = asyncio.Event(), asyncio.Event()
        engine.desk.sources[name] = self
        wire.bind(self._heard, self._up)

    def _up(self) -> None:
        self._ask_at = -inf
        self._told.clear()
        self._attention.set()

    def _heard(self, job: FirmwareJob | RejectedJob) -> None:
        self._offered.append(job)
        self._attention.set()

    # ---- what the engine says ---------------------------------------------------------------------------------------

    def changed(self, task: Task) -> None:
        if not task.told:
            self._attention.set()

    async def still_wanted(self, task: Task) -> bool:
        """The cloud has it from here on that the update is being installed: before the restart, as the SDK has it.

        After a start the network may come up a little later; whoever asks has an end to that.
        """
        while True:
            try:
                return await self._progress(task, again=True)
            except (MqttLost, TryAgainError) as error:
                log.info("job %s cannot be told of just now: %s", task.job, error)
            await asyncio.sleep(SOON)

    async def renewed(self, task: Task) -> bool:
        """See agent.ota.desk.Source: the job is asked for once more."""
        self._heard_again.clear()
        try:
            await self._wire.ask()
            async with asyncio.timeout(AGAIN):
                await self._heard_again.wait()
        except (MqttLost, TryAgainError, TimeoutError) as error:
            log.info("job %s cannot be asked for again just now: %s", task.job, error)
            return False
        return self._engine.tasks[task.key].document != task.document

    # ---- the life ---------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Take jobs and report, for as long as the hub runs. Raises StorageError."""
        failures, random = 0, SystemRandom()
        while True:
            await self._wire.wait()
            self._attention.clear()
            try:
                wait, failures = await self._round(), 0
            except (MqttLost, TryAgainError) as error:
                log.info("jobs of nRF Cloud wait: %s", error)
                failures += 1
                wait = after_trouble(failures, AGAIN, random)
            try:
                async with asyncio.timeout(wait):
                    await self._attention.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """What has ended is told before anything new is asked for; the seconds until there is something to do."""
        wait = [await self._report(task) for task in self._open()]
        while self._offered:
            await self._take(self._offered.popleft())
        if not self._open():
            if self._ask_at <= self._now():
                await self._wire.ask()
                self._ask_at = self._now() + self._wire.every
            wait.append(self._ask_at - self._now())
        return max(0.0, min([*wait, LONG]))

    def _open(self) -> list[Task]:
        return [task for task in self._engine.tasks.values() if task.source == self.name and not task.told]

    async def _take(self, job: FirmwareJob | RejectedJob) -> None:
        """A job that is offered. Raises MqttLost, TryAgainError, StorageError."""
        if isinstance(job, RejectedJob):
            await self._reject(job)
        elif job.kind not in FIRMWARE:
            await self._reject(RejectedJob(job.id, f"{self.taker} takes no firmware of type {job.kind}"))
        else:
            await self._offer(job)

    async def _reject(self, error: RejectedJob) -> None:
        log.warning("job %s is rejected: %s", error.job, error)
        known = error.job in self._rejected
        if not known:
            self._rejected.append(error.job)
        await self._wire.say(error.job, FotaStatus.REJECTED, str(error))
        if not known:
            self._next_soon()

    async def _offer(self, job: FirmwareJob) -> None:
        key = key_of(self.name, job.id, EXECUTION)
        known, busy = self._engine.tasks.get(key), self._open()
        document = job.document
        if known is not None and not known.over and known.document != document:
            await self._engine.change(key, document=document)  # the same, at an address that has not expired
        if known is not None:
            self._heard_again.set()
            if known.over and known.told and self._wire.every < inf and key not in self._retold:
                self._retold.append(key)  # once: what is asked for has not ended, as it seems, and others come after it
                await self._engine.change(key, told=False)
                self._attention.set()
                return
        if known is not None or busy:
            log.info("job %s is passed over: %s", job.id, "it is known" if known else f"{busy[0].job} comes first")
            return
        await self._engine.offer(self.name, job.id, EXECUTION, document)
        self._attention.set()

    def _next_soon(self) -> None:
        self._ask_at = min(self._ask_at, self._now() + self._wire.quiet)

    async def _report(self, task: Task) -> float:
        """Seconds until it is to be told of again. Raises MqttLost, TryAgainError, StorageError."""
        if task.over:
            # one that is gone takes no end, and waits for none
            await self._wire.say(task.job, _ENDS[task.state], self.ending(task))
            log.info("job %s: the cloud has heard that it is %s", task.job, task.state)
            await self._engine.change(task.key, told=True)
            self._told.pop(task.key, None)
            self._next_soon()
            return LONG
        if not await self._progress(task):
            await self._engine.cancel(task.key, "canceled", "the cloud has withdrawn the job")
            return EVERY
        return EVERY if task.state == State.DOWNLOADING else LONG

    def ending(self, task: Task) -> str:
        """What is told of an end."""
        return f"{task.code}: {task.detail}" if task.code else task.detail

    def detail(self, task: Task) -> str | int | None:
        """What is told of one that is in progress; None: nothing new."""
        return str(task.state)

    async def _progress(self, task: Task, *, again: bool = False) -> bool:
        """Tell what is news, or `again` what is not; False when the job is no longer there."""
        when, state, percent = self._told.get(task.key, (-inf, State.RECEIVED, 0))
        there, now = True, task.percent
        if task.state == State.DOWNLOADING:
            further = state != task.state or now >= percent + STEP or now == WHOLE != percent
            if not further and self._now() < when + EVERY:
                return True
            if state != task.state or now != percent:
                there = await self._wire.say(task.job, FotaStatus.DOWNLOADING, now)
        elif again or state != task.state:
            now = percent
            if task.state in _DOWNLOADED and percent != WHOLE:  # a small file is here before anybody looks
                now = WHOLE
                await self._wire.say(task.job, FotaStatus.DOWNLOADING, now)
            if (detail := self.detail(task)) is not None:
                there = await self._wire.say(task.job, FotaStatus.IN_PROGRESS, detail, EVERY)
        self._told[task.key] = self._now(), task.state, now if task.state not in _BEFORE else 0
        return there
