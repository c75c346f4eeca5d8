"""Updates as jobs: told of until it is heard, given up when the cloud says so, never done twice. Over the wire: test_update_story.py."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import Machine, update
from power_cut import PowerCut
from slots_rig import tree

from agent.cloud.jobs import JobOverError
from agent.cloud.mqtt import MqttLost
from agent.errors import HubError
from agent.ota.appliers.slots import Slots
from agent.ota.engine import Engine
from agent.ota.journal import Journal
from agent.ota.manifest import Component
from agent.ota.parts import Policy
from agent.ota.plan import State, Task, key_of
from agent.ota.sources.aws_jobs import AwsJobs

KEY = key_of("main", "job-1", 1)


class CloudJob:
    """One execution in the cloud: what it was told, and how it answers."""

    def __init__(self, document: Mapping[str, Any], number: int = 1) -> None:
        self.id, self.number, self.document = "job-1", number, document
        self.told: list[tuple[str, dict[str, str]]] = []
        self.timeouts: list[int | None] = []
        self.answers: list[HubError] = []  # raised before it takes anything more

    async def progress(self, told: Mapping[str, str], step_timeout: int | None = None) -> None:
        self._take("IN_PROGRESS", told)
        self.timeouts.append(step_timeout)

    async def end(self, status: str, told: Mapping[str, str]) -> None:
        self._take(status, told)

    def _take(self, status: str, told: Mapping[str, str]) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.told.append((status, {name: text for name, text in told.items() if text}))

    @property
    def states(self) -> list[str]:
        return [told["state"] for _, told in self.told]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def inline(machine: Machine, **changes: Any) -> dict[str, Any]:
    """A job that brings its release along; the files lie on this machine."""
    path = Path(machine.offer_files(**{**update(("agent.tar.gz", tree("2.0"))), **changes})["path"])
    return {"operation": "firmware-update", "manifest": path.read_text(), "base": str(path)}


async def live(machine: Machine, work: Callable[[Engine, AwsJobs], Awaitable[object]]) -> bool:
    """One process with one uplink's jobs; True when it ended for a restart."""

    async def both(engine: Engine) -> None:
        source = AwsJobs("main", None, engine, asyncio.get_running_loop().time)  # type: ignore[arg-type]  it is asked nothing here
        task = asyncio.create_task(source.live())
        try:
            await work(engine, source)
        finally:
            task.cancel()

    machine.board.start()
    return await machine.life(both)


async def to_the_end(machine: Machine, job: CloudJob) -> Task:
    async def work(engine: Engine, source: AwsJobs) -> None:
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: engine.tasks[key_of("main", job.id, job.number)].told, 20.0, "the end, heard")

    while await live(machine, work):
        pass
    assert machine.journal is not None
    return machine.journal.tasks[key_of("main", job.id, job.number)]


async def test_a_job_is_told_of_over_its_restart_until_the_end_is_heard(machine: Machine) -> None:
    job = CloudJob(inline(machine))
    task = await to_the_end(machine, job)
    assert (task.state, task.told) == (State.SUCCEEDED, True)
    assert job.told[-1][0] == "SUCCEEDED"
    assert job.told[-1][1] == {
        "state": "SUCCEEDED",
        "release": "2.0",
        "component": "agent",
        "from": "1.0",
        "installed": "agent",
        "reason": "2.0 is installed",
    }
    assert [status for status, _ in job.told].count("SUCCEEDED") == 1
    assert "STAGED" in job.states  # it was asked whether it is still wanted


async def test_an_end_that_is_not_heard_is_told_again_after_a_restart(machine: Machine) -> None:
    job = CloudJob(inline(machine))
    job.answers = [MqttLost("gone")] * 50  # nothing of the first lives is heard

    async def unheard(engine: Engine, source: AwsJobs) -> None:
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: engine.tasks[KEY].over, 20.0)

    while await live(machine, unheard):
        pass
    assert not job.told
    job.answers = []
    assert (await to_the_end(machine, job)).told
    assert [status for status, _ in job.told] == ["SUCCEEDED"]


async def test_a_job_that_comes_again_is_told_its_end_and_not_done_again(machine: Machine) -> None:
    document = inline(machine)
    await to_the_end(machine, CloudJob(document))

    async def again(engine: Engine, source: AwsJobs) -> None:
        job = CloudJob(document)
        assert engine.tasks[KEY].told
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: job.told and engine.tasks[KEY].told, 5.0)
        assert [status for status, _ in job.told] == ["SUCCEEDED"]

    assert not await live(machine, again)


