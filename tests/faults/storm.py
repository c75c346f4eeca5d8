"""Traffic and faults at random instants, from a seed, against one house; the ledger says what must come out of it."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from conftest import Broker, until, until_async
from faults.home import CLIMATES, CORRUPTION, DEVICES, DIMMED, SWITCHED, SimulatedHome
from faults.ledger import Ledger, outbox, remains
from house import House

UNDER_FAULTS, IN_CALM, WITHOUT_BROKER = 1, 2, 3  # buttons of the remote: presses of the last two must all arrive
RATE = 40  # reports a second in all
SETTLED = 60.0  # seconds; a command has 30 s, and a broker that comes back is found within 10
AGREED = 60.0  # seconds


class Storm:
    """One house, its traffic, and its faults."""

    def __init__(self, house: House, home: SimulatedHome, broker: Broker, seed: int) -> None:
        self.house, self.home, self.broker, self.seed = house, home, broker, seed
        self.ledger = Ledger(house.heard)
        self.done: Counter[str] = Counter()
        self.kills: dict[str, Callable[[], Awaitable[None]]] = {
            "busy": self._kill_under_traffic,
            "starting": self._kill_at_the_start,
            "radio": self._kill_without_radio,
            "broker": self._kill_without_broker,
        }
        self._rng = random.Random(seed)
        self._value = 0
        self._sent: list[tuple[str, str, str]] = []  # managed thing, trace and action of every command
        self._started = time.monotonic()

    async def begin(self) -> None:
        """Learn which device is which managed thing, and let the bytes go bad."""
        by_address = {device["address"]: device["managedThingId"] for device in await self.house.ask("devices")}
        nodes = (await self.home.control("list"))["devices"]
        self.ledger.things = {node["name"]: by_address[node["ieee"]] for node in nodes}
        assert set(self.ledger.things) == set(DEVICES)
        await self.home.control("faults", spec=CORRUPTION, seed=self.seed)

    # ---- traffic ----------------------------------------------------------------------------------------------------

    async def load(self, count: int) -> set[tuple[str, int]]:
        """Numbered temperatures of all climate sensors; returns what each reports."""
        first = self._value
        answer = await self.home.control("load", rate=RATE, count=count, first=first, devices=CLIMATES)
        names = answer["devices"]
        self._value += count // len(names) + 2
        return {(names[number % len(names)], first + number // len(names)) for number in range(count)}

    async def traffic(self, seconds: float) -> None:
        """Reports, presses, changes and commands for a while."""
        end = time.monotonic() + seconds
        await self.load(max(6, int(seconds * RATE)))
        while (left := end - time.monotonic()) > 0:
            what = self._rng.random()
            if what < 0.35:
                self.command()
            elif what < 0.4:
                self.command_again()
            elif what < 0.7:
                await self.press(UNDER_FAULTS)
            else:
                await self.change()
            await asyncio.sleep(min(left, self._rng.uniform(0.01, 0.15)))

    def command(self) -> None:
        trace, thing = f"trace-{len(self._sent)}", self.ledger.things[self._rng.choice(SWITCHED)]
        self.ledger.commands[trace] = thing
        self._sent.append((thing, trace, self._rng.choice(("On", "Off", "Toggle"))))
        self.house.send(*self._sent[-1])

    def command_again(self) -> None:
        """A cloud that is not sure repeats itself: one of the last commands, which may have ended before a kill."""
        if self._sent:
            self.house.send(*self._rng.choice(self._sent[-10:]))
            self.done["repeated commands"] += 1

    async def press(self, button: int) -> None:
        """Press the remote; a press in calm is a promise."""
        await self.home.control("press", device="remote", button=button)
        self.done["presses"] += 1
        if button == IN_CALM:
            self.ledger.presses[button] += 1

    async def change(self) -> None:
        """A device changes by itself and says so, as its reporting is configured or as it likes."""
        rng = self._rng
        changes: list[dict[str, Any]] = [
            {"op": "zone", "device": "contact", "status": rng.randrange(2)},
            {"op": "set", "device": rng.choice(SWITCHED), "name": "on_off", "value": rng.random() < 0.5},
            {
                "op": "set",
                "device": rng.choice(DIMMED),
                "name": "level",
                "value": rng.randrange(1, 255),
                "report": True,
            },
            {
                "op": "set",
                "device": rng.choice(CLIMATES),
                "name": "humidity",
                "value": rng.randrange(10_000),
                "report": True,
            },
            {"op": "set", "device": "remote", "name": "battery", "value": rng.randrange(1, 201), "report": True},
            {"op": "set", "device": "plug", "name": "power", "value": rng.randrange(1, 3000), "report": True},
        ]
        await self.home.control(**rng.choice(changes))

    # ---- kill -9 of the daemon --------------------------------------------------------------------------------------

    async def kill(self, kind: str) -> None:
        """One way to die and to come back, what must be true 10 s later, and a press in calm."""
        await self.kills[kind]()
        await self.house.online()
        await self.agrees()
        await self.press(IN_CALM)
        await self.settled()
        self.done[f"kills {kind}"] += 1

    def _kill(self) -> None:
        self.house.kill()
        with remains(self._database) as database:
            self.ledger.accepted.update(outbox(database))
        self.done["kills"] += 1

    async def _kill_under_traffic(self) -> None:
        """Traffic goes on while the hub is dead, and a command waits for it at the broker."""
        traffic = asyncio.create_task(self.traffic(1.0))
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        self._kill()
        await traffic
        self.command()
        self.command_again()
        self.house.run()

    async def _kill_at_the_start(self) -> None:
        """Twice: the second time anywhere between the first instruction and a while after the radio is up."""
        await self._kill_under_traffic()
        traffic = asyncio.create_task(self.traffic(1.0))
        await asyncio.sleep(self._rng.uniform(0.0, 3.0))
        await traffic
        self._kill()
        self.house.run()

    async def _kill_without_radio(self) -> None:
        """The stick is away, a command waits for it; both come back, the stick at another path."""
        await self._pull(2.5, new_path=True)
        self.command()
        await until_async(self._open_commands, bool)
        self._kill()
        self.house.run()
        self.done["unplugs"] += 1

    async def _kill_without_broker(self) -> None:
        """The broker is dead, the hub writes to its disk and dies as well."""
        await self._press_without_broker()
        await self.load(RATE)
        await self.change()
        await asyncio.sleep(self._rng.uniform(0.0, 2.5))
        self._kill()
        self.broker.start()
        self.house.run()
        self.done["brokers"] += 1

    # ---- other faults -----------------------------------------------------------------------------------------------

    async def restart_broker(self) -> None:
        """kill -9 of the broker under load, and again with a command under way. The hub lives: all that it hears must arrive."""
        promised = await self.load(RATE)
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        await self._press_without_broker()
        self.broker.start()
        self.ledger.temperatures |= promised
        await self.settled()
        await self._pull(1.0)
        self.command()
        await until_async(self._open_commands, bool)
        self.broker.stop(kill=True)
        self.broker.start()
        await self.house.online()
        await self.settled()
        self.done["brokers"] += 2
        self.done["unplugs"] += 1

    async def _press_without_broker(self) -> None:
        """The broker hangs and dies with what it had not read; presses that the hub has on its disk meanwhile are promised."""
        # What a broker has acknowledged and not yet handed on is its own loss: no command may be with it.
        await self.settled()
        self.broker.freeze()
        before = self._events_on_disk()
        for _ in range(3):
            await self.press(WITHOUT_BROKER)
        await until(lambda: len(self._events_on_disk() - before) >= 6, 10.0, f"3 presses on disk; seed {self.seed}")
        self.ledger.presses[WITHOUT_BROKER] += 3
        self.broker.stop(kill=True)

    @property
    def _database(self) -> Path:
        return self.house.folder / "state" / "hub.db"

    def _events_on_disk(self) -> set[str]:
        return {identifier for identifier, what in outbox(self._database).items() if what.startswith("event ")}

    async def unplug(self) -> None:
        """The stick goes and comes back, every other time at another path; commands meanwhile wait for it within their deadline."""
        files = self._open_files()
        await self._pull(self._rng.uniform(0.05, 1.0), new_path=self.done["unplugs"] % 2 == 0)
        self.command()
        await self.change()
        await self.house.online()
        await self.agrees()
        await self.press(IN_CALM)
        await self.settled()
        await until(
            lambda: self._open_files() <= files, 10.0, f"{files} open files, as before the unplug; seed {self.seed}"
        )
        self.done["unplugs"] += 1

    def _open_files(self) -> int:
        assert self.house.process is not None
        return len(list(Path(f"/proc/{self.house.process.pid}/fd").iterdir()))

    async def _pull(self, seconds: float, *, new_path: bool = False) -> None:
        """Unplug for `seconds`, and wait until the cloud has been told."""
        before = len(self.house.heard)
        await self.home.control("unplug", seconds=seconds, new_path=new_path)

        def told() -> bool:
            return any(
                message["messageType"] == "HUB_STATUS"
                and message["payload"].get("radios", {}).get("zigbee", {}).get("status") == "away"
                for message in self.house.heard[before:]
            )

        await until(told, 10.0, f"the word that the radio is away; seed {self.seed}")

    async def _open_commands(self) -> int:
        return int((await self.house.ask("status"))["openCommands"])

    async def _left(self) -> tuple[int, int, int]:
        """What the hub still holds: open commands, messages on disk, messages in memory."""
        status = await self.house.ask("status")
        uplink = status["uplinks"]["main"]
        return status["openCommands"], uplink["onDisk"], uplink["inMemory"]

    # ---- checks -----------------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Every promise is kept."""
        end = time.monotonic() + SETTLED
        while lost := self.ledger.missing():
            assert time.monotonic() < end, f"after {SETTLED} s the cloud still misses {lost}; seed {self.seed}"
            await asyncio.sleep(0.02)

    async def agrees(self) -> None:
        """What the cloud heard last of each device is what the device is, within AGREED."""
        begin = time.monotonic()
        end = begin + AGREED
        while different := await self._different():
            assert time.monotonic() < end, f"after {AGREED} s cloud and devices differ: {different}; seed {self.seed}"
            await asyncio.sleep(0.05)

    async def _different(self) -> list[str]:
        truth = await self.home.truth()
        self.ledger.take()
        heard = {key: self.ledger.values.get((self.ledger.things[key[0]], key[1])) for key in truth}
        return [
            f"{name} {capability} {told}: the cloud has {heard[name, (capability, told)]!r}, the device {value!r}"
            for (name, (capability, told)), value in truth.items()
            if heard[name, (capability, told)] != value
        ]

    async def verdict(self) -> dict[str, Any]:
        """Check the whole account; the figures of the run."""
        await self.house.online()
        await self.settled()
        await self.agrees()
        await until_async(self._left, lambda left: not any(left))
        faults = self.ledger.faults()
        assert not faults, f"{faults}; seed {self.seed}"
        status = self.house.told("HUB_STATUS")[-1]["payload"]
        assert (status["status"], status["radios"]["zigbee"]["status"]) == ("online", "online")
        return {
            "seed": self.seed,
            **self.done,
            "messages": len(self.ledger.messages),
            "redeliveries": self.ledger.duplicates,
            "commands": len(self.ledger.commands),
            "outcomes": self.ledger.results(),
            "accepted_at_kills": len(self.ledger.accepted),
            "seconds": round(time.monotonic() - self._started),
        }

    @staticmethod
    def summary(durability: str, figures: dict[str, Any]) -> str:
        return json.dumps({"faults": "storm", "durability": durability, **figures})
