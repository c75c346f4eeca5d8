"""One network behind a zwave-js-server while the hub is connected: who is in it, and what happens there."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from agent.driver import DeviceUnreachable, DriverContext, DriverError, DriverLost, NotNow, Sink, UnknownDevice
from agent.files import write_atomic
from agent.model import (
    Availability,
    AvailabilityChanged,
    DeviceAwake,
    DeviceJoining,
    DeviceLost,
    JoinWindow,
    RadioUp,
)
from drivers.tasks import Tasks
from drivers.zwave.catalog import ZWaveGet
from drivers.zwave.server_commands import value_of
from drivers.zwave.server_facts import NOTIFICATION, ValueId
from drivers.zwave.server_json import Json, Malformed, record, records, text, whole
from drivers.zwave.server_nodes import ALIVE, ASLEEP, AWAKE, DEAD, ServerNode, Speaker
from drivers.zwave.server_socket import Socket

log = logging.getLogger(__name__)

STATE = "server.json"
DUMPS = 8  # nodes that are asked for at once
SETTLE = 0.02  # seconds in which the values of one report come
LOOK = 60.0  # seconds between two looks at polls and at nodes that sleep
INTERVIEW = 600.0  # seconds that a new interview may take
_STATUS = {"wake up": AWAKE, "sleep": ASLEEP, "dead": DEAD, "alive": ALIVE}
_CONTROLLER = {0: "ready", 1: "unresponsive", 2: "jammed"}
_REASONS = {  # RemoveNodeReason
    0: "removed",
    1: "removed by another controller",
    2: "removed",
    3: "another device took its place",
    4: "another device took its place",
    5: "it was reset at the device",
    6: "it failed to join by SmartStart",
}


class Home:
    """The nodes of one server."""

    def __init__(self, context: DriverContext, sink: Sink, socket: Socket, state: Json) -> None:
        self.radio = context.name
        self.socket = socket
        self.settings = context.settings
        self.sink: Sink = sink
        self.nodes: dict[int, ServerNode] = {}
        controller = record(state.get("controller"), "controller")
        self.home_id = whole(controller.get("homeId"), "homeId")
        self.own = whole(controller.get("ownNodeId"), "ownNodeId")
        self.controller = controller
        self._initial = list(records(state.get("nodes"), "nodes"))
        self._context = context
        self._tasks = Tasks(context.name, socket.lost)
        self.spawn, self.soon = self._tasks.spawn, self._tasks.soon
        self.speaker = Speaker(context.name, self.home_id, sink, self._later)
        self.watchers: list[Callable[[str, Json], None]] = []  # who else hears of the controller's events
        self.moved = asyncio.Event()  # something happened to a node; whoever waits for that clears it
        self.begin: list[Callable[[], None]] = []  # what else starts with the session
        self._given_up, self.left_open = _load(context.state_dir / STATE, self.identity)
        self._dumps = asyncio.Semaphore(DUMPS)
        self._waiting: dict[int, asyncio.Future[None]] = {}  # nodes that are interviewed anew
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def identity(self) -> str:
        """The home id as people write it."""
        return f"{self.home_id:08X}"

    # ---- life -----------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run until the connection is lost (raises DriverLost) or this is cancelled."""
        reading = asyncio.create_task(self.socket.read(self._on_event), name=f"{self.radio}: reader")
        try:
            await self._tasks.serve(self._announce)
        finally:  # what runs closes what it opened at the server, and hears the answers, before the reader ends
            for timer in self._timers:
                timer.cancel()
            reading.cancel()
            await asyncio.wait({reading})
            if not reading.cancelled() and reading.exception() is not None:
                reading.result()

    async def _announce(self) -> None:
        details = {
            "home_id": self.identity,
            "node": str(self.own),
            "port": self.socket.place,
            "firmware": str(self.controller.get("firmwareVersion", "")),
            "schema": str(self.socket.schema),
        }
        self.sink(JoinWindow(self.radio, 0))
        self.sink(RadioUp(self.radio, self.identity, details))
        for state in self._initial:
            try:
                self._enter(state)
            except Malformed as error:
                self._malformed(error)
        self.spawn(self._watch(), "liveness and polls")
        for begin in self.begin:
            begin()

    def _later(self, work: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            work()

        timer = asyncio.get_running_loop().call_later(SETTLE, run)
        self._timers.add(timer)

    def check(self) -> None:
        """Raise DriverLost when the connection is gone."""
        if self.socket.lost.done():
            raise DriverLost(self.socket.lost.result(), place=self.socket.place)

    def now(self) -> float:
        """Monotonic seconds."""
        return self._context.clock.now().mono

    def _malformed(self, error: ValueError) -> None:
        self.socket.malformed += 1
        log.debug("%s: %s", self.radio, error)

    # ---- nodes ------------------------------------------------------------------------------------------------------------

    def node(self, key: str) -> ServerNode:
        """A node that is used, by the key of its device. Raises UnknownDevice."""
        node = self.nodes.get(int(key)) if key.isdecimal() and key.isascii() and len(key) < 6 else None  # noqa: PLR2004
        if node is None or node.map is None:
            raise UnknownDevice(f"the radio has no device {key}")
        return node

    def _enter(self, state: Json) -> ServerNode | None:
        """A node is in the network; it is used once zwave-js has interviewed it. Raises Malformed."""
        number = whole(state.get("nodeId"), "nodeId")
        if number == self.own or state.get("isControllerNode") is True or number in self._given_up:
            return None
        node = self.nodes[number] = ServerNode(number, state)
        node.renew(state)
        if state.get("ready") is True:
            self.soon(self._take_up(node), f"state of node {number}")
        return node

    async def _take_up(self, node: ServerNode) -> None:
        """A node is ready: ask what its interview learnt, and tell of it."""
        async with self._dumps:
            answer = await self.socket.call("node.create_dump", nodeId=node.id)
        if self.nodes.get(node.id) is not node:
            return
        try:
            found = node.compile(record(answer.get("dump"), "dump"))
        except ValueError as error:
            self._malformed(error)
            detail = f"what the server says of it cannot be used: {error}"
            self.sink(DeviceJoining(self.speaker.id(node.id), "failed", detail, node_id=self.speaker.node_id(node.id)))
            return
        first, node.map = node.map is None, found
        self.speaker.present(node, found, known=first and not node.joined)
        self._available(node, first=True)
        if node.sleepy and node.status == AWAKE:
            self.sink(DeviceAwake(self.speaker.id(node.id)))
        self._interviewed(node.id, None)
        self.moved.set()

    def _available(self, node: ServerNode, *, first: bool = False) -> None:
        """Tell whether a node can be reached, where that changed."""
        gone = node.status == DEAD or node.overdue(self._context.clock.now().wall)
        now = Availability.OFFLINE if gone else Availability.ONLINE if node.status else Availability.UNKNOWN
        if node.map is not None and now is not Availability.UNKNOWN and (first or now is not node.availability):
            node.availability = now
            self.sink(AvailabilityChanged(self.speaker.id(node.id), now))

    def left(self, number: int, reason: str) -> None:
        """A node is no longer in the network."""
        self.nodes.pop(number, None)
        self.moved.set()
        self._interviewed(number, UnknownDevice("the device left the network"))
        self.sink(DeviceLost(self.speaker.id(number), reason))

    def give_up(self, number: int, reason: str) -> None:
        """A node is to be forgotten that the server still has: from now on it is not used."""
        self._given_up[number] = reason
        self._save()
        self.left(number, reason)

    def keep_out(self, number: int, reason: str) -> None:
        """A node that joined must not stay: it is not used."""
        self._given_up[number] = reason
        self._save()
        self.nodes.pop(number, None)

    def has(self, number: int) -> bool:
        """Whether the server has this node, used or not."""
        return number in self.nodes or number in self._given_up

    def _save(self) -> None:
        given_up = {str(number): reason for number, reason in self._given_up.items()}
        kept = {"home_id": self.identity, "given_up": given_up, "open": self.left_open}
        write_atomic(self._context.state_dir / STATE, json.dumps(kept).encode())

    def opens(self, what: str) -> None:
        """The server adds or removes devices for us ("" when it is done): whoever comes back after a break must end it. Raises DriverLost."""
        self.left_open = what
        try:
            self._save()
        except OSError as error:
            raise DriverLost(
                f"the state folder cannot be written: {error}", place=str(self._context.state_dir)
            ) from error

    def forget(self) -> None:
        """The network was left."""
        (self._context.state_dir / STATE).unlink(missing_ok=True)

    # ---- events -----------------------------------------------------------------------------------------------------------

    def _on_event(self, event: Json) -> None:
        """Raises Malformed, which costs the event only."""
        source, name = text(event.get("source"), "source"), text(event.get("event"), "event")
        if source == "node":
            self._on_node(name, event)
        elif source == "controller":
            self._on_controller(name, event)
            for watcher in self.watchers:
                watcher(name, event)
        elif (source, name) == ("driver", "driver ready"):
            self.socket.close("the server's Z-Wave driver has started anew")

    def _on_controller(self, name: str, event: Json) -> None:
        if name == "node added":
            state = record(event.get("node"), "node")
            if self._given_up.pop(whole(state.get("nodeId"), "nodeId"), None) is not None:
                self._save()
            node = self._enter(state)
            if node is not None:
                node.joined = True
        elif name == "node removed":
            number, reason = whole(record(event.get("node"), "node").get("nodeId"), "nodeId"), event.get("reason")
            if self.has(number):
                if self._given_up.pop(number, None) is not None:
                    self._save()
                self.left(number, _REASONS.get(reason, "removed") if isinstance(reason, int) else "removed")
        elif name == "status changed":
            status = event.get("status")
            said = _CONTROLLER.get(status, "unknown") if isinstance(status, int) else "unknown"
            log.log(logging.INFO if status == 0 else logging.WARNING, "the server's stick is %s", said)

    def _on_node(self, name: str, event: Json) -> None:
        node = self.nodes.get(whole(event.get("nodeId"), "nodeId"))
        if node is None:
            return
        if name in _STATUS:
            self._on_status(node, name)
        elif name == "ready":
            state = record(event.get("nodeState"), "nodeState")
            node.renew(state)
            self.soon(self._take_up(node), f"state of node {node.id}")
        elif name == "notification":
            self.speaker.notified(node, event)
        elif name == "interview failed":
            self._on_interview_failed(node, event.get("args"))
        elif name.startswith("value ") or name == "metadata updated":
            self.speaker.heard(node, name, record(event.get("args"), "args"))
        elif name == "statistics updated":
            seen = record(event.get("statistics"), "statistics").get("lastSeen")
            node.state = {**node.state, "lastSeen": seen if seen is not None else node.state.get("lastSeen")}
            self._available(node)

    def _on_status(self, node: ServerNode, name: str) -> None:
        node.status = _STATUS[name]
        self.moved.set()
        self._available(node)
        if name == "wake up" and node.sleepy and node.map is not None:
            self.sink(DeviceAwake(self.speaker.id(node.id)))

    def _on_interview_failed(self, node: ServerNode, args: Any) -> None:
        told: Mapping[str, Any] = args if isinstance(args, dict) else {}
        detail = f"{str(told.get('errorMessage', 'its interview failed'))[:200]}"
        if told.get("isFinal") is not True:
            log.info("node %d: %s; zwave-js tries again", node.id, detail)
            return
        node.failed = True
        self.moved.set()
        if node.map is None:
            device = self.speaker.id(node.id)
            self.sink(DeviceJoining(device, "failed", detail, node_id=self.speaker.node_id(node.id)))
        self._interviewed(node.id, DeviceUnreachable(detail))

    # ---- asking -----------------------------------------------------------------------------------------------------------

    async def interview(self, node: ServerNode) -> None:
        """Have zwave-js interview a node anew; returns when it has. Raises NotNow, DeviceUnreachable, DriverError."""
        self.awake(node)
        waiting = self._waiting.setdefault(node.id, asyncio.get_running_loop().create_future())
        waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
        try:
            await self.socket.call("node.refresh_info", nodeId=node.id, options={"waitForWakeup": False})
            async with asyncio.timeout(INTERVIEW):
                either: set[asyncio.Future[Any]] = {waiting, self.socket.lost}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise DeviceUnreachable("its interview does not end") from None
        finally:
            self._waiting.pop(node.id, None)
        self.check()
        waiting.result()

    def _interviewed(self, number: int, error: DriverError | None) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)

    def awake(self, node: ServerNode) -> None:
        """Raise NotNow for a node that sleeps."""
        if node.asleep:
            raise NotNow("the device sleeps")

    async def poll(self, node: ServerNode, get: ZWaveGet) -> ValueId:
        """Read a value from a node; Reports follow by themselves. Raises NotNow, DeviceUnreachable, DriverError."""
        which = value_of(get, node.store)
        if which is None:
            raise UnknownDevice(f"the server has no value for {get.command.name}")
        self.awake(node)
        try:
            answer = await self.socket.call("node.poll_value", nodeId=node.id, valueId=which.json())
        except DeviceUnreachable as error:
            if node.sleepy:
                raise NotNow(f"the device sleeps ({error})") from error
            raise
        if answer.get("value") is not None:
            node.store.values[which] = answer["value"]
        elif which.command_class != NOTIFICATION:  # whose poll tells by events alone
            raise DeviceUnreachable("the device did not answer, or does not know")
        return which

    async def refresh(self, node: ServerNode) -> None:
        """Read the whole state of a node. Raises NotNow, DeviceUnreachable, DriverLost."""
        if node.map is not None:
            await self._read(node, node.map.refresh())

    async def _read(self, node: ServerNode, gets: Iterable[ZWaveGet]) -> None:
        for get in gets:
            try:
                await self.poll(node, get)
            except (NotNow, DeviceUnreachable, DriverLost):
                raise
            except DriverError as error:  # a value that zwave-js cannot poll is no reason to leave out the others
                log.info("node %d, %s: %s", node.id, get.command.name, error)

    async def _watch(self) -> None:
        """Ask for what nodes do not report by themselves, and notice those that fell silent."""
        while True:
            await asyncio.sleep(LOOK)
            for node in list(self.nodes.values()):
                self._available(node)
                if node.map is None or node.availability is Availability.OFFLINE:
                    continue
                due = node.polls.due(node.map.polls, self.now())
                if due:
                    self.soon(self._read(node, due), f"poll of node {node.id}")


def _load(path: Path, identity: str) -> tuple[dict[int, str], str]:
    """Nodes of this network that were given up, with the reason; and what was open when the connection was lost.

    Raises OSError, ValueError.
    """
    try:
        content = record(json.loads(path.read_bytes()), str(path))
    except FileNotFoundError:
        return {}, ""
    if content.get("home_id") != identity:
        return {}, ""
    given_up = {int(number): str(reason) for number, reason in record(content.get("given_up"), "given_up").items()}
    return given_up, text(content.get("open"), "open")
