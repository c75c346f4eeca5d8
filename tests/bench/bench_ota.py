"""Memory that a whole update of 500 MB takes (fetch, verify, unpack, read back, activate), and the time from a job to IN_PROGRESS.

The time is the stand-in's own: from the moment that it queued the job to the one at which it took the hub's IN_PROGRESS.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from conftest import until
from ota_machine import Machine, update
from rig import figure, median, rss_mb, scratch
from slots_rig import tree

from agent.ota.engine import Engine

MB = 1_000_000
SIZE = 500
ROUNDS = 5


def child(folder: Path) -> None:
    """The life of the agent that writes the slot, up to the restart for the new version: its growth beyond what it began with."""
    machine = Machine(folder)
    document = json.loads((folder / "document.json").read_text())
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, begin = rss_mb(os.getpid()), time.perf_counter()
    asyncio.run(carry_out(machine, document))
    taken = time.perf_counter() - begin
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    print(json.dumps({"seconds": taken, "growth_mb": peak - before}))


async def carry_out(machine: Machine, document: dict[str, Any]) -> None:
    async def work(engine: Engine) -> None:
        task = await engine.offer("cloud", "1", 1, document)
        await until(lambda: engine.tasks[task.key].over, 600.0)

    machine.board.start()
    if not await machine.life(work, 600.0):
        raise RuntimeError("the update has ended before its activation")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder's files, from another process."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        if server.stdout is None:
            raise RuntimeError("the server has no output")
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().partition(' port ')[2].split()[0]}"
        finally:
            server.kill()


def memory(folder: Path) -> None:
    maker = Machine(folder / "maker")
    files = {f"agent/part{number}.bin": os.urandom(5 * MB) for number in range(SIZE // 5)}
    path = Path(maker.offer_files(**update(("agent.tar", tree("2.0", more=files, compressed=False))))["path"])
    del files
    hub = folder / "hub"
    hub.mkdir()
    with served(path.parent) as address:
        (hub / "document.json").write_text(json.dumps({"manifestUrl": f"{address}/{path.name}"}))
        command = [sys.executable, __file__, "child", str(hub)]
        told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    speed = SIZE / told["seconds"]
    figure(
        "ota update of 500 MB",
        rss_growth_mb=told["growth_mb"],
        wanted_growth_mb=8,
        mb_per_s=speed,
        load=os.getloadavg()[0],
    )


async def reaction(folder: Path) -> None:
    from update_rig import running  # noqa: PLC0415  it starts a cloud

    times = []
    async with running(folder) as hub:
        for number in range(ROUNDS):
            address = hub.publish(f"0.{number + 1}.0")  # older than what runs: rejected once it is verified
            task = hub.task({"manifestUrl": address})
            await hub.ends(task)
            told = hub.execution(task)
            times.append((told["StartedAt"] - told["QueuedAt"]).total_seconds())
    figure("ota job taken", median_s=median(times), longest_s=max(times), load=os.getloadavg()[0])


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        child(Path(sys.argv[2]))
        return
    with scratch() as folder:
        memory(folder)
    with TemporaryDirectory() as folder:
        asyncio.run(reaction(Path(folder)))


if __name__ == "__main__":
    main()
