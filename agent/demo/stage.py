"""The demo's processes: the stand-in cloud and the hub, each of its own; the simulated home is in this one."""

import asyncio
import base64
import inspect
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import console, simulate
from agent.client import Client
from agent.errors import UsageError

HOME = """
[radios.zigbee]
kind = "zigbee"
stick = "ezsp"
ieee = "00:12:4b:00:00:00:de:a0"

[radios.zwave]
kind = "zwave"
stick = "800"
home_id = "c0ffeeda"

[radios.ble]
kind = "ble"

[radios.coap]
kind = "coap"
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
SENSOR, LOCK, THERMOSTAT = "attic sensor", "cellar lock", "bath thermostat"
ZWAVE_DEVICES = ((SENSOR, "smart-start-sensor"), (LOCK, "lock"), (THERMOSTAT, "thermostat"))
BLE_THERMOMETER, BLE_LAMP = "cellar thermometer", "cellar lamp"
BLE_DEVICES = ((BLE_THERMOMETER, "bthome-thermometer"), (BLE_LAMP, "gatt-lamp"))
COAP_THERMOMETER, COAP_LAMP = "shed thermometer", "shed lamp"
COAP_DEVICES = ((COAP_THERMOMETER, "climate"), (COAP_LAMP, "light"))
RADIOS = {"zigbee": DEVICES, "zwave": ZWAVE_DEVICES, "ble": BLE_DEVICES, "coap": COAP_DEVICES}
NRF_HUB = "demo-hub-0001"  # the hub's id at nRF Cloud
CONFIG = """
[hub]
onboarding = "cloud"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"

