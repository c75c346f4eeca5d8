"""What the interview must ask so that values can be scaled and named, and what it learns. PURE.

`needs` says what is still missing; each answer goes through `learn`, and the interview asks again until nothing new is needed. Keep the
answers as bytes: a newer hub reads more out of them. Types that no registry has are not asked for: a node that claims hundreds would keep its
interview busy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from drivers.zwave.catalog_types import Facts, Lock, Meter, Setpoint
from drivers.zwave.codec import Command, Raw
from drivers.zwave.commands.climate import setpoint_types
from drivers.zwave.commands.management import grouped_commands
from drivers.zwave.commands.notification_tables import NOTIFICATIONS
from drivers.zwave.commands.sensor_tables import SENSOR_TYPES
from drivers.zwave.commands.sensors import meter_scale, meter_scales, scene_keys

LIFELINE = 1
NODE_IDENTIFY = 0x50
FAHRENHEIT = 1
MOST_GROUPS = 32  # whose names are asked for

Need = Callable[[int, Facts], Iterator[Command]]


def celsius(value: float, scale: int) -> float:
    """A temperature of a Z-Wave device. Raises ValueError for scales that do not exist."""
    if scale not in (0, FAHRENHEIT):
        raise ValueError(f"temperature scale {scale}")
    return (value - 32) * 5 / 9 if scale == FAHRENHEIT else value


# ---- what to ask ----------------------------------------------------------------------------------------------------------


def _sensors(version: int, facts: Facts) -> Iterator[Command]:
    if version < 5:  # noqa: PLR2004  before version 5 there is one sensor, and its report names it
        if facts.sensors is None:
            yield Command("Multilevel Sensor Get")
    elif facts.sensors is None:
        yield Command("Multilevel Sensor Supported Get")
    else:
        for kind, scales in facts.sensors.items():
            if not scales and kind in SENSOR_TYPES:
                yield Command("Multilevel Sensor Supported Scale Get", {"type": kind})


def _notifications(version: int, facts: Facts) -> Iterator[Command]:
    if facts.notifications is None:
        if version > 1:
            yield Command("Notification Supported Get")
    elif version > 2:  # noqa: PLR2004  events can be asked for since version 3
        for kind, events in facts.notifications.items():
            if events is None and kind in NOTIFICATIONS:
                yield Command("Notification Event Supported Get", {"type": kind})


def _meter(version: int, facts: Facts) -> Iterator[Command]:
    if facts.meter is None:
        yield Command("Meter Supported Get") if version > 1 else Command("Meter Get")


def _setpoints(version: int, facts: Facts) -> Iterator[Command]:
    if facts.setpoints is None:
        yield Command("Thermostat Setpoint Supported Get")
        return
    for kind, setpoint in facts.setpoints.items():
        if setpoint is None or not setpoint.size:
            yield Command("Thermostat Setpoint Get", {"type": kind})
        if version > 2 and (setpoint is None or setpoint.minimum is None):  # noqa: PLR2004  limits came with version 3
            yield Command("Thermostat Setpoint Capabilities Get", {"type": kind})


def _lock(version: int, facts: Facts) -> Iterator[Command]:
    if facts.lock is None and version > 3:  # noqa: PLR2004  capabilities came with version 4
        yield Command("Door Lock Capabilities Get")
    if facts.lock_configuration is None:
        yield Command("Door Lock Configuration Get")


def _users(version: int, facts: Facts) -> Iterator[Command]:
    if facts.users is None:
        yield Command("User Code Users Number Get")
    if version > 1 and facts.keypad_modes is None:
        yield Command("User Code Capabilities Get")


def _groups(_version: int, facts: Facts) -> Iterator[Command]:
    if facts.groups is None:
        return
    for group in range(1, min(facts.groups, MOST_GROUPS) + 1):
        if group not in facts.group_names:
            yield Command("Association Group Information Name Get", {"group": group})
    if facts.lifeline is None and facts.groups:
        values = {"allow_cache": True, "group": LIFELINE}
        yield Command("Association Group Information Command List Get", values)


def _once(fact: str, name: str, since: int = 1, values: Mapping[str, Any] | None = None) -> Need:
    def need(version: int, facts: Facts) -> Iterator[Command]:
        if getattr(facts, fact) is None and version >= since:
            yield Command(name, values or {})

    return need


NEEDS: Mapping[int, Need] = {
    0x26: _once("switch_type", "Multilevel Switch Supported Get", since=3),
    0x30: _once("binary", "Binary Sensor Supported Get", since=2),
    0x31: _sensors,
    0x32: _meter,
    0x33: _once("components", "Color Switch Supported Get"),
    0x40: _once("modes", "Thermostat Mode Supported Get"),
    0x43: _setpoints,
    0x44: _once("fan_modes", "Thermostat Fan Mode Supported Get"),
    0x5B: _once("scenes", "Central Scene Supported Get"),
    0x62: _lock,
    0x63: _users,
    0x66: _once("signals", "Barrier Operator Signal Supported Get"),
    0x6A: _once("coverings", "Window Covering Supported Get"),
    0x71: _notifications,
    0x79: _once("tones", "Sound Switch Tones Number Get"),
    0x85: _once("groups", "Association Groupings Get"),
    0x59: _groups,
    0x87: _once("indicator", "Indicator Supported Get", since=3, values={"indicator": NODE_IDENTIFY}),
    0x9C: _once("alarms", "Alarm Sensor Supported Get"),
}


def needs(classes: Mapping[int, int], facts: Facts | None = None) -> tuple[Command, ...]:
    """The Gets whose answers are missing, for one endpoint. A Get that stays unanswered comes again: the caller counts."""
    known = facts or Facts()
    return tuple(
        command for number, need in NEEDS.items() if number in classes for command in need(classes[number], known)
    )


# ---- what is learnt -------------------------------------------------------------------------------------------------------


def _sensor_types(facts: Facts, command: Command) -> dict[str, Any]:
    return {"sensors": {kind: (facts.sensors or {}).get(kind, frozenset()) for kind in command["types"]}}


def _sensor_scales(facts: Facts, command: Command) -> dict[str, Any]:
    known = facts.sensors or {}
    return {
        "sensors": {**known, command["type"]: known.get(command["type"], frozenset()) | frozenset(command["scales"])}
    }


def _sensor_report(facts: Facts, command: Command) -> dict[str, Any]:
    known = facts.sensors or {}
    scales = known.get(command["type"], frozenset()) | {command["scale"]}
    return {"sensors": {**known, command["type"]: scales}}


def _notification_types(facts: Facts, command: Command) -> dict[str, Any]:
    return {"notifications": {kind: (facts.notifications or {}).get(kind) for kind in command["types"]}}


def _notification_events(facts: Facts, command: Command) -> dict[str, Any]:
    return {"notifications": {**(facts.notifications or {}), command["type"]: frozenset(command["events"])}}


def _meter_supported(_facts: Facts, command: Command) -> dict[str, Any]:
    scales = frozenset(meter_scales(dict(command.values)))
    return {"meter": Meter(command["type"], scales, command["rate_types"])}


def _meter_report(facts: Facts, command: Command) -> dict[str, Any]:
    known = facts.meter
    if known is not None and known.type != command["type"]:
        return {}
    scales = frozenset({meter_scale(dict(command.values))})
    return {"meter": Meter(command["type"], scales) if known is None else replace(known, scales=known.scales | scales)}


def _setpoint_types(facts: Facts, command: Command) -> dict[str, Any]:
    return {"setpoints": {kind: (facts.setpoints or {}).get(kind) for kind in setpoint_types(command["types"])}}


def _setpoint(facts: Facts, kind: int, **changes: Any) -> dict[str, Any]:
    known = facts.setpoints or {}
    return {"setpoints": {**known, kind: replace(known.get(kind) or Setpoint(), **changes)}}


def _setpoint_report(facts: Facts, command: Command) -> dict[str, Any]:
    value = command["value"]
    return _setpoint(
        facts, int(command["type"]), scale=command["scale"], precision=value.precision, size=max(1, value.least)
    )


def _setpoint_limits(facts: Facts, command: Command) -> dict[str, Any]:
    minimum = celsius(command["min_value"].value, command["min_scale"])
    maximum = celsius(command["max_value"].value, command["max_scale"])
    return _setpoint(facts, int(command["type"]), minimum=minimum, maximum=maximum)


def _lock_capabilities(_facts: Facts, command: Command) -> dict[str, Any]:
    modes = frozenset(command["modes"])
    return {"lock": Lock(modes, command["door"], command["bolt"], command["auto_relock"])}


def _scenes(_facts: Facts, command: Command) -> dict[str, Any]:
    keys = scene_keys(dict(command.values))
    return {"scenes": {scene: frozenset(int(key) for key in found) for scene, found in keys.items()}}


def _indicator(_facts: Facts, command: Command) -> dict[str, Any]:
    return {"indicator": frozenset(command["properties"])} if command["indicator"] == NODE_IDENTIFY else {}


def _group_name(facts: Facts, command: Command) -> dict[str, Any]:
    return {"group_names": {**facts.group_names, command["group"]: command["name"]}}


def _lifeline(_facts: Facts, command: Command) -> dict[str, Any]:
    return {"lifeline": frozenset(grouped_commands(command["commands"]))} if command["group"] == LIFELINE else {}


def _numbers(fact: str, value: str) -> Callable[[Facts, Command], dict[str, Any]]:
    return lambda _facts, command: {fact: frozenset(command[value])}


def _number(fact: str, *values: str) -> Callable[[Facts, Command], dict[str, Any]]:
    """The last of `values` that the report has: newer fields come later and hold more."""
    return lambda _facts, command: {fact: next(command[value] for value in reversed(values) if value in command.values)}


LEARN: Mapping[str, Callable[[Facts, Command], dict[str, Any]]] = {
    "Multilevel Switch Supported Report": _number("switch_type", "primary_type"),
    "Binary Sensor Supported Report": _numbers("binary", "types"),
    "Multilevel Sensor Supported Report": _sensor_types,
    "Multilevel Sensor Supported Scale Report": _sensor_scales,
    "Multilevel Sensor Report": _sensor_report,
    "Meter Supported Report": _meter_supported,
    "Meter Report": _meter_report,
    "Color Switch Supported Report": _numbers("components", "components"),
    "Thermostat Mode Supported Report": _numbers("modes", "modes"),
    "Thermostat Setpoint Supported Report": _setpoint_types,
    "Thermostat Setpoint Report": _setpoint_report,
    "Thermostat Setpoint Capabilities Report": _setpoint_limits,
    "Thermostat Fan Mode Supported Report": _numbers("fan_modes", "modes"),
    "Central Scene Supported Report": _scenes,
    "Door Lock Capabilities Report": _lock_capabilities,
    "Door Lock Configuration Report": lambda _facts, command: {"lock_configuration": dict(command.values)},
    "User Code Users Number Report": _number("users", "users_8bit", "users"),
    "User Code Capabilities Report": _numbers("keypad_modes", "keypad_modes"),
    "Barrier Operator Signal Supported Report": _numbers("signals", "subsystems"),
    "Window Covering Supported Report": _numbers("coverings", "parameters"),
    "Notification Supported Report": _notification_types,
    "Notification Event Supported Report": _notification_events,
    "Sound Switch Tones Number Report": _number("tones", "tones"),
    "Association Groupings Report": _number("groups", "groups"),
    "Association Group Information Name Report": _group_name,
    "Association Group Information Command List Report": _lifeline,
    "Indicator Supported Report": _indicator,
    "Alarm Sensor Supported Report": _numbers("alarms", "types"),
}


def learn(facts: Facts, command: Command | Raw) -> Facts:
    """`facts` with what `command` tells. Raises ValueError on nonsense, which leaves the facts as they were."""
    if isinstance(command, Raw):
        return facts
    found = LEARN.get(command.name)
    return facts if found is None else replace(facts, **found(facts, command))


def learnt(answers: Iterable[Command | Raw]) -> Facts:
    """The facts behind all answers of an interview, in any order; nonsense among them is left out."""
    facts = Facts()
    for command in answers:
        with suppress(ValueError):
            facts = learn(facts, command)
    return facts


__all__ = ["celsius", "learn", "learnt", "needs"]
