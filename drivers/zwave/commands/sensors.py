"""Command classes that tell: sensors, meters, notifications, scenes of buttons (SDS13781). PURE."""

from enum import IntEnum

from drivers.zwave.commands.spec import CommandClass, scale_head
from drivers.zwave.layout import Bits, Bytes, Since, Values, When, rest, u8, u16
from drivers.zwave.layout_values import Decimals, Joined, Mask, Present


class KeyAttribute(IntEnum):
    """What was done to a button."""

    PRESSED = 0
    RELEASED = 1
    HELD_DOWN = 2
    PRESSED_2 = 3
    PRESSED_3 = 4
    PRESSED_4 = 5
    PRESSED_5 = 6


_METER_HEAD = (Bits("_scale_high:1 rate_type:2 type:5"), Bits("_precision:3 _scale_low:2 _size:3"))
_METER_SCALE = Joined("scale", ("_scale_high", 1), ("_scale_low", 2))

SENSORS = (
    CommandClass(0x30, "Binary Sensor", 2, {
        0x01: ("Supported Get",),
        0x02: ("Get", Since(2, u8("type"))),
        0x03: ("Report", u8("value"), Since(2, u8("type"))),
        0x04: ("Supported Report", Mask("types", None)),
    }),
    CommandClass(0x31, "Multilevel Sensor", 11, {
        0x01: ("Supported Get",),
        0x02: ("Supported Report", Mask("types", None, first=1)),
        0x03: ("Supported Scale Get", u8("type")),
        0x04: ("Get", Since(5, u8("type"), Bits("-:3 scale:2 -:3"))),
        0x05: ("Report", u8("type"), scale_head(), Decimals("value")),
        0x06: ("Supported Scale Report", u8("type"), Mask("scales", 1)),
    }),
    CommandClass(0x32, "Meter", 6, {
        0x01: ("Get", Since(2, Bits("rate_type:2 scale:3 -:3"), Since(4, u8("scale_2")))),
        0x02: ("Report", *_METER_HEAD, _METER_SCALE, Decimals("value"),
               # delta_time: seconds since the previous value, 0 where there is none, 0xFFFF unknown
               Since(2, u16("delta_time"), When(lambda values: values["delta_time"], Decimals("previous_value"))),
               Since(4, u8("scale_2"))),
        0x03: ("Supported Get",),
        0x04: ("Supported Report", Bits("reset:1 rate_types:2 type:5"), Bits("_more:1 scales:7"),
               Present("_more", "scales_2"), When(lambda values: values["_more"], u8("_size"), Bytes("scales_2", "_size"))),
        0x05: ("Reset", Since(6, *_METER_HEAD, _METER_SCALE, Decimals("value"), Since(6, u8("scale_2")))),
    }),
    CommandClass(0x71, "Notification", 8, {
        0x01: ("Event Supported Get", u8("type")),
        0x02: ("Event Supported Report", u8("type"), Bits("-:3 _size:5"), Mask("events", "_size")),
        0x04: ("Get", u8("v1_type"), Since(2, u8("type")), Since(3, u8("event"))),
        0x05: ("Report", u8("v1_type"), u8("v1_level"),
               Since(2, u8("_source"), u8("status"), u8("type"), u8("event"), Bits("_sequenced:1 -:2 _size:5"),
                     Bytes("parameters", "_size", clamp=True),
                     Present("_sequenced", "sequence"), When(lambda values: values["_sequenced"], Since(3, u8("sequence"))))),
        0x06: ("Set", u8("type"), u8("status")),
        0x07: ("Supported Get",),
        0x08: ("Supported Report", Bits("v1_alarm:1 -:2 _size:5"), Mask("types", "_size")),
    }),
    CommandClass(0x9C, "Alarm Sensor", 1, {
        0x01: ("Get", u8("type")),
        0x02: ("Report", u8("source"), u8("type"), u8("state"), u16("seconds")),
        0x03: ("Supported Get",),
        0x04: ("Supported Report", u8("_size"), Mask("types", "_size")),
    }),
    CommandClass(0x5B, "Central Scene", 3, {
        0x01: ("Supported Get",),
        0x02: ("Supported Report", u8("scenes"), Since(2, Bits("slow_refresh:1 -:4 key_bytes:2 identical:1"), rest("keys"))),
        0x03: ("Notification", u8("sequence"), Bits("slow_refresh:1 -:4 key:3", {"key": KeyAttribute}), u8("scene")),
        0x04: ("Configuration Set", Bits("slow_refresh:1 -:7")),
        0x05: ("Configuration Get",),
        0x06: ("Configuration Report", Bits("slow_refresh:1 -:7")),
    }),
    CommandClass(0x90, "Energy Production", 1, {
        0x02: ("Get", u8("parameter")),
        0x03: ("Report", u8("parameter"), scale_head(), Decimals("value")),
    }),
)  # fmt: skip

EXTENDED_SCALE = 7  # a meter scale that goes on in `scale_2`


def meter_scale(values: Values) -> int:
    """The scale of a Meter Report or Get as one number: 0..6, then the second scale byte."""
    scale = int(values["scale"])
    return scale + int(values.get("scale_2", 0)) if scale == EXTENDED_SCALE else scale


def meter_scales(values: Values) -> list[int]:
    """The scales of a Meter Supported Report, numbered as by `meter_scale`."""
    mask = int(values["scales"]) | int.from_bytes(values.get("scales_2", b""), "little") << EXTENDED_SCALE
    return [bit for bit in range(mask.bit_length()) if mask & 1 << bit]


def scene_keys(values: Values) -> dict[int, list[KeyAttribute]]:
    """What the buttons of a Central Scene Supported Report can say, by scene. Version 1 devices know three attributes."""
    scenes = range(1, int(values["scenes"]) + 1)
    if "keys" not in values:
        return {scene: [KeyAttribute.PRESSED, KeyAttribute.RELEASED, KeyAttribute.HELD_DOWN] for scene in scenes}
    size = int(values["key_bytes"])
    found = {}
    for scene in scenes:
        at = 0 if values["identical"] else (scene - 1) * size
        mask = int.from_bytes(values["keys"][at : at + size], "little")
        found[scene] = [key for key in KeyAttribute if mask & 1 << key]
    return found
