"""One running connection: the parts of the driver put together, their tasks, and their common end."""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from agent.driver import DeviceUnreachable, DriverContext, DriverError, DriverLost, NotNow, Sink, UnknownDevice
from agent.model import (
    Availability,
    AvailabilityChanged,
    DeviceJoining,
    DeviceLost,
    JoinWindow,
    RadioUp,
)
from drivers.tasks import Tasks
from drivers.zwave import functions
from drivers.zwave.backup import Backups
from drivers.zwave.catalog import ZWaveGet
from drivers.zwave.codec import Command
from drivers.zwave.controller import Controller
from drivers.zwave.devices import Devices
from drivers.zwave.function_tables import Region, UpdateStatus
from drivers.zwave.inclusion import Inclusion
from drivers.zwave.interview import Asleep, Interview
from drivers.zwave.keys import forget_keys
from drivers.zwave.layout import Values
from drivers.zwave.messages import Messages, Received
from drivers.zwave.node import Node
from drivers.zwave.nodes import NodeBook, NodeRecord
from drivers.zwave.own import answer
from drivers.zwave.provisioning import ProvisioningList
from drivers.zwave.secured import Secured
from drivers.zwave.security.classes import LONG_RANGE_CLASSES, MESH_CLASSES, SecurityClass
from drivers.zwave.sleepers import AWAKE, Sleepers
from drivers.zwave.transmit import Sent, Transmitter, Urgency

log = logging.getLogger(__name__)

INTERVIEWS = 4  # nodes that are interviewed at once: one answers while another is asked
LOOK = 30.0  # seconds between two looks at who is away
RESET_GRACE = 2.0  # seconds from a device's last word until it has forgotten the network
NO_OPERATION = b"\x00"
COMMANDS = {functions.BY_NAME[name].id for name in ("ApplicationCommand", "BridgeApplicationCommand")}
UPDATE = functions.BY_NAME["ApplicationUpdate"].id


