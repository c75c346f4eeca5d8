"""The agent updates itself: into the slot that it does not run from, on trial, with a launcher that falls back (agent/ota/launcher.py).

Which version runs, is selected, is on trial or has failed is read from the slots, never from the journal:
    A/ B/            a slot: site/ with the packages, slot.json with what it is, files.json with the hash of each file
    current          a link to the selected slot
    trial, fell-back the launcher's and ours
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.files import disk_trouble, make_folder, sync_folder, write_atomic
from agent.ota import launcher
from agent.ota.appliers.contract import ApplierError, Effect, Found, Image, Progress
from agent.ota.appliers.unpack import digest, unpack
from agent.ota.manifest import Component
from agent.ota.plan import Runs

STARTS = 3  # of a slot on trial, before the launcher falls back
TRIAL, FELL_BACK, CURRENT, ABOUT, FILES = "trial", "fell-back", "current", "slot.json", "files.json"
VARIABLE = "HUB_AGENT_SLOT"  # set by the launcher: where this process runs from


class Slots:
    """The applier of components of kind `agent`. `running` is the slot of this process, "" when no launcher started it."""

    kind = "agent"

    def __init__(self, folder: Path, running: str) -> None:
        self._folder, self._running = folder, running

    async def judge(self, component: Component) -> None:
        await self.describe(component)

    async def describe(self, component: Component) -> Found:
        if self._running not in launcher.SLOTS:
            remedy = "run `agent ota slots`, and have the service start what it names"
            raise ApplierError(
                "no-slots", "the agent was not started from a slot", place=str(self._folder), remedy=remedy
            )
        with disk_trouble():
            return Found(self._runs(component), str(self._about(self._running).get("version", "")))

    def _runs(self, component: Component) -> Runs:
        wanted, trial = _identity(component), self._read(TRIAL).get("slot")
        if self._about(self._running).get("identity") == wanted:
            return Runs.ON_TRIAL if trial == self._running else Runs.CONFIRMED
        selected = self._selected()
        if selected != self._running and self._about(selected).get("identity") == wanted:
            return Runs.SELECTED
        failed = str(self._read(FELL_BACK).get("slot", ""))
        return Runs.FELL_BACK if failed and self._about(failed).get("identity") == wanted else Runs.OLD

    async def write(self, component: Component, images: list[Image], progress: Progress) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._write, component, images, progress)

    def _write(self, component: Component, images: list[Image], progress: Progress) -> None:
        target = launcher.other(self._running)
        with disk_trouble():
            if self._selected() == target:
                launcher.select(self._folder, self._running)
            self._drop(TRIAL, FELL_BACK)
            new, slot = self._folder / f".{target}.new", self._folder / target
            for left in (new, slot):
                shutil.rmtree(left, ignore_errors=True)
            sync_folder(self._folder)
            new.mkdir(mode=0o755)
            hashes: dict[str, str] = {}
            for image in images:
                part = unpack(image.file, image.name, new / ("site" if not hashes else f"more-{image.name}"), progress)
                hashes |= part if not hashes else _merged(new, image.name, part)
            write_atomic(new / FILES, json.dumps(hashes).encode(), mode=0o644)
            about = {"version": component.version, "identity": _identity(component)}
            write_atomic(new / ABOUT, json.dumps(about).encode(), mode=0o644)
            new.replace(slot)
            sync_folder(self._folder)

    async def check(self, component: Component) -> bool:
        return await asyncio.get_running_loop().run_in_executor(None, self._check, component)

    def _check(self, component: Component) -> bool:
        slot = self._folder / launcher.other(self._running)
        try:
            hashes: Mapping[str, str] = json.loads((slot / FILES).read_bytes())
            whole = self._about(slot.name).get("identity") == _identity(component)
            return whole and all(digest(slot / "site" / path) == wanted for path, wanted in hashes.items())
        except (OSError, ValueError):
            return False

    async def activate(self, component: Component) -> Effect:
        target = launcher.other(self._running)
        if self._about(target).get("identity") != _identity(component):
            raise ApplierError("not-written", f"slot {target} does not hold it", place=str(self._folder / target))
        with disk_trouble():  # the trial first: a slot that is selected without one would never fall back
            write_atomic(self._folder / TRIAL, json.dumps({"slot": target, "left": STARTS}).encode())
            launcher.select(self._folder, target)
        return Effect.RESTART

    async def confirm(self, component: Component) -> None:
        if self._about(self._running).get("identity") != _identity(component):
            raise ApplierError("not-running", "another version runs than the one that is to stay")
        with disk_trouble():
            self._drop(TRIAL, FELL_BACK)

    async def roll_back(self, component: Component) -> Effect:
        back = launcher.other(self._running)
        if self._about(self._running).get("identity") != _identity(component):
            back = self._running  # it does not run: it only must not be selected
        elif not (self._folder / back / "site").is_dir():
            raise ApplierError("no-way-back", f"slot {back} is empty", place=str(self._folder / back))
        with disk_trouble():
            launcher.select(self._folder, back)
            if self._read(TRIAL).get("slot") == launcher.other(back):
                (self._folder / TRIAL).replace(self._folder / FELL_BACK)  # a full disk has room for no new file
                sync_folder(self._folder)
            else:
                write_atomic(self._folder / FELL_BACK, json.dumps({"slot": launcher.other(back)}).encode())
                self._drop(TRIAL)
        return Effect.DONE if back == self._running else Effect.RESTART

    async def clean(self) -> None:
        with disk_trouble():
            for name in launcher.SLOTS:
                shutil.rmtree(self._folder / f".{name}.new", ignore_errors=True)

    # ---- files ------------------------------------------------------------------------------------------------------

    def _selected(self) -> str:
        try:
            return str((self._folder / CURRENT).readlink())
        except OSError:
            return ""

    def _drop(self, *names: str) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
        sync_folder(self._folder)

    def _about(self, slot: str) -> dict[str, Any]:
        return self._read(f"{slot}/{ABOUT}") if slot in launcher.SLOTS else {}

    def _read(self, name: str) -> dict[str, Any]:
        """What one of the small files says; nothing where it is not there or damaged."""
        try:
            told = json.loads((self._folder / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}


def _identity(component: Component) -> str:
    """What a slot holds: the hashes of the component's files, in their order."""
    return "+".join(file.sha256 for file in component.files)


