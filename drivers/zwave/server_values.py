"""Values of zwave-js as the reports that a node sent: the catalogue reads those, and so has one table for both. PURE.

A value comes alone, where the report held several. What of them belongs together is put together again from what is known; what has its own
time (target and duration of a change) comes only with its own value, for an old target would be a lie.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from drivers.zwave.codec import Command
from drivers.zwave.commands.sensors import EXTENDED_SCALE
from drivers.zwave.layout import LayoutError
from drivers.zwave.layout_values import Scaled
from drivers.zwave.server_facts import Property, Store, ValueId, scale_of
from drivers.zwave.server_json import Json, Malformed, is_small, number, whole

UNKNOWN, ON = 0xFE, 0xFF  # a level that the device does not know, and "on"
LOW_BATTERY = 0xFF
STOPPED = 0xFD  # a barrier, somewhere
ENUM = 8  # bits of a state's parameter, where zwave-js appends one
EVENT_PARAMETERS = (
    "userId",
    "sequenceNumber",
    "duration",
)  # of notifications that zwave-js has read, the first that it has
# Variables that zwave-js makes from the door's state a second time
DERIVED = frozenset({"Door state (simple)", "Door tilt state", "Opening state", "unknown"})
SCENE_SEQUENCES = 256
START, STOP = 4, 5  # Multilevel Switch Start and Stop Level Change, as `notification` names them
BASIC, BINARY_SWITCH, MULTILEVEL, SCENE_ACTIVATION, CENTRAL_SCENE, NOTIFICATION = 0x20, 0x25, 0x26, 0x2B, 0x5B, 0x71

Reader = Callable[[Store, ValueId], Command | None]


def raw_level(value: Any) -> int:
    """A level as on the wire."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return ON if value else 0
    return whole(value, "level") & 0xFF


def _duration(value: Any) -> Any:
    """As the codec reads one: seconds, None where it is not known, "default"."""
    if not isinstance(value, dict):
        return None
    unit = value.get("unit")
    if unit in ("seconds", "minutes"):
        return round(number(value.get("value"), "duration") * (60 if unit == "minutes" else 1))
    return "default" if unit == "default" else None


def _sibling(store: Store, which: ValueId, name: Property) -> Any:
    """Another value of the same report."""
    return store.get(which.endpoint, which.command_class, name, which.key)


def _decimal(value: Any, places: int = 0) -> Scaled:
    scaled = Scaled.of(number(value, "value"))
    return scaled if scaled.precision >= places else Scaled(scaled.raw * 10 ** (places - scaled.precision), places)


# ---- what acts ------------------------------------------------------------------------------------------------------------


def _moving(name: str, key: str = "") -> Mapping[str, Reader]:
    """Current value, target and remaining duration of something that changes; `key`: the field that tells which."""

    def report(store: Store, which: ValueId, **more: Any) -> Command | None:
        current = _sibling(store, which, "currentValue")
        named = {key: which.key} if key else {}
        return Command(name, {**named, "current_value": raw_level(current), **more})

    def target(store: Store, which: ValueId) -> Command | None:
        wanted = store.values.get(which)
        return None if wanted is None else report(store, which, target_value=raw_level(wanted))

    def duration(store: Store, which: ValueId) -> Command | None:
        return report(store, which, duration=_duration(store.values.get(which)))

    return {"currentValue": report, "targetValue": target, "duration": duration}


def _plain(name: str, field: str, make: Callable[[Any], Any]) -> Reader:
    """A report that says one thing."""

    def read(store: Store, which: ValueId) -> Command | None:
        value = store.values.get(which)
        return None if value is None else Command(name, {field: make(value)})

    return read


def _binary(store: Store, which: ValueId) -> Command | None:
    return Command("Binary Switch Report", {"current_value": raw_level(store.values.get(which))})


def _color(store: Store, which: ValueId) -> Command | None:
    value = store.values.get(which)
    if not isinstance(which.key, int) or value is None:
        return None  # the same colours once more, as an object
    return Command("Color Switch Report", {"component": which.key, "current_value": whole(value, "color")})


def _barrier(store: Store, which: ValueId) -> Command | None:
    state, position = store.get(which.endpoint, 0x66, "currentState"), store.get(which.endpoint, 0x66, "position")
    if state is None:
        return None
    stopped_at = state == STOPPED and isinstance(position, int) and 0 < position < 100  # noqa: PLR2004  percent
    return Command("Barrier Operator Report", {"state": position if stopped_at else whole(state, "state")})


