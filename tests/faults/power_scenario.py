"""What power cuts are tried on: something that works, tells what it was promised, and looks whether that is still so."""

import random
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from faults.power_fs import Life, Tell


class LostError(Exception):
    """Something that was promised is not there, or something is there that cannot be."""


class Scenario(ABC):
    """On one disk. Made before it is mounted at `folder`: what is written there then is on the disk."""

    name: ClassVar[str]
    most: ClassVar[int]  # cuts on one disk
    reach: ClassVar[tuple[int, int]] = (
        30,
        300,
    )  # changes within which a cut comes: at the start of a life, in all of it

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.last = self.over = False
        self.ends: Counter[str] = Counter()  # for people
        self.where = ""  # what went on when the power went, for people
        self.seed = 0  # of the life that comes

    def instant(self) -> int:
        """At which change of the next life the power goes: often while it still recovers from the cut before."""
        self.seed = self.rng.getrandbits(32)
        return self.rng.randint(1, self.rng.choice(self.reach))

    @abstractmethod
    def live(self, tell: Tell) -> None:
        """In a process of its own: look, then work until the power goes; with `last` only look. Raises LostError."""

    @abstractmethod
    def take(self, word: str, *told: Any) -> None:
        """Something that a life has told, in order."""

    def hear(self, life: Life) -> None:
        """Take in what a life has told, and how it ended. Raises LostError for what it has found."""
        for word, *told in life.told:
            if word == "failed":
                raise LostError(*told)
            self.take(word, *told)
        self.judge(life)

    def judge(self, life: Life) -> None:
        """Whether it is over, or goes on with another life."""
        if not life.cut and not self.last:
            raise LostError(f"a life without a cut ended with {life.code}")
        self.over = self.last
