"""One running connection: the parts of the driver put together, their tasks, and their common end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agent.driver import (
    DeviceUnreachable,
    DriverContext,
    DriverError,
    Firmware,
    NotNow,
    Sink,
    execute_each,
)
from agent.model import (
    Action,
    Availability,
    AvailabilityChanged,
    Command,
    DeviceId,
    Discovery,
    JoinWindow,
    JsonValue,
    Outcome,
    RadioUp,
)
from drivers.tasks import Tasks
from drivers.zigbee import commands, radio
from drivers.zigbee.availability import Watch
from drivers.zigbee.backup import RESTORE_TIMEOUT, Backups, move_in
from drivers.zigbee.catalog import ZclRead
from drivers.zigbee.devices import Devices
from drivers.zigbee.join import Window
from drivers.zigbee.node import Node, Poll
from drivers.zigbee.nodes import NodeBook
from drivers.zigbee.ota import Updates
from drivers.zigbee.ota_book import FirmwareBook
from drivers.zigbee.ota_transfer import Terms
from drivers.zigbee.requests import Requests

log = logging.getLogger(__name__)

FIRMWARE = "firmware.json"
BACKGROUND_TASKS = 4  # devices that are read, pinged or polled at once; commands do not wait for them
POLL_LOOK = 60.0  # seconds until new devices are looked at for polls


class Session:
    """From the open stick to its end. Made by `open_session`."""

    def __init__(self, context: DriverContext, sink: Sink, link: radio.Link, book: NodeBook) -> None:
        settings = context.settings
        self._context = context
        self._sink = sink
        self._link = link
        self._book = book
        self._tasks = Tasks(context.name, link.lost)
        self.spawn, self.bug = self._tasks.spawn, self._tasks.bug
        self.poll_interval: float = settings.poll_interval
        self._background = asyncio.Semaphore(BACKGROUND_TASKS)
        self._wake = asyncio.Event()
        self.requests = Requests(link)
        self.watch = Watch(mains_timeout=settings.mains_timeout, battery_timeout=settings.battery_timeout)
        self.window = Window(
            context.name, link, self.requests, sink, self.spawn, require_code=settings.require_install_code
        )
        self.stop_discovery = self.window.close
        move_in(context.state_dir / "backups", context.secrets)
        self.backups = Backups(link, self.requests, context.secrets, settings.backups)
        terms = Terms(settings.update_interval, settings.update_patience)
        firmware = FirmwareBook(context.state_dir / FIRMWARE)
        self.updates = Updates(self.requests, firmware, context.clock, terms, self.bug)
        self.devices = Devices(context, link, book, sink, self)

    # ---- life -------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run until the link is lost (raises DriverLost) or this is cancelled."""
        try:
            await self._tasks.serve(self._begin)
        finally:
            self.devices.detach()

    async def _begin(self) -> None:
        self._announce()
        self.spawn(self._watch_devices(), "availability")
        self.spawn(self._poll(), "polls")

    def _announce(self) -> None:
        info, stick = self._link.app.state.network_info, self._link.app.state.node_info
        self._book.stick.identity = self._link.identity
        self._book.stick.port, self._book.stick.radio = self._link.port, self._link.radio
        self._book.save()
        details = {
            "channel": str(int(info.channel)),
            "pan_id": f"{int(info.pan_id):04X}",
            "extended_pan_id": str(info.extended_pan_id),
            "radio": self._link.radio,
            "port": self._link.port,
            "firmware": str(stick.version or ""),
            "model": " ".join(filter(None, (stick.manufacturer, stick.model))),
        }
        self._sink(JoinWindow(self._context.name, 0))
        self._sink(RadioUp(self._context.name, self._link.identity, details))
        self.devices.attach()

    def now(self) -> float:
        return self._context.clock.now().mono

    # ---- watching ---------------------------------------------------------------------------------------------------

    def check_soon(self) -> None:
        """The next deadline changed."""
        self._wake.set()

    async def _watch_devices(self) -> None:
        while True:
            due = self.watch.due(self.now())
            for key in due.offline:
                self._tell(key, Availability.OFFLINE)
            for key in due.ping:
                self.spawn(self._ping(key), "ping")
            deadline = self.watch.next_deadline()
            self._wake.clear()
            try:
                async with asyncio.timeout(None if deadline is None else max(0.1, deadline - self.now())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _ping(self, key: str) -> None:
        async with self._background:
            node = self.devices.nodes.get(key)
            if node is not None:
                await self._guarded(node, node.ping(self.requests))

    async def _poll(self) -> None:
        while True:
            now = self.now()
            for node in list(self.devices.nodes.values()):
                if not node.sleepy:
                    await self._poll_one(node, [poll for poll in node.polls if poll.due <= now], now)
            due = [poll.due for node in self.devices.nodes.values() if not node.sleepy for poll in node.polls]
            await asyncio.sleep(max(1.0, min(due, default=now + POLL_LOOK) - self.now()))

    async def _poll_one(self, node: Node, polls: list[Poll], now: float) -> None:
        for poll in polls:
            poll.due = now + poll.every
        if not polls or self.watch.devices[node.id.key].state is Availability.OFFLINE:
            return
        try:
            async with self._background:
                await self._guarded(node, node.read_all(self.requests, [poll.read for poll in polls]))
        except DriverError as error:
            log.debug("poll of %s: %s", node.id, error)

    async def _guarded(self, node: Node, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` with a device, and take note when it sleeps or does not answer."""
        try:
            await work
        except NotNow:
            node.awaited = True
            raise
        except DeviceUnreachable:
            if self.watch.unanswered(node.id.key, self.now()):
                self._tell(node.id.key, Availability.OFFLINE)
            self.check_soon()
            raise

    def _tell(self, key: str, availability: Availability) -> None:
        self._sink(AvailabilityChanged(DeviceId(self._context.name, key), availability))

    # ---- the contract -----------------------------------------------------------------------------------------------

    async def execute(self, command: Command) -> Outcome:
        self.requests.check()

        async def perform(action: Action) -> dict[str, JsonValue]:
            node = self.devices.node(command.device.key)
            values: dict[str, JsonValue] = {}

            async def run() -> None:
                values.update(await commands.perform(node, action, self.requests, self._read_back))

            await self._guarded(node, run())
            return values

        return await execute_each(command, perform, self.now)

    def _read_back(self, node: Node, read: ZclRead) -> None:
        """A command changed what `read` asks for; ask, unless the device tells it by itself."""
        node.fresh.discard((read.endpoint, read.cluster))
        self.spawn(self._confirm(node, read), "read back")

    async def _confirm(self, node: Node, read: ZclRead) -> None:
        await asyncio.sleep(commands.REPORT_GRACE)
        told = (read.endpoint, read.cluster) in node.fresh
        if not told and not node.sleepy and self.devices.nodes.get(node.id.key) is node:
            await self._guarded(node, node.read_all(self.requests, [read]))

    async def discover(self, request: Discovery) -> None:
        self.requests.check()
        code = self.window.material(request)
        await self._before_change()
        await self.window.open(request.duration, code)

    async def refresh(self, key: str) -> None:
        node = self.devices.node(key)
        async with self._background:
            self.requests.check()
            await self._guarded(node, node.read_all(self.requests))

    async def interview(self, key: str) -> None:
        self.requests.check()
        await self.devices.interview(key)

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        node = self.devices.node(key)
        return await self.updates.firmware(node)

    async def update_firmware(self, key: str, image: Path, progress: Callable[[int, int], None]) -> None:
        node = self.devices.node(key)
        await self._guarded(node, self.updates.update(node, image, progress))

    async def remove(self, key: str, *, force: bool) -> None:
        self.requests.check()
        await self._before_change()
        await self.devices.remove(key, force=force)

    async def backup(self) -> bytes:
        moment = self._context.clock.now()
        return await self.backups.take(moment.mono, moment.wall)

    async def restore(self, document: bytes) -> None:
        await self._before_change()
        self._link.own_reset = True
        try:
            await self.backups.restore(document)
        finally:
            self._link.own_reset = False
        self._link.lose("a backup was restored; the network starts afresh")

    async def reset(self) -> None:
        self._link.own_reset = True
        try:
            work = self._link.app.reset_network_info
            await self.requests.ask(work, limit=RESTORE_TIMEOUT, repeatable=False)
        finally:
            self._link.own_reset = False
        self._link.lose("the network was left; the next start forms another")

    async def _before_change(self) -> None:
        moment = self._context.clock.now()
        await self.backups.before_change(moment.mono, moment.wall)
