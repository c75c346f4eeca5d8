"""Addresses that expire while they are used: a new one is asked for at once, and the download goes on where it was."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest
from conftest import until
from hostile_files import Server, Talk, content, cut, good
from ota_machine import Machine, update
from ota_rig import agent, file, release
from slots_rig import tree

from agent.cloud.jobs import Job, Jobs
from agent.cloud.mqtt import MqttLost
from agent.cloud.nrf_wires import FirmwareJob
from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.plan import State, Task, key_of
from agent.ota.sources.aws_jobs import AwsJobs
from agent.ota.sources.nrf_fota import NrfFota
from agent.ota.verifier import LOCAL
from agent.wire.jobs import Describe, Described, Execution

IMAGE = tree("2.0", more={"agent/data": content(40_000)})
KEY = key_of("main", "job-1", 1)
FILE = file("agent.tar.gz", IMAGE, 4096)


class Bucket:
    """Serves an image, and the release beside it, to who has the token of the day. Each answer has `most` bytes, and ends the day."""

    def __init__(self, most: int = len(IMAGE) // 3) -> None:
        self.day, self.most = 1, most
        self.open = False  # the release is there for everybody
        self.refused = 0
        self.ranges: list[int] = []  # where each answer with bytes of the image began
        self.envelope = release(7, release="2.0", components=[agent("2.0", files=[FILE])])
        self.server = Server(IMAGE, self._serve)

    def _serve(self, server: Server, talk: Talk) -> None:
        if talk.path.endswith(".release.json") and self.open:
            good(server, talk, data=self.envelope)
        elif f"token={self.day}" not in talk.path:
            self.refused += 1
            talk.head(403, "Content-Length: 0", "Connection: close")
        elif ".release.json" in talk.path:
            good(server, talk, data=self.envelope)
        elif "root.json" in talk.path:
            talk.head(404, "Content-Length: 0", "Connection: close")
        else:
            self.day += 1
            self.ranges.append(talk.offset)
            cut(good, self.most)(server, talk)

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()


class CloudJob:
    """Describes itself anew with an address that is good now."""

    id, number = "job-1", 1

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self.document, self._made = document(), document
        self.asked = 0
        self.away = False

    async def anew(self) -> Self:
        if self.away:
            raise MqttLost("the connection is gone")
        self.asked += 1
        self.document = self._made()
        return self

    async def progress(self, _told: object, _timeout: int | None = None) -> None:
        """Heard."""

    async def end(self, _status: str, _told: object) -> None:
        """Heard."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "hub")
    made.fetch, made.again = FetchPolicy(first=0.01, longest=0.01), 0.001
    made.board.start()
    return made


def signed_urls(bucket: Bucket, machine: Machine) -> dict[str, Any]:
    path = Path(machine.offer_files(**update(("agent.tar.gz", IMAGE)))["path"])
    url = f"{bucket.server.url}/agent.tar.gz?token={bucket.day}"
    return {"operation": "firmware-update", "manifest": path.read_text(), "urls": {"agent.tar.gz": url}}


async def with_jobs(machine: Machine, work: Callable[[Engine, AwsJobs], Awaitable[None]]) -> None:
    async def both(engine: Engine) -> None:
        source = AwsJobs("main", None, engine, asyncio.get_running_loop().time)  # type: ignore[arg-type]  it is asked nothing here
        reports = asyncio.create_task(source.live())
        try:
            await work(engine, source)
        finally:
            reports.cancel()

    await machine.life(both)


def found(machine: Machine) -> Task:
    assert machine.journal is not None
    return machine.journal.tasks[KEY]


async def test_a_download_goes_on_at_its_offset_with_the_address_of_a_job_that_is_described_again(
    machine: Machine,
) -> None:
    with Bucket() as bucket:
        job = CloudJob(lambda: signed_urls(bucket, machine))

        async def work(engine: Engine, source: AwsJobs) -> None:
            await source.take(job)  # type: ignore[arg-type]
            await until(lambda: engine.tasks[KEY].state in (State.ACTIVATING, State.FAILED))

        await with_jobs(machine, work)
    assert found(machine).state == State.ACTIVATING
    sent = len(IMAGE) // 3
    assert job.asked == bucket.refused == len(bucket.ranges) - 1
    assert bucket.ranges[0] == 0
    steps = [after - before for before, after in zip(bucket.ranges, bucket.ranges[1:], strict=False)]
    print(f"{len(IMAGE)} bytes in answers of {sent}, each from {bucket.ranges}")
    assert all(sent - 4096 <= step <= sent for step in steps), "at most a chunk is fetched twice"


async def test_the_address_of_a_release_is_renewed_as_well(machine: Machine) -> None:
    with Bucket(most=1 << 30) as bucket:
        place = f"{bucket.server.url}/agent.tar.gz.release.json?token="
        job = CloudJob(lambda: {"manifestUrl": f"{place}{bucket.day}", "urls": signed_urls(bucket, machine)["urls"]})
        bucket.day = 9

        async def work(engine: Engine, source: AwsJobs) -> None:
            await source.take(job)  # type: ignore[arg-type]
            await until(lambda: engine.tasks[KEY].state == State.ACTIVATING)

        await with_jobs(machine, work)
    assert job.asked == 1