class _Staged:
    """The first process is killed once it has staged the update; `looked` is when the second has read the slot again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.killed, self.looked = False, asyncio.Event()
        put, check = Journal.put, Slots.check

        async def kept(journal: Journal, task: Task, *, floor: str = "") -> Task:
            found = await put(journal, task, floor=floor)
            if task.state == State.STAGED and not self.killed:
                self.killed = True
                raise PowerCut
            return found

        async def checked(slots: Slots, component: Component) -> bool:
            self.looked.set()
            return await check(slots, component)

        monkeypatch.setattr(Journal, "put", kept)
        monkeypatch.setattr(Slots, "check", checked)


async def test_a_job_that_was_canceled_while_the_hub_was_off_is_not_activated_at_its_start(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, staged = CloudJob(inline(machine)), _Staged(monkeypatch)

    async def first(engine: Engine, source: AwsJobs) -> None:
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: engine.tasks[KEY].over)

    with suppress(PowerCut, BaseExceptionGroup):
        await live(machine, first)

    async def second(engine: Engine, source: AwsJobs) -> None:
        await staged.looked.wait()
        asyncio.get_running_loop().call_later(0.1, source.pending, ())  # the connection takes its time
        await until(lambda: engine.tasks[KEY].over)
        assert engine.tasks[KEY].state == State.CANCELED

    assert not await live(machine, second)


async def test_a_cloud_that_stays_away_does_not_hold_up_what_is_staged(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _staged = CloudJob(inline(machine)), _Staged(monkeypatch)
    monkeypatch.setattr("agent.ota.steps.STILL_WANTED", 0.05)

    async def first(engine: Engine, source: AwsJobs) -> None:
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: engine.tasks[KEY].over)

    with suppress(PowerCut, BaseExceptionGroup):
        await live(machine, first)

    async def offline(engine: Engine, _source: AwsJobs) -> None:
        await until(lambda: engine.tasks[KEY].over)

    assert await live(machine, offline)  # it restarts for the activation


async def test_a_retry_of_the_cloud_is_another_task(machine: Machine) -> None:
    document = inline(machine)
    await to_the_end(machine, CloudJob(document))
    job = CloudJob(document, number=2)
    task = await to_the_end(machine, job)
    assert (task.execution, task.state) == (2, State.SUCCEEDED)


@pytest.mark.parametrize(
    ("status", "state"),
    [("CANCELED", State.CANCELED), ("REMOVED", State.CANCELED), ("TIMED_OUT", State.TIMED_OUT), ("", State.CANCELED)],
)
async def test_a_job_that_is_over_in_the_cloud_is_not_begun(machine: Machine, status: str, state: State) -> None:
    machine.policy = Policy(automatic=False, hub="hub-1")
    job = CloudJob(inline(machine))
    job.answers = [JobOverError("over", status)]

    async def work(engine: Engine, source: AwsJobs) -> None:
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: engine.tasks[KEY].over, 10.0)
        assert engine.tasks[KEY].state == state

    assert not await live(machine, work)


async def test_a_job_that_is_no_longer_pending_is_given_up_before_its_activation(machine: Machine) -> None:
    machine.policy = Policy(automatic=False, hub="hub-1")
    job = CloudJob(inline(machine))

    async def work(engine: Engine, source: AwsJobs) -> None:
        source.pending([("job-1", 1)])
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: "WAITING" in job.states, 10.0)
        assert job.timeouts[-1] == 10080  # it may wait for a person as long as the service allows
        source.pending([("another", 1)])
        await until(lambda: engine.tasks[KEY].over, 10.0)
        assert engine.tasks[KEY].state == State.CANCELED

    assert not await live(machine, work)
    assert machine.board.start() == "1.0 A"


@pytest.mark.parametrize(("status", "state"), [("TIMED_OUT", State.TIMED_OUT), ("REMOVED", State.CANCELED)])
async def test_a_job_that_is_no_longer_pending_ends_as_the_cloud_has_ended_it(
    machine: Machine, status: str, state: State
) -> None:
    machine.policy = Policy(automatic=False, hub="hub-1")
    job = CloudJob(inline(machine))

    async def work(engine: Engine, source: AwsJobs) -> None:
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: "WAITING" in job.states, 10.0)
        job.answers = [JobOverError("over", status)]
        source.pending([])
        await until(lambda: engine.tasks[KEY].over, 10.0)
        assert (engine.tasks[KEY].state, engine.tasks[KEY].detail) == (state, "the cloud has ended the job")

    assert not await live(machine, work)


async def test_an_end_that_nobody_waits_for_is_not_told_for_ever(machine: Machine) -> None:
    job = CloudJob({"operation": "firmware-update"})
    job.answers = [MqttLost("gone")]

    async def work(engine: Engine, source: AwsJobs) -> None:
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: engine.tasks[KEY].state == State.REJECTED, 10.0)
        source.pending([])
        await until(lambda: engine.tasks[KEY].told, 10.0)

    assert not await live(machine, work)


async def test_new_addresses_of_a_job_are_taken(machine: Machine) -> None:
    machine.policy = Policy(automatic=False, hub="hub-1")
    document = inline(machine)

    async def work(engine: Engine, source: AwsJobs) -> None:
        await source.take(CloudJob(document))  # type: ignore[arg-type]
        await until(lambda: engine.tasks[KEY].state == State.WAITING, 10.0)
        await source.take(CloudJob({**document, "urls": {"agent.tar.gz": "https://new"}}))  # type: ignore[arg-type]
        assert engine.tasks[KEY].document["urls"] == {"agent.tar.gz": "https://new"}

    assert not await live(machine, work)
