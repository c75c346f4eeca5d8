"""The agent's own update: into the other slot, on trial, with a launcher that falls back; and the power cut at every write of it."""

import bz2
import errno
import io
import json
import lzma
import os
import random
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from power_cut import PowerCut, cutting, refusing
from slots_rig import CRASHES, Board, component, opened, tree, wheel

from agent.errors import StorageError
from agent.ota.appliers.contract import ApplierError, Effect
from agent.ota.appliers.slots import STARTS
from agent.ota.manifest import Component
from agent.ota.plan import Runs

NEW = ("agent.tar.gz", tree("2.0"))
BROKEN = ("agent.tar.gz", tree("2.0", CRASHES))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def nothing(_done: int) -> None:
    """Nobody looks."""


async def install(board: Board, image: tuple[str, bytes] = NEW) -> Component:
    made = component("2.0", image)
    await board.slots.write(made, opened(image), nothing)
    assert await board.slots.check(made)
    assert await board.slots.activate(made) == Effect.RESTART
    return made


async def runs(board: Board, made: Component) -> Runs:
    return (await board.slots.describe(made)).runs


async def test_an_update_from_the_first_start_to_its_confirmation(board: Board) -> None:
    made = component("2.0", NEW)
    assert board.start() == "1.0 A"
    found = await board.slots.describe(made)
    assert (found.runs, found.version) == (Runs.OLD, "1.0")
    await install(board)
    assert await runs(board, made) == Runs.SELECTED
    assert board.start() == "2.0 B"
    assert await runs(board, made) == Runs.ON_TRIAL
    await board.slots.confirm(made)
    found = await board.slots.describe(made)
    assert (found.runs, found.version) == (Runs.CONFIRMED, "2.0")
    for _ in range(STARTS + 2):
        assert board.start() == "2.0 B"


@pytest.mark.parametrize("image", [NEW, ("agent-2.0-py3-none-any.whl", wheel("2.0"))], ids=["tree", "wheel"])
async def test_a_tree_and_a_wheel_are_installed(board: Board, image: tuple[str, bytes]) -> None:
    await install(board, image)
    assert board.really_start() == "2.0 B"


async def test_a_build_that_cannot_be_imported_falls_back_by_itself(board: Board) -> None:
    made = await install(board, BROKEN)
    for _ in range(STARTS):
        assert board.really_start() == ""
    assert board.really_start() == "1.0 A"
    assert await runs(board, made) == Runs.FELL_BACK
    for _ in range(STARTS + 2):
        assert board.start() == "1.0 A"


async def test_a_version_that_fell_back_can_be_tried_anew(board: Board) -> None:
    await install(board, BROKEN)
    for _ in range(STARTS + 1):
        board.start()
    made = await install(board)
    assert await runs(board, made) == Runs.SELECTED
    assert board.start() == "2.0 B"


async def test_a_trial_that_is_given_up_starts_the_old_one_again(board: Board) -> None:
    made = await install(board)
    board.start()
    assert await board.slots.roll_back(made) == Effect.RESTART
    assert board.start() == "1.0 A"
    assert await runs(board, made) == Runs.FELL_BACK
    assert await board.slots.roll_back(made) == Effect.DONE


async def test_commands_of_people_do_not_count_as_starts(board: Board) -> None:
    await install(board)
    for _ in range(STARTS + 1):
        assert board.really_start("status") == "2.0 B"
    assert board.start() == "2.0 B"


async def test_what_was_damaged_after_it_was_written_is_found(board: Board) -> None:
    made = component("2.0", NEW)
    await board.slots.write(made, opened(NEW), nothing)
    (board.folder / "B" / "site" / "agent" / "cli.py").write_text("something else")
    assert not await board.slots.check(made)


async def test_a_slot_that_holds_something_else_is_not_activated(board: Board) -> None:
    made = component("2.0", NEW)
    with pytest.raises(ApplierError, match="slot B does not hold it"):
        await board.slots.activate(made)


async def test_without_a_launcher_it_is_said_what_to_do(board: Board) -> None:
    board.running = ""
    with pytest.raises(ApplierError, match="was not started from a slot") as caught:
        await board.slots.describe(component("2.0", NEW))
    assert "agent ota slots" in caught.value.remedy


@pytest.mark.parametrize(
    "name",
    ["../out.py", "/etc/out.py", "agent/../../out.py", "a\\b", "."],
    ids=["up", "root", "in and up", "back", "dot"],
)
async def test_nothing_is_written_outside_of_the_slot(board: Board, name: str) -> None:
    bad = ("agent.tar.gz", tree("2.0", more={name: b"x"}))
    with pytest.raises(ApplierError, match="cannot be used"):
        await board.slots.write(component("2.0", bad), opened(bad), nothing)
    assert board.start() == "1.0 A"


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", NEW[1][:-40], NEW[1][: len(NEW[1]) // 2]],
    ids=["empty", "nonsense", "cut at the end", "cut in the middle"],
)
async def test_an_image_that_is_no_whole_archive_is_refused(board: Board, content: bytes) -> None:
    bad = ("agent.tar.gz", content)
    with pytest.raises(ApplierError, match="cannot be used"):
        await board.slots.write(component("2.0", NEW), opened(bad), nothing)
    assert not (board.folder / "B").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"slot": "B"}', '{"slot": "B", "left": "many"}'])
async def test_a_damaged_trial_is_doubted(board: Board, text: str) -> None:
    await install(board)
    (board.folder / "trial").write_text(text)
    assert board.start() == "1.0 A"


