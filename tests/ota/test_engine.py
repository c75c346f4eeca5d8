"""The engine with real journal, trust and slots: whole updates, what ends them, and what is found after a power cut at any point."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import KEY, Machine, update
from ota_rig import agent, file, permission
from power_cut import PowerCut, cutting
from slots_rig import CRASHES, tree

from agent.errors import TryAgainError
from agent.ota.appliers.slots import Slots
from agent.ota.engine import Engine
from agent.ota.health import Terms
from agent.ota.parts import Policy
from agent.ota.plan import FINAL, HARMLESS, SETBACKS, TRIES, State
from agent.ota.verifier import LOCAL
from agent.ota.windows import Window

NEW = ("agent.tar.gz", tree("2.0"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_a_release_is_installed_with_one_restart(machine: Machine) -> None:
    task = await machine.to_the_end(machine.offer_files(**update(NEW)))
    assert (task.state, task.release, task.done) == (State.SUCCEEDED, "2.0", ("agent",))
    assert machine.starts == ["1.0 A", "2.0 B"]
    assert not task.told
    events = [after for _, _, after, _ in await _events(machine)]
    ways = ["RECEIVED", "CHECKED", "WAITING", "DOWNLOADING", "VERIFIED", "WRITING", "STAGED", "ACTIVATING", "TRIAL"]
    assert events == [*ways, "CONFIRMED", "SUCCEEDED"]


async def _events(machine: Machine) -> list[tuple[float, str, str, str]]:
    found: list[tuple[float, str, str, str]] = []

    async def work(_engine: Engine) -> None:
        assert machine.journal is not None
        found.extend(await machine.journal.events(KEY))

    await machine.life(work)
    return found


async def test_the_same_job_again_is_told_as_it_ended_and_not_done_again(machine: Machine) -> None:
    document = machine.offer_files(**update(NEW))
    first = await machine.to_the_end(document)
    assert await machine.to_the_end(document) == first
    assert machine.starts == ["1.0 A", "2.0 B", "2.0 B"]


async def test_what_runs_already_is_a_success_without_a_restart(machine: Machine) -> None:
    await machine.to_the_end(machine.offer_files(**update(NEW)))

    async def again(engine: Engine) -> None:
        await engine.offer(LOCAL, "2", 1, machine.offer_files(8, **update(NEW)))
        await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over, 10.0)
        assert engine.tasks[f"{LOCAL}/2/1"].state == State.SUCCEEDED

    assert not await machine.life(again)


async def test_a_confirmed_release_is_the_floor_for_the_next(machine: Machine) -> None:
    await machine.to_the_end(machine.offer_files(**update(NEW)))

    async def back(engine: Engine) -> None:
        older = update(("agent.tar.gz", tree("1.9")), "1.9")
        await engine.offer(LOCAL, "2", 1, machine.offer_files(6, **older))
        await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over, 10.0)
        assert (engine.tasks[f"{LOCAL}/2/1"].state, engine.tasks[f"{LOCAL}/2/1"].code) == (State.REJECTED, "rollback")

    assert not await machine.life(back)


async def test_a_version_that_failed_does_not_raise_the_floor(machine: Machine) -> None:
    bad = machine.offer_files(7, **update(("agent.tar.gz", tree("2.0", CRASHES))))
    assert (await machine.to_the_end(bad)).state == State.FAILED

    async def older(engine: Engine) -> None:
        good = update(("agent.tar.gz", tree("1.5")), "1.5")
        await engine.offer(LOCAL, "2", 1, machine.offer_files(6, **good))
        await until(lambda: engine.tasks[f"{LOCAL}/2/1"].state not in HARMLESS, 10.0)

    await machine.life(older)


async def test_a_build_that_cannot_start_ends_as_failed_with_the_old_one(machine: Machine) -> None:
    task = await machine.to_the_end(machine.offer_files(**update(("agent.tar.gz", tree("2.0", CRASHES)))))
    assert (task.state, task.code) == (State.FAILED, "fell-back")
    assert machine.starts == ["1.0 A", "", "", "", "1.0 A"]


async def test_a_build_that_is_not_well_is_rolled_back_and_says_why(machine: Machine) -> None:
    async def uplink() -> str:
        return "no connection" if machine.board.running == "B" else ""

    machine.checks = {"uplink": uplink}
    task = await machine.to_the_end(machine.offer_files(**update(NEW)))
    assert (task.state, task.code) == (State.FAILED, "unhealthy")
    assert "uplink: no connection" in task.detail
    assert machine.starts == ["1.0 A", "2.0 B", "1.0 A"]


async def test_what_was_not_well_before_does_not_count_against_an_update(machine: Machine) -> None:
    async def radio() -> str:
        return "away"

    async def uplink() -> str:
        return ""

    machine.checks = {"radio": radio, "uplink": uplink}
    assert (await machine.to_the_end(machine.offer_files(**update(NEW)))).state == State.SUCCEEDED


async def test_a_build_that_dies_again_and_again_in_its_trial_is_rolled_back(machine: Machine) -> None:
    machine.terms = Terms(trial=1000.0, patience=1.0, limit=2000.0, look=0.01)
    document = machine.offer_files(**update(NEW))

    async def dies(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await until(lambda: engine.tasks[KEY].state == State.TRIAL or engine.tasks[KEY].over, 10.0)
        if not engine.tasks[KEY].over:
            await asyncio.sleep(0.01)

    for _ in range(7):
        machine.starts.append(machine.board.start())
        await machine.life(dies)
    assert (machine.task.state, machine.task.code) == (State.FAILED, "fell-back")
    assert machine.starts[-1] == "1.0 A"


async def test_an_unsigned_and_an_unknown_release_are_rejected_with_the_reason(machine: Machine) -> None:
    document = machine.offer_files(labels=("ed-a", "ed-b"), **update(NEW))
    task = await machine.to_the_end(document)
    assert (task.state, task.code) == (State.REJECTED, "too-few-signatures")
    assert task.detail.startswith(f"{KEY}: 0 of the 2 keys that must sign have signed; have it signed by ")
    assert machine.starts == ["1.0 A"]


async def test_a_release_whose_file_is_another_is_never_activated(machine: Machine) -> None:
    told = update(NEW)
    told["images"] = {"agent.tar.gz": tree("6.6")}
    task = await machine.to_the_end(machine.offer_files(**told))
    assert task.state == State.FAILED
    assert machine.starts == ["1.0 A"]


async def test_a_task_is_withdrawn_while_it_waits_and_not_once_it_is_on_trial(machine: Machine) -> None:
    machine.policy = Policy(automatic=False, hub="hub-1")
    document = machine.offer_files(**update(NEW))

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await until(lambda: engine.tasks[KEY].state == State.WAITING, 10.0)
        assert await engine.cancel(KEY, "canceled", "no longer wanted")
        await until(lambda: engine.tasks[KEY].over, 10.0)
        assert (engine.tasks[KEY].state, engine.tasks[KEY].detail) == (State.CANCELED, "no longer wanted")
        assert not await engine.cancel(KEY, "canceled", "twice")

    assert not await machine.life(work)


async def test_a_person_approves_what_is_not_automatic(machine: Machine) -> None:
    machine.policy = Policy(automatic=False, hub="hub-1")
    document = machine.offer_files(**update(NEW))

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await until(lambda: engine.tasks[KEY].state == State.WAITING, 10.0)
        await engine.change(KEY, approved=True)
        await until(lambda: engine.tasks[KEY].over, 10.0)

    machine.board.start()
    assert await machine.life(work)  # it is restarted for the activation
    assert (await machine.to_the_end(document)).state == State.SUCCEEDED


async def test_a_window_that_is_shut_is_waited_for_but_not_in_an_emergency(machine: Machine) -> None:
    machine.policy = Policy(window=Window("0 3 1 1 *", 3600.0), hub="hub-1")

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, machine.offer_files(**update(NEW)))
        await until(lambda: engine.tasks[KEY].state == State.WAITING, 10.0)
        await asyncio.sleep(0.05)
        assert engine.tasks[KEY].state == State.WAITING
        await engine.cancel(KEY, "canceled", "")

    assert not await machine.life(work)
    machine.journal = None
    urgent = update(("agent.tar.gz", tree("2.1")), "2.1")

    async def now(engine: Engine) -> None:
        await engine.offer(LOCAL, "2", 1, machine.offer_files(8, emergency=True, **urgent))
        await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over, 10.0)

    assert await machine.life(now)


@pytest.mark.parametrize("end", [State.SUCCEEDED, State.FAILED], ids=["keeps", "takes back"])
async def test_a_person_may_end_a_trial(machine: Machine, end: State) -> None:
    well = end == State.SUCCEEDED
    machine.terms = replace(machine.terms, trial=1000.0, limit=2000.0)
    document = machine.offer_files(**update(NEW))

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await until(lambda: engine.tasks[KEY].state == State.TRIAL or engine.tasks[KEY].over, 10.0)
        if not engine.tasks[KEY].over:
            assert await engine.decide(KEY, well=well)
            await until(lambda: engine.tasks[KEY].over, 10.0)

    while await machine.life(work):
        machine.starts.append(machine.board.start())
    assert machine.task.state == end
    assert machine.board.start() == ("2.0 B" if well else "1.0 A")


async def test_a_manifest_that_contradicts_itself_is_told_apart_from_damage(machine: Machine) -> None:
    told = update(NEW)
    told["components"][0]["files"][0]["sha256"] = "0" * 64
    task = await machine.to_the_end(machine.offer_files(**told))
    assert (task.state, task.code) == (State.FAILED, "bad-manifest")
    assert "contradicts itself" in task.detail


class _Leaving:
    """Slots that note their cleanings, of which the first fail."""

    def __init__(self, fail: int) -> None:
        self.left, self.cleaned, really = fail, 0, Slots.clean

        async def clean(slots: Slots) -> None:
            if self.left:
                self.left -= 1
                raise TryAgainError("RAUC does not answer")
            self.cleaned += 1
            await really(slots)

        self.clean = clean


@pytest.mark.parametrize("ends", ["refused", "tries are used up", "canceled"])
async def test_a_task_that_ends_before_its_activation_leaves_nothing_selected(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    leaving, told = _Leaving(2), update(NEW)
    monkeypatch.setattr(Slots, "clean", leaving.clean)
    if ends == "refused":
        told["images"]["agent.tar.gz"] = tree("6.6")
    document = machine.offer_files(**told)
    if ends == "tries are used up":  # the agent is killed whenever it writes
        with monkeypatch.context() as patched:
            patched.setattr(Slots, "write", _killed)
            for _ in range(TRIES[State.WRITING] + 1):
                with suppress(PowerCut, BaseExceptionGroup):
                    await machine.to_the_end(document)
    if ends == "canceled":
        machine.policy = Policy(hub="hub-1", automatic=False)
        await machine.life(_cancel_when_it_waits(document))
    task = await machine.to_the_end(document)
    assert task.state == (State.CANCELED if ends == "canceled" else State.FAILED)
    assert (leaving.left, leaving.cleaned) == (0, 1)


async def _killed(*_: object) -> None:
    raise PowerCut


def _cancel_when_it_waits(document: dict[str, Any]) -> Callable[[Engine], Awaitable[None]]:
    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await until(lambda: engine.tasks[KEY].state == State.WAITING)
        assert await engine.cancel(KEY, "canceled", "by a person")
        await until(lambda: engine.tasks[KEY].over)

    return work


async def test_an_image_that_the_disk_cannot_read_ends_the_update_and_activates_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("agent.ota.downloads._right", unreadable)
    task = await machine.to_the_end(machine.offer_files(**update(NEW)))
    assert (task.state, task.code, task.setbacks) == (State.FAILED, "damaged", SETBACKS)
    assert machine.board.start() == "1.0 A"


async def test_a_release_with_a_part_that_nothing_here_installs_is_rejected_as_a_whole(machine: Machine) -> None:
    told = update(NEW)
    told["components"].append({**agent("1.1", name="gone"), "kind": "command", "files": [file("x", b"x")]})
    task = await machine.to_the_end(machine.offer_files(**told))
    assert (task.state, task.code, task.done) == (State.REJECTED, "no-applier", ())
    assert machine.starts == ["1.0 A"]


async def _cut(folder: Path, at: int) -> tuple[Machine, int]:
    """A whole update with the power cut at a point; what is done by the processes after it."""
    machine = Machine(folder)
    document: dict[str, Any] = machine.offer_files(**update(NEW))
    with cutting(at) as cuts, suppress(PowerCut, BaseExceptionGroup):
        await machine.to_the_end(document)
    if at:
        await machine.to_the_end(document)
    return machine, cuts.seen


async def test_a_power_cut_at_any_point_of_a_whole_update_ends_in_the_new_version(tmp_path: Path) -> None:
    whole, points = await _cut(tmp_path / "whole", 0)
    assert whole.task.state == State.SUCCEEDED
    states: dict[str, int] = {}
    every = 1 if os.environ.get("HUB_AGENT_FAULT_CYCLES") else 4
    for at in range(1, points + 1, every):
        machine, _ = await _cut(tmp_path / str(at), at)
        states[machine.task.state] = states.get(machine.task.state, 0) + 1
        assert machine.task.state in FINAL
        assert machine.board.start() == ("2.0 B" if machine.task.state == State.SUCCEEDED else "1.0 A")
    print(f"power cuts in an update: every {every} of {points} points, ends {states}")
    assert set(states) == {State.SUCCEEDED}


async def test_a_planned_step_back_goes_on_after_its_restart(machine: Machine) -> None:
    await machine.to_the_end(machine.offer_files(**update(NEW)))
    older = machine.offer_files(6, **update(("agent.tar.gz", tree("1.9")), "1.9"))
    granted = permission(**{"from": 7, "to": 6}).decode()

    async def back(engine: Engine) -> None:
        await engine.offer(LOCAL, "2", 1, {**older, "permission": granted})
        await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over, 10.0)
        assert engine.tasks[f"{LOCAL}/2/1"].state == State.SUCCEEDED, engine.tasks[f"{LOCAL}/2/1"].detail

    assert await machine.life(back)
    assert machine.board.start() == "1.9 A"
    assert not await machine.life(back)


async def test_a_file_that_is_changed_after_it_was_checked_is_not_installed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, really = machine.offer_files(**update(NEW)), Slots.write
    image = Path(document["path"]).with_name("agent.tar.gz")

    async def write(*given: Any) -> None:
        with image.open("r+b") as file:  # by its owner, in place
            file.write(tree("6.6"))
            file.truncate()
        await really(*given)

    monkeypatch.setattr(Slots, "write", write)
    assert (await machine.to_the_end(document)).state == State.SUCCEEDED
    assert machine.starts == ["1.0 A", "2.0 B"]


async def test_an_image_that_does_not_lie_beside_its_release_is_said_at_once(machine: Machine) -> None:
    document = machine.offer_files(**update(NEW))
    Path(document["path"]).with_name("agent.tar.gz").unlink()
    task = await machine.to_the_end(document)
    assert (task.state, task.code, task.setbacks) == (State.FAILED, "no-file", 0)
    assert (
        "agent.tar.gz: it cannot be read: No such file or directory; the files of a release lie beside it"
        in task.detail
    )
