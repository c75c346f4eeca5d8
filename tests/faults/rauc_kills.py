"""Whole updates by a real RAUC, with kill -9 of RAUC, of the agent, and of both: prints one JSON line. Run by test_rauc_kills.py.

Points are what the agent is about to do or has done, what RAUC says of its progress, and RAUC's own calls of the boot loader, in which it
is held: `--every` kills each victim at each point that an undisturbed update comes through, else points are drawn from the seed.
"""

import argparse
import asyncio
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import dbus_fast.aio  # noqa: F401  before the forks
from ota_machine import Machine
from ota_rig import agent, file

from agent.ota.appliers import rauc
from agent.ota.appliers.contract import Image, Progress
from agent.ota.appliers.rauc import Rauc
from agent.ota.journal import Journal
from agent.ota.manifest import Component
from agent.ota.plan import FINAL, Runs, State, Task
from tests.conformance.rauc_rig import RaucBoard

VICTIMS = ("agent", "rauc", "both")
GOOD, UNWELL, DEAD = "good", "unwell", "dead"  # dead: the new system does not come up, and the loader falls back
SIZE, LIFE, LIVES = 256 << 10, 30.0, 60  # bytes of a system, seconds without a word, of one update
OVER, REBOOT = 0, 10
HELD = ("set-state", "set-primary")
LOADER = """#!/bin/sh
cd {folder}/loader
echo "$1" >> calls
put() {{ printf %s "$2" > "$1.$$"; mv "$1.$$" "$1"; }}
held=
if [ "$1 $(grep -cx "$1" calls)" = "$(cat hold)" ]; then held=1; put held $$; read _ < go; fi
case "$1" in
    get-primary) cat primary ;;
    set-primary) put primary "$2"; put "state-$2" good ;;
    get-state) cat "state-$2" ;;
    set-state) put "state-$2" "$3" ;;
    get-current) cat booted ;;
esac
[ -z "$held" ] || rm held
"""


@dataclass
class Counts:
    """What a run comes to; `missed`: points that an update did not come to again."""

    updates: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    missed: int = 0


