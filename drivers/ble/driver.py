"""The Bluetooth driver: the contract of agent.driver on one adapter of BlueZ. bleak is imported only when `run` starts."""

from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.driver import DriverInfo, DriverLost, Sink
from agent.errors import install_extra
from drivers.ble.book import Book
from drivers.ble.settings import BleSettings
from drivers.single_use import SingleUse, folder_lost
from drivers.tasks import to_its_end

if TYPE_CHECKING:
    from drivers.ble.bluez import Bluez
    from drivers.ble.raw import RawGatt
    from drivers.ble.session import Session

DEVICES = "devices.json"


class BleDriver(SingleUse["Session"]):
    """One connection to one adapter."""

    absent = "the adapter is not open"

    async def live(self, sink: Sink) -> None:
        settings: BleSettings = self._context.settings
        book = Book(self._context.state_dir / DEVICES, self._context.name)
        try:
            book.load()
        except (OSError, ValueError) as error:
            raise folder_lost(self._context, error) from error
        try:
            bluez_type: type[Bluez] = import_module("drivers.ble.bluez").Bluez
            session_type: type[Session] = import_module("drivers.ble.session").Session
        except ImportError as error:
            raise DriverLost(f"bleak cannot be loaded: {error}", remedy=install_extra("ble")) from error
        bus = import_module("drivers.ble.bus")
        bus.take(settings.bus)
        bluez = bluez_type(settings.bus, settings.adapter)
        try:
            adapter = await bluez.open()
            await to_its_end(bus.check_version())
            self.session = session_type(self._context, sink, bluez, adapter, book)
            await self.session.serve()
        finally:
            self.session = None
            await to_its_end(_close(bluez, bus.give_back))

    @property
    def gatt(self) -> "RawGatt":
        """Raw GATT of the running radio. Raises DriverLost."""
        made: RawGatt = import_module("drivers.ble.raw").RawGatt(self._running)
        return made


async def _close(bluez: "Bluez", give_back: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await bluez.close()
    finally:
        await give_back()


INFO = DriverInfo(kind="ble", settings=BleSettings, open=BleDriver, discovery_kinds=("BLE", "CUSTOM"), raw_gatt=True)
