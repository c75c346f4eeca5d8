"""A node of a zwave-js-server as the catalogue takes it. PURE.

Its state tells classes and values; what its interview learnt besides (supported types, scales, modes) is in its dump. Both together are what
our own interview would have asked the node for, so the same device becomes the same capabilities whoever drives its stick.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from drivers.zwave.catalog_facts import FAHRENHEIT, celsius
from drivers.zwave.catalog_types import ROOT, Facts, Lock, Meter, Setpoint, ZWaveEndpoint, ZWaveNode
from drivers.zwave.codec import COMMAND_CLASSES
from drivers.zwave.server_json import Json, Malformed, keyed, numbers, record, records, text, whole

Property = str | int
SWITCH, BINARY_SENSOR, SENSOR, METER, COLOR, MODE, SETPOINT, FAN = 0x26, 0x30, 0x31, 0x32, 0x33, 0x40, 0x43, 0x44
GROUP_INFORMATION, CENTRAL_SCENE, DOOR_LOCK, USER_CODE, COVERING = 0x59, 0x5B, 0x62, 0x63, 0x6A
NOTIFICATION, ASSOCIATION, INDICATOR, ALARM_SENSOR = 0x71, 0x85, 0x87, 0x9C
NODE_IDENTIFY, LIFELINE = 0x50, 1
MOST_SCENES = 255
OF_CLASS = {  # facts about what endpoints have, and the class that tells them
    "sensors": SENSOR,
    "binary": BINARY_SENSOR,
    "alarms": ALARM_SENSOR,
    "notifications": NOTIFICATION,
    "meter": METER,
    "components": COLOR,
    "modes": MODE,
    "fan_modes": FAN,
    "setpoints": SETPOINT,
    "switch_type": SWITCH,
    "coverings": COVERING,
    "scenes": CENTRAL_SCENE,
}
LOCK_CAPABILITIES = 4  # the version of Door Lock that tells them
BASIC_KEYS = frozenset({0, 1, 2})  # key attributes of buttons that do not tell theirs
_NUMBERS = {entry.name: number for number, entry in COMMAND_CLASSES.items()}


@dataclass(frozen=True, slots=True)
class ValueId:
    """One value of a node, as zwave-js names it."""

    endpoint: int
    command_class: int
    property: Property
    key: Property | None = None

    def json(self) -> dict[str, Any]:
        """As the server takes it."""
        found = {"commandClass": self.command_class, "endpoint": self.endpoint, "property": self.property}
        return found if self.key is None else {**found, "propertyKey": self.key}


def value_id(args: Json) -> ValueId:
    """Of an event, or of an entry of a list. Raises Malformed."""
    endpoint = args.get("endpoint")
    return ValueId(
        0 if endpoint is None else whole(endpoint, "endpoint"),
        whole(args.get("commandClass"), "commandClass"),
        _property(args.get("property"), "property"),
        None if args.get("propertyKey") is None else _property(args["propertyKey"], "propertyKey"),
    )


def _property(value: Any, where: str) -> Property:
    return whole(value, where) if isinstance(value, int) else text(value, where)


@dataclass(slots=True)
class Store:
    """The values of one node, and what zwave-js says of each: unit, limits, states, what it measures."""

    values: dict[ValueId, Any] = field(default_factory=dict)
    about: dict[ValueId, Json] = field(default_factory=dict)

    def get(self, endpoint: int, command_class: int, name: Property, key: Property | None = None) -> Any:
        """A value; None where it is not known."""
        return self.values.get(ValueId(endpoint, command_class, name, key))

    def specific(self, which: ValueId) -> Json:
        """What zwave-js says of a value in the words of its class: type, scale."""
        found = self.about.get(which, {}).get("ccSpecific")
        return found if isinstance(found, dict) else {}

    def of(self, endpoint: int, command_class: int) -> Iterator[ValueId]:
        """The values of one class."""
        for which in {**self.about, **self.values}:
            if (which.endpoint, which.command_class) == (endpoint, command_class):
                yield which

    def keys(self, endpoint: int, command_class: int, name: Property) -> dict[int, Any]:
        """Values of one property by their key."""
        return {
            which.key: self.values[which]
            for which in self.of(endpoint, command_class)
            if which.property == name and isinstance(which.key, int) and which in self.values
        }

    def put(self, args: Json) -> ValueId:
        """Take over an entry of a list of values. Raises Malformed."""
        which = value_id(args)
        metadata = args.get("metadata")
        if isinstance(metadata, dict):
            self.about[which] = metadata
        if "value" in args:
            self.values[which] = args["value"]
        return which


def stored(state: Json) -> Store:
    """The values in a node's state. Raises Malformed."""
    store = Store()
    for one in records(state.get("values", []), "values"):
        store.put(one)
    return store


