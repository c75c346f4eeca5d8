"""One running connection: the parts of the driver put together, their tasks, and their common end."""

import asyncio
import logging
import socket
from contextlib import suppress
from functools import partial

from agent.driver import (
    DeviceUnreachable,
    DriverContext,
    DriverError,
    DriverLost,
    InvalidParameters,
    Sink,
    UnknownDevice,
    execute_each,
)
from agent.model import (
    Action,
    Availability,
    Command,
    DeviceFound,
    DeviceId,
    DeviceJoining,
    DeviceLost,
    Discovery,
    JoinWindow,
    JsonValue,
    Outcome,
    RadioUp,
)
from drivers.coap import backup, interview
from drivers.coap.book import Book, Record, key_for
from drivers.coap.client import Client, Target
from drivers.coap.keyring import Keyring
from drivers.coap.keys import Address, Key, OscoreKey
from drivers.coap.node import Node
from drivers.coap.settings import CoapSettings
from drivers.coap.window import Window
from drivers.coap.wire import Channel
from drivers.tasks import Tasks

log = logging.getLogger(__name__)

LOOK = 2.0  # seconds between looks at the network interfaces
HANDSHAKE = 20.0  # seconds: five flights of DTLS, so that a wrong key is told while the join window is open
RELEASE = 2.0  # seconds that a removal waits for the device; it is none of a network that it would have to leave