def _tone(store: Store, which: ValueId) -> Command | None:
    playing = store.get(which.endpoint, 0x79, "toneId")
    if playing is None:
        return None
    volume = store.get(which.endpoint, 0x79, "volume")
    more = {"volume": volume} if isinstance(volume, int) and volume else {}
    return Command("Sound Switch Tone Play Report", {"tone": whole(playing, "toneId"), **more})


# ---- locks and climate ------------------------------------------------------------------------------------------------------


def _lock(store: Store, which: ValueId) -> Command | None:
    """Mode, bolt and door are one report."""
    mode, bolt, door = (store.get(which.endpoint, 0x62, name) for name in ("currentMode", "boltStatus", "doorStatus"))
    if mode is None:
        return None
    values = {"mode": whole(mode, "mode"), "bolt_unlocked": bolt == "unlocked", "door_closed": door == "closed"}
    return Command("Door Lock Operation Report", values)


def _fan(store: Store, which: ValueId) -> Command | None:
    mode, off = store.get(which.endpoint, 0x44, "mode"), store.get(which.endpoint, 0x44, "off")
    return None if mode is None else Command("Thermostat Fan Mode Report", {"mode": mode, "off": off is True})


def _setpoint(store: Store, which: ValueId) -> Command | None:
    """With a decimal, so that half a degree can be written back: zwave-js itself finds the form that the device takes."""
    value = store.values.get(which)
    if value is None:
        return None
    scale = scale_of(store.about.get(which, {}))
    return Command(
        "Thermostat Setpoint Report", {"type": which.key, "scale": scale, "value": _decimal(value, places=1)}
    )


# ---- what tells -------------------------------------------------------------------------------------------------------------


def _sensor(store: Store, which: ValueId) -> Command | None:
    value, told = store.values.get(which), store.specific(which)
    if value is None or "sensorType" not in told:
        return None
    values = {"type": told["sensorType"], "scale": told.get("scale"), "value": _decimal(value)}
    return Command("Multilevel Sensor Report", values)


def _meter(store: Store, which: ValueId) -> Command | None:
    value, told = store.values.get(which), store.specific(which)
    if value is None or which.property != "value" or "meterType" not in told:
        return None
    scale = whole(told.get("scale"), "scale")
    parts = {"scale": min(scale, EXTENDED_SCALE), "scale_2": max(0, scale - EXTENDED_SCALE)}
    values = {"type": told["meterType"], "rate_type": told.get("rateType", 0), **parts, "value": _decimal(value)}
    return Command("Meter Report", values)


def _binary_sensor(store: Store, which: ValueId) -> Command | None:
    value = store.values.get(which)
    if not isinstance(value, bool):
        return None
    told = store.specific(which).get("type")
    typed = {} if told is None or which.property == "Any" else {"type": told}
    return Command("Binary Sensor Report", {"value": raw_level(value), **typed})


def _alarm_sensor(store: Store, which: ValueId) -> Command | None:
    value = store.values.get(which)
    if which.property != "state" or not isinstance(value, bool):
        return None
    return Command("Alarm Sensor Report", {"type": which.key, "state": raw_level(value)})


def _battery(store: Store, which: ValueId) -> Command | None:
    level = store.get(which.endpoint, 0x80, "level")
    low = store.get(which.endpoint, 0x80, "isLow")
    if level is None:
        return None
    return Command("Battery Report", {"level": LOW_BATTERY if low is True and not level else whole(level, "level")})


_SWITCH, _COVERING = _moving("Multilevel Switch Report"), _moving("Window Covering Report", "parameter")
READERS: Mapping[tuple[int, Property], Reader] = {
    (BASIC, "currentValue"): _plain("Basic Report", "current_value", raw_level),
    (BINARY_SWITCH, "currentValue"): _binary,
    **{(MULTILEVEL, name): reader for name, reader in _SWITCH.items()},
    **{(0x6A, name): reader for name, reader in _COVERING.items()},
    (0x33, "currentColor"): _color,
    (0x66, "currentState"): _barrier,
    (0x66, "position"): _barrier,
    (0x79, "toneId"): _tone,
    (0x79, "volume"): _tone,
    (0x79, "defaultVolume"): _plain("Sound Switch Configuration Report", "volume", lambda value: value),
    (0x62, "currentMode"): _lock,
    (0x62, "boltStatus"): _lock,
    (0x62, "doorStatus"): _lock,
    (0x62, "autoRelockTime"): _plain("Door Lock Configuration Report", "auto_relock_seconds", lambda value: value),
    (0x76, "locked"): _plain("Lock Report", "locked", int),
    (0x63, "keypadMode"): _plain("User Code Keypad Mode Report", "mode", lambda value: value),
    (0x40, "mode"): _plain("Thermostat Mode Report", "mode", lambda value: value),
    (0x42, "state"): _plain("Thermostat Operating State Report", "state", lambda value: value),
    (0x43, "setpoint"): _setpoint,
    (0x44, "mode"): _fan,
    (0x44, "off"): _fan,
    (0x80, "level"): _battery,
    (0x80, "isLow"): _battery,
}
BY_CLASS: Mapping[int, Reader] = {0x30: _binary_sensor, 0x31: _sensor, 0x32: _meter, 0x9C: _alarm_sensor}
# Values of one report that zwave-js tells one after the other: what they say together counts, once all have come.
TOGETHER = frozenset({0x62, 0x44, 0x66, 0x79})


