"""The journal of updates: every move of a task is one transaction with its event, on disk before anything follows from it."""

import json
import sqlite3
from dataclasses import MISSING, asdict, fields
from typing import Any

from agent.clock import Clock
from agent.ota.plan import State, Task
from agent.requests import LOCAL
from agent.store import Statement, Store

_PUT = "INSERT OR REPLACE INTO ota_tasks VALUES (?, ?, ?, ?, ?)"
_EVENT = "INSERT INTO ota_events (key, at, before, after, detail) VALUES (?, ?, ?, ?, ?)"
_FORGET_EVENTS = (
    "DELETE FROM ota_events WHERE key IN (SELECT key FROM ota_tasks WHERE over = 1 AND told = 1 "
    "ORDER BY at DESC LIMIT -1 OFFSET ?)"
)
_FORGET = (
    "DELETE FROM ota_tasks WHERE key IN (SELECT key FROM ota_tasks WHERE over = 1 AND told = 1 "
    "ORDER BY at DESC LIMIT -1 OFFSET ?)"
)
_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
FLOOR = "ota_floor"  # meta
NOTE_WINDOW = 2.0  # seconds
_FIELDS = {field.name for field in fields(Task)}
_DEFAULTS = {field.name: field.default for field in fields(Task) if field.default is not MISSING}
KEPT = 100  # tasks that have ended, for people and against a job that is delivered again


class Journal:
    """Tasks and the version floor, in the hub's store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.tasks: dict[str, Task] = {}
        self._moving: set[str] = set()  # keys of tasks whose move is on its way to the disk

    async def load(self) -> str:
        """Read all tasks, in the order of their arrival; the floor as it was saved, "" for none."""
        self.tasks = {task.key: task for task in sorted(await self._store.read(_tasks), key=lambda task: task.received)}
        return str(await self._store.read(_floor))

    async def put(self, task: Task, *, floor: str = "") -> Task:
        """Keep a task; what has moved is an event too. `floor` goes into the same transaction. Raises StorageError."""
        before = self.tasks.get(task.key)
        now = self._clock.now().wall
        statements = [_row(task, now)]
        if before is None or before.state != task.state or before.component != task.component:
            moved = (task.key, now, before.state if before else "", task.state, task.detail or task.component)
            statements.append(Statement(_EVENT, [moved]))
        if floor:
            statements.append(Statement(_META, [(FLOOR, floor)]))
        if task.over:
            statements += [Statement(_FORGET_EVENTS, [(KEPT,)]), Statement(_FORGET, [(KEPT,)])]
        self._moving.add(task.key)
        try:
            await self._store.submit(statements)
        finally:
            self._moving.discard(task.key)
        self.tasks[task.key] = task
        if task.over:
            known = await self._store.read(_keys)
            self.tasks = {key: one for key, one in self.tasks.items() if key in known or not one.over}
        return task

    def note(self, task: Task, *, durable: bool) -> None:
        """Progress without a move: in memory, and on disk soon where `durable`; a restart may forget it. A move is not overtaken by it."""
        if task.key in self._moving:
            return
        self.tasks[task.key] = task
        if durable:
            written = self._store.submit([_row(task, self._clock.now().wall)], window=NOTE_WINDOW)
            written.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def events(self, key: str) -> list[tuple[float, str, str, str]]:
        """(wall seconds, before, after, detail) of a task, oldest first."""
        sql = "SELECT at, before, after, detail FROM ota_events WHERE key = ? ORDER BY id"
        return list(await self._store.read(lambda db: db.execute(sql, (key,)).fetchall()))


def _row(task: Task, wall: float) -> Statement:
    """What is as it always was is left out: a version that is fallen back to may not know it."""
    told = {name: value for name, value in asdict(task).items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
    record = json.dumps(told, separators=(",", ":"))
    waits = not task.told and task.source != LOCAL  # a person has looked, or will: nobody is told
    return Statement(_PUT, [(task.key, int(task.over), int(not waits), record, wall)])


def _keys(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT key FROM ota_tasks")}


def _tasks(db: sqlite3.Connection) -> list[Task]:
    return [_task(json.loads(row[0])) for row in db.execute("SELECT record FROM ota_tasks")]


def _task(data: dict[str, Any]) -> Task:
    """A record, also one of a later version that was tried and fell back."""
    told = {name: value for name, value in data.items() if name in _FIELDS}
    told |= {name: State(told[name]) for name in ("state", "ends_as") if name in told}
    return Task(**{**told, "done": tuple(told.get("done", ()))})


def _floor(db: sqlite3.Connection) -> str:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (FLOOR,)).fetchone()
    return row[0] if row else ""
