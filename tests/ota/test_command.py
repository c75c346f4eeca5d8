"""The applier that asks a program of the operator's."""

from pathlib import Path

import pytest
from slots_rig import component

from agent.errors import TryAgainError
from agent.ota.appliers.command import Command
from agent.ota.appliers.contract import ApplierError, Effect, Image
from agent.ota.plan import Runs

IMAGE = ("system.img", b"an image" * 1000)
PROGRAM = """#!/bin/sh
cd {folder}
case "$1" in
describe) [ -e written ] && printf '{{"runs": "selected", "version": "2"}}' || printf '{{"runs": "old", "version": "1"}}' ;;
write) cat > written ;;
check) cmp -s written expected ;;
activate) cat > about; echo reboot ;;
confirm) echo "the token is away" >&2; exit 75 ;;
roll-back) echo "no way back" >&2; exit 3 ;;
esac
"""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    (tmp_path / "program").write_text(PROGRAM.format(folder=tmp_path))
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "expected").write_bytes(IMAGE[1])
    return Command(tmp_path / "program")


async def test_each_word_does_what_the_contract_says(command: Command, tmp_path: Path) -> None:
    made, seen = component("2.0", IMAGE), [0]
    assert (await command.describe(made)).runs == Runs.OLD
    assert not await command.check(made)
    with (tmp_path / "expected").open("rb") as file:
        told = made.files[0]
        await command.write(made, [Image(told.name, file, told.size, told.sha256)], seen.append)
    assert (tmp_path / "written").read_bytes() == IMAGE[1]
    assert seen[-1] == len(IMAGE[1])
    assert await command.check(made)
    found = await command.describe(made)
    assert (found.runs, found.version) == (Runs.SELECTED, "2")
    assert await command.activate(made) == Effect.REBOOT
    assert '"version":"2.0"' in (tmp_path / "about").read_text()


async def test_what_it_refuses_and_what_may_work_later_are_told_apart(command: Command) -> None:
    made = component("2.0", IMAGE)
    with pytest.raises(TryAgainError, match="the token is away"):
        await command.confirm(made)
    with pytest.raises(ApplierError, match="no way back"):
        await command.roll_back(made)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runs": "perhaps"}', "\\377"])
async def test_a_program_that_talks_nonsense_is_refused(tmp_path: Path, text: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    program.chmod(0o755)
    made = component("2.0", IMAGE)
    with pytest.raises(ApplierError, match="describe: "):
        await Command(program).describe(made)
    with pytest.raises(ApplierError, match="it printed"):
        await Command(program).activate(made)


async def test_a_program_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ApplierError, match="cannot be run: No such file"):
        await Command(tmp_path / "none").describe(component("2.0", IMAGE))


async def test_a_program_that_does_not_read_is_no_trouble(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec <&-\necho done\n")
    program.chmod(0o755)
    assert await Command(program).activate(component("2.0", IMAGE)) == Effect.DONE
