"""A certificate is rotated under load: messages lost, and seconds without uplink. And a first start: from exec to the first state report."""

import subprocess
import time
from itertools import pairwise

from rig import AGENT, House, Observer, figure, house, median, scratch, wait_for

ROTATIONS, RATE, SECONDS, DEVICES = 5, 50, 60, 10
IDENTITY = """
[identity]
ca_certificate = "{folder}/bench-ca.pem"
ca_key = "{folder}/bench-ca.key"
"""


def with_own_authority(place: House) -> None:
    """The hub has no certificate in its configuration: it signs its own."""
    text = place.config.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("certificate =", "key ="))]
    place.config.write_text("\n".join(lines) + IDENTITY.format(folder=place.folder))
    place.authority.key_file()


def gaps(place: House, observer: Observer) -> list[float]:
    """How long the uplink was away each time, by the times at which reports arrived."""
    longest: list[float] = []
    for _ in range(ROTATIONS):
        before = time.monotonic()
        subprocess.run([*AGENT, "identity", "rotate", "-c", str(place.config)], check=True, stdout=subprocess.DEVNULL)
        time.sleep(1.0)
        arrived = sorted(at for at in observer.arrivals.values() if at > before - 1)
        longest.append(max(later - earlier for earlier, later in pairwise(arrived)))
        time.sleep(3.0)
    return longest


def rotation() -> None:
    with scratch() as folder, house(folder, DEVICES, prepare=with_own_authority) as place:
        observer = Observer(place.plain)
        count = RATE * SECONDS
        place.control(op="load", rate=RATE, count=count, first=1000)
        away = gaps(place, observer)
        wait_for(lambda: len(observer.arrivals) >= count or time.monotonic() - observer.last > 10, 120, "all reports")
        observer.close()
        figure(
            "rotation under load",
            rotations=ROTATIONS,
            reports=count,
            lost=count - len(observer.arrivals),
            uplink_away_s=median(away),
            longest_s=max(away),
        )


if __name__ == "__main__":
    rotation()