# ---- the node -----------------------------------------------------------------------------------------------------------


def interviewed(state: Json, dump: Json) -> ZWaveNode:
    """A node that is ready, by its state and its dump. Raises Malformed."""
    store, names = _all(record(state, "state"), record(dump, "dump"))
    number = whole(state.get("nodeId"), "nodeId")
    root = next((one for one in records(state.get("endpoints"), "endpoints") if one.get("index") == 0), None)
    if root is None:
        raise Malformed(f"node {number} has no root endpoint")
    versions = _versions(root, {})
    endpoints = []
    for one in records(state["endpoints"], "endpoints"):
        index = whole(one.get("index"), "index")
        classes = versions if index == 0 else _versions(one, versions)
        generic, specific = _device_class(one)
        endpoints.append(
            ZWaveEndpoint(
                index,
                classes,
                generic,
                specific,
                _controlled(_dumped(dump, index), names),
                _icon(one, "installerIcon"),
                _icon(one, "userIcon"),
                facts(store, index, classes),
            )
        )
    return ZWaveNode(
        number,
        tuple(_repeated(endpoints)),
        manufacturer_id=_icon(state, "manufacturerId"),
        product_type=_icon(state, "productType"),
        product_id=_icon(state, "productId"),
        role=state.get("zwavePlusRoleType") if isinstance(state.get("zwavePlusRoleType"), int) else None,
        plus=_icon(state, "zwavePlusVersion"),
        listening=state.get("isListening") is True,
    )


def _repeated(endpoints: list[ZWaveEndpoint]) -> Iterator[ZWaveEndpoint]:
    """zwave-js does not ask a node's root for what its endpoints have too: there it is a copy of the first of them."""
    others = [one for one in endpoints if one.id != ROOT]
    for one in endpoints:
        copied: dict[str, Any] = {}
        for fact, number in OF_CLASS.items():
            if one.id == ROOT and number in one.classes and getattr(one.facts, fact) is None:
                copied[fact] = next(
                    (found for other in others if (found := getattr(other.facts, fact)) is not None), None
                )
        yield replace(one, facts=replace(one.facts, **copied)) if copied else one


def _icon(of: Json, name: str) -> int:
    """A number that may be missing."""
    value = of.get(name)
    return value if isinstance(value, int) else 0


def _versions(endpoint: Json, root: Mapping[int, int]) -> dict[int, int]:
    """An endpoint's classes; where zwave-js has not asked the endpoint for a version, it is the node's."""
    found = {}
    for one in records(endpoint.get("commandClasses"), "commandClasses"):
        number = whole(one.get("id"), "id")
        found[number] = max(1, whole(one.get("version"), "version") or root.get(number, 1))
    return found


def _device_class(endpoint: Json) -> tuple[int, int]:
    found = endpoint.get("deviceClass")
    if not isinstance(found, dict):
        return 0, 0
    generic, specific = (record(found.get(name), name) for name in ("generic", "specific"))
    return whole(generic.get("key"), "generic"), whole(specific.get("key"), "specific")


