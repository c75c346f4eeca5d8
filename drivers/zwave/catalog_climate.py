"""Rows of heating and cooling: modes, setpoints, operating states, fans. PURE."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.driver import InvalidParameters, NotSupported
from drivers.zwave.catalog_facts import FAHRENHEIT, celsius
from drivers.zwave.catalog_types import Act, Place, Read, Said, Setpoint, ZWaveEndpoint, ZWaveGet, ZWaveSet
from drivers.zwave.codec import Command
from drivers.zwave.commands.climate import FanMode, OperatingState, SetpointType, ThermostatMode
from drivers.zwave.layout_values import Scaled

MODE, SETPOINT, OPERATING, FAN = 0x40, 0x43, 0x42, 0x44

# SystemMode of the cluster -> modes of the device, the preferred first
SYSTEM_MODES: Mapping[int, tuple[ThermostatMode, ...]] = {
    0: (ThermostatMode.OFF,),
    1: (ThermostatMode.AUTO, ThermostatMode.AUTO_CHANGEOVER),
    3: (ThermostatMode.COOL, ThermostatMode.ENERGY_COOL),
    4: (ThermostatMode.HEAT, ThermostatMode.ENERGY_HEAT, ThermostatMode.FURNACE),
    5: (ThermostatMode.AUXILIARY,),
    7: (ThermostatMode.FAN,),
    8: (ThermostatMode.DRY,),
}
_FROM_MODE = {mode: system for system, modes in SYSTEM_MODES.items() for mode in modes}

# OperatingState -> ThermostatRunningState: heat 1, cool 2, fan 4, second stage heat 8, second stage cool 16
RUNNING: Mapping[int, int] = {
    OperatingState.IDLE: 0x00,
    OperatingState.HEATING: 0x01,
    OperatingState.COOLING: 0x02,
    OperatingState.FAN_ONLY: 0x04,
    OperatingState.PENDING_HEAT: 0x00,
    OperatingState.PENDING_COOL: 0x00,
    OperatingState.VENT_ECONOMIZER: 0x04,
    OperatingState.AUX_HEATING: 0x01,
    OperatingState.SECOND_STAGE_HEATING: 0x09,
    OperatingState.SECOND_STAGE_COOLING: 0x12,
    OperatingState.SECOND_STAGE_AUX_HEATING: 0x09,
    OperatingState.THIRD_STAGE_AUX_HEATING: 0x09,
}

# FanMode of the cluster (0 off, 1 low, 2 medium, 3 high, 4 on, 5 auto) -> modes of the device, the preferred first
FAN_MODES: Mapping[int, tuple[FanMode, ...]] = {
    1: (FanMode.LOW, FanMode.QUIET),
    2: (FanMode.MEDIUM,),
    3: (FanMode.HIGH,),
    4: (FanMode.CIRCULATION, FanMode.HUMIDITY_CIRCULATION, FanMode.EXTERNAL_CIRCULATION),
    5: (FanMode.AUTO_LOW, FanMode.AUTO_MEDIUM, FanMode.AUTO_HIGH),
}
_FROM_FAN = {mode: fan for fan, modes in FAN_MODES.items() for mode in modes}
FAN_OFF = 0

HEATING, COOLING = SetpointType.HEATING, SetpointType.COOLING
SETPOINTS = {HEATING: "OccupiedHeatingSetpoint", COOLING: "OccupiedCoolingSetpoint"}
TENTHS = 1  # decimals for a device that nobody has heard
RAISE = {0: (HEATING,), 1: (COOLING,), 2: (HEATING, COOLING)}  # Mode of SetpointRaiseLower


def setpoints(endpoint: ZWaveEndpoint) -> Mapping[int, Setpoint | None]:
    return endpoint.facts.setpoints or {}


# ---- modes ------------------------------------------------------------------------------------------------------------------


def mode_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    return (ZWaveGet(endpoint.id, Command("Thermostat Mode Get"), "Thermostat Mode Report", {}, ("SystemMode",)),)


def mode_told(command: Command, _place: Place) -> Sequence[Said]:
    system = _FROM_MODE.get(command["mode"])
    return () if system is None else ({"SystemMode": system},)


def set_mode(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    endpoint, wanted = place.endpoint, values["SystemMode"]
    supported = endpoint.facts.modes
    modes = [mode for mode in SYSTEM_MODES.get(wanted, ()) if supported is None or mode in supported]
    if not modes:
        raise NotSupported(f"this thermostat has no SystemMode {wanted}")
    command = Command("Thermostat Mode Set", {"mode": modes[0]})
    proves = (Command("Thermostat Mode Report", {"mode": modes[0]}),)
    return (ZWaveSet(endpoint.id, command, tuple(mode_gets(endpoint)), proves=proves),)


def mode_constants(endpoint: ZWaveEndpoint) -> dict[str, Any]:
    """ControlSequenceOfOperation: 0 cooling, 2 heating, 4 both. The limits of heating, where the device names them."""
    modes = endpoint.facts.modes or frozenset()
    heats, cools = (
        any(mode in modes for mode in (*SYSTEM_MODES[system], ThermostatMode.AUTO)) or kind in setpoints(endpoint)
        for system, kind in ((4, HEATING), (3, COOLING))
    )
    found: dict[str, Any] = {"ControlSequenceOfOperation": 4 if heats and cools else 2 if heats else 0}
    limits = setpoints(endpoint).get(HEATING)
    if limits is not None and limits.minimum is not None and limits.maximum is not None:
        found["MinHeatSetpointLimit"] = round(limits.minimum * 100)
        found["MaxHeatSetpointLimit"] = round(limits.maximum * 100)
    return found if heats or cools else {}


def state_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    get = Command("Thermostat Operating State Get")
    return (ZWaveGet(endpoint.id, get, "Thermostat Operating State Report", {}, ("ThermostatRunningState",)),)


def state_told(command: Command, _place: Place) -> Sequence[Said]:
    running = RUNNING.get(command["state"])
    return () if running is None else ({"ThermostatRunningState": running},)


# ---- setpoints --------------------------------------------------------------------------------------------------------------


def setpoint_gets(kind: SetpointType) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    values, name = {"type": kind}, SETPOINTS[kind]
    get = Command("Thermostat Setpoint Get", values)
    return lambda endpoint: (ZWaveGet(endpoint.id, get, "Thermostat Setpoint Report", values, (name,)),)


def setpoint_told(kind: SetpointType) -> Read:
    def read(command: Command, place: Place) -> Sequence[Said]:
        if command["type"] != kind:
            return ()
        value = command["value"]
        place.memory[SETPOINTS[kind]] = (command["scale"], value.precision, value.size)
        return ({SETPOINTS[kind]: round(celsius(value.value, command["scale"]) * 100)},)

    return read


def set_setpoint(kind: SetpointType) -> Act:
    return lambda values, place: _set_setpoint(kind, values[SETPOINTS[kind]], place)


def _set_setpoint(kind: SetpointType, hundredths: int, place: Place) -> Sequence[ZWaveSet]:
    """In the scale and with the decimals that the device itself writes: others are refused or misread by many."""
    endpoint, wanted = place.endpoint, hundredths / 100
    form = setpoints(endpoint).get(kind) or Setpoint()
    low, high = form.minimum, form.maximum
    if (low is not None and wanted < low) or (high is not None and wanted > high):
        raise InvalidParameters(f"{SETPOINTS[kind]}: the device takes {low:.1f} to {high:.1f} °C")
    known = (form.scale, form.precision, form.size) if form.size else (0, TENTHS, 0)
    scale, precision, size = place.memory.get(SETPOINTS[kind], known)
    value = wanted * 9 / 5 + 32 if scale == FAHRENHEIT else wanted
    scaled = Scaled.of(round(value, precision), precision, size)
    values = {"type": kind, "scale": scale, "value": scaled}
    return (
        ZWaveSet(
            endpoint.id,
            Command("Thermostat Setpoint Set", values),
            tuple(setpoint_gets(kind)(endpoint)),
            proves=(Command("Thermostat Setpoint Report", values),),
        ),
    )


def raise_lower(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    """By tenths of a degree, of the setpoints that the device has."""
    steps: list[ZWaveSet] = []
    for kind in RAISE[parameters["Mode"]]:
        if kind not in setpoints(place.endpoint):
            continue
        now = place.last.get(SETPOINTS[kind])
        if now is None:
            raise NotSupported(f"{SETPOINTS[kind]} is not known yet", remedy="read the state first")
        steps += _set_setpoint(kind, now + parameters["Amount"] * 10, place)
    if not steps:
        raise NotSupported("this thermostat has no such setpoint")
    return steps


# ---- fans -------------------------------------------------------------------------------------------------------------------


def fan_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    return (ZWaveGet(endpoint.id, Command("Thermostat Fan Mode Get"), "Thermostat Fan Mode Report", {}, ("FanMode",)),)


def fan_told(command: Command, place: Place) -> Sequence[Said]:
    if command["off"] and place.endpoint.version(FAN) > 1:
        return ({"FanMode": FAN_OFF},)
    fan = _FROM_FAN.get(command["mode"])
    return () if fan is None else ({"FanMode": fan},)


def set_fan(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    endpoint, wanted = place.endpoint, values["FanMode"]
    supported = endpoint.facts.fan_modes
    if wanted == FAN_OFF:
        if endpoint.version(FAN) < 2:  # noqa: PLR2004  the off bit came with version 2
            raise NotSupported("this thermostat cannot switch its fan off")
        sent = {"off": True, "mode": min(supported or (FanMode.AUTO_LOW,))}
    else:
        modes = [mode for mode in FAN_MODES.get(wanted, ()) if supported is None or mode in supported]
        if not modes:
            raise NotSupported(f"this thermostat has no FanMode {wanted}")
        sent = {"off": False, "mode": modes[0]}
    proves = (Command("Thermostat Fan Mode Report", sent),)
    return (ZWaveSet(endpoint.id, Command("Thermostat Fan Mode Set", sent), tuple(fan_gets(endpoint)), proves=proves),)


def fan_constants(endpoint: ZWaveEndpoint) -> dict[str, Any]:
    """FanModeSequence: 0 low, medium, high; 1 low, high; 2, 3 the same with auto; 4 high and auto; 5 high alone."""
    supported = endpoint.facts.fan_modes
    if supported is None:
        return {}
    low, medium, auto = (any(mode in supported for mode in FAN_MODES[fan]) for fan in (1, 2, 5))
    if low:
        return {"FanModeSequence": (2 if auto else 0) + (0 if medium else 1)}
    return {"FanModeSequence": 4 if auto else 5}
