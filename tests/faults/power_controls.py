"""Negative controls: what is broken on purpose, so that the power cuts must notice it."""

import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import agent.store
from agent.store import Limits

NORMAL = "synchronous=NORMAL"
FILES, FOLDERS = "no file fsync", "no folder fsync"  # of ours; SQLite has its own
WAL, DATABASE = "deaf WAL fsync", "deaf database fsync"  # the disk says yes and does nothing
BLIND = "blind read back"  # of the slot: whatever the disk gives is taken for what was written
# One fsync of the product each, by the function that calls it, or that calls the helper which does.
SITES = {
    "write_atomic file": ("agent.files", "write_atomic", False),
    "write_atomic folder": ("agent.files", "write_atomic", True),
    "make_folder": ("agent.files", "make_folder", True),
    "key removal": ("agent.private_files", "remove", True),
    "unpack file": ("agent.ota.appliers.unpack", "_write", False),
    "unpack folder": ("agent.ota.appliers.unpack", "unpack", True),
    "read-back file": ("agent.ota.readback", "_work", False),
    "image folder": ("agent.ota.image", "open", True),
    "slot folder": ("agent.ota.appliers.slots", "_write", True),
    "slot marks": ("agent.ota.appliers.slots", "_drop", True),
    "launcher file": ("agent.ota.launcher", "write", False),
    "launcher folder": ("agent.ota.launcher", "write", True),
    "launcher select": ("agent.ota.launcher", "select", True),
    "launcher fall back": ("agent.ota.launcher", "selected", True),
    "floor": ("agent.ota.floors", "_write", True),
}
_HELPERS = {("agent.files", "sync_folder"), ("agent.files", "write_atomic"), ("agent.ota.launcher", "sync")}


def deaf(control: str) -> Callable[[bool, bytes], bool]:
    """The syncs that the disk only pretends to do."""
    ending = {WAL: b".db-wal", DATABASE: b".db"}.get(control)
    return lambda folder, name: bool(ending) and not folder and name.endswith(ending or b"")


class _Anything:
    """A hash that is like any other."""

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@contextmanager
def sabotage(control: str) -> Iterator[None]:
    """The product without what `control` names; several syncs are joined by " + "."""
    with pytest.MonkeyPatch.context() as patched:
        if control == NORMAL:
            whole = agent.store.prepare

            def prepare(connection: sqlite3.Connection, path: Path, limits: Limits) -> None:
                whole(connection, path, limits)
                connection.execute("PRAGMA synchronous = NORMAL")

            patched.setattr(agent.store, "prepare", prepare)
        elif control == BLIND:
            for module in ("slots", "unpack"):
                patched.setattr(f"agent.ota.appliers.{module}.digest", lambda _path: _Anything())
        elif control in {FILES, FOLDERS} or control.split(" + ", maxsplit=1)[0] in SITES:
            patched.setattr(os, "fsync", _without(control, os.fsync))
        yield


def _callers(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Who syncs: the function that calls fsync, and where that is a helper the one that calls it."""
    while frame is not None:
        place = (frame.f_globals["__name__"], frame.f_code.co_name)
        yield place
        frame = frame.f_back if place in _HELPERS else None


def _without(control: str, really: Callable[[Any], None]) -> Callable[[Any], None]:
    sites = [] if control in {FILES, FOLDERS} else [SITES[name] for name in control.split(" + ")]

    def fsync(descriptor: Any) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        named = any((*place, folder) in sites for place in _callers(sys._getframe(1)))
        if not (named if sites else folder == (control == FOLDERS)):
            really(descriptor)

    return fsync