class Rig:
    """One board for all updates; each begins with the same old system in both slots."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.board = folder, RaucBoard(folder)
        self.old, self.new = os.urandom(SIZE), os.urandom(SIZE)
        self.bundle = self.board.bundle("2.0", self.new)
        (folder / "boot.sh").write_text(LOADER.format(folder=folder))
        os.mkfifo(folder / "loader" / "go")

    def reset(self, hold: str) -> None:
        self.board.kill()
        loader = self.folder / "loader"
        texts = {"primary": "A", "booted": "A", "state-A": "good", "state-B": "good", "calls": "", "hold": hold}
        for name, text in texts.items():
            (loader / name).write_text(text)
        (loader / "held").unlink(missing_ok=True)
        (self.folder / "status").unlink(missing_ok=True)
        for name in ("slot0", "slot1"):
            with (self.folder / name).open("r+b") as slot:
                slot.write(self.old)
        self.start()

    def start(self) -> None:
        asyncio.run(self.board.start())

    @property
    def chosen(self) -> str:
        """What the loader would start now."""
        slot = self.board.primary
        state = (self.folder / "loader" / f"state-{slot}").read_text()
        return slot if state == "good" else "AB".replace(slot, "")

    def version(self, slot: str) -> str:
        """Raises AssertionError for a system that is neither the old nor the new one."""
        with (self.folder / ("slot0" if slot == "A" else "slot1")).open("rb") as file:
            found = file.read(SIZE)
        if found not in (self.old, self.new):
            raise AssertionError(f"the loader would start half a system in {slot}")
        return "2.0" if found == self.new else "1.0"


class Update:
    """One update from the first start to its end. `wanted` says whom to kill at a point, "" for nobody."""

    def __init__(self, rig: Rig, kind: str, wanted: Callable[[str], str], rng: random.Random) -> None:
        self.rig, self.kind, self.wanted, self.rng = rig, kind, wanted, rng
        self.folder = Path(tempfile.mkdtemp(dir=rig.folder))
        self.machine = Machine(self.folder / "hub", checks={"uplink": self._uplink})
        self.machine.again = 0.3  # seconds: RAUC needs less to start again
        files = [file("it.raucb", rig.bundle, 1 << 20)]
        made = agent("2.0", kind="rauc", files=files)
        self.component = Component.model_validate(made)
        told = {"components": [made], "release": "2.0"}
        self.document = self.machine.offer_files(images={"it.raucb": rig.bundle}, **told)
        self.boots, self.passed, self.killed = 1, list[str](), list[tuple[str, str]]()

    async def _uplink(self) -> str:
        return "no connection" if self.kind == UNWELL and self.rig.board.booted == "B" else ""

    def applier(self) -> Rauc:
        return Rauc(self.folder / "note", f"boot-{self.boots}", self.rig.board.address)

    def run(self) -> str:
        """To its end, which is judged: the final state."""
        for _ in range(LIVES):
            code = self._life()
            if code == OVER:
                break
            if code == REBOOT and not self._point("reboot"):
                self._boot()
        else:
            raise AssertionError(f"no end: {self.states()}")
        end = self._judge()
        shutil.rmtree(self.folder)
        return end

    def _boot(self) -> None:
        chosen = self.rig.chosen
        self.rig.version(chosen)
        if self.kind == DEAD and self.rig.version(chosen) == "2.0":
            chosen = "AB".replace(chosen, "")
        self.boots += 1
        asyncio.run(self.rig.board.reboot(chosen))

    def states(self) -> list[tuple[str, str]]:
        with sqlite3.connect(self.machine.state / "hub.db") as db:
            rows = db.execute("SELECT after, detail FROM ota_events").fetchall()
        db.close()
        return rows

    def _judge(self) -> str:
        ends = [state for state, _ in self.states() if state in FINAL]
        if len(ends) != 1:
            raise AssertionError(f"not one end: {self.states()}")
        runs = asyncio.run(self.applier().describe(self.component)).runs
        self._boot()
        version = self.rig.version(self.rig.board.booted)
        if (ends[0] == State.SUCCEEDED) != (version == "2.0") or (version == "2.0") != (runs == Runs.CONFIRMED):
            raise AssertionError(f"{ends[0]}, RAUC says {runs}, and {version} runs: {self.states()}")
        return ends[0]

    # ---- one process of the agent -----------------------------------------------------------------------------------

    def _life(self) -> int:
        """Its exit code, or -9."""
        hears, says = os.pipe()
        waits, answers = os.pipe()
        child = os.fork()
        if child == 0:
            _live(self, says, waits)
        os.close(says)
        os.close(waits)
        try:
            for name in self._heard(hears):
                if self._point(name, child):
                    break
                with suppress(BrokenPipeError):
                    os.write(answers, b".")
        finally:
            os.close(hears)
            os.close(answers)
            with suppress(ProcessLookupError):
                if sys.exc_info()[0] is not None:
                    os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def _heard(self, hears: int) -> Iterator[str]:
        """Points of the agent and of the loader, until the agent's process ends."""
        held, end, left = self.rig.folder / "loader" / "held", time.monotonic() + LIFE, b""
        while True:
            if held.exists():
                yield f"loader {self._hold}"
            if select.select([hears], [], [], 0.01)[0]:
                more = os.read(hears, 4096)
                if not more:
                    return
                *names, left = (left + more).split(b"\n")
                end = time.monotonic() + LIFE
                yield from (name.decode() for name in names)
            elif time.monotonic() > end:
                raise AssertionError(f"nothing moves after {self.passed[-3:]}: {self.states()}")

    @property
    def _hold(self) -> str:
        return (self.rig.folder / "loader" / "hold").read_text()

    def _point(self, name: str, child: int = 0) -> bool:
        """Come to a point; whether the agent is killed there."""
        self.passed.append(name)
        victim = self.wanted(name)
        if victim:
            self.killed.append((victim, name))
        agents, raucs = victim in ("agent", "both"), victim in ("rauc", "both")
        if agents and child:
            os.kill(child, signal.SIGKILL)
        if raucs:
            self.rig.board.kill()
        if name.startswith("loader "):
            self._let_go(lost=raucs and self.rng.random() < 0.5)
        if raucs:
            self.rig.start()
        if victim:
            self.rig.version(self.rig.chosen)
        return agents or (raucs and not child)

    def _let_go(self, *, lost: bool) -> None:
        """The loader's call goes on, or ends with RAUC before it has done anything."""
        held, end = self.rig.folder / "loader" / "held", time.monotonic() + LIFE
        if lost:
            os.kill(int(held.read_text()), signal.SIGKILL)
            held.unlink()
            return
        (self.rig.folder / "loader" / "go").write_text("go\n")
        while held.exists():
            if time.monotonic() > end:
                raise AssertionError("the loader does not end")
            time.sleep(0.001)


