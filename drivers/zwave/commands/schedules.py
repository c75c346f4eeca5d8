"""Command classes that run by the clock: irrigation, climate schedules; and the language of a device (SDS13781). PURE."""

from drivers.zwave.commands.spec import CommandClass, scale_head
from drivers.zwave.layout import Array, Bits, Field, Since, i8, rest, u8, u16
from drivers.zwave.layout_values import Decimals, Text


def _number(name: str) -> tuple[Field, Field]:
    return scale_head(f"_{name}_p", f"{name}_scale", f"_{name}_s"), Decimals(name, (f"_{name}_p", f"_{name}_s"))


_WEEKDAY = Bits("-:5 weekday:3")
_POINTS = Array(
    "points", Bits("-:3 hour:5"), Bits("-:2 minute:6"), i8("state"), count=9
)  # state 0x7F: unused, as in setbacks
_SCHEDULE = (_WEEKDAY, _POINTS)
_OVERRIDE = (Bits("-:6 type:2"), i8("state"))
_VALVE = (Bits("-:7 master:1"), u8("valve"))
_SYSTEM = (
    u8("master_valve_delay"),
    *_number("high_pressure"),
    *_number("low_pressure"),
    Bits("valid:1 -:5 moisture:1 rain:1"),
)
_CURRENTS = (u8("high_current"), u8("low_current"))  # x 10 mA
_VALVE_CONFIGURATION = (*_VALVE, *_CURRENTS, *_number("maximum_flow"), *_number("high_flow"), *_number("low_flow"),
                        Bits("-:6 moisture_sensor:1 rain_sensor:1"))  # fmt: skip
_TABLE = (u8("table"), Array("entries", u8("valve"), u16("seconds")))
_LANGUAGE = (Text("language", 3), Since(1, Text("country", 2)))

SCHEDULES = (
    CommandClass(0x46, "Climate Control Schedule", 1, {
        0x01: ("Set", *_SCHEDULE),
        0x02: ("Get", _WEEKDAY),
        0x03: ("Report", *_SCHEDULE),
        0x04: ("Changed Get",),
        0x05: ("Changed Report", u8("counter")),
        0x06: ("Override Set", *_OVERRIDE),
        0x07: ("Override Get",),
        0x08: ("Override Report", *_OVERRIDE),
    }),
    CommandClass(0x6B, "Irrigation", 1, {
        0x01: ("System Info Get",),
        0x02: ("System Info Report", Bits("-:7 master_valve:1"), u8("valves"), u8("tables"), Bits("-:4 max_table_size:4")),
        0x03: ("System Status Get",),
        0x04: ("System Status Report", u8("voltage"),
               Bits("-:4 moisture_sensor:1 rain_sensor:1 pressure_sensor:1 flow_sensor:1"), *_number("flow"), *_number("pressure"),
               u8("shutoff_hours"),
               Bits("-:3 valve_error:1 low_pressure:1 high_pressure:1 emergency_shutdown:1 not_programmed:1"),
               Bits("-:7 master_valve_open:1"), u8("first_open_valve")),
        0x05: ("System Config Set", *_SYSTEM),
        0x06: ("System Config Get",),
        0x07: ("System Config Report", *_SYSTEM),
        0x08: ("Valve Info Get", *_VALVE),
        0x09: ("Valve Info Report", Bits("-:6 connected:1 master:1"), u8("valve"), u8("nominal_current"),
               Bits("-:2 low_flow:1 high_flow:1 maximum_flow:1 low_current:1 high_current:1 short_circuit:1")),
        0x0A: ("Valve Config Set", *_VALVE_CONFIGURATION),
        0x0B: ("Valve Config Get", *_VALVE),
        0x0C: ("Valve Config Report", *_VALVE_CONFIGURATION),
        0x0D: ("Valve Run", *_VALVE, u16("seconds")),
        0x0E: ("Valve Table Set", *_TABLE),
        0x0F: ("Valve Table Get", u8("table")),
        0x10: ("Valve Table Report", *_TABLE),
        0x11: ("Valve Table Run", rest("tables")),
        0x12: ("System Shutoff", u8("hours")),  # 0xFF: until the next command
    }),
    CommandClass(0x89, "Language", 1, {0x01: ("Set", *_LANGUAGE), 0x02: ("Get",), 0x03: ("Report", *_LANGUAGE)}),
)  # fmt: skip
