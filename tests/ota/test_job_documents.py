"""What stands in a job's document beside its release was signed by nobody: whatever it is, the hub lives on and says why it refuses."""

from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import Machine, update
from slots_rig import tree

from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.plan import State
from agent.ota.verifier import LOCAL

BASE = "http://127.0.0.1:1/it.release.json"
ODD: list[dict[str, Any]] = [
    {"manifestUrl": "http://["},
    {"base": "http://[::1"},
    {"base": BASE, "urls": {"agent.tar.gz": "http://["}},
    {"base": "http://\u2100.example/"},
    {"host": "[", "path": "x"},
    {"host": "127.0.0.1:1", "path": "x", "paths": ["["]},
    {"permission": "\ud800"},
    {"manifest": "\ud800"},
    {"manifest": {"payload": "\ud800"}},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_a_document_that_cannot_be_used_ends_the_job_and_nothing_else(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    machine = Machine(tmp_path)
    machine.fetch = FetchPolicy(resumes=0, connect=0.5)
    machine.board.start()
    path = Path(machine.offer_files(**update(("agent.tar.gz", tree("2.0"))))["path"])

    async def work(engine: Engine) -> None:
        task = await engine.offer("main", "job-1", 1, {"manifest": path.read_text(), **odd})
        await until(lambda: engine.tasks[task.key].over or engine.tasks[task.key].tries, 5.0)
        after = engine.tasks[task.key]
        assert not after.over or after.state == State.REJECTED
        assert after.detail

    assert not await machine.life(work)


async def test_a_path_that_is_none_ends_the_update_and_nothing_else(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.board.start()

    async def work(engine: Engine) -> None:
        task = await engine.offer(LOCAL, "1", 1, {"path": "/\0"})
        await until(lambda: engine.tasks[task.key].over, 5.0)
        assert (engine.tasks[task.key].state, engine.tasks[task.key].code) == (State.REJECTED, "malformed")

    assert not await machine.life(work)
