"""From a CoAP device's links and units to endpoints, capabilities, reports and writes. PURE; the table is catalog_tables.

A DeviceMap is compiled once for each device, so that a notification costs a dict look-up and a scaling.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action, Capability, Endpoint
from drivers.coap.catalog_tables import (
    APPLICATION,
    BY_GAS,
    BY_UNIT,
    CONCENTRATION,
    DEVICE,
    FACTS,
    GENERIC,
    NEEDS,
    OBJECTS,
    UNITS,
)
from drivers.coap.catalog_types import CoapDevice, Flip, ObjectMap, Point, Read, Step, Watched, Write
from drivers.coap.linkformat import Link
from drivers.coap.values import READABLE, SENML_JSON, TEXT, Raw, Reading, typed
from drivers.told import Values

_BY_OBJECT = {row.object: row for row in OBJECTS}
_IPSO_RT = re.compile(r"urn:oma:lwm2m:(?:oma|ext|x):(\d{1,5})")
_KNOWN = {*_BY_OBJECT, GENERIC, CONCENTRATION}
_LONGEST_ENDPOINT = 64  # of agent.model.Endpoint
_WELL_KNOWN = "/.well-known/"


def capability_id(name: str) -> str:
    return f"matter.{name}@1.4"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path stands in the IPSO tree: /<prefix>/object/instance, and the resource where the path goes on to one."""

    root: str  # path of the instance
    object: int
    resource: int | None


@dataclass(slots=True)
class _Instance:
    """One object instance (an endpoint), or one resource of no object (then `object` is -1)."""

    root: str
    object: int
    row: ObjectMap
    links: dict[int | None, Link] = field(default_factory=dict)


def path_of(target: str) -> str | None:
    """The path of a link on the device itself; None for a link to elsewhere, and for one with a query."""
    if target.startswith(("coap://", "coaps://")):
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target if target.startswith("/") and not target.startswith("//") and "?" not in target else None


def place(path: str, link: Link) -> Place | None:
    """The place of a path: by the numbers at its end (as IPSO lays out paths), or by a resource type that names the object."""
    parts = path.strip("/").split("/")
    for tail in (3, 2):
        numbers = parts[-tail:]
        if len(parts) >= tail and all(part.isascii() and part.isdigit() and len(part) <= 5 for part in numbers):  # noqa: PLR2004  65535
            root = "/" + "/".join(parts[: len(parts) - tail + 2])
            return Place(root, int(numbers[0]), int(numbers[2]) if tail == 3 else None)  # noqa: PLR2004  object, instance, resource
    for word in link.words("rt"):
        found = _IPSO_RT.fullmatch(word)
        if found:
            return Place(path, int(found[1]), None)
    return None


