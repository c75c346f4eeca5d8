"""The Z-Wave driver: the contract of agent.driver on one stick."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.driver import Driver, DriverContext, DriverError, DriverInfo, DriverLost, Firmware, InvalidParameters, Sink
from agent.errors import HubError
from agent.files import write_atomic
from agent.model import Action, JsonValue
from drivers import stick_update
from drivers.serial import candidates
from drivers.single_use import SingleUse, folder_lost
from drivers.zwave.settings import ZwaveSettings, is_server

if TYPE_CHECKING:
    from drivers.zwave.controller import Controller
    from drivers.zwave.multicast import Together
    from drivers.zwave.native import Native
    from drivers.zwave.perform import Contract
    from drivers.zwave.stick_firmware import StickFirmware

log = logging.getLogger(__name__)

STICK = "stick.json"
NODES = "nodes"
WAIT = 86_400.0  # seconds for a device that sleeps


class ZwaveDriver(SingleUse["Contract"]):
    """One connection to one stick."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._together: Together | None = None
        self._native: Native | None = None
        self._stick: StickFirmware | None = None

    async def live(self, sink: Sink) -> None:
        try:
            known = _known(self._context.state_dir / STICK)
        except (OSError, ValueError) as error:
            raise folder_lost(self._context, error) from error
        await self._update_stick()
        controller = await self._find(known)
        try:
            await self._serve(controller, sink)
        finally:
            self._together = self._native = self._stick = None
            controller.link.close()

    async def _serve(self, controller: "Controller", sink: Sink) -> None:
        # cryptography takes a moment to load: only a radio that runs pays for it.
        network_type = import_module("drivers.zwave.network").Network
        book = import_module("drivers.zwave.nodes").NodeBook(self._context.state_dir / NODES, controller.facts.home_id)
        try:
            for damaged in book.load():
                log.warning("a node is interviewed again, its file is damaged: %s", damaged)
            network_keys = import_module("drivers.zwave.keys").network_keys
            keys = network_keys(self._context.secrets, self._context.settings, os.urandom, book.nodes.values())
            stick = {"identity": controller.facts.identity, "port": controller.link.name}
            write_atomic(self._context.state_dir / STICK, json.dumps(stick).encode())
            network = network_type(self._context, sink, controller, book, keys)
        except (OSError, ValueError) as error:
            raise DriverLost(f"what is kept of the network cannot be used: {error}") from error
        except HubError as error:
            raise DriverLost(error.message, place=error.place, remedy=error.remedy) from error
        contract: Contract = import_module("drivers.zwave.perform").Contract(network)
        self.session, self._together = contract, import_module("drivers.zwave.multicast").Together(network, contract)
        self._native = import_module("drivers.zwave.native").Native(network, contract)
        self._stick = import_module("drivers.zwave.stick_firmware").StickFirmware(network, self._context.state_dir)
        await network.serve()

    async def _update_stick(self) -> None:
        """What was ordered for the stick comes before everything else: in its bootloader it is nothing but that. Raises DriverLost."""
        folder, settings = self._context.state_dir, self._context.settings
        if (folder / stick_update.ORDER).exists():
            ports = sorted(candidates(settings.candidates)) if settings.port == "auto" else [settings.port]
            await stick_update.go_on(folder, ports)

    async def _find(self, known: dict[str, str]) -> "Controller":
        """The stick that is ours, started. Raises DriverLost with the remedy."""
        settings: ZwaveSettings = self._context.settings
        ports = [settings.port]
        if settings.port == "auto":
            ports = sorted(candidates(settings.candidates), key=lambda port: port != known.get("port"))
        if not ports:
            text = f"no stick is plugged in (looked at {', '.join(settings.candidates)})"
            raise DriverLost(text, remedy="plug the stick in, or name its path in `port`")
        refusals: list[DriverLost] = []
        for port in ports:
            try:
                return await self._start(port, settings.identity or known.get("identity", ""))
            except DriverLost as refusal:
                refusals.append(refusal)
        telling = [refusal for refusal in refusals if refusal.remedy] or refusals
        others = "".join(f"; {refusal}" for refusal in refusals if refusal is not telling[0])
        raise DriverLost(telling[0].message + others, remedy=telling[0].remedy)

    async def _start(self, port: str, identity: str) -> "Controller":
        settings: ZwaveSettings = self._context.settings
        link = import_module("drivers.zwave.link").Link(port, settings.baudrate)
        await link.open()
        try:
            region = import_module("drivers.zwave.function_tables").Region
            controller: Controller = import_module("drivers.zwave.controller").Controller(
                link,
                region=region[settings.region] if settings.region else None,
                power=settings.tx_power,
                soft_reset=settings.soft_reset,
            )
            facts = await controller.start()
            if identity and facts.identity != identity:
                text = f"the stick on {port} is {facts.identity}, not {identity}"
                raise DriverLost(text, remedy=f'set identity = "{facts.identity}" to use it')
        except BaseException as error:
            link.close(str(error))
            raise
        return controller

    async def reply(self, key: str, text: str) -> None:
        self._running.reply(key, text)

    async def expected(self) -> list[str]:
        return self._running.expected()

    async def expect_no_more(self, address: str) -> bool:
        return self._running.expect_no_more(address)

    async def exclude(self, duration: int) -> None:
        await self._running.exclude(duration)

    async def reset(self) -> None:
        running = self._running
        await running.reset()
        (self._context.state_dir / STICK).unlink(missing_ok=True)

    async def restore(self, document: bytes) -> None:
        await self._running.restore(document)
        (self._context.state_dir / STICK).unlink(missing_ok=True)  # the network may be another one now

    # ---- the stick's own firmware, see UpdatesStick -----------------------------------------------------------------

    @property
    def _running_stick(self) -> "StickFirmware":
        if self._stick is None:
            raise DriverLost("the stick is not connected")
        return self._stick

    async def stick(self) -> Firmware:
        return self._running_stick.firmware()

    async def proved_backup(self) -> Mapping[str, JsonValue]:
        stick_update.check_kept(self._context.settings.backups)
        document = await self._running.backup()
        return await asyncio.to_thread(self._running_stick.held, document)

    async def update_stick(self, image: Path) -> None:
        content = await asyncio.to_thread(stick_update.read, image)
        await self._running_stick.update(content)

    async def rebuild_routes(
        self, key: str, progress: Callable[[str], None], *, wait: float = WAIT
    ) -> Mapping[str, JsonValue]:
        return await self._running.rebuild_routes(key, progress, wait)

    async def set_priority_route(self, key: str, repeaters: tuple[str, ...] | None, speed: int) -> None:
        await self._running.set_priority_route(key, repeaters, speed)

    async def execute_together(
        self, keys: Iterable[str], action: Action, ended: Callable[[str, DriverError | None], None]
    ) -> None:
        if self._together is None:
            raise DriverLost("the stick is not connected")
        await self._together.execute(keys, action, ended)

    def native_commands(self, key: str) -> Mapping[str, Mapping[str, list[str]]]:
        return self._natively.offered(key)

    async def native(
        self, key: str, endpoint: str, command: str, values: Mapping[str, JsonValue], *, wait: float
    ) -> list[dict[str, JsonValue]]:
        return await self._natively.do(key, endpoint, command, values, wait)

    @property
    def _natively(self) -> "Native":
        if self._native is None:
            raise DriverLost("the stick is not connected")
        return self._native

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        """See UpdatesFirmware. The image of the chip, as it said last; what further targets run is told by no command of its own."""
        return (self._running.firmware(key),)

    async def update_firmware(
        self, key: str, image: Path, *, target: int = 0, progress: Callable[[int, int], None]
    ) -> None:
        """See UpdatesFirmware. One device at a time: NotNow for another one meanwhile."""
        running = self._running
        try:
            content = await asyncio.to_thread(image.read_bytes)
        except OSError as error:
            raise InvalidParameters(f"image cannot be read: {error.strerror}", place=str(image)) from error
        await running.update_firmware(key, content, target, progress)

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        return self._running.figures()

    async def details(self, key: str) -> Mapping[str, JsonValue]:
        return await self._running.details(key)


def _known(path: Path) -> dict[str, str]:
    """The stick that was used last; empty where there was none. Raises OSError, ValueError."""
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged")  # noqa: TRY004  what is read, not who calls
    return {str(key): str(value) for key, value in content.items()}


def open_driver(context: DriverContext) -> Driver:
    """A driver for a stick, or for a zwave-js-server that has one."""
    if is_server(context.settings.port):
        driver: Driver = import_module("drivers.zwave.server").ServerDriver(context)
        return driver
    return ZwaveDriver(context)


INFO = DriverInfo(
    kind="zwave",
    settings=ZwaveSettings,
    open=open_driver,
    discovery_kinds=("ZWAVE",),
    excludes_network_wide=True,
    expects=True,
    replaces=True,
    updates_firmware=True,
    updates_stick=True,
)
