"""What people and clouds say of a task at the very moment at which it moves: what was answered to them is what happens."""

import asyncio
import threading
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import KEY, Machine, update
from slots_rig import tree

from agent.cloud.nrf_wires import FirmwareJob
from agent.errors import TryAgainError
from agent.ota.engine import Engine
from agent.ota.journal import Journal
from agent.ota.plan import State, Task, key_of
from agent.ota.sources.nrf_fota import NrfFota
from agent.ota.verifier import LOCAL
from agent.wire.nrf import FotaStatus

NEW = ("agent.tar.gz", tree("2.0"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_what_is_withdrawn_in_the_last_look_before_its_activation_is_not_activated(machine: Machine) -> None:
    said: list[bool] = []

    async def slow() -> str:
        assert machine.engine is not None
        if machine.engine.tasks[KEY].state == State.STAGED:
            said.append(await machine.engine.cancel(KEY, "operator", "withdrawn by a person"))
        return ""

    machine.checks = {"slow": slow}
    task = await machine.to_the_end(machine.offer_files(**update(NEW)))
    assert said == [True]
    assert (task.state, task.code, task.detail) == (State.CANCELED, "operator", "withdrawn by a person")
    assert machine.starts == ["1.0 A"]


async def test_sources_are_told_of_moves_on_the_loop_alone(machine: Machine) -> None:
    threads: set[int] = set()

    class Source:
        def changed(self, _task: Task) -> None:
            threads.add(threading.get_ident())

        async def still_wanted(self, _task: Task) -> bool:
            return True

        async def renewed(self, _task: Task) -> bool:
            return False

    path, key = Path(machine.offer_files(**update(NEW))["path"]), key_of("main", "job-1", 1)

    async def work(engine: Engine) -> None:
        engine.desk.sources["main"] = Source()
        await engine.offer("main", "job-1", 1, {"manifest": path.read_text(), "base": str(path)})
        await until(lambda: engine.tasks[key].over)

    machine.board.start()
    assert await machine.life(work)
    assert threads == {threading.get_ident()}


class _Called:
    """nRF Cloud, by calls, which cannot be reached for a while once the update is staged, and has withdrawn the job by then."""

    every, quiet = 3600.0, 0.0

    def __init__(self) -> None:
        self.silent = 5  # calls

    def bind(self, _offered: object, _up: object) -> None:
        """The task is there already."""

    async def wait(self) -> None:
        """It can be asked."""

    async def ask(self) -> None:
        """Nothing new."""

    async def say(self, _job: str, _status: FotaStatus, details: str | int, _timeout: float = 0.0) -> bool:
        if details != State.STAGED:
            return True
        self.silent -= 1
        if self.silent >= 0:
            raise TryAgainError("no network yet")
        return False


async def test_a_cloud_that_cannot_be_reached_at_once_is_asked_again_before_an_activation(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.ota.sources.nrf_fota.SOON", 0.01)
    path, key = Path(machine.offer_files(**update(NEW))["path"]), key_of("main", "job-1", 1)

    async def work(engine: Engine) -> None:
        source = NrfFota("main", _Called(), engine, asyncio.get_running_loop().time)
        living = asyncio.create_task(source.live())
        try:
            await engine.offer("main", "job-1", 1, {"manifest": path.read_text(), "base": str(path)})
            await until(lambda: engine.tasks[key].over)
            assert engine.tasks[key].state == State.CANCELED
        finally:
            living.cancel()

    machine.board.start()
    assert not await machine.life(work)


class _Forgetful(_Called):
    """It hands out the same job again and again, as if it had not heard the end of it."""

    def __init__(self, every: float) -> None:
        super().__init__()
        self.every, self.asked = every, 0
        self.ends: list[FotaStatus] = []

    def bind(self, offered: Callable[[FirmwareJob], None], _up: object) -> None:
        self._offered = offered

    async def ask(self) -> None:
        self.asked += 1
        self._offered(FirmwareJob("job-1", "APP", 1, "127.0.0.1:1", "x"))

    async def say(self, _job: str, status: FotaStatus, _details: str | int, _timeout: float = 0.0) -> bool:
        if status == FotaStatus.CANCELLED:
            self.ends.append(status)
        return True


@pytest.mark.parametrize(("every", "ends"), [(0.01, 2), (inf, 1)], ids=["by calls", "over MQTT"])
async def test_a_job_that_is_handed_out_after_its_end_is_told_it_once_more_by_calls(
    machine: Machine, every: float, ends: int
) -> None:
    wire, key = _Forgetful(every), key_of("main", "job-1", 1)

    async def work(engine: Engine) -> None:
        source = NrfFota("main", wire, engine, asyncio.get_running_loop().time)
        living = asyncio.create_task(source.live())
        try:
            await until(lambda: key in engine.tasks)
            await engine.cancel(key, "operator", "withdrawn by a person")
            await until(lambda: len(wire.ends) >= ends and engine.tasks[key].told and (every == inf or wire.asked > 5))
            assert len(wire.ends) == ends
        finally:
            living.cancel()

    assert not await machine.life(work)


def _meanwhile(monkeypatch: pytest.MonkeyPatch, state: State, say: Callable[[], Any]) -> list[Any]:
    """While a move to `state` is on its way to the disk, for the first time, `say` is begun; what it answers."""
    really, begun, answers = Journal.put, asyncio.Event(), []

    async def put(journal: Journal, task: Task, *, floor: str = "") -> Task:
        if task.state != state or begun.is_set():
            return await really(journal, task, floor=floor)
        begun.set()
        moving = asyncio.ensure_future(really(journal, task, floor=floor))
        await asyncio.sleep(0)
        asyncio.ensure_future(say()).add_done_callback(lambda done: answers.append(done.result()))
        return await moving

    monkeypatch.setattr(Journal, "put", put)
    return answers


async def test_a_withdrawal_that_comes_with_the_activation_is_told_that_it_is_too_late(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say() -> bool:
        assert machine.engine is not None
        return await machine.engine.cancel(KEY, "operator", "withdrawn by a person")

    answers = _meanwhile(monkeypatch, State.ACTIVATING, say)
    task = await machine.to_the_end(machine.offer_files(**update(NEW)))
    assert (answers, task.state) == ([False], State.SUCCEEDED)


@pytest.mark.parametrize("state", [State.CONFIRMED, State.SUCCEEDED, State.REJECTED])
async def test_what_is_said_of_a_task_takes_no_move_of_it_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    async def say() -> State:
        assert machine.engine is not None
        return (await machine.engine.change(KEY, approved=True)).state

    answers = _meanwhile(monkeypatch, state, say)
    labels = ("ed-a", "ed-b") if state == State.REJECTED else ("p-r", "ed-s")
    document = machine.offer_files(labels=labels, **update(NEW))

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await until(lambda: engine.tasks[KEY].over and answers, 10.0)
        assert machine.journal is not None
        events = [after for _, _, after, _ in await machine.journal.events(KEY)]
        assert len(events) == len(set(events)), "no move is made twice"

    while await machine.life(work):
        machine.board.start()
    assert answers == [state]
