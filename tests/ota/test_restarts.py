"""What a sudden restart means in each state of a whole update, row by row of the table (design: OTA, states), with its limits.

Of the rows that are decided by the plan alone the rest is in test_plan.py; cuts between any two writes are in test_engine.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from hostile_files import Server, Talk, content, cut, good
from ota_machine import KEY, Machine, update
from ota_rig import at
from power_cut import PowerCut
from slots_rig import tree

from agent.clock import ESTIMATED, TRUSTED, Moment
from agent.errors import TryAgainError
from agent.ota.appliers.slots import Slots
from agent.ota.desk import Rests
from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.health import Terms
from agent.ota.journal import Journal
from agent.ota.parts import Policy
from agent.ota.plan import BOOT, TRIES, State, Task
from agent.ota.verifier import LOCAL
from agent.ota.windows import Window

CHUNK = 4096
IMAGE = tree("2.0", more={"agent/data": content(40_000)})
NEW = ("agent.tar.gz", IMAGE)
SHUT = Policy(window=Window("0 3 1 1 *", 3600.0), hub="hub-1")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def killed_as(machine: Machine, state: State, document: dict[str, Any]) -> None:
    """The processes up to the one that is killed once this state is on the disk."""
    really = Journal.put

    async def put(journal: Journal, task: Task, *, floor: str = "") -> Task:
        kept = await really(journal, task, floor=floor)
        if task.state == state:
            raise PowerCut
        return kept

    with pytest.MonkeyPatch.context() as patched, suppress(PowerCut, BaseExceptionGroup):
        patched.setattr(Journal, "put", put)
        await machine.to_the_end(document)
    assert machine.task.state == state


async def found(machine: Machine, *, good: Callable[[Task], bool], then: str = "") -> Task:
    """The task in the next process, once it is as it should be; `then` withdraws it."""

    async def work(engine: Engine) -> None:
        await until(lambda: good(engine.tasks[KEY]), 5.0)
        if then:
            assert await engine.cancel(KEY, "canceled", then)
            await until(lambda: engine.tasks[KEY].over, 5.0)

    machine.board.start()
    assert not await machine.life(work)
    return machine.task


@pytest.mark.parametrize("state", [State.RECEIVED, State.CHECKED, State.WAITING])
async def test_what_has_begun_nothing_waits_for_its_window_and_may_be_withdrawn(machine: Machine, state: State) -> None:
    await killed_as(machine, state, machine.offer_files(**update(NEW)))
    machine.policy = SHUT
    task = await found(machine, good=lambda task: task.state == State.WAITING, then="the cloud has withdrawn the job")
    assert (task.state, task.detail) == (State.CANCELED, "the cloud has withdrawn the job")


async def test_a_download_goes_on_behind_its_last_good_chunk(machine: Machine) -> None:
    machine.board.start()
    with Server(IMAGE, cut(good, 5 * CHUNK + 100, times=1)) as server:
        path = Path(machine.offer_files(**update(NEW))["path"])
        document = {"manifest": path.read_text(), "urls": {"agent.tar.gz": f"{server.url}/agent.tar.gz"}}
        machine.fetch = FetchPolicy(first=60.0, longest=60.0, unsynced=CHUNK)  # it is killed before it asks again
        key = await _half(machine, document)
        (image,) = (machine.state / "ota" / "files").iterdir()
        with image.open("r+b") as file:
            file.seek(4 * CHUNK)
            file.write(b"torn")
        machine.fetch = FetchPolicy()

        async def work(engine: Engine) -> None:
            await until(lambda: engine.tasks[key].state not in {State.RECEIVED, State.DOWNLOADING}, 5.0)

        await machine.life(work)
        assert [talk.offset for talk in server.asked] == [0, 4 * CHUNK]


async def _half(machine: Machine, document: dict[str, Any]) -> str:
    key = "main/job-1/1"

    async def work(engine: Engine) -> None:
        await engine.offer("main", "job-1", 1, document)
        await until(lambda: engine.tasks[key].percent >= 5 * CHUNK * 100 // len(IMAGE), 5.0)

    await machine.life(work)
    return key


async def test_a_download_without_progress_is_begun_again_twenty_times(machine: Machine) -> None:
    def silent(server: Server, _talk: Talk) -> None:
        server.over.wait()

    with Server(IMAGE, silent) as server:
        path = Path(machine.offer_files(**update(NEW))["path"])
        document = {"manifest": path.read_text(), "urls": {"agent.tar.gz": f"{server.url}/agent.tar.gz"}}
        key = "main/job-1/1"

        def life(lives: int) -> Callable[[Engine], Awaitable[None]]:
            async def work(engine: Engine) -> None:
                await engine.offer("main", "job-1", 1, document)
                await until(lambda: engine.tasks[key].over or len(server.asked) > lives, 5.0)

            return work

        machine.board.start()
        for lives in range(TRIES[State.DOWNLOADING] + 1):
            await machine.life(life(lives))
            assert machine.journal is not None
            assert not machine.journal.tasks[key].over, lives
        await machine.life(life(1000))
        task = machine.journal.tasks[key]
        assert (task.state, task.code) == (State.FAILED, "tries")


@pytest.mark.parametrize("place", ["state/ota/files/*", "slots/B/site/agent/cli.py"], ids=["VERIFIED", "STAGED"])
async def test_what_was_damaged_meanwhile_is_noticed_and_had_again(
    machine: Machine, place: str, request: pytest.FixtureRequest
) -> None:
    document = machine.offer_files(**update(NEW))
    await killed_as(machine, State(request.node.callspec.id), document)
    (damaged,) = machine.folder.glob(place)
    with damaged.open("r+b") as file:
        file.write(b"rot")
    task = await machine.to_the_end(document)
    assert (task.state, task.setbacks) == (State.SUCCEEDED, 1)
    assert machine.board.start() == "2.0 B"


async def test_what_is_staged_waits_for_its_window(machine: Machine) -> None:
    await killed_as(machine, State.STAGED, machine.offer_files(**update(NEW)))
    machine.policy = SHUT
    looked: list[str] = []

    async def look() -> str:
        looked.append("the last look before an activation")
        return ""

    machine.checks = {"look": look}
    await found(machine, good=lambda task: task.state == State.STAGED, then="no longer wanted")
    assert (machine.task.state, looked) == (State.CANCELED, [])


class _Boot:
    """A clock after a boot, whose time of the day lies in a window as long as nobody has set it."""

    def __init__(self) -> None:
        self.mono, self.quality = 10.0, ESTIMATED

    def now(self) -> Moment:
        return Moment(at().wall, self.mono, "boot", self.quality)


@pytest.mark.parametrize("then", ["set", "never set"])
async def test_a_window_is_not_believed_to_be_open_before_the_clock_is_set(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    clock = machine.clock = _Boot()
    machine.policy = Policy(window=Window("* * * * *", 3600.0), hub="hub-1")
    monkeypatch.setattr("agent.ota.steps.LOOK", 0.01)
    waits: list[float] = []
    put = Rests.put

    def rest(rests: Rests, key: str, seconds: float) -> None:
        waits.append(seconds)
        put(rests, key, seconds)

    monkeypatch.setattr(Rests, "put", rest)

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, machine.offer_files(**update(NEW)))
        await until(lambda: len(waits) > 3, 5.0)
        assert engine.tasks[KEY].state == State.WAITING
        clock.mono, clock.quality = (20.0, TRUSTED) if then == "set" else (601.0, ESTIMATED)
        await until(lambda: engine.tasks[KEY].over, 5.0)

    machine.board.start()
    assert await machine.life(work)  # it restarts for the activation


async def test_an_activation_that_had_not_reached_the_slots_is_made(machine: Machine) -> None:
    await killed_as(machine, State.ACTIVATING, machine.offer_files(**update(NEW)))
    assert machine.board.start() == "1.0 A"
    assert (await machine.to_the_end({}, start=True)).state == State.SUCCEEDED


async def test_a_withdrawal_that_was_answered_survives_a_kill(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.policy, really = SHUT, Journal.put

    async def put(journal: Journal, task: Task, *, floor: str = "") -> Task:
        if task.over:
            raise PowerCut
        return await really(journal, task, floor=floor)

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, machine.offer_files(**update(NEW)))
        await until(lambda: engine.tasks[KEY].state == State.WAITING)
        assert await engine.cancel(KEY, "canceled", "a person has\ncanceled it")
        await asyncio.Event().wait()

    machine.board.start()
    with monkeypatch.context() as patched, suppress(PowerCut, BaseExceptionGroup):
        patched.setattr(Journal, "put", put)
        await machine.life(work)
    assert machine.task.state == State.WAITING
    machine.policy = Policy(hub="hub-1")
    task = await found(machine, good=lambda task: task.over)
    assert (task.state, task.detail) == (State.CANCELED, "a person has\ncanceled it")


class Boots:
    """A clock that stands, of a machine that may be started anew."""

    boot = "first"

    def now(self) -> Moment:
        return replace(at(), boot=self.boot)


@pytest.mark.parametrize("cut", [True, False], ids=["power", "process"])
async def test_a_trial_goes_on_with_the_time_that_is_left_unless_the_process_was_not_stable(
    machine: Machine,
    cut: bool,  # noqa: FBT001
) -> None:
    clock = machine.clock = Boots()
    machine.terms = Terms(trial=1000.0, patience=1.0, limit=2000.0, look=0.01)
    await killed_as(machine, State.TRIAL, machine.offer_files(**update(NEW)))

    async def nearly_over(engine: Engine) -> None:
        await until(lambda: BOOT in engine.tasks[KEY].facts)
        await engine.change(KEY, trial_spent=999.95)

    await machine.life(nearly_over)
    clock.boot = "second" if cut else "first"
    task = await found(machine, good=lambda task: task.over if cut else task.trial_spent == 0.0)
    assert task.state == (State.SUCCEEDED if cut else State.TRIAL)


@pytest.mark.parametrize(
    "trouble", [TryAgainError("the boot loader does not answer"), PowerCut()], ids=["tries", "restarts"]
)
async def test_a_roll_back_is_tried_five_times_and_what_boots_then_stays(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, trouble: BaseException
) -> None:
    tried: list[str] = []

    async def roll_back(*_: object) -> None:
        tried.append(machine.board.running)
        raise trouble

    async def ill() -> str:
        return "no uplink" if machine.board.running == "B" else ""

    monkeypatch.setattr(Slots, "roll_back", roll_back)
    machine.checks, document = {"uplink": ill}, machine.offer_files(**update(NEW))
    for _ in range(TRIES[State.ROLLING_BACK] + 1):
        with suppress(PowerCut, BaseExceptionGroup):
            await machine.to_the_end(document)
    assert (machine.task.state, machine.task.code) == (State.FAILED, "degraded")
    assert "does not come back after 5 tries" in machine.task.detail
    assert "no uplink" in machine.task.detail
    assert len(tried) == 5


async def test_what_is_confirmed_ends_well_after_a_restart_and_is_an_end_once(machine: Machine) -> None:
    await killed_as(machine, State.CONFIRMED, machine.offer_files(**update(NEW)))
    task = await found(machine, good=lambda task: task.over)
    assert (task.state, task.told) == (State.SUCCEEDED, False)
    events: list[str] = []

    async def look(_engine: Engine) -> None:
        assert machine.journal is not None
        events.extend(after for _, _, after, _ in await machine.journal.events(KEY))

    await machine.life(look)
    assert events.count("SUCCEEDED") == 1


async def test_what_another_task_has_overtaken_while_it_waited_is_rejected_for_good(machine: Machine) -> None:
    machine.policy = Policy(automatic=False, hub="hub-1")
    older = machine.offer_files(6, **update(("agent.tar.gz", tree("1.9")), "1.9"))
    newer, late = machine.offer_files(7, **update(NEW)), f"{LOCAL}/2/1"

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "2", 1, older)
        await engine.offer(LOCAL, "1", 1, newer)
        await until(
            lambda: engine.tasks[late].state == engine.tasks[KEY].state == State.WAITING or engine.tasks[KEY].over, 5.0
        )
        if not engine.tasks[KEY].over:
            await engine.change(KEY, approved=True)
        await until(lambda: engine.tasks[late].over, 5.0)
        assert (engine.tasks[late].state, engine.tasks[late].code) == (State.REJECTED, "rollback")

    machine.board.start()
    while await machine.life(work):
        machine.board.start()
