"""Command classes of heating, cooling and humidity (SDS13781). PURE."""

from enum import IntEnum

from drivers.zwave.commands.spec import CommandClass, scale_head
from drivers.zwave.layout import Array, Bits, Bytes, Since, When, i8, u8
from drivers.zwave.layout_values import Decimals, Mask


class ThermostatMode(IntEnum):
    OFF = 0x00
    HEAT = 0x01
    COOL = 0x02
    AUTO = 0x03
    AUXILIARY = 0x04
    RESUME = 0x05
    FAN = 0x06
    FURNACE = 0x07
    DRY = 0x08
    MOIST = 0x09
    AUTO_CHANGEOVER = 0x0A
    ENERGY_HEAT = 0x0B
    ENERGY_COOL = 0x0C
    AWAY = 0x0D
    FULL_POWER = 0x0F
    MANUFACTURER_SPECIFIC = 0x1F


class SetpointType(IntEnum):
    HEATING = 0x01
    COOLING = 0x02
    FURNACE = 0x07
    DRY_AIR = 0x08
    MOIST_AIR = 0x09
    AUTO_CHANGEOVER = 0x0A
    ENERGY_SAVE_HEATING = 0x0B
    ENERGY_SAVE_COOLING = 0x0C
    AWAY_HEATING = 0x0D
    AWAY_COOLING = 0x0E
    FULL_POWER = 0x0F


class OperatingState(IntEnum):
    IDLE = 0x00
    HEATING = 0x01
    COOLING = 0x02
    FAN_ONLY = 0x03
    PENDING_HEAT = 0x04
    PENDING_COOL = 0x05
    VENT_ECONOMIZER = 0x06
    AUX_HEATING = 0x07
    SECOND_STAGE_HEATING = 0x08
    SECOND_STAGE_COOLING = 0x09
    SECOND_STAGE_AUX_HEATING = 0x0A
    THIRD_STAGE_AUX_HEATING = 0x0B


class FanMode(IntEnum):
    AUTO_LOW = 0x00
    LOW = 0x01
    AUTO_HIGH = 0x02
    HIGH = 0x03
    AUTO_MEDIUM = 0x04
    MEDIUM = 0x05
    CIRCULATION = 0x06
    HUMIDITY_CIRCULATION = 0x07
    LEFT_RIGHT = 0x08
    UP_DOWN = 0x09
    QUIET = 0x0A
    EXTERNAL_CIRCULATION = 0x0B


_MODE = (
    Bits("_manufacturer_bytes:3 mode:5", {"mode": ThermostatMode}),
    Since(3, When(lambda values: values.get("_manufacturer_bytes"), Bytes("manufacturer_data", "_manufacturer_bytes"))),
)
_TYPE = Bits("-:4 type:4", {"type": SetpointType})
_SETPOINT = (_TYPE, scale_head(), Decimals("value"))
_FAN = Bits("off:1 -:3 mode:4", {"mode": FanMode})
_SETBACK = (Bits("-:6 type:2"), i8("state"))  # tenths of a kelvin, -128..120; 121 frost, 122 energy saving, 127 unused
_STATE = Bits("-:4 state:4", {"state": OperatingState})
_LOG = (u8("hours_today"), u8("minutes_today"), u8("hours_yesterday"), u8("minutes_yesterday"))
_HUMIDITY = Bits("-:4 type:4")
_LIMITS = (
    scale_head("_min_precision", "min_scale", "_min_size"),
    Decimals("min_value", ("_min_precision", "_min_size")),
    scale_head("_max_precision", "max_scale", "_max_size"),
    Decimals("max_value", ("_max_precision", "_max_size")),
)

CLIMATE = (
    CommandClass(0x40, "Thermostat Mode", 3, {
        0x01: ("Set", *_MODE),
        0x02: ("Get",),
        0x03: ("Report", *_MODE),
        0x04: ("Supported Get",),
        0x05: ("Supported Report", Mask("modes", None)),
    }),
    CommandClass(0x43, "Thermostat Setpoint", 3, {
        0x01: ("Set", *_SETPOINT),
        0x02: ("Get", _TYPE),
        0x03: ("Report", *_SETPOINT),
        0x04: ("Supported Get",),
        0x05: ("Supported Report", Mask("types", None)),  # bits, not types: see setpoint_types
        0x09: ("Capabilities Get", _TYPE),
        0x0A: ("Capabilities Report", _TYPE, *_LIMITS),
    }),
    CommandClass(0x42, "Thermostat Operating State", 2, {
        0x01: ("Logging Supported Get",),
        0x02: ("Get",),
        0x03: ("Report", _STATE),
        0x04: ("Logging Supported Report", Mask("states", None)),
        0x05: ("Logging Get", Mask("states", None)),
        0x06: ("Logging Report", u8("reports_to_follow"), Array("logs", _STATE, *_LOG)),
    }),
    CommandClass(0x44, "Thermostat Fan Mode", 5, {
        0x01: ("Set", _FAN),
        0x02: ("Get",),
        0x03: ("Report", _FAN),
        0x04: ("Supported Get",),
        0x05: ("Supported Report", Mask("modes", None)),
    }),
    CommandClass(0x45, "Thermostat Fan State", 2, {
        0x02: ("Get",),
        0x03: ("Report", Bits("-:4 state:4")),
    }),
    CommandClass(0x47, "Thermostat Setback", 1, {
        0x01: ("Set", *_SETBACK),
        0x02: ("Get",),
        0x03: ("Report", *_SETBACK),
    }),
    CommandClass(0x6D, "Humidity Control Mode", 2, {
        0x01: ("Set", Bits("-:4 mode:4")),
        0x02: ("Get",),
        0x03: ("Report", Bits("-:4 mode:4")),
        0x04: ("Supported Get",),
        0x05: ("Supported Report", Mask("modes", None)),
    }),
    CommandClass(0x6E, "Humidity Control Operating State", 1, {
        0x01: ("Get",),
        0x02: ("Report", Bits("-:4 state:4")),
    }),
    CommandClass(0x64, "Humidity Control Setpoint", 2, {
        0x01: ("Set", _HUMIDITY, scale_head(), Decimals("value")),
        0x02: ("Get", _HUMIDITY),
        0x03: ("Report", _HUMIDITY, scale_head(), Decimals("value")),
        0x04: ("Supported Get",),
        0x05: ("Supported Report", Mask("types", None)),
        0x06: ("Scale Supported Get", _HUMIDITY),
        0x07: ("Scale Supported Report", Bits("-:4 scales:4")),
        0x08: ("Capabilities Get", _HUMIDITY),
        0x09: ("Capabilities Report", _HUMIDITY, *_LIMITS),
    }),
)  # fmt: skip

# The bits of a Thermostat Setpoint Supported Report skip the types that do not exist (SDS13781, interpretation A).
_SETPOINT_BITS = (0x00, 0x01, 0x02, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F)


def setpoint_types(bits: list[int]) -> list[int]:
    """The setpoint types behind the bits of a Thermostat Setpoint Supported Report."""
    return [_SETPOINT_BITS[bit] for bit in bits if 0 < bit < len(_SETPOINT_BITS)]


def setpoint_bits(types: list[int]) -> list[int]:
    """The inverse of `setpoint_types`."""
    return [_SETPOINT_BITS.index(kind) for kind in types]
