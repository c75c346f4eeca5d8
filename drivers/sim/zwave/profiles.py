"""The devices that a home file can name, as tables: classes with versions, values, and how each is powered and secured. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

S2_ACCESS, S2_AUTHENTICATED, S2_UNAUTHENTICATED, S0 = 0x04, 0x02, 0x01, 0x80  # bits of requested keys (SDS13783)
MANUFACTURER = 0x0000  # no vendor's: Silicon Labs' number for samples


@dataclass(frozen=True, slots=True)
class Parameter:
    """A configuration parameter."""

    number: int
    size: int
    least: int
    most: int
    default: int
    name: str
    info: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One endpoint. `sensors`: type -> scale and decimals; `notifications`: type -> events; `meters`: scale -> decimals."""

    generic: int
    specific: int
    classes: Mapping[int, int]
    values: Mapping[str, Any] = field(default_factory=dict)
    sensors: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    notifications: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    meters: Mapping[int, int] = field(default_factory=dict)
    modes: tuple[int, ...] = ()  # of a thermostat
    setpoints: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # type -> least and most degrees Celsius
    travel: float = 0.0  # seconds from end to end where a Set names no duration
    switch_type: int = 2  # of Multilevel Switch: 2 off and on, 3 down and up
    covering: int = 0  # parameter of Window Covering
    users: int = 0  # of user codes
    scenes: int = 0  # of Central Scene
    tones: tuple[tuple[str, int], ...] = ()  # name and seconds


@dataclass(frozen=True, slots=True)
class Profile:
    """One device type. `power`: mains, sleepy or beam (frequently listening). `keys`: the mask of keys that it asks for."""

    root: Part
    product: int
    endpoints: tuple[Part, ...] = ()
    power: str = "mains"
    keys: int = 0
    secure_only: frozenset[int] = frozenset()  # classes that are never there without security
    role: int = 5  # Z-Wave Plus role type: always on end node
    icon: int = 0x0700
    smart_start: bool = False
    long_range: bool = False
    parameters: tuple[Parameter, ...] = ()
    groups: tuple[str, ...] = ("Lifeline",)
    interval: tuple[int, int, int, int] = (60, 86_400, 300, 60)  # seconds: least, most, default, step
    firmware: tuple[int, int] = (1, 4)


_PLUS = {
    0x5E: 2,
    0x72: 2,
    0x86: 3,
    0x85: 3,
    0x8E: 4,
    0x59: 3,
    0x5A: 1,
    0x73: 1,
    0x6C: 1,
    0x55: 2,
    0x7A: 8,
    0x70: 4,
    0x87: 3,
}
_S2 = {**_PLUS, 0x9F: 1}
_BATTERY = {0x80: 1}
_SLEEPY = {**_BATTERY, 0x84: 2}
_STANDARD = S2_AUTHENTICATED | S2_UNAUTHENTICATED
_LED = Parameter(1, 1, 0, 2, 1, "Status light", "0 off, 1 on with the load, 2 off with the load")
_THRESHOLD = Parameter(2, 2, 0, 1000, 50, "Report threshold", "In tenths of the unit")
_DELAY = Parameter(3, 4, -1, 86_400, 60, "Delay", "Seconds; -1 for ever")
_PARAMETERS = (_LED, _THRESHOLD, _DELAY)


def _mains(product: int, part: Part, **more: Any) -> Profile:
    return Profile(part, product, **{"keys": _STANDARD, "parameters": _PARAMETERS, **more})


def _sensor(product: int, classes: Mapping[int, int], *, values: Mapping[str, Any], **more: Any) -> Profile:
    """A sleepy battery device with S2."""
    kinds = {key: more.pop(key) for key in ("sensors", "notifications") if key in more}
    part = Part(0x07, 0x01, {**_S2, **_SLEEPY, **classes}, {"battery": 92, **values}, **kinds)
    wanted = {"keys": _STANDARD, "power": "sleepy", "role": 6, "icon": 0x0C00, "parameters": _PARAMETERS}
    return Profile(part, product, **{**wanted, **more})


_METER = {0: 3, 2: 1, 4: 1, 5: 3}  # kWh, W, V, A
_METERED = {"meter/0": 12.345, "meter/2": 0.0, "meter/4": 230.1, "meter/5": 0.0, "load": 60.0}
_SWITCH = {0x20: 2, 0x25: 2}
_DIMMER = {0x20: 2, 0x26: 4}
_LOCK = {0x20: 1, 0x62: 4, 0x63: 2, 0x4C: 1, 0x71: 8, 0x80: 1}
_LOCK_VALUES = {"lock": 0xFF, "door": True, "battery": 87, "notification/6": 0}
_LOCK_EVENTS = {6: (1, 2, 3, 4, 5, 6, 11)}
_LOCKED = frozenset({0x20, 0x62, 0x63, 0x4C})
_SOCKET = Part(0x10, 0x01, {0x5E: 2, **_SWITCH, 0x32: 5, 0x6C: 1, 0x9F: 1}, {"switch": 0, **_METERED},
               meters=_METER)  # fmt: skip