# ---- what they say ----------------------------------------------------------------------------------------------------------


def told(store: Store, which: ValueId, *, before: Any = None) -> tuple[Command, ...]:
    """The reports that a value stands for; none for what no capability knows. `before`: the value that it replaced. Raises Malformed."""
    if which.command_class == NOTIFICATION:
        return tuple(_notifications(store, which, before))
    reader = READERS.get((which.command_class, which.property)) or BY_CLASS.get(which.command_class)
    try:
        command = None if reader is None else reader(store, which)
    except (LayoutError, TypeError) as error:
        raise Malformed(f"{which}: {error}") from error
    return () if command is None else (command,)


def _notifications(store: Store, which: ValueId, before: Any) -> Iterator[Command]:
    """A variable of a notification: the event that holds, or 0; then each event that it may have had is over."""
    kind, value = store.specific(which).get("notificationType"), store.values.get(which)
    if kind is None or which.key in DERIVED or not isinstance(value, int):
        return
    if value:
        yield notification(kind, value >> ENUM or value)
        return
    states = store.about.get(which, {}).get("states")
    known = [int(state) for state in states if is_small(state)] if isinstance(states, dict) else []
    ended = [before] if isinstance(before, int) and before else [state for state in known if 0 < state < 1 << ENUM]
    for state in ended:
        yield notification(kind, 0, bytes((state & 0xFF,)))


def notification(kind: Any, event: int, parameters: bytes = b"") -> Command:
    values = {"v1_type": 0, "v1_level": 0, "status": 0xFF, "type": kind, "event": event, "parameters": parameters}
    return Command("Notification Report", values)


def everything(store: Store) -> Iterator[tuple[int, Command]]:
    """What a node's whole state says, as reports of its endpoints. What cannot be read is left out."""
    for which in list(store.values):
        try:
            found = told(store, which)
        except Malformed:
            continue
        for command in found:
            yield which.endpoint, command


def happened(which: ValueId, value: Any, sequence: int) -> tuple[Command, ...]:
    """What a value says that is no state: a button, a scene, a command to others. Raises Malformed."""
    match which.command_class, which.property:
        case 0x5B, "scene":
            scene = int(str(which.key)) if is_small(str(which.key)) else whole(which.key, "scene")
            values = {"sequence": sequence % SCENE_SEQUENCES, "scene": scene, "key": whole(value, "key attribute")}
            return (Command("Central Scene Notification", values),)
        case 0x2B, "sceneId":
            return (Command("Scene Activation Set", {"scene": whole(value, "sceneId")}),)
        case 0x20, "event":
            return (Command("Basic Set", {"target_value": raw_level(value)}),)
        case 0x26, "event":
            return (Command("Multilevel Switch Set", {"target_value": raw_level(value)}),)
    return ()


def notified(number_: int, args: Json) -> tuple[Command, ...]:
    """What a `notification` event says: one that passes, or the dimming of a remote. Raises Malformed."""
    if number_ == NOTIFICATION:
        kind, event = whole(args.get("type"), "type"), whole(args.get("event"), "event")
        return (notification(kind, event, _parameters(args.get("parameters"))),)
    if number_ == MULTILEVEL and args.get("eventType") == START:
        down = args.get("direction") in ("down", 1)
        return (Command("Multilevel Switch Start Level Change", {"direction": int(down)}),)
    if number_ == MULTILEVEL and args.get("eventType") == STOP:
        return (Command("Multilevel Switch Stop Level Change"),)
    return ()


def _parameters(found: Any) -> bytes:
    """Event parameters: bytes, a number, or an object of what zwave-js knows by name."""
    if isinstance(found, dict):
        data = found.get("data")
        if found.get("type") == "Buffer" and isinstance(data, list):
            return bytes(one & 0xFF for one in data if isinstance(one, int))
        found = next((found[name] for name in EVENT_PARAMETERS if name in found), None)
    return bytes((found & 0xFF,)) if isinstance(found, int) else b""
