"""From an interviewed Zigbee node to endpoints, capabilities, reports and commands. PURE; the table is catalog_tables.

A NodeMap is compiled once for each device, so that a report costs a dict look-up and a scaling.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action, Capability, Endpoint
from drivers.told import Happened, Values
from drivers.zigbee.catalog_tables import (
    BUTTON_CLUSTERS,
    BUTTONS,
    CARBON_MONOXIDE,
    CLUSTERS,
    DEVICE_TYPES,
    FIRE,
    HOLD,
    IAS_ZONE,
    NEEDS,
    POSITIONS,
    PRESS,
    SILENT,
    ZONE_TYPE,
    zone_alarm,
    zone_state,
)
from drivers.zigbee.catalog_types import (
    Act,
    Attr,
    ClusterMap,
    Poll,
    Reporting,
    Setup,
    Step,
    ZclCommand,
    ZclRead,
    ZclWrite,
    ZigbeeEndpoint,
    ZigbeeNode,
)

CATALOG_NEEDS = NEEDS
GREEN_POWER_ENDPOINT = 242

ON_OFF = 0x0006
DOOR_LOCK, DOOR_LOCK_ALARM, LOCK_OPERATED = 0x0101, 0x00, 0x20
ZONE_CHANGED = 0x00
_LOCK_OPERATIONS = {1: 0, 2: 1, 7: 0, 8: 0, 9: 1, 10: 0, 13: 0, 14: 1}  # ZCL operation event -> Matter lock 0, unlock 1

_Report = tuple[str, str, Attr, Mapping[tuple[int, int], Any]]


def _capability_id(name: str) -> str:
    return f"matter.{name}@1.4"


class NodeMap:
    """One device, compiled."""

    def __init__(self, node: ZigbeeNode) -> None:
        self.node = node
        self._by_endpoint = {endpoint.id: endpoint for endpoint in node.endpoints}
        self._rows: dict[tuple[str, str], list[ClusterMap]] = {}
        self._reports: dict[tuple[int, int, int], list[_Report]] = {}
        self._hold: dict[int, int] = {}  # endpoint -> position that is held down
        for endpoint in self._real():
            for row in self._matching(endpoint):
                key = (str(endpoint.id), _capability_id(row.capability))
                self._rows.setdefault(key, []).append(row)
                for attr in row.attributes:
                    place = (endpoint.id, row.cluster, attr.id)
                    self._reports.setdefault(place, []).append((*key, attr, endpoint.attributes))
        self.endpoints = tuple(self._endpoint(endpoint) for endpoint in self._real() if self._offers(endpoint))
        self.unmapped = tuple(self._unmapped())
        self.setups = tuple(self._setups())
        self.polls = tuple(
            Poll(endpoint.id, row.cluster, tuple(attr.id for attr in row.attributes), row.poll)
            for endpoint in self._real()
            for row in self._matching(endpoint)
            if row.poll
        )

    def _real(self) -> list[ZigbeeEndpoint]:
        return [endpoint for endpoint in self.node.endpoints if endpoint.id != GREEN_POWER_ENDPOINT]

    @staticmethod
    def _matching(endpoint: ZigbeeEndpoint) -> list[ClusterMap]:
        return [row for row in CLUSTERS if row.cluster in endpoint.in_clusters and row.when(endpoint)]

    def _offers(self, endpoint: ZigbeeEndpoint) -> bool:
        return _has_buttons(endpoint) or bool(self._matching(endpoint))

    # ---- what the device is -----------------------------------------------------------------------------------------

    def _endpoint(self, endpoint: ZigbeeEndpoint) -> Endpoint:
        kind = DEVICE_TYPES.get(endpoint.device_type, "Unknown Device")
        found = [
            _capability(identifier, rows)
            for (place, identifier), rows in self._rows.items()
            if place == str(endpoint.id)
        ]
        if _has_buttons(endpoint):
            schema = capabilities.load(_capability_id("Switch"))
            events = ("InitialPress", "LongPress", "ShortRelease", "LongRelease")
            found.append(Capability(schema.id, schema.name, schema.version, ("NumberOfPositions",), (), events))
        return Endpoint(str(endpoint.id), (kind,), tuple(found))

    def _unmapped(self) -> Iterator[str]:
        mapped = {row.cluster for row in CLUSTERS}
        for endpoint in self._real():
            for cluster in sorted(endpoint.in_clusters - mapped - SILENT):
                yield f"endpoint {endpoint.id}: cluster 0x{cluster:04X}"

    def _setups(self) -> Iterator[Setup]:
        for endpoint in self._real():
            merged: dict[int, list[ClusterMap]] = {}
            for row in self._matching(endpoint):
                merged.setdefault(row.cluster, []).append(row)
            for cluster, rows in merged.items():
                reports: dict[int, Reporting] = {r.attribute: r for row in rows for r in row.reports}
                reads = tuple(sorted({attr.id for row in rows for attr in row.attributes}))
                yield Setup(endpoint.id, cluster, tuple(reports.values()), reads, any(row.enrol for row in rows))
            for cluster in sorted(endpoint.out_clusters & BUTTON_CLUSTERS if _has_buttons(endpoint) else ()):
                yield Setup(endpoint.id, cluster)

    # ---- what the device says ---------------------------------------------------------------------------------------

    def report(self, endpoint: int, cluster: int, attribute: int, raw: Any) -> tuple[Values, ...]:
        """The properties that an attribute's value fills; empty for what no capability knows. Raises ValueError on nonsense."""
        found = self._reports.get((endpoint, cluster, attribute))
        if found is None:
            return ()
        values = []
        for place, capability, attr, known in found:
            properties = attr.decode(raw, known)
            if properties:
                values.append(Values(place, capability, properties))
        return tuple(values)

    def command(
        self, endpoint: int, cluster: int, command: int, arguments: Sequence[Any]
    ) -> tuple[Values | Happened, ...]:
        """What a cluster command from the device means; empty for what no capability knows."""
        place = self._by_endpoint.get(endpoint)
        if place is None:
            return ()
        if cluster == IAS_ZONE and command == ZONE_CHANGED and arguments:
            return self._zone(place, int(arguments[0]))
        if cluster == DOOR_LOCK and command == LOCK_OPERATED and len(arguments) >= 3:  # noqa: PLR2004  source, event, user
            return _lock_operated(place, arguments)
        if cluster == DOOR_LOCK and command == DOOR_LOCK_ALARM and arguments:
            fields = {"AlarmCode": int(arguments[0])}
            return (Happened(str(place.id), _capability_id("DoorLock"), "DoorLockAlarm", fields),)
        if (cluster, command) in BUTTONS and _has_buttons(place):
            return self._button(place, cluster, command, arguments)
        return ()

    def _zone(self, endpoint: ZigbeeEndpoint, status: int) -> tuple[Values | Happened, ...]:
        kind = int(endpoint.attributes.get((IAS_ZONE, ZONE_TYPE), 0) or 0)
        place, boolean = str(endpoint.id), _capability_id("BooleanState")
        state = zone_state(status, kind)
        happened: list[Values | Happened] = [
            Values(place, boolean, state),
            Happened(place, boolean, "StateChange", state),
        ]
        if kind in (FIRE, CARBON_MONOXIDE):
            alarm, capability = zone_alarm(status, kind), _capability_id("SmokeCOAlarm")
            severity = alarm["SmokeState" if kind == FIRE else "COState"]
            event = ("SmokeAlarm" if kind == FIRE else "COAlarm") if severity else "AllClear"
            fields = {"AlarmSeverityLevel": severity} if severity else {}
            happened += [Values(place, capability, alarm), Happened(place, capability, event, fields)]
        return tuple(happened)

    def _button(
        self, endpoint: ZigbeeEndpoint, cluster: int, command: int, arguments: Sequence[Any]
    ) -> tuple[Happened, ...]:
        position, kind = BUTTONS[(cluster, command)]
        place, capability = str(endpoint.id), _capability_id("Switch")
        if not position and kind in (PRESS, HOLD):
            position = 2 if arguments and int(arguments[0]) else 1
        pressed = Happened(place, capability, "InitialPress", {"NewPosition": position})
        if kind == PRESS:
            return pressed, Happened(place, capability, "ShortRelease", {"PreviousPosition": position})
        if kind == HOLD:
            self._hold[endpoint.id] = position
            return pressed, Happened(place, capability, "LongPress", {"NewPosition": position})
        held = self._hold.pop(endpoint.id, 0)
        return (Happened(place, capability, "LongRelease", {"PreviousPosition": held}),) if held else ()

    # ---- what the device is asked -----------------------------------------------------------------------------------

    def translate(self, action: Action) -> tuple[Step, ...]:
        """The steps that carry out an action. Raises UnknownDevice, NotSupported, InvalidParameters."""
        rows = self._rows.get((action.endpoint, action.capability))
        if rows is None:
            raise UnknownDevice(f"endpoint {action.endpoint} has no capability {action.capability}")
        try:
            capabilities.validate_action(action.capability, action.name, action.parameters)
        except capabilities.CapabilityError as error:
            raise InvalidParameters(str(error)) from None
        endpoint = int(action.endpoint)
        if action.name == capabilities.READ_STATE:
            return tuple(_reads(endpoint, rows, action.parameters.get("propertiesToRead", ["*"])))
        if action.name == capabilities.UPDATE_STATE:
            return tuple(_updates(endpoint, rows, action.parameters))
        for row in rows:
            act = row.actions.get(action.name)
            if act is not None:
                return (_command(endpoint, row.cluster, act, action.parameters),)
        raise NotSupported(f"{action.capability} of this device has no action {action.name}")

    def refresh(self) -> tuple[ZclRead, ...]:
        """Reads of the whole state, one for each cluster."""
        return tuple(ZclRead(setup.endpoint, setup.cluster, setup.reads) for setup in self.setups if setup.reads)


