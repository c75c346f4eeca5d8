"""The CoAP driver: the contract of agent.driver on the IP network. aiocoap is imported only when `run` starts."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from agent.driver import DriverContext, DriverInfo, DriverLost, Firmware, Sink
from agent.errors import install_extra
from agent.model import Command, Discovery, Outcome
from drivers.coap.book import Book
from drivers.coap.settings import CoapSettings

if TYPE_CHECKING:
    from drivers.coap.session import Session

DEVICES = "devices.json"


class CoapDriver:
    """One life of the devices on the network; used once."""

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._session: Session | None = None
        self._used = False

    async def run(self, sink: Sink) -> None:
        if self._used:
            raise RuntimeError("a driver is used once; make another one")
        self._used = True
        try:
            session = import_module("drivers.coap.session")
        except ImportError as error:
            raise DriverLost(f"the CoAP driver cannot be loaded: {error}", remedy=install_extra("coap")) from error
        settings: CoapSettings = self._context.settings
        gone = session.missing(settings.interfaces)
        if gone:
            text = f"there is no network interface {gone[0]}"
            raise DriverLost(text, remedy="connect it, or name another in `interfaces` (ip link shows them)")
        folder = self._context.state_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            book = Book.load(folder / DEVICES)
        except (OSError, ValueError) as error:
            raise DriverLost(f"the state folder cannot be used: {error}", place=str(folder)) from error
        self._session = session.Session(self._context, sink, book)
        try:
            await self._session.serve()
        finally:
            self._session = None

    @property
    def _running(self) -> "Session":
        if self._session is None:
            raise DriverLost("the driver does not run")
        return self._session

    async def execute(self, command: Command) -> Outcome:
        return await self._running.execute(command)

    async def discover(self, request: Discovery) -> None:
        await self._running.discover(request)

    async def stop_discovery(self) -> None:
        await self._running.window.close()

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

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        """See UpdatesFirmware. Manufacturer and product are the texts of the device object."""
        return await self._running.updates.firmware(key)

    async def update_firmware(
        self, key: str, image: Path, *, target: int = 0, progress: Callable[[int, int], None]
    ) -> None:
        """See UpdatesFirmware. One device at a time; another one waits for its turn."""
        await self._running.updates.update(key, image, target, progress)


INFO = DriverInfo(kind="coap", settings=CoapSettings, open=CoapDriver, discovery_kinds=("COAP",), updates_firmware=True)
