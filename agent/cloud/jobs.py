"""Jobs that AWS IoT has for the hub: taken one after another, done by whoever knows the operation, and reported until it is heard.

A job whose operation nobody here knows is left alone: another program on the hub may be the one that it is for. A job that is under way
when the hub restarts or its connection is lost is taken up again: a handler does a job that it has done already by saying so again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from pydantic import ValidationError

from agent.cloud.channel import AnswerTroubleError, Channel, RefusedError
from agent.cloud.mqtt import MqttLost
from agent.errors import HubError, TryAgainError
from agent.wire.jobs import (
    ANSWERS,
    DESCRIBE,
    NOTIFY,
    NOTIFY_NEXT,
    PENDING,
    UPDATE,
    Describe,
    Described,
    Execution,
    Pending,
    Refused,
    Status,
    Update,
    Updated,
    details,
)

log = logging.getLogger(__name__)

LOOK = 3600.0  # seconds between two looks without a notification
AGAIN = 30.0  # seconds after an answer that did not come
_OVER = frozenset({"InvalidStateTransition", "ResourceNotFound", "TerminalStateReached", "VersionMismatch"})
_OPEN = frozenset({"QUEUED", "IN_PROGRESS"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job has ended: FAILED may be tried again by the cloud, REJECTED may not."""

    status: Status
    details: Mapping[str, str] = field(default_factory=dict)


class Job:
    """One execution, for its handler."""

    def __init__(self, jobs: "Jobs", execution: Execution) -> None:
        self._jobs, self._execution = jobs, execution
        self.id = execution.job_id
        self.number = execution.execution_number
        self.document: Mapping[str, Any] = execution.job_document

    @property
    def key(self) -> str:
        """One text for one execution: a retry by the cloud has another."""
        return f"{self.id}/{self.number}"

    async def anew(self) -> "Job":
        """The same with the document as it is now: presigned addresses in it are signed at each question. Raises as `Jobs.describe`."""
        return Job(self._jobs, await self._jobs.describe(self.id, self.number))

    async def progress(self, told: Mapping[str, str], step_timeout: int | None = None) -> None:
        """Say that it is under way, and for how many minutes more it may say nothing. Raises MqttLost, TryAgainError, JobOverError."""
        await self._jobs.update(self._execution, "IN_PROGRESS", told, step_timeout)

    async def end(self, status: Status, told: Mapping[str, str]) -> None:
        """Say how it has ended. Raises MqttLost, TryAgainError, JobOverError."""
        await self._jobs.update(self._execution, status, told)
        self._jobs.done += 1


class JobOverError(HubError):
    """The cloud has ended the execution: `status` CANCELED, REMOVED, TIMED_OUT, or "" where that is not known."""

    def __init__(self, message: str, status: str, *, place: str = "") -> None:
        super().__init__(message, place=place)
        self.status = status


Handler = Callable[[Job], Awaitable[Ended]]


class Standing(Protocol):
    """Who carries jobs out beside the others and reports on them himself."""

    async def take(self, job: Job) -> None:
        """A job that is pending: once for each connection, and again when the cloud hands it out anew."""

    def pending(self, executions: Collection[tuple[str, int]]) -> None:
        """All that is pending now: (job id, execution number)."""


