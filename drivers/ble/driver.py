"""The Bluetooth driver: the contract of agent.driver on one adapter of BlueZ. bleak is imported only when `run` starts."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.driver import DriverContext, DriverInfo, DriverLost, Sink
from agent.errors import install_extra
from agent.model import Command, Discovery, Outcome
from drivers.ble.book import Book
from drivers.ble.settings import BleSettings

if TYPE_CHECKING:
    from drivers.ble.bluez import Bluez
    from drivers.ble.raw import RawGatt
    from drivers.ble.session import Session

DEVICES = "devices.json"


class BleDriver:
    """One connection to one adapter; used once."""

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._session: Session | None = None
        self._used = False

    async def run(self, sink: Sink) -> None:
        if self._used:
            raise RuntimeError("a driver is used once; make another one")
        self._used = True
        settings: BleSettings = self._context.settings
        folder = self._context.state_dir
        book = Book(folder / DEVICES, self._context.name)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            book.load()
        except (OSError, ValueError) as error:
            raise DriverLost(f"the state folder cannot be used: {error}", place=str(folder)) from error
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
            await _to_its_end(bus.check_version())
            self._session = session_type(self._context, sink, bluez, adapter, book)
            await self._session.serve()
        finally:
            self._session = None
            await _to_its_end(_close(bluez, bus.give_back))

    @property
    def _running(self) -> "Session":
        if self._session is None:
            raise DriverLost("the adapter is not open")
        return self._session

    @property
    def gatt(self) -> "RawGatt":
        """Raw GATT of the running radio. Raises DriverLost."""
        made: RawGatt = import_module("drivers.ble.raw").RawGatt(self._running)
        return made

    async def execute(self, command: Command) -> Outcome:
        return await self._running.execute(command)

    async def discover(self, request: Discovery) -> None:
        await self._running.discover(request)

    async def stop_discovery(self) -> None:
        await self._running.stop_discovery()

    async def interview(self, key: str) -> None:
        await self._running.interview(key)

    async def refresh(self, key: str) -> None:
        await self._running.refresh(key)

    async def remove(self, key: str, *, force: bool) -> None:
        await self._running.remove(key, force=force)

    async def backup(self) -> bytes:
        return await self._running.backup()

    async def reset(self) -> None:
        await self._running.reset()

    async def restore(self, document: bytes) -> None:
        await self._running.restore(document)


async def _close(bluez: "Bluez", give_back: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await bluez.close()
    finally:
        await give_back()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Also when it is cancelled meanwhile: a connection that stays open is one that BlueZ keeps."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


INFO = DriverInfo(kind="ble", settings=BleSettings, open=BleDriver, discovery_kinds=("BLE", "CUSTOM"), raw_gatt=True)
