"""Power cuts at random instants: prints one JSON line of counts. Run by test_power_cuts.py.

Each life of what is tested looks first at what the cuts before it have left, then goes on working. A cut falls on one request to the disk,
whose number, like what is lost then, is from the seed.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # this tree, not what is installed
sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.power_controls import deaf, sabotage
from faults.power_disk import Disk
from faults.power_downloads import Downloads
from faults.power_files import Certificates, Files
from faults.power_fs import Life, PowerFs
from faults.power_rot import Rot
from faults.power_scenario import LostError, Scenario
from faults.power_store import Rows
from faults.power_updates import Updates

SCENARIOS: dict[str, type[Scenario]] = {one.name: one for one in (Rows, Files, Certificates, Downloads, Updates, Rot)}
FRESH = 3  # cuts on every other disk at most: many disks are new, where folders and files are still to be made


class Run:
    """Cuts of one scenario, on one disk after another; `counts` is what it comes to."""

    def __init__(self, scenario: str, seed: int, control: str = "") -> None:
        self.rng, self._kind, self._control = random.Random(seed), SCENARIOS[scenario], control
        self.cuts = self.disks = 0
        self.after, self.ways = Counter[str](), Counter[str]()
        self.where, self.ends = Counter[str](), Counter[str]()

    def disk(self, most: int) -> None:
        """One disk, from its first files to the end of its story, with up to `most` cuts. Raises LostError."""
        disk = Disk(deaf(self._control))
        with tempfile.TemporaryDirectory(prefix="power-cuts-", ignore_cleanup_errors=True) as name:
            scenario = self._kind(Path(name), self.rng)
            disk.take(Path(name))
            with PowerFs(Path(name), disk) as fs:
                if isinstance(scenario, Rot):
                    scenario.watch(disk)
                try:
                    self._story(scenario, fs, most)
                finally:
                    self.ways += disk.lost
        self.disks += 1

    def _story(self, scenario: Scenario, fs: PowerFs, most: int) -> None:
        left = most
        while not scenario.over:
            scenario.last = left == 0  # then it only looks, or goes to its end
            life = fs.life(scenario.live, 0 if scenario.last else scenario.instant())
            scenario.hear(life)
            if life.cut or (
                left and not scenario.over and self.rng.random() < 0.5
            ):  # or it has ended, and nothing runs
                left -= 1
                self._cut(life, fs)
                if isinstance(scenario, Rot):
                    scenario.age(fs.disk)
                self.where[scenario.where] += 1
        self.ends.update(scenario.ends)

    def _cut(self, life: Life, fs: PowerFs) -> None:
        fs.cut(self.rng)
        self.cuts += 1
        self.after[life.after or "rest"] += 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--control", default="", help="what is broken on purpose: it must be noticed")
    given = parser.parse_args()
    run, began, lost = Run(given.scenario, given.seed, given.control), time.monotonic(), ""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unmounts first
    with sabotage(given.control):
        while run.cuts < given.cuts and not lost:
            try:
                most = run.rng.choice((FRESH, SCENARIOS[given.scenario].most))
                run.disk(min(given.cuts - run.cuts, run.rng.randint(1, most)))
            except LostError as error:
                lost = str(error)
    told: dict[str, Any] = {"scenario": given.scenario, "seed": given.seed, "control": given.control, "lost": lost}
    told |= {"cuts": run.cuts, "disks": run.disks, "cuts/s": round(run.cuts / (time.monotonic() - began), 1)}
    told |= {"power went at": run.after, "unsynced": dict(sorted(run.ways.items()))}
    told |= {"went on": run.where} if set(run.where) != {""} else {}
    told |= {"ends": run.ends} if run.ends else {}
    print(json.dumps(told))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