class DeviceMap:
    """One device, compiled."""

    def __init__(self, device: CoapDevice) -> None:
        self.device = device
        self._instances: dict[str, _Instance] = {}  # by endpoint id
        self._points: dict[str, list[tuple[str, Point]]] = {}  # path of a resource -> endpoint and row
        self._rows: dict[tuple[str, str], list[tuple[_Instance, Point]]] = {}
        self._unmapped: list[str] = []
        for instance in self._gather():
            self._take(instance)
        self.endpoints = tuple(self._endpoint(name, instance) for name, instance in self._instances.items())
        self.unmapped = tuple(self._unmapped)
        self.watched = tuple(self._watched())

    # ---- what the device is -----------------------------------------------------------------------------------------

    def _gather(self) -> Iterator[_Instance]:
        found: dict[str, _Instance] = {}
        for link in self.device.links:
            path = path_of(link.target)
            if path is None or path == "/" or path.startswith(_WELL_KNOWN):
                continue
            at = place(path, link)
            row = self._row(at) if at is not None else None
            if at is not None and row is not None:
                instance = found.setdefault(at.root, _Instance(at.root, at.object, row))
                instance.links[at.resource] = link
            elif self.device.units.get(path) in BY_UNIT:
                kind, _, point = BY_UNIT[self.device.units[path]]
                found[path] = _Instance(path, -1, ObjectMap(-1, kind, (point,)), {None: link})
            elif at is None or at.resource not in NEEDS:
                self._unmapped.append(" ".join((path, *link.words("rt"))))
        return iter(found.values())

    def _row(self, at: Place) -> ObjectMap | None:
        units = self.device.units
        if at.object == GENERIC:
            unit = units.get(f"{at.root}/5700") or units.get(f"{at.root}/{UNITS}") or units.get(at.root, "")
            found = BY_UNIT.get(unit)
            return ObjectMap(GENERIC, found[0], (found[2],)) if found else None
        if at.object == CONCENTRATION:
            return BY_GAS.get(units.get(f"{at.root}/{APPLICATION}", "").lower())
        return _BY_OBJECT.get(at.object)

    def _take(self, instance: _Instance) -> None:
        points = [p for p in instance.row.points if p.resource in instance.links]
        if instance.object < 0:
            points = list(instance.row.points)
        elif _alone(instance):
            points = [p for p in instance.row.points if f"{instance.root}/{p.resource}" in self.device.seen]
        if not points:
            return
        name = self._name(instance)
        self._instances[name] = instance
        for point in points:
            path = instance.root if instance.object < 0 else f"{instance.root}/{point.resource}"
            self._points.setdefault(path, []).append((name, point))
            self._rows.setdefault((name, capability_id(point.capability)), []).append((instance, point))

    def _name(self, instance: _Instance) -> str:
        parts = ["".join(c for c in part if c.isascii() and c.isalnum()) for part in instance.root.split("/")]
        plain = "x".join(filter(None, parts))[: _LONGEST_ENDPOINT - 5] or "resource"
        name, count = plain, 1
        while name in self._instances:
            count += 1
            name = f"{plain}y{count}"
        return name

    def _endpoint(self, name: str, instance: _Instance) -> Endpoint:
        found = []
        for (place_, identifier), rows in self._rows.items():
            if place_ != name:
                continue
            schema = capabilities.load(identifier)
            properties = {prop: None for _, point in rows for prop in point.properties}
            actions = self._actions(name, instance, identifier)
            found.append(Capability(identifier, schema.name, schema.version, tuple(properties), tuple(actions), ()))
        return Endpoint(name, (instance.row.device_type,), tuple(found))

    def _actions(self, name: str, instance: _Instance, identifier: str) -> list[str]:
        """The actions for which the device has all resources that they write."""
        acts = instance.row.actions.get(identifier.removeprefix("matter.").partition("@")[0], {})
        here = {point.resource for (where, _), rows in self._rows.items() if where == name for _, point in rows}
        samples: dict[str, Any] = {"Level": 1}
        return [action for action, act in acts.items() if {resource for resource, _ in act.writes(samples)} <= here]

    def _watched(self) -> Iterator[Watched]:
        """What is observed: an instance as a whole where it is a resource of its own, else each of its resources that we know."""
        for instance in self._instances.values():
            if _alone(instance):
                whole = instance.links[None]
                yield Watched(instance.root, whole.observable, accept(whole))
                continue
            for point in instance.row.points:
                link = instance.links.get(point.resource)
                if link is not None:
                    yield Watched(f"{instance.root}/{point.resource}", link.observable, accept(link))

    # ---- what the device says ---------------------------------------------------------------------------------------

    def report(self, path: str, readings: Iterable[Reading | Raw]) -> tuple[Values, ...]:
        """The properties that the content of `path` fills; nothing for what no capability knows. Raises ValueError on nonsense."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for number, reading in enumerate(readings):
            where = resolve(path, reading.name)
            rows = self._points.get(where, [])
            if not rows and number == 0 and not reading.name.startswith("/"):  # a name of the device's own is no path
                rows = self._points.get(path, [])
            for endpoint, point in rows:
                value = typed(reading, point.kind) if isinstance(reading, Raw) else reading.value
                unit = getattr(reading, "unit", "") or self._unit(where)
                properties = point.decode(value, unit)
                capabilities.validate_report(capability_id(point.capability), properties)
                found.setdefault((endpoint, capability_id(point.capability)), {}).update(properties)
        return tuple(Values(endpoint, capability, properties) for (endpoint, capability), properties in found.items())

    def _unit(self, path: str) -> str:
        units = self.device.units
        return units.get(path) or units.get(f"{path.rpartition('/')[0]}/{UNITS}", "")

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
        if action.name == capabilities.READ_STATE:
            return tuple(self._reads(rows, action.parameters.get("propertiesToRead", ["*"])))
        if action.name == capabilities.UPDATE_STATE:
            return tuple(self._updates(rows, action.parameters))
        instance = rows[0][0]
        if action.name not in self._actions(action.endpoint, instance, action.capability):
            raise NotSupported(f"{action.capability} of this device has no action {action.name}")
        act = instance.row.actions[action.capability.removeprefix("matter.").partition("@")[0]][action.name]
        return tuple(
            Flip(self._path(instance, resource), self._format(instance, resource))
            if value is None
            else Write(self._path(instance, resource), value, self._format(instance, resource))
            for resource, value in act.writes(action.parameters)
        )

    def _reads(self, rows: list[tuple[_Instance, Point]], names: list[str]) -> Iterator[Read]:
        wanted = (row for row in rows if "*" in names or set(names) & set(row[1].properties))
        yield from dict.fromkeys(self._readable(instance, point) for instance, point in wanted)

    def _readable(self, instance: _Instance, point: Point) -> Read:
        link = instance.links.get(point.resource)
        if link is not None:
            return Read(self._path(instance, point.resource), accept(link))
        return Read(instance.root, accept(instance.links[None]))

    def _updates(self, rows: list[tuple[_Instance, Point]], wanted: Mapping[str, Any]) -> Iterator[Write]:
        left = dict(wanted)
        for instance, point in rows:
            for name, encode in point.writes.items():
                if name in left:
                    value = left.pop(name)
                    if value is None:
                        raise InvalidParameters(f"{name} cannot be null on this device")
                    yield Write(
                        self._path(instance, point.resource), encode(value), self._format(instance, point.resource)
                    )
        if left:
            raise NotSupported(f"this device cannot change {', '.join(sorted(left))}")

    @staticmethod
    def _path(instance: _Instance, resource: int) -> str:
        return instance.root if instance.object < 0 else f"{instance.root}/{resource}"

    @staticmethod
    def _format(instance: _Instance, resource: int) -> int:
        """SenML where the resource offers nothing else; IPSO resources take plain text."""
        link = instance.links.get(resource)
        formats = link.formats if link is not None else ()
        return SENML_JSON if SENML_JSON in formats and TEXT not in formats else TEXT


def resolve(path: str, name: str) -> str:
    """The path that a record's name means: a path of its own, or one below the resource that was read (OMA: relative to it)."""
    if not name or name == path:
        return path
    if name.startswith("/"):
        return name.rstrip("/")
    return f"{path}/{name.strip('/')}"


