"""Raw GATT: what a gateway protocol needs, for any device, adopted or not. Addresses are upper case, characteristics named by UUID or handle.

A connection that was asked for here is kept, counted among `connections`, and comes back after a loss until `disconnect`.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

from agent.driver import DriverError, UnknownDevice
from agent.gatt import Filter
from drivers.ble.adverts import Advert
from drivers.ble.gatt import Services
from drivers.ble.link import Link, Notified
from drivers.ble.session import Session

Characteristic = str | int  # UUID or handle


RECENT = 30.0  # seconds; BlueZ tells a repetition only where the signal has changed


class RawGatt:
    """The raw side of one running radio (agent.gatt.RawGatt, and more). All methods raise DriverError."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def places(self) -> int:
        """How many devices the radio connects at once, adopted ones among them."""
        return self._session.links.places

    def check(self) -> None:
        """Raises DriverLost when the radio is gone."""
        self._session.requests.check()

    async def scan(
        self,
        seconds: float,
        heard: Callable[[Advert], None],
        only: Filter | None = None,
        *,
        active: bool = False,
    ) -> None:
        """Tell all that is heard within `seconds`, repetitions included; what was heard just before is told first.

        `active` asks devices for their names where the radio's own scan is passive by choice of `scan = "auto"`.
        """
        self._session.requests.check()
        wanted = only or Filter()

        def listen(advert: Advert) -> None:
            if wanted.admits(advert):
                heard(advert)

        for sighting in self._session.seen.all():
            if self._session.now() - sighting.at <= RECENT:
                listen(sighting.advert)
        self._session.devices.listeners.append(listen)
        try:
            if active:
                await self._actively(seconds)
            else:
                await asyncio.sleep(seconds)
        finally:
            self._session.devices.listeners.remove(listen)
        self._session.requests.check()

    async def _actively(self, seconds: float) -> None:
        await self._session.scanner.actively(True)
        try:
            await asyncio.sleep(seconds)
        finally:
            with suppress(DriverError):  # the radio's end must not hide a cancellation; `check` tells of it
                await self._session.scanner.actively(False)

    def watch(self, told: Callable[[str, bool], None]) -> Callable[[], None]:
        """Hear who is connected (True) and who is so no more (False); the answer ends that."""
        watchers = self._session.watchers
        watchers.append(told)
        return lambda: watchers.remove(told)

    def want(self, address: str) -> None:
        """Connect it once it is heard and there is a place, and keep it so, until `disconnect`."""
        self._session.requests.check()
        self._session.links.want(address)

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

    def silent_for(self, address: str) -> float:
        """Seconds since it was heard; infinite for one that never was."""
        found = self._session.seen.get(address)
        return math.inf if found is None else self._session.now() - found.at

    def address_type(self, address: str) -> str:
        """Public or random; empty for one that was not heard."""
        found = self._session.seen.get(address)
        return "" if found is None else found.advert.address_type

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