def _has_buttons(endpoint: ZigbeeEndpoint) -> bool:
    """A remote has On/Off as client and not as server; a bulb with a client cluster for groups has both."""
    return ON_OFF in endpoint.out_clusters and ON_OFF not in endpoint.in_clusters


def _capability(identifier: str, rows: list[ClusterMap]) -> Capability:
    schema = capabilities.load(identifier)
    properties = {name: None for row in rows for attr in row.attributes for name in attr.properties}
    properties |= {name: None for row in rows for name in row.updates}
    actions = tuple(name for row in rows for name in row.actions)
    events = tuple(name for row in rows for name in row.events)
    return Capability(identifier, schema.name, schema.version, tuple(properties), actions, events)


def _lock_operated(endpoint: ZigbeeEndpoint, arguments: Sequence[Any]) -> tuple[Happened, ...]:
    source, code, user = (int(argument) for argument in arguments[:3])
    operation = _LOCK_OPERATIONS.get(code)
    if operation is None:
        return ()
    fields = {"LockOperationType": operation, "OperationSource": source, "UserIndex": user or None}
    return (Happened(str(endpoint.id), _capability_id("DoorLock"), "LockOperation", fields),)


def _reads(endpoint: int, rows: list[ClusterMap], names: Sequence[str]) -> Iterator[ZclRead]:
    for row in rows:
        wanted = tuple(a.id for a in row.attributes if "*" in names or any(n in names for n in a.properties))
        if wanted:
            yield ZclRead(endpoint, row.cluster, wanted)


