"""Seven builds that are bad in seven ways: each is rolled back by itself, and the reason is told (design: fault tests, row 7)."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from conftest import until
from ota_machine import KEY, Machine, update
from slots_rig import CRASHES, tree

from agent.ota import health
from agent.ota.engine import Engine
from agent.ota.health import Check, Health, Terms
from agent.ota.plan import State
from agent.ota.verifier import LOCAL


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def only_new(machine: Machine, bad: Check) -> Check:
    """A check that finds something wrong with the new version alone."""

    async def check() -> str:
        return await bad() if machine.board.running == "B" else ""

    return check


async def away() -> str:
    return "it is away"


def script(folder: Path) -> Check:
    program = folder / "check.sh"
    program.write_text("#!/bin/sh\necho the lamp does not light\nexit 3\n")
    program.chmod(0o755)
    return health.script(program, 5.0)


BAD: dict[str, tuple[Callable[[Path], Check], str]] = {
    "loses its uplink": (lambda _: away, "it is away"),
    "kills a radio": (lambda _: away, "it is away"),
    "leaks memory": (lambda _: health.memory(1 << 20), "MiB of memory, 1 are allowed"),
    "fills the disk": (lambda folder: health.room(folder, 1 << 60), "MiB of disk are free"),
    "fails a program of the operator's": (script, "the lamp does not light"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_build_that_is_not_well_is_rolled_back(machine: Machine, tmp_path: Path, name: str) -> None:
    bad, words = BAD[name]
    machine.checks = {name: only_new(machine, bad(tmp_path))}
    task = await machine.to_the_end(machine.offer_files(**update(("agent.tar.gz", tree("2.0")))))
    assert (task.state, task.code) == (State.FAILED, "unhealthy")
    assert words in task.detail
    assert machine.board.start() == "1.0 A"


async def test_a_build_that_crashes_when_it_is_imported_is_rolled_back(machine: Machine) -> None:
    task = await machine.to_the_end(machine.offer_files(**update(("agent.tar.gz", tree("2.0", CRASHES)))))
    assert (task.state, task.code) == (State.FAILED, "fell-back")
    assert machine.board.start() == "1.0 A"


@pytest.mark.parametrize("when", ["at once", "in its trial"])
async def test_a_build_that_hangs_and_is_killed_by_the_watchdog_is_rolled_back(machine: Machine, when: str) -> None:
    machine.terms = Terms(trial=1000.0, patience=1.0, limit=2000.0, look=0.01)
    document = machine.offer_files(**update(("agent.tar.gz", tree("2.0"))))
    ended: list[State] = []

    async def hangs(engine: Engine) -> None:
        """This life ends, by the watchdog, where the build hangs."""
        await engine.offer(LOCAL, "1", 1, document)
        if machine.board.running == "B" and when == "at once":
            return
        await until(lambda: engine.tasks[KEY].over or engine.tasks[KEY].state == State.TRIAL, 10.0)
        ended.append(engine.tasks[KEY].state)

    for _ in range(7):
        machine.board.start()
        await machine.life(hangs)
    assert ended[-1] == State.FAILED
    assert machine.board.start() == "1.0 A"


def watched(found: list[list[str]]) -> tuple[Health, Callable[[float], Awaitable[None]]]:
    """Health whose looks find what is listed, a look each; the last one for ever."""
    looks = iter(found)
    last = [""]

    async def check() -> str:
        last[:] = next(looks, last)
        return last[0]

    times = iter(range(10_000))
    return Health({"it": check}, Terms(10.0, 3.0, 60.0, 0.0), lambda: float(next(times))), _nothing


async def _nothing(_spent: float) -> None:
    """Nobody writes it down."""


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ([[""]], ""),
        ([["bad"], ["bad"], [""]], ""),  # for less than its patience
        ([["bad"]], "it: bad"),
        ([[""], [""], ["bad"], [""], ["bad"], [""]], ""),
        ([["bad"], [""]] * 40, "it: bad"),  # never well for long enough
    ],
)
async def test_a_trial_is_as_patient_as_it_is_told_to_be(found: list[list[str]], wrong: str) -> None:
    made, progress = watched(found)
    assert await made.trial(["it"], 0.0, progress) == wrong


async def test_what_was_spent_before_a_restart_counts() -> None:
    told: list[float] = []

    async def note(spent: float) -> None:
        told.append(spent)

    made, _ = watched([[""]])
    assert await made.trial(["it"], 9.5, note) == ""
    assert len(told) <= 1
