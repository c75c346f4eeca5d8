"""What simulated devices are made of: endpoints, clusters and attributes with their first values. PURE data."""

from dataclasses import dataclass, field
from typing import Any

from drivers.sim.zigbee.zcl import (
    BITMAP8,
    BITMAP16,
    BITMAP32,
    BOOL,
    ENUM8,
    ENUM16,
    EUI64,
    FLOAT,
    S16,
    S24,
    STRING,
    U8,
    U16,
    U24,
    U32,
    U48,
)

Table = dict[int, tuple[int, Any]]  # attribute -> (type, value)


@dataclass(frozen=True, slots=True)
class Part:
    """One endpoint."""

    device_type: int
    inputs: dict[int, Table]
    outputs: tuple[int, ...] = ()
    endpoint: int = 1


@dataclass(frozen=True, slots=True)
class Profile:
    parts: tuple[Part, ...]
    model: str
    battery: bool = False
    sleepy: bool = False
    manufacturer: str = "Simulated"
    extra: dict[str, Any] = field(default_factory=dict)


IDENTIFY: Table = {0x0000: (U16, 0)}
GROUPS: Table = {0x0000: (BITMAP8, 0)}
SCENES: Table = {0x0000: (U8, 0), 0x0001: (U8, 0), 0x0002: (U16, 0), 0x0003: (BOOL, False), 0x0004: (BITMAP8, 0)}
ON_OFF: Table = {0x0000: (BOOL, False), 0x4000: (BOOL, True), 0x4001: (U16, 0), 0x4002: (U16, 0), 0x4003: (ENUM8, 0xFF)}
LEVEL: Table = {0x0000: (U8, 254), 0x0001: (U16, 0), 0x0010: (U16, 0), 0x0011: (U8, 0xFF), 0x4000: (U8, 0xFF)}
COLOR: Table = {
    0x0000: (U8, 0),
    0x0001: (U8, 0),
    0x0002: (U16, 0),
    0x0003: (U16, 24939),
    0x0004: (U16, 24701),
    0x0007: (U16, 370),
    0x0008: (ENUM8, 2),
    0x4001: (ENUM8, 2),
    0x400A: (BITMAP16, 0x1F),
    0x400B: (U16, 153),
    0x400C: (U16, 500),
}
BATTERY: Table = {0x0020: (U8, 30), 0x0021: (U8, 180)}
THERMOSTAT: Table = {
    0x0000: (S16, 2050),
    0x0003: (S16, 500),
    0x0004: (S16, 3000),
    0x0008: (U8, 0),
    0x0011: (S16, 2600),
    0x0012: (S16, 2000),
    0x0015: (S16, 500),
    0x0016: (S16, 3000),
    0x001B: (ENUM8, 4),
    0x001C: (ENUM8, 4),
    0x0029: (BITMAP16, 0),
}
FAN: Table = {0x0000: (ENUM8, 5), 0x0001: (ENUM8, 2)}
COVERING: Table = {0x0000: (ENUM8, 0), 0x0007: (BITMAP8, 3), 0x0008: (U8, 0), 0x0017: (BITMAP8, 0)}
LOCK: Table = {
    0x0000: (ENUM8, 1),
    0x0001: (ENUM8, 0),
    0x0002: (BOOL, True),
    0x0003: (ENUM8, 1),
    0x0023: (U32, 0),
    0x0025: (ENUM8, 0),
}
ELECTRICAL: Table = {
    0x0000: (BITMAP32, 8),
    0x0505: (U16, 2301),
    0x0508: (U16, 120),
    0x050B: (S16, 275),
    0x0600: (U16, 1),
    0x0601: (U16, 10),
    0x0602: (U16, 1),
    0x0603: (U16, 1000),
    0x0604: (U16, 1),
    0x0605: (U16, 10),
}
METERING: Table = {
    0x0000: (U48, 12345),
    0x0300: (ENUM8, 0),
    0x0301: (U24, 1),
    0x0302: (U24, 1000),
    0x0303: (BITMAP8, 0),
    0x0306: (BITMAP8, 0),
    0x0400: (S24, 27),
}


def zone(kind: int) -> Table:
    """IAS Zone of a type (ZCL 8.2)."""
    return {
        0x0000: (ENUM8, 0),
        0x0001: (ENUM16, kind),
        0x0002: (BITMAP16, 0),
        0x0010: (EUI64, 0),
        0x0011: (U8, 0xFF),
    }


def measured(kind: int, value: Any, low: Any, high: Any) -> Table:
    return {0x0000: (kind, value), 0x0001: (kind, low), 0x0002: (kind, high)}