def _merged(new: Path, name: str, part: dict[str, str]) -> dict[str, str]:
    """Move the files of a further image into the site. Raises ApplierError for one that is there already."""
    for path in part:
        target = new / "site" / path
        if target.exists():
            raise ApplierError(
                "bad-image", f"{path} comes in two images", place=name, remedy="build it anew and sign it"
            )
        make_folder(target.parent, 0o755)
        (new / f"more-{name}" / path).rename(target)
        sync_folder(target.parent)
    shutil.rmtree(new / f"more-{name}")
    return part


def prepare(folder: Path, site: Path, version: str) -> Path:
    """Make the slots, with what is installed in `site` as slot A, and the launcher: its path. Repeated, it renews that. Raises OSError."""
    make_folder(folder, 0o755)
    text = Path(launcher.__file__).read_text(encoding="utf-8")
    start = folder / "launch"
    write_atomic(start, f"#!{sys.executable} -IS\n{text}".encode(), mode=0o755)
    if not (folder / CURRENT).is_symlink():
        shutil.rmtree(folder / "A", ignore_errors=True)
        new = folder / ".A.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o755)
        shutil.copytree(site, new / "site", ignore=shutil.ignore_patterns("__pycache__"))
        write_atomic(new / ABOUT, json.dumps({"version": version, "identity": "installed"}).encode(), mode=0o644)
        os.sync()
        new.replace(folder / "A")
        sync_folder(folder)
        launcher.select(folder, "A")
    return start
