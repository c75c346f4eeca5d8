"""Our Z-Wave driver beside zwave-js and @zwave-js/server: the same simulated stick with the same home, one after the other in one run.

The home has 50 nodes on mains that are in the network already, with the keys that each host is given: what whoever moves in has. A host
starts with nothing else. `server` is zwave-js behind @zwave-js/server, `driver` is zwave-js alone, `hub` all of `agent run`.
"""

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rig import AGENT, cpu, figure, median, percentile, rss_mb, scratch, wait_for

from agent.client import Client
from agent.errors import HubError
from drivers.zwave import codec
from drivers.zwave.frame import Data, Signal, Type, encode
from drivers.zwave.functions import request
from drivers.zwave.session import Received, Session, Submit

HERE = Path(__file__).parent
ZWAVEJS = HERE.parent / "conformance" / "zwavejs"
NODES, SENSORS, SETS, REPORTS, RATE, ROUNDS = 50, 5, 300, 1000, 50, 3
SET_ROUNDS = 5  # one loaded moment makes a p99 of its round
INTERVIEW_LIMIT, LOSSY_LIMIT = 180.0, 180.0
LOSS = 0.02
SWITCH_NODE = 2
HOME = """
[radios.zwave]
kind = "zwave"
stick = "800"
home_id = "c0ffee50"
port = "tcp"
keys = {{ S2_UNAUTHENTICATED = "{unauthenticated}", S2_AUTHENTICATED = "{authenticated}" }}
{devices}
"""
DEVICE = """
[[radios.zwave.devices]]
name = "{profile}"
profile = "{profile}"
node = {node}
count = {count}
granted = ["S2_UNAUTHENTICATED", "S2_AUTHENTICATED"]
"""
CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/hub"
runtime_dir = "{folder}/run"
[radios.zwave]
kind = "zwave"
port = "{port}"
s2_unauthenticated_key = "{unauthenticated}"
s2_authenticated_key = "{authenticated}"
"""
KEYS = {"unauthenticated": "11" * 16, "authenticated": "22" * 16}
PROFILES = (("switch", 20), ("dimmer", 15), ("plug", 10), ("cover", 5))


class Stick:
    """A simulated home in a process of its own."""

    def __init__(self, folder: Path, profiles: tuple[tuple[str, int], ...], name: str) -> None:
        folder = folder / name
        folder.mkdir()
        devices, node = "", SWITCH_NODE
        for profile, count in profiles:
            devices += DEVICE.format(profile=profile, node=node, count=count)
            node += count
        home = folder / "home.toml"
        home.write_text(HOME.format(devices=devices, **KEYS))
        command = [*AGENT, "simulate", str(home), "--links", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.port: str = told["port"]
        self._control: str = told["control"]

    def control(self, **request: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._control)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.terminate()
        self._process.wait()


class Host:
    """One of the programs that are compared, on a stick."""

    def __init__(self, name: str, stick: Stick, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if name == "ours":
            command = [sys.executable, str(HERE / "zwave_host.py"), stick.port, str(folder)]
        else:
            port = stick.port.replace("socket://", "tcp://")
            command = ["node", "bench.cjs", port, str(folder), *(["server"] if name == "server" else [])]
        self.begin = time.monotonic()
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, cwd=ZWAVEJS, text=True, bufsize=1, **pipes)
        self.pid = self._process.pid
        self._answers: queue.Queue[Any] = queue.Queue()
        self.seen: dict[str, dict[int, float]] = {
            "interviewed": {},
            "known": {},
            "failed": {},
            "ready": {},
            "error": {},
        }
        self.reasons: dict[int, str] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now = time.monotonic() - self.begin
            message = json.loads(line)
            if message["event"] == "answer":
                self._answers.put(message["result"])
            else:
                node = message.get("node", 0)
                self.seen.setdefault(message["event"], {}).setdefault(node, now)
                if "reason" in message:
                    self.reasons[node] = message["reason"]

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        return self._answers.get(timeout=120)

    def ready(self, nodes: int = 0) -> float:
        """Seconds from its start until it is ready; until so many nodes are known from before as well."""
        wait_for(lambda: self.seen["ready"] and len(self.seen["known"]) >= nodes, 60, f"ready: {self.seen}")
        return max([*self.seen["ready"].values(), *list(self.seen["known"].values())[:nodes]])

    def interviewed(self, nodes: int, limit: float) -> tuple[float, int]:
        """Seconds from its start until the last of the nodes was interviewed, and how many were within `limit`."""
        try:
            wait_for(lambda: len(self.seen["interviewed"]) >= nodes, limit, "interviews")
        except TimeoutError:
            return limit, len(self.seen["interviewed"])
        return max(self.seen["interviewed"].values()), nodes

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()


@contextmanager
def host(name: str, stick: Stick, folder: Path) -> Iterator[Host]:
    made = Host(name, stick, folder)
    try:
        yield made
    finally:
        made.close()


# ---- a home that works ------------------------------------------------------------------------------------------------


def interviews(stick: Stick, folder: Path) -> dict[str, float]:
    """How long each takes for a home that it does not know, from when it is ready."""
    taken = {}
    for name in ("ours", "driver", "server"):
        with host(name, stick, folder / name) as one:
            ready = one.ready()
            ended, complete = one.interviewed(NODES, INTERVIEW_LIMIT)
            taken[name] = ended - ready
            if complete != NODES:
                raise RuntimeError(f"{name}: {complete} of {NODES} interviews; {one.reasons}")
            time.sleep(1)  # what was learned is written
    return taken


def starts(stick: Stick, folder: Path) -> None:
    """With the home known from before."""
    times: dict[str, list[float]] = {"ours": [], "driver": [], "server": []}
    memory: dict[str, list[float]] = {"ours": [], "driver": [], "server": []}
    for _ in range(ROUNDS):
        for name, taken in times.items():
            with host(name, stick, folder / name) as one:
                taken.append(one.ready(NODES if name == "ours" else 0))
                time.sleep(3)  # whatever follows a start has ended
                memory[name].append(rss_mb(one.pid))
    whole = hub(stick, folder)
    ratio = {
        name: median([a / b for a, b in zip(times["ours"], times[name], strict=True)]) for name in ("driver", "server")
    }
    seconds = {f"{name}_s": median(values) for name, values in times.items()}
    figure(
        "zwave: ready from a cold start",
        to_server=ratio["server"],
        wanted_at_most=0.5,
        to_driver=ratio["driver"],
        **seconds,
    )
    size = {f"{name}_mb": median(values) for name, values in memory.items()}
    figure(
        "zwave: memory with 50 nodes",
        to_server=size["ours_mb"] / size["server_mb"],
        wanted_at_most=0.4,
        to_driver=size["ours_mb"] / size["driver_mb"],
        hub_to_server=whole / size["server_mb"],
        **size,
        hub_mb=whole,
    )


def hub(stick: Stick, folder: Path) -> float:
    """Megabytes of the whole hub with this radio, its home interviewed."""
    config = folder / "agent.toml"
    config.write_text(CONFIG.format(folder=folder, port=stick.port, **KEYS))
    client = Client(folder / "run")

    def joined() -> bool:
        try:
            return len(client.get("devices")) >= NODES
        except HubError:
            return False

    with subprocess.Popen([*AGENT, "run", "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(joined, INTERVIEW_LIMIT, "the hub's devices")
            time.sleep(5)
            return rss_mb(process.pid)
        finally:
            process.terminate()


def sets(stick: Stick, folder: Path) -> None:
    """From a call to the report of what it did."""
    times: dict[str, list[list[float]]] = {"ours": [], "driver": []}
    for _ in range(SET_ROUNDS):
        for name, rounds in times.items():
            with host(name, stick, folder / name) as one:
                one.ready(NODES if name == "ours" else 0)
                time.sleep(2)
                one.ask(op="sets", node=SWITCH_NODE, count=20)
                rounds.append(one.ask(op="sets", node=SWITCH_NODE, count=SETS))
    for share, title in ((0.5, "p50"), (0.99, "p99")):
        ours, theirs = ([percentile(values, share) for values in times[name]] for name in ("ours", "driver"))
        ratio = median([a / b for a, b in zip(ours, theirs, strict=True)])
        milliseconds = {"ours_ms": median(ours) * 1e3, "driver_ms": median(theirs) * 1e3}
        figure(f"zwave: set to report, {title}", to_driver=ratio, wanted_at_most=1, **milliseconds)


# ---- a home that reports ----------------------------------------------------------------------------------------------


def reports(folder: Path) -> None:
    """Processor time of each host for a report of a sensor with S2."""
    stick = Stick(folder, (("switch", 1), ("multisensor", SENSORS)), "sensors")
    used: dict[str, float] = {}
    try:
        for name in ("ours", "driver", "server"):
            with host(name, stick, folder / f"sensors-{name}") as one:
                one.ready()
                awake(stick, one)
                used[name] = load(stick, one)
    finally:
        stick.close()
    micro = {f"{name}_us": value * 1e6 for name, value in used.items()}
    to = {f"to_{name}": used["ours"] / used[name] for name in ("driver", "server")}
    figure("zwave: processor time for a report", **to, **micro)


def awake(stick: Stick, one: Host) -> None:
    """Sensors are interviewed while they are awake."""
    names = [d["name"] for d in stick.control(op="list")["devices"] if d["profile"] == "multisensor"]
    end = time.monotonic() + INTERVIEW_LIMIT
    while len(one.seen["interviewed"]) < SENSORS + 1 and time.monotonic() < end:
        for name in names:
            stick.control(op="wake", device=name)
        time.sleep(1)
    if len(one.seen["interviewed"]) < SENSORS + 1:
        raise RuntimeError(f"sensors interviewed: {one.seen} {one.reasons}")
    time.sleep(2)


def load(stick: Stick, one: Host) -> float:
    heard, before = one.ask(op="reports"), cpu(one.pid)
    stick.control(op="load", rate=RATE, count=REPORTS, first=10)
    wait_for(lambda: one.ask(op="reports") - heard >= REPORTS * 0.99, REPORTS / RATE + 30, "the reports")
    return (cpu(one.pid) - before) / (one.ask(op="reports") - heard)


# ---- bad air ----------------------------------------------------------------------------------------------------------


def lossy(stick: Stick, folder: Path) -> None:
    """The interviews once more, where 2 % of the frames are lost for good."""
    stick.control(op="air", lost=LOSS)
    told: dict[str, Any] = {}
    for name in ("ours", "driver"):
        with host(name, stick, folder / f"lossy-{name}") as one:
            ready = one.ready()
            ended, complete = one.interviewed(NODES, LOSSY_LIMIT)
            told |= {
                f"{name}_complete": complete,
                f"{name}_s": ended - ready,
                f"{name}_failed": len(one.seen["failed"]),
            }
    figure("zwave: interview of 50 nodes with 2 % of all frames lost", of=NODES, **told, wanted_complete=NODES)


# ---- frames -----------------------------------------------------------------------------------------------------------


def frames() -> None:
    """One core: what comes in is decoded to a command; requests go out and are answered."""
    command = codec.make("Binary Switch Report", current_value=255, target_value=255, duration=0)
    frame = encode(Data(Type.REQUEST, 0xA8, bytes((0, 1, 2, len(command))) + command + bytes((0, 0x7F, 0x7F))))
    count = 20_000
    session, begin = Session(), time.perf_counter()
    for _ in range(count):
        session.handle(Received(frame), 1.0)
    incoming = count / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for _ in range(count):
        codec.decode(command)
    decoded = count / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for _ in range(count):
        codec.make("Binary Switch Set", target_value=255)
    encoded = count / (time.perf_counter() - begin)
    asked = request("GetVersion")
    answer = encode(Signal.ACK) + encode(Data(Type.RESPONSE, asked.function, b"Z-Wave 7.21\x00\x07"))
    begin = time.perf_counter()
    for number in range(count):
        session.handle(Submit(number, asked), 1.0)
        session.handle(Received(answer), 1.0)
    exchanges = count / (time.perf_counter() - begin)
    rates = {"session_in_per_s": incoming, "exchanges_per_s": exchanges}
    figure("zwave: frames", **rates, decoded_per_s=decoded, encoded_per_s=encoded)


def main() -> None:
    frames()
    with scratch() as folder:
        stick = Stick(folder, PROFILES, "home")
        try:
            taken = interviews(stick, folder)
            to = {f"to_{name}": taken["ours"] / taken[name] for name in ("driver", "server")}
            figure(
                "zwave: interview of a 50-node home", **to, wanted_at_most=1, **{f"{n}_s": s for n, s in taken.items()}
            )
            starts(stick, folder)
            sets(stick, folder)
            reports(folder)
            lossy(stick, folder)
        finally:
            stick.close()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(HERE.parent.parent))
    main()
