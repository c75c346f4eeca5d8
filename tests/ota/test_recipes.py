"""The recipes for SWUpdate and Mender keep the contract of appliers, with tools that act on a board of files as theirs do on a real one."""

import os
from pathlib import Path

import pytest
from ota_rig import agent, file

from agent.ota.appliers.command import Command
from agent.ota.appliers.contract import Applier
from agent.ota.manifest import Component
from agent.ota.plan import Runs
from tests.ota.applier_contract import check_contract
from tests.ota.test_applier_contract import Files

RECIPES = Path(__file__).parent.parent.parent / "config" / "examples" / "ota"
SYSTEM = (
    "/var/lib/hub-agent",
    "/proc/cmdline",
    "/proc/sys/kernel/random/boot_id",
    "/etc/sw-version",
    "/etc/swupdate.pem",
)
SWUPDATE = """
[ "$4" = -e ] && cp "$7" "{board}/slot-${{5#stable,}}"
"""
FW_SETENV = """
if [ "$1" = -s ]; then
    while IFS== read -r name value; do printf %s "$value" >"{board}/env-$name"; done
else
    printf %s "$2" >"{board}/env-$1"
fi
"""
MENDER = """
cd "{board}"
case "$1" in
    show-artifact) cat running ;;
    install) [ ! -e pending ] && sha256sum <"$2" | cut -c1-8 >pending && touch uncommitted ;;
    commit) [ -e uncommitted ] && rm uncommitted ;;
    rollback) [ -e uncommitted ] && rm uncommitted && if [ -e pending ]; then rm pending; else cp before next; fi ;;
esac
"""


class RecipePlace(Files):
    """A recipe, with the system's paths in a folder and the tools beside them."""

    def __init__(self, folder: Path, recipe: str, tools: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.board, bin_ = folder / "board", folder / "bin"
        text = (RECIPES / recipe).read_text()
        for path in SYSTEM:
            text = text.replace(path, f"{self.board}/{Path(path).name}")
        for path, script in (
            (folder / recipe, text),
            *((bin_ / name, f"#!/bin/sh -eu{tools[name]}") for name in tools),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text(script.format(board=self.board) if path.parent == bin_ else script)
            path.chmod(0o755)
        self.board.mkdir()
        monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
        self._program, self._boots = folder / recipe, 0
        self.first, self.second = (self._component(version) for version in ("2.0", "3.0"))
        self.boot()

    def _component(self, version: str) -> Component:
        content = f"a system of version {version}".encode()
        self.keep(content)
        return Component.model_validate(agent(version, kind="command", files=[file("system.img", content)]))

    @property
    def applier(self) -> Applier:
        return Command(self._program)

    def put(self, name: str, text: str) -> None:
        (self.board / name).write_text(text)

    def get(self, name: str) -> str:
        path = self.board / name
        return path.read_text().strip() if path.exists() else ""

    def boot(self) -> None:
        """What every board does."""
        self._boots += 1
        self.put("boot_id", f"boot-{self._boots}\n")


class SwupdatePlace(RecipePlace):
    """U-Boot with two copies, which counts the starts of what is on trial."""

    def boot(self, *, fails: bool = False) -> None:
        super().boot()
        slot = self.get("env-rootslot") or "A"
        if fails and self.get("env-upgrade_available") == "1":
            slot = "B" if slot == "A" else "A"
            self.put("env-rootslot", slot)
            self.put("env-upgrade_available", "0")
        self.put("cmdline", f"console=ttyS0 rootslot={slot} ro")

    async def start(self) -> None:
        self.boot()

    async def fall_back(self) -> None:
        assert self.get("env-upgrade_available") == "1"
        self.boot(fails=True)


class MenderPlace(RecipePlace):
    """Mender selects what it has installed, and its boot loader goes back at the second boot without a commit."""

    written = Runs.SELECTED

    def boot(self) -> None:
        super().boot()
        if following := self.get("next"):
            (self.board / "next").unlink()
            self.put("running", following)
        elif pending := self.get("pending"):
            self.put("before", self.get("running"))
            self.put("running", pending)
            (self.board / "pending").unlink()
        elif not self.get("running"):
            self.put("running", "factory")
        if not self.get("before"):
            self.put("before", self.get("running"))

    async def start(self) -> None:
        self.boot()

    async def fall_back(self) -> None:
        self.boot()
        (self.board / "uncommitted").unlink()
        self.put("next", self.get("before"))
        self.boot()


async def test_swupdate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = SwupdatePlace(tmp_path, "swupdate.sh", {"swupdate": SWUPDATE, "fw_setenv": FW_SETENV}, monkeypatch)
    await check_contract(place)
    assert place.get("slot-A") + place.get("slot-B")


async def test_mender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_contract(MenderPlace(tmp_path, "mender.sh", {"mender": MENDER}, monkeypatch))
