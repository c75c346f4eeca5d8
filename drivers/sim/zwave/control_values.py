"""What the requests of control.py say: devices, and the values of a device by the names that people use. PURE."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivers.sim.requests import ControlError, whole
from drivers.sim.zwave import behave_access, behave_climate, behave_sensors, behave_switches
from drivers.sim.zwave.place import Place
from drivers.zwave.codec import Command
from drivers.zwave.commands.access import DoorLockMode

if TYPE_CHECKING:
    from drivers.sim.zwave.network import Network
    from drivers.sim.zwave.node import Node

Change = Callable[[float], None]
MANUAL_LOCK, MANUAL_UNLOCK = 1, 2  # events of access control
_ON, _TOP = 0xFF, 99


@dataclass(frozen=True, slots=True)
class Setting:
    """One value: its key in `Place.values`, and how a new one is brought about."""

    key: str
    make: Callable[[Place, str, Any], Change]

    def change(self, place: Place, value: Any) -> Change:
        """What brings the value about. Raises ControlError for one that it cannot have."""
        return self.make(place, self.key, value)


def node_of(network: "Network", request: Mapping[str, Any]) -> "Node":
    """The device by its name, or by its node id."""
    asked = request.get("device", "")
    node = network.nodes.get(str(asked)) or (network.member(asked) if isinstance(asked, int) and asked else None)
    if node is None:
        raise ControlError(f"no device {asked!r}")
    return node


def place_of(node: "Node", request: Mapping[str, Any]) -> Place:
    number = whole(request, "endpoint", 1 if len(node.places) > 1 else 0, 127)
    if number >= len(node.places):
        raise ControlError(f"{node.name} has no endpoint {number}")
    return node.places[number]


def setting_of(place: Place, request: Mapping[str, Any]) -> Setting:
    """The value that a request names."""
    name = str(request.get("name", ""))
    setting = SETTINGS.get(name)
    if setting is None:
        raise ControlError(f"no value {name!r}; there are {', '.join(sorted(SETTINGS))}")
    if setting.key not in place.values:
        raise ControlError(f"{place.node.name} has no {name}")
    return setting


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ControlError(f"the value is a number from {least:g} to {most:g}, not {value!r}")
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ControlError(f"the value is true or false, not {value!r}")
    return value


def _kind(key: str) -> int:
    return int(key.partition("/")[2])


def _measure(place: Place, key: str, value: Any) -> Change:
    number = _number(value, -100_000.0, 1e9)

    def change(now: float) -> None:
        place.values[key] = number
        report = behave_sensors.sensor_report if key.startswith("sensor/") else behave_sensors.meter_report
        place.report(report(place, _kind(key)), now)

    return change


def _battery(place: Place, key: str, value: Any) -> Change:
    number = _number(value, 0, 255)

    def change(now: float) -> None:
        place.values[key] = int(number)
        place.report(behave_sensors.battery_report(place), now)

    return change


def _event(active: int, idle: int = 0) -> Callable[[Place, str, Any], Change]:
    """An event of a notification, or the end of it."""

    def make(place: Place, key: str, value: Any) -> Change:
        on = _truth(value)
        if active not in place.part.notifications[_kind(key)]:
            raise ControlError(f"{place.node.name} does not tell of that")

        def change(now: float) -> None:
            place.values[key] = active if on else idle
            ended = b"" if on or idle else bytes((active,))
            place.report(behave_sensors.notification_report(_kind(key), place.values[key], ended), now)
            if active == _MOTION and "binary/12" in place.values:
                place.values["binary/12"] = _ON if on else 0
                place.report(behave_sensors.binary_report(place, 12), now)

        return change

    return make


_MOTION = 8


def _switch(place: Place, _key: str, value: Any) -> Change:
    target = _ON if _truth(value) else 0
    return lambda now: _done(behave_switches.binary_set(place, Command("", {"target_value": target}), now))


def _level(place: Place, _key: str, value: Any) -> Change:
    target = int(_number(value, 0, _TOP))
    return lambda now: _done(behave_switches.level_set(place, Command("", {"target_value": target}), now))


def _done(_result: Any) -> None:
    """What is done by hand has no answer."""


def _lock(place: Place, _key: str, value: Any) -> Change:
    locked = _truth(value)
    mode = DoorLockMode.SECURED if locked else DoorLockMode.UNSECURED
    return lambda now: behave_access.operate(place, mode, MANUAL_LOCK if locked else MANUAL_UNLOCK, now)


def _setpoint(place: Place, key: str, value: Any) -> Change:
    least, most = place.part.setpoints[_kind(key)]
    number = _number(value, least, most)

    def change(now: float) -> None:
        place.values[key] = number
        place.report(behave_climate.setpoint_report(place, _kind(key)), now)

    return change


def _mode(place: Place, key: str, value: Any) -> Change:
    number = int(_number(value, 0, 31))
    if number not in place.part.modes:
        raise ControlError(f"modes are {', '.join(map(str, place.part.modes))}")

    def change(now: float) -> None:
        place.values[key] = number
        place.report(behave_climate.mode_report(place), now)

    return change


def _door(place: Place, key: str, value: Any) -> Change:
    closed = _truth(value)

    def change(now: float) -> None:
        place.values[key] = closed
        place.report(behave_access.lock_report(place), now)

    return change


SETTINGS: dict[str, Setting] = {
    "temperature": Setting("sensor/1", _measure),
    "humidity": Setting("sensor/5", _measure),
    "illuminance": Setting("sensor/3", _measure),
    "energy": Setting("meter/0", _measure),
    "power": Setting("meter/2", _measure),
    "voltage": Setting("meter/4", _measure),
    "current": Setting("meter/5", _measure),
    "battery": Setting("battery", _battery),
    "motion": Setting("notification/7", _event(_MOTION)),
    "tamper": Setting("notification/7", _event(3)),
    "open": Setting("notification/6", _event(22, 23)),
    "water": Setting("notification/5", _event(2)),
    "smoke": Setting("notification/1", _event(2)),
    "smoke_test": Setting("notification/1", _event(3)),
    "carbon_monoxide": Setting("notification/2", _event(2)),
    "on_off": Setting("switch", _switch),
    "level": Setting("level", _level),
    "locked": Setting("lock", _lock),
    "door_closed": Setting("door", _door),
    "setpoint": Setting("setpoint/1", _setpoint),
    "mode": Setting("mode", _mode),
}
