"""What a hub says and hears of jobs: a job that nobody can read holds no other up, updates carry the version, details keep the limits."""

import asyncio
import json
import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Any

import pytest
from conftest import until
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.channel import AnswerTroubleError, RefusedError
from agent.cloud.jobs import Job, JobOverError, Jobs
from agent.errors import TryAgainError
from agent.wire.jobs import Described, details

JOBS = "$aws/things/thing-1/jobs"


class Cloud:
    """A channel to a cloud with these jobs: id -> document, or what its description is refused with."""

    def __init__(self, jobs: dict[str, Any]) -> None:
        self.jobs = jobs
        self.on_up: list[Callable[[], None]] = []
        self.heard: dict[str, Callable[[object], None]] = {}
        self.place = "the cloud"
        self.lists, self.version = 0, 3
        self.updates: list[dict[str, Any]] = []
        self.refusals: list[dict[str, Any]] = []

    def listen(self, topic: str, heard: Callable[[object], None]) -> None:
        self.heard[topic] = heard

    async def wait(self) -> None:
        """It is connected."""

    async def ask(self, topic: str, body: Any, form: type[Any]) -> Any:
        if topic == f"{JOBS}/get":
            self.lists += 1
            return form.model_validate({"queuedJobs": [{"jobId": job} for job in self.jobs]})
        if topic.endswith("/update"):
            return self._updated(body, form)
        job = topic.split("/")[-2]
        told = self.jobs[job]
        if isinstance(told, Exception):
            raise told
        try:
            execution = {"jobId": job, "jobDocument": told, "executionNumber": 2, "versionNumber": self.version}
            return Described.model_validate({"execution": execution})
        except ValueError as error:
            raise AnswerTroubleError(str(error)) from None

    def _updated(self, body: Any, form: type[Any]) -> Any:
        self.updates.append(json.loads(body.model_dump_json(by_alias=True, exclude_none=True)))
        if self.refusals:
            raise RefusedError("job", json.dumps(self.refusals.pop(0)).encode(), self.place)
        self.version += 1
        return form.model_validate({"executionState": {"status": "IN_PROGRESS", "versionNumber": self.version}})


class Updater:
    """Takes what is its own."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.jobs: list[Job] = []

    async def take(self, job: Job) -> None:
        self.taken.append(job.id)
        self.jobs.append(job)

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


async def test_an_update_names_the_version_that_was_seen_last_and_renews_the_timer_of_its_step() -> None:
    cloud = Cloud({"job-1": {"operation": "firmware-update"}})
    (job,) = (await taken(cloud, lambda updater: bool(updater.taken))).jobs
    await job.progress({"state": "DOWNLOADING", "percent": "10"}, 120)
    await job.progress({"state": "DOWNLOADING", "percent": "20"}, 120)
    first, second = cloud.updates
    assert first == {
        "status": "IN_PROGRESS",
        "statusDetails": {"state": "DOWNLOADING", "percent": "10"},
        "executionNumber": 2,
        "expectedVersion": 3,
        "includeJobExecutionState": True,
        "stepTimeoutInMinutes": 120,
    }
    assert second["expectedVersion"] == 4
    cloud.refusals = [{"code": "VersionMismatch", "executionState": {"status": "IN_PROGRESS", "versionNumber": 9}}]
    with pytest.raises(TryAgainError, match="moved on"):
        await job.progress({}, 120)
    await job.progress({}, 120)
    assert cloud.updates[-1]["expectedVersion"] == 9


@pytest.mark.parametrize("status", ["CANCELED", "REMOVED", "TIMED_OUT"])
@pytest.mark.parametrize("code", ["VersionMismatch", "InvalidStateTransition"])
async def test_what_the_cloud_has_ended_is_said_as_that(code: str, status: str) -> None:
    cloud = Cloud({"job-1": {"operation": "firmware-update"}})
    (job,) = (await taken(cloud, lambda updater: bool(updater.taken))).jobs
    cloud.refusals = [{"code": code, "executionState": {"status": status, "versionNumber": 9}}]
    with pytest.raises(JobOverError) as caught:
        await job.progress({}, 120)
    assert caught.value.status == status


@given(st.dictionaries(st.text(max_size=200), st.text(max_size=2000), max_size=20))
def test_details_keep_the_limits_of_the_service_whatever_they_are(told: dict[str, str]) -> None:
    kept = details(told)
    assert len(kept) <= 10
    for name, value in kept.items():
        assert re.fullmatch(r"[a-zA-Z0-9:_-]{1,128}", name)
        assert 1 <= len(value) <= 1024
        assert not any(unicodedata.category(one).startswith("C") for one in value)


def test_details_are_told_as_they_are_where_that_may_be() -> None:
    assert details({"reason": "größer\nals\u200b 5", "code": ""}) == {"reason": "größer als  5"}
    assert details({"reason": "half a pair \ud800"})["reason"] == "half a pair  "
