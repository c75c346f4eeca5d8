"""Bytes that reach a disk of its own (sectors of a loop device with ext4, journal included) for store, zigpy's database and logs.

Needs root for the loop device; without it nothing is measured and that is said.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig import House, Observer, figure, house, load, median, scratch

ROUNDS = 3
DEVICES, RATE, COUNT = 100, 100, 3000
SECTOR = 512
REAL_RATE = DEVICES / 30  # one report in 30 s from each
DAY = 86_400
SETTLE = 6.0  # ext4 commits its journal every 5 s


@contextmanager
def loop_disk(image: Path) -> Iterator[tuple[Path, str]]:
    """(mount point, name of the block device) of a new ext4 file system that lies in memory."""
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)], check=True)
    mount = image.with_suffix("")
    mount.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
    try:
        device = subprocess.check_output(["findmnt", "-no", "SOURCE", str(mount)], text=True).strip()
        yield mount, Path(device).name
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def written(device: str) -> int:
    """Bytes written to a block device so far, with all that waits in memory."""
    os.sync()
    return int(Path(f"/sys/block/{device}/stat").read_text().split()[6]) * SECTOR


class Meter:
    """Bytes to the disk beyond what the idle hub writes."""

    def __init__(self, device: str) -> None:
        self._device = device
        time.sleep(SETTLE)
        before, begin = written(device), time.monotonic()
        time.sleep(2 * SETTLE)
        self.idle = (written(device) - before) / (time.monotonic() - begin)
        self.restart()

    def restart(self) -> None:
        self._before, self._begin = written(self._device), time.monotonic()

    def read(self) -> float:
        time.sleep(SETTLE)
        taken = time.monotonic() - self._begin
        return max(0.0, written(self._device) - self._before - self.idle * taken)


def online(place: House, observer: Observer, meter: Meter) -> tuple[float, float]:
    """Bytes to disk for a byte of payload, and bytes of payload in a report."""
    ratios, sizes = [], []
    for turn in range(ROUNDS):
        meter.restart()
        load(place, observer, RATE, COUNT, turn * 100)
        ratios.append(meter.read() / observer.payload)
        sizes.append(observer.payload / observer.reports)
    return median(ratios), median(sizes)


def offline(place: House, meter: Meter, size: float) -> float:
    place.stop_broker()
    ratios = []
    for turn in range(ROUNDS):
        meter.restart()
        place.control(op="load", rate=RATE, count=COUNT, first=1000 + turn * 100)
        time.sleep(COUNT / RATE + 2)
        ratios.append(meter.read() / (COUNT * size))
    place.start_broker()
    return median(ratios)


def a_day(place: House, meter: Meter, seconds: float) -> float:
    """GB in a day at one report in 30 s from each device; the window holds the regular writing of state too."""
    meter.restart()
    place.control(op="load", rate=REAL_RATE, count=int(seconds * REAL_RATE), first=3000)
    time.sleep(seconds)
    return (meter.read() + meter.idle * (seconds + SETTLE)) / (seconds + SETTLE) * DAY / 1e9


def measure(durability: str) -> None:
    # strict is printed beside the default: a flush for each message is what it is for
    wanted_online, wanted_offline = {"default": (0.1, 3.5), "strict": (None, None)}[durability]
    with (
        scratch() as folder,
        loop_disk(folder / "disk.img") as (disk, device),
        house(folder / "house", DEVICES, durability=durability, state=disk / "state", log=disk / "hub.log") as place,
    ):
        observer = Observer(place.plain)
        load(place, observer, RATE, 500, 0)
        meter = Meter(device)
        ratio, size = online(place, observer, meter)
        figure(
            "disk bytes for a byte of payload, online", durability=durability, ratio=ratio, wanted_at_most=wanted_online
        )
        real = a_day(place, meter, 320 if durability == "default" else 60)
        figure("GB a day, 100 devices, a report in 30 s each, online", durability=durability, gb=real)
        ratio = offline(place, meter, size)
        figure(
            "disk bytes for a byte of payload, offline",
            durability=durability,
            ratio=ratio,
            wanted_at_most=wanted_offline,
        )
        observer.close()


def main() -> int:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        print('{"bench": "disk", "not measured": "a loop device needs root"}')
        return 0
    for durability in ("default", "strict"):
        measure(durability)
    return 0


if __name__ == "__main__":
    sys.exit(main())