[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"

[uplinks.nrf]
dialect = "nrf-cloud"
host = "{host}"
port = {port}
ca = "{ca}"
certificate = "{folder}/nrf.pem"
key = "{folder}/nrf.key"
client_id = "{nrf_hub}"
gateway = "gateway"

[identity]
serial = "{serial}"
product_code = "829576019524"
template = "{template}"
claim_certificate = "{folder}/claim.pem"
claim_key = "{folder}/claim.key"

[radios.zigbee]
kind = "zigbee"
port = "{folder}/links/zigbee"
radio = "ezsp"

[radios.zwave]
kind = "zwave"
port = "{folder}/links/zwave"

[radios.ble]
kind = "ble"
bus = "{bus}"
report_interval = 0

[radios.coap]
kind = "coap"
addresses = ["{coap}"]

[logging]
level = "warning"
"""
PATIENCE = 30.0


class StepFailed(Exception):  # noqa: N818  what happened, not a kind of error
    """The text names the step."""


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  the demo's voice


def print_code(step: Callable[..., Any]) -> None:
    """Print the source of what is about to run."""
    console.show_code(textwrap.indent(textwrap.dedent(inspect.getsource(step)), "    "))


# The kernel ends it with its parent; one whose parent has gone before the kernel was asked for that ends by itself.
WITH_US = ("setpriv", "--pdeathsig", "TERM", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


class Stage:
    """Cloud, home and hub. `told`: the addresses that `agent cloud` has printed; `home`, `zwave`, `ble` and `coap`: the simulated radios.

    `oscore`: the key of the CoAP lamp, as its code has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = Client(folder / "run")
        self.told: dict[str, Any] = {}
        self.oscore = {"secret": secrets.token_hex(16), "sender": "01", "recipient": "02"}
        self.home: Any = None
        self.zwave: Any = None
        self.ble: Any = None
        self.coap: Any = None
        self.hub: subprocess.Popen[bytes] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._radios: list[tuple[str, str, Any]] = []

    @property
    def command(self) -> str:
        """How a person calls the agent from another terminal."""
        return "agent" if shutil.which("agent") else sys.argv[0]

    @property
    def nrf_account(self) -> tuple[str, str]:
        """URL and API key of nRF Cloud's REST API."""
        return self.told["nrf"], self.told["nrf_api_key"]

    async def start(self) -> None:
        (self.folder / "home.toml").write_text(self._home())
        await self._start_cloud()
        self._radios = await simulate.start_all(self.folder / "home.toml", self.folder / "links", "", 1, None)
        self.home, self.zwave, self.ble, self.coap = (simulation for _, _, simulation in self._radios)

    def _home(self) -> str:
        """The home file."""
        key = "".join(f'{name} = "{value}"\n' for name, value in self.oscore.items())
        more = {"zwave": "pairing = false\n", COAP_LAMP: key}
        text = HOME
        for radio, devices in RADIOS.items():
            for name, profile in devices:
                text += f'\n[[radios.{radio}.devices]]\nname = "{name}"\nprofile = "{profile}"\n'
                text += more.get(radio, "") + more.get(name, "")
        return text

    async def _start_cloud(self) -> None:
        arguments = ["cloud", "--port", "0", "--data", str(self.folder / "cloud")]
        cloud = self._spawn(arguments, "cloud.log", stdout=subprocess.PIPE)
        if cloud.stdout is None:
            raise StepFailed("the stand-in cloud has no output")
        line = await asyncio.get_running_loop().run_in_executor(None, cloud.stdout.readline)
        if not line:
            raise UsageError(
                "the stand-in cloud did not start: " + (self.folder / "cloud.log").read_text().strip()[-300:],
                remedy="make demo does all the set-up",
            )
        self.told = json.loads(line)

    def _spawn(self, arguments: list[str], log: str, stdout: Any = None) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as output:
            # A demo that is killed leaves no hub behind: it would take the ptys of the next one for its own.
            command = [*WITH_US, str(os.getpid()), sys.executable, "-m", "agent.cli", *arguments]
            process = subprocess.Popen(command, stdout=stdout or output, stderr=output)  # noqa: S603  our own program
        self._processes.append(process)
        return process

    def configure(self, serial: str, template: str) -> None:
        """The hub's configuration, as an installer would write it."""
        host, _, port = str(self.told["mqtt"]).partition(":")
        where = {"folder": self.folder, "host": host, "port": port, "ca": self.told["ca"], "nrf_hub": NRF_HUB}
        where |= {"bus": self.ble.port, "coap": self.coap.port.partition(" ")[0]}
        text = CONFIG.format(**where, serial=serial, template=template)
        (self.folder / "agent.toml").write_text(text)

    def start_hub(self) -> None:
        self.hub = self._spawn(["run", "-c", str(self.folder / "agent.toml")], "hub.log")

    def power_cut(self) -> None:
        """No signal handler runs: as if the plug was pulled."""
        if self.hub is not None:
            self.hub.send_signal(signal.SIGKILL)
            self.hub.wait()

    async def show(self, step: Callable[..., Any], *arguments: Any, quiet: bool = False) -> Any:
        """Print the owner's code of a step, run it, and return its answer."""
        if not quiet:
            print_code(step)
        return await asyncio.get_running_loop().run_in_executor(None, step, *arguments)

    def notified(self, kind: str) -> list[dict[str, Any]]:
        """The notifications of a kind so far: records of the owner's stream."""
        return [body["payload"] for body in self.all_notified() if body["messageType"] == kind]

    def all_notified(self) -> list[dict[str, Any]]:
        file = Path(self.told["streams"]) / "my-stream.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(base64.b64decode(json.loads(line)["Data"])) for line in lines]

    def _results(self, trace: str) -> list[str]:
        return [told["result"] for told in self.notified("DEVICE_COMMAND") if told["traceId"] == trace]

    async def succeeded(self, trace: str, what: str) -> None:
        """Wait for the result of a command; raises StepFailed unless it is one, and good."""
        await until(f"the result of the command: {what}", lambda: self._results(trace))
        if self._results(trace) != ["succeeded"]:
            raise StepFailed(f"{what}: one result, succeeded: {self._results(trace)}")

    async def ask(self, path: str) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, self.client.get, path)

    async def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            if process.stdout is not None:
                process.stdout.close()
            # Beside the loop: the hub's last words to its radios are answered here.
            await asyncio.get_running_loop().run_in_executor(None, process.wait)
        for _, _, radio in self._radios:
            await radio.close()


def status(api: Any, thing: str) -> str:
    """ProvisioningStatus, empty when there is no such thing."""
    try:
        return str(api.get_managed_thing(Identifier=thing)["ProvisioningStatus"])
    except api.exceptions.ResourceNotFoundException:
        return ""


async def until(step: str, condition: Callable[[], object]) -> None:
    """Wait for it; raises StepFailed with the step's name."""

    async def ask() -> object:
        return await asyncio.get_running_loop().run_in_executor(None, condition)

    await until_async(step, ask)


async def until_async(step: str, condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not await condition():
        if time.monotonic() > end:
            raise StepFailed(step)
        await asyncio.sleep(0.05)