async def test_what_is_refused_again_and_again_is_given_up(machine: Machine) -> None:
    with Bucket() as bucket:
        bucket.day = 0
        number = iter(range(1, 10_000))
        job = CloudJob(
            lambda: {**signed_urls(bucket, machine), "urls": {"agent.tar.gz": f"{bucket.server.url}/{next(number)}"}}
        )

        async def work(engine: Engine, source: AwsJobs) -> None:
            await source.take(job)  # type: ignore[arg-type]
            await until(lambda: engine.tasks[KEY].over, 20.0)

        await with_jobs(machine, work)
    assert (found(machine).state, found(machine).code) == (State.FAILED, "tries")
    assert job.asked <= 3 * 21


async def test_a_cloud_that_is_away_is_no_reason_to_give_up(machine: Machine) -> None:
    with Bucket() as bucket:
        job = CloudJob(lambda: signed_urls(bucket, machine))
        job.away = True

        async def work(engine: Engine, source: AwsJobs) -> None:
            await source.take(job)  # type: ignore[arg-type]
            await until(lambda: engine.tasks[KEY].tries > 0)
            job.away = False
            await until(lambda: engine.tasks[KEY].state == State.ACTIVATING)

        await with_jobs(machine, work)


class Polled:
    """nRF Cloud, which offers the same job at each question."""

    every, quiet = 3600.0, 0.0

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.asked = 0

    def bind(self, offered: Callable[[Any], None], _up: Callable[[], None]) -> None:
        self._offered = offered

    async def wait(self) -> None:
        """It can be asked."""

    async def ask(self) -> None:
        self.asked += 1
        host = self._bucket.server.url.removeprefix("http://")
        self._offered(FirmwareJob("job-1", "APP", len(IMAGE), host, f"agent.tar.gz?token={self._bucket.day}"))

    async def say(self, *_: object) -> bool:
        return True


async def test_a_job_of_nrf_cloud_is_polled_again(machine: Machine) -> None:
    with Bucket() as bucket:
        wire = Polled(bucket)
        bucket.open = True

        async def work(engine: Engine) -> None:
            source = NrfFota("main", wire, engine, asyncio.get_running_loop().time)
            reports = asyncio.create_task(source.live())
            try:
                await until(
                    lambda: KEY in engine.tasks and engine.tasks[KEY].state in (State.ACTIVATING, State.REJECTED)
                )
            finally:
                reports.cancel()

        await machine.life(work)
    assert (found(machine).state, found(machine).detail) == (State.ACTIVATING, "")
    assert wire.asked == len(bucket.ranges)


async def test_an_emergency_does_not_wait_for_a_download_that_crawls(machine: Machine) -> None:
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def crawl(server: Server, talk: Talk) -> None:
        talk.head(200, f"Content-Length: {len(IMAGE)}", "Connection: close")
        server.body(talk, 0, 5000)
        loop.call_soon_threadsafe(reached.set)
        server.over.wait()

    with Server(IMAGE, crawl) as server:
        path = Path(machine.offer_files(8, **update(("agent.tar.gz", IMAGE)))["path"])
        slow = {"manifest": path.read_text(), "urls": {"agent.tar.gz": f"{server.url}/agent.tar.gz"}}
        urgent = machine.offer_files(7, emergency=True, **update(("agent.tar.gz", tree("1.9")), "1.9"))

        async def work(engine: Engine) -> None:
            await engine.offer("main", "job-1", 1, slow)
            await reached.wait()
            await engine.offer(LOCAL, "2", 1, urgent)
            await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over)

        assert await machine.life(work)  # it restarts for the emergency
    assert (found(machine).state, found(machine).tries) == (State.DOWNLOADING, 0)


class OneAnswer:
    """A channel whose other end describes the execution that it is asked for."""

    def __init__(self) -> None:
        self.on_up: list[Callable[[], None]] = []
        self.asked: list[tuple[str, str]] = []

    def listen(self, _topic: str, _heard: object) -> None:
        """Nothing comes by itself."""

    async def ask(self, topic: str, body: Describe, form: type[Described]) -> Described:
        self.asked.append((topic, body.model_dump_json(by_alias=True, exclude_none=True)))
        url = f"https://files.example.com/a?signed={len(self.asked)}"
        told = {"jobId": "job-1", "executionNumber": 2, "versionNumber": 3, "jobDocument": {"manifestUrl": url}}
        return form.model_validate({"execution": told})


async def test_the_execution_that_is_under_way_is_the_one_that_is_described_again() -> None:
    channel = OneAnswer()
    jobs = Jobs(channel, "thing-1", {})  # type: ignore[arg-type]
    again = await Job(jobs, Execution.model_validate({"jobId": "job-1", "executionNumber": 2})).anew()
    assert (again.id, again.number, again.document["manifestUrl"][-1]) == ("job-1", 2, "1")
    assert channel.asked == [("$aws/things/thing-1/jobs/job-1/get", '{"executionNumber":2}')]
