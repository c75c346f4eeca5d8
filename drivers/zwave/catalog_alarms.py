"""Rows of what is sensed: Notification, Binary Sensor, Alarm Sensor, and the Basic Sets of old sensors. PURE.

A state holds until another state of its variable, or until idle; "unknown" tells nothing, and events that pass are no state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.zwave.catalog_sensors import LOW, WARNING, charge
from drivers.zwave.catalog_types import Event, Place, Read, Said, ZWaveEndpoint, ZWaveGet
from drivers.zwave.codec import Command
from drivers.zwave.commands.notification_tables import IDLE, UNKNOWN

BINARY_SENSOR, NOTIFICATION, ALARM_SENSOR = 0x30, 0x71, 0x9C
SMOKE, CO, SYSTEM = 0x01, 0x02, 0x09  # types of Notification
NO_PENDING = 0xFE  # status of a Notification Report that answers an empty queue
DETECTED = 0xFF
SENSOR_CLASSES = frozenset({0x07, 0x20, 0xA1})  # generic device classes of notification, binary and alarm sensors


# ---- senses ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sense:
    """What becomes one BooleanState. `on` and `off` are states of notification `type`; idle ends `on` where `idles`.

    `binary` and `alarm` are the types of the older classes. `closed`: true is contact (Matter), the alarm is false. `passing`: `on` are
    events, so there is no state. `primary` senses take the endpoint itself, the first of them that there is.
    """

    part: str
    kind: str
    type: int = 0
    on: frozenset[int] = frozenset()
    off: frozenset[int] = frozenset()
    binary: int | None = None
    alarm: int | None = None
    closed: bool = False
    passing: bool = False
    primary: bool = True
    idles: bool = True


def _of(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


SENSES = (
    Sense("contact", "Contact Sensor", 0x06, _of(0x16), _of(0x17), binary=0x0A, closed=True, idles=False),
    Sense("leak", "Water Leak Detector", 0x05, _of(0x01, 0x02), binary=0x06, alarm=0x05),
    Sense("motion", "Motion Sensor", 0x07, _of(0x07, 0x08), binary=0x0C),
    Sense("occupancy", "Occupancy Sensor", 0x16, _of(0x01, 0x02)),
    Sense("rain", "Rain Sensor", 0x10, _of(0x01)),
    Sense("freeze", "Water Freeze Detector", 0x04, _of(0x05, 0x06), binary=0x07),
    Sense("heat", "Heat Sensor", 0x04, _of(0x01, 0x02), binary=0x05, alarm=0x04),
    Sense("carbonDioxide", "Gas Sensor", 0x03, _of(0x01, 0x02), binary=0x04, alarm=0x03),
    Sense("gas", "Gas Sensor", 0x12, _of(0x01, 0x02)),
    Sense("toxicGas", "Gas Sensor", 0x12, _of(0x03, 0x04)),
    Sense("light", "Light Sensor", 0x14, _of(0x01)),
    Sense("tilt", "Tilt Sensor", binary=0x0B),
    Sense("glass", "Glass Break Sensor", 0x07, _of(0x05, 0x06), binary=0x0D, passing=True),
    Sense("general", "Binary Sensor", binary=0x01, alarm=0x00),
    Sense("intrusion", "Intrusion Sensor", 0x07, _of(0x01, 0x02), primary=False),
    Sense("handle", "Handle Sensor", 0x06, _of(0x18), _of(0x19), closed=True, primary=False, idles=False),
    Sense("tamper", "Tamper Sensor", 0x07, _of(0x03), binary=0x08, primary=False),
    Sense("cover", "Tamper Sensor", SYSTEM, _of(0x06), primary=False),
    Sense("moved", "Vibration Sensor", 0x07, _of(0x09), passing=True, primary=False),
    Sense("impact", "Vibration Sensor", 0x07, _of(0x0A), passing=True, primary=False),
    Sense("mainsLost", "Mains Sensor", 0x08, _of(0x02), _of(0x03), primary=False, idles=False),
    Sense("overload", "Overload Sensor", 0x08, _of(0x06, 0x07, 0x08), primary=False),
    Sense("auxiliary", "Binary Sensor", binary=0x09, primary=False),
)


def has_notification(sense: Sense) -> Callable[[ZWaveEndpoint], bool]:
    def when(endpoint: ZWaveEndpoint) -> bool:
        return bool(sense.type) and notifies(endpoint, sense.type, sense.on | sense.off)

    return when


def notifies(endpoint: ZWaveEndpoint, kind: int, events: frozenset[int]) -> bool:
    """Whether a notification is there. Version 2 does not say which events a type has: the first sense of the type is taken."""
    if NOTIFICATION not in endpoint.classes:
        return False
    types = endpoint.facts.notifications or {}
    if kind not in types:
        return False
    named = types[kind]
    if named is None:
        first = next((sense.on | sense.off for sense in SENSES if sense.type == kind), events)
        return first == events
    return bool(named & events)


def binary_types(endpoint: ZWaveEndpoint) -> frozenset[int]:
    """Types of its Binary Sensor, none where it has no such class."""
    return (endpoint.facts.binary or frozenset()) if BINARY_SENSOR in endpoint.classes else frozenset()


def alarm_types(endpoint: ZWaveEndpoint) -> frozenset[int]:
    """Types of its Alarm Sensor, none where it has no such class."""
    return (endpoint.facts.alarms or frozenset()) if ALARM_SENSOR in endpoint.classes else frozenset()


def has_binary(sense: Sense) -> Callable[[ZWaveEndpoint], bool]:
    """Binary Sensor counts where Notification, which came after it, does not tell the same."""

    def when(endpoint: ZWaveEndpoint) -> bool:
        told = has_notification(sense)(endpoint)
        return sense.binary in binary_types(endpoint) and not told

    return when


def has_alarm(sense: Sense) -> Callable[[ZWaveEndpoint], bool]:
    def when(endpoint: ZWaveEndpoint) -> bool:
        newer = has_notification(sense)(endpoint) or has_binary(sense)(endpoint)
        return sense.alarm in alarm_types(endpoint) and not newer

    return when


def untyped(endpoint: ZWaveEndpoint) -> bool:
    """A binary sensor that cannot say what it senses: version 1, or one that speaks Basic alone."""
    facts = endpoint.facts
    if BINARY_SENSOR in endpoint.classes:
        return not facts.binary and not facts.notifications
    return endpoint.generic in SENSOR_CLASSES and not {NOTIFICATION, ALARM_SENSOR} & endpoint.classes.keys()


def told(place: Place, value: bool) -> Sequence[Said]:  # noqa: FBT001  the value of StateValue
    """A state, and that it changed."""
    state = {"StateValue": value}
    return (state,) if place.last.get("StateValue") == value else (state, Event("StateChange", state))


def sensed(sense: Sense) -> Read:
    def read(command: Command, place: Place) -> Sequence[Said]:
        active = notified(command, sense.type, sense.on, sense.off, idles=sense.idles)
        if active is None:
            return ()
        if sense.passing:
            return (Event("StateChange", {"StateValue": True}),) if active else ()
        return told(place, active is not sense.closed)

    return read


def notified(
    command: Command, kind: int, on: frozenset[int], off: frozenset[int] = frozenset(), *, idles: bool = True
) -> bool | None:
    """Whether a Notification Report says that a state of `on` holds; None where it says nothing of it.

    Idle names the state that ended, or ends all. Version 1 reports have a maker's own numbers: they say nothing.
    """
    if command.get("type") != kind or command.get("status") == NO_PENDING:
        return None
    event = command["event"]
    if event == IDLE:
        ended = command.get("parameters", b"")
        return False if idles and (not ended or ended[0] in on) else None
    if event == UNKNOWN:
        return None
    return True if event in on else False if event in off else None


def sense_gets(sense: Sense) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    def made(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
        return () if sense.passing else notification_gets(endpoint, sense.type, sense.on, "StateValue")

    return made


def notification_gets(endpoint: ZWaveEndpoint, kind: int, events: frozenset[int], *fills: str) -> tuple[ZWaveGet, ...]:
    """Asked for one of the states that the device has: the answer is the state of its variable."""
    named = (endpoint.facts.notifications or {}).get(kind) or events
    asked = min(named & events or events)
    values = {"v1_type": 0, "type": kind, "event": asked}
    match = {"type": kind}
    return (ZWaveGet(endpoint.id, Command("Notification Get", values), "Notification Report", match, fills),)


def binary_value(raw: int) -> bool:
    """Detected or not. Raises ValueError."""
    if raw not in (0, DETECTED):
        raise ValueError(f"binary sensor value {raw}")
    return raw == DETECTED


def binary_sensed(sense: Sense) -> Read:
    def read(command: Command, place: Place) -> Sequence[Said]:
        if command.get("type") != sense.binary:
            return ()
        return told(place, binary_value(command["value"]) is not sense.closed)

    return read


def binary_gets(kind: int | None, *fills: str) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    def made(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
        values = {"type": kind} if endpoint.version(BINARY_SENSOR) > 1 and kind is not None else {}
        return (ZWaveGet(endpoint.id, Command("Binary Sensor Get", values), "Binary Sensor Report", values, fills),)

    return made


def alarm_sensed(sense: Sense) -> Read:
    """States of an Alarm Sensor are 0, or a severity in percent, or 0xFF."""

    def read(command: Command, place: Place) -> Sequence[Said]:
        if command["type"] != sense.alarm:
            return ()
        return told(place, bool(command["state"]))

    return read


def alarm_gets(kind: int | None, *fills: str) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    values = {"type": kind}
    get = Command("Alarm Sensor Get", values)
    return lambda endpoint: (ZWaveGet(endpoint.id, get, "Alarm Sensor Report", values, fills),)


def untyped_sensed(command: Command, place: Place) -> Sequence[Said]:
    """Without a type, true is "detected"."""
    name = next(name for name in ("value", "current_value", "target_value") if name in command.values)
    return told(place, bool(command[name]))


def untyped_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    if BINARY_SENSOR in endpoint.classes:
        return binary_gets(None, "StateValue")(endpoint)
    return (ZWaveGet(endpoint.id, Command("Basic Get"), "Basic Report", {}, ("StateValue",)),)


# ---- smoke and carbon monoxide -----------------------------------------------------------------------------------------------------


SEVERE = 2  # AlarmState: 0 normal, 1 warning, 2 critical
TEST, TEST_FAILED = 0x03, 2
STATES = {SMOKE: "SmokeState", CO: "COState"}
EVENTS = {SMOKE: "SmokeAlarm", CO: "COAlarm"}
DETECTIONS = _of(0x01, 0x02)
FAULTS = _of(0x01, 0x03)  # hardware failures of notification type System
_BINARY = {SMOKE: 0x02, CO: 0x03}
_ALARM = {SMOKE: 0x01, CO: 0x02}
# ExpressedState by what the alarm would show first: smoke, CO, test, battery, fault
_EXPRESSED = (("SmokeState", 1), ("COState", 2), ("TestInProgress", 4), ("BatteryAlert", 3), ("HardwareFaultAlert", 5))


def detects(kind: int) -> Callable[[ZWaveEndpoint], bool]:
    return lambda endpoint: NOTIFICATION in endpoint.classes and kind in (endpoint.facts.notifications or {})


def detects_binary(kind: int) -> Callable[[ZWaveEndpoint], bool]:
    return lambda endpoint: _BINARY[kind] in binary_types(endpoint) and not detects(kind)(endpoint)


def detects_alarm(kind: int) -> Callable[[ZWaveEndpoint], bool]:
    def when(endpoint: ZWaveEndpoint) -> bool:
        newer = detects(kind)(endpoint) or detects_binary(kind)(endpoint)
        return _ALARM[kind] in alarm_types(endpoint) and not newer

    return when


def is_alarm(endpoint: ZWaveEndpoint) -> bool:
    return any(found(kind)(endpoint) for kind in STATES for found in (detects, detects_binary, detects_alarm))


def expressed(place: Place, changes: dict[str, Any]) -> Sequence[Said]:
    """`changes` of the alarm, with ExpressedState where all that decides it is known, and the events of a change."""
    now = {**place.last, **changes}
    shown = next((state for name, state in _EXPRESSED if now.get(name)), 0)
    whole = all(name in now for kind, name in STATES.items() if _detects_any(kind, place.endpoint))
    said: list[Said] = [{**changes, "ExpressedState": shown} if shown or whole else changes]
    for kind, name in STATES.items():
        before, after = place.last.get(name), changes.get(name)
        if after and after != before:
            said.append(Event(EVENTS[kind], {"AlarmSeverityLevel": after}))
        if after == 0 and before and not any(now.get(other) for other in STATES.values()):
            said.append(Event("AllClear", {}))
    battery = changes.get("BatteryAlert")
    if battery and battery != place.last.get("BatteryAlert"):
        said.append(Event("LowBattery", {"AlarmSeverityLevel": battery}))
    return said


def _detects_any(kind: int, endpoint: ZWaveEndpoint) -> bool:
    return any(found(kind)(endpoint) for found in (detects, detects_binary, detects_alarm))


def alarmed(kind: int) -> Read:
    """Detection and test. The test of a CO alarm is told when it is over, with its result."""

    def read(command: Command, place: Place) -> Sequence[Said]:
        changes: dict[str, Any] = {}
        detected = notified(command, kind, DETECTIONS)
        if detected is not None:
            changes[STATES[kind]] = SEVERE if detected else 0
        tested = notified(command, kind, _of(TEST))
        if tested is not None and kind == SMOKE:
            changes["TestInProgress"] = tested
        elif tested and command.get("parameters"):
            changes["HardwareFaultAlert"] = command["parameters"][0] == TEST_FAILED
        return expressed(place, changes) if changes else ()

    return read


def alarmed_gets(kind: int) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    return lambda endpoint: notification_gets(endpoint, kind, DETECTIONS, STATES[kind], "ExpressedState")


def alarmed_binary(kind: int) -> Read:
    def read(command: Command, place: Place) -> Sequence[Said]:
        if command.get("type") != _BINARY[kind]:
            return ()
        return expressed(place, {STATES[kind]: SEVERE if binary_value(command["value"]) else 0})

    return read


def alarmed_binary_gets(kind: int) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    return binary_gets(_BINARY[kind], STATES[kind], "ExpressedState")


def alarmed_sensor(kind: int) -> Read:
    def read(command: Command, place: Place) -> Sequence[Said]:
        if command["type"] != _ALARM[kind]:
            return ()
        return expressed(place, {STATES[kind]: SEVERE if command["state"] else 0})

    return read


def alarmed_sensor_gets(kind: int) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    return alarm_gets(_ALARM[kind], STATES[kind], "ExpressedState")


def faulty(command: Command, place: Place) -> Sequence[Said]:
    failed = notified(command, SYSTEM, FAULTS)
    return () if failed is None else expressed(place, {"HardwareFaultAlert": failed})


def has_faults(endpoint: ZWaveEndpoint) -> bool:
    return is_alarm(endpoint) and notifies(endpoint, SYSTEM, FAULTS)


def weak(command: Command, place: Place) -> Sequence[Said]:
    """The battery of an alarm, in the alarm's own words."""
    raw = command["level"]
    return expressed(place, {"BatteryAlert": charge(raw) if raw == LOW or raw < WARNING else 0})
