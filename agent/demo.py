"""`agent demo`: the main job on one machine, narrated. A real mosquitto, the simulated home, and the daemon as users run it.

Each step says what it proves and fails by name. The hub is a process of its own, so that the power cut in the middle is a real one.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from agent import console, simulate
from agent.client import Client
from agent.errors import Exit, HubError, UsageError

HOME = """
[radios.zigbee]
kind = "zigbee"
stick = "ezsp"
ieee = "00:12:4b:00:00:00:de:a0"
"""
DEVICES = (
    ("living room bulb", "color-bulb"),
    ("desk plug", "plug"),
    ("bedroom climate", "climate"),
    ("front door contact", "contact"),
    ("front door lock", "lock"),
    ("garage door", "garage-door"),
    ("hall thermostat", "thermostat"),
    ("kitchen smoke alarm", "smoke-alarm"),
    ("bed remote", "remote"),
)
CONFIG = """
[hub]
id = "demo-hub"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"

[uplinks.main]
host = "127.0.0.1"
port = {port}
tls = false

[radios.zigbee]
kind = "zigbee"
port = "{folder}/links/zigbee"
radio = "ezsp"

[logging]
level = "warning"
"""
PATIENCE = 30.0


def demo(*, once: bool) -> int:
    """Run the story; stay up until Ctrl-C unless `once`. Returns 0 or names the step that failed."""
    try:
        asyncio.run(_demo(once=once))
    except StepFailed as error:
        console.show_error(f"step failed: {error}")
        return int(Exit.SOFTWARE)
    except KeyboardInterrupt:
        pass
    return int(Exit.OK)


class StepFailed(Exception):  # noqa: N818  what happened, not a kind of error
    """The text names the step."""


class Stage:
    """Broker, home, hub and a listener at the broker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.client = Client(folder / "run")
        self.heard: list[dict[str, Any]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listener: asyncio.subprocess.Process | None = None
        self.radios: list[tuple[str, str, Any]] = []
        self.hub: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        (self.folder / "agent.toml").write_text(CONFIG.format(folder=self.folder, port=self.port))
        text = HOME + "".join(
            f'\n[[radios.zigbee.devices]]\nname = "{name}"\nprofile = "{profile}"\n' for name, profile in DEVICES
        )
        (self.folder / "home.toml").write_text(text)
        broker = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if broker is None:
            raise UsageError("no broker on this machine", remedy="sudo apt-get install mosquitto mosquitto-clients")
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        self._spawn([broker, "-c", str(config)], "mosquitto.log")
        await _until("the broker listens", lambda: _listens(self.port))
        self.radios = await simulate.start_all(self.folder / "home.toml", self.folder / "links", "", 1, None)
        await self._listen()

    def _spawn(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603  our own programs
        self._processes.append(process)
        return process

    async def _listen(self) -> None:
        """A subscriber that we did not write: mosquitto_sub, with a session that outlives nothing it should not."""
        tool = shutil.which("mosquitto_sub")
        if tool is None:
            raise UsageError("no mosquitto_sub on this machine", remedy="sudo apt-get install mosquitto-clients")
        self._listener = await asyncio.create_subprocess_exec(
            tool, "-h", "127.0.0.1", "-p", str(self.port), "-t", "north/#", "-q", "1", stdout=asyncio.subprocess.PIPE
        )
        output = self._listener.stdout
        if output is None:
            raise StepFailed("the subscriber has no output")
        asyncio.get_running_loop().call_soon(self._read, output)

    def _read(self, output: asyncio.StreamReader) -> None:
        async def lines() -> None:
            while line := await output.readline():
                if line.strip() not in (b"", b"(null)"):
                    self.heard.append(json.loads(line))

        self._reader = asyncio.ensure_future(lines())

    def start_hub(self) -> None:
        self.hub = self._spawn(
            [sys.executable, "-m", "agent.cli", "run", "-c", str(self.folder / "agent.toml")], "hub.log"
        )

    def power_cut(self) -> None:
        """No signal handler runs: as if the plug was pulled."""
        if self.hub is not None:
            self.hub.send_signal(signal.SIGKILL)
            self.hub.wait()

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message.get("messageType") == kind]

    async def ask(self, path: str) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, self.client.get, path)

    async def do(self, path: str, body: dict[str, Any], show: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """A request with progress until it is `done`, or until `show` says that this is enough; returns the last line."""

        def run() -> dict[str, Any]:
            last: dict[str, Any] = {}
            with closing(self.client.stream(path, body)) as lines:
                for last in lines:
                    if show(last):
                        break
            return last

        return await asyncio.get_running_loop().run_in_executor(None, run)

    async def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait()
        if self._listener is not None and self._listener.returncode is None:
            self._listener.terminate()
            await self._listener.wait()
        for _, _, radio in self.radios:
            await radio.close()


async def _demo(*, once: bool) -> None:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hub-agent-demo-") as folder:
        stage = Stage(Path(folder))
        try:
            await stage.start()
            await _story(stage)
            _say(f"done in {time.monotonic() - begin:.0f} s")
            if not once:
                _say("the hub stays up until Ctrl-C. In another terminal:")
                _say(f"  agent devices -c {folder}/agent.toml")
                _say(f"  mosquitto_sub -v -h 127.0.0.1 -p {stage.port} -t 'north/#'")
                await asyncio.Event().wait()
        finally:
            await stage.stop()


async def _story(stage: Stage) -> None:
    _say("1. A hub starts: its stick forms a network, its uplink connects")
    stage.start_hub()
    await _online(stage)
    _say("2. Devices join while the window is open")
    await _join(stage)
    _say("3. A report travels from the radio to the broker")
    home = stage.radios[0][2]
    await home.control({"op": "set", "device": "bedroom climate", "cluster": 0x0402, "value": 2345, "report": True})
    await _until("temperature 23.45 degrees at the broker", lambda: "2345" in _values(stage, "MeasuredValue"))
    await home.control({"op": "press", "device": "bed remote", "button": 1})
    await _until("a button event at the broker", lambda: stage.told("DEVICE_EVENT"))
    _say("   temperature 23.45 degrees and a button press have arrived")
    _say("4. A command travels from here to the bulb, and comes back with its one Outcome")
    await _switch(stage, on=True)
    _say("5. Power cut: the hub is killed without warning while devices report")
    await _power_cut(stage, home)
    _say("6. The same commands again, after the restart")
    await _switch(stage, on=False)
    await _close(stage)


async def _online(stage: Stage) -> None:
    async def ready() -> bool:
        try:
            status = await stage.ask("status")
        except HubError:
            return False
        parts = [*status["radios"].values(), *status["uplinks"].values()]
        return all(part["status"] == "online" for part in parts)

    await _until_async("radio and uplink online", ready)


async def _join(stage: Stage) -> None:
    found: set[str] = set()

    def show(line: dict[str, Any]) -> bool:
        if line["what"] == "found":
            found.add(line["nodeId"])
            _say(f"   joined: {line['model']:<16} {line['nodeId']}")
        return len(found) == len(DEVICES)

    ended = await stage.do("discover", {"kind": "ZIGBEE", "duration": 60}, show)
    if len(found) < len(DEVICES):
        raise StepFailed(f"joining {len(DEVICES)} devices: {len(found)} have joined; {ended}")
    await _until("a capability report of each", lambda: len(stage.told("CAPABILITY_REPORT")) >= len(DEVICES))


async def _switch(stage: Stage, *, on: bool) -> None:
    bulb = next(d for d in await stage.ask("devices") if d["model"] == "SIM-BULB-RGB")
    trace = f"demo-{'on' if on else 'off'}"
    action = {"id": "matter.OnOff@1.4", "name": "On/Off", "version": "6", "actions": [{"name": "On" if on else "Off"}]}
    command = {
        "version": "1.0.0",
        "messageId": trace,
        "messageType": "COMMAND",
        "managedThingId": bulb["managedThingId"],
        "traceId": trace,
        "payload": {"Endpoints": [{"endpointId": "1", "capabilities": [action]}]},
    }
    tool = shutil.which("mosquitto_pub") or "mosquitto_pub"
    for _ in range(2):  # a cloud may send twice; the bulb moves once
        message = ["-q", "1", "-t", "south/demo-hub/control", "-m", json.dumps(command)]
        process = await asyncio.create_subprocess_exec(tool, "-h", "127.0.0.1", "-p", str(stage.port), *message)
        if await process.wait():
            raise StepFailed("mosquitto_pub could not send the command")

    def outcomes() -> list[dict[str, Any]]:
        return [message for message in stage.told("DEVICE_COMMAND") if message.get("traceId") == trace]

    await _until("the Outcome of the command", outcomes)
    result = outcomes()[0]["payload"]["result"]
    if result != "succeeded" or len(outcomes()) != 1:
        raise StepFailed(f"one Outcome of the command, succeeded: {outcomes()}")
    home = stage.radios[0][2]
    devices = (await home.control({"op": "list"}))["devices"]
    state = next(d for d in devices if d["name"] == "living room bulb")["state"]["1/0x0006/0x0000"]
    if state is not on:
        raise StepFailed(f"the bulb itself is {'on' if on else 'off'}")
    _say(f"   the bulb is {'on' if on else 'off'}, one Outcome: {result}")


async def _power_cut(stage: Stage, home: Any) -> None:
    before = len(stage.told("DEVICE_EVENT"))
    for _ in range(5):
        await home.control({"op": "press", "device": "bed remote", "button": 1})
    await _until("the presses at the broker", lambda: len(stage.told("DEVICE_EVENT")) >= before + 10)
    stage.power_cut()
    await home.control({"op": "set", "device": "desk plug", "cluster": 0x0006, "value": True})
    stage.start_hub()
    await _online(stage)
    await _until("the state of the plug, read anew", lambda: _plug_is_on(stage))
    devices = await stage.ask("devices")
    if len(devices) != len(DEVICES):
        raise StepFailed(f"{len(DEVICES)} devices after the power cut, there are {len(devices)}")
    _say(f"   {len(devices)} devices are back, and what changed meanwhile is told")


def _plug_is_on(stage: Stage) -> bool:
    device = None
    for report in stage.told("CAPABILITY_REPORT"):
        names = {c["id"] for e in report["payload"]["endpoints"] for c in e["capabilities"]}
        if "matter.ElectricalEnergyMeasurement@1.4" in names:
            device = report["managedThingId"]
    values = [value for ref, name, value in _states(stage) if (ref, name) == (device, "OnOff")]
    return bool(values) and values[-1] is True


def _states(stage: Stage) -> Iterator[tuple[str, str, Any]]:
    for message in stage.told("DEVICE_STATE"):
        for endpoint in message["payload"]["addedStates"]["endpoints"]:
            for capability in endpoint["capabilities"]:
                for entry in capability["properties"]:
                    yield message["managedThingId"], entry["name"], entry["value"]["propertyValue"]


def _values(stage: Stage, name: str) -> set[str]:
    return {str(value) for _, found, value in _states(stage) if found == name}


async def _close(stage: Stage) -> None:
    status = await stage.ask("status")
    console.show_status(status)
    console.show_devices(await stage.ask("devices"))
    kinds: dict[str, int] = {}
    for message in stage.heard:
        kinds[message["messageType"]] = kinds.get(message["messageType"], 0) + 1
    console.out.print(console.table("Heard at the broker", ("message", "count"), sorted(kinds.items())))


def _say(text: str) -> None:
    print(text, flush=True)


async def _until(step: str, condition: Callable[[], object]) -> None:
    async def ask() -> bool:
        return bool(condition())

    await _until_async(step, ask)


async def _until_async(step: str, condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not await condition():
        if time.monotonic() > end:
            raise StepFailed(step)
        await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
