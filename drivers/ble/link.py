"""One connection to one device, over bleak: characteristics and descriptors by their handles."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.driver import DeviceUnreachable, UnknownDevice
from drivers.ble.gatt import Characteristic, Descriptor, Service, Services
from drivers.ble.requests import NothingSent, Requests

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic

Notified = Callable[[bytes], None]
SETTLE = 0.25  # seconds in which bleak may tell of the disconnection itself as of an advertisement
ATT_HEADER = 3  # octets of a write that are no value


class Link:
    """A device that is wanted, connected or not. Its subscriptions outlive a connection."""

    def __init__(
        self, address: str, requests: Requests, answer_timeout: float, broken: "Callable[[Link], None]"
    ) -> None:
        self.address = address
        self.client: BleakClient | None = None
        self.services: Services = ()
        self.prepared = False  # and its subscriptions are there again
        self.attempt: asyncio.Task[None] | None = None
        self.error: Exception | None = None  # of the last attempt
        self.failures = 0
        self.next_try = float("-inf")
        self.used = float("-inf")  # when something was asked of it
        self.since = float("-inf")  # when it was connected
        self.busy = 0  # who uses it now: it does not lose its place to another
        self.stale = float("-inf")  # what was heard before this says nothing: then it was lost
        self._requests, self._limit, self._broken = requests, answer_timeout, broken
        self._listeners: dict[int, list[Notified]] = {}
        self._follower: dict[int, Notified] = {}  # of this connection
        self._notifying: set[int] = set()

    @property
    def connected(self) -> bool:
        return self.client is not None and self.client.is_connected

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within this block it keeps its place."""
        self.busy += 1
        self.used = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self.busy -= 1

    @property
    def ready(self) -> bool:
        return self.prepared and self.connected

    @property
    def _client(self) -> "BleakClient":
        if self.client is None or not self.client.is_connected:
            raise NothingSent("the device is not connected")
        return self.client

    @property
    def mtu(self) -> int:
        """The ATT MTU that was agreed; 23, the least, while nothing is known."""
        sizes = (one.max_write_without_response_size for one in self._client.services.characteristics.values())
        return max((*sizes, 20)) + ATT_HEADER

    # ---- what the device has ----------------------------------------------------------------------------------------

    def take(self, client: "BleakClient") -> None:
        """A connection with its services discovered."""
        self.client = client
        self.services = tuple(
            Service(one.uuid, one.handle, tuple(_characteristic(c) for c in sorted(one.characteristics, key=_handle)))
            for one in sorted(client.services, key=_handle)
        )
        self._notifying.clear()
        self._follower.clear()

    def drop(self) -> None:
        if self.client is not None:
            self.stale = asyncio.get_running_loop().time() + SETTLE
        self.client = None
        self.prepared = False
        self._notifying.clear()

    def find(self, characteristic: str | int, service: str = "") -> Characteristic:
        """By handle or UUID. Raises UnknownDevice."""
        for one in self.services:
            for found in one.characteristics:
                if characteristic in (found.handle, found.uuid) and service in ("", one.uuid):
                    return found
        raise UnknownDevice(f"the device has no characteristic {characteristic}")

    def _of(self, handle: int) -> "BleakGATTCharacteristic":
        found = self._client.services.get_characteristic(handle)
        if found is None:
            raise UnknownDevice(f"the device has no characteristic {handle}")
        return found

    # ---- what it is asked -------------------------------------------------------------------------------------------

    async def read(self, handle: int) -> bytes:
        """Raises DriverError."""
        client, found = self._client, self._of(handle)
        return bytes(await self._ask(lambda: client.read_gatt_char(found), "read"))

    async def write(self, handle: int, data: bytes, *, response: bool | None = None) -> None:
        """With an answer where the characteristic has one, or as `response` says. Raises DriverError."""
        client, found = self._client, self._of(handle)
        answered = "write" in found.properties if response is None else response
        await self._ask(lambda: client.write_gatt_char(found, data, response=answered), "write")

    async def read_descriptor(self, handle: int) -> bytes:
        """Raises DriverError."""
        client = self._client
        return bytes(await self._ask(lambda: client.read_gatt_descriptor(handle), "read of a descriptor"))

    async def write_descriptor(self, handle: int, data: bytes) -> None:
        """Raises DriverError. Notifications are asked for with `subscribe`: BlueZ does not let anybody write 0x2902."""
        client = self._client
        await self._ask(lambda: client.write_gatt_descriptor(handle, data), "write of a descriptor")

    async def follow(self, handle: int, follower: Notified) -> None:
        """Hear of changes until this connection ends. Raises DriverError."""
        self._follower[handle] = follower
        await self._notify(handle)

    async def subscribe(self, handle: int, listener: Notified) -> None:
        """Hear of changes, in this connection and the next ones. Raises DriverError."""
        listeners = self._listeners.setdefault(handle, [])
        if listener not in listeners:
            listeners.append(listener)
        try:
            await self._notify(handle)
        except BaseException:
            listeners.remove(listener)
            raise

    async def unsubscribe(self, handle: int, listener: Notified) -> None:
        """Raises DriverError."""
        listeners = self._listeners.get(handle, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners and handle in self._notifying and handle not in self._follower:
            client, found = self._client, self._of(handle)
            self._notifying.discard(handle)
            await self._ask(lambda: client.stop_notify(found), "end of notifications")

    async def resubscribe(self) -> None:
        """After a connection. Raises DriverError."""
        for handle, listeners in list(self._listeners.items()):
            if listeners:
                await self._notify(handle)

    async def _notify(self, handle: int) -> None:
        if handle in self._notifying:
            return
        client, found = self._client, self._of(handle)

        def told(_sender: Any, data: bytearray) -> None:
            follower = self._follower.get(handle)
            for listener in (*([follower] if follower else ()), *self._listeners.get(handle, ())):
                listener(bytes(data))

        await self._ask(lambda: client.start_notify(found, told), "notifications")
        self._notifying.add(handle)

    async def _ask(self, request: Callable[[], Any], what: str) -> Any:
        client = self.client
        try:
            with self.held():
                return await self._requests.ask(request, limit=self._limit, what=what)
        except DeviceUnreachable:
            # After a time-out ATT allows no further request (Core Specification, Vol 3, Part F, 3.3.3); after the others it is gone.
            if client is not None and self.client is client:
                self._broken(self)
            raise


def _handle(one: Any) -> int:
    return int(one.handle)


def _characteristic(one: "BleakGATTCharacteristic") -> Characteristic:
    descriptors = tuple(Descriptor(d.uuid, d.handle) for d in sorted(one.descriptors, key=_handle))
    return Characteristic(one.uuid, one.handle, frozenset(one.properties), descriptors)
