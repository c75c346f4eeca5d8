"""An advertisement as its parsers take it, and what they say of it. PURE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from drivers.told import Happened, Values

BASE = "-0000-1000-8000-00805f9b34fb"  # of UUIDs that the Bluetooth SIG gave (Core Specification, Vol 3, Part B, 2.5.1)


def short(uuid: str) -> int | None:
    """The 16-bit number of a UUID of the SIG; None for every other."""
    plain = uuid.lower()
    return int(plain[4:8], 16) if plain.startswith("0000") and plain.endswith(BASE) and len(plain) == 36 else None  # noqa: PLR2004


def full(number: int) -> str:
    """The UUID of a 16-bit number."""
    return f"0000{number:04x}{BASE}"


@dataclass(frozen=True, slots=True)
class Advert:
    """What BlueZ knows of a device after an advertisement: the newest data of each kind, not only what the last packet held."""

    address: str  # AA:BB:CC:DD:EE:FF
    rssi: int = -127
    name: str = ""
    manufacturer: Mapping[int, bytes] = field(default_factory=dict)  # company -> data
    service_data: Mapping[str, bytes] = field(default_factory=dict)  # UUID -> data
    services: tuple[str, ...] = ()  # UUIDs
    address_type: str = ""  # public or random, as BlueZ has it

    def data_of(self, service: int) -> bytes | None:
        """The data of a 16-bit service."""
        return self.service_data.get(full(service))

    def offers(self, services: Iterable[str]) -> bool:
        """Whether one of these services is advertised, or has data in the advertisement."""
        return any(uuid in self.services or uuid in self.service_data for uuid in services)


@dataclass(frozen=True, slots=True)
class Said:
    """What one advertisement of a known format says.

    `packet` counts packets where the format does (equal: the same packet, heard again), `counter` is that of an encrypted one.
    """

    format: str
    values: tuple[Values, ...] = ()
    happened: tuple[Happened, ...] = ()
    unmapped: tuple[str, ...] = ()
    firmware: str = ""
    packet: int | None = None
    counter: int | None = None
