"""Firmware into one Zigbee device, as fast as it asks for it, beside zigpy's own OTA server; and what commands to another device pay for it.

The simulated radio takes 2 ms for a frame, so that a request and its block take 4 ms and 50 bytes go in that: the block-request limit.
zigpy's server is measured at the same stick and device, in turn, each first every other time; neither pauses between blocks. They are
compared by the block that nine of ten take longer than: what else the machine does hits most blocks of either, and not the same. Then
commands are timed, in turns as well: without a transfer, with one at full speed, and with one at the pace that the driver keeps by default.
The home is a process of its own.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from rig import AGENT, figure, median, percentile, scratch

# rig has put the tests' folder on the path
from zigbee_ota_rig import IMAGE_TYPE, MANUFACTURER, body, bulb, image, key  # isort: skip
from zigpy.ota import OtaImageWithMetadata, image as zigpy_image  # isort: skip
from zigpy.ota.providers import BaseOtaImageMetadata  # isort: skip
from bellows.zigbee.application import ControllerApplication  # isort: skip

from agent.clock import SystemClock
from agent.driver import DriverContext, DriverLost
from agent.model import Action, Command, DeviceFound, DeviceId, Discovery, DriverEvent, RadioUp
from agent.secret_store import FileSecrets
from drivers.sim.zigbee.network import LATENCY
from drivers.zigbee.driver import INFO
from drivers.zigbee.ota_transfer import BLOCK_SIZE, Terms
from drivers.zigbee.settings import ZigbeeSettings

ROUNDS = 8
SIZE, LONG, PACED = 12_000, 75_000, 6_250  # bytes of an image: to compare, beside commands at full speed, and paced
UNDISTURBED = 0.1  # of the blocks
TURNS, COMMANDS = 3, 40  # of commands, and of each of their turns
# Seconds between two: faster, and sequence numbers return while zigpy still takes equal answers for doubles.
PAUSE = 0.05
LIMIT = BLOCK_SIZE / (2 * LATENCY)
HOME = """
[radios.stick]
kind = "zigbee"
stick = "ezsp"
"""
NETWORK = {"backup_enabled": False, "topology_scan_enabled": False, "ota": {"enabled": False}, "use_thread": False}


class Stopwatch:
    """Bytes a second: `rate` between the first block and the last, `undisturbed` where nothing else was in the way."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []

    def __call__(self, done: int, _total: int, *_: Any) -> None:
        self.marks.append((time.perf_counter(), done))

    @property
    def rate(self) -> float:
        (begin, first), (end, last) = self.marks[0], self.marks[-1]
        return (last - first) / (end - begin)

    @property
    def undisturbed(self) -> float:
        steps = [(after - before, done - had) for (before, had), (after, done) in pairwise(self.marks) if done > had]
        return median([float(size) for _, size in steps]) / percentile([taken for taken, _ in steps], UNDISTURBED)


@asynccontextmanager
async def driver(folder: Path, interval: float) -> AsyncIterator[tuple[Any, list[DriverEvent]]]:
    """Our driver at the stick, up."""
    settings = ZigbeeSettings(port=str(folder / "stick"), radio="ezsp", update_interval=interval)
    context = DriverContext("zigbee", settings, folder / "state", SystemClock(), FileSecrets(folder / "secrets"))
    made, said = INFO.open(context), list[DriverEvent]()
    running = asyncio.ensure_future(made.run(said.append))
    await seen(said, lambda event: isinstance(event, RadioUp))
    try:
        yield made, said
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def seen(said: list[DriverEvent], wanted: Callable[[DriverEvent], bool], count: int = 1) -> None:
    end = time.monotonic() + 60
    while sum(map(wanted, said)) < count:
        if time.monotonic() > end:
            raise DriverLost("the home does not answer")
        await asyncio.sleep(0.02)


async def ours(folder: Path, version: int) -> Stopwatch:
    async with driver(folder, 0.0) as (made, _):
        watch = Stopwatch()
        await made.update_firmware(key(), put(folder, version, SIZE), progress=watch)
        return watch


async def zigpys(folder: Path, version: int) -> Stopwatch:
    config = {
        "device": {"path": str(folder / "stick")},
        "database_path": str(folder / "state" / "zigbee.db"),
        **NETWORK,
    }
    app = await ControllerApplication.new(config, auto_form=False)
    try:
        file, _ = zigpy_image.parse_ota_image(put(folder, version, SIZE).read_bytes())
        about = BaseOtaImageMetadata(file_version=version, manufacturer_id=MANUFACTURER, image_type=IMAGE_TYPE)
        watch = Stopwatch()
        device = next(one for one in app.devices.values() if str(one.ieee) == key())
        update = asyncio.ensure_future(
            device.update_firmware(OtaImageWithMetadata(metadata=about, firmware=file), watch)
        )
        while not watch.marks or watch.marks[-1][1] < len(file.serialize()):
            await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)  # the device restarts; zigpy would wait for 10 s more
        update.cancel()
        await asyncio.gather(update, return_exceptions=True)
        return watch
    finally:
        await app.shutdown()
        while held(folder / "stick"):  # its transport closes a little later
            await asyncio.sleep(0.02)


