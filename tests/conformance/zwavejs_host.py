"""The zwave-js driver as a running host: one request at a time, events as they come."""

import asyncio
import functools
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conformance.zwavejs_rig import serving
from conftest import until

from drivers.sim.zwave.node import Node
from drivers.sim.zwave.server import Simulation, start
from drivers.zwave.security import dsk as dsks
from tests.conformance.zwave_sim_rig import hasten

KEYS = {  # of driver.cjs
    "S0": "09" * 16,
    "S2_UNAUTHENTICATED": "11" * 16,
    "S2_AUTHENTICATED": "22" * 16,
    "S2_ACCESS_CONTROL": "33" * 16,
}
LINE = 1 << 24  # bytes: a backup is one line


class Host:
    """A running client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._reading = asyncio.create_task(self._read())
        self.events: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    @classmethod
    async def on(cls, simulation: Simulation, folder: Path, *, soft: bool = True) -> "Host":
        """zwave-js on a stick, ready. `folder` is its own."""
        folder.mkdir(exist_ok=True)
        (port,) = _started()
        made = cls(*await asyncio.open_connection("127.0.0.1", port, limit=LINE))
        made.write({"port": simulation.port.replace("socket://", "tcp://"), "folder": str(folder), "soft": soft})
        try:
            await made.event("ready")
        except BaseException:
            await made.close()
            raise
        return made

    async def close(self) -> None:
        self._writer.close()
        await self._reading

    async def _read(self) -> None:
        async for line in self._reader:
            message = json.loads(line)
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                self._waiting.pop(message["id"]).set_exception(RuntimeError(message["error"]))
            else:
                self._waiting.pop(message["id"]).set_result(message["result"])

    async def call(self, operation: str, limit: float = 60, **arguments: Any) -> Any:
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.write({"id": number, "op": operation, **arguments})
        async with asyncio.timeout(limit):
            return await answer

    def write(self, request: dict[str, Any]) -> None:
        self._writer.write(json.dumps(request).encode() + b"\n")

    def seen(self, event: str, **values: Any) -> list[dict[str, Any]]:
        """Events of a kind, with these values."""
        return [
            one
            for one in self.events
            if one["event"] == event and all(one.get(name) == v for name, v in values.items())
        ]

    async def event(self, event: str, limit: float = 60, **values: Any) -> dict[str, Any]:
        """The first event of a kind with these values, when it has come."""
        end = time.monotonic() + limit
        while not self.seen(event, **values):
            assert time.monotonic() < end, f"no {event} {values}; the last: {self.events[-12:]}"
            assert not self._reader.at_eof(), f"zwave-js has ended: {self.events[-5:]}"
            await asyncio.sleep(0.02)
        return self.seen(event, **values)[0]

    async def value(self, node: int, name: str, limit: float = 30, **wanted: Any) -> dict[str, Any]:
        """An update of a property, as `wanted` (value, key, endpoint, cc)."""
        return await self.event("value", limit, node=node, property=name, **wanted)


async def include(js: Host, simulation: Simulation, name: str, strategy: str, pin: str | None = None) -> Node:
    """Include a device as its user would: the button, and the PIN where it is asked for."""
    node = simulation.network.nodes[name]
    await js.call("answers", values={"pin": dsks.to_text(node.dsk)[: dsks.DIGITS] if pin is None else pin})
    await js.call("include", strategy=strategy)
    await simulation.control({"op": "pair", "device": name})
    await until(lambda: node.id, 20)
    await js.event("added", node=node.id)
    return node


async def join(js: Host, simulation: Simulation, name: str, strategy: str) -> Node:
    """Include a device, and wait until it has been interviewed."""
    node = await include(js, simulation, name, strategy)
    await js.event("interviewed", id=node.id)
    return node


@asynccontextmanager
async def host(folder: Path, simulation: Simulation, *, soft: bool = True) -> AsyncIterator[Host]:
    """zwave-js on a stick, ready."""
    client = await Host.on(simulation, folder / "zwavejs", soft=soft)
    try:
        yield client
    finally:
        await client.close()


@functools.cache
def _started() -> list[int]:
    """One zwave-js for all tests of this process: a start takes longer than many of them."""
    return serving("driver.cjs")


@asynccontextmanager
async def stick(folder: Path, spec: dict[str, Any], *, tcp: bool = True) -> AsyncIterator[Simulation]:
    """A simulated stick with its nodes."""
    spec = {"kind": "zwave", **spec, **({"port": "tcp"} if tcp else {})}
    state = folder / "stick.json"
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        simulation = await start("zwave", spec, link=folder / "zwave", state=state, faults="", seed=5)
        try:
            yield simulation
        finally:
            await simulation.close()
