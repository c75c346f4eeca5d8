"""Radio frame to broker over mTLS at 100 reports a second, beside two things that do less, on the same broker in the same run.

- A bare paho publisher at the same rate, in its own process, at the same time: what MQTT alone costs.
- The least bridge (bare_zigpy.py): zigpy, and paho's publish in its callback; nothing stored, checked or translated. After the hub,
  at the same stick. It is the floor of any hub that reads the radio through zigpy.

All are timed alike, from the frame's (or the call's) start to the arrival at one subscriber; the publisher's own PUBACKs are printed too.
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
    return {**spread("hub", ours), **spread("paho", paho), "puback_p99_ms": percentile(published["puback"], 0.99) * 1e3}


def least_bridge(place: House, observer: Observer, turn: int) -> dict[str, float]:
    observer.reset()
    first = turn * COUNT
    times = bare_zigpy(place, RATE, COUNT, first=turn * 1000, publish_from=first)
    wait_for(lambda: len(observer.other) >= COUNT, 30, "all reports")
    sent = place.control(op="sent")["times"]
    zigpy = [at - begin for at, begin in zip(times, sent, strict=True)]
    return {
        **spread("bridge", [observer.other[first + number] - begin for number, begin in enumerate(sent)]),
        **spread("zigpy", zigpy),
    }


def spread(name: str, seconds: list[float]) -> dict[str, float]:
    return {f"{name}_p50_ms": percentile(seconds, 0.5) * 1e3, f"{name}_p99_ms": percentile(seconds, 0.99) * 1e3}


def main() -> None:
    for durability, wanted in WANTED.items():
        with scratch() as folder, disk() as state, house(folder, DEVICES, durability=durability, state=state) as place:
            observer = Observer(place.plain)
            both(place, observer, 0)
            hub = [both(place, observer, turn) for turn in range(1, ROUNDS + 1)]
            place.stop_hub()
            bridge = [least_bridge(place, observer, turn) for turn in range(ROUNDS + 1, 2 * ROUNDS + 1)]
            observer.close()
            rounds = [{**one, **other} for one, other in zip(hub, bridge, strict=True)]
            medians = {name: median([r[name] for r in rounds]) for name in rounds[0]}
            ratios = {
                "p99_to_paho": median([r["hub_p99_ms"] / r["paho_p99_ms"] for r in rounds]),
                "wanted_at_most": wanted,
                "bridge_p99_to_paho": median([r["bridge_p99_ms"] / r["paho_p99_ms"] for r in rounds]),
                "p99_to_bridge": median([r["hub_p99_ms"] / r["bridge_p99_ms"] for r in rounds]),
            }
            figure("frame to broker, mTLS", durability=durability, **ratios, **medians)


if __name__ == "__main__":
    main()