def _live(update: Update, says: int, waits: int) -> None:
    """The forked process: it never returns into the code of the one that watches it."""

    def point(name: str) -> None:
        os.write(says, name.encode() + b"\n")
        os.read(waits, 1)

    try:
        _tell_points(point)
        point("start")
        update.machine.appliers["rauc"] = update.applier()
        again = asyncio.run(update.machine.work_on(update.document))
    except BaseException:  # noqa: BLE001  the next life goes on
        os._exit(75)
    os._exit(REBOOT if again else OVER)


def _tell_points(point: Callable[[str], None]) -> None:
    install, mark, keep, put = rauc._Installer.install, rauc._Installer.mark, Rauc._keep, Journal.put

    async def installing(one: Any, path: str, image: Image, progress: Progress) -> None:
        def further(done: int) -> None:
            point(f"install {done * 100 // image.size}%")
            progress(done)

        point("before install")
        await install(one, path, image, further)
        point("after install")

    async def marking(one: Any, what: str, slot: str) -> None:
        point(f"before mark {what}")
        await mark(one, what, slot)
        point(f"after mark {what}")

    def keeping(one: Any, slot: str, note: Any) -> None:
        point("before note")
        keep(one, slot, note)
        point("after note")

    async def putting(one: Any, task: Task, *, floor: str = "") -> Task:
        before = one.tasks.get(task.key)
        kept = await put(one, task, floor=floor)
        if before is None or before.state != task.state:
            point(f"as {task.state}")
        return kept

    rauc._Installer.install, rauc._Installer.mark = installing, marking  # type: ignore[method-assign]
    Rauc._keep, Journal.put = keeping, putting  # type: ignore[method-assign]


# ---- which points ---------------------------------------------------------------------------------------------------


class Once:
    """This victim at the so many-th time that this point is come to."""

    def __init__(self, victim: str, name: str, number: int) -> None:
        self.victim, self.name, self.left = victim, name, number

    def __call__(self, name: str) -> str:
        self.left -= name == self.name
        if self.left == 0 and name == self.name:
            return self.victim
        return ""


def drawn(rng: random.Random, most: int) -> Callable[[str], str]:
    left = most

    def wanted(name: str) -> str:
        nonlocal left
        if left and rng.random() < (0.8 if name.startswith("loader") else 0.05):
            left -= 1
            return rng.choice(VICTIMS)
        return ""

    return wanted


class Run:
    """Updates on one board, one after the other."""

    def __init__(self, rig: Rig, rng: random.Random) -> None:
        self.rig, self.rng, self.counts = rig, rng, Counts()

    def update(self, kind: str, wanted: Callable[[str], str], hold: str = "") -> Update:
        self.rig.reset(hold)
        update, counts = Update(self.rig, kind, wanted, self.rng), self.counts
        counts.ends[f"{kind} {update.run()}"] += 1
        counts.updates += 1
        for victim, name in update.killed:
            counts.kills[victim] += 1
            counts.points[name] += 1
        return update

    def every(self) -> None:
        for kind in (GOOD, UNWELL, DEAD):
            found = Counter(self.update(kind, lambda _: "").passed)
            calls = Counter((self.rig.folder / "loader" / "calls").read_text().split())
            points = [(name, number + 1, "") for name in found for number in range(found[name])]
            holds = [f"{name} {number + 1}" for name in HELD for number in range(calls[name])]
            points += [(f"loader {hold}", 1, hold) for hold in holds]
            for name, number, hold in points:
                for victim in VICTIMS:
                    killed = self.update(kind, Once(victim, name, number), hold).killed
                    self.counts.missed += not killed

    def random(self, kills: int) -> None:
        while self.counts.kills.total() < kills:
            kind = self.rng.choice((GOOD, GOOD, UNWELL, DEAD))
            hold = f"{self.rng.choice(HELD)} {self.rng.randint(1, 3)}" if self.rng.random() < 0.5 else ""
            self.update(kind, drawn(self.rng, self.rng.randint(1, 4)), hold)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rauc-kills-") as name:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the bus and RAUC first
        rig = Rig(Path(name))
        run = Run(rig, random.Random(given.seed))
        try:
            if given.every:
                run.every()
            run.random(given.kills)
        finally:
            rig.board.stop()
    counts = run.counts
    told = {"seed": given.seed, "updates": counts.updates, "kills": counts.kills, "missed": counts.missed}
    print(json.dumps(told | {"ends": counts.ends, "killed at": dict(counts.points.most_common())}))


if __name__ == "__main__":
    main()
