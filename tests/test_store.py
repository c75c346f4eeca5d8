"""The store on a real SQLite file: what was acknowledged is there, whatever happens to process or disk."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent import store as store_module
from agent.errors import StorageError
from agent.requests import LANE_DIALOGUE, LANE_STATE
from agent.store import DROP_OUTBOX, PUT_OUTBOX, Limits, Statement, Store

SMALL = Limits(ballast=64 * 1024)


def outbox_row(identifier: int, lane: int = LANE_STATE, size: int = 100) -> tuple[Any, ...]:
    return (identifier, "main", lane, "state", "dev", "", "x" * size, 1.0, "trusted", "boot", 1.0)


async def ids(store: Store) -> list[int]:
    rows = await store.read(lambda db: db.execute("SELECT id FROM outbox ORDER BY id").fetchall())
    return [row[0] for row in rows]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path, SMALL)
    yield opened
    if opened.stats.failed:
        opened._db.close()
    else:
        await opened.close()


async def test_statements_of_one_call_are_one_transaction(store: Store) -> None:
    bad = Statement("INSERT INTO no_such_table VALUES (?)", [(1,)])
    with pytest.raises(StorageError):
        await store.submit([Statement(PUT_OUTBOX, [outbox_row(1)]), bad])
    with closing(sqlite3.connect(store._folder / "hub.db")) as other:
        assert other.execute("SELECT COUNT(*) FROM outbox").fetchone()[0] == 0


async def test_reads_see_everything_submitted_before(store: Store) -> None:
    store.submit([Statement(PUT_OUTBOX, [outbox_row(n) for n in range(1, 4)])], window=60.0)
    store.submit([Statement(DROP_OUTBOX, [("main", LANE_STATE, 2)])], window=60.0)
    assert await ids(store) == [1, 3]
    assert store.stats.backlog[("main", LANE_STATE)] == 2


async def test_a_burst_is_one_commit(store: Store) -> None:
    before = store.stats.commits
    futures = [store.submit([Statement(PUT_OUTBOX, [outbox_row(n)])], window=0.2) for n in range(1, 101)]
    await asyncio.gather(*futures)
    assert store.stats.commits - before == 1


async def test_a_reader_that_fails_costs_nobody_else_anything(store: Store) -> None:
    def wrong(_db: sqlite3.Connection) -> None:
        raise KeyError("a mistake of the reader")

    written = store.submit([Statement(PUT_OUTBOX, [outbox_row(1)])])
    with pytest.raises(KeyError):
        await store.read(wrong)
    await written
    assert await ids(store) == [1]


async def test_ids_and_message_ids_grow_across_restarts(tmp_path: Path) -> None:
    seen: list[int] = []
    names: list[str] = []
    for _ in range(3):
        opened = Store.open(tmp_path, SMALL)
        seen += [opened.next_id() for _ in range(5)]
        names += [opened.message_id(identifier) for identifier in seen[-5:]]
        await opened.close()
    assert seen == sorted(set(seen))
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {32}


async def test_the_backlog_is_known_at_open_without_counting(tmp_path: Path) -> None:
    first = Store.open(tmp_path, SMALL)
    await first.submit([Statement(PUT_OUTBOX, [outbox_row(n) for n in range(1, 501)])])
    await first.close()
    second = Store.open(tmp_path, SMALL)
    assert second.stats.backlog[("main", LANE_STATE)] == 500
    await second.close()


async def test_a_newer_database_is_refused_with_a_sentence(tmp_path: Path) -> None:
    await Store.open(tmp_path, SMALL).close()
    with closing(sqlite3.connect(tmp_path / "hub.db")) as database:
        database.execute("PRAGMA user_version = 999")
    with pytest.raises(StorageError, match="schema 999") as caught:
        Store.open(tmp_path, SMALL)
    assert "newer agent" in caught.value.remedy


async def test_a_schema_that_only_adds_lets_the_agent_before_open_the_database(tmp_path: Path) -> None:
    """It runs again when an update is taken back; 2 is the last version that it knows."""
    for _ in range(2):
        await Store.open(tmp_path, SMALL).close()
        with closing(sqlite3.connect(tmp_path / "hub.db")) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (1,)
            assert database.execute("SELECT count(*) FROM ota_devices").fetchone() == (0,)


async def test_a_file_that_is_no_database_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StorageError) as caught:
        Store.open(tmp_path, SMALL)
    assert caught.value.remedy


async def test_over_its_bytes_the_oldest_state_goes_and_the_dialogue_stays(tmp_path: Path) -> None:
    store = Store.open(tmp_path, Limits(max_bytes=1 << 20, ballast=4096))
    await store.submit([Statement(PUT_OUTBOX, [outbox_row(n, LANE_DIALOGUE) for n in range(1, 101)])])
    for start in range(1000, 9000, 500):
        await store.submit([Statement(PUT_OUTBOX, [outbox_row(n) for n in range(start, start + 500)])])
    left = await ids(store)
    assert left[:100] == list(range(1, 101))
    assert left[-1] == 8999
    assert 1000 not in left
    shed = store.stats.shed[(LANE_STATE, "bytes")]
    assert shed == 8000 - (len(left) - 100)
    await store.close()
    again = Store.open(tmp_path, SMALL)
    assert again.stats.shed[(LANE_STATE, "bytes")] == shed
    await again.close()


async def test_what_is_too_old_goes_and_is_counted(store: Store) -> None:
    await store.submit([Statement(PUT_OUTBOX, [outbox_row(n) for n in range(1, 11)])])
    await store.shed_older_than(2.0)
    assert await ids(store) == []
    assert store.stats.shed[(LANE_STATE, "age")] == 10
    assert store.stats.backlog[("main", LANE_STATE)] == 0


class FailingConnection(sqlite3.Connection):
    """Fails at COMMIT as SQLite does when fsync returns EIO."""

    broken = False

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and FailingConnection.broken:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)


async def test_a_failed_fsync_ends_the_store_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(store_module.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=FailingConnection))
    FailingConnection.broken = False
    store = Store.open(tmp_path, SMALL)
    await store.submit([Statement(PUT_OUTBOX, [outbox_row(1)])])
    FailingConnection.broken = True
    with pytest.raises(StorageError, match="disk failed"):
        await store.submit([Statement(PUT_OUTBOX, [outbox_row(2)])])
    FailingConnection.broken = False
    with pytest.raises(StorageError):
        await store.submit([Statement(PUT_OUTBOX, [outbox_row(3)])])
    assert "disk failed" in await store.failed
    store._db.close()
    monkeypatch.undo()
    again = Store.open(tmp_path, SMALL)
    assert await ids(again) == [1]
    await again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, full after 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system to fill")
async def test_a_full_disk_sheds_history_keeps_the_dialogue_and_recovers(small_disk: Path) -> None:
    store = Store.open(small_disk, Limits(ballast=256 * 1024))
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 1024 * 1024)
    number = 0
    while not store.stats.shed[(LANE_STATE, "disk_full")]:
        number += 1
        rows = [outbox_row(number * 1000 + n, size=400) for n in range(200)]
        await store.submit([Statement(PUT_OUTBOX, rows)])
        assert number < 100, "the disk never filled"
    assert store.stats.full
    await store.submit([Statement(PUT_OUTBOX, [outbox_row(999_999, LANE_DIALOGUE)])])
    assert 999_999 in await ids(store)
    filler.unlink()
    await store.submit([Statement(PUT_OUTBOX, [outbox_row(5)])])
    assert not store.stats.full
    assert (small_disk / "ballast").stat().st_size == 256 * 1024
    assert store.stats.backlog[("main", LANE_STATE)] == len(await ids(store)) - 1
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from agent.store import Limits, PUT_OUTBOX, Statement, Store

async def main():
    store = Store.open(Path(sys.argv[1]), Limits(ballast=4096))
    while True:
        rows = [(store.next_id(), "main", 2, "state", "d", "", "b", 1.0, "trusted", "", 1.0) for _ in range(5)]
        await store.submit([Statement(PUT_OUTBOX, rows)])
        print(rows[-1][0], flush=True)

asyncio.run(main())
"""


async def test_kill_at_random_instants_loses_nothing_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    acknowledged: list[int] = []
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        acknowledged.append(int(process.stdout.readline()))
        end = time.monotonic() + rng.uniform(0.0, 0.1)
        while time.monotonic() < end:
            acknowledged.append(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        process.stdout.close()
        process.wait()
    store = Store.open(tmp_path, SMALL)
    present = set(await ids(store))
    assert set(acknowledged) <= present
    assert store.stats.backlog[("main", LANE_STATE)] == len(present)
    assert len(acknowledged) > 20
    await store.close()
