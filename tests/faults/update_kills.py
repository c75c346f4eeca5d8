"""Whole updates with kill -9 at random instants: prints one JSON line of counts. Run by test_update_kills.py.

Each life of the agent is a fork of this process, so that a start costs milliseconds; the launcher's own choice is made before each.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

from ota_machine import Machine, update
from slots_rig import CRASHES, SAYS, tar_of, tree

from agent.ota.appliers.unpack import digest
from agent.ota.plan import FINAL, State

GOOD, CRASHING, UNWELL, CORRUPT = "good", "crashing", "unwell", "corrupt"
MEMORY = Path("/dev/shm")  # a kill loses nothing that was written: the disk would only be waited for
LIFE = 10.0  # seconds: a life that moves ends long before


class Site(Protocol):
    """Where the files of an update lie, if not beside its manifest."""

    def take(self, told: dict[str, Any]) -> None:
        """Take the images from what is to be offered, and write their addresses there."""


class Cycle:
    """One update, from the first start to its end."""

    def __init__(self, folder: Path, kind: str, site: Site | None = None) -> None:
        self.machine, self.kind = Machine(folder), kind
        files = {f"agent/part{number}.py": os.urandom(20_000) for number in range(10)}
        parts = tar_of({"lib/deep/part.py": os.urandom(2000)})
        build = tree("2.0", CRASHES if kind == CRASHING else SAYS, files)
        told = update(("agent.tar.gz", build), "2.0", ("lib.tar.gz", parts))
        if kind == CORRUPT:
            told["images"]["agent.tar.gz"] = tree("6.6")
        if site is not None:
            site.take(told)
        self.document = self.machine.offer_files(**told)
        if kind == UNWELL:
            self.machine.checks = {"uplink": self._uplink}

    async def _uplink(self) -> str:
        return "no connection" if self.machine.board.running == "B" else ""

    def start(self) -> int:
        """A process that does what the service starts; 0 for a build that cannot even start."""
        said = self.machine.board.start()
        if not said:
            return 0
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(self.machine.to_the_end(self.document, lives=1, start=False))
            except BaseException:  # noqa: BLE001  a child never returns into the parent's code
                os._exit(75)
            os._exit(0)
        return child

    def states(self) -> list[tuple[str, str]]:
        """The state in the journal, and every end that it has seen."""
        path = self.machine.state / "hub.db"
        with sqlite3.connect(path) as db:
            try:
                rows = db.execute("SELECT record FROM ota_tasks").fetchall()
                ends = db.execute("SELECT after FROM ota_events").fetchall()
            except sqlite3.OperationalError:
                return []  # killed before there was a table
        db.close()
        return [(json.loads(row[0]).get("state", State.RECEIVED), "now") for row in rows] + [
            (row[0], "event") for row in ends
        ]

    def whole(self) -> bool:
        """Whether the selected slot is complete, as it was written."""
        slot = self.machine.board.folder / "current"
        listed = slot / "files.json"
        if not listed.exists():
            return slot.resolve().name == "A"
        return all(digest(slot / "site" / path) == wanted for path, wanted in json.loads(listed.read_bytes()).items())


def wait(child: int, seconds: float) -> int | None:
    """The exit code within `seconds`, or None."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.001)


def run(cycle: Cycle, rng: random.Random, counts: Counter[str], kills: Counter[str], most: int) -> None:
    """Kill it up to `most` times, then let it end; every claim is checked after each kill."""
    killed = 0
    for _ in range(200):
        child = cycle.start()
        if child == 0:
            continue
        code = wait(child, rng.triangular(0.0, 0.2, 0.03) if killed < most else LIFE)
        if code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if killed >= most:
                raise AssertionError(f"nothing moves within {LIFE} s: {cycle.states()}")
            killed += 1
            found = cycle.states()
            kills[found[0][0] if found else "before"] += 1
        if not cycle.whole():
            raise AssertionError(f"a half-active version: {cycle.states()}")
        if code == 0:
            break
    else:
        raise AssertionError(f"no end: {cycle.states()}")
    judge(cycle)
    counts[f"{cycle.kind} {cycle.states()[0][0]}"] += 1


def judge(cycle: Cycle) -> None:
    """Exactly one final status, and it is the truth."""
    found = cycle.states()
    ends = [state for state, kind in found if kind == "event" and state in FINAL]
    if len(ends) != 1 or ends[0] != found[0][0]:
        raise AssertionError(f"not one end: {found}")
    version = cycle.machine.board.start().split()[0]
    if (ends[0] == State.SUCCEEDED) != (version == "2.0"):
        raise AssertionError(f"{ends[0]}, and {version} runs")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    rng, counts, kills = random.Random(arguments.seed), Counter[str](), Counter[str]()
    updates = 0
    while kills.total() < arguments.kills:
        folder = Path(tempfile.mkdtemp(prefix="update-kills-", dir=MEMORY if MEMORY.is_dir() else None))
        kind = rng.choices((GOOD, CRASHING, UNWELL, CORRUPT), (5, 2, 2, 1))[0]
        run(Cycle(folder / "hub", kind), rng, counts, kills, rng.randint(2, 12))
        shutil.rmtree(folder)
        updates += 1
    told: dict[str, Any] = {"seed": arguments.seed, "updates": updates, "kills": kills.total()}
    print(json.dumps(told | {"killed in": dict(kills.most_common()), "ends": dict(counts.most_common())}))


if __name__ == "__main__":
    main()
