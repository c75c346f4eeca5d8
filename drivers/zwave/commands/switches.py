"""Command classes that act: switches, colours, coverings, barriers, sounds, indicators, scenes (SDS13781). PURE."""

from enum import IntEnum

from drivers.zwave.commands.spec import CommandClass
from drivers.zwave.layout import Array, Bits, Since, u8, u16
from drivers.zwave.layout_values import Duration, Mask, Text


class Level(IntEnum):
    """Values that are no levels of 0..99."""

    UNKNOWN = 0xFE
    ON = 0xFF


class ColorComponent(IntEnum):
    WARM_WHITE = 0
    COLD_WHITE = 1
    RED = 2
    GREEN = 3
    BLUE = 4
    AMBER = 5
    CYAN = 6
    PURPLE = 7
    INDEX = 8


class BarrierState(IntEnum):
    """States of a barrier; 1..99 are positions."""

    CLOSED = 0x00
    CLOSING = 0xFC
    STOPPED = 0xFD
    OPENING = 0xFE
    OPEN = 0xFF


_DURATION = Duration("duration")
_TARGET = (u8("target_value"), _DURATION)
_COLOR = u8("component", ColorComponent)
_INDICATORS = (
    Bits("-:3 _count:5"),
    Array("objects", u8("indicator"), u8("property"), u8("value"), count="_count"),
)
_TONE = (u8("tone"), Since(2, u8("volume")))

SWITCHES = (
    CommandClass(0x20, "Basic", 2, {
        0x01: ("Set", u8("target_value")),
        0x02: ("Get",),
        0x03: ("Report", u8("current_value"), Since(2, *_TARGET)),
    }),
    CommandClass(0x25, "Binary Switch", 2, {
        0x01: ("Set", u8("target_value"), Since(2, _DURATION)),
        0x02: ("Get",),
        0x03: ("Report", u8("current_value"), Since(2, *_TARGET)),
    }),
    CommandClass(0x26, "Multilevel Switch", 4, {
        0x01: ("Set", u8("target_value"), Since(2, _DURATION)),
        0x02: ("Get",),
        0x03: ("Report", u8("current_value"), Since(4, *_TARGET)),
        0x04: ("Start Level Change", Bits("direction:2 ignore_start_level:1 secondary_direction:2 -:3"), u8("start_level"),
               Since(2, _DURATION), Since(3, u8("step_size"))),  # direction: 0 up, 1 down
        0x05: ("Stop Level Change",),
        0x06: ("Supported Get",),
        0x07: ("Supported Report", Bits("-:3 primary_type:5"), Since(3, Bits("-:3 secondary_type:5"))),
    }),
    CommandClass(0x33, "Color Switch", 3, {
        0x01: ("Supported Get",),
        0x02: ("Supported Report", Mask("components", 2)),
        0x03: ("Get", _COLOR),
        0x04: ("Report", _COLOR, u8("current_value"), Since(3, *_TARGET)),
        0x05: ("Set", Bits("-:3 _count:5"), Array("colors", _COLOR, u8("value"), count="_count"), Since(2, _DURATION)),
        0x06: ("Start Level Change", Bits("-:1 down:1 ignore_start_level:1 -:5"), _COLOR, u8("start_level"),
               Since(3, _DURATION)),
        0x07: ("Stop Level Change", _COLOR),
    }),
    CommandClass(0x6A, "Window Covering", 1, {
        0x01: ("Supported Get",),
        0x02: ("Supported Report", Bits("-:4 _size:4"), Mask("parameters", "_size")),
        0x03: ("Get", u8("parameter")),
        0x04: ("Report", u8("parameter"), u8("current_value"), *_TARGET),
        0x05: ("Set", Bits("-:3 _count:5"), Array("values", u8("parameter"), u8("value"), count="_count"), Since(1, _DURATION)),
        0x06: ("Start Level Change", Bits("-:1 down:1 -:6"), u8("parameter"), Since(1, _DURATION)),
        0x07: ("Stop Level Change", u8("parameter")),
    }),
    CommandClass(0x66, "Barrier Operator", 1, {
        0x01: ("Set", u8("target_value", BarrierState)),
        0x02: ("Get",),
        0x03: ("Report", u8("state", BarrierState)),
        0x04: ("Signal Supported Get",),
        0x05: ("Signal Supported Report", Mask("subsystems", None, first=1)),  # 1 audible, 2 visual
        0x06: ("Signal Set", u8("subsystem"), u8("state")),
        0x07: ("Signal Get", u8("subsystem")),
        0x08: ("Signal Report", u8("subsystem"), u8("state")),
    }),
    CommandClass(0x79, "Sound Switch", 2, {
        0x01: ("Tones Number Get",),
        0x02: ("Tones Number Report", u8("tones")),
        0x03: ("Tone Info Get", u8("tone")),
        0x04: ("Tone Info Report", u8("tone"), u16("seconds"), u8("_length"), Text("name", "_length")),
        0x05: ("Configuration Set", u8("volume"), u8("default_tone")),
        0x06: ("Configuration Get",),
        0x07: ("Configuration Report", u8("volume"), u8("default_tone")),
        0x08: ("Tone Play Set", *_TONE),
        0x09: ("Tone Play Get",),
        0x0A: ("Tone Play Report", *_TONE),
    }),
    CommandClass(0x87, "Indicator", 4, {
        0x01: ("Set", u8("value"), Since(2, *_INDICATORS)),
        0x02: ("Get", Since(2, u8("indicator"))),
        0x03: ("Report", u8("value"), Since(2, *_INDICATORS)),
        0x04: ("Supported Get", u8("indicator")),
        0x05: ("Supported Report", u8("indicator"), u8("next_indicator"), Bits("-:3 _size:5"), Mask("properties", "_size")),
        0x06: ("Description Get", u8("indicator")),
        0x07: ("Description Report", u8("indicator"), u8("_length"), Text("description", "_length")),
    }),
    CommandClass(0x2B, "Scene Activation", 1, {0x01: ("Set", u8("scene"), Since(1, _DURATION))}),
    CommandClass(0x2C, "Scene Actuator Configuration", 1, {
        0x01: ("Set", u8("scene"), _DURATION, Bits("override:1 -:7"), u8("level")),
        0x02: ("Get", u8("scene")),
        0x03: ("Report", u8("scene"), u8("level"), _DURATION),
    }),
    CommandClass(0x2D, "Scene Controller Configuration", 1, {
        0x01: ("Set", u8("group"), u8("scene"), _DURATION),
        0x02: ("Get", u8("group")),
        0x03: ("Report", u8("group"), u8("scene"), _DURATION),
    }),
    CommandClass(0x22, "Application Status", 1, {
        0x01: ("Busy", u8("status"), u8("wait_seconds")),
        0x02: ("Rejected Request", u8("status")),
    }),
    CommandClass(0x50, "Basic Window Covering", 1, {
        0x01: ("Start Level Change", Bits("-:1 open:1 -:6")),
        0x02: ("Stop Level Change",),
    }),
)  # fmt: skip
