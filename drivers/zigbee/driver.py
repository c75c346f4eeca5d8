"""The Zigbee driver: the contract of agent.driver on one stick. zigpy is imported only when `run` starts."""

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.driver import DriverContext, DriverInfo, DriverLost, Firmware, InvalidParameters, Sink
from agent.errors import install_extra
from agent.model import JsonValue
from drivers import stick_update
from drivers.serial import candidates
from drivers.single_use import SingleUse, folder_lost
from drivers.tasks import to_its_end
from drivers.zigbee.lazy import lazily
from drivers.zigbee.nodes import NodeBook
from drivers.zigbee.settings import ZigbeeSettings

if TYPE_CHECKING:
    from drivers.zigbee.session import Session
    from drivers.zigbee.stick_firmware import StickFirmware

DATABASE = "zigbee.db"
NODES = "nodes.json"


class ZigbeeDriver(SingleUse["Session"]):
    """One connection to one coordinator."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._stick: StickFirmware | None = None

    async def live(self, sink: Sink) -> None:
        with lazily("aiohttp", "jsonschema"):
            radio = import_module("drivers.zigbee.radio")
            session_type: type[Session] = import_module("drivers.zigbee.session").Session
        settings: ZigbeeSettings = self._context.settings
        folder = self._context.state_dir
        try:
            book = NodeBook.load(folder / NODES)
        except (OSError, ValueError) as error:
            raise folder_lost(self._context, error) from error
        if (folder / stick_update.ORDER).exists():
            ports = sorted(candidates(settings.candidates)) if settings.port == "auto" else [settings.port]
            await stick_update.go_on(folder, ports)
        quirks = await asyncio.to_thread(load_quirks) if settings.quirks else None
        link = await radio.find(settings, book.stick, folder / DATABASE, quirks)
        try:
            await radio.start(link, self._context.secrets)
            self.session = session_type(self._context, sink, link, book)
            self._stick = import_module("drivers.zigbee.stick_firmware").StickFirmware(link, folder)
            await self.session.serve()
        finally:
            self.session = self._stick = None
            await to_its_end(radio.close(link))

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        return await self._running.firmware(key)

    async def update_firmware(
        self, key: str, image: Path, *, target: int = 0, progress: Callable[[int, int], None]
    ) -> None:
        if target:
            raise InvalidParameters(f"a Zigbee device has one image, and no target {target}")
        await self._running.update_firmware(key, image, progress)

    # ---- the stick's own firmware, see UpdatesStick -----------------------------------------------------------------

    @property
    def _running_stick(self) -> "StickFirmware":
        if self._stick is None:
            raise DriverLost("the stick is not connected")
        return self._stick

    async def stick(self) -> Firmware:
        return self._running_stick.firmware()

    async def proved_backup(self) -> Mapping[str, JsonValue]:
        return self._running_stick.held(await self._running.backup())

    async def update_stick(self, image: Path) -> None:
        content = await asyncio.to_thread(stick_update.read, image)
        await self._running_stick.update(content)


def load_quirks() -> Callable[[Any], Any]:
    """The corrections of zha-quirks as zigpy's device resolver. Takes seconds. Raises DriverLost when they are not installed."""
    try:
        import_module("zhaquirks").setup()
        registry = import_module("zha.quirks").DEVICE_REGISTRY
    except ImportError as error:
        remedy = f"with Python 3.12 or newer: {install_extra('quirks')}; or set quirks = false"
        raise DriverLost(f"device quirks cannot be loaded: {error}", remedy=remedy) from error
    resolve: Callable[[Any], Any] = registry.resolve
    return resolve


INFO = DriverInfo(
    kind="zigbee",
    settings=ZigbeeSettings,
    open=ZigbeeDriver,
    discovery_kinds=("ZIGBEE",),
    updates_firmware=True,
    updates_stick=True,
)
