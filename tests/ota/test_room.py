"""The room that downloads take: given back by who ends and is not tried again, and never that of others."""

from pathlib import Path
from typing import Any

import pytest
from conftest import until
from hostile_files import Server, content, cut, good
from ota_machine import Machine, update
from slots_rig import tree

from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.plan import State
from agent.ota.verifier import LOCAL

IMAGE = tree("2.0", more={"agent/data": content(40_000)})
SLOW = "main/job-1/1"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.fetch = FetchPolicy(
        first=60.0, longest=60.0, unsynced=4096
    )  # what was cut off is not had again while the test runs
    made.board.start()
    return made


def slow(machine: Machine, server: Server) -> dict[str, Any]:
    path = Path(machine.offer_files(8, **update(("agent.tar.gz", IMAGE)))["path"])
    return {"manifest": path.read_text(), "urls": {"agent.tar.gz": f"{server.url}/agent.tar.gz"}}


def fetched(machine: Machine) -> list[Path]:
    folder = machine.state / "ota" / "files"
    return list(folder.iterdir()) if folder.exists() else []


async def test_a_download_that_is_withdrawn_gives_its_room_back(machine: Machine) -> None:
    with Server(IMAGE, cut(good, 20_000)) as server:

        async def work(engine: Engine) -> None:
            await engine.offer("main", "job-1", 1, slow(machine, server))
            await until(lambda: engine.tasks[SLOW].percent > 0, 5.0)
            assert fetched(machine)
            await engine.cancel(SLOW, "canceled", "no longer wanted")
            await until(lambda: engine.tasks[SLOW].over, 5.0)
            assert engine.tasks[SLOW].state == State.CANCELED

        assert not await machine.life(work)
    assert not fetched(machine)


async def test_an_update_that_ends_leaves_what_another_has_fetched_before_a_restart(machine: Machine) -> None:
    urgent = machine.offer_files(7, emergency=True, **update(("agent.tar.gz", tree("1.9")), "1.9"))
    first = f"{LOCAL}/2/1"
    with Server(IMAGE, cut(good, 20_000)) as server:

        async def work(engine: Engine) -> None:
            await engine.offer("main", "job-1", 1, slow(machine, server))
            await until(lambda: engine.tasks[SLOW].percent > 0, 5.0)
            await engine.offer(LOCAL, "2", 1, urgent)
            await until(lambda: engine.tasks[first].over, 5.0)
            assert engine.tasks[first].state == State.SUCCEEDED

        assert await machine.life(work)
        (before,) = [path.stat().st_ino for path in fetched(machine) if path.stat().st_size == len(IMAGE)]
        machine.board.start()
        assert not await machine.life(work)
        assert [path.stat().st_ino for path in fetched(machine)] == [before]
