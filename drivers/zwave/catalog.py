"""From an interviewed Z-Wave node to endpoints, capabilities, reports and commands. PURE; the table is catalog_tables.

A NodeMap is compiled once for each node, so that a report costs a dict look-up and a scaling. Its endpoints are named by the number of
the Multi Channel endpoint, 0 for the root, and where one has several senses by what they sense: "0", "0battery", "2tamper".
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action, Capability, Endpoint
from drivers.told import Happened, Values
from drivers.zwave import catalog_alarms as alarms
from drivers.zwave import catalog_sensors as sensors
from drivers.zwave.catalog_facts import learn, learnt, needs
from drivers.zwave.catalog_switches import is_siren
from drivers.zwave.catalog_tables import COVERED, ROWS, SILENT
from drivers.zwave.catalog_types import (
    ROOT,
    Event,
    Facts,
    Place,
    Poll,
    Row,
    Said,
    Step,
    Update,
    ZWaveEndpoint,
    ZWaveGet,
    ZWaveNode,
    ZWaveSet,
)
from drivers.zwave.codec import COMMAND_CLASSES, Command, Raw, encode
from drivers.zwave.commands.notification_tables import NOTIFICATIONS
from drivers.zwave.commands.sensor_tables import METER_TYPES, SENSOR_TYPES, meter_unit, sensor_unit

ACTUATOR_POLL = 300.0  # seconds that others do not notice
SENSOR_POLL = 1800.0  # seconds that a bill or a graph can wait for
SIREN_ACTIVE = 0x0E  # type of Notification
_MEASURED = frozenset({sensors.SENSOR, sensors.METER, sensors.BATTERY})
_CHANGES = (" Start Level Change", " Stop Level Change", " Set")
_SELECTORS = ("type", "parameter", "user", "indicator")
_NUMBERS = {
    f"{entry.name} {declared[0]}": (entry.id, number)
    for entry in COMMAND_CLASSES.values()
    for number, declared in entry.commands.items()
}

_Slot = tuple[str, str]  # id of the endpoint, capability


def _capability_id(name: str) -> str:
    return f"matter.{name}@1.4"


class NodeMap:
    """One node, compiled."""

    def __init__(self, node: ZWaveNode) -> None:
        self.node = node
        self._slots: dict[_Slot, list[tuple[Row, Place]]] = {}
        self._heard: dict[tuple[int, str], list[tuple[Row, Place]]] = {}
        self._schemas: dict[str, capabilities.CapabilitySchema] = {}
        ordered = sorted(node.endpoints, key=lambda endpoint: endpoint.id)
        self._rows = {endpoint.id: self._matching(endpoint) for endpoint in ordered}
        for endpoint in ordered:
            self._compile(endpoint)
        self._repeat_at_root()
        self.endpoints = tuple(self._endpoints())
        self.constants = tuple(self._constants())
        self.unmapped = tuple(found for endpoint in ordered for found in self._unmapped(endpoint))
        self.polls = tuple(self._polls()) if node.listening else ()

    # ---- compiling --------------------------------------------------------------------------------------------------

    def _matching(self, endpoint: ZWaveEndpoint) -> list[Row]:
        """The rows of an endpoint. What another endpoint has too is the root's only as a copy of it, and not shown twice."""
        found = [row for row in ROWS if _applies(row, endpoint)]
        if endpoint.id != ROOT:
            return found
        others = [other for other in self.node.endpoints if other.id != ROOT]
        return [row for row in found if not any(_applies(row, other) for other in others)]

    def _compile(self, endpoint: ZWaveEndpoint) -> None:
        parts: dict[str, str] = {}  # capability -> the part that the endpoint itself shows
        places: dict[_Slot, Place] = {}
        for row in self._rows[endpoint.id]:
            first = row.part if row.own else parts.setdefault(row.capability, row.part)
            named = row.own or first != row.part
            slot = (f"{endpoint.id}{row.part}" if named else f"{endpoint.id}", _capability_id(row.capability))
            self._schemas.setdefault(slot[1], capabilities.load(slot[1]))
            place = places.setdefault(slot, Place(slot[0], endpoint, {}, {}))
            self._slots.setdefault(slot, []).append((row, place))
            for report in row.reports:
                self._heard.setdefault((endpoint.id, report), []).append((row, place))

    def _repeat_at_root(self) -> None:
        """Reports without an endpoint, of nodes whose lifeline knows none: where only one endpoint can have sent them."""
        root = next((endpoint for endpoint in self.node.endpoints if endpoint.id == ROOT), None)
        for row in ROWS if root is not None else ():
            if root is None or not _applies(row, root) or any(row is shown for shown in self._rows[ROOT]):
                continue
            owners = [pair for pairs in self._slots.values() for pair in pairs if pair[0] is row]
            for report in row.reports if len(owners) == 1 else ():
                self._heard.setdefault((ROOT, report), []).append(owners[0])

    # ---- what the node is -------------------------------------------------------------------------------------------

    def _endpoints(self) -> Iterator[Endpoint]:
        kinds: dict[str, dict[str, None]] = {}
        found: dict[str, list[Capability]] = {}
        for (place, identifier), pairs in self._slots.items():
            kinds.setdefault(place, {}).update({row.kind: None for row, _ in pairs})
            found.setdefault(place, []).append(_capability(self._schemas[identifier], [row for row, _ in pairs]))
        for place, offered in found.items():
            yield Endpoint(place, tuple(kinds[place]), tuple(offered))

    def _constants(self) -> Iterator[Values]:
        """What the interview alone tells: reported once, for no report will repeat it."""
        for (identifier, capability), pairs in self._slots.items():
            values = {name: value for row, place in pairs for name, value in row.constants(place.endpoint).items()}
            if values:
                pairs[0][1].last.update(values)
                yield Values(identifier, capability, values)

    def _unmapped(self, endpoint: ZWaveEndpoint) -> Iterator[str]:
        shown = [row for row in ROWS if _applies(row, endpoint)]
        mapped = {row.command_class for row in shown}
        parts = tuple(_unnamed(endpoint))
        for number in sorted(endpoint.classes.keys() - mapped - SILENT):
            entry = COMMAND_CLASSES.get(number)
            name = f"command class 0x{number:02X}" if entry is None else entry.name
            told_in_parts = any(part.startswith(name) for part in parts)
            if not COVERED.get(number, frozenset()) & endpoint.classes.keys() and not told_in_parts:
                yield f"endpoint {endpoint.id}: {name}"
        for what in parts:
            yield f"endpoint {endpoint.id}: {what}"

    def _polls(self) -> Iterator[Poll]:
        """What the lifeline does not carry; without a list of it, what a node from before Z-Wave Plus does not promise to report."""
        lifeline = next((found.facts.lifeline for found in self.node.endpoints if found.id == ROOT), None)
        for get in self.refresh():
            reported = bool(self.node.plus) if lifeline is None else _NUMBERS[get.answer] in lifeline
            if get.fills and not reported:
                yield Poll(get, SENSOR_POLL if get.command.command_class in _MEASURED else ACTUATOR_POLL)

    # ---- what the node says -----------------------------------------------------------------------------------------

    def heard(self, endpoint: int, command: Command | Raw, *, asked: bool = False) -> tuple[Values | Happened, ...]:
        """The properties and events that a command tells; empty for what no capability knows.

        `asked`: it answers a Get; then what was not known before is no event. Raises ValueError on nonsense.
        """
        if isinstance(command, Raw):
            return ()
        found: list[Values | Happened] = []
        for row, place in self._heard.get((endpoint, command.name), ()):
            capability, before = _capability_id(row.capability), bool(place.last)
            try:
                said = row.reports[command.name](command, place)
            except KeyError as error:
                raise ValueError(f"{command.name} without {error}") from None
            found += self._said(place, capability, said, silent=asked and not before)
        return tuple(found)

    def _said(
        self, place: Place, capability: str, said: Sequence[Said], *, silent: bool
    ) -> Iterator[Values | Happened]:
        for what in said:
            if isinstance(what, Event):
                capabilities.validate_event(capability, what.name, what.fields)
                if not silent:
                    yield Happened(place.id, capability, what.name, what.fields)
            else:
                capabilities.validate_report(capability, what)
                place.last.update(what)
                yield Values(place.id, capability, what)

    # ---- what the node is asked -------------------------------------------------------------------------------------

    def translate(self, action: Action) -> tuple[Step, ...]:
        """The steps that carry out an action. Raises UnknownDevice, NotSupported, InvalidParameters."""
        pairs = self._slots.get((action.endpoint, action.capability))
        if pairs is None:
            raise UnknownDevice(f"endpoint {action.endpoint} has no capability {action.capability}")
        try:
            capabilities.validate_action(action.capability, action.name, action.parameters)
        except capabilities.CapabilityError as error:
            raise InvalidParameters(str(error)) from None
        if action.name == capabilities.READ_STATE:
            return tuple(_reads(pairs, action.parameters.get("propertiesToRead", ["*"])))
        if action.name == capabilities.UPDATE_STATE:
            return tuple(_updates(pairs, action.parameters))
        for row, place in pairs:
            act = row.actions.get(action.name)
            if act is not None:
                return tuple(act(action.parameters, place))
        raise NotSupported(f"{action.capability} of this device has no action {action.name}")

    def refresh(self) -> tuple[ZWaveGet, ...]:
        """Gets of the whole state, each once."""
        found: dict[Hashable, ZWaveGet] = {}
        for pairs in self._slots.values():
            for row, place in pairs:
                for get in row.gets(place.endpoint):
                    key = supersedes(get)
                    fills = dict.fromkeys((*found[key].fills, *get.fills)) if key in found else dict.fromkeys(get.fills)
                    found[key] = ZWaveGet(get.endpoint, get.command, get.answer, get.match, tuple(fills))
        return tuple(found.values())


