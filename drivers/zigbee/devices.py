"""The devices of one link: who joins, is interviewed, leaves, and what of it is told. Listener of zigpy's controller.

zigpy swallows what its listeners raise; `_told` makes a bug in one of them end the session instead.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, Protocol

import zigpy.types
from zigpy.device import ZigbeeDevice

from agent.driver import DeviceUnreachable, DriverContext, DriverError, DriverLost, NotNow, Sink, UnknownDevice
from agent.model import Availability, AvailabilityChanged, DeviceAwake, DeviceFound, DeviceId, DeviceJoining, DeviceLost
from drivers.zigbee import interview
from drivers.zigbee.availability import Watch
from drivers.zigbee.join import Window
from drivers.zigbee.node import Node
from drivers.zigbee.nodes import NodeBook
from drivers.zigbee.ota import Updates
from drivers.zigbee.radio import Link, hold_updates
from drivers.zigbee.requests import Priority, Requests, expect_success

log = logging.getLogger(__name__)

AWAKE_PAUSE = 10.0  # seconds between two DeviceAwake of a device for which nothing is known to wait
RETRY_PAUSE = 30.0  # seconds between two attempts to configure a device that slept at its interview
LEAVE_TIMEOUT = 12.0
FORCED_LEAVE_TIMEOUT = 4.0  # whoever forces a removal has given the device up
REINTERVIEW_TIMEOUT = 300.0  # zigpy's own time-outs end it; cutting it short would leave its shadow device behind


def _told(method: Callable[..., None]) -> Callable[..., None]:
    @wraps(method)
    def guarded(self: "Devices", device: Any) -> None:
        try:
            method(self, device)
        except DriverLost:
            log.debug("%s after the end", method.__name__)
        except Exception as error:  # noqa: BLE001  handed on to the session, which ends with it
            self.session.bug(error)

    return guarded


class Life(Protocol):
    """What the devices need of the session that they belong to."""

    requests: Requests
    watch: Watch
    window: Window
    updates: Updates
    poll_interval: float

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...

    def bug(self, error: BaseException) -> None: ...

    def now(self) -> float: ...

    def check_soon(self) -> None: ...

    async def refresh(self, key: str) -> None: ...


class Devices:
    """`nodes` holds every device that is interviewed and told to the hub, by its EUI64."""

    def __init__(self, context: DriverContext, link: Link, book: NodeBook, sink: Sink, session: Life) -> None:
        self._context = context
        self._link = link
        self._book = book
        self.sink = sink
        self.bug = session.bug
        self.session = session
        self.nodes: dict[str, Node] = {}
        self._adopting: dict[str, asyncio.Task[None]] = {}
        self._removing: set[str] = set()
        self._secure: set[str] = set()
        self._not_interviewed: set[str] = set()

    # ---- what is known ----------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Take up the devices of zigpy's database and listen from now on."""
        self._link.app.add_listener(self)
        for device in list(self._link.app.devices.values()):
            if self._ours(device) and device.is_initialized:
                node = self._take_up(device)
                self.sink(DeviceFound(node.description, known=True))
        hold_updates(self._link, held=False)
        self._book.save()

    def detach(self) -> None:
        self._link.app.remove_listener(self)
        for node in self.nodes.values():
            node.detach()
        self.nodes.clear()

    def node(self, key: str) -> Node:
        """An interviewed device. Raises UnknownDevice."""
        node = self.nodes.get(key)
        if node is None:
            raise UnknownDevice(f"the radio has no device {key}")
        return node

    def _ours(self, device: Any) -> bool:
        """Not the stick itself, nor one of the sticks before it, nor a Green Power device."""
        return (
            isinstance(device, ZigbeeDevice) and device.ieee != self._link.app.state.node_info.ieee and device.nwk != 0
        )

    def _id(self, key: str) -> DeviceId:
        return DeviceId(self._context.name, key)

    def _take_up(self, device: Any) -> Node:
        key = str(device.ieee)
        old = self.nodes.pop(key, None)
        if old is not None:
            old.detach()
        record = self._book.device(key, int(self._link.app.state.network_info.pan_id), int(device.nwk))
        record.configured = record.configured and interview.knows_its_needs(device)
        node = Node(self._id(key), device, record, self, self.session.poll_interval)
        self.nodes[key] = node
        now = self.session.now()
        for poll in node.polls:
            poll.due = now + poll.every
        self.session.watch.add(key, now, sleepy=node.sleepy)
        self.session.check_soon()
        node.attach()
        node.until_detached(self.session.updates.listen(node))
        return node

    # ---- signs of life ----------------------------------------------------------------------------------------------

    def heard(self, node: Node) -> None:
        """A frame of a device came in. On the path of every report."""
        now = self.session.now()
        if self.session.watch.heard(node.id.key, now):
            self.sink(AvailabilityChanged(node.id, Availability.ONLINE))
        if node.sleepy and (node.awaited or now - node.told_awake >= AWAKE_PAUSE):
            node.awaited = False
            node.told_awake = now
            self.sink(DeviceAwake(node.id))
        if not node.record.configured and now - node.tried >= RETRY_PAUSE:
            node.tried = now
            with suppress(DriverLost):
                self._adopt_soon(node.device, again=True)

    def restarted(self, node: Node) -> None:
        """A known device announced itself: it was without power, and its state may be another one."""
        self.session.updates.restarted(node.id.key)
        adopting = self._adopting.get(node.id.key)
        if not node.sleepy and node.record.configured and (adopting is None or adopting.done()):
            with suppress(DriverLost):
                self.session.spawn(self.session.refresh(node.id.key), "refresh after a restart of the device")

    # ---- zigpy's events ---------------------------------------------------------------------------------------------

    @_told
    def device_joined(self, device: Any) -> None:
        key = str(device.ieee)
        window = self.session.window
        if not window.strangers.admit(key, known=key in self.nodes):
            self.sink(DeviceJoining(self._id(key), "failed", "unexpected joiner, removed"))
            self.session.spawn(self._expel(device), "removal of an unexpected joiner")
            return
        if window.strangers.expected == key:
            self._secure.add(key)
        self._not_interviewed.discard(key)
        if key not in self.nodes:
            self.sink(DeviceJoining(self._id(key), "joined", f"short address {int(device.nwk):04X}"))
            self.sink(DeviceJoining(self._id(key), "interviewing"))

    @_told
    def device_initialized(self, device: Any) -> None:
        if self._ours(device) and str(device.ieee) not in self.session.window.strangers.seen:
            self._adopt_soon(device)

    @_told
    def device_reinterviewed(self, device: Any) -> None:
        self._adopt_soon(device)

    @_told
    def device_init_failure(self, device: Any) -> None:
        if self._ours(device):
            key = str(device.ieee)
            self.sink(
                DeviceJoining(
                    self._id(key), "failed", "the device did not answer the interview; it goes on when it is heard"
                )
            )

    @_told
    def device_reinterview_failure(self, device: Any) -> None:
        self._not_interviewed.add(str(device.ieee))

    @_told
    def device_left(self, device: Any) -> None:
        key = str(device.ieee)
        if key in self._removing or not self._ours(device):
            return
        found = key in self.nodes
        self._forget(device)
        if found:
            self._book.devices[key].configured = False
            self.sink(DeviceLost(self._id(key), "the device left the network"))
        elif key not in self.session.window.strangers.seen:
            self.sink(DeviceJoining(self._id(key), "failed", "the device left during its interview"))

    # ---- joining ----------------------------------------------------------------------------------------------------

    def _adopt_soon(self, device: Any, *, again: bool = False) -> None:
        key = str(device.ieee)
        running = self._adopting.get(key)
        if running is not None and not running.done():
            running.cancel()
        if key not in self.nodes:
            self.sink(DeviceJoining(self._id(key), "configuring"))
        self._adopting[key] = self.session.spawn(self._adopt(device, again=again), f"configuration of {key}")

    async def _adopt(self, device: Any, *, again: bool) -> None:
        """Configure an interviewed device, put it on disk, and tell the hub; when tried `again`, only if something came of it."""
        key = str(device.ieee)
        record = self._book.device(key, int(self._link.app.state.network_info.pan_id), int(device.nwk))
        record.secure = record.secure or key in self._secure
        record.configured, record.polls = await interview.configure(device, self.session.requests, self._link.database)
        self._book.save()
        await self._link.database.settled()
        old = self.nodes.get(key)
        node = self._take_up(device)
        node.tried = self.session.now()
        if not again or record.configured or old is None or old.description != node.description:
            self.sink(DeviceFound(node.description))
        if record.configured and self.session.watch.heard(key, node.tried):
            self.sink(AvailabilityChanged(node.id, Availability.ONLINE))

    async def interview(self, key: str) -> None:
        """Interview a known device again. Raises NotNow or DeviceUnreachable when it does not answer."""
        node = self.node(key)
        if node.device.ota_in_progress:
            raise NotNow("its firmware is being updated", place=str(node.id))  # zigpy would do nothing, and say nothing
        await node.ping(self.session.requests, Priority.USER)
        self._not_interviewed.discard(key)
        await self.session.requests.ask(node.device.reinterview, limit=REINTERVIEW_TIMEOUT)
        if key in self._not_interviewed:
            raise DeviceUnreachable("the device did not answer the interview; what was known of it stays")

    # ---- leaving ----------------------------------------------------------------------------------------------------

    async def remove(self, key: str, *, force: bool) -> None:
        """Take a device off the network. Raises DriverError when it does not answer, unless `force`."""
        device = self._link.app.devices.get(zigpy.types.EUI64.convert(key)) if _is_eui64(key) else None
        if device is None or not self._ours(device):
            if not force:
                raise UnknownDevice(f"the radio has no device {key}")
            self.sink(DeviceLost(self._id(key), "the radio did not know it"))
            return
        self._removing.add(key)
        try:
            await self._leave(device, force=force)
            self._forget(device)
            self._book.devices.pop(key, None)
            self.session.updates.forget(key)
            self._book.save()
            await self._link.database.settled()
        finally:
            self._removing.discard(key)
        self.sink(DeviceLost(self._id(key), "removed"))

    async def _leave(self, device: Any, *, force: bool) -> None:
        node = self.nodes.get(str(device.ieee))
        sleepy = node is not None and node.sleepy
        try:
            answer = await self.session.requests.ask(
                lambda: device.zdo.leave(remove_children=False),
                limit=FORCED_LEAVE_TIMEOUT if force else LEAVE_TIMEOUT,
                priority=Priority.USER,
                sleepy=sleepy,
            )
            expect_success(answer[0], "the request to leave")
        except DriverLost:
            raise
        except DriverError as error:
            if not force:
                raise
            log.warning("%s is forgotten, though it did not leave: %s", device.ieee, error)

    async def _expel(self, device: Any) -> None:
        device.cancel_initialization()
        key = str(device.ieee)
        self._removing.add(key)
        try:
            await self._leave(device, force=True)
        finally:
            self._removing.discard(key)
            self._forget(device)

    def _forget(self, device: Any) -> None:
        """Drop a device from zigpy and its database, and from here."""
        key = str(device.ieee)
        task = self._adopting.pop(key, None)
        if task is not None:
            task.cancel()
        node = self.nodes.pop(key, None)
        if node is not None:
            node.detach()
        self.session.watch.forget(key)
        self._secure.discard(key)
        device.cancel_initialization()
        self._link.app.devices.pop(device.ieee, None)
        self._link.app.listener_event("device_removed", device)
        device.on_remove()


def _is_eui64(key: str) -> bool:
    try:
        zigpy.types.EUI64.convert(key)
    except (ValueError, TypeError):
        return False
    return True