PROFILES: dict[str, Profile] = {
    "switch": _mains(1, Part(0x10, 0x01, {**_S2, **_SWITCH}, {"switch": 0})),
    "dimmer": _mains(2, Part(0x11, 0x01, {**_S2, **_DIMMER, 0x5B: 3}, {"level": 0}, scenes=2), icon=0x0600),
    "color-lamp": _mains(
        3,
        Part(
            0x11,
            0x01,
            {**_S2, **_DIMMER, 0x33: 3},
            {"level": 0, **{f"color/{component}": 0 for component in range(5)}},
        ),
        icon=0x0600,
    ),
    "plug": _mains(4, Part(0x10, 0x01, {**_S2, **_SWITCH, 0x32: 5}, {"switch": 0, **_METERED}, meters=_METER)),
    "old-switch": Profile(Part(0x10, 0x01, {0x25: 1, 0x27: 1, 0x72: 1, 0x86: 1}, {"switch": 0}), 5, role=0, groups=()),
    "multisensor": _sensor(
        6,
        {0x31: 11, 0x71: 8},
        values={"sensor/1": 21.5, "sensor/5": 45.0, "sensor/3": 320.0, "notification/7": 0},
        sensors={1: (0, 1), 5: (0, 0), 3: (1, 0)},
        notifications={7: (3, 8)},
    ),
    "motion-sensor": _sensor(
        7, {0x71: 8, 0x30: 2}, values={"notification/7": 0, "binary/12": 0}, notifications={7: (8,)}
    ),
    "door-sensor": _sensor(8, {0x71: 8}, values={"notification/6": 23}, notifications={6: (22, 23)}),
    "water-sensor": _sensor(9, {0x71: 8}, values={"notification/5": 0}, notifications={5: (2,)}),
    "smoke-alarm": _sensor(10, {0x71: 8}, values={"notification/1": 0}, notifications={1: (2, 3)}),
    "co-alarm": _sensor(11, {0x71: 8}, values={"notification/2": 0}, notifications={2: (2, 3)}),
    "smart-start-sensor": _sensor(
        12,
        {0x31: 11, 0x71: 8},
        values={"sensor/1": 19.0, "notification/6": 23},
        sensors={1: (0, 1)},
        notifications={6: (22, 23)},
        smart_start=True,
        long_range=True,
    ),
    "siren": _mains(
        13,
        Part(
            0x10,
            0x05,
            {**_S2, 0x20: 2, 0x79: 2, 0x71: 8},
            {"tone": 0, "volume": 50, "default_tone": 1, "tone_volume": 0, "notification/14": 0},
            tones=(("Siren", 60), ("Doorbell", 3), ("Beep", 1)),
            notifications={14: (1,)},
        ),
        icon=0x0D00,
    ),
    "lock": Profile(
        Part(0x40, 0x03, {**_S2, **_LOCK}, _LOCK_VALUES, notifications=_LOCK_EVENTS, users=10),
        14,
        power="beam",
        keys=S2_ACCESS,
        secure_only=_LOCKED,
        role=7,
        icon=0x0300,
    ),
    "s0-lock": Profile(
        Part(
            0x40,
            0x03,
            {0x72: 1, 0x86: 2, 0x98: 1, 0x85: 2, 0x62: 2, 0x63: 1, 0x80: 1},
            {"lock": 0xFF, "door": True, "battery": 64},
            users=5,
        ),
        15,
        power="beam",
        keys=S0,
        secure_only=_LOCKED,
        role=0,
    ),
    "thermostat": Profile(
        Part(
            0x08,
            0x06,
            {**_S2, **_SLEEPY, 0x20: 2, 0x40: 3, 0x43: 3, 0x42: 1, 0x44: 3, 0x45: 1, 0x47: 1, 0x31: 11, 0x81: 1},
            {
                "battery": 71,
                "mode": 1,
                "setpoint/1": 21.0,
                "setpoint/2": 25.0,
                "fan_mode": 0,
                "setback": [0, 127],
                "sensor/1": 20.5,
            },
            modes=(0, 1, 2, 3, 11),
            setpoints={1: (5, 30), 2: (16, 35)},
            sensors={1: (0, 1)},
        ),
        16,
        power="sleepy",
        keys=_STANDARD,
        role=6,
        icon=0x1200,
        parameters=_PARAMETERS,
    ),
    "cover": _mains(
        17,
        Part(0x11, 0x07, {**_S2, **_DIMMER, 0x6A: 1}, {"level": 0}, travel=2.0, switch_type=3, covering=13),
        icon=0x1900,
    ),
    "garage-door": Profile(
        Part(
            0x40,
            0x07,
            {**_S2, 0x66: 1, 0x71: 8},
            {"barrier": 0, "signal/1": 0, "notification/6": 0},
            travel=2.0,
            notifications={6: (68, 70, 73)},
        ),
        18,
        keys=S2_ACCESS,
        secure_only=frozenset({0x66}),
        icon=0x0300,
    ),
    "keypad": Profile(
        Part(
            0x40,
            0x0B,
            {**_S2, 0x63: 2, 0x6F: 1, 0x80: 1, 0x71: 8, 0x87: 3},
            {"battery": 80, "notification/6": 0, "entry.config": [8, 5]},
            users=20,
            notifications={6: (5, 6)},
        ),
        19,
        power="beam",
        keys=S2_ACCESS | _STANDARD,
        secure_only=frozenset({0x63}),
        role=7,
        icon=0x1600,
    ),
    "remote": Profile(
        Part(0x18, 0x01, {**_S2, **_SLEEPY, 0x5B: 3}, {"battery": 99, "slow_refresh": False}, scenes=4),
        20,
        power="sleepy",
        keys=_STANDARD,
        role=6,
        icon=0x0500,
        groups=("Lifeline", "Button 1"),
    ),
    "power-strip": Profile(
        Part(0x10, 0x04, {**_S2, **_SWITCH, 0x60: 4, 0x32: 5}),
        21,
        endpoints=(_SOCKET, _SOCKET, _SOCKET),
        keys=_STANDARD,
        parameters=_PARAMETERS,
    ),
    "protected-switch": _mains(
        22,
        Part(0x10, 0x01, {**_S2, **_SWITCH, 0x75: 2, 0x77: 1, 0x2B: 1}, {"switch": 0, "protection": [0, 0]}),
    ),
}
