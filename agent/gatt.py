"""Raw GATT, as a gateway protocol needs it of a radio: any device around, adopted or not.

A driver that has it says so in its DriverInfo (`raw_gatt`), and is an OffersGatt. Addresses are upper case ("AA:BB:CC:DD:EE:FF"), UUIDs are
lower case with hyphens, all 36 characters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agent.driver import Driver


class Advert(Protocol):
    """What is known of a device after an advertisement."""

    @property
    def address(self) -> str: ...
    @property
    def address_type(self) -> str:
        """`public`, `random`, or empty where nobody knows."""

    @property
    def rssi(self) -> int:
        """In dBm."""

    @property
    def name(self) -> str: ...
    @property
    def manufacturer(self) -> Mapping[int, bytes]:
        """Company -> data."""

    @property
    def service_data(self) -> Mapping[str, bytes]:
        """UUID -> data."""

    @property
    def services(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Filter:
    """Which adverts a scan tells: from `rssi` dBm on, with `name` in their name."""

    rssi: int = -127
    name: str = ""

    def admits(self, advert: Advert) -> bool:
        return advert.rssi >= self.rssi and self.name in advert.name


class Descriptor(Protocol):
    @property
    def uuid(self) -> str: ...


class Characteristic(Protocol):
    """`flags` in BlueZ's words: read, write, write-without-response, notify, indicate, broadcast, authenticated-signed-writes, ..."""

    @property
    def uuid(self) -> str: ...
    @property
    def handle(self) -> int: ...
    @property
    def flags(self) -> frozenset[str]: ...
    @property
    def descriptors(self) -> tuple[Descriptor, ...]: ...


class Service(Protocol):
    @property
    def uuid(self) -> str: ...
    @property
    def characteristics(self) -> tuple[Characteristic, ...]: ...


class RawGatt(Protocol):
    """The raw side of one running radio. All of it raises DriverError, and DriverLost once the radio is gone."""

    @property
    def places(self) -> int:
        """How many devices the radio connects at once."""

    def check(self) -> None:
        """Raises DriverLost when the radio is gone."""

    async def scan(
        self,
        seconds: float,
        heard: Callable[[Advert], None],
        only: Filter | None = None,
        *,
        active: bool = False,
    ) -> None:
        """Tell all that is heard within `seconds`, repetitions included; what was heard just before is told first."""

    def watch(self, told: Callable[[str, bool], None]) -> Callable[[], None]:
        """Hear who is connected (True) and who is so no more (False); the answer ends that."""

    def want(self, address: str) -> None:
        """Connect it once it is heard and there is a place, and keep it so, until `disconnect`."""

    async def disconnect(self, address: str) -> None: ...

    def connected(self) -> tuple[str, ...]: ...

    def silent_for(self, address: str) -> float:
        """Seconds since it was heard; infinite for one that never was."""

    def rssi(self, address: str) -> int:
        """Of its last advert, in dBm. Raises UnknownDevice for one that never was heard."""

    def address_type(self, address: str) -> str:
        """See Advert; empty also for one that never was heard."""

    async def services(self, address: str) -> tuple[Service, ...]: ...

    async def read(self, address: str, characteristic: int) -> bytes:
        """Characteristics are named by their handles."""

    async def write(self, address: str, characteristic: int, data: bytes) -> None: ...

    async def subscribe(self, address: str, characteristic: int, told: Callable[[bytes], None]) -> None:
        """Hear of changes until `unsubscribe`. The same `told` twice is told once."""

    async def unsubscribe(self, address: str, characteristic: int, told: Callable[[bytes], None]) -> None: ...

    async def read_descriptor(self, address: str, characteristic: int, descriptor: str) -> bytes: ...

    async def write_descriptor(self, address: str, characteristic: int, descriptor: str, data: bytes) -> None: ...


class OffersGatt(Driver, Protocol):
    """A driver whose radio speaks GATT."""

    @property
    def gatt(self) -> RawGatt:
        """Raises DriverLost while the radio is not up."""
