"""One running connection to BlueZ: the parts of the driver put together, their tasks, and their common end."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from agent.driver import (
    DriverContext,
    DriverLost,
    InvalidParameters,
    NotNow,
    NotSupported,
    Sink,
    UnknownDevice,
    execute_each,
)
from agent.model import Action, Availability, Command, Discovery, JoinWindow, JsonValue, Outcome, RadioUp, Report
from drivers.ble import catalog
from drivers.ble.adverts import Advert
from drivers.ble.bluez import Adapter, Bluez
from drivers.ble.book import Book
from drivers.ble.devices import Devices
from drivers.ble.keys import Bindkeys
from drivers.ble.link import Link
from drivers.ble.links import Links
from drivers.ble.node import Node
from drivers.ble.pace import Pace
from drivers.ble.presence import Presence
from drivers.ble.requests import NothingSent, Requests
from drivers.ble.scanner import Scanner
from drivers.ble.seen import Seen
from drivers.ble.settings import BleSettings
from drivers.ble.silence import Silence, Step
from drivers.ble.window import Window
from drivers.tasks import Tasks

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds: a deadline that came up meanwhile is noticed this late at most
AGAIN = 900.0  # seconds after which a value that did not change is reported again
SAVE_EVERY = 300.0  # counters of encrypted devices reach the disk this often; less is a write for each advert
BACKUP_FORMAT = "hub-agent ble 1"


class Session:
    """From the open adapter to its end."""

    def __init__(self, context: DriverContext, sink: Sink, bluez: Bluez, adapter: Adapter, book: Book) -> None:
        settings: BleSettings = context.settings
        self._context, self._sink, self._adapter = context, sink, adapter
        self._tasks = Tasks(context.name, bluez.lost, bluez.path)
        self.spawn = self._tasks.spawn
        self._saved_at = self.now()
        self.bluez, self.book = bluez, book
        self.watchers: list[Callable[[str, bool], None]] = []  # of connections
        self.requests = Requests(bluez)
        self.seen = Seen(settings.known)
        self.presence = Presence(settings.absent_after)
        self.pace = Pace(settings.report_interval, AGAIN)
        self.silence = Silence(settings.silence)
        self.bindkeys = Bindkeys(context.secrets)
        self.scanner = Scanner(settings, self.requests, self._heard, passive=adapter.passive)
        self.links = Links(settings, self.requests, self.seen, self)
        self.window = Window(context.name, sink, self.spawn, self.scanner.actively)
        self.devices = Devices(context, sink, self)

    def now(self) -> float:
        return self._context.clock.now().mono

    # ---- life -------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run until BlueZ is lost (raises DriverLost) or this is cancelled."""
        try:
            await self.bindkeys.load()
            await self._tasks.serve(self._begin)
        finally:
            await self._end()

    async def _begin(self) -> None:
        await self.scanner.start()
        self._announce()
        self.spawn(self._watch(), "time")
        self.spawn(self.links.keep(), "connections")

    async def _end(self) -> None:
        try:
            await self.links.close()
        finally:
            try:
                await self.scanner.stop()
            finally:
                self.devices.save()

    def _announce(self) -> None:
        details = {
            "adapter": self._context.settings.adapter,
            "name": self._adapter.name,
            "scan": self.scanner.mode,
            "modalias": self._adapter.modalias,
        }
        self._sink(JoinWindow(self._context.name, 0))
        self._sink(RadioUp(self._context.name, self._adapter.address, details))
        self.devices.attach()

    def _heard(self, advert: Advert, handle: Any) -> None:
        """Bleak's callback; what it raises, D-Bus would only log."""
        self.silence.heard(self.now())
        try:
            self.devices.heard(advert, handle)
        except DriverLost as error:
            log.debug("an advert after the end: %s", error)
        except Exception as error:  # noqa: BLE001  handed on to the session, which ends with it
            self._tasks.bug(error)

    async def _watch(self) -> None:
        """All that comes with time."""
        while True:
            now = self.now()
            self.devices.due(now)
            step = self.silence.due(now)
            if step is not None:
                await self._climb(step, now)
            if now - self._saved_at >= SAVE_EVERY:
                self._saved_at = now
                self.devices.save()
            parts = (self.presence, self.pace, self.silence)
            deadlines = [at for part in parts if (at := part.next_deadline()) is not None]
            await asyncio.sleep(min(LOOK, max(0.01, min(deadlines, default=now + LOOK) - now)))

    async def _climb(self, step: Step, now: float) -> None:
        """The next step against a silent adapter. A connected device alone is no reason: it does not advertise."""
        if self.links.addresses() and not self.book.devices.keys() - set(self.links.addresses()):
            self.silence.heard(now)
            return
        log.warning("nothing was heard for %.0f s: %s", self.silence.silent_for(now), step)
        if step is Step.RESTART_SCAN:
            await self.scanner.restart()
        elif step is Step.POWER_CYCLE:
            await self.scanner.stop()
            await self.bluez.power_cycle()
            await self.scanner.start()
        else:
            text = "nothing is heard, also after the scan was restarted and the adapter switched off and on"
            self.bluez.lose(f"{text} ({self.silence.silent_for(now):.0f} s)")

    async def connected(self, link: Link) -> None:
        await self.devices.connected(link)

    def ready(self, link: Link) -> None:
        for watcher in list(self.watchers):
            watcher(link.address, True)

    def dropped(self, link: Link) -> None:
        self.devices.dropped(link)
        for watcher in list(self.watchers):
            watcher(link.address, False)

    # ---- the contract -----------------------------------------------------------------------------------------------

    async def execute(self, command: Command) -> Outcome:
        self.requests.check()

        async def perform(action: Action) -> dict[str, JsonValue]:
            key = command.device.key
            record = self.devices.record(key)
            offered = {(e.id, one.id) for e in record.device.endpoints for one in e.capabilities}
            if (action.endpoint, action.capability) not in offered:
                raise UnknownDevice(f"endpoint {action.endpoint} has no capability {action.capability}")
            catalog.check(action)
            if not record.gatt:
                return self._remembered(key, action)
            node = await self.devices.node(key)
            try:
                values = await node.perform(action)
            except NothingSent:  # its connection was gone, and nobody had said so yet
                node = await self.devices.node(key)
                values = await node.perform(action)
            handle = node.confirm(action)
            if action.name != "ReadState" and handle is not None:
                self.spawn(node.read_back(handle), "read back")
            return values

        return await execute_each(command, perform, self.now)

    def _remembered(self, key: str, action: Action) -> dict[str, JsonValue]:
        """The state of a device that only speaks. Raises NotSupported for all that would change it."""
        if action.name != "ReadState":
            raise NotSupported("this device only advertises: it cannot be told anything")
        for values in self.pace.last(key):
            if (values.endpoint, values.capability) == (action.endpoint, action.capability):
                return catalog.wanted(action, values.properties)
        return {}

    async def discover(self, request: Discovery) -> None:
        self.requests.check()
        material = self.window.material_of(request)
        await self.window.open(request.duration, material)
        for sighting in self.seen.again():
            self._heard(sighting.advert, sighting.handle)

    async def stop_discovery(self) -> None:
        self.requests.check()
        await self.window.close()

    async def refresh(self, key: str) -> None:
        """Raises UnknownDevice, NotNow, DeviceUnreachable, DriverLost."""
        self.requests.check()
        record = self.devices.record(key)
        if record.gatt:
            node: Node = await self.devices.node(key)
            await node.read_all()
            return
        known = self.pace.last(key)
        if not known or self.presence.state(key) is not Availability.ONLINE:
            raise NotNow("the device speaks only by itself, and was not heard yet")
        for values in known:
            self._sink(Report(record.device.id, values.endpoint, values.capability, values.properties))

    async def interview(self, key: str) -> None:
        self.requests.check()
        await self.devices.interview(key)

    async def remove(self, key: str, *, force: bool) -> None:
        self.requests.check()
        await self.devices.remove(key, force=force)

    async def backup(self) -> bytes:
        """Devices and bindkeys. The keys of bonds stay in BlueZ (/var/lib/bluetooth), which gives them to nobody."""
        self.requests.check()
        document = {"format": BACKUP_FORMAT, **self.book.document(), "bindkeys": self.bindkeys.document()}
        return json.dumps(document, indent=1).encode()

    async def restore(self, document: bytes) -> None:
        """Raises InvalidParameters, DriverError."""
        self.requests.check()
        try:
            content = json.loads(document)
            if content["format"] != BACKUP_FORMAT:
                raise ValueError(f"the format is {content['format']!r}")
            devices = self.book.parse(content)
            keys = {address: bytes.fromhex(key) for address, key in content["bindkeys"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidParameters(f"this is no backup of a Bluetooth radio: {error!r}") from error
        for address, key in keys.items():
            await self.bindkeys.keep(address, key)
        self.book.devices = devices
        self.devices.save_soon()
        self.bluez.lose("a backup was restored; the radio starts afresh")

    async def reset(self) -> None:
        """Forget all devices, their bonds and bindkeys. Raises DriverLost."""
        self.requests.check()
        for key in list(self.book.devices):
            await self.devices.remove(key, force=True)
        self.bluez.lose("all devices were forgotten")
