"""The nodes of a zwave-js-server, as the hub sees them."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.driver import Sink
from agent.model import Availability, Device, DeviceEvent, DeviceFound, DeviceId, Report
from drivers.told import Values
from drivers.zwave.catalog import NodeMap
from drivers.zwave.codec import Command
from drivers.zwave.node import DEFAULT_INTERVAL, SILENCES, Polls
from drivers.zwave.nodes import node_id
from drivers.zwave.server_facts import Store, ValueId, interviewed, stored
from drivers.zwave.server_json import Json, Malformed, whole
from drivers.zwave.server_values import TOGETHER, everything, happened, notified, told

log = logging.getLogger(__name__)

BATTERY, WAKE_UP = 0x80, 0x84
ASLEEP, AWAKE, DEAD, ALIVE = 1, 2, 3, 4  # NodeStatus
S2_CLASSES = frozenset({0, 1, 2})  # SecurityClass of zwave-js
_NEWS = ("value updated", "value added")

Later = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class ServerNode:
    """One node. `map` is there once zwave-js has interviewed it and told what it found."""

    id: int
    state: Json
    store: Store = field(default_factory=Store)
    map: NodeMap | None = None
    joined: bool = False  # while the hub watched
    failed: bool = False  # its interview, for good
    status: int = 0
    availability: Availability = Availability.UNKNOWN
    dsk: str = ""
    pressed: int = 0  # scenes so far: zwave-js does not tell their sequence numbers
    polls: Polls = field(default_factory=Polls)
    settling: dict[tuple[int, int], ValueId] = field(default_factory=dict)  # class and endpoint -> one of its values

    @property
    def asleep(self) -> bool:
        return self.status == ASLEEP

    @property
    def interviewed(self) -> bool:
        """Nothing more comes of its first interview for now."""
        return self.map is not None or self.failed or self.asleep or not self.joined

    @property
    def sleepy(self) -> bool:
        """It hears nothing until it wakes up by itself."""
        return self.state.get("isListening") is not True and not self.state.get("isFrequentListening")

    def renew(self, state: Json) -> None:
        """zwave-js tells the whole node anew. Raises Malformed."""
        self.store = stored(state)
        self.state = state
        self.status = whole(state.get("status"), "status")

    def compile(self, dump: Json) -> NodeMap:
        """What the node can do. Raises Malformed."""
        found = NodeMap(interviewed(self.state, dump))
        self.dsk = next((one["dsk"] for one in (self.state, dump) if isinstance(one.get("dsk"), str)), "")
        return found

    def overdue(self, now: float) -> bool:
        """A sleeping node whose signs of life are overdue; `now` in seconds since 1970."""
        seen = self.state.get("lastSeen")
        if not self.sleepy or not isinstance(seen, str):
            return False
        interval = self.store.get(0, WAKE_UP, "wakeUpInterval")
        limit = SILENCES * (interval if isinstance(interval, int) and interval > 0 else DEFAULT_INTERVAL)
        try:
            return now - datetime.fromisoformat(seen).timestamp() > limit
        except (ValueError, OverflowError, OSError):
            return False


class Speaker:
    """What nodes say, in the hub's words. `later` runs something once the values of one report have all come."""

    def __init__(self, radio: str, home_id: int, sink: Sink, later: Later) -> None:
        self._radio = radio
        self._home_id = home_id
        self._sink = sink
        self._later = later

    def id(self, number: int) -> DeviceId:
        """The id of a node's device."""
        return DeviceId(self._radio, str(number))

    def node_id(self, number: int) -> str:
        return node_id(self._home_id, number)

    def describe(self, node: ServerNode, found: NodeMap) -> Device:
        state = node.state

        def part(name: str) -> str:
            value = state.get(name)
            return f"{value:04X}" if isinstance(value, int) and value >= 0 else ""

        root = next(one for one in found.node.endpoints if one.id == 0)
        return Device(
            self.id(node.id),
            self.node_id(node.id),
            found.endpoints,
            manufacturer=part("manufacturerId"),
            model=f"{part('productType')}:{part('productId')}" if part("productId") else "",
            firmware=_firmware(state.get("firmwareVersion")),
            address=node.dsk,
            battery=bool(root.version(BATTERY)),
            sleepy=node.sleepy,
            unmapped=found.unmapped,
            secure=state.get("highestSecurityClass") in S2_CLASSES,
        )

    def present(self, node: ServerNode, found: NodeMap, *, known: bool) -> None:
        """Tell of a node, and of all that is known of it."""
        self._sink(DeviceFound(self.describe(node, found), known=known))
        for one in found.constants:
            self._sink(Report(self.id(node.id), one.endpoint, one.capability, one.properties))
        for endpoint, command in everything(node.store):
            self._tell(node, endpoint, (command,), asked=True)

    # ---- what comes ---------------------------------------------------------------------------------------------------

    def heard(self, node: ServerNode, event: str, args: Json) -> None:
        """A node's event with a value. Raises Malformed."""
        which = node.store.put(
            {**args, "value": args.get("newValue", args.get("value"))} if _has_value(event) else args
        )
        if event == "value notification":
            node.pressed += 1
            self._tell(node, which.endpoint, happened(which, args.get("value"), node.pressed))
        elif event == "value removed":
            node.store.values.pop(which, None)
        elif event in _NEWS:
            self._changed(node, which, args.get("prevValue"), new=event == "value added")

    def _changed(self, node: ServerNode, which: ValueId, before: Any, *, new: bool) -> None:
        if which.command_class not in TOGETHER:
            for command in told(node.store, which, before=before):
                self._tell(node, which.endpoint, _commands(node, which, command), asked=new)
            return
        if not node.settling:
            self._later(lambda: self._settled(node))
        node.settling[which.command_class, which.endpoint] = which

    def _settled(self, node: ServerNode) -> None:
        """Everything that one report changed is known."""
        settled, node.settling = node.settling, {}
        for which in settled.values():
            try:
                self._tell(node, which.endpoint, told(node.store, which))
            except Malformed as error:
                log.debug("node %d: %s", node.id, error)

    def notified(self, node: ServerNode, event: Json) -> None:
        """A `notification` event. Raises Malformed."""
        endpoint = event.get("endpointIndex", 0)
        args = event.get("args")
        if isinstance(args, dict):
            commands = notified(whole(event.get("ccId"), "ccId"), args)
            self._tell(node, whole(endpoint, "endpointIndex"), commands)

    def prove(self, node: ServerNode, endpoint: int, commands: Iterable[Command]) -> None:
        """The device confirmed a command: what it would report now."""
        self._tell(node, endpoint, commands)

    def _tell(self, node: ServerNode, endpoint: int, commands: Iterable[Command], *, asked: bool = False) -> None:
        if node.map is None:
            return
        device = self.id(node.id)
        for command in commands:
            try:
                said = node.map.heard(endpoint, command, asked=asked)
            except (ValueError, TypeError) as error:  # TypeError: a value of another type than the report has
                log.info("node %d, endpoint %d: %s", node.id, endpoint, error)
                continue
            for one in said:
                if isinstance(one, Values):
                    self._sink(Report(device, one.endpoint, one.capability, one.properties))
                else:
                    self._sink(DeviceEvent(device, one.endpoint, one.capability, one.event, one.fields))


def _has_value(event: str) -> bool:
    return event != "metadata updated"


def _commands(node: ServerNode, which: ValueId, command: Command) -> tuple[Command, ...]:
    """What zwave-js takes for a report of Basic was a set where the node has no state of it: a sensor or a remote that speaks to others."""
    if command.name != "Basic Report" or node.map is None:
        return (command,)
    endpoint = next((one for one in node.map.node.endpoints if one.id == which.endpoint), None)
    if endpoint is None or command.command_class in endpoint.classes:
        return (command,)
    return (Command("Basic Set", {"target_value": command["current_value"]}),)


def _firmware(version: Any) -> str:
    """Major and minor, as Version Report says them: zwave-js adds the patch where the node has one."""
    return ".".join(version.split(".")[:2]) if isinstance(version, str) else ""
