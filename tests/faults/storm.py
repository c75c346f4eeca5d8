"""Traffic and faults at random instants, from a seed, and a ledger of what must come out of it.

What counts as accepted by the hub is read from its own database after each kill: every row of the outbox must reach the cloud.
"""

import asyncio
import json
import random
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import Broker, until
from house import House

HOME: dict[str, Any] = {
    "kind": "zigbee",
    "stick": "ezsp",
    "ieee": "00:12:4b:00:00:00:ff:01",
    "devices": [
        {"name": "bulb", "profile": "color-bulb"},
        {"name": "plug", "profile": "plug"},
        {"name": "strip", "profile": "led-strip"},
        *({"name": f"climate {n}", "profile": "climate"} for n in range(6)),
        {"name": "contact", "profile": "contact"},
        {"name": "remote", "profile": "remote"},
        {"name": "dimmer", "profile": "dimmable-bulb"},
    ],
}
SWITCHED = ("bulb", "plug", "strip", "dimmer")
CORRUPTION = "corrupt=0.01,lost=0.005,dup=0.005"
TEMPERATURE, ON_OFF = "1/0x0402/0x0000", "1/0x0006/0x0000"
TOLD = {("matter.TemperatureMeasurement", "MeasuredValue"): "Temperature", ("matter.OnOff", "OnOff"): "OnOff"}


@dataclass
class Ledger:
    """What was done to the house."""

    seed: int
    traces: list[str] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)  # message id -> kind, seen in the outbox at a kill
    presses: int = 0
    done: Counter[str] = field(default_factory=Counter)


