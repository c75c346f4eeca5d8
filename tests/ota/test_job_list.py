"""The list of jobs that a hub reads: one that nobody can read, or that has just ended, holds no other up; both notifications are heard."""

import asyncio
import json
from collections.abc import Callable, Collection
from typing import Any

import pytest
from conftest import until

from agent.cloud.channel import AnswerTroubleError, RefusedError
from agent.cloud.jobs import Job, Jobs
from agent.wire.jobs import Described

JOBS = "$aws/things/thing-1/jobs"


class Cloud:
    """A channel to a cloud with these jobs: id -> document, or what its description is refused with."""

    def __init__(self, jobs: dict[str, Any]) -> None:
        self.jobs = jobs
        self.on_up: list[Callable[[], None]] = []
        self.heard: dict[str, Callable[[object], None]] = {}
        self.place = "the cloud"
        self.lists = 0

    def listen(self, topic: str, heard: Callable[[object], None]) -> None:
        self.heard[topic] = heard

    async def wait(self) -> None:
        """It is connected."""

    async def ask(self, topic: str, _body: object, form: type[Any]) -> Any:
        if topic == f"{JOBS}/get":
            self.lists += 1
            return form.model_validate({"queuedJobs": [{"jobId": job} for job in self.jobs]})
        job = topic.split("/")[-2]
        told = self.jobs[job]
        if isinstance(told, Exception):
            raise told
        try:
            return Described.model_validate({"execution": {"jobId": job, "jobDocument": told}})
        except ValueError as error:
            raise AnswerTroubleError(str(error)) from None


class Updater:
    """Takes what is its own."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    async def take(self, job: Job) -> None:
        self.taken.append(job.id)

    def pending(self, executions: Collection[tuple[str, int]]) -> None:
        """Heard."""


def refused(code: str) -> RefusedError:
    return RefusedError("job", json.dumps({"code": code}).encode(), "the cloud")


async def taken(cloud: Cloud, done: Callable[[Updater], bool]) -> Updater:
    jobs, updater = Jobs(cloud, "thing-1", {}), Updater()  # type: ignore[arg-type]
    jobs.standing["firmware-update"] = updater
    living = asyncio.create_task(jobs.live())
    try:
        await until(lambda: done(updater), 5.0)
    finally:
        living.cancel()
    return updater


@pytest.mark.parametrize(
    "first",
    [["a", "list"], "no JSON", refused("ResourceNotFound"), refused("TerminalStateReached")],
    ids=["a list", "no JSON", "gone", "over"],
)
async def test_a_job_that_cannot_be_read_holds_up_no_other(first: Any) -> None:
    cloud = Cloud({"job-1": first, "job-2": {"operation": "firmware-update"}})
    assert (await taken(cloud, lambda updater: bool(updater.taken))).taken == ["job-2"]


@pytest.mark.parametrize("name", ["notify", "notify-next"])
async def test_a_notification_has_the_list_read(name: str) -> None:
    cloud = Cloud({})

    def done(updater: Updater) -> bool:
        if not cloud.jobs and cloud.lists:
            cloud.jobs["job-1"] = {"operation": "firmware-update"}
            cloud.heard[f"{JOBS}/{name}"](None)
        return bool(updater.taken)

    await taken(cloud, done)
    assert cloud.lists == 2
