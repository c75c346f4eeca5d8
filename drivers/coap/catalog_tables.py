"""IPSO objects (OMA LwM2M registry, 3200 to 3347, and device object 3) and the capabilities that they become. PURE: a table and its scalings.

Units are those of the Matter 1.4 cluster. A resource's unit is SenML's (RFC 8428, 12.1) or what the object's 5701 says, which is free text.
"""

import math
from collections.abc import Mapping
from typing import Any

from drivers.coap.catalog_types import Act, Decode, ObjectMap, Point
from drivers.coap.values import Value

DEVICE = 3  # LwM2M object 3: who made the device, and its battery
FACTS = {0: "manufacturer", 1: "model", 2: "serial", 3: "firmware"}  # its resources that no capability needs
UNITS, VALUE, STATE, ON_OFF, DIMMER, ON_TIME = 5701, 5700, 5500, 5850, 5851, 5852
POWER, ENERGY, SET_POINT, OUTPUT = 5800, 5805, 5900, 5550
APPLICATION = 5750
PPM = 0  # MeasurementUnit of Matter's concentration clusters

_FULL_LEVEL, _FULL_DIMMER = 254, 100


def number(value: Value) -> float:
    """Raises ValueError for a text."""
    if isinstance(value, str):
        raise ValueError(f"{value[:40]!r} is no number")  # noqa: TRY004  what a device sent, not who calls
    return float(value)


