"""The durable outbox beside bare SQLite with the same group commit, and the time to open with and without a backlog."""

import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from agent.store import PUT_OUTBOX, Limits, Statement, Store

ROWS, BATCH, ROUNDS = 20_000, 100, 5
BACKLOG = 100_000


def row(number: int) -> tuple[Any, ...]:
    return (
        number,
        "main",
        2,
        "state",
        "thing",
        "",
        '[["1","matter.OnOff@1.4","OnOff",true,1.7e9]]',
        1.7e9,
        "trusted",
        "b",
        1.0,
    )


def bare(folder: Path, group: int) -> float:
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    columns = "id, uplink, lane, kind, device, trace_id, body, wall, quality, boot, mono"
    database.execute(f"CREATE TABLE outbox ({columns}, PRIMARY KEY (uplink, lane, id)) WITHOUT ROWID")
    begin = time.perf_counter()
    for start in range(0, ROWS, group):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(PUT_OUTBOX, [row(n) for n in range(start, min(ROWS, start + group))])
        database.execute("COMMIT")
    taken = time.perf_counter() - begin
    database.close()
    return ROWS / taken


async def ours(folder: Path) -> tuple[float, float]:
    """Rows a second, and rows in a commit: one group is being committed while the next one is made, as in the hub."""
    store = Store.open(folder, Limits())
    before = store.stats.commits
    begin = time.perf_counter()
    earlier: asyncio.Future[None] | None = None
    for start in range(0, ROWS, BATCH):
        group = store.submit([Statement(PUT_OUTBOX, [row(n) for n in range(start, start + BATCH)])])
        if earlier is not None:
            await earlier
        earlier = group
    if earlier is not None:
        await earlier
    taken = time.perf_counter() - begin
    commits = store.stats.commits - before
    await store.close()
    return ROWS / taken, ROWS / commits


async def opening(folder: Path, rows: int) -> float:
    store = Store.open(folder, Limits())
    if rows:
        await store.submit([Statement(PUT_OUTBOX, [row(n) for n in range(rows)])])
    await store.close()
    begin = time.perf_counter()
    store = Store.open(folder, Limits())
    taken = time.perf_counter() - begin
    await store.close()
    return taken


def main() -> None:
    ratios, speeds, groups = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=".") as one, tempfile.TemporaryDirectory(dir=".") as two:
            speed, group = asyncio.run(ours(Path(two)))
            base = bare(Path(one), round(group))
            groups.append(group)
        ratios.append(speed / base)
        speeds.append(speed)
    figure = {
        "rows_per_s": round(statistics.median(speeds)),
        "ratio_to_bare_sqlite": round(statistics.median(ratios), 2),
    }
    print(
        json.dumps(
            {"bench": "durable outbox", "group": round(statistics.median(groups)), "wanted_ratio": 0.8, **figure}
        )
    )
    times = {}
    for rows in (0, BACKLOG):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            times[rows] = asyncio.run(opening(Path(folder), rows))
    difference = round(times[BACKLOG] - times[0], 3)
    print(
        json.dumps(
            {
                "bench": "store open, seconds",
                "empty": round(times[0], 3),
                "rows_100000": round(times[BACKLOG], 3),
                "difference": difference,
            }
        )
    )


if __name__ == "__main__":
    main()
