"""What the benches share: one house (broker, simulated stick, daemon) in processes of their own, and how figures are printed."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import paho.mqtt.client as paho
from certificates import Authority
from conftest import free_port
from paho.mqtt.enums import CallbackAPIVersion

from agent.client import Client
from agent.errors import HubError

AGENT = [sys.executable, "-m", "agent.cli"]
HOME = """
[radios.stick]
kind = "zigbee"
stick = "ezsp"
[[radios.stick.devices]]
name = "sensor"
profile = "climate"
count = {devices}
"""
CONFIG = """
[hub]
id = "hub-1"
state_dir = "{state}"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = {port}
durability = "{durability}"
publishes_per_second = 0
ca = "{folder}/bench-ca.pem"
certificate = "{folder}/hub-1.pem"
key = "{folder}/hub-1.key"
[radios.zigbee]
kind = "zigbee"
port = "{folder}/stick"
radio = "ezsp"
"""
MOSQUITTO = """
per_listener_settings true
persistence false
max_queued_messages 0
max_inflight_messages 0
{user}
listener {plain} 127.0.0.1
allow_anonymous true
listener {tls} 127.0.0.1
cafile {folder}/bench-ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
require_certificate true
use_identity_as_username true
"""


def figure(bench: str, **values: Any) -> None:
    """One line for each figure; floats are rounded to what they are good for."""
    rounded = {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in values.items()}
    print(json.dumps({"bench": bench, **rounded}), flush=True)


def median(values: list[float]) -> float:
    return float(statistics.median(values))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def wait_for(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    end = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(0.02)
    return answer


def cpu(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def scratch(parent: str = "/dev/shm") -> Iterator[Path]:
    """A folder in memory, so that the disk carries only what a bench measures."""
    with tempfile.TemporaryDirectory(dir=parent if Path(parent).is_dir() else None, prefix="hub-agent-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def disk() -> AbstractContextManager[Path]:
    """A folder on the disk."""
    return scratch("/var/tmp")


@dataclass
class Observer:
    """A subscriber without TLS at the same broker: what arrived, when, and how many bytes."""

    port: int
    reports: int = 0
    payload: int = 0
    last: float = 0.0
    arrivals: dict[tuple[str, float], float] = field(default_factory=dict)
    other: dict[int, float] = field(default_factory=dict)  # of the bare publisher: number -> arrival

    def __post_init__(self) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="observer")
        self.client.on_message = self._heard
        subscribed: list[Any] = []
        self.client.on_subscribe = lambda *_: subscribed.append(True)
        self.client.on_connect = lambda client, *_: client.subscribe([("north/hub-1/state", 0), ("bare", 0)])
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        wait_for(lambda: subscribed, 10, "the observer's subscription")

    def reset(self) -> None:
        self.reports = self.payload = 0
        self.arrivals.clear()
        self.other.clear()

    def _heard(self, _client: Any, _userdata: Any, message: Any) -> None:
        now = time.monotonic()
        if message.topic == "bare":
            self.other[int(message.payload[:8])] = now
            return
        self.payload += len(message.payload)
        body = json.loads(message.payload)
        for endpoint in body["payload"]["addedStates"]["endpoints"]:
            for capability in endpoint["capabilities"]:
                if capability["id"].startswith("matter.Temperature"):
                    self.reports += 1
                    value = float(capability["properties"][0]["value"]["propertyValue"])
                    self.arrivals.setdefault((body["managedThingId"], value), now)
        self.last = now

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class House:
    """Broker with mTLS, simulated home and daemon. `state` is where the daemon's disk is (default: in memory)."""

    def __init__(
        self,
        folder: Path,
        devices: int,
        *,
        durability: str = "default",
        state: Path | None = None,
        log: Path | None = None,
        faults: str = "",
    ) -> None:
        self.folder, self.devices, self._faults = folder, devices, faults
        self.plain, self.tls = free_port(), free_port()
        folder.mkdir(exist_ok=True)
        authority = self.authority = Authority(folder, "bench-ca")
        for name in ("broker", "hub-1", "bare"):
            authority.issue(name)
        (folder / "broker.key").chmod(0o644)
        state = state or folder / "state"
        self.database = state / "radios" / "zigbee" / "zigbee.db"
        self._log = log or folder / "hub.log"
        self.config = folder / "agent.toml"
        self.config.write_text(CONFIG.format(folder=folder, state=state, port=self.tls, durability=durability))
        (folder / "home.toml").write_text(HOME.format(devices=devices))
        user = "user root" if os.geteuid() == 0 else ""
        self._mosquitto = folder / "mosquitto.conf"
        self._mosquitto.write_text(MOSQUITTO.format(folder=folder, plain=self.plain, tls=self.tls, user=user))
        self.client = Client(folder / "run")
        self._broker: subprocess.Popen[bytes] | None = None
        self._home: subprocess.Popen[bytes] | None = None
        self.hub: subprocess.Popen[bytes] | None = None
        self._control = ""

    # ---- parts ------------------------------------------------------------------------------------------------------

    def start_broker(self) -> None:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._broker = subprocess.Popen([binary, "-c", str(self._mosquitto)], stdout=log, stderr=log)
        for port in (self.plain, self.tls):
            wait_for(lambda port=port: _listens(port), 10, (self.folder / "mosquitto.log").read_text())

    def stop_broker(self) -> None:
        self._broker = _end(self._broker)

    def start_home(self) -> None:
        faults = ["--faults", self._faults] if self._faults else []
        command = [*AGENT, "simulate", str(self.folder / "home.toml"), "--links", str(self.folder), *faults]
        self._home = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._home.stdout is not None
        self._control = json.loads(self._home.stdout.readline())["control"]

    def start_hub(self, core: int | None = None) -> None:
        with self._log.open("ab") as log:
            self.hub = subprocess.Popen([*AGENT, "run", "-c", str(self.config)], stderr=log)
        if core is not None:
            os.sched_setaffinity(self.hub.pid, {core})
        wait_for(self.online, 60, "hub online; see hub.log")

    def stop_hub(self) -> None:
        self.hub = _end(self.hub)

    @property
    def pid(self) -> int:
        assert self.hub is not None
        return self.hub.pid

    def online(self) -> bool:
        try:
            status = self.client.get("status")
        except HubError:
            return False
        return all(part["status"] == "online" for part in [*status["radios"].values(), *status["uplinks"].values()])

    def join(self) -> int:
        """Let all devices in; how many joined."""
        found = set()
        for line in self.client.stream("discover", {"kind": "ZIGBEE", "duration": 254}):
            if line["what"] == "found":
                found.add(line["nodeId"])
            if len(found) >= self.devices:
                break
        return len(found)

    def control(self, **request: Any) -> dict[str, Any]:
        """One request to the simulated home."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._control)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        return answer

    def close(self) -> None:
        self.stop_hub()
        if self._home is not None and self._home.stdout is not None:
            self._home.stdout.close()
        self._home = _end(self._home)
        self.stop_broker()


@contextmanager
def house(
    folder: Path,
    devices: int,
    core: int | None = None,
    prepare: Callable[[House], None] = lambda _house: None,
    **options: Any,
) -> Iterator[House]:
    """A house that runs, with all its devices joined."""
    made = House(folder, devices, **options)
    prepare(made)
    try:
        made.start_broker()
        made.start_home()
        made.start_hub(core)
        joined = made.join()
        if joined != devices:
            raise RuntimeError(f"{joined} of {devices} devices joined")
        yield made
    finally:
        made.close()


def load(place: House, observer: Observer, rate: int, count: int, first: int) -> dict[str, float]:
    """Send `count` reports at `rate` a second and wait for them; what arrived, how fast, and the daemon's processor time."""
    observer.reset()
    begin, before = time.monotonic(), cpu(place.pid)
    place.control(op="load", rate=rate, count=count, first=first)
    end = begin + count / rate + 60
    while observer.reports < count and time.monotonic() < end:
        time.sleep(0.02)
    taken, used = observer.last - begin, cpu(place.pid) - before
    return {
        "delivered": observer.reports,
        "of": count,
        "per_s": observer.reports / taken,
        "cpu_us_per_report": used / max(1, observer.reports) * 1e6,
        "cpu_share": used / taken,
    }


def bare_zigpy(
    place: House, rate: int, count: int, first: int, core: int | None = None, publish_from: int | None = None
) -> list[float]:
    """When zigpy and bellows without a hub had each report (CLOCK_MONOTONIC). The house's hub must be stopped.

    With `publish_from` each is also published through paho, numbered from there: then this is a bridge and nothing else.
    """
    script = str(Path(__file__).parent / "bare_zigpy.py")
    command = [sys.executable, script, str(place.folder / "stick"), str(place.database), str(count)]
    if publish_from is not None:
        command += [str(place.folder), str(place.tls), str(publish_from)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        process.stdout.readline()  # it listens
        place.control(op="load", rate=rate, count=count, first=first)
        times: list[float] = json.loads(process.stdout.readline())
    return times


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.terminate()
        process.wait()
