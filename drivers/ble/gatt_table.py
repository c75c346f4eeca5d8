"""Characteristics of the Bluetooth SIG and the capabilities that they become. PURE: one table and the decoders that it names.

Source: GATT Specification Supplement (formats and units of characteristics), Assigned Numbers; Heart Rate Service 1.0, Automation IO
Service 1.0, Battery Service 1.1, Environmental Sensing Service 1.0, Device Information Service 1.2.
"""

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.ble import scales
from drivers.ble.scales import MICROGRAMS, PPM, Scaled

BATTERY, ENVIRONMENT, INFORMATION, HEART_RATE, AUTOMATION = 0x180F, 0x181A, 0x180A, 0x180D, 0x1815
KNOWN_SERVICES = (BATTERY, ENVIRONMENT, INFORMATION, HEART_RATE, AUTOMATION)
SILENT = frozenset({0x1800, 0x1801, INFORMATION})  # what every device has: Generic Access, Generic Attribute
# What makes a stranger worth a connection in a discovery; nearly everything has a battery or device information, phones too.
TELLING_SERVICES = (ENVIRONMENT, HEART_RATE, AUTOMATION)

MANUFACTURER_NAME, MODEL_NUMBER, FIRMWARE_REVISION, SOFTWARE_REVISION = 0x2A29, 0x2A24, 0x2A26, 0x2A28
INFORMATION_READS = (MANUFACTURER_NAME, MODEL_NUMBER, FIRMWARE_REVISION, SOFTWARE_REVISION)
DIGITAL, ANALOG, NUMBER_OF_DIGITALS = 0x2A56, 0x2A58, 0x2909

Scale = Callable[[float | None], Scaled]
Decode = Callable[[bytes], Scaled | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One characteristic. `quantity` names the endpoint of a number without a cluster."""

    decode: Decode
    quantity: str = ""


def _integer(
    size: int, scale: Scale, divisor: float = 1, *, signed: bool = False, unknown: int | None = None
) -> Decode:
    def decode(data: bytes) -> Scaled | None:
        if len(data) < size:
            return None
        raw = int.from_bytes(data[:size], "little", signed=signed)
        return scale(None if raw == unknown else raw / divisor)

    return decode


def _number(
    size: int, quantity: str, unit: str, divisor: float = 1, *, signed: bool = False, unknown: int | None = None
) -> Row:
    scale: Scale = lambda value: scales.number(quantity, value, unit)  # noqa: E731  an argument
    return Row(_integer(size, scale, divisor, signed=signed, unknown=unknown), quantity)


def sfloat(raw: int) -> float | None:
    """IEEE 11073 16-bit float: exponent (4 bits) and mantissa (12 bits), both signed; None for NaN, infinities and reserved."""
    mantissa, exponent = raw & 0x0FFF, raw >> 12
    if mantissa in (0x07FE, 0x07FF, 0x0800, 0x0801, 0x0802):
        return None
    mantissa = mantissa - 0x1000 if mantissa & 0x800 else mantissa
    exponent = exponent - 0x10 if exponent & 0x8 else exponent
    return float(mantissa) * math.pow(10, exponent)


def _density(capability: str) -> Decode:
    """Kilograms a cubic metre, to micrograms."""

    def decode(data: bytes) -> Scaled | None:
        if len(data) < 2:  # noqa: PLR2004  an SFLOAT
            return None
        value = sfloat(struct.unpack("<H", data[:2])[0])
        return scales.concentration(capability, None if value is None else value * 1e9, MICROGRAMS)

    return decode


def heart_rate(data: bytes) -> Scaled | None:
    """Heart Rate Measurement: flags, then 8 or 16 bits (bit 0)."""
    wide = bool(data[:1] and data[0] & 0x01)
    if len(data) < (3 if wide else 2):
        return None
    return scales.number("heartRate", int.from_bytes(data[1:3] if wide else data[1:2], "little"), "bpm")


def _carbon_dioxide(value: float | None) -> Scaled:
    return scales.concentration("CarbonDioxideConcentrationMeasurement", value, PPM)


ROWS: Mapping[int, Row] = {
    0x2A19: Row(_integer(1, scales.battery)),
    0x2A6E: Row(_integer(2, scales.temperature, 100, signed=True, unknown=-0x8000)),
    0x2A6F: Row(_integer(2, scales.humidity, 100, unknown=0xFFFF)),
    0x2A6D: Row(_integer(4, scales.pressure, 1000)),  # 0.1 Pa
    0x2AFB: Row(_integer(3, scales.illuminance, 100, unknown=0xFFFFFF)),
    0x2B8C: Row(_integer(2, _carbon_dioxide, unknown=0xFFFF)),
    0x2BD0: Row(_density("CarbonMonoxideConcentrationMeasurement")),
    0x2BD2: Row(_density("NitrogenDioxideConcentrationMeasurement")),
    0x2BD3: Row(_density("TotalVolatileOrganicCompoundsConcentrationMeasurement")),
    0x2BD4: Row(_density("OzoneConcentrationMeasurement")),
    0x2BD5: Row(_density("Pm1ConcentrationMeasurement")),
    0x2BD6: Row(_density("Pm25ConcentrationMeasurement")),
    0x2BD7: Row(_density("Pm10ConcentrationMeasurement")),
    0x2A6C: _number(3, "elevation", "m", 100, signed=True),
    0x2A70: _number(2, "trueWindSpeed", "m/s", 100),
    0x2A71: _number(2, "trueWindDirection", "°", 100),
    0x2A72: _number(2, "apparentWindSpeed", "m/s", 100),
    0x2A73: _number(2, "apparentWindDirection", "°", 100),
    0x2A74: _number(1, "gustFactor", "", 10),
    0x2A75: _number(3, "pollen", "1/m³"),
    0x2A76: _number(1, "uvIndex", ""),
    0x2A77: _number(2, "irradiance", "W/m²", 10),
    0x2A78: _number(2, "rainfall", "mm"),
    0x2A79: _number(1, "windChill", "°C", signed=True),
    0x2A7A: _number(1, "heatIndex", "°C", signed=True),
    0x2A7B: _number(1, "dewPoint", "°C", signed=True),
    0x2A37: Row(heart_rate, "heartRate"),
    ANALOG: _number(2, "analog", ""),
}

# ---- Automation IO: two bits for each digital, the first one in the lowest bits ---------------------------------------------

INACTIVE, ACTIVE = 0b00, 0b01


def digital(data: bytes, index: int) -> bool | None:
    """The state of one digital; None when it is tri-state, unknown, or not there."""
    if index // 4 >= len(data):
        return None
    bits = data[index // 4] >> (2 * (index % 4)) & 0b11
    return bits == ACTIVE if bits in (INACTIVE, ACTIVE) else None


def with_digital(data: bytes, index: int, count: int, state: bool) -> bytes:  # noqa: FBT001  what is written
    """The characteristic's value with one digital changed, and the others as they were."""
    size = (count + 3) // 4
    octets = bytearray(data[:size].ljust(size, b"\x00"))
    shift = 2 * (index % 4)
    octets[index // 4] = octets[index // 4] & ~(0b11 << shift) & 0xFF | (ACTIVE if state else INACTIVE) << shift
    return bytes(octets)
