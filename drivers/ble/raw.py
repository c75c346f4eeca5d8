"""Raw GATT: what a gateway protocol needs, for any device, adopted or not. Addresses are upper case, characteristics named by UUID or handle.

A connection that was asked for here is kept, counted among `connections`, and comes back after a loss until `disconnect`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.driver import UnknownDevice
from drivers.ble.adverts import Advert
from drivers.ble.gatt import Services
from drivers.ble.link import Link, Notified
from drivers.ble.session import Session

Characteristic = str | int  # UUID or handle


@dataclass(frozen=True, slots=True)
class Filter:
    """Which adverts a scan tells: from `rssi` dBm on, with `name` in their name."""

    rssi: int = -127
    name: str = ""

    def admits(self, advert: Advert) -> bool:
        return advert.rssi >= self.rssi and self.name in advert.name


class RawGatt:
    """The raw side of one running radio. All methods raise DriverError."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def scan(self, seconds: float, heard: Callable[[Advert], None], only: Filter | None = None) -> None:
        """Tell all that is heard within `seconds`, repetitions included; what was heard before is told first."""
        self._session.requests.check()
        wanted = only or Filter()

        def listen(advert: Advert) -> None:
            if wanted.admits(advert):
                heard(advert)

        for sighting in self._session.seen.again():
            listen(sighting.advert)
        self._session.devices.listeners.append(listen)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._session.devices.listeners.remove(listen)
        self._session.requests.check()

    async def connect(self, address: str) -> Services:
        """Connect, and keep connected; its services."""
        self._session.links.want(address)
        return (await self._link(address)).services

    async def disconnect(self, address: str) -> None:
        """An adopted device stays connected: it is still wanted."""
        if address not in self._session.book.devices:
            await self._session.links.unwant(address)

    def connected(self) -> tuple[str, ...]:
        """The addresses of all connected devices."""
        return self._session.links.addresses()

    async def services(self, address: str) -> Services:
        return (await self._link(address)).services

    async def read(self, address: str, characteristic: Characteristic, service: str = "") -> bytes:
        link = await self._link(address)
        return await link.read(link.find(characteristic, service).handle)

    async def write(
        self,
        address: str,
        characteristic: Characteristic,
        data: bytes,
        *,
        service: str = "",
        response: bool | None = None,
    ) -> None:
        """`response` None: with one where the characteristic knows it."""
        link = await self._link(address)
        await link.write(link.find(characteristic, service).handle, data, response=response)

    async def subscribe(
        self, address: str, characteristic: Characteristic, told: Notified, *, service: str = ""
    ) -> None:
        """Hear of changes, also after a reconnection, until `unsubscribe`."""
        link = await self._link(address)
        await link.subscribe(link.find(characteristic, service).handle, told)

    async def unsubscribe(
        self, address: str, characteristic: Characteristic, told: Notified, *, service: str = ""
    ) -> None:
        link = await self._link(address)
        await link.unsubscribe(link.find(characteristic, service).handle, told)

    async def read_descriptor(self, address: str, characteristic: Characteristic, descriptor: str) -> bytes:
        link = await self._link(address)
        return await link.read_descriptor(_descriptor(link, characteristic, descriptor))

    async def write_descriptor(
        self, address: str, characteristic: Characteristic, descriptor: str, data: bytes
    ) -> None:
        link = await self._link(address)
        await link.write_descriptor(_descriptor(link, characteristic, descriptor), data)

    async def mtu(self, address: str) -> int:
        """The ATT MTU of the connection."""
        return (await self._link(address)).mtu

    def rssi(self, address: str) -> int:
        """Of the last advert, in dBm; BlueZ tells none of a connection. Raises UnknownDevice."""
        found = self._session.seen.get(address)
        if found is None:
            raise UnknownDevice(f"{address} was not heard")
        return found.advert.rssi

    async def _link(self, address: str) -> Link:
        return await self._session.links.get(address)


def _descriptor(link: Link, characteristic: Characteristic, descriptor: str) -> int:
    for one in link.find(characteristic).descriptors:
        if one.uuid == descriptor:
            return one.handle
    raise UnknownDevice(f"the characteristic has no descriptor {descriptor}")