def _updates(endpoint: int, rows: list[ClusterMap], values: Mapping[str, Any]) -> Iterator[Step]:
    remaining = dict(values)
    for row in rows:
        writes: dict[int, Any] = {}
        for attr in row.attributes:
            name = attr.properties[0]
            if attr.encode is not None and name in remaining:
                writes[attr.id] = attr.encode(remaining.pop(name))
        if writes:
            yield ZclWrite(endpoint, row.cluster, writes)
        if {"CurrentX", "CurrentY"} & remaining.keys() and row.capability == "ColorControl":
            yield _colour(endpoint, row.cluster, remaining)
        for name, update in row.updates.items():
            if name in remaining:
                command, arguments = update(remaining.pop(name))
                confirm = tuple(attr.id for attr in row.attributes if name in attr.properties)
                yield ZclCommand(endpoint, row.cluster, command, arguments, confirm)
    if remaining:
        raise NotSupported(f"this device cannot change {', '.join(sorted(remaining))}")


def _colour(endpoint: int, cluster: int, remaining: dict[str, Any]) -> ZclCommand:
    """X and y are one command: a device that got one of them alone would show a colour that nobody asked for."""
    if not {"CurrentX", "CurrentY"} <= remaining.keys():
        raise InvalidParameters("CurrentX and CurrentY are changed together")
    return ZclCommand(
        endpoint, cluster, 0x07, (remaining.pop("CurrentX"), remaining.pop("CurrentY"), 0), (0x0003, 0x0004)
    )


def _command(endpoint: int, cluster: int, act: Act, parameters: Mapping[str, Any]) -> ZclCommand:
    return ZclCommand(endpoint, cluster, act.command, act.arguments(parameters), act.confirm)


__all__ = [
    "CATALOG_NEEDS",
    "POSITIONS",
    "Happened",
    "NodeMap",
    "Poll",
    "Reporting",
    "Setup",
    "Step",
    "Values",
    "ZclCommand",
    "ZclRead",
    "ZclWrite",
    "ZigbeeEndpoint",
    "ZigbeeNode",
]
