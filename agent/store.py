"""The durable half of the hub: one SQLite file, one writer thread, group commit.

The loop hands in operations and gets a future that is done after the fsync. The writer takes everything that waits, runs it as one
transaction and resolves all its futures with one call into the loop. Nothing polls: an idle store wakes nobody.

- Disk full: the ballast is given back to make room, history is shed by policy, and the batch is tried again until there is room. What
  waits stays in memory meanwhile, and is counted.
- A failed fsync or write (EIO): the page cache can no longer be believed. The store fails for good; the process restarts from disk.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

from agent import files
from agent.errors import StorageError
from agent.migrate import migrate
from agent.requests import LANE_EVENT, LANE_LOG, LANE_STATE
from agent.supervise import Pulse

log = logging.getLogger(__name__)

NAME = "hub.db"
BALLAST = "ballast"
SHED_ORDER = (LANE_LOG, LANE_STATE, LANE_EVENT)  # the dialogue (Outcomes, capability reports) is never shed
SHED_CHUNK = 100  # small enough that the room of the ballast holds the log of deleting them
FULL_RETRY = 2.0  # seconds between tries while the disk is full

STALLED_AFTER = 60.0  # seconds without a step of the writer; a worn card may hang for tens of them
PAGE = 4096

Row = tuple[Any, ...]

PUT_OUTBOX = "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
TOGETHER = 20  # rows in one INSERT: each step of SQLite gives the interpreter away and takes it back
_PUT_TOGETHER = f"{PUT_OUTBOX}{', (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)' * (TOGETHER - 1)}"
DROP_OUTBOX = "DELETE FROM outbox WHERE uplink = ? AND lane = ? AND id = ?"
SHED_OLD = "DELETE FROM outbox WHERE uplink = ? AND lane = ? AND wall < ? AND quality = 'trusted'"
_LANE_OF = itemgetter(1, 2)  # of a row of PUT_OUTBOX


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and its parameter rows; a transaction is a list of them."""

    sql: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the outbox: bytes in all, age in seconds, and the ballast that frees room on a full disk."""

    max_bytes: int = 64 * 1024 * 1024
    max_age: float = 14 * 86400.0
    ballast: int = 8 * 1024 * 1024


@dataclass(slots=True)
class _Job:
    statements: Sequence[Statement]
    done: asyncio.Future[Any]
    read: Callable[[sqlite3.Connection], Any] | None = None
    result: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Stats:
    """What the store has done and holds; backlog counts rows by (uplink, lane)."""

    commits: int = 0
    rows: int = 0
    full: bool = False
    failed: str = ""
    backlog: Counter[tuple[str, int]] = field(default_factory=Counter)
    shed: Counter[tuple[int, str]] = field(default_factory=Counter)


class Store:
    """Open with `Store.open`; every method is for the loop's thread."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, limits: Limits) -> None:
        self.stats = Stats()
        self.limits = limits
        self._folder, self._db = folder, connection
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Condition()
        self._jobs: list[_Job] = []
        self._due = float("inf")
        self._closing = False
        self._pulse = Pulse(STALLED_AFTER)
        self.failed: asyncio.Future[str] = self._loop.create_future()
        self._epoch = int(self._one("SELECT value FROM meta WHERE key = 'epoch'")) << 32
        self._database_id = str(self._one("SELECT value FROM meta WHERE key = 'database_id'"))
        for uplink, lane, rows in connection.execute("SELECT uplink, lane, rows FROM backlog"):
            self.stats.backlog[(uplink, lane)] = rows
        for lane, reason, rows in connection.execute("SELECT lane, reason, rows FROM shed"):
            self.stats.shed[(lane, reason)] = rows
        self._shed_before = self.stats.shed.copy()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, folder: Path, limits: Limits) -> "Store":
        """The store in `folder`, migrated to this version's schema. Raises StorageError with the remedy."""
        path = folder / NAME
        try:
            with contextlib.ExitStack() as undo:
                connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                undo.callback(connection.close)
                path.chmod(0o600)
                prepare(connection, path, limits)
                files.reserve(folder / BALLAST, limits.ballast)
                undo.pop_all()
        except (sqlite3.Error, OSError) as error:
            remedy = "check the folder's owner and free space; a damaged file can be moved away: devices are read from the radios again"
            raise StorageError(f"the database cannot be opened: {error}", place=str(path), remedy=remedy) from error
        return cls(folder, connection, limits)

    def next_id(self) -> int:
        """A 64-bit id that grows for ever, also across restarts."""
        self._epoch += 1
        return self._epoch

    def message_id(self, identifier: int) -> str:
        """The id of a message for the world: unique for ever, the same on a redelivery."""
        return f"{self._database_id}{identifier:016x}"

    def submit(self, statements: Sequence[Statement], *, window: float = 0.0) -> "asyncio.Future[None]":
        """Run `statements` in one transaction, at the latest `window` seconds from now. Done after the fsync."""
        return self._put(_Job(statements, self._loop.create_future()), window)

    def read(self, query: Callable[[sqlite3.Connection], Any]) -> "asyncio.Future[Any]":
        """Run `query` on the writer's connection, after everything submitted before it."""
        return self._put(_Job((), self._loop.create_future(), query), 0.0)

    def stalled(self) -> bool:
        """The writer hangs in one step, or is dead although nobody ended it."""
        return self._pulse.stalled() or not (self._thread.is_alive() or self._closing)

    async def close(self) -> None:
        """Write what waits, give the log back to the file, and end the writer."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        await self._loop.run_in_executor(None, self._thread.join)
        self._db.close()

    def _put(self, job: _Job, window: float) -> "asyncio.Future[Any]":
        if self.stats.failed:
            job.done.set_exception(StorageError(self.stats.failed, place=str(self._folder / NAME)))
            return job.done
        due = time.monotonic() + window if window else 0.0
        with self._lock:
            self._jobs.append(job)
            if due < self._due:
                self._due = due
                self._lock.notify()
        return job.done

    def _one(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()[0]

    # ---- the writer's thread ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._closing and (not self._jobs or self._due > time.monotonic()):
                    self._lock.wait(None if not self._jobs else self._due - time.monotonic())
                jobs, self._jobs, self._due = self._jobs, [], float("inf")
            if jobs:
                with self._pulse.work():
                    self._commit_or_fail(jobs)
            elif self._closing:
                with contextlib.suppress(sqlite3.Error):  # the log is replayed at the next open
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return
            if self.stats.failed:
                return

    def _commit_or_fail(self, jobs: list[_Job]) -> None:
        try:
            self._commit(jobs)
        except Exception as error:  # a bug; without its writer the agent would take messages and keep none
            log.exception("the writer failed")
            self._fail(jobs, f"the writer failed: {error!r}")

    def _commit(self, jobs: list[_Job]) -> None:
        """Write what `jobs` want as one transaction, then read for those that ask; each future gets its own end."""
        batches = _batches(jobs)
        while batches:
            self._pulse.beat()  # a full disk is waited for, it does not hang the writer
            try:
                self._transaction(batches)
                break
            except sqlite3.Error as error:
                self._rollback()
                if not _is_full(error):
                    self._fail(jobs, f"the disk failed: {error}")
                    return
                if not self._make_room() and self._closing:
                    self._fail(jobs, "the disk is full")
                    return
        for job in jobs:
            if job.read is not None:
                self._read(job, job.read)
        self._loop.call_soon_threadsafe(_resolve, jobs)

    def _read(self, job: _Job, query: Callable[[sqlite3.Connection], Any]) -> None:
        try:
            job.result = query(self._db)
        except Exception as error:  # noqa: BLE001  raised again where the answer is awaited; it must not end the writer
            job.error = error

    def _transaction(self, batches: list[tuple[str, list[Row]]]) -> None:
        backlog = self.stats.backlog.copy()
        self._db.execute("BEGIN IMMEDIATE")
        for sql, rows in batches:
            self._run(sql, rows, backlog)
        self._bound(backlog)
        self._end_with(backlog)
        self.stats.commits += 1
        self.stats.rows += sum(len(rows) for _, rows in batches)
        if self.stats.full:
            self.stats.full = not self._ballast_back()

    def _end_with(self, backlog: Counter[tuple[str, int]]) -> None:
        """Commit, with the counters that this transaction has moved; they are believed only after it."""
        moved = [(*key, rows) for key, rows in backlog.items() if rows != self.stats.backlog.get(key)]
        self._db.executemany("INSERT OR REPLACE INTO backlog VALUES (?, ?, ?)", moved)
        counted = [(*key, rows) for key, rows in self.stats.shed.items() if rows != self._shed_before.get(key)]
        self._db.executemany("INSERT OR REPLACE INTO shed VALUES (?, ?, ?)", counted)
        self._db.execute("COMMIT")
        self.stats.backlog, self._shed_before = backlog, self.stats.shed.copy()

    def _run(self, sql: str, rows: list[Row], backlog: Counter[tuple[str, int]]) -> None:
        if sql is PUT_OUTBOX:
            single = len(rows) % TOGETHER
            self._db.executemany(sql, rows[:single])
            many = range(single, len(rows), TOGETHER)
            self._db.executemany(_PUT_TOGETHER, [list(chain.from_iterable(rows[i : i + TOGETHER])) for i in many])
            backlog.update(map(_LANE_OF, rows))
        elif sql is DROP_OUTBOX:
            for (uplink, lane), group in _by_lane(rows).items():
                before = self._db.total_changes
                self._db.executemany(sql, group)
                backlog[(uplink, lane)] -= self._db.total_changes - before
        elif sql is SHED_OLD:
            self._shed_old(rows[-1], backlog)
        else:
            self._db.executemany(sql, rows)

    def _bound(self, backlog: Counter[tuple[str, int]]) -> None:
        """Shed the oldest history once the file holds more than it may."""
        while self._used() > self.limits.max_bytes and self._shed("bytes", backlog):
            pass

    def _used(self) -> int:
        pages = self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")
        return int(pages) * PAGE

    def _shed(self, reason: str, backlog: Counter[tuple[str, int]]) -> int:
        """Drop one chunk of the oldest rows of the first lane that has any; returns how many."""
        for lane in SHED_ORDER:
            for uplink, number in [key for key, rows in backlog.items() if key[1] == lane and rows > 0]:
                cursor = self._db.execute(
                    "DELETE FROM outbox WHERE uplink = :uplink AND lane = :lane AND id IN "
                    "(SELECT id FROM outbox WHERE uplink = :uplink AND lane = :lane ORDER BY id LIMIT :rows)",
                    {"uplink": uplink, "lane": number, "rows": SHED_CHUNK},
                )
                dropped = cursor.rowcount
                backlog[(uplink, number)] = backlog[(uplink, number)] - dropped if dropped else 0
                if dropped:
                    self._count_shed(lane, reason, dropped)
                    return dropped
        return 0

    def _shed_old(self, row: Row, backlog: Counter[tuple[str, int]]) -> None:
        """Drop what the outbox has held since before a wall time; the dialogue stays."""
        for (uplink, lane), rows in list(backlog.items()):
            if lane in SHED_ORDER and rows > 0:
                dropped = self._db.execute(SHED_OLD, (uplink, lane, *row)).rowcount
                backlog[(uplink, lane)] -= dropped
                self._count_shed(lane, "age", dropped)

    def _count_shed(self, lane: int, reason: str, dropped: int) -> None:
        if dropped:
            self.stats.shed[(lane, reason)] += dropped
            log.warning("outbox over its bounds (%s): %d messages of lane %d shed", reason, dropped, lane)

    def shed_older_than(self, wall: float) -> "asyncio.Future[None]":
        """Drop what is older than `wall`; the caller makes sure that the clock is trusted."""
        return self.submit([Statement(SHED_OLD, [(wall,)])])

    # ---- trouble ----------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """The disk is full: give the ballast back and shed one chunk with the room that it makes; else wait for room."""
        if not self.stats.full:
            log.error("the disk is full: history is shed until there is room; nothing else stops")
        self.stats.full = True
        ballast = self._folder / BALLAST
        freed = ballast.exists()
        ballast.unlink(missing_ok=True)
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute("BEGIN IMMEDIATE")
            backlog = self.stats.backlog.copy()
            dropped = self._shed("disk_full", backlog)
            self._end_with(backlog)
        except sqlite3.Error:
            self._rollback()
            dropped = 0
        if not dropped and not freed:
            with self._lock:
                self._lock.wait_for(lambda: self._closing, FULL_RETRY)
        return bool(dropped or freed)

    def _ballast_back(self) -> bool:
        """Take the ballast again once there is room for it twice; sooner would fill the disk at the next commit."""
        room = os.statvfs(self._folder)
        if room.f_bavail * room.f_frsize < 2 * self.limits.ballast:
            return False
        return files.reserve(self._folder / BALLAST, self.limits.ballast)

    def _rollback(self) -> None:
        self.stats.shed = self._shed_before.copy()
        if self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the connection has given the transaction up already
                self._db.execute("ROLLBACK")

    def _fail(self, jobs: list[_Job], reason: str) -> None:
        """Stop writing for good: what the kernel dropped once, it will not bring back."""
        self.stats.failed = reason
        with self._lock:
            jobs = [*jobs, *self._jobs]
            self._jobs = []
        error = StorageError(
            reason, place=str(self._folder / NAME), remedy="check the disk; the agent restarts from what it holds"
        )
        self._loop.call_soon_threadsafe(_reject, jobs, error, self.failed)


def prepare(connection: sqlite3.Connection, path: Path, limits: Limits) -> None:
    """Pragmas, this version's schema, and the counter of starts. Raises StorageError for a newer schema."""
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # Half of the ballast: on a full disk the other half holds what a checkpoint and the deletion of old rows write.
    connection.execute(
        f"PRAGMA wal_autocheckpoint = {max(16, limits.ballast // PAGE // 2) if limits.ballast else 1000}"
    )
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection, path)
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('database_id', lower(hex(randomblob(8))))")
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', '0')")
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'")


def _batches(jobs: list[_Job]) -> list[tuple[str, list[Row]]]:
    """All statements in order, neighbours with the same SQL run as one."""
    batches: list[tuple[str, list[Row]]] = []
    for job in jobs:
        for statement in job.statements:
            if batches and batches[-1][0] is statement.sql:
                batches[-1][1].extend(statement.rows)
            else:
                batches.append((statement.sql, list(statement.rows)))
    return batches


def _by_lane(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row[0], row[1])].append(row)
    return groups


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.done.done():
            continue
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)


def _reject(jobs: list[_Job], error: StorageError, failed: "asyncio.Future[str]") -> None:
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(error)
    if not failed.done():
        failed.set_result(str(error))