class Network:
    """From the started stick to its end. `nodes` holds every node that is used."""

    def __init__(
        self,
        context: DriverContext,
        sink: Sink,
        controller: Controller,
        book: NodeBook,
        keys: Mapping[SecurityClass, bytes],
    ) -> None:
        self.radio = context.name
        self.security: str = context.settings.security
        self.long_range: bool = context.settings.long_range
        self.sink = sink
        self.book = book
        self.devices = Devices(context.name, sink, book)
        self.id = self.devices.id
        self.controller = controller
        self.link = controller.link
        self._tasks = Tasks(context.name, controller.link.lost)
        self.spawn, self._soon = self._tasks.spawn, self._tasks.soon
        self.provisioning = ProvisioningList(context.secrets)
        self.transmitter = Transmitter(controller)
        self.messages = Messages(Secured(self.transmitter, keys, os.urandom, self._soon), self._record, self._soon)
        self.inclusion = Inclusion(self)
        self.sleepers = Sleepers(self, context.waits)
        air, keep = self.transmitter.air, context.settings.backups
        self.backups = Backups(controller, air, book, keys, context.secrets, keep)
        self.nodes: dict[int, Node] = {}
        self.exclusion_timeout: float = context.settings.exclusion_timeout
        self._context = context
        self._interviews = asyncio.Semaphore(INTERVIEWS)
        self._interviewing: dict[int, asyncio.Task[None]] = {}
        self.messages.listener = self._received
        self.transmitter.begins = self._begins
        self.transmitter.ended = self._ended
        self.transmitter.told = self._jammed
        controller.listener = self._on_request
        controller.restarted = lambda: self._soon(self.transmitter.reconfigure(), "reconfiguration")

    # ---- life -------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run until the link is lost (raises DriverLost) or this is cancelled."""
        try:
            await self._tasks.serve(self._announce)
        finally:
            self.messages.secured.segments.close()

    async def _announce(self) -> None:
        facts = self.controller.facts
        details = {
            "home_id": facts.identity,
            "node": str(facts.node),
            "port": self.link.name,
            "firmware": facts.version,
            "region": Region(facts.region).name if facts.region in list(Region) else "",
            "long_range": str(facts.long_range).lower(),
        }
        self.sink(JoinWindow(self.radio, 0))
        self.sink(RadioUp(self.radio, facts.identity, details))
        present = {*facts.nodes, *facts.long_range_nodes} - {facts.node}
        for number in sorted(set(self.book.nodes) - present):
            self.book.forget(number)
            self.sink(DeviceLost(self.id(number), "the stick does not know it any more"))
        for number in sorted(present):
            record = self.book.node(number)
            if record.quarantine:
                continue
            node = self._take_up(record)
            if node.ready:
                self.devices.present(record, known=True)
            if not record.sleepy or not record.done:
                self._interview_soon(number)
        self.spawn(self.inclusion.arm(), "SmartStart")
        self.spawn(self._watch(), "liveness")
        self.spawn(self._poll(), "polls")

    def check(self) -> None:
        """Raise DriverLost when the link is gone."""
        if self.link.lost.done():
            raise DriverLost(self.link.lost.result())

    def now(self) -> float:
        """Monotonic seconds."""
        return self._context.clock.now().mono

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._context.clock.now().wall

    async def before_change(self) -> None:
        """A backup before the network changes; the chip restarts with it, and forgets that it listens for SmartStart."""
        if await self.backups.before_change(self.wall()):
            with suppress(DriverError):
                await self.inclusion.arm()

    def forget(self) -> None:
        """The network was left: its nodes and its keys go."""
        for number in list(self.book.nodes):
            self.book.forget(number)
        self.provisioning.clear()
        forget_keys(self._context.secrets)

    # ---- what is known ----------------------------------------------------------------------------------------------

    def _record(self, number: int) -> NodeRecord | None:
        return self.book.nodes.get(number)

    def node(self, key: str) -> Node:
        """A node that is used, by the key of its device. Raises UnknownDevice."""
        node = self.nodes.get(int(key)) if key.isdecimal() else None
        if node is None or not node.ready:
            raise UnknownDevice(f"the radio has no device {key}")
        return node

    def _take_up(self, record: NodeRecord) -> Node:
        self.devices.changed(record.id)
        node = self.nodes.setdefault(record.id, Node(record, heard_at=self.now()))
        node.record = record
        # Until its interview has found out what it has, it may speak with any key of ours: to say that it is awake, for one.
        every = LONG_RANGE_CLASSES if record.id >= functions.FIRST_LONG_RANGE else MESH_CLASSES
        self.messages.secured.grant(record.id, every if record.security is None else record.granted)
        return node

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def _on_request(self, function: int, payload: bytes) -> None:
        if function in COMMANDS:
            values = functions.decode_callback(function, payload, self.link.context)
            self._heard(values["source"])
            self.messages.receive(values["source"], values["payload"])
        elif function == UPDATE:
            self._updated(functions.decode_callback(function, payload, self.link.context))

    def _updated(self, values: Values) -> None:
        self.transmitter.application_update(values)
        self.inclusion.announced(values)
        number = values.get("node")
        if values["status"] == UpdateStatus.NODE_INFO and number in self.nodes:
            self._heard(number)
            self.sleepers.woke(self.nodes[number])

    def _received(self, received: Received) -> None:
        node, command = self.nodes.get(received.node), received.command
        self._answer(received)
        if node is None or not isinstance(command, Command):
            return
        if command.name == "Wake Up Notification":
            self.sleepers.woke(node)
        elif command.name == "Device Reset Locally Notification":
            self._soon(self._left_by_reset(received.node), "removal of a device that was reset")
        elif node.ready:
            self.devices.tell(node.id, received.endpoint, command, asked=received.asked)

    def _answer(self, received: Received) -> None:
        """A node may ask the hub what it is."""
        facts = self.controller.facts
        report = answer(
            received.command,
            secure=received.security is not None,
            identity=(facts.manufacturer, facts.product_type, facts.product),
            firmware=facts.firmware,
        )
        if report is not None:
            sending = self.messages.send(
                received.node, report, received.endpoint, urgency=Urgency.NONCE, security=received.security
            )
            self._soon(sending, "answer")

    def _heard(self, number: int) -> None:
        node, now = self.nodes.get(number), self.now()
        if node is None:
            return
        if node.record.sleepy and node.awake(now):
            node.awake_until = now + AWAKE
        if node.heard(now):
            if node.ready:
                self.sink(AvailabilityChanged(self.id(number), Availability.ONLINE))
            elif not node.record.sleepy:
                self._soon_interviewed(number)

    def _begins(self, number: int) -> None:
        node = self.nodes.get(number)
        if node is not None:
            node.sent_at = self.now()

    def _ended(self, number: int, sent: Sent | None) -> None:
        """A transmission to a node came to its end."""
        node = self.nodes.get(number)
        if node is None:
            return
        if sent is not None:
            node.link.delivered(sent)
            self._heard(number)
            return
        node.link.failed(self.transmitter.broken)
        if node.unacknowledged(jammed=self.transmitter.jammed) and node.ready:
            self.sink(AvailabilityChanged(self.id(number), Availability.OFFLINE))

    def _jammed(self, jammed: bool) -> None:  # noqa: FBT001
        if jammed:
            self._soon(self._report_noise(), "noise")
        else:
            log.info("the stick transmits again")

    async def _report_noise(self) -> None:
        noise = await self.controller.background_rssi()
        log.warning("the stick cannot transmit; noise on its channels: %s dBm", noise or "not known")

    # ---- interviews -------------------------------------------------------------------------------------------------

    def joined(self, record: NodeRecord) -> None:
        """A node was included and has its keys."""
        node = self._take_up(record)
        node.awake_until = self.now() + AWAKE
        self.sink(DeviceJoining(self.id(record.id), "interviewing", node_id=record.node_id))
        self._interview_soon(record.id)

    def _interview_soon(self, number: int) -> None:
        running = self._interviewing.get(number)
        if running is None or running.done():
            self._interviewing[number] = self.spawn(self.interview_rest(number), f"interview of node {number}")

    def _soon_interviewed(self, number: int) -> None:
        with suppress(DriverLost):
            self._interview_soon(number)

    async def interview_rest(self, number: int) -> None:
        """What is not done of a node's interview; DeviceFound follows when it was not ready before."""
        async with self._interviews:
            node = self.nodes.get(number)
            if node is None or "abilities" in node.record.done:
                return
            interview = Interview(
                node.record, self.messages, lambda: self.book.save(number), lambda: node.awake(self.now())
            )
            try:
                await interview.run()
            except Asleep:
                return
            except DeviceUnreachable as error:
                if node.record.sleepy and "information" in node.record.done:
                    log.info("node %d: %s; the interview goes on when it wakes up", number, error)
                    return
                detail = f"{error}; the interview goes on when the device is heard"
                self.sink(DeviceJoining(self.id(number), "failed", detail, node_id=node.record.node_id))
                return
            self._found(node)

    def _found(self, node: Node) -> None:
        self.devices.changed(node.id)
        self.devices.present(node.record, expected=self.provisioning.lists(node.id))
        if node.record.sleepy and node.awake(self.now()):
            self.sleepers.woke(node)
        if node.state is Availability.ONLINE:
            self.sink(AvailabilityChanged(self.id(node.id), Availability.ONLINE))

    async def interview(self, key: str) -> None:
        """Interview a node anew. Raises UnknownDevice, NotNow, DeviceUnreachable, StickJammed, DriverLost."""
        node = self.node(key)
        if not node.awake(self.now()):
            raise NotNow("the device sleeps")
        kept = list(node.record.done)
        node.record.refused.clear()
        node.record.done = [stage for stage in kept if stage == "protocol"]
        for endpoint in node.record.endpoints.values():
            endpoint.learned.clear()
        try:
            await Interview(node.record, self.messages, lambda: None).run()
        except DriverError:
            node.record.done = kept
            raise
        self.book.save(node.id)
        self._found(node)

    async def refresh(self, number: int) -> None:
        """Read the state of a node; Reports follow. Raises DeviceUnreachable, StickJammed, DriverLost."""
        await self._read(self.nodes[number], self.devices.map(number).refresh())

    async def _read(self, node: Node, gets: Iterable[ZWaveGet]) -> None:
        await Interview(node.record, self.messages, lambda: None).state(gets)

    # ---- liveness ---------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            now = self.now()
            for node in list(self.nodes.values()):
                node.mailbox.expire(now)
                if node.silent(now) and node.ready:
                    self.sink(AvailabilityChanged(self.id(node.id), Availability.OFFLINE))
                away = not node.ready or node.state is Availability.OFFLINE
                if node.record.sleepy or not away or not node.look(now):
                    continue
                if not node.ready:
                    self._interview_soon(node.id)
                else:
                    self._soon(self._ping(node.id), f"ping of node {node.id}")

    async def _poll(self) -> None:
        """Ask for what nodes do not report by themselves."""
        while True:
            await asyncio.sleep(LOOK)
            for node in self.nodes.values():
                if node.ready and node.state is not Availability.OFFLINE:
                    due = node.polls.due(self.devices.map(node.id).polls, self.now())
                    if due:
                        self._soon(self._read(node, due), f"poll of node {node.id}")

    async def _ping(self, number: int) -> None:
        await self.transmitter.send(number, NO_OPERATION, urgency=Urgency.BACKGROUND)

    # ---- leaving ----------------------------------------------------------------------------------------------------

    def left(self, node: int, reason: str) -> None:
        """A node is no longer in the stick's network."""
        for running in (self._interviewing.pop(node, None), self.sleepers.pop(node)):
            if running is not None:
                running.cancel()
        gone = self.nodes.pop(node, None)
        if gone is not None:
            gone.mailbox.clear(UnknownDevice("the device left the network"))
        self.devices.changed(node)
        self.sink(DeviceLost(self.id(node), reason))

    async def _left_by_reset(self, number: int) -> None:
        """A device was reset at the device itself: it hears nobody any more, and the stick can forget it."""
        await asyncio.sleep(RESET_GRACE)
        try:
            await self.inclusion.remove_failed(number)
        except DriverError as error:
            log.warning("node %d was reset, and the stick still has it: %s", number, error)
            self.inclusion.give_up(number, "it was reset at the device")
