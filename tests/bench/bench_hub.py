"""Reports through the whole hub on one core: stick on a pty, daemon, mTLS, broker, counted at a subscriber; beside bare zigpy."""

from rig import House, Observer, bare_zigpy, figure, house, load, median, scratch

ROUNDS = 5
FLAT_OUT, COUNT = 3000, 4000
LINE_RATE = 500  # more than 115,200 baud carries, so that the line is what limits
DEVICES = 100


def flat_out(place: House, observer: Observer) -> list[dict[str, float]]:
    load(place, observer, 100, 300, 0)
    return [load(place, observer, FLAT_OUT, COUNT, 1000 * (1 + turn)) for turn in range(ROUNDS)]


def bare(place: House) -> float:
    """Reports a second that bellows and zigpy alone take from the same simulated stick, on the same core."""
    rates = []
    for turn in range(ROUNDS):
        times = bare_zigpy(place, FLAT_OUT, COUNT, first=10_000 + 1000 * turn, core=0)
        rates.append((len(times) - 1) / (times[-1] - times[0]))
    return median(rates)


def summary(results: list[dict[str, float]]) -> dict[str, float]:
    return {name: median([result[name] for result in results]) for name in ("per_s", "cpu_us_per_report", "cpu_share")}


def whole(results: list[dict[str, float]]) -> bool:
    return all(result["delivered"] >= result["of"] for result in results)


def main() -> None:
    for durability in ("default", "strict"):
        with scratch() as folder, house(folder, DEVICES, core=0, durability=durability) as place:
            observer = Observer(place.plain)
            results = flat_out(place, observer)
            observer.close()
            best = summary(results)
            figure("flat out, one core", durability=durability, wanted_per_s=900, all_delivered=whole(results), **best)
            if durability == "default":
                place.stop_hub()
                alone = bare(place)
                figure("bare zigpy, one core", per_s=alone, hub_to_bare=best["per_s"] / alone)
    with scratch() as folder, house(folder, DEVICES, core=0, faults="baud=115200") as place:
        observer = Observer(place.plain)
        results = [load(place, observer, LINE_RATE, 2000, 1000 * turn) for turn in range(3)]
        observer.close()
        figure("115,200 baud, saturated", all_delivered=whole(results), **summary(results))


if __name__ == "__main__":
    main()
