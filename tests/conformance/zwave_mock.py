"""The mock server of zwave-js: a controller and nodes that we did not write. See zwavejs/preload.cjs for what it needs to be one."""

import asyncio
import functools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from drivers.zwave import functions
from drivers.zwave.controller import Controller
from drivers.zwave.link import Link
from drivers.zwave.messages import Messages
from drivers.zwave.nodes import NodeRecord
from drivers.zwave.secured import Secured
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.transmit import Transmitter
from tests.conformance.zwavejs_rig import serving

Classes = list[list[Any]]


def node(number: int, *classes: Any, **more: Any) -> dict[str, Any]:
    """A node of the mock home: classes are (name as zwave-js writes it, version, {capabilities})."""
    return {"id": number, "classes": [list(entry) for entry in classes], "txDelay": 1, **more}


class Mock:
    """A running mock server. `port` is for the driver."""

    def __init__(self, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port = port
        self._reader, self._writer = reader, writer

    async def __call__(self, op: str, **more: Any) -> Any:
        """One operation of zwavejs/server.cjs."""
        self._writer.write(json.dumps({"op": op, **more}).encode() + b"\n")
        answer = json.loads(await self._reader.readline())
        assert "error" not in answer, answer
        return answer["ok"]


@asynccontextmanager
async def mock_server(*nodes: dict[str, Any]) -> AsyncIterator[Mock]:
    """The server with a home of these nodes; a frame that it did not like fails the test at the end."""
    control, port = _started()  # "Control" and "Server listening"
    reader, writer = await asyncio.open_connection("127.0.0.1", control)
    try:
        mock = Mock(f"socket://127.0.0.1:{port}", reader, writer)
        await mock("home", nodes=nodes)
        yield mock
        assert await mock("rejections") == []
    finally:
        writer.close()


@functools.cache
def _started() -> list[int]:
    """One server for all tests of this process: a start takes longer than most of them."""
    server = "node_modules/zwave-js/bin/mock-server.cjs"
    return serving("-r", "./preload.cjs", server, "-i", "127.0.0.1", "-p", "0", "-c", "server.cjs", ports=2)


KEYS = {
    SecurityClass.S0: bytes([0x09] * 16),
    SecurityClass.S2_UNAUTHENTICATED: bytes([0x11] * 16),
    SecurityClass.S2_AUTHENTICATED: bytes([0x22] * 16),
    SecurityClass.S2_ACCESS_CONTROL: bytes([0x33] * 16),
}


class Stack:
    """The driver's parts up to commands, without the driver around them."""

    def __init__(self, link: Link, controller: Controller, records: dict[int, NodeRecord]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.link = link
        self.radio = Transmitter(controller)
        self.secured = Secured(self.radio, KEYS, os.urandom, self.spawn)
        self.messages = Messages(self.secured, records.get, self.spawn)
        self.records = records
        controller.listener = self._on_request

    def spawn(self, work: Any, _name: str) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.link.bug(error)

    def _on_request(self, function: int, payload: bytes) -> None:
        values = functions.decode_callback(function, payload, self.link.context)
        if function == functions.BY_NAME["ApplicationUpdate"].id:
            self.radio.application_update(values)
        else:
            self.messages.receive(values["source"], values["payload"])

    async def settled(self) -> None:
        """What runs beside ends, and a bug in it fails the test."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.link.lost

    def record(self, number: int, classes: dict[int, int], secure: tuple[int, ...] = (), *security: str) -> None:
        record = NodeRecord(number, "")
        record.root.classes.update(classes)
        record.root.secure.extend(secure)
        record.security = list(security)
        self.records[number] = record
        self.secured.grant(number, record.granted)


@asynccontextmanager
async def stack(mock: Mock) -> AsyncIterator[Stack]:
    link = Link(mock.port)
    await link.open()
    controller = Controller(link)
    await controller.start()
    made = Stack(link, controller, {})
    try:
        yield made
    finally:
        made.secured.segments.close()
        link.close()
    await made.settled()