def _dumped(dump: Json, index: int) -> Json:
    """The part of a dump about one endpoint."""
    if index == 0:
        return dump
    found = dump.get("endpoints")
    part = found.get(str(index)) if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}


def _dumped_classes(part: Json) -> Iterator[tuple[str, Json]]:
    found = part.get("commandClasses")
    for name, one in found.items() if isinstance(found, dict) else ():
        yield name, record(one, name)


def _controlled(part: Json, names: Mapping[str, int]) -> frozenset[int]:
    return frozenset(
        names[name] for name, one in _dumped_classes(part) if one.get("isControlled") is True and name in names
    )


def _all(state: Json, dump: Json) -> tuple[Store, Mapping[str, int]]:
    """Every value of a node, the inner ones of the dump too; and the numbers of the classes that the dump calls by name."""
    names = dict(_NUMBERS)
    indices = []
    for endpoint in records(state.get("endpoints"), "endpoints"):
        indices.append(whole(endpoint.get("index"), "index"))
        for one in records(endpoint.get("commandClasses"), "commandClasses"):
            names[text(one.get("name"), "name")] = whole(one.get("id"), "id")
    store = stored(state)
    for index in indices:
        for name, one in _dumped_classes(_dumped(dump, index)):
            if name in names:
                for value in records(one.get("values", []), "values"):
                    if value.get("internal") is True:
                        store.put({**value, "endpoint": index, "commandClass": names[name]})
    return store, names


# ---- what its interview learnt --------------------------------------------------------------------------------------------


def facts(store: Store, endpoint: int, classes: Mapping[int, int]) -> Facts:
    """The facts about one endpoint. Raises Malformed."""

    def get(number: int, name: str, key: int | None = None) -> Any:
        return store.get(endpoint, number, name, key) if number in classes else None

    groups = get(ASSOCIATION, "groupCount")
    users, kind = get(USER_CODE, "supportedUsers"), get(SWITCH, "switchType")
    named = store.keys(endpoint, GROUP_INFORMATION, "name")
    return Facts(
        sensors=_sensors(store, endpoint) if SENSOR in classes else None,
        binary=numbers(get(BINARY_SENSOR, "supportedSensorTypes")),
        alarms=numbers(get(ALARM_SENSOR, "supportedSensorTypes")),
        notifications=_notifications(store, endpoint) if NOTIFICATION in classes else None,
        meter=_meter(store, endpoint) if METER in classes else None,
        components=numbers(get(COLOR, "supportedColorComponents")),
        modes=numbers(get(MODE, "supportedModes")),
        fan_modes=numbers(get(FAN, "supportedModes")),
        setpoints=_setpoints(store, endpoint) if SETPOINT in classes else None,
        lock=_lock(store, endpoint) if classes.get(DOOR_LOCK, 0) >= LOCK_CAPABILITIES else None,
        lock_configuration=_lock_configuration(store, endpoint) if DOOR_LOCK in classes else None,
        users=users if isinstance(users, int) else None,
        keypad_modes=numbers(get(USER_CODE, "supportedKeypadModes")),
        switch_type=kind if isinstance(kind, int) else None,
        coverings=numbers(get(COVERING, "supportedParameters")),
        scenes=_scenes(store, endpoint) if CENTRAL_SCENE in classes else None,
        indicator=numbers(get(INDICATOR, "supportedPropertyIDs", NODE_IDENTIFY)),
        groups=groups if isinstance(groups, int) else None,
        group_names={number: str(name) for number, name in named.items()},
        lifeline=_lifeline(get(GROUP_INFORMATION, "issuedCommands", LIFELINE)),
    )


def _specifics(store: Store, endpoint: int, number: int) -> Iterator[Json]:
    for which in store.of(endpoint, number):
        found = store.specific(which)
        if found:
            yield found


