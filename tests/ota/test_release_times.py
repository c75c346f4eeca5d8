"""Releases whose time has not come, cannot be known, or has passed while they waited."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import KEY, Machine, update
from ota_rig import DAY, NOW, UNKNOWN, at
from slots_rig import tree

from agent.clock import Moment
from agent.ota.documents import instant
from agent.ota.engine import Engine
from agent.ota.floor import Floor, decoded, encoded, judged
from agent.ota.floors import NAME, SLOW, Floors, grow
from agent.ota.parts import Policy
from agent.ota.plan import State, Task
from agent.ota.steps import FRESH
from agent.ota.verifier import LOCAL

NEW = ("agent.tar.gz", tree("2.0"))
JOB = "cloud/1/1"


class Hands:
    """A clock that tests turn."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment

    def now(self) -> Moment:
        return self.moment


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.board.start()
    return made


async def begun(machine: Machine, document: dict[str, Any], *, then: Callable[[Engine], Awaitable[object]]) -> Task:
    """Offer it, let something happen, and have it done."""

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await then(engine)
        await until(lambda: engine.tasks[KEY].over, 5.0)

    if await machine.life(work):
        return await machine.to_the_end(document)
    return machine.task


async def test_a_release_waits_until_its_time_has_come(machine: Machine) -> None:
    clock = machine.clock = Hands(at())

    async def later(engine: Engine) -> None:
        await until(lambda: len(engine.desk.rests.keys()) == 1)
        assert engine.tasks[KEY].state == State.RECEIVED
        clock.moment = at(NOW + DAY)
        await engine.change(KEY)

    document = machine.offer_files(not_before=instant(int(NOW) + DAY), **update(NEW))
    assert (await begun(machine, document, then=later)).state == State.SUCCEEDED


async def _at_once(_engine: Engine) -> None:
    """Nothing happens."""


async def test_a_release_that_was_signed_in_the_future_is_rejected(machine: Machine) -> None:
    document = machine.offer_files(created=instant(int(NOW) + 2 * DAY), **update(NEW))
    task = await begun(machine, document, then=_at_once)
    assert (task.state, task.code) == (State.REJECTED, "not-yet")
    assert "signed in the future" in task.detail


async def test_what_only_the_time_can_tell_waits_for_the_time(machine: Machine) -> None:
    assert (await machine.to_the_end(machine.offer_files(**update(NEW)))).state == State.SUCCEEDED
    clock = machine.clock = Hands(UNKNOWN)

    async def again(engine: Engine) -> None:
        await engine.offer("cloud", "1", 1, {"manifest": manifest, "base": "/x/y"})
        await until(lambda: engine.tasks[JOB].tries > 1)
        assert "expiry cannot be judged" in engine.tasks[JOB].detail
        clock.moment = at()
        await until(lambda: engine.tasks[JOB].over, 5.0)

    manifest = json.loads(Path(machine.offer_files(**update(NEW))["path"]).read_text())
    await machine.life(again)
    assert machine.journal is not None
    assert machine.journal.tasks[JOB].state == State.SUCCEEDED


@pytest.mark.parametrize("expired", [True, False], ids=["expired", "good"])
async def test_a_release_is_judged_again_after_a_long_wait(machine: Machine, expired: bool) -> None:  # noqa: FBT001
    clock = machine.clock = Hands(at())
    machine.policy = Policy(hub="hub-1", automatic=False)

    async def months_later(engine: Engine) -> None:
        await until(lambda: engine.tasks[KEY].state == State.WAITING)
        clock.moment = replace(at(NOW + (91 * DAY if expired else 80 * DAY)), mono=FRESH + 1)
        await engine.change(KEY, approved=True)

    task = await begun(machine, machine.offer_files(**update(NEW)), then=months_later)
    if expired:
        assert (task.state, task.code) == (State.FAILED, "expired")
        assert machine.board.start() == "1.0 A"
    else:
        assert task.state == State.SUCCEEDED


async def test_the_floor_of_the_time_grows_while_the_hub_runs(tmp_path: Path) -> None:
    journal = Floor(number=7, epochs={"agent": 2}, time=NOW)
    floors = Floors(tmp_path, encoded(journal).decode())
    growing = asyncio.ensure_future(grow(floors, 0.01))
    await until((tmp_path / NAME).exists)
    growing.cancel()
    found = decoded((tmp_path / NAME).read_bytes())
    assert found == replace(Floor(), time=NOW + 0.01 * SLOW), "the rest of it is as it was in this place"
    floors.grown(40 * DAY)
    again = Floors(tmp_path, encoded(journal).decode()).under(None)
    assert (again.number, again.epochs, again.time) == (7, {"agent": 2}, pytest.approx(NOW + 40 * DAY, abs=60))
    assert judged(at(NOW + DAY), again) == (again.time, False), "a clock that is set back is not believed"


async def test_a_signer_whose_clock_is_ahead_does_not_make_ours_look_wrong(machine: Machine) -> None:
    """What is within the skew is taken; the floor that it leaves is one that the time has certainly passed."""
    document = machine.offer_files(created=instant(int(NOW) + DAY), **update(NEW))
    assert (await machine.to_the_end(document)).state == State.SUCCEEDED
    floor = decoded((machine.board.folder / NAME).read_bytes())
    assert judged(at(), floor) == (NOW, True)
