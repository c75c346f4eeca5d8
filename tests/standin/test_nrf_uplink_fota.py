"""A hub that nRF Cloud updates over MQTT: jobs of the stand-in, real slots, releases that lie signed beside the file, Nordic's own tool."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from nordic_rig import manage
from nrf_fota_rig import Updated
from nrf_link_rig import Files, NrfHub, onboarded
from nrf_mqtt_rig import execution
from nrf_rig import ask
from slots_rig import tree
from standin_rig import Cloud

from agent.cloud.mqtt import Inbound
from agent.cloud.nrf_wires import MqttWire
from agent.errors import TryAgainError
from agent.ota.engine import Engine
from agent.ota.parts import Policy
from agent.ota.plan import State, Task, key_of
from agent.ota.sources.nrf_fota import NrfFota

pytestmark = pytest.mark.conformance
_numbers = count(1)


class Fleet(Updated):
    """Over MQTT. `said`: what the hub has told of its jobs, in order; `asked`: how often it has asked for one."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        super().__init__(cloud, folder, f"fota-{next(_numbers)}")
        self.files: Files = onboarded(cloud, folder, self.name)
        self.folder = folder / "link"
        self.folder.mkdir()
        self.said: list[list[Any]] = []
        self.asked = 0

    async def live(
        self,
        work: Callable[[Engine, NrfHub], Awaitable[object]],
        break_in: Callable[[NrfHub], None] = lambda _hub: None,
    ) -> bool:
        """One process; True when it ended for a restart."""

        async def both(engine: Engine) -> None:
            hub = NrfHub(self.folder, self.cloud, self.name, self.files)
            wire = MqttWire(hub.channel)
            source = NrfFota("main", wire, engine, asyncio.get_running_loop().time)
            hub.session.on_paired.append(wire.paired)
            self._listen(hub)
            break_in(hub)
            hub.start()
            task = asyncio.create_task(source.live())
            try:
                await work(engine, hub)
            finally:
                assert not task.done(), task.exception()
                task.cancel()
                await hub.stop()
                await hub.store.close()

        self.machine.board.start()
        return await self.machine.life(both)

    def _listen(self, hub: NrfHub) -> None:
        tell = hub.channel.tell

        async def told(topic: str, payload: bytes, timeout: float = 30.0) -> None:
            await tell(topic, payload, timeout)
            if topic.endswith("/update"):
                self.said.append(json.loads(payload))
            else:
                self.asked += 1

        hub.channel.tell = told  # type: ignore[method-assign]

    async def to_the_end(self, job: str) -> Task:
        async def work(engine: Engine, _hub: NrfHub) -> None:
            key = key_of("main", job, 1)
            await until(lambda: key in engine.tasks and engine.tasks[key].told, 20.0, "the end, heard")

        while await self.live(work):
            pass
        return self.task(job)


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


@pytest.fixture
def fleet(cloud: Cloud, tmp_path: Path) -> Fleet:
    return Fleet(cloud, tmp_path)


async def test_a_job_is_downloaded_installed_and_told_of_over_its_restart(fleet: Fleet) -> None:
    job = fleet.job(fleet.bundle(tree("2.0")))
    task = await fleet.to_the_end(job)
    assert (task.state, task.told, fleet.status(job)) == (State.SUCCEEDED, True, "SUCCEEDED")
    numbers = [row[1] for row in fleet.said]
    assert {row[0] for row in fleet.said} == {job}
    assert numbers[-1] == 3
    assert numbers.count(3) == 1
    downloading = [row[2] for row in fleet.said if row[1] == 7]
    assert downloading == sorted(downloading)
    assert downloading[-1] == 100
    last = len(numbers) - 1 - numbers[::-1].index(7)
    assert 1 in numbers[last:], "in progress, after the download and before the restart"


async def test_nordic_s_tool_finds_that_the_hub_takes_updates_and_gives_it_one(cloud: Cloud, fleet: Fleet) -> None:
    bundle = fleet.bundle(tree("2.0"))

    async def report(_engine: Engine, hub: NrfHub) -> None:
        await until(lambda: hub.link.connected)
        await until(lambda: bool(ask(cloud, "GET", f"/devices/{fleet.name}").json()["firmware"]["supports"]))
        arguments = ("--type", "APP", "--dev-id", fleet.name, "--bundle-id", bundle, "--name", "n", "--desc", "d")
        loop = asyncio.get_running_loop()
        printed = await loop.run_in_executor(None, lambda: manage(cloud, *arguments, answers="y\ny\n"))
        assert "1 of 1 devices support APP FOTA updates" in printed

    await fleet.live(report)
    (job,) = [entry["jobId"] for entry in ask(cloud, "GET", f"/fota-job-executions/{fleet.name}").json()["items"]]
    assert (await fleet.to_the_end(job)).state == State.SUCCEEDED
    assert fleet.status(job) == "SUCCEEDED"


