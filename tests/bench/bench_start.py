"""From exec to READY=1 with an empty and with a full outbox, and what the imports of `agent run` take of it."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench_store import row
from rig import AGENT, disk, figure, median

from agent.store import PUT_OUTBOX, Limits, Statement, Store

ROUNDS, BACKLOG = 5, 100_000
CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = 1
tls = false
[radios.zigbee]
kind = "zigbee"
port = "/nowhere/stick"
"""
UNUSED = ("rich", "bleak", "aiocoap", "zigpy_znp", "aiohttp.client")


async def fill(folder: Path, rows: int) -> None:
    store = Store.open(folder, Limits())
    for start in range(0, rows, 10_000):
        await store.submit([Statement(PUT_OUTBOX, [row(n) for n in range(start, start + 10_000)])])
    await store.close()


def start(folder: Path) -> float:
    """Seconds until READY=1."""
    (folder / "agent.toml").write_text(CONFIG.format(folder=folder))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(60)
        begin = time.perf_counter()
        command = [*AGENT, "run", "-c", str(folder / "agent.toml")]
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as hub:
            while b"READY=1" not in manager.recv(4096):
                pass
            taken = time.perf_counter() - begin
            hub.terminate()
    (folder / "notify").unlink()
    return taken


def imports() -> tuple[float, list[str]]:
    """Seconds that the imports of the daemon take, without the radio's; and what is read though nothing uses it."""
    code = "import agent.cli, agent.run, sys, json; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-X", "importtime", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = re.findall(r"import time: +(\d+) \|", result.stderr)
    loaded = set(json.loads(result.stdout))
    return sum(map(int, lines)) / 1e6, [name for name in UNUSED if name in loaded]


def main() -> None:
    times: dict[int, list[float]] = {0: [], BACKLOG: []}
    with disk() as empty, disk() as full:
        asyncio.run(fill(full, BACKLOG))
        start(empty), start(full)
        for _ in range(ROUNDS):
            times[0].append(start(empty))
            times[BACKLOG].append(start(full))
    difference = median([b - a for a, b in zip(times[0], times[BACKLOG], strict=True)])
    figure("start to READY, seconds", empty=median(times[0]), rows_100000=median(times[BACKLOG]), wanted_at_most=2)
    figure("start with 100,000 queued messages, more seconds", difference=difference, wanted_at_most=0.2)
    measured = [imports() for _ in range(ROUNDS)]
    figure("imports of agent run, seconds", seconds=median([m[0] for m in measured]), unused_but_read=measured[0][1])


if __name__ == "__main__":
    main()
