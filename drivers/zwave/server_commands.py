"""Steps of the catalogue as requests to a zwave-js-server. PURE.

Where zwave-js knows a value, it is set by it: then it also checks itself whether the device did it. Other commands go to the methods of its
classes, and are read back by us.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.driver import NotSupported
from drivers.zwave.catalog_types import ZWaveGet, ZWaveSet
from drivers.zwave.codec import Command
from drivers.zwave.layout_values import Scaled
from drivers.zwave.server_facts import Property, Store, ValueId

SET, INVOKE = "node.set_value", "endpoint.invoke_cc_api"
COLORS = ("warmWhite", "coldWhite", "red", "green", "blue", "amber", "cyan", "purple", "index")
_UP_DOWN = ("up", "down")


@dataclass(frozen=True, slots=True)
class Call:
    """One request about a node. `checked`: zwave-js itself finds out and tells what came of it."""

    command: str
    arguments: Mapping[str, Any]
    checked: bool = False


def _set(name: Property, field: str, make: Callable[[Any], Any] = lambda value: value) -> Callable[[ZWaveSet], Call]:
    def made(step: ZWaveSet) -> Call:
        values = step.command.values
        which = ValueId(step.endpoint, step.command.command_class, name)
        options = {"transitionDuration": _seconds(values["duration"])} if "duration" in values else {}
        arguments: dict[str, Any] = {"valueId": which.json(), "value": make(values[field])}
        return Call(SET, {**arguments, "options": options} if options else arguments, checked=True)

    return made


def _seconds(duration: Any) -> str | None:
    """As zwave-js reads a duration."""
    return f"{duration}s" if isinstance(duration, int) else duration if duration == "default" else None


def _invoke(method: str, arguments: Callable[[Mapping[str, Any]], list[Any]]) -> Callable[[ZWaveSet], Call]:
    def made(step: ZWaveSet) -> Call:
        return Call(
            INVOKE,
            {
                "endpoint": step.endpoint,
                "commandClass": step.command.command_class,
                "methodName": method,
                "args": arguments(step.command.values),
            },
        )

    return made


def _change(values: Mapping[str, Any]) -> list[Any]:
    """The options of a level change."""
    options = {
        "direction": _UP_DOWN[values["direction"]],
        "ignoreStartLevel": bool(values["ignore_start_level"]),
        "startLevel": values["start_level"],
    }
    return [options if "duration" not in values else {**options, "duration": _seconds(values["duration"])}]


def _color(values: Mapping[str, Any]) -> list[Any]:
    colors: dict[str, Any] = {COLORS[one["component"]]: one["value"] for one in values["colors"]}
    return [{**colors, "duration": _seconds(values["duration"])} if "duration" in values else colors]


def _tone(step: ZWaveSet) -> Call:
    values = step.command.values
    if not values["tone"]:
        return _invoke("stopPlaying", lambda _: [])(step)
    return _invoke("play", lambda found: [found["tone"], *([found["volume"]] if "volume" in found else [])])(step)


def _setpoint(values: Mapping[str, Any]) -> list[Any]:
    value = values["value"]
    return [int(values["type"]), value.value if isinstance(value, Scaled) else value, values["scale"]]


def _objects(values: Mapping[str, Any]) -> list[Any]:
    return [
        [
            {"indicatorId": one["indicator"], "propertyId": one["property"], "value": one["value"]}
            for one in values["objects"]
        ]
    ]


def _covering(values: Mapping[str, Any]) -> list[Any]:
    return [values["values"], _seconds(values["duration"])]


SETS: Mapping[str, Callable[[ZWaveSet], Call]] = {
    "Basic Set": _set("targetValue", "target_value"),
    "Binary Switch Set": _set("targetValue", "target_value", bool),
    "Multilevel Switch Set": _set("targetValue", "target_value", int),
    "Multilevel Switch Start Level Change": _invoke("startLevelChange", _change),
    "Multilevel Switch Stop Level Change": _invoke("stopLevelChange", lambda _: []),
    "Color Switch Set": _invoke("set", _color),
    "Barrier Operator Set": _set("targetState", "target_value", int),
    "Sound Switch Tone Play Set": _tone,
    "Sound Switch Configuration Set": _invoke(
        "setConfiguration", lambda values: [values["default_tone"], values["volume"]]
    ),
    "Window Covering Set": _invoke("set", _covering),
    "Window Covering Start Level Change": _invoke(
        "startLevelChange",
        lambda values: [values["parameter"], _UP_DOWN[int(values["down"])], _seconds(values["duration"])],
    ),
    "Window Covering Stop Level Change": _invoke("stopLevelChange", lambda values: [values["parameter"]]),
    "Indicator Set": _invoke("set", _objects),
    "Door Lock Operation Set": _set("targetMode", "mode", int),
    "Door Lock Configuration Set": _set("autoRelockTime", "auto_relock_seconds"),
    "Lock Set": _set("locked", "locked", bool),
    "User Code Keypad Mode Set": _set("keypadMode", "mode", int),
    "Thermostat Mode Set": _set("mode", "mode", int),
    "Thermostat Setpoint Set": _invoke("set", _setpoint),
    "Thermostat Fan Mode Set": _invoke("set", lambda values: [int(values["mode"]), values["off"]]),
}


def request(step: ZWaveSet) -> Call:
    """The request that carries out a step. Raises NotSupported."""
    made = SETS.get(step.command.name)
    if made is None:
        raise NotSupported(f"zwave-js-server is not told {step.command.name} yet")
    return made(step)


# ---- reads ------------------------------------------------------------------------------------------------------------------

_VALUES: Mapping[str, Property] = {  # Get -> the property whose poll it is
    "Basic Get": "currentValue",
    "Binary Switch Get": "currentValue",
    "Multilevel Switch Get": "currentValue",
    "Barrier Operator Get": "currentState",
    "Sound Switch Tone Play Get": "toneId",
    "Sound Switch Configuration Get": "defaultVolume",
    "Door Lock Operation Get": "currentMode",
    "Door Lock Configuration Get": "autoRelockTime",
    "Lock Get": "locked",
    "User Code Keypad Mode Get": "keypadMode",
    "Thermostat Mode Get": "mode",
    "Thermostat Operating State Get": "state",
    "Thermostat Fan Mode Get": "mode",
    "Battery Get": "level",
}
_KEYED: Mapping[str, tuple[Property, str]] = {  # Get -> the property, and the field that is its key
    "Window Covering Get": ("currentValue", "parameter"),
    "Color Switch Get": ("currentColor", "component"),
    "Thermostat Setpoint Get": ("setpoint", "type"),
    "Alarm Sensor Get": ("state", "type"),
}


def value_of(get: ZWaveGet, store: Store) -> ValueId | None:
    """The value that a Get asks for; None where zwave-js has none."""
    name, command = get.command.name, get.command
    number = command.command_class
    if name in _VALUES:
        return ValueId(get.endpoint, number, _VALUES[name])
    if name in _KEYED:
        field, key = _KEYED[name]
        return ValueId(get.endpoint, number, field, int(command[key]))
    found = (which for which in store.of(get.endpoint, number) if _asked(command, store, which))
    return next(found, None)


def _asked(command: Command, store: Store, which: ValueId) -> bool:
    """Whether a value is what a Get of a sensor, a meter or a notification asks for."""
    told = store.specific(which)
    match command.name:
        case "Binary Sensor Get":
            return "type" not in command.values or told.get("type") == command["type"] or which.property == "Any"
        case "Multilevel Sensor Get":
            return "sensorType" in told and command.get("type", told["sensorType"]) == told["sensorType"]
        case "Meter Get":
            fits = which.property == "value" and told.get("scale") == command.get("scale", told.get("scale"))
            return fits and command.get("rate_type", 0) in (0, told.get("rateType"))
        case "Notification Get":
            states = store.about.get(which, {}).get("states")
            held = isinstance(states, dict) and str(command["event"]) in states
            return held and told.get("notificationType") == command["type"]
    return False
