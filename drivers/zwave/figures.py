"""How frames get to a node, counted from what the stick reports of its transmissions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.zwave.transmit import Sent

SMOOTHING = 0.25  # weight of the newest round trip


@dataclass(slots=True)
class LinkFigures:
    """Transmissions to one node, since the driver started; `rssi` and `route` are those of its last acknowledgement."""

    sent: int = 0
    lost: int = 0
    retried: int = 0  # acknowledged, but not at the first attempt
    rssi: int | None = None  # dBm
    route: tuple[int, ...] | None = None  # None: the stick does not tell
    changes: int = 0  # of the route
    round_trip: float | None = None  # seconds until the acknowledgement, smoothed
    broken: tuple[int, int] | None = None  # the hop at which the last failure was: from, to

    def delivered(self, sent: Sent) -> None:
        """A transmission was acknowledged."""
        self.sent += 1
        if not sent.reported:
            return
        self.retried += (sent.attempts or 1) > 1
        self.changes += self.route is not None and self.route != sent.repeaters
        self.rssi, self.route = sent.rssi, sent.repeaters
        old = self.round_trip
        self.round_trip = sent.seconds if old is None else old + SMOOTHING * (sent.seconds - old)

    def failed(self, broken: tuple[int, int] | None) -> None:
        """A transmission was not acknowledged."""
        self.sent += 1
        self.lost += 1
        self.broken = broken or self.broken

    def told(self) -> dict[str, Any]:
        """For people and programs; what is not known is left out."""
        known = {
            "rssi": self.rssi,
            "route": None if self.route is None else list(self.route),
            "roundTripMs": None if self.round_trip is None else round(self.round_trip * 1000),
            "brokenHop": None if self.broken is None else list(self.broken),
        }
        counts = {"sent": self.sent, "lost": self.lost, "retried": self.retried, "routeChanges": self.changes}
        return {**counts, **{name: value for name, value in known.items() if value is not None}}


def metrics(figures: Mapping[int, LinkFigures]) -> dict[str, dict[str, float]]:
    """Samples by name and node; what is not known is left out."""
    found: dict[str, dict[str, float]] = {}
    for node, link in figures.items():
        for name, value in link.told().items():
            if isinstance(value, int | float):
                found.setdefault(name, {})[str(node)] = value
    return found
