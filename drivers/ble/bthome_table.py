"""The objects of BTHome v2 and the capabilities that they become. PURE: one table.

Source: https://bthome.io/format (object ids, sizes, factors). Values without a cluster in Matter 1.4 are numbers with a name and a unit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.ble import scales
from drivers.ble.scales import MICROGRAMS, PPM, Scaled

Scale = Callable[[float], Scaled]


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of `size` octets, little endian; `raw * factor / divisor` goes to `scale`."""

    size: int
    scale: Scale
    divisor: int = 1
    signed: bool = False
    factor: int = 1


@dataclass(frozen=True, slots=True)
class Number:
    """A number that has a name and a unit of its own."""

    size: int
    quantity: str
    unit: str = ""
    divisor: int = 1
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Binary:
    """One octet, 0 or 1. `opens`: 1 is open, and Matter's true is closed."""

    quantity: str
    opens: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """An object that is no state: `size` octets, or one octet that says how many follow where it is None."""

    name: str
    size: int | None


def _measured(size: int, scale: Scale, divisor: int = 1, *, signed: bool = False, factor: int = 1) -> Measured:
    return Measured(size, scale, divisor, signed, factor)


def _concentration(capability: str, unit: int) -> Scale:
    return lambda value: scales.concentration(capability, value, unit)


PACKET_ID, BUTTON, COMMAND, DIMMER = 0x00, 0x3A, 0x3B, 0x3C
FIRMWARE_4, FIRMWARE_3 = 0xF1, 0xF2
OCCUPIED = ("motion", "occupancy", "presence")
SMOKE, CARBON_MONOXIDE, BATTERY_LOW = "smoke", "carbonMonoxide", "batteryLow"

OBJECTS: Mapping[int, Measured | Number | Binary | Passed] = {
    PACKET_ID: Passed("packet id", 1),
    0x01: _measured(1, scales.battery),
    0x02: _measured(2, scales.temperature, 100, signed=True),
    0x03: _measured(2, scales.humidity, 100),
    0x04: _measured(3, scales.pressure, 100),
    0x05: _measured(3, scales.illuminance, 100),
    0x06: Number(2, "mass", "kg", 100),
    0x07: Number(2, "massPounds", "lb", 100),
    0x08: Number(2, "dewPoint", "°C", 100, signed=True),
    0x09: Number(1, "count"),
    0x0A: _measured(3, scales.energy, 1000),
    0x0B: _measured(3, scales.power, 100),
    0x0C: _measured(2, scales.voltage, 1000),
    0x0D: _measured(2, _concentration("Pm25ConcentrationMeasurement", MICROGRAMS)),
    0x0E: _measured(2, _concentration("Pm10ConcentrationMeasurement", MICROGRAMS)),
    0x0F: Binary("generic"),
    0x10: Binary("power"),
    0x11: Binary("opening", opens=True),
    0x12: _measured(2, _concentration("CarbonDioxideConcentrationMeasurement", PPM)),
    0x13: _measured(2, _concentration("TotalVolatileOrganicCompoundsConcentrationMeasurement", MICROGRAMS)),
    0x14: Number(2, "moisture", "%", 100),
    0x15: Binary(BATTERY_LOW),
    0x16: Binary("batteryCharging"),
    0x17: Binary(CARBON_MONOXIDE),
    0x18: Binary("cold"),
    0x19: Binary("connectivity"),
    0x1A: Binary("door", opens=True),
    0x1B: Binary("garageDoor", opens=True),
    0x1C: Binary("gasAlarm"),
    0x1D: Binary("heat"),
    0x1E: Binary("light"),
    0x1F: Binary("unlocked"),
    0x20: Binary("wet"),
    0x21: Binary("motion"),
    0x22: Binary("moving"),
    0x23: Binary("occupancy"),
    0x24: Binary("plug"),
    0x25: Binary("presence"),
    0x26: Binary("problem"),
    0x27: Binary("running"),
    0x28: Binary("safety"),
    0x29: Binary(SMOKE),
    0x2A: Binary("sound"),
    0x2B: Binary("tamper"),
    0x2C: Binary("vibration"),
    0x2D: Binary("window", opens=True),
    0x2E: _measured(1, scales.humidity),
    0x2F: Number(1, "moisture", "%"),
    BUTTON: Passed("button", 1),
    COMMAND: Passed("command", None),
    DIMMER: Passed("dimmer", 2),
    0x3D: Number(2, "count"),
    0x3E: Number(4, "count"),
    0x3F: Number(2, "rotation", "°", 10, signed=True),
    0x40: Number(2, "distance", "m", 1000),
    0x41: Number(2, "distance", "m", 10),
    0x42: Number(3, "duration", "s", 1000),
    0x43: _measured(2, scales.current, 1000),
    0x44: Number(2, "speed", "m/s", 100),
    0x45: _measured(2, scales.temperature, 10, signed=True),
    0x46: Number(1, "uvIndex", "", 10),
    0x47: Number(2, "volume", "l", 10),
    0x48: Number(2, "volume", "l", 1000),
    0x49: _measured(2, scales.flow, 1000),
    0x4A: _measured(2, scales.voltage, 10),
    0x4B: Number(3, "gas", "m³", 1000),
    0x4C: Number(4, "gas", "m³", 1000),
    0x4D: _measured(4, scales.energy, 1000),
    0x4E: Number(4, "volume", "l", 1000),
    0x4F: Number(4, "water", "l", 1000),
    0x50: Passed("timestamp", 4),
    0x51: Number(2, "acceleration", "m/s²", 1000),
    0x52: Number(2, "gyroscope", "°/s", 1000),
    0x53: Passed("text", None),
    0x54: Passed("raw", None),
    0x55: Number(4, "volumeStorage", "l", 1000),
    0x56: Number(2, "conductivity", "µS/cm"),
    0x57: _measured(1, scales.temperature, signed=True),
    0x58: _measured(1, scales.temperature, 100, signed=True, factor=35),
    0x59: Number(1, "count", signed=True),
    0x5A: Number(2, "count", signed=True),
    0x5B: Number(4, "count", signed=True),
    0x5C: _measured(4, scales.power, 100, signed=True),
    0x5D: _measured(2, scales.current, 1000, signed=True),
    0x5E: Number(2, "direction", "°", 100),
    0x5F: Number(2, "precipitation", "mm", 10),
    0x60: Number(1, "channel"),
    0x61: Number(2, "rotationalSpeed", "rpm"),
    0x62: Number(4, "speed", "m/s", 1_000_000, signed=True),
    0x63: Number(4, "acceleration", "m/s²", 1_000_000, signed=True),
    0x64: Number(1, "lightLevel"),
    0x65: Passed("settings revision", 1),
    0xF0: Passed("device type", 2),
    FIRMWARE_4: Passed("firmware", 4),
    FIRMWARE_3: Passed("firmware", 3),
}
