"""Updates as nRF Cloud's firmware jobs over MQTT: taken on one at a time, told of in their lists, and ended once the broker has the end.

Protocol notes, sections 3.1 to 3.3. A job names a file and nobody's signature, so the signed release must lie beside the file
(agent.ota.verifier). nRF Cloud does not tell a device over MQTT that a job was cancelled: such an update is carried out, and the cloud passes
over its end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from agent.cloud.channel import Channel
from agent.cloud.dialect import MalformedMessage
from agent.cloud.mqtt import Inbound, MqttLost
from agent.cloud.nrf_jobs import TYPES, RejectedJob, job_request, job_update, read_job
from agent.cloud.nrf_pairing import Pairing
from agent.errors import TryAgainError
from agent.ota.engine import Engine
from agent.ota.plan import State, Task, key_of
from agent.wire.nrf import FotaStatus
from agent.wire.nrf_mqtt import FotaJob

log = logging.getLogger(__name__)

FIRMWARE = ("APP",)  # what this hub's updates are there; a modem's are another program's
EXECUTION = 1  # nRF Cloud does not try a job again under the same id
STEP, WHOLE = 10, 100  # percent
EVERY, AGAIN, LONG = 10.0, 30.0, 3600.0  # seconds
REMEMBERED = 100  # rejected jobs that do not have the next one asked for: a cloud may offer the same again at once
_ENDS: dict[State, FotaStatus] = {
    State.SUCCEEDED: FotaStatus.SUCCEEDED,
    State.FAILED: FotaStatus.FAILED,
    State.REJECTED: FotaStatus.REJECTED,
    State.CANCELED: FotaStatus.CANCELLED,
    State.TIMED_OUT: FotaStatus.TIMED_OUT,
}


class NrfFota:
    """One uplink's. `live` is a unit of the daemon; `paired` is told of the topics of each connection, before it is open."""

    def __init__(self, name: str, channel: Channel, engine: Engine, now: Callable[[], float]) -> None:
        self.name = name
        self._channel, self._engine, self._now = channel, engine, now
        self._pairing: Pairing | None = None
        self._offered: deque[bytes] = deque(maxlen=REMEMBERED)
        self._rejected: deque[str] = deque(maxlen=REMEMBERED)
        self._told: dict[str, tuple[float, State, int]] = {}  # key -> when, and what
        self._ask = False
        self._attention = asyncio.Event()
        engine.desk.sources[name] = self
        channel.on_up.append(self._up)

    # ---- what the uplink says ---------------------------------------------------------------------------------------

    def paired(self, pairing: Pairing) -> None:
        if self._pairing is not None:
            self._channel.unlisten(self._pairing.jobs("rcv"))
        self._pairing = pairing
        self._channel.listen(pairing.jobs("rcv"), self._heard)

    def _up(self) -> None:
        self._ask = True
        self._told.clear()
        self._attention.set()

    def _heard(self, inbound: Inbound) -> None:
        self._offered.append(inbound.payload)
        self._attention.set()

    # ---- what the engine says ---------------------------------------------------------------------------------------

    def changed(self, task: Task) -> None:
        if not task.told:
            self._attention.set()

    async def still_wanted(self, task: Task) -> bool:
        """The cloud has it from here on that the update is being installed: before the restart, as the SDK has it."""
        try:
            await self._say(task.job, FotaStatus.IN_PROGRESS, str(task.state), EVERY)
        except (MqttLost, TryAgainError) as error:
            log.info("job %s cannot be told of just now: %s", task.job, error)
        return True

    # ---- the life ---------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Take jobs and report, for as long as the hub runs. Raises StorageError."""
        while True:
            await self._channel.wait()
            self._attention.clear()
            try:
                wait = await self._round()
            except (MqttLost, TryAgainError) as error:
                log.info("jobs of nRF Cloud wait: %s", error)
                wait = AGAIN
            try:
                async with asyncio.timeout(wait):
                    await self._attention.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """What has ended is told before anything new is asked for; the seconds until there is something to tell."""
        wait = [await self._report(task) for task in self._open()]
        while self._offered:
            await self._take(self._offered.popleft())
        if self._ask and not self._open():
            await self._channel.tell(self._topic("req"), job_request())
            self._ask = False
        return min(wait, default=LONG)

    def _open(self) -> list[Task]:
        return [task for task in self._engine.tasks.values() if task.source == self.name and not task.told]

    async def _take(self, payload: bytes) -> None:
        """A job that is offered. Raises MqttLost, TryAgainError, StorageError."""
        try:
            job = read_job(self._topic("rcv"), payload)
            if TYPES.get(job.firmware_type) not in FIRMWARE:
                raise RejectedJob(job.job_id, f"this hub takes no firmware of type {job.firmware_type}")
        except MalformedMessage as error:
            log.warning("a firmware job is refused: %s", error)
        except RejectedJob as error:
            await self._reject(error)
        else:
            await self._offer(job)

    async def _reject(self, error: RejectedJob) -> None:
        log.warning("job %s is rejected: %s", error.job, error)
        known = error.job in self._rejected
        if not known:
            self._rejected.append(error.job)
        await self._say(error.job, FotaStatus.REJECTED, str(error))
        self._ask = self._ask or not known

    async def _offer(self, job: FotaJob) -> None:
        key = key_of(self.name, job.job_id, EXECUTION)
        known, busy = self._engine.tasks.get(key), self._open()
        if known is not None or busy:
            log.info("job %s is passed over: %s", job.job_id, "it is known" if known else f"{busy[0].job} comes first")
            return
        document = {"firmwareType": FIRMWARE[0], "fileSize": job.file_size, "host": job.host, "path": job.path}
        await self._engine.offer(self.name, job.job_id, EXECUTION, document)
        self._attention.set()

    async def _report(self, task: Task) -> float:
        """Seconds until it is to be told of again. Raises MqttLost, TryAgainError, StorageError."""
        if task.over:
            details = f"{task.code}: {task.detail}" if task.code else task.detail
            await self._say(task.job, _ENDS[task.state], details)
            log.info("job %s: the cloud has heard that it is %s", task.job, task.state)
            await self._engine.change(task.key, told=True)
            self._told.pop(task.key, None)
            self._ask = True
            return LONG
        when, state, percent = self._told.get(task.key, (float("-inf"), State.RECEIVED, 0))
        if task.state == State.DOWNLOADING:
            further = state != task.state or task.percent >= percent + STEP or task.percent == WHOLE != percent
            if not further and self._now() < when + EVERY:
                return when + EVERY - self._now()
            if state != task.state or task.percent != percent:
                await self._say(task.job, FotaStatus.DOWNLOADING, task.percent)
        elif state != task.state:
            if state == State.DOWNLOADING and percent != WHOLE:
                await self._say(task.job, FotaStatus.DOWNLOADING, WHOLE)
            await self._say(task.job, FotaStatus.IN_PROGRESS, str(task.state))
        self._told[task.key] = self._now(), task.state, task.percent
        return EVERY if task.state == State.DOWNLOADING else LONG

    async def _say(self, job: str, status: FotaStatus, details: str | int, timeout: float = AGAIN) -> None:
        await self._channel.tell(self._topic("update"), job_update(job, status, details), timeout)

    def _topic(self, name: str) -> str:
        """Raises MqttLost while no account has the device."""
        if self._pairing is None:
            raise MqttLost("nRF Cloud has not said yet which topics this device has", place=self._channel.place)
        return self._pairing.jobs(name)
