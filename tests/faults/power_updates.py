"""Whole updates of the agent under power cuts: always a whole version to start, exactly one final status, and it is the truth."""

import asyncio
import random
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from faults.power_fs import Life, Tell
from faults.power_scenario import LostError, Scenario
from faults.update_kills import CORRUPT, CRASHING, GOOD, UNWELL, Cycle, Site, judge

from agent.ota.appliers.slots import STARTS
from agent.ota.journal import Journal
from agent.ota.plan import FINAL, Task

MOST_LIVES = 100
_KINDS = cycle((GOOD, CRASHING, UNWELL, GOOD, CORRUPT))  # in turn: a short run has each of them


class Updates(Scenario):
    """One update on each disk."""

    name, most, reach = "updates", 12, (40, 600)

    def __init__(self, folder: Path, rng: random.Random) -> None:
        super().__init__(folder, rng)
        self.cycle = self._cycle(folder / "hub")
        self.lives = 0
        self.where = "before"
        self.moves: Counter[str] = Counter()  # of the task, that were on disk before anything followed from them

    def _cycle(self, folder: Path) -> Cycle:
        return Cycle(folder, next(_KINDS), self.site())

    def site(self) -> Site | None:
        """Where the files of the update are fetched."""
        return None

    def take(self, word: str, *told: Any) -> None:
        if word == "moved":
            self.where = told[0]
            self.moves[told[0]] += 1
        elif word == "found":
            self.where = told[0]
        elif word == "judged":
            self.over = True

    def judge(self, life: Life) -> None:
        self.lives += 1
        if not life.cut and life.code:
            raise LostError(f"a life without a cut ended with {life.code} as {self.where}")
        if self.over:
            self.ends[f"{self.cycle.kind} {self.where}"] += 1

    def live(self, tell: Tell) -> None:
        """One start of the service, after what the cuts have left was looked at; after the end, starts that must not change anything."""
        found = self.cycle.states()
        if self.lives > MOST_LIVES:
            slots = self.cycle.machine.board.folder
            files = {path.name: path.read_text() for path in (slots / "trial", slots / "fell-back") if path.exists()}
            raise LostError(f"no end: {found}; {(slots / 'current').readlink()} is selected, {files}")
        if not self.cycle.whole():
            raise LostError(f"a half-active version: {found}")
        lost = self.moves - Counter(state for state, kind in found if kind == "event")
        if lost:
            raise LostError(f"moves of the journal are lost: {lost}; it says {found}")
        if found and found[0][0] in FINAL:  # perhaps it was written, and the power went before anybody heard
            tell("found", found[0][0])
            for _ in range(STARTS + 1):
                judge(self.cycle)
            tell("judged")
            return
        tell("works")
        if self.cycle.machine.board.start():
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(Journal, "put", _telling(tell))
                asyncio.run(self.cycle.machine.work_on(self.cycle.document))


def _telling(tell: Tell) -> Any:
    really = Journal.put

    async def put(journal: Journal, task: Task, *, floor: str = "") -> Task:
        before = journal.tasks.get(task.key)
        kept = await really(journal, task, floor=floor)
        if before is None or before.state != task.state:
            tell("moved", task.state)
        return kept

    return put
