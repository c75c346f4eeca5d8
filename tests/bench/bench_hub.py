"""Reports through the whole hub: simulated stick on a pty, daemon, mosquitto, counted at a subscriber of its own."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import paho.mqtt.client as paho
from conftest import Broker, until_async
from daemon import configure, ready
from paho.mqtt.enums import CallbackAPIVersion

from agent.client import Client

DEVICES = 100
HOME = f"""
[radios.stick]
kind = "zigbee"
stick = "ezsp"
[[radios.stick.devices]]
name = "sensor"
profile = "climate"
count = {DEVICES}
"""


class Counter:
    """Distinct reports that reached the broker."""

    def __init__(self, port: int) -> None:
        self.values = 0
        self.last = 0.0
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="counter")
        self.client.on_message = self._heard
        self.client.on_connect = lambda client, *_: client.subscribe("north/hub-1/state", 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _heard(self, _client: Any, _userdata: Any, message: Any) -> None:
        body = json.loads(message.payload)
        for endpoint in body["payload"]["addedStates"]["endpoints"]:
            for capability in endpoint["capabilities"]:
                self.values += capability["id"].startswith("matter.Temperature")
        self.last = time.perf_counter()


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def control(path: str, request: dict[str, Any]) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(json.dumps(request).encode() + b"\n")
    answer: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    return answer


async def send(counter: Counter, path: str, pid: int, rate: int, count: int) -> dict[str, Any]:
    counter.values, before, begin = 0, cpu(pid), time.perf_counter()
    await control(path, {"op": "load", "rate": rate, "count": count, "first": int(time.time()) % 1000 * 10})
    end = begin + count / rate + 30
    while counter.values < count and time.perf_counter() < end:
        await asyncio.sleep(0.05)
    taken, used = counter.last - begin, cpu(pid) - before
    return {
        "asked_per_s": rate,
        "delivered": counter.values,
        "of": count,
        "per_s": round(counter.values / taken),
        "cpu_us_per_report": round(used / max(1, counter.values) * 1e6),
        "cpu_share": round(used / taken, 2),
    }


async def measure(folder: Path, broker: Broker, durability: str) -> None:
    config = configure(folder, broker.port, durability, "publishes_per_second = 0")
    (folder / "home.toml").write_text(HOME)
    agent = [sys.executable, "-m", "agent.cli"]
    home = subprocess.Popen(
        [*agent, "simulate", str(folder / "home.toml"), "--links", str(folder)], stdout=subprocess.PIPE
    )
    assert home.stdout is not None
    path = json.loads(home.stdout.readline())["control"]
    hub = subprocess.Popen([*agent, "run", "-c", str(config)])
    try:
        client = Client(folder / "run")
        await until_async(lambda: ready(client), bool, 30.0)
        joined = list(client.stream("discover", {"kind": "ZIGBEE", "duration": 60}))[-1]["count"]
        print(json.dumps({"bench": "memory", "devices": joined, "rss_mb": round(rss(hub.pid), 1), "wanted_mb": 90}))
        counter = Counter(broker.port)
        await asyncio.sleep(2)
        for title, rate, count in (
            ("100 reports/s", 100, 1000),
            ("line rate, 350/s", 350, 3500),
            ("flat out", 2000, 6000),
        ):
            result = await send(counter, path, hub.pid, rate, count)
            print(json.dumps({"bench": title, "durability": durability, **result}), flush=True)
    finally:
        hub.terminate()
        home.terminate()
        hub.wait()
        home.wait()
        home.stdout.close()


def main() -> None:
    for durability in ("default", "strict"):
        with tempfile.TemporaryDirectory(dir=".") as name:
            folder = Path(name).resolve()
            (folder / "broker").mkdir()
            broker = Broker(folder / "broker", "user root")
            broker.start()
            try:
                asyncio.run(measure(folder, broker, durability))
            finally:
                broker.stop()


if __name__ == "__main__":
    main()