class Storm:
    """One house, its traffic, and its faults."""

    def __init__(self, house: House, broker: Broker, seed: int) -> None:
        self.house, self.broker = house, broker
        self.rng = random.Random(seed)
        self.ledger = Ledger(seed)
        self._value = 0
        self.things: dict[str, str] = {}  # name -> managed thing id

    async def control(self, **request: Any) -> dict[str, Any]:
        assert self.house.sim is not None
        return await self.house.sim.control(request)

    async def learn(self) -> None:
        """Which simulated device is which managed thing."""
        devices = await self.house.ask("devices")
        by_address = {device["address"]: device["managedThingId"] for device in devices}
        for node in (await self.control(op="list"))["devices"]:
            self.things[node["name"]] = by_address[node["ieee"]]

    # ---- traffic ----------------------------------------------------------------------------------------------------

    async def traffic(self, seconds: float) -> None:
        """Reports, presses and commands for a while."""
        end = asyncio.get_running_loop().time() + seconds
        await self.control(op="load", rate=40, count=max(6, int(seconds * 40)), first=self._value)
        self._value += 2 + int(seconds * 40) // 6
        while (left := end - asyncio.get_running_loop().time()) > 0:
            if self.rng.random() < 0.5:
                self.command()
            else:
                await self.press()
            await asyncio.sleep(min(left, self.rng.uniform(0.01, 0.15)))

    def command(self) -> str:
        trace = f"trace-{len(self.ledger.traces)}"
        self.ledger.traces.append(trace)
        action = self.rng.choice(("On", "Off", "Toggle"))
        self.house.send(self.things[self.rng.choice(SWITCHED)], trace, action)
        return trace

    async def press(self) -> None:
        self.ledger.presses += 1
        await self.control(op="press", device="remote", button=1)

    # ---- faults -----------------------------------------------------------------------------------------------------

    async def kill(self) -> None:
        """kill -9 of the daemon in the middle of traffic, a command while it is dead, and its restart."""
        traffic = asyncio.create_task(self.traffic(1.0))
        await asyncio.sleep(self.rng.uniform(0.0, 1.0))
        self.house.kill()
        self.ledger.accepted.update(outbox(self.house.folder / "state" / "hub.db"))
        await traffic
        self.command()
        self.house.run()
        await self.house.online()
        await self.agrees()
        before = len(self.house.told("DEVICE_EVENT"))
        await self.press()
        await until(lambda: len(self.house.told("DEVICE_EVENT")) > before, 10.0, "the event of a press in calm")
        self.ledger.done["kills"] += 1

    async def restart_broker(self) -> None:
        """kill -9 of the broker. What it has acknowledged and not yet handed on is its own loss, so no command is under way."""
        await self.answered()
        await self.control(op="load", rate=40, count=40, first=self._value)
        self._value += 8
        await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        self.broker.stop(kill=True)
        for _ in range(3):
            await self.press()
        self.broker.start()
        await self.house.online()
        self.ledger.done["brokers"] += 1

    async def unplug(self) -> None:
        """The stick goes and comes back; commands meanwhile wait for it within their deadline."""
        await self.control(op="unplug", seconds=self.rng.uniform(0.05, 1.0))
        self.command()
        await self.house.online()
        self.ledger.done["unplugs"] += 1

    # ---- checks -----------------------------------------------------------------------------------------------------

    async def answered(self) -> None:
        """Every command has its Outcome."""

        def missing() -> list[str]:
            outcomes = self.outcomes()
            return [trace for trace in self.ledger.traces if not outcomes.get(trace)]

        await until(lambda: not missing(), 60.0, f"Outcomes; seed {self.ledger.seed}")

    def outcomes(self) -> dict[str, set[str]]:
        """Trace -> message ids of its Outcomes: a redelivery has the same id."""
        found: dict[str, set[str]] = defaultdict(set)
        for message in self.house.told("DEVICE_COMMAND"):
            found[message["traceId"]].add(message["messageId"])
        return found

    async def agrees(self) -> None:
        """What the cloud heard last of each device is what the device is, within 10 s."""
        truth: dict[tuple[str, str], Any] = {}

        async def wrong() -> list[str]:
            for node in (await self.control(op="list"))["devices"]:
                for key, name in ((TEMPERATURE, "Temperature"), (ON_OFF, "OnOff")):
                    if key in node["state"] and node["name"] != "remote":
                        truth[(node["name"], name)] = node["state"][key]
            heard = self.last_values()
            return [
                f"{name} {what}: {heard.get((self.things[name], what))!r} heard, is {value!r}"
                for (name, what), value in truth.items()
                if heard.get((self.things[name], what)) != value
            ]

        loop = asyncio.get_running_loop()
        end = loop.time() + 10.0
        while different := await wrong():
            assert loop.time() < end, (
                f"after 10 s the cloud and the devices differ: {different}; seed {self.ledger.seed}"
            )
            await asyncio.sleep(0.05)

    def last_values(self) -> dict[tuple[str, str], Any]:
        return {(thing, name): value for _, thing, name, value in self.told_values()}

    def told_values(self) -> list[tuple[str, str, str, Any]]:
        """(message id, managed thing, Temperature or OnOff, value) in order of arrival."""
        return [
            (message["messageId"], message["managedThingId"], TOLD[told], entry["value"]["propertyValue"])
            for message in self.house.told("DEVICE_STATE")
            for endpoint in message["payload"]["addedStates"]["endpoints"]
            for capability in endpoint["capabilities"]
            for entry in capability["properties"]
            if (told := (capability["id"].split("@")[0], entry["name"])) in TOLD
        ]

    async def verdict(self) -> dict[str, Any]:
        """Check the whole ledger; the figures of the run."""
        await self.answered()
        await until(lambda: not self.undelivered(), 60.0, f"accepted messages; seed {self.ledger.seed}")
        await self.agrees()
        double = {trace: ids for trace, ids in self.outcomes().items() if len(ids) > 1}
        assert not double, f"commands with more than one Outcome: {double}; seed {self.ledger.seed}"
        self.in_order()
        log = (self.house.folder / "agent.log").read_text()
        assert "Traceback" not in log, log[log.index("Traceback") - 200 :][:3000]
        return {
            "seed": self.ledger.seed,
            **self.ledger.done,
            "messages": len({message["messageId"] for message in self.house.heard}),
            "commands": len(self.ledger.traces),
            "presses": self.ledger.presses,
            "accepted_at_kills": len(self.ledger.accepted),
        }

    def undelivered(self) -> dict[str, str]:
        heard = {message["messageId"] for message in self.house.heard}
        return {identifier: kind for identifier, kind in self.ledger.accepted.items() if identifier not in heard}

    def in_order(self) -> None:
        """Temperatures of a device only grow, each message counted where it came first."""
        seen: set[str] = set()
        highest: dict[str, tuple[int, str]] = {}
        for identifier, thing, name, value in self.told_values():
            if name != "Temperature" or identifier in seen:
                continue
            seen.add(identifier)
            before, earlier = highest.get(thing, (-1, ""))
            text = f"{thing}: {before} ({earlier}) was followed by {value} ({identifier}); seed {self.ledger.seed}"
            assert value >= before or before >= 2000, text  # what the device measured before the storm is 2000 and more
            highest[thing] = (value, identifier)

    def summary(self, figures: dict[str, Any]) -> str:
        return json.dumps({"faults": "storm", **figures})


def outbox(database: Path) -> dict[str, str]:
    """Message id -> kind of all that waits in the database of a dead hub."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        prefix = connection.execute("SELECT value FROM meta WHERE key = 'database_id'").fetchone()[0]
        rows = connection.execute("SELECT id, kind FROM outbox").fetchall()
    finally:
        connection.close()
    return {f"{prefix}{identifier:016x}": kind for identifier, kind in rows}