def supersedes(step: Step) -> Hashable:
    """What a step is about: of two that wait for a sleeping node with the same key, the later replaces the earlier."""
    if isinstance(step, ZWaveGet):
        return step.endpoint, encode(step.command)
    name = step.command.name
    for change in _CHANGES:
        name = name.removesuffix(change)
    values = step.command.values
    parts = next((values[key] for key in _SELECTORS if key in values), None)
    if parts is None and isinstance(values.get("values"), list):
        parts = values["values"][0]["parameter"]
    return step.endpoint, name, parts


def _applies(row: Row, endpoint: ZWaveEndpoint) -> bool:
    return (row.sent or row.command_class in endpoint.classes) and row.when(endpoint)


def _capability(schema: capabilities.CapabilitySchema, rows: list[Row]) -> Capability:
    properties = {name: None for row in rows for name in row.properties}
    actions = {name: None for row in rows for name in row.actions}
    events = {name: None for row in rows for name in row.events}
    return Capability(schema.id, schema.name, schema.version, tuple(properties), tuple(actions), tuple(events))


def _unnamed(endpoint: ZWaveEndpoint) -> Iterator[str]:
    """Types and scales of the classes that hold many, where no row takes them."""
    for kind, scales in (endpoint.facts.sensors or {}).items():
        rows = [row for row in sensors.MEASURED if row.type == kind]
        taken = {scale for row in rows for scale in row.scales}
        if not rows or (scales and scales.isdisjoint(taken)):
            units = ", ".join(filter(None, (sensor_unit(kind, scale) for scale in sorted(scales))))
            name = SENSOR_TYPES.get(kind, (f"type 0x{kind:02X}",))[0]
            yield f"Multilevel Sensor {name} in {units}" if units else f"Multilevel Sensor {name}"
    meter = endpoint.facts.meter
    if meter is not None:
        taken = {row.scale for row in sensors.METERED} if meter.type == sensors.ELECTRIC else set()
        for scale in sorted(meter.scales - taken):
            name = METER_TYPES.get(meter.type, (f"type 0x{meter.type:02X}",))[0]
            yield f"Meter {name} in {meter_unit(meter.type, scale) or f'scale {scale}'}"
    taken = {sense.type for sense in alarms.SENSES} | {*alarms.STATES, alarms.SYSTEM, sensors.POWER_MANAGEMENT}
    taken |= {SIREN_ACTIVE} if is_siren(endpoint) else set()  # its level says so
    for kind in sorted((endpoint.facts.notifications or {}).keys() - taken):
        name = NOTIFICATIONS[kind].name if kind in NOTIFICATIONS else f"type 0x{kind:02X}"
        yield f"Notification {name}"


