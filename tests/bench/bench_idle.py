"""Memory with 100 devices joined, and wake-ups when nothing happens."""

import time
from pathlib import Path

from rig import figure, house, median, rss_mb, scratch

DEVICES, ROUNDS, WINDOW = 100, 3, 20.0


def wake_ups(pid: int) -> int:
    """How often the threads of a process have slept and woken."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        lines = (thread / "status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total


def main() -> None:
    memory, rates = [], []
    for _ in range(ROUNDS):
        with scratch() as folder, house(folder, DEVICES) as place:
            time.sleep(10)  # what follows the interviews has ended
            memory.append(rss_mb(place.pid))
            before, begin = wake_ups(place.pid), time.monotonic()
            time.sleep(WINDOW)
            rates.append((wake_ups(place.pid) - before) / (time.monotonic() - begin))
    figure("memory", devices=DEVICES, rss_mb=median(memory), wanted_at_most=90)
    figure("wake-ups when idle", per_s=median(rates), wanted_at_most=5)


if __name__ == "__main__":
    main()
