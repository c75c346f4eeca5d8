"""The devices of one adapter: who is taken in, what their adverts and characteristics say, who leaves."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol

from agent.driver import DeviceUnreachable, DriverContext, DriverError, Sink, UnknownDevice
from agent.model import (
    Availability,
    AvailabilityChanged,
    Device,
    DeviceEvent,
    DeviceFound,
    DeviceId,
    DeviceJoining,
    DeviceLost,
    Report,
)
from drivers.ble import beacons, bthome, formats
from drivers.ble.adverts import Advert, Said, full
from drivers.ble.bluez import Bluez
from drivers.ble.book import Book, Record, node_id
from drivers.ble.catalog import widen
from drivers.ble.dfu_update import in_bootloader
from drivers.ble.gatt_table import TELLING_SERVICES
from drivers.ble.keys import Bindkeys, opener
from drivers.ble.link import Link
from drivers.ble.links import Links
from drivers.ble.material import Material
from drivers.ble.node import Node, digitals_of, information_of
from drivers.ble.pace import Pace
from drivers.ble.presence import Presence
from drivers.ble.scanner import wanted
from drivers.ble.seen import Seen
from drivers.ble.window import Window
from drivers.told import Values

log = logging.getLogger(__name__)

TELLING = tuple(full(number) for number in TELLING_SERVICES)
BEACONS = ("Eddystone", "iBeacon")


class Life(Protocol):
    """What the devices need of the session that they belong to."""

    bluez: Bluez
    seen: Seen
    links: Links
    window: Window
    presence: Presence
    pace: Pace
    bindkeys: Bindkeys
    book: Book

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...

    def now(self) -> float: ...


class Devices:
    """Everything that is adopted, by address."""

    def __init__(self, context: DriverContext, sink: Sink, session: Life) -> None:
        self._context, self._sink, self._session = context, sink, session
        self._nodes: dict[str, Node] = {}
        self._adopting: dict[str, asyncio.Task[None]] = {}
        self._packets: dict[str, int | None] = {}
        self._saved = True
        self.replayed = 0  # encrypted adverts with a counter that was heard before
        self.locked = 0  # encrypted adverts that no key opens
        self.listeners: list[Callable[[Advert], None]] = []  # raw scans

    def attach(self) -> None:
        """Tell of the known devices, and want their connections."""
        for key, record in self._session.book.devices.items():
            self._session.presence.add(key, self._session.now())
            self._sink(DeviceFound(record.device, known=True))
            if record.gatt:
                if (
                    key in self._session.bluez.held
                ):  # BlueZ keeps what a killed hub has left, and such a device is never heard
                    self._session.spawn(self._session.bluez.disconnect(self._path(key)), f"old connection to {key}")
                self._session.links.want(key)

    def _path(self, key: str) -> str:
        return f"{self._session.bluez.path}/dev_{key.replace(':', '_')}"

    def id(self, key: str) -> DeviceId:
        return DeviceId(self._context.name, key)

    def record(self, key: str) -> Record:
        """Raises UnknownDevice."""
        found = self._session.book.devices.get(key)
        if found is None:
            raise UnknownDevice(f"the radio has no device {key}")
        return found

    async def node(self, key: str) -> Node:
        """A GATT device, connected. Raises DriverError."""
        await self._session.links.get(key)
        found = self._nodes.get(key)
        if found is None:
            raise DeviceUnreachable("the device was connected, and gone again")
        return found

    def save_soon(self) -> None:
        self._saved = False

    def save(self) -> None:
        """What changed meanwhile; tried again later where it fails."""
        if not self._saved:
            try:
                self._write()
            except DriverError as error:
                log.warning("%s", error)

    def _write(self) -> None:
        """Raises DriverError."""
        try:
            self._session.book.save()
        except OSError as error:
            raise DriverError(
                f"the devices cannot be written down: {error.strerror}", place=str(error.filename)
            ) from error
        self._saved = True

    # ---- adverts ----------------------------------------------------------------------------------------------------

    def heard(self, advert: Advert, handle: Any) -> None:
        """On the path of every advertisement."""
        now, key = self._session.now(), advert.address
        fresh = self._session.seen.take(advert, now, handle)
        self._session.links.heard(key)
        for listener in self.listeners:
            listener(advert)
        record = self._session.book.devices.get(key)
        if record is not None:
            back = self._session.presence.heard(key, now)
            if back:
                self._sink(AvailabilityChanged(record.device.id, Availability.ONLINE))
            if not record.gatt and (fresh or back):
                self._say(record, advert)
            elif record.device.model in BEACONS:
                self._tell(key, beacons.present(), asked=False)
        elif self._session.window.admits(key) and key not in self._adopting:
            self._consider(advert)

    def _say(self, record: Record, advert: Advert) -> None:
        key = advert.address
        try:
            said = formats.parse(advert, self._session.bindkeys.opener(key))
        except bthome.LockedError:
            self.locked += 1
            self._rekey(record, advert)
            return
        if said is None or not self._is_new(record, said):
            return
        device = widen(record.device, said)
        if device is not record.device:
            record.device = device
            self.save_soon()
            self._sink(DeviceFound(device))
        for values in said.values:
            self._tell(key, values, asked=False)
        for event in said.happened:
            self._sink(DeviceEvent(record.device.id, event.endpoint, event.capability, event.event, event.fields))

    def _is_new(self, record: Record, said: Said) -> bool:
        """Neither a repetition nor a replay: a packet is said several times, and an encrypted one counts."""
        key = record.device.id.key
        if record.secret and said.counter is None:
            self.replayed += 1  # in clear from one that encrypts: anybody can say that
            return False
        if said.counter is not None:
            if said.counter <= record.counter:
                if said.counter < record.counter:
                    self.replayed += 1
                    self._count_anew(record)
                return False
            record.counter = said.counter
            self.save_soon()
        if said.packet is not None:
            if self._packets.get(key) == said.packet:
                return False
            self._packets[key] = said.packet
        return True

    def _tell(self, key: str, values: Values, asked: bool) -> None:  # noqa: FBT001  as Node.Told has it
        if self._session.pace.take(key, values, self._session.now(), asked=asked):
            self._sink(Report(self.id(key), values.endpoint, values.capability, values.properties))

    def due(self, now: float) -> None:
        """What time brings: held-back values, and who is no longer heard."""
        for key, values in self._session.pace.due(now):
            self._sink(Report(self.id(key), values.endpoint, values.capability, values.properties))
        for key in self._session.presence.absent(now):
            record = self._session.book.devices[key]
            self._sink(AvailabilityChanged(record.device.id, Availability.OFFLINE))
            if record.device.model in BEACONS:
                self._tell(key, beacons.present(False), asked=False)
            self._session.seen.forget(key)  # the same words mean something again when it is back

    # ---- taking in --------------------------------------------------------------------------------------------------

    def _consider(self, advert: Advert) -> None:
        key, material = advert.address, self._session.window.material
        if material is None:
            return
        decrypt = opener(material.bindkey, key) if material.bindkey else None
        try:
            said = formats.parse(advert, decrypt)
        except bthome.LockedError:
            self._session.window.pass_over(key)
            if material.address or not material.bindkey:
                text = "it is encrypted: agent discover ble --auth BINDKEY" if not material.bindkey else "wrong bindkey"
                self._sink(DeviceJoining(self.id(key), "failed", text, node_id(key)))
            return
        if said is not None and (not material.bindkey or said.counter is not None) and not material.bond:
            self._adopt(key, self._take_advert(advert, said, material), "adoption")
        elif material.bindkey or said is not None:
            return
        elif material.address or advert.offers(TELLING) or wanted(self._context.settings, advert):
            self._adopt(key, self._take_gatt(advert, material), "interview")

    def _adopt(self, key: str, work: Coroutine[Any, Any, None], name: str) -> None:
        self._sink(DeviceJoining(self.id(key), "joined", node_id=node_id(key)))
        self._sink(DeviceJoining(self.id(key), "interviewing", node_id=node_id(key)))
        task = self._adopting[key] = self._session.spawn(self._guarded(key, work), f"{name} of {key}")
        task.add_done_callback(lambda _: self._adopting.pop(key, None))

    async def _guarded(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except DriverError as error:
            self._session.window.pass_over(key)
            await self._session.links.leave(key)
            self._sink(DeviceJoining(self.id(key), "failed", error.advice, node_id(key)))

    async def _take_advert(self, advert: Advert, said: Said, material: Material) -> None:
        key = advert.address
        if said.counter is not None:
            await self._session.bindkeys.keep(key, material.bindkey)
        blank = self._blank(key, said.format, secure=said.counter is not None)
        record = Record(widen(blank, said), secret=said.counter is not None)
        self._keep(record)
        self._sink(DeviceFound(record.device))
        self._session.presence.heard(key, self._session.now())
        self._sink(AvailabilityChanged(record.device.id, Availability.ONLINE))
        self._say(record, advert)

    async def _take_gatt(self, advert: Advert, material: Material) -> None:
        key, session = advert.address, self._session
        if not material.bond:
            link = await session.links.get(key)
        else:
            await session.links.unwant(key)  # a bond is made while it is connected to
            session.links.pair.add(key)
            try:
                async with session.bluez.agent(self._path(key), material.passkey):
                    link = await session.links.get(key)
            finally:
                session.links.pair.discard(key)
        blank = self._blank(key, advert.name, secure=material.bond)
        with link.held():
            record = await self._interview(link, Record(blank, gatt=True, bonded=material.bond))
            self._keep(record)
            session.links.want(key)
            self._sink(DeviceFound(record.device))
            await self._follow(link, record)

    def _blank(self, key: str, model: str, *, secure: bool) -> Device:
        return Device(self.id(key), node_id(key), (), model=model, address=key, secure=secure)

    def _keep(self, record: Record) -> None:
        key = record.device.id.key
        self._session.book.devices[key] = record
        try:
            self._write()
        except DriverError:
            del self._session.book.devices[key]  # one that a restart forgets is none
            raise
        self._session.presence.add(key, self._session.now())

    def _rekey(self, record: Record, advert: Advert) -> None:
        """A known device that no key opens, in a window with the key that does: it was given another one."""
        material = self._session.window.material
        if material is None or not material.bindkey or not self._session.window.admits(advert.address):
            return
        data = advert.data_of(bthome.SERVICE)
        if data and opener(material.bindkey, advert.address)(data) is not None:
            self._session.spawn(self._new_key(record, material), f"new bindkey of {advert.address}")

    def _count_anew(self, record: Record) -> None:
        """A window with its key lets a device begin to count anew: its battery was changed. Once, or a replay would do as well."""
        material, key = self._session.window.material, record.device.id.key
        if material is not None and material.bindkey and self._session.window.admits(key):
            self._session.window.pass_over(key)
            record.counter = -1

    async def _new_key(self, record: Record, material: Material) -> None:
        await self._session.bindkeys.keep(record.device.id.key, material.bindkey)
        record.counter, record.secret = -1, True
        record.device = replace(record.device, secure=True)
        self._session.seen.forget(record.device.id.key)
        self.save_soon()
        self._sink(DeviceFound(record.device))

    # ---- GATT -------------------------------------------------------------------------------------------------------

    async def _interview(self, link: Link, record: Record) -> Record:
        """What the device is. Raises DriverError."""
        record.digitals = await digitals_of(link)
        facts: dict[str, Any] = {name: text for name, text in (await information_of(link)).items() if text}
        node = Node(link, record.digitals, self._tell)
        battery = any(one.id == "matter.PowerSource@1.4" for e in node.map.endpoints for one in e.capabilities)
        facts |= {"endpoints": node.map.endpoints, "unmapped": node.map.unmapped, "battery": battery}
        record.device = replace(record.device, **facts)
        return record

    async def connected(self, link: Link) -> None:
        """A wanted device has a connection: follow it, and notice when it became another one. Raises DriverError."""
        record = self._session.book.devices.get(link.address)
        if record is not None and not await in_bootloader(link):  # whose services are not the device's
            before = record.device
            if Node(link, record.digitals, self._tell).map.endpoints != before.endpoints:
                await self._interview(link, record)
            if record.device != before:
                self.save_soon()
                self._sink(DeviceFound(record.device))
            await self._follow(link, record)

    async def _follow(self, link: Link, record: Record) -> None:
        node = Node(link, record.digitals, self._tell)
        self._nodes[link.address] = node
        await node.follow()
        if self._session.presence.heard(link.address, self._session.now(), connected=True):
            self._sink(AvailabilityChanged(record.device.id, Availability.ONLINE))

    def dropped(self, link: Link) -> None:
        self._nodes.pop(link.address, None)
        self._session.presence.dropped(link.address, self._session.now())

    async def interview(self, key: str) -> None:
        """Raises DriverError."""
        record = self.record(key)
        if record.gatt:
            node = await self.node(key)
            await self._interview(node.link, record)
            self.save_soon()
        self._sink(DeviceFound(record.device))

    async def remove(self, key: str, *, force: bool) -> None:
        """Raises UnknownDevice; without `force` also what BlueZ and the key store have against it."""
        record = self._session.book.devices.get(key)
        if record is None and not force:
            raise UnknownDevice(f"the radio has no device {key}")
        self._session.window.pass_over(key)
        adopting = self._adopting.get(key)
        if adopting is not None:
            adopting.cancel()
        await self._session.links.unwant(key)
        try:
            if record is not None and (record.gatt or record.bonded):
                await self._session.bluez.remove_device(self._path(key))
            await self._session.bindkeys.forget(key)
        except DriverError as error:
            if not force:
                raise
            log.warning("%s is removed all the same: %s", key, error)
        if self._session.book.devices.pop(key, None) is not None:
            self._saved = False
            self.save()
        self._session.seen.forget(key)
        self._session.presence.forget(key)
        self._session.pace.forget(key)
        self._packets.pop(key, None)
        self._sink(DeviceLost(self.id(key), "removed"))