async def test_a_file_beside_which_nothing_signed_lies_is_rejected(cloud: Cloud, fleet: Fleet) -> None:
    job = fleet.job(fleet.bundle(tree("2.0"), signed=False))
    task = await fleet.to_the_end(job)
    assert (task.state, task.code, fleet.status(job)) == (State.REJECTED, "unsigned", "REJECTED")
    assert "nobody has signed it" in (execution(cloud, fleet.name, job)[1] or "")
    assert fleet.machine.board.start() == "1.0 A"


async def test_an_end_that_the_broker_did_not_take_is_told_before_anything_is_asked_for(fleet: Fleet) -> None:
    job = fleet.job(fleet.bundle(tree("2.0"), signed=False))
    order: list[str] = []

    def deaf(hub: NrfHub) -> None:
        """What is said of jobs arrives, and its acknowledgement does not."""
        tell = hub.channel.tell

        async def told(topic: str, payload: bytes, timeout: float = 30.0) -> None:
            if topic.endswith("/update"):
                hub.channel.publish(topic, payload)
                raise TryAgainError("no acknowledgement")
            await tell(topic, payload, timeout)

        hub.channel.tell = told  # type: ignore[method-assign]

    async def unheard(engine: Engine, _hub: NrfHub) -> None:
        key = key_of("main", job, 1)
        await until(lambda: fleet.status(job) == "REJECTED", 20.0, "the end, which has arrived")
        assert not engine.tasks[key].told

    assert not await fleet.live(unheard, deaf)
    fleet.said.clear()

    def note(hub: NrfHub) -> None:
        tell = hub.channel.tell

        async def told(topic: str, payload: bytes, timeout: float = 30.0) -> None:
            order.append(topic.rpartition("/")[2])
            await tell(topic, payload, timeout)

        hub.channel.tell = told  # type: ignore[method-assign]

    async def heard(engine: Engine, _hub: NrfHub) -> None:
        await until(lambda: engine.tasks[key_of("main", job, 1)].told and len(order) > 1, 20.0, "the end, heard")

    assert not await fleet.live(heard, note)
    assert order[:2] == ["update", "req"]
    assert [row[:2] for row in fleet.said] == [[job, 6]]


async def test_a_job_that_is_known_or_comes_while_another_runs_is_passed_over(fleet: Fleet) -> None:
    fleet.machine.policy = Policy(automatic=False, hub="hub-1")
    first = fleet.job(fleet.bundle(tree("2.0")))

    async def work(engine: Engine, hub: NrfHub) -> None:
        key = key_of("main", first, 1)
        await until(lambda: key in engine.tasks and engine.tasks[key].state == State.WAITING, 20.0, "the first job")
        second = fleet.job(fleet.bundle(tree("2.0"), signed=False))
        await until(lambda: fleet.status(first) == "IN_PROGRESS", 10.0)
        offered(hub, [first, 0, 2048, "files", "x"])
        offered(hub, ["no-size", 0, "many", "files", "x"])
        await until(lambda: ["no-size", 6, "the job cannot be understood: file_size"] in fleet.said, 10.0)
        assert list(engine.tasks) == [key]
        assert await engine.cancel(key, "operator", "not today")
        await until(lambda: key_of("main", second, 1) in engine.tasks, 10.0, "the second, asked for after the first")
        await until(lambda: fleet.status(second) == "REJECTED", 10.0)
        assert fleet.status(first) == "CANCELLED"
        asked = fleet.asked
        offered(hub, [second, 0, 2048, "files", "x"])
        offered(hub, ["of-a-modem", 1, 2048, "files", "x"])
        offered(hub, [3])
        await until(lambda: fleet.said[-1] == ["of-a-modem", 6, "this hub takes no firmware of type MODEM"], 10.0)
        assert set(engine.tasks) == {key, key_of("main", second, 1)}
        await until(lambda: fleet.asked > asked, 10.0, "the next one, asked for")

    assert not await fleet.live(work)


def offered(hub: NrfHub, row: list[Any]) -> None:
    """As if the cloud had offered it."""
    assert hub.dialect.pairing is not None
    topic = hub.dialect.pairing.jobs("rcv")
    assert hub.channel.hear(Inbound(topic, json.dumps(row).encode(), retained=False, acknowledge=lambda: None))