def _truth(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if value not in (0.0, 1.0):
        raise ValueError(f"{str(value)[:40]!r} is neither true nor false")
    return bool(value)


def _boolean(name: str) -> Decode:
    return lambda value, _unit: {name: _truth(value)}


def _scaled(name: str, units: Mapping[str, float], default: float) -> Decode:
    """`value` in the unit that it came in; what has no unit, or one that nobody knows, is in the object's own."""

    def decode(value: Value, unit: str) -> dict[str, Any]:
        return {name: round(number(value) * units.get(unit, default))}

    return decode


def _celsius(value: Value, unit: str) -> float:
    plain = unit.strip("° ").lower().removeprefix("deg")
    if plain in ("k", "kelvin"):
        return number(value) - 273.15
    if plain in ("f", "fahrenheit"):
        return (number(value) - 32) * 5 / 9
    return number(value)


def _temperature(name: str) -> Decode:
    return lambda value, unit: {name: round(_celsius(value, unit) * 100)}


def _lux(value: Value, _unit: str) -> dict[str, Any]:
    lux = number(value)
    return {"MeasuredValue": 0 if lux < 1 else min(round(10_000 * math.log10(lux)) + 1, 65_534)}


def _energy(value: Value, unit: str) -> dict[str, Any]:
    milliwatt_hours = {"J": 1 / 3.6, "kJ": 1000 / 3.6, "kWh": 1_000_000.0}.get(unit, 1000.0)
    return {"CumulativeEnergyImported": {"energy": round(number(value) * milliwatt_hours)}}


def _level(value: Value, _unit: str) -> dict[str, Any]:
    percent = min(max(number(value), 0.0), 100.0)
    return {"CurrentLevel": round(percent * _FULL_LEVEL / _FULL_DIMMER)}


def _dimmer(level: Any) -> float:
    return float(round(level * _FULL_DIMMER / _FULL_LEVEL))


def _battery(value: Value, _unit: str) -> dict[str, Any]:
    percent = min(max(number(value), 0.0), 100.0)
    level = 2 if percent < 10 else 1 if percent < 20 else 0  # noqa: PLR2004  critical under 10 %, warning under 20 %
    return {"BatPercentRemaining": round(percent * 2), "BatChargeLevel": level}


def _position(value: Value, _unit: str) -> dict[str, Any]:
    return {"CurrentPosition": int(_truth(value)), "NumberOfPositions": 2}


def concentration(value: Value, _unit: str) -> dict[str, Any]:
    return {"MeasuredValue": round(number(value), 6), "MeasurementUnit": PPM}


# Percent of relative humidity, Pa, ...: unit -> factor to the unit of the cluster
_HUMIDITY = _scaled("MeasuredValue", {"%RH": 100, "%": 100, "/": 10_000}, 100)
_PRESSURE = _scaled("MeasuredValue", {"Pa": 0.01, "hPa": 1, "mbar": 1, "kPa": 10, "bar": 1000}, 0.01)
_POWER = _scaled("ActivePower", {"W": 1000, "kW": 1_000_000, "mW": 1}, 1000)
_VOLTAGE = _scaled("RMSVoltage", {"V": 1000, "mV": 1, "kV": 1_000_000}, 1000)
_CURRENT = _scaled("RMSCurrent", {"A": 1000, "mA": 1}, 1000)
_FREQUENCY = _scaled("Frequency", {"Hz": 1000, "kHz": 1_000_000}, 1000)


def _power(resource: int = POWER) -> Point:
    return Point(resource, "ElectricalPowerMeasurement", ("ActivePower",), _POWER)


def _energy_point(resource: int = ENERGY) -> Point:
    return Point(resource, "ElectricalEnergyMeasurement", ("CumulativeEnergyImported",), _energy)


def _switch(resource: int = ON_OFF) -> Point:
    return Point(resource, "OnOff", ("OnOff",), _boolean("OnOff"), bool, {"OnOff": bool})


def _switching(resource: int = ON_OFF) -> Mapping[str, Act]:
    return {
        "On": Act(lambda _: ((resource, True),)),
        "Off": Act(lambda _: ((resource, False),)),
        "Toggle": Act(lambda _: ((resource, None),)),
    }


_DIM = Point(DIMMER, "LevelControl", ("CurrentLevel",), _level, int, {"CurrentLevel": _dimmer})
_DIMMING = {  # a transition cannot be asked for: the level moves as fast as the device is able (Matter 1.6.7.1)
    "MoveToLevel": Act(lambda p: ((DIMMER, _dimmer(p["Level"])),)),
    "MoveToLevelWithOnOff": Act(lambda p: ((DIMMER, _dimmer(p["Level"])), (ON_OFF, p["Level"] > 0))),
}


def _sensor(identifier: int, device_type: str, capability: str, name: str, decode: Decode) -> ObjectMap:
    return ObjectMap(identifier, device_type, (Point(VALUE, capability, (name,), decode),))


def _input(identifier: int, device_type: str) -> ObjectMap:
    return ObjectMap(
        identifier,
        device_type,
        (Point(STATE, "BooleanState", ("StateValue",), _boolean("StateValue"), bool),),
    )


def _occupancy(value: Value, _unit: str) -> dict[str, Any]:
    return {"Occupancy": int(_truth(value))}


def _setpoint(value: Any) -> float:
    return float(value) / 100


OBJECTS: tuple[ObjectMap, ...] = (
    ObjectMap(
        DEVICE,
        "Power Source",
        (
            Point(9, "PowerSource", ("BatPercentRemaining", "BatChargeLevel"), _battery, int),
            Point(7, "PowerSource", ("BatVoltage",), lambda value, _unit: {"BatVoltage": round(number(value))}, int),
        ),
    ),
    _input(3200, "Contact Sensor"),
    ObjectMap(3201, "On/Off Plug-in Unit", (_switch(OUTPUT),), {"OnOff": _switching(OUTPUT)}),
    _sensor(3301, "Light Sensor", "IlluminanceMeasurement", "MeasuredValue", _lux),
    ObjectMap(3302, "Occupancy Sensor", (Point(STATE, "OccupancySensing", ("Occupancy",), _occupancy, bool),)),
    _sensor(3303, "Temperature Sensor", "TemperatureMeasurement", "MeasuredValue", _temperature("MeasuredValue")),
    _sensor(3304, "Humidity Sensor", "RelativeHumidityMeasurement", "MeasuredValue", _HUMIDITY),
    ObjectMap(3305, "Electrical Sensor", (_power(), _energy_point())),
    ObjectMap(3306, "On/Off Plug-in Unit", (_switch(),), {"OnOff": _switching()}),
    ObjectMap(
        3308,
        "Thermostat",
        (
            Point(
                SET_POINT,
                "Thermostat",
                ("OccupiedHeatingSetpoint",),
                _temperature("OccupiedHeatingSetpoint"),
                float,
                {"OccupiedHeatingSetpoint": _setpoint},
            ),
        ),
    ),
    ObjectMap(
        3311,
        "Dimmable Light",
        (_switch(), _DIM, _power(), _energy_point()),
        {"OnOff": _switching(), "LevelControl": _DIMMING},
    ),
    ObjectMap(
        3312,
        "On/Off Plug-in Unit",
        (_switch(), _DIM, _power(), _energy_point()),
        {"OnOff": _switching(), "LevelControl": _DIMMING},
    ),
    _sensor(3315, "Pressure Sensor", "PressureMeasurement", "MeasuredValue", _PRESSURE),
    _sensor(3316, "Electrical Sensor", "ElectricalPowerMeasurement", "RMSVoltage", _VOLTAGE),
    _sensor(3317, "Electrical Sensor", "ElectricalPowerMeasurement", "RMSCurrent", _CURRENT),
    _sensor(3318, "Electrical Sensor", "ElectricalPowerMeasurement", "Frequency", _FREQUENCY),
    _sensor(3328, "Electrical Sensor", "ElectricalPowerMeasurement", "ActivePower", _POWER),
    ObjectMap(3331, "Electrical Sensor", (_energy_point(), _energy_point(VALUE))),
    ObjectMap(3338, "On/Off Plug-in Unit", (_switch(),), {"OnOff": _switching()}),
    _input(3342, "Contact Sensor"),
    ObjectMap(
        3347,
        "Generic Switch",
        (Point(STATE, "Switch", ("CurrentPosition", "NumberOfPositions"), _position, bool),),
    ),
)

# What a value of object 3300 (generic sensor), or of a resource of no known object, is by its SenML unit.
BY_UNIT: Mapping[str, tuple[str, str, Point]] = {
    unit: (device_type, capability, Point(VALUE, capability, (name,), decode))
    for units, device_type, capability, name, decode in (
        (("Cel", "K"), "Temperature Sensor", "TemperatureMeasurement", "MeasuredValue", _temperature("MeasuredValue")),
        (("%RH",), "Humidity Sensor", "RelativeHumidityMeasurement", "MeasuredValue", _HUMIDITY),
        (("lx",), "Light Sensor", "IlluminanceMeasurement", "MeasuredValue", _lux),
        (("Pa", "hPa", "kPa"), "Pressure Sensor", "PressureMeasurement", "MeasuredValue", _PRESSURE),
        (("W", "kW"), "Electrical Sensor", "ElectricalPowerMeasurement", "ActivePower", _POWER),
        (("V", "mV"), "Electrical Sensor", "ElectricalPowerMeasurement", "RMSVoltage", _VOLTAGE),
        (("A", "mA"), "Electrical Sensor", "ElectricalPowerMeasurement", "RMSCurrent", _CURRENT),
        (("Hz",), "Electrical Sensor", "ElectricalPowerMeasurement", "Frequency", _FREQUENCY),
        (
            ("J", "kJ", "Wh", "kWh"),
            "Electrical Sensor",
            "ElectricalEnergyMeasurement",
            "CumulativeEnergyImported",
            _energy,
        ),
        (("%EL",), "Power Source", "PowerSource", "BatPercentRemaining", _battery),
    )
    for unit in units
}

_GASES = {
    "co2": "CarbonDioxide",
    "co": "CarbonMonoxide",
    "no2": "NitrogenDioxide",
    "o3": "Ozone",
    "voc": "TotalVolatileOrganicCompounds",
}
# Object 3325 (concentration): its 5750 says of what.
BY_GAS: Mapping[str, ObjectMap] = {
    gas: ObjectMap(
        3325,
        "Air Quality Sensor",
        (
            Point(
                VALUE,
                f"{name}ConcentrationMeasurement",
                ("MeasuredValue", "MeasurementUnit"),
                concentration,
            ),
        ),
    )
    for gas, name in _GASES.items()
}
CONCENTRATION, GENERIC = 3325, 3300
# Read once at the interview: without them the values of the object cannot be scaled or named.
NEEDS = (UNITS, APPLICATION)
