"""What the cloud must hear, and what it has heard: every promise that is not kept has a sentence.

Promises are made only of what the hub has certainly accepted: commands that the broker took (QoS 1, its session is kept); rows of the
outbox of a dead hub; presses and reports while hub and radio were up.
"""

import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from faults.home import TEMPERATURE, Property

Message = dict[str, Any]
INITIAL_VALUES = 2000  # what the climate sensors measured before the storm is this and more; the storm counts from 0


class Ledger:
    """`heard` grows as messages arrive; `things` maps device names to managed thing ids."""

    def __init__(self, heard: list[Message]) -> None:
        self._heard = heard
        self._taken = 0
        self.things: dict[str, str] = {}
        # promises
        self.commands: dict[str, str] = {}  # trace -> managed thing
        self.accepted: dict[str, str] = {}  # message id -> what it is
        self.presses: Counter[int] = Counter()  # button -> presses that must arrive
        self.temperatures: set[tuple[str, int]] = set()  # (device, value) that must arrive
        # what was heard
        self.messages: dict[str, Message] = {}  # by id, as it came first
        self.outcomes: dict[str, dict[str, Message]] = defaultdict(dict)  # trace -> message id -> message
        self.values: dict[tuple[str, Property], Any] = {}  # (managed thing, property) -> last value in order of arrival
        self.duplicates = 0
        self.wrong: list[str] = []
        self._events: Counter[tuple[str, int]] = Counter()
        self._temperatures: set[tuple[str, int]] = set()
        self._highest: dict[str, tuple[int, str]] = {}
        self._latest: dict[tuple[str, str], tuple[str, str]] = {}

    def take(self) -> None:
        """Take in what has arrived since the last time."""
        while self._taken < len(self._heard):
            message = self._heard[self._taken]
            self._taken += 1
            identifier = message["messageId"]
            first = self.messages.setdefault(identifier, message)
            if first is not message:
                self.duplicates += 1
                if first != message:
                    self.wrong.append(f"two messages have the id {identifier}: {first} and {message}")
            for told, value in _properties(message):
                self.values[(message["managedThingId"], told)] = value
            if first is message:
                self._take_first(message)

    def _take_first(self, message: Message) -> None:
        kind, thing = message["messageType"], message.get("managedThingId", "")
        key, stamp = (thing, kind), (message["timestamp"], message["messageId"])
        if thing and stamp < self._latest.get(key, ("", "")):
            self.wrong.append(f"order: {kind} {stamp} of {self._name(thing)} came after {self._latest[key]}")
        self._latest[key] = stamp
        if kind == "DEVICE_COMMAND":
            self.outcomes[message["traceId"]][message["messageId"]] = message
        if kind == "DEVICE_EVENT":
            self._events.update(_presses(message))
        for told, value in _properties(message):
            if told == TEMPERATURE:
                self._grows(thing, value, message["messageId"])

    def _grows(self, thing: str, value: int, identifier: str) -> None:
        before, earlier = self._highest.get(thing, (-1, ""))
        if before > value and before < INITIAL_VALUES:
            self.wrong.append(
                f"order: {self._name(thing)}: {before} ({earlier}) was followed by {value} ({identifier})"
            )
        self._highest[thing] = (value, identifier)
        self._temperatures.add((self._name(thing), value))

    def _name(self, thing: str) -> str:
        return next((name for name, known in self.things.items() if known == thing), thing)

    # ---- the account ------------------------------------------------------------------------------------------------

    def missing(self) -> list[str]:
        """Every promise that is not kept yet, in words."""
        self.take()
        lost = [f"the Outcome of command {trace}" for trace in self.commands if not self.outcomes.get(trace)]
        lost += [
            f"{what} (message {identifier})"
            for identifier, what in self.accepted.items()
            if identifier not in self.messages
        ]
        lost += [f"temperature {value} of {device}" for device, value in sorted(self.temperatures - self._temperatures)]
        for button, count in self.presses.items():
            for event in ("InitialPress", "ShortRelease"):
                heard = self._events[(event, button)]
                lost += [f"{event} of button {button}: {count - heard} of {count}"] if heard < count else []
        return lost

    def faults(self) -> list[str]:
        """What must never be, in words."""
        self.take()
        double = [
            f"command {trace} has {len(found)} Outcomes: {list(found.values())}"
            for trace, found in self.outcomes.items()
            if len(found) > 1
        ]
        strange = [
            f"the Outcome of command {trace} names {message.get('managedThingId')!r}, the command named {self.commands[trace]!r}"
            for trace, found in self.outcomes.items()
            for message in found.values()
            if message.get("managedThingId") != self.commands[trace]
        ]
        twice = [
            f"{event} of button {button} came {self._events[(event, button)]} times, it was pressed {count} times"
            for button, count in self.presses.items()
            for event in ("InitialPress", "ShortRelease")
            if self._events[(event, button)] > count
        ]
        reported = {thing for (thing, kind) in self._latest if kind == "CAPABILITY_REPORT"}
        silent = [f"no capability report of {name}" for name, thing in self.things.items() if thing not in reported]
        return [*self.wrong, *double, *strange, *twice, *silent]

    def results(self) -> Counter[str]:
        """Outcomes by result, a failure with its code."""
        return Counter(_result(message) for found in self.outcomes.values() for message in found.values())


def _properties(message: Message) -> list[tuple[Property, Any]]:
    if message["messageType"] != "DEVICE_STATE":
        return []
    return [
        ((capability["id"].split("@")[0], entry["name"]), entry["value"]["propertyValue"])
        for endpoint in message["payload"]["addedStates"]["endpoints"]
        for capability in endpoint["capabilities"]
        for entry in capability["properties"]
    ]


def _presses(message: Message) -> list[tuple[str, int]]:
    return [
        (entry["name"], position)
        for endpoint in message["payload"]["endpoints"]
        for capability in endpoint["capabilities"]
        for entry in capability["properties"]
        for position in entry["value"].values()
    ]


def _result(message: Message) -> str:
    payload = message["payload"]
    if payload["result"] == "succeeded":
        return "succeeded"
    codes = {payload["error"]["code"]} if "error" in payload else set()
    codes |= {
        str(action["responseCode"])
        for endpoint in payload.get("endpoints", ())
        for capability in endpoint["capabilities"]
        for action in capability["actions"]
    }
    return f"failed {'/'.join(sorted(codes))}"


@contextmanager
def remains(database: Path) -> Iterator[Path]:
    """A copy of the database of a dead hub: the hub must recover its log by itself."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (database.name, f"{database.name}-wal"):
            if (database.parent / name).exists():
                shutil.copy(database.parent / name, folder)
        yield Path(folder) / database.name


def outbox(database: Path) -> dict[str, str]:
    """Message id -> what it is, of all that waits on disk."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        prefix = connection.execute("SELECT value FROM meta WHERE key = 'database_id'").fetchone()[0]
        rows = connection.execute("SELECT id, kind, device, trace_id, body FROM outbox").fetchall()
    return {
        f"{prefix}{identifier:016x}": " ".join(filter(None, (kind, device, trace, body)))
        for identifier, kind, device, trace, body in rows
    }