def _reads(pairs: list[tuple[Row, Place]], names: Sequence[str]) -> Iterator[ZWaveGet]:
    seen: set[Hashable] = set()
    for row, place in pairs:
        for get in row.gets(place.endpoint):
            key = supersedes(get)
            if key not in seen and ("*" in names or any(name in names for name in get.fills)):
                seen.add(key)
                yield get


def _updates(pairs: list[tuple[Row, Place]], values: Mapping[str, Any]) -> Iterator[ZWaveSet]:
    remaining = dict(values)
    for row, place in pairs:
        for update in row.updates:
            taken = {name: remaining.pop(name) for name in update.names if name in remaining}
            if taken:
                yield from update.act(_complete(update, taken), place)
    if remaining:
        raise NotSupported(f"this device cannot change {', '.join(sorted(remaining))}")


def _complete(update: Update, taken: dict[str, Any]) -> dict[str, Any]:
    if update.together and len(taken) < len(update.names):
        raise InvalidParameters(f"{' and '.join(update.names)} are changed together")
    return taken


__all__ = [
    "Event",
    "Facts",
    "Happened",
    "NodeMap",
    "Poll",
    "Step",
    "Values",
    "ZWaveEndpoint",
    "ZWaveGet",
    "ZWaveNode",
    "ZWaveSet",
    "learn",
    "learnt",
    "needs",
    "supersedes",
]
