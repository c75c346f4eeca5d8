"""Jobs that AWS IoT has for the hub: taken one after another, done by whoever knows the operation, and reported until it is heard.

A job whose operation nobody here knows is left alone: another program on the hub may be the one that it is for. A job that is under way
when the hub restarts or its connection is lost is taken up again: a handler does a job that it has done already by saying so again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from agent.cloud.channel import AnswerTroubleError, Channel, RefusedError
from agent.cloud.mqtt import MqttLost
from agent.errors import HubError, TryAgainError
from agent.wire.jobs import (
    ANSWERS,
    DESCRIBE,
    NOTIFY,
    PENDING,
    UPDATE,
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

    async def progress(self, told: Mapping[str, str]) -> None:
        """Say that it is under way. Raises MqttLost, TryAgainError, JobOverError."""
        await self._jobs.update(self._execution, "IN_PROGRESS", told)


class JobOverError(HubError):
    """The cloud has ended the execution: cancelled, removed, timed out."""


Handler = Callable[[Job], Awaitable[Ended]]


class Jobs:
    """`handlers`: by operation. One life of `live` is a unit of the daemon."""

    def __init__(self, channel: Channel, thing: str, handlers: Mapping[str, Handler]) -> None:
        self._channel, self._thing, self._handlers = channel, thing, handlers
        self._attention = asyncio.Event()
        self._foreign: set[str] = set()
        self.done = 0
        channel.on_up.append(self._attention.set)
        channel.listen(NOTIFY.format(thing=thing), lambda _list: self._attention.set())
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

    async def _next(self) -> Execution | None:
        """The first pending execution that somebody here can do. Raises TryAgainError, MqttLost, RefusedError, AnswerTroubleError."""
        pending = await self._channel.ask(PENDING.format(thing=self._thing), b"{}", Pending)
        for summary in (*pending.in_progress_jobs, *pending.queued_jobs):
            if summary.job_id in self._foreign:
                continue
            topic = DESCRIBE.format(thing=self._thing, job=summary.job_id)
            execution = (await self._channel.ask(topic, b"{}", Described)).execution
            operation = operation_of(execution.job_document)
            if operation in self._handlers:
                return execution
            log.info("job %s (%s) is not for this agent", execution.job_id, operation[:64] or "no operation")
            self._foreign.add(summary.job_id)
        return None

    async def update(self, execution: Execution, status: Status, told: Mapping[str, str]) -> None:
        """Raises MqttLost, TryAgainError, and JobOverError when the cloud has ended it."""
        topic = UPDATE.format(thing=self._thing, job=execution.job_id)
        body = Update(status=status, status_details=details(told), execution_number=execution.execution_number)
        try:
            await self._channel.ask(topic, body, Updated)
        except AnswerTroubleError as error:
            log.warning("%s", error)  # it came on `accepted`, and nothing in it is needed
        except RefusedError as error:
            code = _code(error.payload)
            if code in _OVER:
                raise JobOverError(f"job {execution.job_id} is over: {code}", place=self._channel.place) from None
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


def _code(payload: bytes) -> str:
    try:
        return Refused.model_validate_json(payload).code
    except ValidationError:
        return ""
