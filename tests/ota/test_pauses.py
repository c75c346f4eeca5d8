"""After trouble that may pass everybody waits longer each time: the engine for what it cannot do, a source for what is not heard."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import until
from hostile_files import Server, Talk
from ota_machine import Machine

from agent.cloud.mqtt import MqttLost
from agent.ota.desk import Rests
from agent.ota.engine import Engine
from agent.ota.pauses import after_trouble
from agent.ota.plan import TRIES, State
from agent.ota.sources.aws_jobs import AwsJobs


def test_pauses_double_up_to_a_quarter_of_an_hour_and_half_of_each_is_chance() -> None:
    longest = [max(after_trouble(times, 30.0, Random(seed)) for seed in range(200)) for times in range(8)]
    assert [round(seconds, -1) for seconds in longest] == [30, 30, 60, 120, 240, 480, 900, 900]
    found = sorted(after_trouble(3, 30.0, Random(seed)) for seed in range(200))
    assert 60 <= found[0] < 63
    assert 117 < found[-1] <= 120


async def test_a_release_that_cannot_be_fetched_is_asked_for_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, pauses = Machine(tmp_path), list[float]()
    monkeypatch.setattr(Rests, "put", lambda _rests, _key, seconds: pauses.append(seconds))

    def busy(_server: Server, talk: Talk) -> None:
        talk.head(503, "Content-Length: 0", "Connection: close")

    with Server(b"", busy) as server:

        async def work(engine: Engine) -> None:
            await engine.offer("main", "job-1", 1, {"manifestUrl": f"{server.url}/it.release.json"})
            await until(lambda: len(pauses) > 7, 5.0)

        await machine.life(work)
    assert all(machine.again / 2 * 2**number <= seconds for number, seconds in enumerate(pauses[:5]))
    assert max(pauses) <= 30 * machine.again


async def test_a_release_that_stays_away_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRIES, State.RECEIVED, 7)  # type: ignore[arg-type]  it is a dict
    machine = Machine(tmp_path)
    machine.again = 0.0001

    def out_of_order(_server: Server, talk: Talk) -> None:
        talk.head(503, "Content-Length: 0", "Connection: close")

    with Server(b"", out_of_order) as server:

        async def work(engine: Engine) -> None:
            task = await engine.offer("main", "job-1", 1, {"manifestUrl": f"{server.url}/it.release.json"})
            await until(lambda: engine.tasks[task.key].over, 10.0)
            task = engine.tasks[task.key]
            assert (task.state, task.code) == (State.FAILED, "tries")
            assert "received failed 7 times; the last: GET " in task.detail
            assert len(server.asked) == TRIES[State.RECEIVED] + 1

        await machine.life(work)


class Deaf:
    """A job whose cloud hears nothing at first."""

    id, number = "job-1", 1
    document: dict[str, Any] = {"operation": "firmware-update"}  # noqa: RUF012  nobody writes to it

    def __init__(self) -> None:
        self.left, self.ends = 6, 0

    async def progress(self, *_: object) -> None:
        """Heard."""

    async def end(self, *_: object) -> None:
        self.left -= 1
        if self.left >= 0:
            raise MqttLost("the connection is gone")
        self.ends += 1


async def test_an_end_that_is_not_heard_is_told_until_it_is_and_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, job, asked = Machine(tmp_path), Deaf(), list[int]()

    def soon(times: int, _first: float, _random: Random) -> float:
        asked.append(times)
        return 0.001

    monkeypatch.setattr("agent.ota.sources.aws_jobs.after_trouble", soon)

    async def work(engine: Engine) -> None:
        source = AwsJobs("main", None, engine, asyncio.get_running_loop().time)  # type: ignore[arg-type]  it is asked nothing here
        living = asyncio.create_task(source.live())
        await source.take(job)  # type: ignore[arg-type]
        await until(lambda: engine.tasks["main/job-1/1"].told, 5.0)
        assert engine.tasks["main/job-1/1"].state == State.REJECTED
        living.cancel()

    await machine.life(work)
    assert (asked, job.ends) == ([1, 2, 3, 4, 5, 6], 1)
