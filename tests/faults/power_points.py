"""One fault at each request that a whole update makes of its disk: prints one JSON line of counts. Run by test_refused_calls.py.

The list of points is what the kernel is asked for: every write, name, size and sync, SQLite's commits among them, whoever makes them and by
whatever function, so that new code is covered by itself. At each of them the agent is killed, or the disk says EIO or ENOSPC, once.
"""

import argparse
import errno
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.power_disk import Disk
from faults.power_fs import Life, PowerFs
from faults.power_scenario import LostError
from faults.power_updates import Updates
from faults.update_kills import CRASHING, GOOD, UNWELL, Cycle
from ota_machine import Machine, update
from slots_rig import CRASHES, SAYS, tar_of, tree

WORKS = b'["works"'  # before it, a life only looks at what there is
KILL, WAYS = "kill", {"kill": 0, "EIO": errno.EIO, "ENOSPC": errno.ENOSPC}
KINDS = (GOOD, UNWELL, CRASHING)
ENDS = {f"{GOOD} SUCCEEDED", f"{GOOD} FAILED", f"{UNWELL} FAILED", f"{CRASHING} FAILED"}


class Small(Cycle):
    """One update with as few files as show every part of it: two images, folders, a file of several writes."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.machine, self.kind = Machine(folder), kind
        build = tree("2.0", CRASHES if kind == CRASHING else SAYS, {"agent/data": bytes(range(256)) * 600})
        parts = tar_of({"lib/deep/part.py": b"part"})
        self.document = self.machine.offer_files(**update(("agent.tar.gz", build), "2.0", ("lib.tar.gz", parts)))
        if kind == UNWELL:
            self.machine.checks = {"uplink": self._uplink}


class Once(Updates):
    """An update with one fault in it."""

    kind = GOOD
    faulty = False  # the life that is heard had the fault in it

    def _cycle(self, folder: Path) -> Cycle:
        return Small(folder, self.kind)

    def hear(self, life: Life) -> None:
        if self.faulty and not life.cut:  # an error of the disk may end a life, and what was expected of it
            wrong = [told for word, *told in life.told if word == "failed" and "LostError" in told[0]]
            life.told = [told for told in life.told if told[0] != "failed"]
            life.code = 0
            if wrong:
                raise LostError(*wrong[0])
        super().hear(life)


class Run:
    """All faults of one kind of update; `points` is how many requests it makes without one."""

    def __init__(self) -> None:
        self.ends, self.tried, self.missed = Counter[str](), Counter[str](), 0

    def update(self, kind: str, way: str = "", at: int = 0) -> int:
        """One update, with a fault at request `at`: how many it made. Raises LostError."""
        disk, once = Disk(), type("Once", (Once,), {"kind": kind})
        with tempfile.TemporaryDirectory(prefix="power-points-", ignore_cleanup_errors=True) as name:
            scenario: Any = once(Path(name), random.Random(0))
            disk.take(Path(name))
            with PowerFs(Path(name), disk) as fs:
                fs.counts = WORKS
                fs.refused = (at, WAYS[way]) if way and way != KILL else (0, 0)
                while not scenario.over:
                    before = fs.requests
                    life = fs.life(scenario.live, at - before if way == KILL and at > before else 0)
                    scenario.faulty = before < at <= fs.requests
                    scenario.hear(life)
                    if life.cut:
                        fs.again()
                self.missed += at > fs.requests
                self.ends.update(scenario.ends)
                return fs.requests

    def all(self, kinds: tuple[str, ...], chosen: Callable[[int], range], told: dict[str, Any]) -> None:
        for kind in kinds:
            points = self.update(kind)
            told.setdefault("points", {})[kind] = points
            for at in chosen(points):
                for way in WAYS:
                    try:
                        self.update(kind, way, at)
                    except (LostError, TimeoutError) as error:
                        told["lost"] = f"{way} at request {at} of {points} of an update that is {kind}: {error}"
                        return
                    self.tried[f"{kind} {way}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1, help="try every so many-th point")
    parser.add_argument("--first", type=int, default=1, help="from this one on")
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unmounts first
    run, told = Run(), dict[str, Any]()
    run.all(tuple(given.kinds.split(",")), lambda points: range(given.first, points + 1, given.every), told)
    told = {"every": given.every, "first": given.first, "lost": "", **told}
    print(json.dumps(told | {"tried": run.tried, "missed": run.missed, "ends": run.ends}))
    sys.exit(1 if told["lost"] else 0)


if __name__ == "__main__":
    main()
