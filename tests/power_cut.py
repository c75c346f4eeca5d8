"""Power cuts at every call that changes the disk: the list of points is made by a first run, so new code is covered by itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class PowerCut(BaseException):
    """Nothing runs after it: no handler of the product catches it, and what is left on the disk counts."""


class Cuts:
    """Counts the points of a run, or cuts the power at one of them. A point is before a rename, removal or sync, or after it."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.seen = at, 0

    def point(self) -> None:
        if self.at and self.seen >= self.at:
            raise PowerCut  # dead: also for what a `finally` tries to do
        self.seen += 1
        if self.seen == self.at:
            raise PowerCut


@contextmanager
def cutting(at: int = 0) -> Iterator[Cuts]:
    """The power fails at point `at`, counted from 1; 0 only counts."""
    cuts = Cuts(at)
    with pytest.MonkeyPatch.context() as patched:
        for owner, name in ((os, "fsync"), (Path, "replace"), (os, "unlink"), (os, "rmdir")):
            whole = getattr(owner, name)

            def call(*arguments: Any, whole: Any = whole, **more: Any) -> Any:
                cuts.point()
                answer = whole(*arguments, **more)
                cuts.point()
                return answer

            patched.setattr(owner, name, call)
        yield cuts
