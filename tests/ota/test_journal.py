"""What the journal of updates keeps, for the version that runs and for the one that is fallen back to."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from ota_machine import Still

from agent.ota.journal import KEPT, Journal
from agent.ota.plan import State, Task
from agent.requests import LOCAL
from agent.store import Limits, Store

BEFORE_LANES = {"emergency", "lane", "ends_as"}


def task(**changes: object) -> Task:
    told = {"state": State.DOWNLOADING, "done": ("agent",), "facts": {"digest": "d"}, "percent": 40, **changes}
    return Task("main/job-1/1", "main", "job-1", 1, {"a": 1}, 1.0, **told)  # type: ignore[arg-type]


def records(folder: Path) -> list[dict[str, object]]:
    with sqlite3.connect(folder / "hub.db") as database:
        return [json.loads(row[0]) for row in database.execute("SELECT record FROM ota_tasks")]


async def again(folder: Path, kept: Task | None = None) -> Task:
    """The task as the next process finds it, after `kept` was written."""
    store = Store.open(folder, Limits(ballast=4096))
    try:
        journal = Journal(store, Still())
        await journal.load()
        if kept is not None:
            await journal.put(kept)
            await journal.load()
        (found,) = journal.tasks.values()
        return found
    finally:
        await store.close()


@pytest.mark.parametrize(
    "changes", [{}, {"state": State.ROLLING_BACK, "lane": "zigbee", "ends_as": State.CANCELED, "emergency": True}]
)
async def test_a_task_is_found_as_it_was_kept(tmp_path: Path, changes: dict[str, object]) -> None:
    kept = task(**changes)
    assert await again(tmp_path, kept) == kept
    assert await again(tmp_path) == kept


async def test_progress_does_not_overtake_a_move(tmp_path: Path) -> None:
    store = Store.open(tmp_path, Limits(ballast=4096))
    journal = Journal(store, Still())
    try:
        await journal.put(task())
        moving = asyncio.ensure_future(journal.put(task(state=State.VERIFIED)))
        await asyncio.sleep(0)
        journal.note(task(percent=50), durable=True)
        assert journal.tasks[(await moving).key].state == State.VERIFIED
    finally:
        await store.close()
    assert (await again(tmp_path)).state == State.VERIFIED


async def test_what_is_over_is_forgotten_in_time_also_where_a_person_asked_for_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path, Limits(ballast=4096))
    journal = Journal(store, Still())
    try:
        unheard = Task("main/job-1/1", "main", "job-1", 1, {}, 0.0, State.FAILED)
        await asyncio.gather(journal.put(unheard), *(journal.put(ended(number)) for number in range(KEPT + 20)))
        assert len(journal.tasks) == KEPT + 1, "nor held in memory"
    finally:
        await store.close()
    kept = [str(record["source"]) for record in records(tmp_path)]
    assert (kept.count(LOCAL), kept.count("main")) == (KEPT, 1), "what nobody has heard stays"


def ended(number: int) -> Task:
    return Task(f"{LOCAL}/{number}/1", LOCAL, str(number), 1, {}, float(number), State.SUCCEEDED)


async def test_a_version_that_knows_less_can_read_what_it_is_fallen_back_with(tmp_path: Path) -> None:
    await again(tmp_path, task())
    (record,) = records(tmp_path)
    assert not set(record) & BEFORE_LANES


async def test_what_a_later_version_has_written_is_passed_over(tmp_path: Path) -> None:
    await again(tmp_path, task())
    (record,) = records(tmp_path)
    with sqlite3.connect(tmp_path / "hub.db") as database:
        database.execute("UPDATE ota_tasks SET record = ?", (json.dumps({**record, "of_tomorrow": 1}),))
    assert await again(tmp_path) == task()
