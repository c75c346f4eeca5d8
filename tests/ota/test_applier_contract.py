"""The contract of appliers: slots, RAUC, and a program of the operator's."""

import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ota_rig import agent, file
from slots_rig import Board, component, tree

from agent.ota.appliers.command import Command
from agent.ota.appliers.contract import Applier, Image
from agent.ota.appliers.rauc import Rauc
from agent.ota.appliers.slots import STARTS
from agent.ota.manifest import Component
from agent.ota.plan import Runs
from tests.conformance.rauc_rig import RaucBoard
from tests.ota.applier_contract import check_contract


class Files:
    """The files of components, in a folder."""

    written = Runs.OLD

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, content: bytes) -> None:
        (self.folder / hashlib.sha256(content).hexdigest()).write_bytes(content)

    def images(self, component: Component) -> list[Image]:
        return [
            Image(told.name, (self.folder / told.sha256).open("rb"), told.size, told.sha256) for told in component.files
        ]


class SlotsPlace(Files):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.board = Board(folder)
        made = [("agent.tar.gz", tree(version)) for version in ("2.0", "3.0")]
        for _, content in made:
            self.keep(content)
        self.first, self.second = component("2.0", made[0]), component("3.0", made[1])

    @property
    def applier(self) -> Applier:
        return self.board.slots

    async def start(self) -> None:
        assert self.board.start()

    async def fall_back(self) -> None:
        for _ in range(STARTS + 1):
            self.board.start()


class RaucPlace(Files):
    def __init__(self, folder: Path, board: RaucBoard) -> None:
        super().__init__(folder)
        self.board, self.boot = board, 1
        self.first, self.second = self._bundle("2.0"), self._bundle("3.0")

    def _bundle(self, version: str) -> Component:
        content = self.board.bundle(version, os.urandom(8192))
        self.keep(content)
        return Component.model_validate(agent(version, kind="rauc", files=[file("it.raucb", content)]))

    @property
    def applier(self) -> Applier:
        return Rauc(self.folder / "note", f"boot-{self.boot}", self.board.address)

    async def start(self) -> None:
        self.boot += 1
        await self.board.reboot()

    async def fall_back(self) -> None:
        self.boot += 1
        await self.board.reboot("A" if self.board.primary == "B" else "B")


BRIDGE = """#!{python} -IS
import hashlib, json, os, sys
from pathlib import Path
os.chdir({folder!r})
identity = hashlib.sha256(os.environ["HUB_AGENT_COMPONENT"].encode()).hexdigest()
state = json.loads(Path("state").read_text())
other = "B" if state["running"] == "A" else "A"
def end(text="", **changes):
    Path("state").write_text(json.dumps(state | changes))
    print(text)
match sys.argv[1]:
    case "describe":
        runs = "old"
        if state["slots"].get(state["running"]) == identity:
            runs = "on trial" if state["trial"] else "confirmed"
        elif state["slots"].get(other) == identity and state["selected"] == other:
            runs = "selected"
        elif state["failed"] == identity:
            runs = "fell back"
        print(json.dumps({{"runs": runs, "version": "1"}}))
    case "write":
        Path(other).write_bytes(sys.stdin.buffer.read())
        end(slots=state["slots"] | {{other: identity}}, failed="")
    case "check":
        sys.exit(state["slots"].get(other) != identity)
    case "activate":
        if state["slots"].get(other) != identity:
            sys.exit("not written")
        end("reboot", selected=other, trial=True)
    case "confirm":
        end(trial=False)
    case "roll-back":
        if state["slots"].get(state["running"]) == identity:
            end("reboot", selected=other, trial=False, failed=identity)
        else:
            end("done", selected=state["running"], trial=False)
"""


class CommandPlace(Files):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = folder / "bridge"
        self.program.write_text(BRIDGE.format(python=sys.executable, folder=str(folder)))
        self.program.chmod(0o755)
        self._put({"running": "A", "selected": "A", "slots": {}, "trial": False, "failed": ""})
        for content in (b"two", b"three"):
            self.keep(content)
        self.first = self._component("2.0", b"two")
        self.second = self._component("3.0", b"three")

    def _component(self, version: str, content: bytes) -> Component:
        return Component.model_validate(agent(version, kind="command", files=[file("system.img", content)]))

    def _put(self, state: dict[str, object]) -> None:
        (self.folder / "state").write_text(json.dumps(state))

    def _state(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / "state").read_text())
        return found

    @property
    def applier(self) -> Applier:
        return Command(self.program)

    async def start(self) -> None:
        state = self._state()
        self._put({**state, "running": state["selected"]})

    async def fall_back(self) -> None:
        state = self._state()
        slots = state["slots"]
        assert isinstance(slots, dict)
        failed = slots[state["selected"]]
        self._put({**state, "selected": state["running"], "trial": False, "failed": failed})


async def test_slots(tmp_path: Path) -> None:
    await check_contract(SlotsPlace(tmp_path))


async def test_a_program(tmp_path: Path) -> None:
    await check_contract(CommandPlace(tmp_path))


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[RaucBoard]:
    made = RaucBoard(tmp_path)
    await made.start()
    yield made
    made.stop()


@pytest.mark.conformance
async def test_rauc(board: RaucBoard, tmp_path: Path) -> None:
    await check_contract(RaucPlace(tmp_path, board))
