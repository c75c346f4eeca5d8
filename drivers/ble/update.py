"""Firmware of Bluetooth devices: what they run, and how they are given another one: MCUmgr (SMP) or Nordic's legacy DFU."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.driver import DeviceUnreachable, Firmware, InvalidParameters, NotSupported, version_number
from drivers.ble import dfu, dfu_package, dfu_update, mcuboot, smp_update
from drivers.ble.book import Record
from drivers.ble.devices import Devices
from drivers.ble.link import Link
from drivers.ble.links import Links
from drivers.ble.node import information_of
from drivers.ble.seen import Seen

log = logging.getLogger(__name__)


class Life(Protocol):
    """What updates need of the session that they belong to."""

    links: Links
    seen: Seen
    devices: Devices


class Updates:
    """Of one adapter. `patience`: seconds for a device that restarts."""

    def __init__(self, session: Life, patience: float) -> None:
        self._session, self._patience = session, patience
        self._one = asyncio.Lock()
        self._lost: dict[str, float] = {}  # see DfuUpdate

    # ---- what it runs -----------------------------------------------------------------------------------------------

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        """Asked from the device; one that does not hear is as it said last. Raises as UpdatesFirmware.firmware."""
        record = self._updatable(key)
        try:
            versions = await self._ask(key)
        except DeviceUnreachable:
            versions = record.firmware or _at_the_interview(record)
            if not versions:
                raise
        self._keep(record, versions)
        device = record.device
        return tuple(Firmware(device.manufacturer, device.model, one, target) for target, one in versions.items())

    def _updatable(self, key: str) -> Record:
        record = self._session.devices.record(key)
        if not record.gatt:
            raise NotSupported("the device only advertises: it takes no firmware", place=key)
        return record

    async def _ask(self, key: str) -> dict[int, int]:
        """The version of each image, by its number. Raises DriverError."""
        link = await self._session.links.get(key)
        if smp_update.offers(link.services):
            async with smp_update.conversation(self._session.links, key) as talk:
                slots = [one for one in await talk.slots() if one.active]
            found = {one.image: version_number(one.version) for one in slots}
            return {image: version for image, version in found.items() if version is not None}
        if not dfu.offers(link.services):
            raise NotSupported("the device takes no firmware over the air", place=key)
        return await self._application(link)

    async def _application(self, link: Link) -> dict[int, int]:
        """The version of an application: that of the Device Information Service. Raises DriverError."""
        if await dfu_update.in_bootloader(link):
            raise DeviceUnreachable("the device is in its boot loader, which does not know what it runs")
        told = (await information_of(link))["firmware"]
        version = version_number(told)
        if version is None:
            raise NotSupported(
                f"the device does not say which version it runs ({told or 'nothing'})", place=link.address
            )
        return {0: version}

    def _keep(self, record: Record, versions: dict[int, int]) -> None:
        if record.firmware != versions:
            record.firmware = dict(versions)
            self._session.devices.save_soon()

    # ---- an update --------------------------------------------------------------------------------------------------

    async def update(self, key: str, path: Path, target: int, progress: Callable[[int, int], None]) -> None:
        """See UpdatesFirmware.update_firmware. One at a time: two would share the same air."""
        self._updatable(key)
        content = await asyncio.to_thread(_read, path)
        async with self._one:
            if dfu_package.is_zip(content):
                await self._dfu(key, content, path, target, progress)
            else:
                await self._smp(key, content, path, target, progress)
            await self._tell(key)

    async def _smp(
        self, key: str, content: bytes, path: Path, target: int, progress: Callable[[int, int], None]
    ) -> None:
        try:
            image = mcuboot.parse(content)
        except mcuboot.ImageError as error:
            raise InvalidParameters(f"this is no image of MCUboot: {error}", place=str(path)) from error
        order = smp_update.Order(content, image, target, progress, self._patience)
        await smp_update.SmpUpdate(self._session.links, key, order).run()

    async def _dfu(
        self, key: str, content: bytes, path: Path, target: int, progress: Callable[[int, int], None]
    ) -> None:
        if target:
            raise InvalidParameters(f"a device with DFU has no image {target}", place=str(path))
        try:
            package = dfu_package.parse(content)
        except dfu_package.PackageError as error:
            raise InvalidParameters(f"this is no package of DFU: {error}", place=str(path)) from error
        order = dfu_update.Order(package, progress, self._patience)
        await dfu_update.DfuUpdate(self._session.links, self._session.seen, key, order, self._lost).run()

    async def _tell(self, key: str) -> None:
        """The version that people see; an update that is done is done without it as well."""
        try:
            await self._session.devices.interview(key)
        except DeviceUnreachable as error:
            log.info("%s has its new firmware, and does not tell more of itself: %s", key, error)


def _at_the_interview(record: Record) -> dict[int, int]:
    version = version_number(record.device.firmware)
    return {} if version is None else {0: version}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(mcuboot.LARGEST + 1)
    except OSError as error:
        raise InvalidParameters(f"the image cannot be read: {error.strerror}", place=str(path)) from error
    if not 0 < len(content) <= mcuboot.LARGEST:
        raise InvalidParameters(f"the image is empty, or has more than {mcuboot.LARGEST} octets", place=str(path))
    return content
