"""The store and the journal of updates under power cuts: what was acknowledged is there, and transactions are whole and in their order."""

import asyncio
import json
import random
import sqlite3
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from faults.power_fs import Tell
from faults.power_scenario import LostError, Scenario
from ota_machine import Still

from agent import records
from agent.files import make_folder
from agent.model import DeviceId
from agent.ota.journal import Journal
from agent.ota.plan import State, Task
from agent.requests import FinishCommand, Kind, Message, SaveCommand
from agent.store import Limits, Statement, Store

Effect = tuple[str, str, Any]  # table, key, value; None for a row that goes
Content = dict[tuple[str, str], Any]
LIMITS = Limits(ballast=16 * 4096)  # a checkpoint every 16 pages
OUTBOX, COMMANDS, TASKS, EVENTS = "outbox", "commands", "tasks", "events"
BULB = DeviceId("zigbee", "1")


class Rows(Scenario):
    """Outbox rows, commands that end with their Outcome, and update tasks."""

    name, most = "store", 40

    def __init__(self, folder: Path, rng: random.Random) -> None:
        super().__init__(folder, rng)
        self.rows: Content = {}
        self.tried: deque[list[Effect]] = deque()  # what may be there too, in order
        self.highest = self.number = 0

    def take(self, word: str, *told: Any) -> None:
        match word:
            case "tried":
                self.tried.append([(table, key, value) for table, key, value in told[0]])
                self.number = told[1]
            case "kept":
                _apply(self.rows, self.tried.popleft())
            case "found":
                for _ in range(told[0]):
                    _apply(self.rows, self.tried.popleft())
                self.tried.clear()
            case "id":
                if told[0] <= self.highest:
                    raise LostError(f"the id {told[0]} was given before: {self.highest}")
                self.highest = told[0]

    def live(self, tell: Tell) -> None:
        asyncio.run(self._live(tell))

    async def _live(self, tell: Tell) -> None:
        make_folder(self.folder / "state")
        store = Store.open(self.folder / "state", LIMITS)
        tell("found", self._found(await store.read(_whole)))
        if self.last:
            await store.close()
            return
        hand = _Hand(self, tell)
        while True:
            await hand.work(store, self.rng.randint(1, 60))
            await store.close()  # an orderly stop: its checkpoint and the removal of the log have cuts too
            store = Store.open(self.folder / "state", LIMITS)

    def _found(self, found: Content) -> int:
        """How many of the transactions that nobody was promised are there. Raises LostError for what no order of events explains."""
        rows = dict(self.rows)
        for count in range(len(self.tried) + 1):
            if rows == found:
                for effects in list(self.tried)[:count]:
                    _apply(self.rows, effects)
                return count
            if count < len(self.tried):
                _apply(rows, self.tried[count])
        gone = sorted(set(self.rows) - set(found) - {(table, key) for one in self.tried for table, key, _ in one})
        changed = [key for key, value in found.items() if self.rows.get(key) != value]
        raise LostError(f"{len(gone)} acknowledged rows lost {gone[:5]}; other rows {changed[:5]}")


