"""One GATT device that was adopted: its services compiled, its last values, and its state read, followed and changed."""

import logging
from collections.abc import Callable
from functools import partial

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, NotSupported, UnknownDevice
from agent.model import Action, JsonValue
from drivers.ble.adverts import short
from drivers.ble.catalog import GattMap, wanted
from drivers.ble.gatt_table import (
    DIGITAL,
    FIRMWARE_REVISION,
    INFORMATION_READS,
    MANUFACTURER_NAME,
    MODEL_NUMBER,
    NUMBER_OF_DIGITALS,
    SOFTWARE_REVISION,
)
from drivers.ble.link import Link
from drivers.told import Values

log = logging.getLogger(__name__)

MOST_DIGITALS = 32
LONGEST_NAME = 64

Told = Callable[[str, Values, bool], None]  # address, values, whether they were asked for


class Node:
    """The device behind one connection; a new connection makes a new one."""

    def __init__(self, link: Link, digitals: dict[int, int], told: Told) -> None:
        self.link = link
        self.map = GattMap(link.services, digitals)
        self._told = told
        self._last: dict[int, bytes] = {}

    async def follow(self) -> None:
        """Subscribe to what changes, and read what can be read. Raises DriverError."""
        for handle in self.map.notifies:
            await self.link.follow(handle, partial(self.take, handle))
        await self.read_all()

    async def read_all(self) -> None:
        """Read the state; a characteristic that cannot be read is left out. Raises DeviceUnreachable, DriverLost."""
        for handle in self.map.reads:
            try:
                self.take(handle, await self.link.read(handle), asked=True)
            except (DeviceRefused, NotSupported) as error:
                log.debug("%s: characteristic %d: %s", self.link.address, handle, error)

    def take(self, handle: int, data: bytes, *, asked: bool = False) -> None:
        """A value of a characteristic."""
        self._last[handle] = data
        for values in self.map.report(handle, data):
            self._told(self.link.address, values, asked)

    async def perform(self, action: Action) -> dict[str, JsonValue]:
        """Raises DriverError."""
        if action.name == "ReadState":
            place = self.map.place(action)
            handle = place.characteristic.handle
            if "read" not in place.characteristic.flags:
                data = self._last.get(handle, b"")
            else:
                data = await self.link.read(handle)
                self.take(handle, data, asked=True)
            values = place.decode(data)
            return wanted(action, values.properties) if values is not None else {}
        write = self.map.write(action, self._last)
        await self.link.write(write.handle, write.change(self._last.get(write.handle, b"")))
        return {}

    def confirm(self, action: Action) -> int | None:
        """The characteristic to read after an action, so that its effect is reported."""
        one = self.map.place(action).characteristic
        return one.handle if "read" in one.flags else None

    async def read_back(self, handle: int) -> None:
        """Raises DriverError."""
        self.take(handle, await self.link.read(handle), asked=True)


async def digitals_of(link: Link) -> dict[int, int]:
    """How many digitals each digital characteristic has (descriptor 0x2909; one where there is none). Raises DriverError."""
    found = {}
    for service in link.services:
        for one in service.characteristics:
            handle = next((d.handle for d in one.descriptors if short(d.uuid) == NUMBER_OF_DIGITALS), None)
            if short(one.uuid) == DIGITAL and handle is not None:
                count = (await link.read_descriptor(handle))[:1]
                found[one.handle] = min(max(1, count[0] if count else 1), MOST_DIGITALS)
    return found


async def information_of(link: Link) -> dict[str, str]:
    """Manufacturer, model and firmware from the Device Information Service. Raises DeviceUnreachable, DriverLost."""
    texts: dict[int, str] = {}
    for service in link.services:
        for one in service.characteristics:
            number = short(one.uuid)
            if number in INFORMATION_READS and "read" in one.flags:
                try:
                    texts[number] = _text(await link.read(one.handle))
                except (DeviceUnreachable, UnknownDevice):
                    raise
                except DriverError as error:
                    log.debug("%s: device information: %s", link.address, error)
    firmware = texts.get(FIRMWARE_REVISION) or texts.get(SOFTWARE_REVISION, "")
    return {
        "manufacturer": texts.get(MANUFACTURER_NAME, ""),
        "model": texts.get(MODEL_NUMBER, ""),
        "firmware": firmware,
    }


def _text(data: bytes) -> str:
    """UTF-8 of a stranger, made printable and short."""
    text = data.decode("utf-8", "replace")
    return "".join(letter for letter in text if letter.isprintable())[:LONGEST_NAME].strip()
