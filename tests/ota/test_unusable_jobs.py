"""Jobs with which nothing can be done: each has an end, and none keeps the hub down."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from hostile_files import Server
from hostile_manners import LENGTH, dripping, status
from ota_machine import Machine, update
from slots_rig import tree

from agent.ota import verifier
from agent.ota.appliers.slots import Slots
from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.manifest import Component
from agent.ota.plan import TRIES, State, Task, tried
from agent.ota.verifier import LOCAL

NEW = ("agent.tar.gz", tree("2.0"))
JOB = "cloud/1/1"
HALF = "\ud800"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.board.start()
    return made


def job(document: dict[str, Any]) -> Callable[[Engine], Awaitable[None]]:
    """A cloud's job, to its end."""

    async def work(engine: Engine) -> None:
        await engine.offer("cloud", "1", 1, document)
        await until(lambda: engine.tasks[JOB].over, 5.0)

    return work


def ended(machine: Machine) -> Task:
    assert machine.journal is not None
    return machine.journal.tasks[JOB]


@pytest.mark.parametrize(
    "document",
    [
        {"manifest": HALF},
        {"manifest": "{}", "permission": HALF},
        {"manifestUrl": f"http://{HALF}/it.json"},
        {"host": HALF, "path": "x"},
        {"host": "[", "path": "x"},
        {"host": "user@host", "path": "x"},
        {"host": "127.0.0.1", "paths": ["x", "y\n"], "path": "x"},
        {"manifestUrl": "http://[::1"},
        {"manifestUrl": "ftp://host/it.json"},
        {"manifestUrl": "/etc/passwd"},
        {"manifestUrl": ["https://host/it.json"]},
        {"manifestUrl": "http://192.0.2.1/it.json"},
        {"manifest": "{}", "base": "http://[/x"},
        {"manifest": "{}", "base": "http://127.0.0.1:99999/x"},
        {"manifest": "{}", "base": "/x/y", "urls": {"agent.tar.gz": "http://[/x"}},
    ],
    ids=ascii,
)
async def test_a_job_that_nobody_can_use_is_rejected_and_the_hub_lives_on(
    machine: Machine, document: dict[str, Any]
) -> None:
    assert not await machine.life(job(document))
    assert (ended(machine).state, ended(machine).code) == (State.REJECTED, "malformed")


@pytest.mark.parametrize("base", [f"/{'a' * 300}/x", "/etc/passwd/x", "/x\0y/x"], ids=["long", "file", "zero"])
async def test_a_folder_that_cannot_be_looked_into_has_no_newer_root(machine: Machine, base: str) -> None:
    manifest = Path(machine.offer_files(**update(NEW, "1.0"))["path"]).read_text()
    assert not await machine.life(job({"manifest": manifest.replace("\n", ""), "base": base, "device": "none"}))
    assert (ended(machine).state, ended(machine).code) == (State.REJECTED, "nothing")


@pytest.mark.parametrize(("manner", "code"), [(status(404), "unsigned"), (None, "too-large")], ids=["gone", "endless"])
async def test_a_manifest_that_is_none_is_asked_for_once(machine: Machine, manner: Any, code: str) -> None:
    with Server(bytes(200_000), *([manner] if manner else [])) as server:
        assert not await machine.life(job({"manifestUrl": server.url}))
    assert (ended(machine).state, ended(machine).code) == (State.REJECTED, code)


async def test_a_manifest_that_drips_holds_the_others_up_for_a_while_only(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then is no stall; what waits behind it may be an emergency."""
    monkeypatch.setattr(verifier, "PART_TIME", 0.3)
    machine.fetch = FetchPolicy(stall=0.2, slowest=1)
    with Server(b"", dripping(LENGTH, b" ", 0.02)) as server:

        async def work(engine: Engine) -> None:
            await engine.offer("cloud", "1", 1, {"manifestUrl": server.url})
            await until(lambda: engine.tasks[JOB].tries > 0, 5.0)
            assert "took longer than" in engine.tasks[JOB].detail

        assert not await machine.life(work)


def test_what_a_job_is_about_is_not_asked_for_ever() -> None:
    task = Task(JOB, "cloud", "1", 1, {}, 1.0, tries=TRIES[State.RECEIVED], detail="no connection")
    after = tried(task)
    assert (after.state, after.code) == (State.FAILED, "tries")
    assert after.detail.endswith("times; the last: no connection")


async def test_pipes_hold_nobody_up(machine: Machine) -> None:
    document = machine.offer_files(**update(NEW))
    image = Path(document["path"]).with_name("agent.tar.gz")
    image.unlink()
    os.mkfifo(image)
    assert (await machine.to_the_end(document)).code == "damaged"
    os.mkfifo(image.with_name("pipe"))
    assert not await machine.life(_local(str(image.with_name("pipe"))))
    assert machine.journal is not None
    assert machine.journal.tasks[f"{LOCAL}/2/1"].code == "malformed"


def _local(path: str) -> Callable[[Engine], Awaitable[None]]:
    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "2", 1, {"path": path})
        await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over, 5.0)

    return work


async def test_a_bug_in_a_step_ends_its_update_with_the_process(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Slots, __: Component) -> None:
        raise IndexError("a bug")

    async def lives(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await asyncio.Event().wait()

    document = machine.offer_files(**update(NEW))
    with monkeypatch.context() as patched:
        patched.setattr(Slots, "judge", broken)
        with pytest.raises(IndexError):
            await machine.life(lives)
    task = await machine.to_the_end(document)
    assert (task.state, task.code) == (State.FAILED, "bug")
    assert "IndexError as RECEIVED" in task.detail
