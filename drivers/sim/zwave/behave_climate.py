"""What thermostats do with their commands (SDS13781). PURE.

Values: mode, setpoint/<type> (degrees Celsius), fan_mode, setback ([type, state]), sensor/1 (the room).
"""

from drivers.sim.zwave.place import Behaviour, Place, Result
from drivers.zwave.codec import Command
from drivers.zwave.commands.climate import OperatingState, ThermostatMode, setpoint_bits
from drivers.zwave.layout_values import Scaled

CELSIUS, FAHRENHEIT = 0, 1
_FAN_MODES = (0, 1, 3)
_HIGHEST_SETBACK, _UNUSED = 122, 127
_HEATS = (ThermostatMode.HEAT, ThermostatMode.AUTO, ThermostatMode.ENERGY_HEAT)
_COOLS = (ThermostatMode.COOL, ThermostatMode.AUTO)


def mode_report(place: Place) -> Command:
    return Command("Thermostat Mode Report", {"mode": place.values["mode"]})


def mode_get(place: Place, _: Command, _now: float) -> Result:
    return [mode_report(place)]


def mode_set(place: Place, command: Command, now: float) -> Result:
    if command["mode"] not in place.part.modes:
        return False
    place.values["mode"] = int(command["mode"])
    place.report(mode_report(place), now)
    place.report(state_report(place), now)
    return True


def mode_supported(place: Place, _: Command, _now: float) -> Result:
    return [Command("Thermostat Mode Supported Report", {"modes": list(place.part.modes)})]


def setpoint_report(place: Place, kind: int) -> Command:
    values = {"type": kind, "scale": CELSIUS, "value": Scaled.of(place.values[f"setpoint/{kind}"], 1)}
    return Command("Thermostat Setpoint Report", values)


def setpoint_get(place: Place, command: Command, _now: float) -> Result:
    kind = int(command["type"])
    return [setpoint_report(place, kind)] if kind in place.part.setpoints else None


def setpoint_set(place: Place, command: Command, now: float) -> Result:
    kind, value = int(command["type"]), command["value"].value
    if kind not in place.part.setpoints:
        return False
    if command["scale"] == FAHRENHEIT:
        value = (value - 32) * 5 / 9
    least, most = place.part.setpoints[kind]
    if not least <= value <= most:
        return False
    place.values[f"setpoint/{kind}"] = round(value, 1)
    place.report(setpoint_report(place, kind), now)
    place.report(state_report(place), now)
    return True


def setpoint_supported(place: Place, _: Command, _now: float) -> Result:
    return [Command("Thermostat Setpoint Supported Report", {"types": setpoint_bits(list(place.part.setpoints))})]


def setpoint_capabilities(place: Place, command: Command, _now: float) -> Result:
    kind = int(command["type"])
    if kind not in place.part.setpoints:
        return None
    least, most = place.part.setpoints[kind]
    values = {"type": kind, "min_scale": CELSIUS, "min_value": least, "max_scale": CELSIUS, "max_value": most}
    return [Command("Thermostat Setpoint Capabilities Report", values)]


def state_report(place: Place) -> Command:
    mode, room = place.values["mode"], place.values["sensor/1"]
    heating = mode in _HEATS and room < place.values["setpoint/1"]
    cooling = mode in _COOLS and room > place.values["setpoint/2"]
    state = OperatingState.HEATING if heating else OperatingState.COOLING if cooling else OperatingState.IDLE
    return Command("Thermostat Operating State Report", {"state": state})


def state_get(place: Place, _: Command, _now: float) -> Result:
    return [state_report(place)]


def fan_report(place: Place) -> Command:
    return Command("Thermostat Fan Mode Report", {"off": False, "mode": place.values["fan_mode"]})


def fan_get(place: Place, _: Command, _now: float) -> Result:
    return [fan_report(place)]


def fan_set(place: Place, command: Command, now: float) -> Result:
    if command["mode"] not in _FAN_MODES:
        return False
    place.values["fan_mode"] = int(command["mode"])
    place.report(fan_report(place), now)
    return True


def fan_supported(_place: Place, _: Command, _now: float) -> Result:
    return [Command("Thermostat Fan Mode Supported Report", {"modes": list(_FAN_MODES)})]


def fan_state(place: Place, _: Command, _now: float) -> Result:
    busy = state_report(place)["state"] is not OperatingState.IDLE
    return [Command("Thermostat Fan State Report", {"state": int(busy)})]


def setback_get(place: Place, _: Command, _now: float) -> Result:
    kind, state = place.values["setback"]
    return [Command("Thermostat Setback Report", {"type": kind, "state": state})]


def setback_set(place: Place, command: Command, _now: float) -> Result:
    state = command["state"]
    if _HIGHEST_SETBACK < state != _UNUSED:
        return False
    place.values["setback"] = [command["type"], state]
    return True


BEHAVIOURS: dict[str, Behaviour] = {
    "Thermostat Mode Get": mode_get,
    "Thermostat Mode Set": mode_set,
    "Thermostat Mode Supported Get": mode_supported,
    "Thermostat Setpoint Get": setpoint_get,
    "Thermostat Setpoint Set": setpoint_set,
    "Thermostat Setpoint Supported Get": setpoint_supported,
    "Thermostat Setpoint Capabilities Get": setpoint_capabilities,
    "Thermostat Operating State Get": state_get,
    "Thermostat Fan Mode Get": fan_get,
    "Thermostat Fan Mode Set": fan_set,
    "Thermostat Fan Mode Supported Get": fan_supported,
    "Thermostat Fan State Get": fan_state,
    "Thermostat Setback Get": setback_get,
    "Thermostat Setback Set": setback_set,
}