def _sensors(store: Store, endpoint: int) -> dict[int, frozenset[int]] | None:
    types = numbers(store.get(endpoint, SENSOR, "supportedSensorTypes"))
    if types is not None:
        scales = store.keys(endpoint, SENSOR, "supportedScales")
        return {kind: numbers(scales.get(kind)) or frozenset() for kind in sorted(types)}
    found: dict[int, frozenset[int]] = {}  # before version 5 there is one sensor, and its report names it
    for one in _specifics(store, endpoint, SENSOR):
        kind, scale = whole(one.get("sensorType"), "sensorType"), whole(one.get("scale"), "scale")
        found[kind] = found.get(kind, frozenset()) | {scale}
    return found or None


def _notifications(store: Store, endpoint: int) -> dict[int, frozenset[int] | None] | None:
    types = numbers(store.get(endpoint, NOTIFICATION, "supportedNotificationTypes"))
    if types is None:
        return None
    events = store.keys(endpoint, NOTIFICATION, "supportedNotificationEvents")
    return {kind: numbers(events.get(kind)) for kind in sorted(types)}


def _meter(store: Store, endpoint: int) -> Meter | None:
    kind, scales = store.get(endpoint, METER, "type"), numbers(store.get(endpoint, METER, "supportedScales"))
    rates = 0
    for rate in numbers(store.get(endpoint, METER, "supportedRateTypes")) or ():
        rates |= rate
    if isinstance(kind, int) and scales is not None:
        return Meter(kind, scales, rates)
    told = list(_specifics(store, endpoint, METER))  # version 1 tells nothing but its reports
    if not told:
        return None
    first = whole(told[0].get("meterType"), "meterType")
    return Meter(first, frozenset(whole(one.get("scale"), "scale") for one in told))


def _setpoints(store: Store, endpoint: int) -> dict[int, Setpoint | None] | None:
    types = numbers(store.get(endpoint, SETPOINT, "supportedSetpointTypes"))
    if types is None:
        return None
    return {kind: _setpoint(store.about.get(ValueId(endpoint, SETPOINT, "setpoint", kind))) for kind in sorted(types)}


def _setpoint(about: Json | None) -> Setpoint | None:
    if about is None:
        return None
    scale = scale_of(about)
    low, high = (
        celsius(limit, scale) if isinstance(limit, int | float) else None
        for limit in (about.get("min"), about.get("max"))
    )
    return Setpoint(low, high, scale)


def scale_of(about: Json) -> int:
    """The scale of a temperature, by the unit that zwave-js gives it."""
    return FAHRENHEIT if about.get("unit") == "°F" else 0


def _lock(store: Store, endpoint: int) -> Lock | None:
    door, bolt, relock = (store.get(endpoint, DOOR_LOCK, f"{name}Supported") for name in ("door", "bolt", "autoRelock"))
    return None if door is None else Lock(frozenset(), door is True, bolt is True, relock is True)


def _lock_configuration(store: Store, endpoint: int) -> dict[str, Any] | None:
    if store.get(endpoint, DOOR_LOCK, "operationType") is None:
        return None
    relock = store.get(endpoint, DOOR_LOCK, "autoRelockTime")
    return {"auto_relock_seconds": relock} if isinstance(relock, int) else {}


def _scenes(store: Store, endpoint: int) -> dict[int, frozenset[int]] | None:
    keys = keyed(store.get(endpoint, CENTRAL_SCENE, "supportedKeyAttributes"))
    if keys:
        return {scene: numbers(found) or frozenset() for scene, found in keys.items()}
    count = store.get(endpoint, CENTRAL_SCENE, "sceneCount")
    return dict.fromkeys(range(1, min(count, MOST_SCENES) + 1), BASIC_KEYS) if isinstance(count, int) else None


def _lifeline(issued: Any) -> frozenset[tuple[int, int]] | None:
    if not isinstance(issued, dict):
        return None
    return frozenset((number, command) for number, found in keyed(issued).items() for command in numbers(found) or ())