class _Hand:
    """What one life writes."""

    def __init__(self, scenario: Rows, tell: Tell) -> None:
        self._rows, self._tell, self._rng = dict(scenario.rows), tell, random.Random(scenario.seed)
        self._number = scenario.number
        self._writing: deque[tuple[list[Effect], asyncio.Future[None]]] = deque()

    async def work(self, store: Store, steps: int) -> None:
        journal = Journal(store, Still())
        await journal.load()
        for _ in range(steps):
            kind = self._rng.random()
            if kind < 0.2:
                await self._settled()
                await self._task(journal)
            else:
                one = self._spool if kind < 0.6 else self._forget if kind < 0.75 else self._command
                self._submit(store, *one(store))
            if self._rng.random() < 0.4:
                await self._settled()
        await self._settled()

    def _try(self, effects: list[Effect]) -> None:
        self._number += 1
        self._tell("tried", effects, self._number)

    def _submit(self, store: Store, statements: list[Statement], effects: list[Effect]) -> None:
        if effects:
            self._try(effects)
            _apply(self._rows, effects)
            self._writing.append((effects, store.submit(statements)))

    async def _settled(self) -> None:
        """Several go into one commit; each is promised once it is done."""
        while self._writing:
            _, done = self._writing.popleft()
            await done
            self._tell("kept")

    def _message(self, store: Store, trace: str = "") -> tuple[Message, Effect]:
        identifier = store.next_id()
        self._tell("id", identifier)
        size = self._rng.choice((10, 200, 3000))
        body = {"n": self._number, "pad": f"{self._number}:" * (size // 8)}
        now = Still().now()
        message = records.stamp(
            identifier, "main", Kind.STATE if not trace else Kind.OUTCOME, "zigbee/1", trace, body, now
        )
        return message, (OUTBOX, str(identifier), self._number)

    def _spool(self, store: Store) -> tuple[list[Statement], list[Effect]]:
        made = [self._message(store) for _ in range(self._rng.randint(1, 5))]
        return [records.put_outbox([message for message, _ in made])], [effect for _, effect in made]

    def _forget(self, _store: Store) -> tuple[list[Statement], list[Effect]]:
        keys = [key for table, key in self._rows if table == OUTBOX]
        gone = keys[: self._rng.randint(1, 8)] if len(keys) > 30 else keys[:1]
        lanes = [(lane, int(key)) for key in gone for lane in range(4)]
        return [records.drop_outbox("main", lanes)], [(OUTBOX, key, None) for key in gone]

    def _command(self, store: Store) -> tuple[list[Statement], list[Effect]]:
        """A command is taken, started, or ends with its Outcome in the outbox, in one transaction."""
        running = [key for (table, key), value in self._rows.items() if table == COMMANDS and value != "ended"]
        if len(running) < 4:
            trace = f"trace-{self._number}"
            return [_saved(trace, "waiting")], [(COMMANDS, trace, "waiting")]
        trace = self._rng.choice(running)
        if self._rows[(COMMANDS, trace)] == "waiting":
            return [_saved(trace, "started")], [(COMMANDS, trace, "started")]
        message, effect = self._message(store, trace)
        statements = [records.end_command(FinishCommand(trace, 0.0, succeeded=True)), records.put_outbox([message])]
        return statements, [(COMMANDS, trace, "ended"), effect]

    async def _task(self, journal: Journal) -> None:
        """An update task moves, with its event."""
        key = f"local/{self._rng.randint(1, 3)}/1"
        before = journal.tasks.get(key) or Task(key, "local", key, 1, {}, 0.0)
        states = [state for state in State if state != before.state]
        task = replace(before, state=self._rng.choice(states), detail=str(self._number), told=False)
        events = self._rows.get((EVENTS, key), 0) + 1
        effects: list[Effect] = [(TASKS, key, [task.state, task.detail]), (EVENTS, key, events)]
        self._try(effects)
        await journal.put(task)
        _apply(self._rows, effects)
        self._tell("kept")


def _apply(rows: Content, effects: list[Effect]) -> None:
    for table, key, value in effects:
        if value is None:
            rows.pop((table, key), None)
        else:
            rows[(table, key)] = value


def _saved(trace: str, status: str) -> Statement:
    return records.put_command(SaveCommand(trace, BULB, "bulb", (), status, "main", 0.0, 0.0))


def _whole(db: sqlite3.Connection) -> Content:
    """All rows as effects have them. Raises LostError for a database that is not sound."""
    sound = [row[0] for row in db.execute("PRAGMA integrity_check")]
    if sound != ["ok"]:
        raise LostError(f"integrity_check: {sound[:3]}")
    rows: Content = {}
    for key, body in db.execute("SELECT id, body FROM outbox"):
        told = json.loads(body)
        if set(told["pad"].split(":")) > {str(told["n"]), ""}:
            raise LostError(f"row {key} is torn: {body[:80]}")
        rows[(OUTBOX, str(key))] = told["n"]
    rows |= {(COMMANDS, key): status for key, status in db.execute("SELECT trace_id, status FROM commands")}
    for key, record in db.execute("SELECT key, record FROM ota_tasks"):
        told = json.loads(record)  # what is as it always was is left out
        rows[(TASKS, key)] = [told.get("state", State.RECEIVED), told.get("detail", "")]
    rows |= {(EVENTS, key): count for key, count in db.execute("SELECT key, count(*) FROM ota_events GROUP BY key")}
    counted = sum(rows for (rows,) in db.execute("SELECT rows FROM backlog"))
    if counted != sum(table == OUTBOX for table, _ in rows):
        raise LostError(f"the backlog counts {counted} rows")
    return rows