class Session:
    """From the start to the end. `client`, `sink`, `silence` and `poll_interval` are what its nodes use."""

    def __init__(self, context: DriverContext, sink: Sink, book: Book) -> None:
        settings: CoapSettings = context.settings
        self._context, self._settings = context, settings
        self._book = book
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks = Tasks(context.name, self._lost)
        self.spawn, self.check = self._tasks.spawn, self._tasks.check
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self.sink = sink
        self.silence, self.poll_interval = settings.mains_timeout, settings.poll_interval
        self.client = Client(
            ack_timeout=settings.ack_timeout,
            retransmissions=settings.retransmissions,
            response_timeout=settings.response_timeout,
        )
        self.keyring = Keyring(context.secrets, context.state_dir)
        self.nodes: dict[str, Node] = {}
        self._joining: set[str] = set()
        self._aliases: set[Address] = set()  # further addresses of devices that are known
        self.window = Window(context.name, settings, self, sink, self.spawn)
        self.stop_discovery = self.window.close

    # ---- life -------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run until an interface is lost (raises DriverLost) or this is cancelled."""
        try:
            await self._tasks.serve(self._begin)
        finally:
            for node in self.nodes.values():
                node.drop()
            await self.client.close()

    async def _begin(self) -> None:
        self._announce()
        self.spawn(self._watch(), "interfaces")

    def _announce(self) -> None:
        name = self._context.name
        details = {
            "interfaces": " ".join(self._settings.interfaces),
            "directory": self._settings.directory,
            "addresses": str(len(self._settings.addresses)),
        }
        self.sink(JoinWindow(name, 0))
        self.sink(RadioUp(name, name, details))
        for record in self._book.devices.values():
            self._take_in(record)
            self.sink(DeviceFound(self.nodes[record.key].description, known=True))

    def lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    async def _watch(self) -> None:
        while self._settings.interfaces:
            gone = missing(self._settings.interfaces)
            if gone:
                self.lose(f"there is no network interface {gone[0]}")
                return
            await asyncio.sleep(LOOK)

    def now(self) -> float:
        return self._context.clock.now().mono

    # ---- devices ------------------------------------------------------------------------------------------------------

    def _id(self, key: str) -> DeviceId:
        return DeviceId(self._context.name, key)

    def node(self, key: str) -> Node:
        """A device. Raises UnknownDevice."""
        node = self.nodes.get(key)
        if node is None:
            raise UnknownDevice(f"the radio has no device {key}")
        return node

    def _take_in(self, record: Record) -> Node:
        node = self.nodes[record.key] = Node(self._id(record.key), record, self)
        self._keeping[record.key] = self.spawn(node.keep(), f"device {record.key}")
        return node

    async def connect(self, record: Record) -> Target:
        """A new channel to a device. One that is protected is spoken to with its key or not at all. Raises DriverError."""
        if not self._tasks.alive:
            raise DriverLost("the driver has ended")
        return await self._connect(record.address, self.keyring.key(record))

    async def _connect(self, where: Address, key: Key | None) -> Target:
        security = self.keyring.security(key) if isinstance(key, OscoreKey) else None
        channel = Channel(where, key, self.client.heard, self.client.broken)
        await channel.open(min(self.client.limit, HANDSHAKE))
        return Target(channel, security)

    def knows(self, where: Address) -> bool:
        return where in self._aliases or any(node.record.address == where for node in self.nodes.values())

    async def join(self, where: Address, key: Key | None, name: str) -> None:
        """Interview a device and tell the hub of it. Raises DriverError."""
        if key is None and any(n.record.address == where and n.record.protection for n in self.nodes.values()):
            text = f"{where} is protected: it is not spoken to in clear"
            raise InvalidParameters(text, remedy="give its key, or remove the device first")
        if isinstance(key, OscoreKey):
            self.keyring.begin(key, self._context.clock.now().wall)
        target = await self._connect(where, key)
        try:
            ask = partial(self.client.ask, target)
            links = await interview.resources(ask)
            serial = await interview.serial(ask, links)
            record = self._record(where, key, name, serial)
            if key is None and (record.key in self._joining or self._is_here_already(record)):
                target.channel.close()
                return
            self._joining.add(record.key)
            try:
                await self._adopt(target, record, key, links)
            finally:
                self._joining.discard(record.key)
        except BaseException:
            if not any(node.uses(target) for node in self.nodes.values()):
                target.channel.close()
            raise

    def _is_here_already(self, record: Record) -> bool:
        """Whether this is another address of a device that answers at the one that we know, such as its IPv6 one."""
        known = self.nodes.get(record.key)
        if known is None or known.record.address == record.address or known.reach.state is not Availability.ONLINE:
            return False
        self._aliases.add(record.address)
        return True

    def _record(self, where: Address, key: Key | None, name: str, serial: str) -> Record:
        """The record of a device that joins: a known one that has moved, or has a key now, keeps its own."""
        chosen = key_for(where, name, serial)
        known = self.nodes.get(chosen)
        if known is not None and known.record.protection and key is None:
            chosen = key_for(where)  # who says a name in clear does not become the one who proved it
        return Record(chosen, where.host, where.port, key.kind if key is not None else "")

    async def _adopt(self, target: Target, record: Record, key: Key | None, links: interview.Links) -> None:
        self.sink(DeviceJoining(self._id(record.key), "joined", str(record.address)))
        self.sink(DeviceJoining(self._id(record.key), "interviewing", f"{len(links)} resources"))
        record.learn(await interview.interview(partial(self.client.ask, target), links))
        self.sink(DeviceJoining(self._id(record.key), "configuring"))
        self.keyring.keep(record, key)
        self._book.devices[record.key] = record
        self._save()
        await self._end_keeping(record.key)
        node = self._take_in(record)
        node.adopt(target)
        self.sink(DeviceFound(node.description))
        node.heard()

    def _save(self) -> None:
        try:
            self._book.save()
        except OSError as error:
            text = f"the list of devices cannot be kept: {error.strerror}"
            raise DriverError(text, place=str(error.filename or ""), remedy="free the disk") from error

    def failed(self, where: Address, error: DriverError) -> None:
        log.warning("%s did not join: %s", where, error.advice)
        self.sink(DeviceJoining(self._id(key_for(where)), "failed", error.advice))

    async def _end_keeping(self, key: str) -> None:
        task, node = self._keeping.pop(key, None), self.nodes.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        if node is not None:
            node.drop()

    # ---- the contract -----------------------------------------------------------------------------------------------

    async def execute(self, command: Command) -> Outcome:
        self.check()

        async def perform(action: Action) -> dict[str, JsonValue]:
            return await self.node(command.device.key).perform(action)

        return await execute_each(command, perform, self.now)

    async def discover(self, request: Discovery) -> None:
        self.check()
        await self.window.open(request.duration, self.window.material(request))

    async def interview(self, key: str) -> None:
        self.check()
        node = self.node(key)
        try:
            links = await interview.resources(node.ask)
            node.record.learn(await interview.interview(node.ask, links))
        except DeviceUnreachable:
            node.missed()
            raise
        self._save()
        node.take(node.record)
        self.sink(DeviceFound(node.description))
        node.heard()

    async def refresh(self, key: str) -> None:
        self.check()
        await self.node(key).refresh()

    async def remove(self, key: str, *, force: bool) -> None:
        """Forget a device and its key; its observations are ended where it answers. A device is in no network that it could leave."""
        self.check()
        if key not in self.nodes and force:
            self.sink(DeviceLost(self._id(key), "the radio did not know it"))
            return
        node = self.node(key)
        with suppress(DriverError, TimeoutError):
            async with asyncio.timeout(RELEASE):
                await node.release()
        record = self._book.devices.pop(key)
        try:
            self._save()
        except DriverError:
            self._book.devices[key] = record
            node.take(record)  # it stays, and is observed again
            raise
        await self._end_keeping(key)
        self.keyring.drop(key)
        self.sink(DeviceLost(self._id(key), "removed"))

    async def backup(self) -> bytes:
        self.check()
        return backup.write(self._book.devices, self.keyring)

    async def restore(self, document: bytes) -> None:
        self.check()
        self._book.devices = backup.read(document, self.keyring, self._context.clock.now().wall)
        self._save()
        self.lose("a backup was restored; the devices are taken up afresh")

    async def reset(self) -> None:
        self.check()
        for key in list(self._book.devices):
            self.keyring.drop(key)
        self._book.devices.clear()
        self._save()
        self.lose("the devices and their keys were forgotten")


def missing(interfaces: list[str]) -> list[str]:
    """Those of these network interfaces that are not there."""
    return [name for name in interfaces if not _is_here(name)]


def _is_here(interface: str) -> bool:
    """By an ioctl: a list would be asked of a netlink socket, which the service is not allowed."""
    try:
        socket.if_nametoindex(interface)
    except OSError:
        return False
    return True
