"""Programs of the operator's that do not end, or say too much: whoever asks them does not wait, and nothing of them goes on."""

import os
import resource
from pathlib import Path

import pytest
from conftest import until
from slots_rig import component

from agent.errors import TryAgainError
from agent.ota import health, programs
from agent.ota.appliers import command
from agent.ota.appliers.command import Command
from agent.ota.health import Health, Terms

CHATTY = 64 << 20  # bytes
HANGS = 'echo $$ > "$0.pid"\nsleep 600'  # a shell that waits for what it has started, which holds the pipes


def program(folder: Path, script: str) -> Path:
    made = folder / "program"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return made


def running(path: Path) -> list[str]:
    """What is left of the program's group."""
    group = Path(f"{path}.pid").read_text().strip()
    stats = [one.read_text().rpartition(")")[2].split() for one in Path("/proc").glob("[0-9]*/stat") if one.exists()]
    return [state for state, _parent, of, *_ in stats if of == group and state != "Z"]


async def test_what_a_program_has_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ASK_TIME", 0.3)
    hangs = program(tmp_path, HANGS)
    with pytest.raises(TryAgainError, match="did not end"):
        await Command(hangs).activate(component("2.0", ("system.img", b"an image")))
    await until(lambda: not running(hangs), 5.0)
    assert await health.script(hangs, 0.3)() == "it did not end within 0 s"
    await until(lambda: not running(hangs), 5.0)


async def test_one_that_leaves_its_group_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "GOES", 0.1)
    leaves = program(tmp_path, 'setsid sh -c \'echo $$ > "$0.pid"; exec sleep 600\' "$0"\nsleep 600')
    assert "did not end" in await health.script(leaves, 0.5)()
    os.kill(int(Path(f"{leaves}.pid").read_text()), 9)


async def test_of_one_that_says_too_much_the_end_is_kept(tmp_path: Path) -> None:
    chatty = program(tmp_path, f"head -c {CHATTY} /dev/zero\necho\necho the lamp does not light\nexit 3")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await health.script(chatty, 20.0)() == "the lamp does not light"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < CHATTY // 4


async def test_a_check_that_cannot_be_made_is_wrong_and_no_end_of_the_engine(tmp_path: Path) -> None:
    checks = {"disk": health.room(tmp_path / "gone", 1)}
    assert await Health(checks, Terms()).look() == {"disk": "it cannot be asked: No such file or directory"}
