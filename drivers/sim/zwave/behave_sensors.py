"""What sensors, meters and buttons do with their commands (SDS13781). PURE.

Values: sensor/<type>, binary/<type> (0, 255), meter/<scale>, notification/<type> (its last event; 0 idle), battery (percent).
"""

from typing import Any

from drivers.sim.zwave.place import Behaviour, Place, Result
from drivers.zwave.codec import Command
from drivers.zwave.commands.sensors import KeyAttribute
from drivers.zwave.layout_values import Scaled

ELECTRIC = 1
CONSUMED = 1  # the rate type
FIRST, ANY = 0x00, 0xFF  # types in a Get: the device's choice
NO_MORE_EVENTS = 0xFE
_KEYS = 0x7F  # all attributes of a button


def binary_supported(place: Place, _: Command, _now: float) -> Result:
    return [Command("Binary Sensor Supported Report", {"types": _types(place, "binary/")})]


def _types(place: Place, prefix: str) -> list[int]:
    return sorted(int(key.removeprefix(prefix)) for key in place.values if key.startswith(prefix))


def binary_report(place: Place, kind: int) -> Command:
    return Command("Binary Sensor Report", {"value": place.values[f"binary/{kind}"], "type": kind})


def binary_get(place: Place, command: Command, _now: float) -> Result:
    types = _types(place, "binary/")
    kind = command.get("type", FIRST)
    kind = types[0] if kind in (FIRST, ANY) else kind
    return [binary_report(place, kind)] if kind in types else None


def sensor_report(place: Place, kind: int, scale: int | None = None) -> Command:
    own, decimals = place.part.sensors[kind]
    value = place.values[f"sensor/{kind}"]
    if kind == 1 and scale == 1 and own == 0:
        value, own = value * 9 / 5 + 32, 1
    return Command("Multilevel Sensor Report", {"type": kind, "scale": own, "value": Scaled.of(value, decimals)})


def sensor_supported(place: Place, _: Command, _now: float) -> Result:
    return [Command("Multilevel Sensor Supported Report", {"types": sorted(place.part.sensors)})]


def sensor_scales(place: Place, command: Command, _now: float) -> Result:
    kind = command["type"]
    scales = [0, 1] if kind == 1 else [place.part.sensors[kind][0]] if kind in place.part.sensors else []
    return [Command("Multilevel Sensor Supported Scale Report", {"type": kind, "scales": scales})]


def sensor_get(place: Place, command: Command, _now: float) -> Result:
    kind = command.get("type", min(place.part.sensors))
    kind = kind if kind in place.part.sensors else min(place.part.sensors)
    return [sensor_report(place, kind, command.get("scale"))]


def meter_report(place: Place, scale: int) -> Command:
    value = Scaled.of(place.values[f"meter/{scale}"], place.part.meters[scale])
    values = {"type": ELECTRIC, "rate_type": CONSUMED, "scale": scale, "value": value}
    return Command("Meter Report", {**values, "delta_time": 0})


def meter_supported(place: Place, _: Command, _now: float) -> Result:
    scales = sum(1 << scale for scale in place.part.meters)
    return [
        Command("Meter Supported Report", {"reset": True, "rate_types": CONSUMED, "type": ELECTRIC, "scales": scales})
    ]


def meter_get(place: Place, command: Command, _now: float) -> Result:
    scale = command.get("scale", 0)
    return [meter_report(place, scale if scale in place.part.meters else 0)]


def meter_reset(place: Place, _: Command, now: float) -> Result:
    place.values["meter/0"] = 0.0
    place.report(meter_report(place, 0), now)
    return True


def notification_report(kind: int, event: int, parameters: bytes = b"") -> Command:
    values: dict[str, Any] = {"v1_type": 0, "v1_level": 0, "status": 0xFF, "type": kind, "event": event}
    return Command("Notification Report", {**values, "parameters": parameters})


def notification_supported(place: Place, _: Command, _now: float) -> Result:
    return [Command("Notification Supported Report", {"v1_alarm": False, "types": sorted(place.part.notifications)})]


def notification_events(place: Place, command: Command, _now: float) -> Result:
    events = place.part.notifications.get(command["type"], ())
    return [Command("Notification Event Supported Report", {"type": command["type"], "events": list(events)})]


def notification_get(place: Place, command: Command, _now: float) -> Result:
    kinds = sorted(place.part.notifications)
    kind = command.get("type", ANY)
    kind = kinds[0] if kind == ANY else kind
    if kind not in kinds:
        return None
    event = place.values[f"notification/{kind}"]
    asked = command.get("event", event)
    if asked not in (event, 0) and place.node.listening is False:
        return [notification_report(kind, NO_MORE_EVENTS)]
    return [notification_report(kind, event)]


def notification_set(place: Place, command: Command, _now: float) -> Result:
    return command["type"] in place.part.notifications and command["status"] in (0, 0xFF)


def battery_report(place: Place) -> Command:
    return Command("Battery Report", {"level": place.values["battery"]})


def battery_get(place: Place, _: Command, _now: float) -> Result:
    return [battery_report(place)]


def scene_supported(place: Place, _: Command, _now: float) -> Result:
    values = {
        "scenes": place.part.scenes,
        "slow_refresh": True,
        "key_bytes": 1,
        "identical": True,
        "keys": bytes((_KEYS,)),
    }
    return [Command("Central Scene Supported Report", values)]


def scene_configuration_get(place: Place, _: Command, _now: float) -> Result:
    slow = bool(place.values.get("slow_refresh", False))
    return [Command("Central Scene Configuration Report", {"slow_refresh": slow})]


def scene_configuration_set(place: Place, command: Command, _now: float) -> Result:
    place.values["slow_refresh"] = bool(command["slow_refresh"])
    return True


def scene_notification(place: Place, scene: int, key: KeyAttribute) -> Command:
    """What a button says; the sequence number tells repetitions from new presses."""
    sequence = place.values["scene.sequence"] = (place.values.get("scene.sequence", 0) + 1) & 0xFF
    slow = bool(place.values.get("slow_refresh", False))
    return Command(
        "Central Scene Notification", {"sequence": sequence, "slow_refresh": slow, "key": key, "scene": scene}
    )


BEHAVIOURS: dict[str, Behaviour] = {
    "Binary Sensor Supported Get": binary_supported,
    "Binary Sensor Get": binary_get,
    "Multilevel Sensor Supported Get": sensor_supported,
    "Multilevel Sensor Supported Scale Get": sensor_scales,
    "Multilevel Sensor Get": sensor_get,
    "Meter Supported Get": meter_supported,
    "Meter Get": meter_get,
    "Meter Reset": meter_reset,
    "Notification Supported Get": notification_supported,
    "Notification Event Supported Get": notification_events,
    "Notification Get": notification_get,
    "Notification Set": notification_set,
    "Battery Get": battery_get,
    "Central Scene Supported Get": scene_supported,
    "Central Scene Configuration Get": scene_configuration_get,
    "Central Scene Configuration Set": scene_configuration_set,
}
