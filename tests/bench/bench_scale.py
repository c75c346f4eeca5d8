"""Processor time of a report with 1,000 devices and with 10, two houses at once, in turns."""

from rig import Observer, figure, house, load, median, scratch

ROUNDS, RATE, COUNT = 5, 200, 2000
FEW, MANY = 10, 1000


def main() -> None:
    with scratch() as one, scratch() as two, house(one, FEW) as few, house(two, MANY) as many:
        observers = {place.devices: Observer(place.plain) for place in (few, many)}
        costs: dict[int, list[float]] = {FEW: [], MANY: []}
        for turn in range(ROUNDS + 1):
            for place in (few, many):
                result = load(place, observers[place.devices], RATE, COUNT, turn * 300)
                if turn:  # the first one warms up
                    costs[place.devices].append(result["cpu_us_per_report"])
        for observer in observers.values():
            observer.close()
    ratio = median([many / few for few, many in zip(costs[FEW], costs[MANY], strict=True)])
    medians = {f"cpu_us_{devices}_devices": median(values) for devices, values in costs.items()}
    figure("processor time of a report", ratio=ratio, wanted_at_most=1.1, **medians)


if __name__ == "__main__":
    main()
