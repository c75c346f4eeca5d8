"""A version that fills the disk in its trial goes back all the same, and what ran before starts on what it has left."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import KEY, Machine, update
from slots_rig import tree

from agent import run
from agent.errors import StorageError
from agent.ota import launcher, steps
from agent.ota.appliers import slots
from agent.ota.health import Terms
from agent.ota.journal import Journal
from agent.ota.place import FETCHED
from agent.ota.plan import State, Task
from agent.settings import Settings
from agent.store import BALLAST

BALLAST_SIZE = 1 << 20


def full(*_args: object, **_more: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def unwell() -> str:
    return "0 MiB of disk are free"


def full_from_the_trial_on(machine: Machine, monkeypatch: pytest.MonkeyPatch, *, at_once: bool) -> None:
    """No file is made, and no row kept, while the new version runs: at once, or when it is found unwell."""
    really_put, really_write = Journal.put, slots.write_atomic

    async def put(journal: Journal, task: Task, *, floor: str = "") -> Task:
        if machine.board.running == "B" and (at_once or task.state == State.ROLLING_BACK):
            await asyncio.Event().wait()
        return await really_put(journal, task, floor=floor)

    def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        (full if machine.board.running == "B" else really_write)(path, data, mode=mode)

    monkeypatch.setattr(Journal, "put", put)
    monkeypatch.setattr(slots, "write_atomic", write)
    monkeypatch.setattr(steps, "WRITTEN", 0.05)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "unwell"])
async def test_it_is_rolled_back_without_a_row_and_without_a_file(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    at_once: bool,  # noqa: FBT001
) -> None:
    async def check() -> str:
        return await unwell() if machine.board.running == "B" else ""

    machine.checks = {"disk": check}
    full_from_the_trial_on(machine, monkeypatch, at_once=at_once)
    task = await machine.to_the_end(machine.offer_files(**update(("agent.tar.gz", tree("2.0")))))
    assert machine.starts == ["1.0 A", "2.0 B", "1.0 A"]
    assert (task.state, task.code) == (State.FAILED, "fell-back")
    assert machine.board.start() == "1.0 A"


async def test_what_the_launcher_could_not_count_is_not_started_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = machine.offer_files(**update(("agent.tar.gz", tree("2.0"))))
    await machine.begin(document)
    assert machine.board.start() == "2.0 B"
    machine.terms = Terms(trial=1000.0)
    await machine.life(lambda engine: until(lambda: engine.tasks[KEY].state == State.TRIAL))
    with monkeypatch.context() as patched:
        patched.setattr(launcher, "write", full)
        assert machine.board.start() == "1.0 A"
    assert not await machine.work_on(document)
    assert (machine.task.state, machine.task.code) == (State.FAILED, "fell-back")
    assert machine.board.start() == "1.0 A"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, full after 6 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> None:
    with (folder / "junk").open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017  a full disk is what is wanted


@pytest.mark.parametrize("left", [BALLAST, FETCHED])
async def test_the_hub_starts_on_a_full_disk_with_what_it_can_give_back(small_disk: Path, left: str) -> None:
    told = {"hub": {"id": "hub-1", "state_dir": str(small_disk)}, "store": {"ballast": BALLAST_SIZE}}
    settings = Settings.model_validate(told, strict=False)
    await run._store(settings).close()
    if left == FETCHED:
        (small_disk / BALLAST).unlink()
        (small_disk / FETCHED).mkdir(parents=True)
        (small_disk / FETCHED / "0123").write_bytes(os.urandom(BALLAST_SIZE))
    fill(small_disk)
    opened = run._store(settings)
    await opened.close()
    assert not (small_disk / FETCHED).exists()


async def test_where_there_is_nothing_to_give_back_the_start_says_why(small_disk: Path) -> None:
    told = {"hub": {"id": "hub-1", "state_dir": str(small_disk)}, "store": {"ballast": 0}}
    settings = Settings.model_validate(told, strict=False)
    fill(small_disk)
    with pytest.raises(StorageError):
        run._store(settings)