TEMPERATURE = measured(S16, 2150, -4000, 8500)
HUMIDITY = measured(U16, 4550, 0, 10000)
LIGHT = {0x0003: IDENTIFY, 0x0004: GROUPS, 0x0005: SCENES, 0x0006: ON_OFF}


def basic(profile: Profile, name: str) -> Table:
    """Every device's Basic cluster."""
    return {
        0x0000: (U8, 8),
        0x0001: (U8, 1),
        0x0004: (STRING, profile.manufacturer),
        0x0005: (STRING, profile.model),
        0x0006: (STRING, "20260101"),
        0x0007: (ENUM8, 3 if profile.battery else 1),
        0x0010: (STRING, name[:16]),
        0x4000: (STRING, "1.0.0"),
    }


def _sensor(model: str, device_type: int, clusters: dict[int, Table]) -> Profile:
    inputs = {0x0001: BATTERY, 0x0003: IDENTIFY, **clusters}
    return Profile((Part(device_type, inputs, (0x0019,)),), model, battery=True, sleepy=True)


def _mains(model: str, device_type: int, clusters: dict[int, Table], outputs: tuple[int, ...] = (0x0019,)) -> Profile:
    return Profile((Part(device_type, {0x0003: IDENTIFY, **clusters}, outputs),), model)


PROFILES: dict[str, Profile] = {
    "color-bulb": _mains("SIM-BULB-RGB", 0x010D, {**LIGHT, 0x0008: LEVEL, 0x0300: COLOR}),
    "dimmable-bulb": _mains("SIM-BULB-DIM", 0x0101, {**LIGHT, 0x0008: LEVEL}),
    "led-strip": _mains("SIM-STRIP", 0x010D, {**LIGHT, 0x0008: LEVEL, 0x0300: COLOR}),
    "plug": _mains("SIM-PLUG", 0x010A, {**LIGHT, 0x0702: METERING, 0x0B04: ELECTRICAL}),
    "switch": _mains("SIM-SWITCH", 0x0002, LIGHT),
    "water-valve": _mains("SIM-VALVE", 0x0002, LIGHT),
    "radiator-valve": _sensor("SIM-TRV", 0x0301, {0x0006: ON_OFF, 0x0201: THERMOSTAT}),
    "thermostat": _mains("SIM-THERMOSTAT", 0x0301, {0x0006: ON_OFF, 0x0201: THERMOSTAT, 0x0202: FAN}),
    "garage-door": _mains("SIM-GARAGE", 0x0202, {**LIGHT, 0x0008: LEVEL, 0x0102: COVERING}),
    "smoke-alarm": _sensor("SIM-SMOKE", 0x0402, {0x0006: ON_OFF, 0x0402: TEMPERATURE, 0x0500: zone(0x0028)}),
    "co-alarm": _sensor("SIM-CO", 0x0402, {0x0500: zone(0x002B)}),
    "motion": _sensor("SIM-MOTION", 0x0402, {0x0500: zone(0x000D)}),
    "occupancy": _sensor("SIM-OCCUPANCY", 0x0107, {0x0406: {0x0000: (BITMAP8, 0), 0x0001: (ENUM8, 0)}}),
    "contact": _sensor("SIM-CONTACT", 0x0402, {0x0500: zone(0x0015)}),
    "leak": _sensor("SIM-LEAK", 0x0402, {0x0500: zone(0x002A)}),
    "vibration": _sensor("SIM-VIBRATION", 0x0402, {0x0500: zone(0x002D)}),
    "climate": _sensor("SIM-CLIMATE", 0x0302, {0x0402: TEMPERATURE, 0x0405: HUMIDITY}),
    "fan": _mains("SIM-FAN", 0x0307, {0x0006: ON_OFF, 0x0202: FAN}),
    "lock": _mains("SIM-LOCK", 0x000A, {0x0101: LOCK}),
    "light-sensor": _sensor("SIM-LUX", 0x0106, {0x0400: measured(U16, 20000, 1, 50000)}),
    "pressure": _sensor("SIM-PRESSURE", 0x0305, {0x0403: measured(S16, 1013, 300, 1100)}),
    "flow": _mains("SIM-FLOW", 0x0306, {0x0404: measured(U16, 12, 0, 1000)}),
    "air-quality": _mains(
        "SIM-AIR",
        0x0302,
        {0x0402: TEMPERATURE, 0x040D: measured(FLOAT, 0.0005, 0.0, 0.005), 0x042A: measured(FLOAT, 8.0, 0.0, 500.0)},
    ),
    "remote": Profile(
        (Part(0x0820, {0x0001: BATTERY, 0x0003: IDENTIFY}, (0x0003, 0x0005, 0x0006, 0x0008, 0x0019)),),
        "SIM-REMOTE",
        battery=True,
        sleepy=True,
    ),
}