class Jobs:
    """`handlers`: by operation; `standing`: the same for jobs that others do not wait for. One life of `live` is a unit of the daemon."""

    def __init__(self, channel: Channel, thing: str, handlers: Mapping[str, Handler]) -> None:
        self._channel, self._thing, self._handlers = channel, thing, handlers
        self.standing: dict[str, Standing] = {}
        self._taken: set[str] = set()
        self._versions: dict[str, int] = {}  # by key: what the cloud counts updates with
        self._updating = asyncio.Lock()
        self._attention = asyncio.Event()
        self._foreign: set[str] = set()
        self.done = 0
        channel.on_up.append(self._anew)
        for news in (NOTIFY, NOTIFY_NEXT):
            channel.listen(news.format(thing=thing), lambda _list: self._attention.set())
        for call in ("get", "+/get", "+/update"):
            for end in ("accepted", "rejected"):
                # AWS IoT sends answers without a subscription; other brokers need one.
                channel.listen(ANSWERS.format(thing=thing, call=call, end=end), lambda _late: None)

    async def live(self) -> None:
        """Take and do jobs, for as long as the hub runs."""
        while True:
            await self._channel.wait()
            self._attention.clear()
            try:
                execution = await self._next()
            except TryAgainError:
                await self._rest(LOOK)  # a broker without this service says nothing
                continue
            except (MqttLost, RefusedError, AnswerTroubleError) as error:
                log.warning("no jobs: %s", error)
                await self._rest(AGAIN)
                continue
            if execution is None:
                await self._rest(LOOK)
            else:
                await self._do(execution)

    def _anew(self) -> None:
        """A connection has begun: what was taken is handed out once more, so that it is told of again."""
        self._taken.clear()
        self._attention.set()

    async def _next(self) -> Execution | None:
        """The first pending execution to wait for. Raises TryAgainError, MqttLost, RefusedError, AnswerTroubleError, StorageError."""
        pending = await self._channel.ask(PENDING.format(thing=self._thing), b"{}", Pending)
        found = (*pending.in_progress_jobs, *pending.queued_jobs)
        for standing in self.standing.values():
            standing.pending([(one.job_id, one.execution_number) for one in found])
        for summary in found:
            if summary.job_id in self._foreign or f"{summary.job_id}/{summary.execution_number}" in self._taken:
                continue
            execution = await self._described(summary.job_id)
            if execution is None:
                continue
            operation = operation_of(execution.job_document)
            job = Job(self, execution)
            self._versions[job.key] = execution.version_number
            if operation in self._handlers:
                return execution
            if operation in self.standing:
                await self.standing[operation].take(job)
                self._taken.add(job.key)
                continue
            log.info("job %s (%s) is not for this agent", execution.job_id, operation[:64] or "no operation")
            self._foreign.add(summary.job_id)
        return None

    async def _described(self, job: str) -> Execution | None:
        """None for one that has ended meanwhile, or that nobody can read: others come after it. Raises as `describe`."""
        try:
            return await self.describe(job)
        except RefusedError as error:
            if _refusal(error.payload).code not in _OVER:
                raise
            log.info("job %s is over: %s", job, error)
        except AnswerTroubleError as error:
            log.warning("job %s is left alone: %s", job, error)
            self._foreign.add(job)
        return None

    async def describe(self, job: str, number: int | None = None) -> Execution:
        """An execution with its document. Raises TryAgainError, MqttLost, RefusedError, AnswerTroubleError."""
        topic = DESCRIBE.format(thing=self._thing, job=job)
        return (await self._channel.ask(topic, Describe(execution_number=number), Described)).execution

    async def update(
        self, execution: Execution, status: Status, told: Mapping[str, str], step_timeout: int | None = None
    ) -> None:
        """Raises MqttLost, TryAgainError, and JobOverError when the cloud has ended it."""
        topic = UPDATE.format(thing=self._thing, job=execution.job_id)
        key = Job(self, execution).key
        body = Update(
            status=status,
            status_details=details(told),
            execution_number=execution.execution_number,
            expected_version=self._versions.get(key),
            include_job_execution_state=True,
            step_timeout_in_minutes=step_timeout,
        )
        try:
            async with self._updating:  # an answer names its topic, not its question
                answer = await self._channel.ask(topic, body, Updated)
        except AnswerTroubleError as error:
            log.warning("%s", error)  # it came on `accepted`; without its version the next update names none
            self._versions.pop(key, None)
        except RefusedError as error:
            self._refused(key, execution, error)
        else:
            state = answer.execution_state
            if state is not None:
                self._versions[key] = state.version_number

    def _refused(self, key: str, execution: Execution, error: RefusedError) -> NoReturn:
        refused = _refusal(error.payload)
        state = refused.execution_state
        if refused.code == "VersionMismatch" and state is not None and state.status in _OPEN:
            self._versions[key] = state.version_number  # an answer of ours was lost, or an operator has touched it
            raise TryAgainError(
                f"job {execution.job_id} has moved on in the cloud", place=self._channel.place
            ) from None
        if refused.code in _OVER:
            status = state.status if state is not None else ""
            text = f"job {execution.job_id} is over: {status or refused.code}"
            raise JobOverError(text, status, place=self._channel.place) from None
        raise TryAgainError(str(error), place=self._channel.place) from None

    async def _do(self, execution: Execution) -> None:
        job = Job(self, execution)
        operation = operation_of(job.document)
        log.info("job %s: %s", job.id, operation)
        try:
            ended = await self._handlers[operation](job)
        except JobOverError as error:
            log.info("%s", error)
        except HubError as error:
            log.warning("job %s waits: %s", job.id, error.advice)
            await self._rest(AGAIN)
        else:
            await self._tell(execution, ended)

    async def _tell(self, execution: Execution, ended: Ended) -> None:
        """Say how it ended, until it is heard."""
        while True:
            await self._channel.wait()
            try:
                await self.update(execution, ended.status, ended.details)
            except JobOverError as error:
                log.info("%s", error)
                return
            except (MqttLost, TryAgainError) as error:
                log.warning("job %s has ended (%s), and is not heard: %s", execution.job_id, ended.status, error)
                await self._rest(AGAIN)
            else:
                self.done += 1
                log.info("job %s: %s %s", execution.job_id, ended.status, ended.details.get("reason", ""))
                return

    async def _rest(self, seconds: float) -> None:
        """Until there is news, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._attention.wait()
        except TimeoutError:
            return


def operation_of(document: Mapping[str, Any]) -> str:
    """What a job document asks for: `operation`, or `name` as AWS Connected Device Framework's commands have it."""
    for key in ("operation", "name"):
        if isinstance(document.get(key), str):
            return str(document[key])
    return ""


def _refusal(payload: bytes) -> Refused:
    try:
        return Refused.model_validate_json(payload)
    except ValidationError:
        return Refused()
