"""Radio frame to broker over mTLS at 100 reports a second, beside a bare paho publisher at the same rate on the same broker.

Both are timed alike, from the frame's (or the call's) start to the arrival at one subscriber; the publisher's own PUBACKs are printed too.
"""

import json
import subprocess
import sys
from pathlib import Path

from rig import House, Observer, bare_zigpy, disk, figure, house, median, percentile, scratch, wait_for

ROUNDS = 5
RATE, COUNT, DEVICES = 100, 1500, 10
WANTED = {"default": 1.2, "strict": 2.0}


def start_bare(place: House, first: int) -> subprocess.Popen[str]:
    script = str(Path(__file__).parent / "bare_paho.py")
    command = [sys.executable, script, str(place.folder), str(place.tls), str(RATE), str(COUNT), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def things(place: House) -> dict[str, int]:
    """managedThingId -> place of the device in the load's turn."""
    names = {device["ieee"]: turn for turn, device in enumerate(place.control(op="list")["devices"])}
    return {device["managedThingId"]: names[device["address"]] for device in place.client.get("devices")}


def both(place: House, observer: Observer, turn: int) -> dict[str, float]:
    observer.reset()
    first, order = turn * 1000, things(place)
    bare = start_bare(place, turn * COUNT)
    assert bare.stdout is not None
    bare.stdout.readline()  # it is connected
    place.control(op="load", rate=RATE, count=COUNT, first=first)
    published = json.loads(bare.stdout.readline())
    bare.wait()
    bare.stdout.close()
    wait_for(lambda: len(observer.arrivals) >= COUNT and len(observer.other) >= COUNT, 30, "all reports")
    sent = place.control(op="sent")["times"]
    ours = []
    for (thing, value), arrival in observer.arrivals.items():
        number = (round(value) - first) * DEVICES + order[thing]
        if 0 <= number < COUNT:  # not what a device said of its own accord
            ours.append(arrival - sent[number])
    paho = [observer.other[turn * COUNT + n] - begin for n, begin in enumerate(published["begin"])]
    return {
        "hub_p50_ms": percentile(ours, 0.5) * 1e3,
        "hub_p99_ms": percentile(ours, 0.99) * 1e3,
        "paho_p50_ms": percentile(paho, 0.5) * 1e3,
        "paho_p99_ms": percentile(paho, 0.99) * 1e3,
        "paho_puback_p99_ms": percentile(published["puback"], 0.99) * 1e3,
    }


def main() -> None:
    for durability, wanted in WANTED.items():
        with scratch() as folder, disk() as state, house(folder, DEVICES, durability=durability, state=state) as place:
            observer = Observer(place.plain)
            both(place, observer, 0)
            rounds = [both(place, observer, turn) for turn in range(1, ROUNDS + 1)]
            observer.close()
            ratio = median([r["hub_p99_ms"] / r["paho_p99_ms"] for r in rounds])
            medians = {name: median([r[name] for r in rounds]) for name in rounds[0]}
            if durability == "default":
                place.stop_hub()
                times = bare_zigpy(place, RATE, COUNT, first=20_000)
                alone = [at - sent for at, sent in zip(times, place.control(op="sent")["times"], strict=True)]
                figures = {"p50_ms": percentile(alone, 0.5) * 1e3, "p99_ms": percentile(alone, 0.99) * 1e3}
                figure("frame to callback of bare zigpy", **figures)
            figure("frame to broker, mTLS", durability=durability, p99_ratio=ratio, wanted_at_most=wanted, **medians)


if __name__ == "__main__":
    main()