async def test_without_a_selected_slot_one_that_is_whole_is_started(board: Board) -> None:
    (board.folder / "current").unlink()
    assert board.start() == "1.0 A"
    (board.folder / "current").symlink_to("B")
    assert board.start() == "1.0 A"


async def test_a_trial_that_cannot_be_counted_is_not_started(board: Board) -> None:
    await install(board)
    script = (
        "import os, runpy, sys\n"
        "def refuse(_): raise OSError(28, 'no space left')\n"
        "os.fsync = refuse\n"
        f"sys.argv = [{str(board.launch)!r}, 'run']\n"
        f"runpy.run_path({str(board.launch)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-IS", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0 A"


def _spoilt(pack: str) -> bytes:
    """A build whose data are damaged in a way that is found while they are unpacked, in every packing that there is."""
    more = {"agent/data": random.Random(1).randbytes(20_000)}
    if pack.startswith("zip "):
        made = io.BytesIO()
        with zipfile.ZipFile(
            made, "w", {"lzma": zipfile.ZIP_LZMA, "bz2": zipfile.ZIP_BZIP2}.get(pack[4:], 0)
        ) as zipped:
            zipped.writestr("agent/data", more["agent/data"])
        content = bytearray(made.getvalue())
        if pack == "zip sealed":  # the flag of an entry that needs a password
            content[6] |= 1
            content[content.rindex(b"PK\1\2") + 8] |= 1
            return bytes(content)
    else:
        content = bytearray({"xz": lzma.compress, "bz2": bz2.compress}[pack](tree("2.0", more=more, compressed=False)))
    content[len(content) // 2] ^= 1
    return bytes(content)


@pytest.mark.parametrize("pack", ["xz", "bz2", "zip lzma", "zip bz2", "zip sealed"])
async def test_a_build_that_was_packed_wrongly_is_refused_in_any_packing(board: Board, pack: str) -> None:
    bad = ("a.whl" if pack.startswith("zip ") else "agent.tar.xz", _spoilt(pack))
    with pytest.raises(ApplierError, match="cannot be used"):
        await board.slots.write(component("2.0", bad), opened(bad), nothing)
    assert board.start() == "1.0 A"


async def _whole_update(board: Board, made: Component) -> None:
    await board.slots.write(made, opened(NEW), nothing)
    await board.slots.activate(made)


async def test_a_power_cut_at_any_write_leaves_the_old_version_or_a_trial(tmp_path: Path) -> None:
    made = component("2.0", NEW)
    first = Board(tmp_path / "counted")
    with cutting() as cuts:
        await _whole_update(first, made)
    ends = {Runs.OLD: 0, Runs.SELECTED: 0}
    for at in range(1, cuts.seen + 1):
        board = Board(tmp_path / str(at))
        with cutting(at), suppress(PowerCut):
            await _whole_update(board, made)
        found = await runs(board, made)
        ends[found] += 1
        if found == Runs.SELECTED:  # selected never without its trial, and never before it is whole
            assert json.loads((board.folder / "trial").read_text())["left"] == STARTS
            assert await board.slots.check(made)
        await _whole_update(board, made)  # what was cut off can be done again
        assert await runs(board, made) == Runs.SELECTED
    print(f"power cuts in an update: {cuts.seen} points, {ends}")
    assert min(ends.values()) > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])
async def test_a_disk_that_refuses_any_call_costs_an_error_and_no_version(tmp_path: Path, number: int) -> None:
    made = component("2.0", NEW)
    first = Board(tmp_path / "counted")
    with refusing() as calls:
        await _whole_update(first, made)
    for at in range(1, calls.seen + 1):
        board = Board(tmp_path / str(at))
        with refusing(at, number), suppress(StorageError):
            await _whole_update(board, made)
        assert await runs(board, made) in (Runs.OLD, Runs.SELECTED)
        await _whole_update(board, made)
    print(f"refused calls in an update: {calls.seen} ({os.strerror(number)})")


async def tried(board: Board) -> Component:
    made = await install(board)
    board.running = "B"
    return made


@pytest.mark.parametrize("what", ["confirm", "roll_back"])
async def test_a_power_cut_in_the_end_of_a_trial_is_one_or_the_other(tmp_path: Path, what: str) -> None:
    first = Board(tmp_path / "counted")
    made = await tried(first)
    with cutting() as cuts:
        await getattr(first.slots, what)(made)
    for at in range(1, cuts.seen + 1):
        board = Board(tmp_path / str(at))
        await tried(board)
        with cutting(at), suppress(PowerCut):
            await getattr(board.slots, what)(made)
        expected = {"confirm": {"2.0 B"}, "roll_back": {"1.0 A", "2.0 B"}}[what]
        assert board.start() in expected
        if board.running == "B":
            await getattr(board.slots, what)(made)
        assert board.start() == ("2.0 B" if what == "confirm" else "1.0 A")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])
@pytest.mark.parametrize("what", ["confirm", "roll_back"])
async def test_a_disk_that_refuses_any_call_in_the_end_of_a_trial_is_asked_again(
    tmp_path: Path, what: str, number: int
) -> None:
    first = Board(tmp_path / "counted")
    made = await tried(first)
    with refusing() as calls:
        await getattr(first.slots, what)(made)
    for at in range(1, calls.seen + 1):
        board = Board(tmp_path / str(at))
        await tried(board)
        with refusing(at, number), pytest.raises(StorageError):
            await getattr(board.slots, what)(made)
        assert board.start() in {"2.0 B", "1.0 A"}
        if board.running == "B":
            await getattr(board.slots, what)(made)
        assert board.start() == ("2.0 B" if what == "confirm" else "1.0 A")
    print(f"refused calls in {what}: {calls.seen} ({os.strerror(number)})")
    assert calls.seen > 1
