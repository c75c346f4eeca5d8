"""The scan of one adapter: passive where BlueZ can, else active; advertisements as our own words."""

import asyncio
import fnmatch
import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bleak.exc import BleakDBusError, BleakError

from agent.driver import DriverError, DriverLost
from drivers.ble.adverts import Advert
from drivers.ble.formats import PATTERNS
from drivers.ble.requests import Requests
from drivers.ble.settings import BleSettings

if TYPE_CHECKING:
    from bleak import BleakScanner
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

log = logging.getLogger(__name__)

START_LIMIT = 15.0
STOP_LIMIT = 5.0
TRIES, PAUSE = 5, 0.3  # another client of BlueZ may be starting or stopping a scan in this moment
BUSY = ("org.bluez.Error.InProgress", "org.bluez.Error.NotReady")

Heard = Callable[[Advert, Any], None]


class Scanner:
    """Calls `heard` with each advertisement and what bleak knows the device by."""

    def __init__(self, settings: BleSettings, requests: Requests, heard: Heard, *, passive: bool) -> None:
        self._settings, self._requests, self._heard = settings, requests, heard
        self._passive = settings.scan == "passive" or (settings.scan == "auto" and passive)
        self._could_passive = self._passive
        self._scanner: BleakScanner | None = None
        self._active = 0  # who wants it active
        self._changing = asyncio.Lock()

    @property
    def mode(self) -> str:
        return "passive" if self._passive else "active"

    async def start(self) -> None:
        """Raises DriverLost."""
        for turn in range(TRIES):
            try:
                await self._start()
            except DriverLost:
                raise
            except DriverError as error:
                cause = error.__cause__
                if self._passive and self._settings.scan == "auto":
                    log.info("no passive scan, an active one instead: %s", error)
                    self._passive = self._could_passive = False
                elif turn == TRIES - 1 or not (isinstance(cause, BleakDBusError) and cause.dbus_error in BUSY):
                    remedy = (
                        ""
                        if self._settings.scan != "passive"
                        else 'run bluetoothd with --experimental, or set scan = "auto"'
                    )
                    raise DriverLost(error.message, remedy=remedy) from error
                else:
                    await asyncio.sleep(PAUSE * (turn + 1))
            else:
                return

    async def _start(self) -> None:
        scanner: BleakScanner = self._make()
        await self._requests.ask(scanner.start, limit=START_LIMIT, what=f"{self.mode} scan")
        self._scanner = scanner

    def _make(self) -> "BleakScanner":
        kind = import_module("bleak").BleakScanner
        bluez: dict[str, Any] = {"adapter": self._settings.adapter}
        if self._passive:
            bluez["or_patterns"] = [(start, type_, octets) for start, type_, octets in PATTERNS]
        elif self._settings.rssi > -100:  # noqa: PLR2004  the default hears all
            bluez["filters"] = {"RSSI": self._settings.rssi}
        made: BleakScanner = kind(self._detected, scanning_mode=self.mode, bluez=bluez)
        return made

    async def stop(self) -> None:
        """Never raises but for a cancellation: a scan that cannot be stopped ends with its bus."""
        scanner, self._scanner = self._scanner, None
        if scanner is None:
            return
        try:
            await self._requests.ask(scanner.stop, limit=STOP_LIMIT, what="end of the scan")
        except DriverError as error:
            log.debug("%s", error)
        except BleakError as error:
            log.debug("the scan ended with %s", error)

    async def restart(self) -> None:
        """Raises DriverLost."""
        await self.stop()
        await self.start()

    async def actively(self, on: bool) -> None:  # noqa: FBT001  as Window.changed has it
        """A passive scan becomes an active one while anybody wants it: names stand in answers that only an active one asks for."""
        self._active += 1 if on else -1
        async with self._changing:
            passive = self._active == 0
            if self._settings.scan != "auto" or not self._could_passive or self._passive is passive:
                return
            await self.stop()
            self._passive = passive
            await self.start()

    def _detected(self, device: "BLEDevice", data: "AdvertisementData") -> None:
        if data.rssi < self._settings.rssi:
            return
        advert = Advert(
            device.address.upper(),
            data.rssi,
            data.local_name or "",
            data.manufacturer_data,
            data.service_data,
            tuple(data.service_uuids),
            _address_type(device),
        )
        self._heard(advert, device)


def _address_type(device: "BLEDevice") -> str:
    """BlueZ's property; bleak hands all of them on."""
    facts = device.details.get("props", {}) if isinstance(device.details, dict) else {}
    return str(facts.get("AddressType", ""))


def wanted(settings: BleSettings, advert: Advert) -> bool:
    """Whether the filters of the configuration name this device."""
    if settings.services and advert.offers(settings.services):
        return True
    return bool(advert.name) and any(fnmatch.fnmatchcase(advert.name, pattern) for pattern in settings.names)
