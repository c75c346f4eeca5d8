"""Operations on one connected BLE device, and the events that answer them (protocol notes, sections 5.2 and 5.3).

A read is answered as a changed value, since nRF Cloud's backend hears of no other answer. Writing the descriptor 2902 subscribes or ends
that, and never is a raw write: BlueZ does it, and lets nobody else.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

from agent.cloud.nrf_gateway import GatewayDialect
from agent.cloud.nrf_gateway_values import CLIENT_CONFIGURATION, Path, Place, attribute, places, tree
from agent.driver import DeviceRefused, NotSupported, UnknownDevice
from agent.gateway.outlet import Outlet
from agent.gateway.peers import Peer
from agent.gatt import RawGatt
from agent.wire.nrf_gateway import (
    AttributeOperation,
    CharacteristicEvent,
    CharacteristicRead,
    CharacteristicWrite,
    DescriptorEvent,
    DescriptorRead,
    DescriptorWrite,
    Discover,
    Discovered,
    OfDevice,
)

ON, OFF = b"\x01\x00", b"\x00\x00"
Done = Literal["changed", "write_result"]


class Operations:
    """All methods raise DriverError."""

    def __init__(self, dialect: GatewayDialect, outlet: Outlet) -> None:
        self._dialect, self._outlet = dialect, outlet

    async def arrived(self, gatt: RawGatt, peer: Peer) -> None:
        """It was connected: its subscriptions are made anew, and it is discovered."""
        peer.places = places(await gatt.services(peer.address))
        handles = {place.path: place.characteristic.handle for place in peer.places}
        for path, told in list(peer.subscriptions.items()):
            if path in handles:
                await gatt.subscribe(peer.address, handles[path], told)
            else:  # it has other services than before
                del peer.subscriptions[path]
        await self._discover(gatt, peer)

    async def left(self, gatt: RawGatt, peer: Peer) -> None:
        """The account wants it connected no more; the hub may, which has adopted it."""
        await gatt.disconnect(peer.address)
        handles = {place.path: place.characteristic.handle for place in peer.places}
        for path, told in peer.subscriptions.items():
            if path in handles and peer.address in gatt.connected():
                await gatt.unsubscribe(peer.address, handles[path], told)

    async def perform(self, gatt: RawGatt, peer: Peer, operation: OfDevice) -> None:
        match operation:
            case Discover():
                if peer.read:
                    self._tell(peer)
                else:
                    await self._discover(gatt, peer)
            case CharacteristicRead():
                await self._read(gatt, peer, operation)
            case CharacteristicWrite():
                await self._write(gatt, peer, operation)
            case DescriptorRead():
                await self._read_descriptor(gatt, peer, operation)
            case DescriptorWrite():
                await self._write_descriptor(gatt, peer, operation)

    # ---- discovery --------------------------------------------------------------------------------------------------

    async def _discover(self, gatt: RawGatt, peer: Peer) -> None:
        peer.places = places(await gatt.services(peer.address))
        peer.values, peer.read = {}, False
        for place in peer.places:
            handle = place.characteristic.handle
            if "read" in place.characteristic.flags:
                peer.values[place.path] = await _readable(partial(gatt.read, peer.address, handle))
            for name, whole in place.descriptors.items():
                read = partial(gatt.read_descriptor, peer.address, handle, whole)
                path = (*place.path, name)
                peer.values[path] = self._configuration(peer, place) if not whole else await _readable(read)
        peer.read = True
        self._tell(peer)

    def _tell(self, peer: Peer) -> None:
        device = self._dialect.peer(peer.address, peer.kind, connected=True)
        told = tree(peer.places, peer.values, self._dialect)
        self._outlet.say(Discovered(device=device, services=told), peer.address)

    async def _at(self, gatt: RawGatt, peer: Peer, service: str, characteristic: str) -> Place:
        """Service empty: the first that has the characteristic."""
        if not peer.places:
            peer.places = places(await gatt.services(peer.address))
        for place in peer.places:
            if place.path[1] == characteristic and service in ("", place.path[0]):
                return place
        raise UnknownDevice(f"the device has no characteristic {'/'.join(filter(None, (service, characteristic)))}")

    async def _place(self, gatt: RawGatt, peer: Peer, operation: AttributeOperation) -> Place:
        return await self._at(gatt, peer, operation.service_uuid, operation.characteristic_uuid)

    # ---- characteristics --------------------------------------------------------------------------------------------

    async def _read(self, gatt: RawGatt, peer: Peer, operation: CharacteristicRead) -> None:
        place = await self._place(gatt, peer, operation)
        value = await gatt.read(peer.address, place.characteristic.handle)
        self._value(peer, place.path, value, "changed")

    async def _write(self, gatt: RawGatt, peer: Peer, operation: CharacteristicWrite) -> None:
        place, value = await self._place(gatt, peer, operation), operation.characteristic_value
        await gatt.write(peer.address, place.characteristic.handle, value)
        self._value(peer, place.path, value, "write_result")
        self._value(peer, place.path, value, "changed")

    def _value(self, peer: Peer, path: Path, value: bytes, done: Done) -> None:
        peer.values[path] = value
        device = self._dialect.peer(peer.address, peer.kind, connected=peer.connected, value=True)
        told = attribute(path, value, self._dialect)
        if len(path) == len(("service", "characteristic")):
            event = CharacteristicEvent(type=f"device_characteristic_value_{done}", device=device, characteristic=told)
            self._outlet.say(event, peer.address)
        else:
            descriptor = DescriptorEvent(type=f"device_descriptor_value_{done}", device=device, descriptor=told)
            self._outlet.say(descriptor, peer.address)

    # ---- descriptors ------------------------------------------------------------------------------------------------

    async def _read_descriptor(self, gatt: RawGatt, peer: Peer, operation: DescriptorRead) -> None:
        place = await self._place(gatt, peer, operation)
        whole = _descriptor(place, operation.descriptor_uuid)
        if whole:
            value = await gatt.read_descriptor(peer.address, place.characteristic.handle, whole)
        else:
            value = self._configuration(peer, place)
        self._value(peer, (*place.path, operation.descriptor_uuid), value, "changed")

    async def _write_descriptor(self, gatt: RawGatt, peer: Peer, operation: DescriptorWrite) -> None:
        place, value = await self._place(gatt, peer, operation), operation.descriptor_value
        whole = _descriptor(place, operation.descriptor_uuid)
        if whole:
            await gatt.write_descriptor(peer.address, place.characteristic.handle, whole, value)
        elif value[:1].strip(b"\x00"):
            await self._subscribe(gatt, peer, place)
        else:
            await self._unsubscribe(gatt, peer, place)
        path = (*place.path, operation.descriptor_uuid)
        self._value(peer, path, value, "changed")
        self._value(peer, path, value, "write_result")

    def _configuration(self, peer: Peer, place: Place) -> bytes:
        return ON if place.path in peer.subscriptions else OFF

    async def _subscribe(self, gatt: RawGatt, peer: Peer, place: Place) -> None:
        if place.path not in peer.subscriptions:
            told = self._notified(peer, place.path)
            await gatt.subscribe(peer.address, place.characteristic.handle, told)
            peer.subscriptions[place.path] = told

    async def _unsubscribe(self, gatt: RawGatt, peer: Peer, place: Place) -> None:
        told = peer.subscriptions.pop(place.path, None)
        if told is not None:
            await gatt.unsubscribe(peer.address, place.characteristic.handle, told)

    def _notified(self, peer: Peer, path: Path) -> Callable[[bytes], None]:
        def told(value: bytes) -> None:
            if not peer.gone:
                self._value(peer, path, value, "changed")

        return told


def _descriptor(place: Place, name: str) -> str:
    """Its whole UUID; empty for the one that BlueZ keeps. Raises UnknownDevice."""
    if name not in place.descriptors:
        raise UnknownDevice(f"the characteristic has no descriptor {name}")
    return "" if name == CLIENT_CONFIGURATION else place.descriptors[name]


async def _readable(read: Callable[[], Awaitable[bytes]]) -> bytes:
    """A value, empty where the device does not give it: a discovery goes on without it. Raises DeviceUnreachable, DriverLost."""
    try:
        return await read()
    except (DeviceRefused, NotSupported, UnknownDevice):
        return b""
