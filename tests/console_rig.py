"""A hub with one radio that does as it is told, its control socket, and clients of it."""

import asyncio
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import until

from agent.client import Client
from agent.clock import SystemClock
from agent.console_api import ConsoleApi
from agent.console_ota import ConsoleOta
from agent.control import SOCKET, ControlServer
from agent.driver import DeviceUnreachable, DriverError, InvalidParameters, NotNow, Sink, execute_each
from agent.home import RadioRecord
from agent.hub import Hub
from agent.model import (
    Action,
    Capability,
    Command,
    Device,
    DeviceFound,
    DeviceId,
    DeviceLost,
    Discovery,
    JoinWindow,
    Outcome,
    RadioUp,
)
from agent.model import Endpoint as DeviceEndpoint
from agent.runtime import Runtime
from agent.store import Limits, Store
from agent.supervise import Pulse, Supervisor

ON_OFF = "matter.OnOff@1.4"
BULB_ID = DeviceId("zigbee", "00:12:4b:00:00:00:00:01")
BULB = Device(
    BULB_ID,
    "zb.1A62+4A1D",
    (DeviceEndpoint("1", ("On/Off Light",), (Capability(ON_OFF, "On/Off", "6", ("OnOff",), ("On", "Off")),)),),
    manufacturer="ACME",
    model="bulb ü",
    address="00:12:4b:00:00:00:00:01",
    unmapped=("0xfc00",),
)
REMOTE = Device(DeviceId("zigbee", "00:12:4b:00:00:00:00:02"), "zb.1A62+0002", (), battery=True)
ON = {"endpoint": "1", "capability": ON_OFF, "name": "On"}


class Radio:
    """A driver whose devices do what the test says."""

    def __init__(self) -> None:
        self.windows: list[Discovery] = []
        self.closed = 0
        self.executed: list[Command] = []
        self.sink: Sink = lambda _event: None
        self.error = ""
        self.refusal: DriverError | None = None  # of a backup
        self.restored: list[bytes] = []
        self.answers: list[tuple[str, str]] = []
        self.answer = asyncio.Event()
        self.answer.set()

    async def run(self, sink: Sink) -> None:
        self.sink = sink
        sink(RadioUp("zigbee", "00:aa", {"channel": "15"}))
        await asyncio.Event().wait()

    async def execute(self, command: Command) -> Outcome:
        self.executed.append(command)
        await self.answer.wait()

        async def perform(_action: Action) -> dict[str, Any]:
            return {}

        return await execute_each(command, perform, lambda: SystemClock().now().mono)

    async def discover(self, request: Discovery) -> None:
        if request.material == "bad":
            raise InvalidParameters("not an install code")
        self.windows.append(request)
        self.sink(JoinWindow("zigbee", request.duration))

    async def reply(self, key: str, text: str) -> None:
        if not key:
            raise NotNow("nothing is asked")
        if text == "bad":
            raise InvalidParameters("no PIN")
        self.answers.append((key, text))

    async def stop_discovery(self) -> None:
        self.closed += 1
        self.sink(JoinWindow("zigbee", 0))

    async def interview(self, key: str) -> None: ...

    async def refresh(self, key: str) -> None: ...

    async def remove(self, key: str, *, force: bool) -> None:
        if self.error and not force:
            raise DeviceUnreachable(self.error)
        self.sink(DeviceLost(DeviceId("zigbee", key), "removed"))

    async def backup(self) -> bytes:
        if self.error:
            raise DeviceUnreachable(self.error)
        if self.refusal:
            raise self.refusal
        return b'{"network_key": "k"}'

    async def restore(self, document: bytes) -> None:
        if document == b"{}":
            raise InvalidParameters("not a network backup")
        self.restored.append(document)


class Daemon:
    """Hub, store and control socket with one radio and no cloud."""

    def __init__(self, folder: Path, group: asyncio.TaskGroup) -> None:
        self.folder = folder
        self.radio = Radio()
        hub = Hub("hub-1", onboarding="local", default_ttl=60.0)
        hub.radios["zigbee"] = RadioRecord("zigbee", "zigbee", ("ZIGBEE",), reason="starting")
        self.store = Store.open(folder, Limits(ballast=4096))
        self.supervisor = Supervisor(group)
        self.failures: list[BaseException] = []
        self.supervisor.on_end = self.failures.append
        self.runtime = Runtime(hub, self.store, SystemClock(), self.supervisor)
        self.runtime.pulses["zigbee"] = Pulse(60.0)
        self.server = ControlServer(
            folder, ConsoleApi(self.runtime, "1.2.3", ConsoleOta(lambda: None, lambda: 0.0)), patience=5.0
        )
        self.client = Client(folder)

    async def plug_in(self, *devices: Device) -> None:
        self.supervisor.spawn("radio", self.runtime.radio_life("zigbee", lambda: self.radio))
        await until(lambda: self.runtime.drivers)
        for device in devices:
            self.runtime.dispatch(DeviceFound(device, known=True))

    async def get(self, path: str) -> Any:
        return await in_thread(self.client.get, path)

    async def ask(self, path: str, **body: Any) -> list[dict[str, Any]]:
        return await in_thread(lambda: list(self.client.stream(path, body)))

    async def bulb(self) -> None:
        """A joined bulb and a remote, with the radio up."""
        await self.plug_in(BULB, REMOTE)


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


class Raw(http.client.HTTPConnection):
    def __init__(self, folder: Path) -> None:
        super().__init__("hub", timeout=10)
        self._folder = folder

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._folder / SOCKET))


async def raw(folder: Path, method: str, path: str, body: Any = None) -> tuple[int, str | None, Any]:
    """Status, `allow` and answer of one request that no client of ours checks beforehand."""

    def run() -> tuple[int, str | None, Any]:
        connection = Raw(folder)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        answer = response.status, response.getheader("allow"), json.loads(response.read() or b"null")
        connection.close()
        return answer

    answer: tuple[int, str | None, Any] = await in_thread(run)
    return answer
