"""The whole time that a download may take: over all its tries, and over what breaks it off; its end is told as such."""

from pathlib import Path
from typing import Any

import pytest
from conftest import until
from hostile_files import Server, Talk
from ota_machine import Machine, update
from slots_rig import tree

from agent.ota.engine import Engine
from agent.ota.fetch import FetchPolicy
from agent.ota.plan import State

IMAGE = tree("2.0")


def silent(server: Server, _talk: Talk) -> None:
    server.over.wait()


def away(_server: Server, talk: Talk) -> None:
    talk.head(503, "Content-Length: 0", "Connection: close")


@pytest.mark.parametrize(
    ("manner", "broken_off"), [(silent, False), (away, False), (silent, True)], ids=["silent", "away", "broken off"]
)
async def test_a_download_ends_with_its_time_whatever_it_spends_it_on(
    tmp_path: Path,
    manner: Any,
    broken_off: bool,  # noqa: FBT001
) -> None:
    machine = Machine(tmp_path)
    machine.fetch = FetchPolicy(total=0.2, resumes=0, first=0.01, longest=0.01)
    machine.again = 0.02  # twenty tries take longer than the whole
    machine.board.start()
    with Server(IMAGE, manner) as server:
        path = Path(machine.offer_files(**update(("agent.tar.gz", IMAGE)))["path"])
        document = {"manifest": path.read_text(), "urls": {"agent.tar.gz": f"{server.url}/agent.tar.gz"}}

        async def work(engine: Engine) -> None:
            key = (await engine.offer("main", "job-1", 1, document)).key

            def over() -> bool:
                if broken_off:
                    engine.desk.break_off()  # as each new task does
                return engine.tasks[key].over

            await until(over, 5.0)
            assert (engine.tasks[key].state, engine.tasks[key].code) == (State.TIMED_OUT, "deadline")

        assert not await machine.life(work)