def accept(link: Link) -> int | None:
    """The best content format that the resource offers; None leaves it to the device."""
    return next((known for known in READABLE if known in link.formats), None)


def sampled(links: Iterable[Link]) -> Iterator[tuple[str, int | None]]:
    """What an interview reads once: units, application types, the device object's facts, and values whose unit says what they are."""
    for link in links:
        path = path_of(link.target)
        if path is None or path == "/" or path.startswith(_WELL_KNOWN):
            continue
        at = place(path, link)
        asked = at is None or at.object == GENERIC or (at.object in _KNOWN and at.resource in (None, *NEEDS))
        if asked or (at is not None and at.object == DEVICE and at.resource in FACTS):
            yield path, accept(link)


def learned(path: str, link: Link, readings: Iterable[Reading | Raw]) -> CoapDevice:
    """What one of these reads tells of the device: units and facts, and the resources that an instance holds."""
    units: dict[str, str] = {}
    facts: dict[str, str] = {}
    seen: list[str] = []
    told = list(readings)
    for reading in told:
        where = resolve(path, reading.name)
        if (
            place(path, link) is None
        ):  # no object: the records have names of the device's own, and only one can be the resource's value
            if len(told) > 1:
                break
            where = path
        seen.append(where)
        at = place(where, link)
        if at is not None and at.object == DEVICE and at.resource in FACTS:
            facts[FACTS[at.resource]] = _text(reading)[:64]
        elif at is not None and at.resource in NEEDS:
            units[where] = _text(reading)[:16]
        elif isinstance(reading, Reading) and reading.unit:
            units[where] = reading.unit[:16]
    return CoapDevice((), units, facts, frozenset(seen))


def _text(reading: Reading | Raw) -> str:
    value = typed(reading, str) if isinstance(reading, Raw) else reading.value
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def _alone(instance: _Instance) -> bool:
    """Whether the device lists the instance and none of its resources: then it is read as a whole."""
    return set(instance.links) == {None}


__all__ = ["DeviceMap", "Flip", "Read", "Step", "Values", "Watched", "Write"]
