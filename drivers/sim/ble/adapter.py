"""One simulated adapter: who scans on it, how, and what a scan hears. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.sim.ble.payloads import Payload

Pattern = tuple[int, int, bytes]  # start, AD type, octets


@dataclass(slots=True)
class Adapter:
    """`mute`: it hears nothing until its scan is restarted ("scan"), it is switched off and on ("power"), or for ever ("never")."""

    name: str
    address: str
    passive: bool = True
    present: bool = True
    powered: bool = True
    mute: str = ""
    filters: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # client -> its discovery filter
    scanning: set[str] = field(default_factory=set)  # clients
    monitors: dict[tuple[str, str], tuple[Pattern, ...]] = field(default_factory=dict)  # client and path
    connecting: str = ""  # path of the device that a connection is being made to

    @property
    def path(self) -> str:
        return f"/org/bluez/{self.name}"

    def hears(self, payload: Payload, rssi: int) -> bool:
        """Whether anybody listens to such an advertisement."""
        if not self.present or not self.powered or self.mute:
            return False
        if any(_admits(self.filters.get(client, {}), payload, rssi) for client in self.scanning):
            return True
        return any(_matches(patterns, payload) for patterns in self.monitors.values())

    def forget(self, client: str) -> None:
        """A client left the bus."""
        self.scanning.discard(client)
        self.filters.pop(client, None)
        for key in [key for key in self.monitors if key[0] == client]:
            del self.monitors[key]

    def quiet(self) -> None:
        """It was switched off, unplugged, or bluetoothd ended: nobody scans any more."""
        self.scanning.clear()
        self.filters.clear()
        self.monitors.clear()
        self.connecting = ""


def _admits(wanted: Mapping[str, Any], payload: Payload, rssi: int) -> bool:
    if rssi < wanted.get("RSSI", -127):
        return False
    services = wanted.get("UUIDs", ())
    return not services or bool({*payload.services, *payload.service_data} & set(services))


def _matches(patterns: tuple[Pattern, ...], payload: Payload) -> bool:
    return any(
        kind == wanted and data[start : start + len(octets)] == octets
        for kind, data in payload.structures()
        for start, wanted, octets in patterns
    )
