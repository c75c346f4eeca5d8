"""Physical values as properties of capabilities, in the units of the Matter 1.4 cluster. PURE.

Each function gives the capability and its properties; what no property can hold becomes None ("not known"), never a wrong number.
"""

import math
from collections.abc import Mapping
from typing import Any

Scaled = tuple[str, Mapping[str, Any]]

PPM, MICROGRAMS = 0, 4  # MeasurementUnit
NUMERIC = "hub.NumericSensor@1.0"


def matter(name: str) -> str:
    """The id of a Matter cluster's capability."""
    return f"matter.{name}@1.4"


def _within(value: float | None, scale: float, low: int, high: int) -> int | None:
    if value is None or not math.isfinite(value):
        return None
    scaled = round(value * scale)
    return scaled if low <= scaled <= high else None


def temperature(celsius: float | None) -> Scaled:
    return matter("TemperatureMeasurement"), {"MeasuredValue": _within(celsius, 100, -27315, 32767)}


def humidity(percent: float | None) -> Scaled:
    return matter("RelativeHumidityMeasurement"), {"MeasuredValue": _within(percent, 100, 0, 10_000)}


def pressure(hectopascal: float | None) -> Scaled:
    return matter("PressureMeasurement"), {"MeasuredValue": _within(hectopascal, 1, -32768, 32767)}  # 0.1 kPa is 1 hPa


def illuminance(lux: float | None) -> Scaled:
    """10,000 x log10(lx) + 1; 0 for what is too dark to be measured (Matter 1.4, 2.2.5.1)."""
    if lux is None or lux < 0:
        return matter("IlluminanceMeasurement"), {"MeasuredValue": None}
    return matter("IlluminanceMeasurement"), {
        "MeasuredValue": min(round(10_000 * math.log10(lux)) + 1, 0xFFFE) if lux >= 1 else 0
    }


def flow(cubic_metres_an_hour: float | None) -> Scaled:
    return matter("FlowMeasurement"), {"MeasuredValue": _within(cubic_metres_an_hour, 10, 0, 0xFFFF)}


def concentration(capability: str, value: float | None, unit: int) -> Scaled:
    known = value if value is not None and math.isfinite(value) else None
    return matter(capability), {
        "MeasuredValue": None if known is None else round(known, 6),
        "MeasurementUnit": unit,
    }


def battery(percent: float | None) -> Scaled:
    """Charge level: critical under 10 %, warning under 20 %, as for other radios."""
    halves = _within(percent, 2, 0, 200)
    if halves is None:
        return matter("PowerSource"), {"BatPercentRemaining": None}
    level = 2 if halves < 20 else 1 if halves < 40 else 0  # noqa: PLR2004  half percents
    return matter("PowerSource"), {"BatPercentRemaining": halves, "BatChargeLevel": level}


def battery_low(low: bool) -> Scaled:  # noqa: FBT001  the one value
    return matter("PowerSource"), {"BatChargeLevel": 1 if low else 0}


def battery_voltage(millivolts: float | None) -> Scaled:
    return matter("PowerSource"), {"BatVoltage": _within(millivolts, 1, 0, 0xFFFFFFFF)}


def power(watts: float | None) -> Scaled:
    return matter("ElectricalPowerMeasurement"), {"ActivePower": _within(watts, 1000, -(2**62), 2**62)}


def voltage(volts: float | None) -> Scaled:
    return matter("ElectricalPowerMeasurement"), {"RMSVoltage": _within(volts, 1000, -(2**62), 2**62)}


def current(amperes: float | None) -> Scaled:
    return matter("ElectricalPowerMeasurement"), {"RMSCurrent": _within(amperes, 1000, -(2**62), 2**62)}


def energy(kilowatt_hours: float | None) -> Scaled:
    known = _within(kilowatt_hours, 1_000_000, 0, 2**62)
    return matter("ElectricalEnergyMeasurement"), {
        "CumulativeEnergyImported": None if known is None else {"energy": known}
    }


def occupancy(present: bool) -> Scaled:  # noqa: FBT001  the one value
    return matter("OccupancySensing"), {"Occupancy": int(present)}


def boolean(state: bool) -> Scaled:  # noqa: FBT001  the one value
    return matter("BooleanState"), {"StateValue": state}


def number(quantity: str, value: float | None, unit: str) -> Scaled:
    """A number for which Matter has no cluster."""
    known = value if value is not None and math.isfinite(value) else None
    return NUMERIC, {
        "MeasuredValue": None if known is None else round(known, 6),
        "Quantity": quantity,
        "Unit": unit,
    }