def held(path: Path) -> bool:
    """Whether this process has it open."""
    return any(one.resolve() == path.resolve() for one in Path("/proc/self/fd").iterdir())


def put(folder: Path, version: int, size: int) -> Path:
    path = folder / f"{version}.ota"
    path.write_bytes(image(body(size), version=version))
    return path


async def warm(made: Any) -> None:
    """What the start of a driver costs is over."""
    await commands(made, COMMANDS // 4)


async def commands(made: Any, count: int = COMMANDS) -> list[float]:
    """Seconds of single commands to the other device, one after the other."""
    taken: list[float] = []
    while len(taken) < count:
        action = Action("1", "matter.OnOff@1.4", "On" if len(taken) % 2 else "Off")
        begin = time.perf_counter()
        await made.execute(Command("t", DeviceId("zigbee", key(2)), (action,), SystemClock().now().mono + 10))
        taken.append(time.perf_counter() - begin)
        await asyncio.sleep(PAUSE)
    return taken


async def meanwhile(folder: Path, interval: float, size: int, version: int) -> tuple[list[float], float]:
    async with driver(folder, interval) as (made, _):
        watch = Stopwatch()
        update = asyncio.ensure_future(made.update_firmware(key(), put(folder, version, size), progress=watch))
        while not watch.marks:
            await asyncio.sleep(0.01)
        await warm(made)
        taken = await commands(made)
        under_way = not update.done()
        await update
        if not under_way:
            raise RuntimeError("the transfer was over before the commands were")
        return taken, watch.rate


def spread(name: str, seconds: list[float]) -> dict[str, float]:
    return {f"{name}_p50_ms": percentile(seconds, 0.5) * 1e3, f"{name}_p99_ms": percentile(seconds, 0.99) * 1e3}


async def compare(folder: Path, version: int) -> int:
    """Transfers by either server, in pairs; the last version."""
    mine, theirs = list[Stopwatch](), list[Stopwatch]()
    for number in range(ROUNDS):
        pair = ((ours, mine), (zigpys, theirs))
        for transfer, watches in pair if number % 2 else pair[::-1]:
            version += 1
            watches.append(await transfer(folder, version))
    ratios = [one.undisturbed / other.undisturbed for one, other in zip(mine, theirs, strict=True)]
    best = median([watch.undisturbed for watch in mine])
    figure(
        "zigbee ota",
        bytes_per_s=median([watch.rate for watch in mine]),
        undisturbed_bytes_per_s=best,
        zigpy_undisturbed_bytes_per_s=median([watch.undisturbed for watch in theirs]),
        ratio_to_zigpy=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        ratio_of_whole_transfers=median([one.rate / other.rate for one, other in zip(mine, theirs, strict=True)]),
        block_request_limit=LIMIT,
        of_limit=best / LIMIT,
        load=os.getloadavg()[0],
    )
    return version


async def beside(folder: Path, version: int) -> None:
    """Commands without a transfer, beside one at full speed, and beside a paced one."""
    idle, fast, paced = list[float](), list[float](), list[float]()
    rates, paces = list[float](), list[float]()
    for _ in range(TURNS):
        async with driver(folder, 0.0) as (made, _said):
            await warm(made)
            idle += await commands(made)
        taken, rate = await meanwhile(folder, 0.0, LONG, version := version + 1)
        fast, rates = fast + taken, [*rates, rate]
        taken, pace = await meanwhile(folder, Terms().interval, PACED, version := version + 1)
        paced, paces = paced + taken, [*paces, pace]
    figure(
        "commands beside zigbee ota",
        **spread("idle", idle),
        **spread("full_speed", fast),
        **spread("paced", paced),
        ratio_p50_full_speed=median(fast) / median(idle),
        ratio_p99_full_speed=percentile(fast, 0.99) / percentile(idle, 0.99),
        ratio_p99_paced=percentile(paced, 0.99) / percentile(idle, 0.99),
        full_speed_bytes_per_s=median(rates),
        paced_bytes_per_s=median(paces),
        load=os.getloadavg()[0],
    )


async def measure(folder: Path) -> None:
    async with driver(folder, 0.0) as (made, said):
        await made.discover(Discovery("d", "ZIGBEE", 60))
        await seen(said, lambda event: isinstance(event, DeviceFound), 2)
    await beside(folder, await compare(folder, 100))


def table(values: dict[str, Any]) -> str:
    """An inline table of TOML."""
    items = (f"{name} = {table(one) if isinstance(one, dict) else json.dumps(one)}" for name, one in values.items())
    return "{ " + ", ".join(items) + " }"


def main() -> None:
    with scratch() as folder:
        devices = ", ".join(table(one) for one in (bulb(), bulb("other", 2)))
        (folder / "home.toml").write_text(f"{HOME}devices = [{devices}]\n")
        command = [*AGENT, "simulate", str(folder / "home.toml"), "--links", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as home:
            if home.stdout is None:
                raise RuntimeError("the home has no output")
            home.stdout.readline()
            try:
                asyncio.run(measure(folder))
            finally:
                home.terminate()


if __name__ == "__main__":
    main()
