"""One interviewed device: zigpy's object on one side, the catalogue's map of it on the other, and what goes between them.

`_attribute` is on the path of every report; it is one lookup and one call.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from agent.driver import DeviceUnreachable, Sink, UnknownDevice
from agent.model import Device, DeviceEvent, DeviceId, Report
from drivers.told import Values
from drivers.zigbee.catalog import NodeMap, ZclRead, ZigbeeEndpoint, ZigbeeNode
from drivers.zigbee.nodes import Remembered
from drivers.zigbee.requests import Priority, Requests

log = logging.getLogger(__name__)

READ_TIMEOUT = 60.0  # seconds; zigpy's own time-outs and tries end a read long before
PING_TIMEOUT = 10.0
BASIC, ZCL_VERSION, SOFTWARE_BUILD = 0x0000, 0x0000, 0x4000
IAS_ZONE, ENROL_REQUEST, ENROL_RESPONSE = 0x0500, 0x01, 0x00
ANSWERED = "attribute_read"
EVENTS = ("attribute_report", ANSWERED, "attribute_updated")


@dataclass(slots=True)
class Poll:
    """Values that the device does not report; asked every so many seconds."""

    read: ZclRead
    every: float
    due: float = 0.0


class Owner(Protocol):
    """Who is told of what happens at a device."""

    sink: Sink

    def heard(self, node: "Node") -> None:
        """A frame came in."""

    def restarted(self, node: "Node") -> None:
        """The device announced itself anew."""

    def bug(self, error: BaseException) -> None:
        """A callback failed; zigpy would only log it, the session ends with it."""


class Node:
    """A device that the hub knows. `fresh` holds the (endpoint, cluster) pairs heard since a command cleared them."""

    def __init__(
        self, identifier: DeviceId, device: Any, record: Remembered, owner: "Owner", poll_interval: float
    ) -> None:
        described = describe(device)
        self.id = identifier
        self.device = device
        self.record = record
        self.map = NodeMap(described)
        self.sleepy = described.sleepy
        self.retries = 0 if described.sleepy else None  # asleep once is asleep: what waits is sent when it is heard
        self.polls = self._polls(poll_interval)
        self.fresh: set[tuple[int, int]] = set()
        self.awaited = False  # something was refused because the device slept
        self.told_awake = float("-inf")
        self.tried = float("-inf")  # when its configuration was last tried
        self._reads = 0  # under way
        self._overtaken: set[tuple[str, str, str]] = set()  # told by the device itself while a read was under way
        self._owner = owner
        self._sink = owner.sink
        self._unsubscribe: list[Callable[[], None]] = []
        self.description = Device(
            id=identifier,
            node_id=record.node_id,
            endpoints=self.map.endpoints,
            manufacturer=described.manufacturer,
            model=described.model,
            firmware=_text(_cached(device, BASIC, SOFTWARE_BUILD)),
            address=str(device.ieee),
            battery=described.battery,
            sleepy=described.sleepy,
            unmapped=self.map.unmapped,
            secure=record.secure,
        )

    def _polls(self, interval: float) -> list[Poll]:
        """What must be asked: clusters that never report, and attributes for which this device refused to."""
        items = [Poll(ZclRead(p.endpoint, p.cluster, p.attributes), p.every) for p in self.map.polls]
        refused: dict[tuple[int, int], list[int]] = {}
        for endpoint, cluster, attribute in self.record.polls:
            refused.setdefault((endpoint, cluster), []).append(attribute)
        return items + [Poll(ZclRead(e, c, tuple(a)), interval) for (e, c), a in refused.items()]

    # ---- what the device says ---------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Listen to the device from now on."""
        self.device.add_listener(self)
        self.device.zdo.add_listener(self)
        self._unsubscribe += [lambda: self.device.remove_listener(self), lambda: self.device.zdo.remove_listener(self)]
        for endpoint in self.device.non_zdo_endpoints:
            for cluster in endpoint.in_clusters.values():
                self._unsubscribe += [cluster.on_event(event, self._attribute) for event in EVENTS]
            for cluster in (*endpoint.in_clusters.values(), *endpoint.out_clusters.values()):
                listener = _Commands(self, cluster)
                cluster.add_listener(listener)
                self._unsubscribe.append(_remover(cluster, listener))

    def until_detached(self, end: Callable[[], None]) -> None:
        """Somebody else listens as well, until `end` is called."""
        self._unsubscribe.append(end)

    def detach(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()

    def device_last_seen_updated(self, _when: Any) -> None:
        """Listener of zigpy's device: any frame of it came in."""
        try:
            self._owner.heard(self)
        except Exception as error:  # noqa: BLE001  see Owner.bug
            self._owner.bug(error)

    def device_announce(self, _device: Any) -> None:
        """Listener of zigpy's ZDO."""
        try:
            self._owner.restarted(self)
        except Exception as error:  # noqa: BLE001  as above
            self._owner.bug(error)

    def _attribute(self, event: Any) -> None:
        try:
            endpoint, cluster = event.endpoint_id, event.cluster_id
            for told in self.map.report(endpoint, cluster, event.attribute_id, event.value):
                self._tell(endpoint, cluster, told, answer=event.event_type == ANSWERED)
        except ValueError as error:
            log.info(
                "%s: attribute 0x%04X of cluster 0x%04X is nonsense: %s",
                self.id,
                event.attribute_id,
                event.cluster_id,
                error,
            )
        except Exception as error:  # noqa: BLE001  as above
            self._owner.bug(error)

    def _tell(self, endpoint: int, cluster: int, told: Values, *, answer: bool = False) -> None:
        """Hand on a value. zigpy tells a report at once and an answer a turn of the loop later: then a newer value is known already."""
        self.fresh.add((endpoint, cluster))
        properties = told.properties
        if self._reads:
            names = {name: (told.endpoint, told.capability, name) for name in properties}
            if answer:
                properties = {name: properties[name] for name, key in names.items() if key not in self._overtaken}
            else:
                self._overtaken.update(names.values())
        if properties:
            self._sink(Report(self.id, told.endpoint, told.capability, properties))

    def commanded(self, cluster: Any, command: int, arguments: Any) -> None:
        """A cluster command came from the device: a button, an alarm, a lock."""
        if isinstance(arguments, bytes):
            log.debug(
                "%s: command 0x%02X of cluster 0x%04X is none that zigpy knows", self.id, command, cluster.cluster_id
            )
            return
        try:
            if cluster.is_server and cluster.cluster_id == IAS_ZONE and command == ENROL_REQUEST:
                cluster.create_catching_task(cluster.command(ENROL_RESPONSE, 0, 0, expect_reply=False))
            for told in self.map.command(
                cluster.endpoint.endpoint_id, cluster.cluster_id, command, arguments.as_tuple()
            ):
                if isinstance(told, Values):
                    self._tell(cluster.endpoint.endpoint_id, cluster.cluster_id, told)
                else:
                    self._sink(DeviceEvent(self.id, told.endpoint, told.capability, told.event, told.fields))
        except ValueError as error:
            log.info(
                "%s: command 0x%02X of cluster 0x%04X is nonsense: %s", self.id, command, cluster.cluster_id, error
            )
        except Exception as error:  # noqa: BLE001  as above
            self._owner.bug(error)

    # ---- what is asked of it ----------------------------------------------------------------------------------------

    def cluster(self, endpoint: int, cluster: int) -> Any:
        """The server cluster, as zigpy has it. Raises UnknownDevice."""
        found = self.device.endpoints.get(endpoint)
        if endpoint == 0 or found is None or cluster not in found.in_clusters:
            raise UnknownDevice(f"{self.id} has no cluster 0x{cluster:04X} on endpoint {endpoint}")
        return found.in_clusters[cluster]

    async def read(
        self, requests: Requests, read: ZclRead, priority: Priority = Priority.NORMAL
    ) -> tuple[dict[int, Any], dict[int, int]]:
        """Values and failure statuses by attribute id; Reports follow by themselves. Raises DriverError."""
        cluster = self.cluster(read.endpoint, read.cluster)
        known = [attribute for attribute in read.attributes if _defined(cluster, attribute)]
        if not known:
            return {}, {}
        self._reads += 1
        try:
            return await requests.ask(
                lambda: cluster.read_attributes(known, retries=self.retries),
                limit=READ_TIMEOUT,
                priority=priority,
                sleepy=self.sleepy,
            )
        finally:
            self._reads -= 1
            if not self._reads:
                self._overtaken.clear()

    async def read_all(self, requests: Requests, reads: Iterable[ZclRead] | None = None) -> None:
        """Read the whole state. Raises DriverError when the device does not answer at all."""
        answered = False
        for read in self.map.refresh() if reads is None else reads:
            try:
                await self.read(requests, read, Priority.BACKGROUND)
            except DeviceUnreachable as error:
                if not answered:
                    raise
                log.info("%s did not answer for cluster 0x%04X: %s", self.id, read.cluster, error)
            else:
                answered = True

    async def ping(self, requests: Requests, priority: Priority = Priority.BACKGROUND) -> None:
        """Ask for something that every device has. Raises NotNow or DeviceUnreachable."""
        for endpoint in self.device.non_zdo_endpoints:
            if BASIC in endpoint.in_clusters:
                cluster = endpoint.in_clusters[BASIC]
                await requests.ask(
                    lambda: cluster.read_attributes([ZCL_VERSION], retries=0),  # noqa: B023  awaited before the next turn
                    limit=PING_TIMEOUT,
                    priority=priority,
                    sleepy=self.sleepy,
                )
                return
        await requests.ask(
            lambda: self.device.zdo.Node_Desc_req(self.device.nwk),
            limit=PING_TIMEOUT,
            priority=priority,
            sleepy=self.sleepy,
        )


class _Commands:
    """Listener of one zigpy cluster; zigpy does not say of which cluster a command is."""

    def __init__(self, node: Node, cluster: Any) -> None:
        self._node = node
        self._cluster = cluster

    def cluster_command(self, _sequence: int, command: int, arguments: Any) -> None:
        self._node.commanded(self._cluster, command, arguments)


def _remover(cluster: Any, listener: _Commands) -> Callable[[], None]:
    return lambda: cluster.remove_listener(listener)


def describe(device: Any) -> ZigbeeNode:
    """A zigpy device in the catalogue's words, with what is cached of its attributes."""
    endpoints = tuple(
        ZigbeeEndpoint(
            id=endpoint.endpoint_id,
            profile=int(endpoint.profile_id or 0),
            device_type=int(endpoint.device_type or 0),
            in_clusters=frozenset(endpoint.in_clusters),
            out_clusters=frozenset(endpoint.out_clusters),
            attributes={
                (cluster.cluster_id, attribute): value
                for cluster in endpoint.in_clusters.values()
                for attribute, value in _cache(cluster)
            },
        )
        for endpoint in device.non_zdo_endpoints
    )
    descriptor = device.node_desc
    return ZigbeeNode(
        ieee=str(device.ieee),
        nwk=int(device.nwk),
        manufacturer=device.manufacturer or "",
        model=device.model or "",
        endpoints=endpoints,
        battery=descriptor is not None and not descriptor.is_mains_powered,
        sleepy=is_sleepy(device),
    )


def is_sleepy(device: Any) -> bool:
    """True for a device whose receiver is off most of the time."""
    descriptor = device.node_desc
    return descriptor is not None and descriptor.is_end_device and not descriptor.is_receiver_on_when_idle


def _cache(cluster: Any) -> list[tuple[int, Any]]:
    cache = cluster._attr_cache._cache  # noqa: SLF001  zigpy has no public way to list what is cached
    return [(attribute, item.value) for (attribute, manufacturer), item in cache.items() if manufacturer is None]


def _cached(device: Any, cluster: int, attribute: int) -> Any:
    for endpoint in device.non_zdo_endpoints:
        if cluster in endpoint.in_clusters:
            for name, value in _cache(endpoint.in_clusters[cluster]):
                if name == attribute:
                    return value
    return None


def _text(value: Any) -> str:
    return value.strip("\x00 ") if isinstance(value, str) else ""


def _defined(cluster: Any, attribute: int) -> bool:
    try:
        cluster.find_attribute(attribute)
    except KeyError:
        return False
    return True
