"""The words of the Z-Wave catalogue: an interviewed node, a row of the table, and what a translation yields. PURE."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.zwave.codec import Command

ROOT = 0  # the endpoint of what is not addressed through Multi Channel


# ---- what the interview learns ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setpoint:
    """How a thermostat writes one setpoint: `scale` 0 °C, 1 °F; the limits in °C, None where the device names none."""

    minimum: float | None = None
    maximum: float | None = None
    scale: int = 0
    precision: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Meter:
    """Type and scales (numbered as by `sensors.meter_scale`); `rate_types` 0 unknown, 1 consumed, 2 produced, 3 both."""

    type: int
    scales: frozenset[int]
    rate_types: int = 0


@dataclass(frozen=True, slots=True)
class Lock:
    """Door Lock Capabilities; before version 4 nothing tells them, so all that a report may hold is taken as there."""

    modes: frozenset[int] = frozenset()
    door: bool = True
    bolt: bool = True
    auto_relock: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What one endpoint answered to `needs`; numbers as on the wire. None: not answered (yet), or too old to be asked."""

    sensors: Mapping[int, frozenset[int]] | None = None  # Multilevel Sensor type -> scales, none: not answered
    binary: frozenset[int] | None = None  # Binary Sensor types
    alarms: frozenset[int] | None = None  # Alarm Sensor types
    notifications: Mapping[int, frozenset[int] | None] | None = None  # type -> states and events
    meter: Meter | None = None
    components: frozenset[int] | None = None  # of a Color Switch
    modes: frozenset[int] | None = None  # of a Thermostat
    fan_modes: frozenset[int] | None = None
    setpoints: Mapping[int, Setpoint | None] | None = None
    lock: Lock | None = None
    lock_configuration: Mapping[str, Any] | None = None
    users: int | None = None
    keypad_modes: frozenset[int] | None = None
    switch_type: int | None = None  # of a Multilevel Switch: 1 off/on, 2 down/up, 3 close/open
    coverings: frozenset[int] | None = None  # parameters of a Window Covering
    tones: int | None = None
    scenes: Mapping[int, frozenset[int]] | None = None  # Central Scene -> key attributes
    signals: frozenset[int] | None = None  # of a Barrier Operator: 1 audible, 2 visual
    indicator: frozenset[int] | None = None  # properties of the indicator 0x50, "node identify"
    groups: int | None = None
    group_names: Mapping[int, str] = field(default_factory=dict)
    lifeline: frozenset[tuple[int, int]] | None = None  # (class, command) that group 1 sends


@dataclass(frozen=True, slots=True)
class ZWaveEndpoint:
    """One endpoint. `classes`: supported command class -> version; `controlled`: classes that it sends to others."""

    id: int
    classes: Mapping[int, int]
    generic: int = 0
    specific: int = 0
    controlled: frozenset[int] = frozenset()
    installer_icon: int = 0
    user_icon: int = 0
    facts: Facts = field(default_factory=Facts)

    def version(self, command_class: int) -> int:
        """Its version of a class, 0 where it has none."""
        return self.classes.get(command_class, 0)


@dataclass(frozen=True, slots=True)
class ZWaveNode:
    """An interviewed node. `role` and `plus` as Z-Wave Plus Info says them; `listening`: reachable at any time without a beam."""

    id: int
    endpoints: tuple[ZWaveEndpoint, ...]
    manufacturer_id: int = 0
    product_type: int = 0
    product_id: int = 0
    role: int | None = None
    plus: int = 0
    listening: bool = True


# ---- what the driver does for a device ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ZWaveGet:
    """A Get, and the report that answers it: its name, and the values that it must have. `fills`: properties that it tells."""

    endpoint: int
    command: Command
    answer: str
    match: Mapping[str, Any] = field(default_factory=dict)
    fills: tuple[str, ...] = ()

    def answered_by(self, command: Command) -> bool:
        """Whether `command` is the answer."""
        return command.name == self.answer and all(command.get(name) == value for name, value in self.match.items())


@dataclass(frozen=True, slots=True)
class ZWaveSet:
    """A command that changes something.

    `confirm` is read back after `seconds` where no report came (None: the device says when it has arrived: travel, a long fade).
    `supervised`: a supervised Success is the confirmation; then `proves` are the reports that a device would send, to be `heard`. Where
    they are not known beforehand (the last level, a door on its way) `proves` is empty and `confirm` is read.
    """

    endpoint: int
    command: Command
    confirm: tuple[ZWaveGet, ...] = ()
    seconds: float | None = 0.0
    supervised: bool = True
    proves: tuple[Command, ...] = ()


Step = ZWaveGet | ZWaveSet


@dataclass(frozen=True, slots=True)
class Poll:
    """What an endpoint does not report by itself, and how often to ask for it in seconds."""

    get: ZWaveGet
    every: float


# ---- what a device says ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the row's own capability."""

    name: str
    fields: dict[str, Any]


# ---- a row of the table ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Place:
    """A row at an endpoint. `last`: the newest values of its capability; `memory`: what its scalings must remember."""

    id: str
    endpoint: ZWaveEndpoint
    last: dict[str, Any]
    memory: dict[str, Any]


Said = dict[str, Any] | Event
Read = Callable[[Command, Place], Sequence[Said]]
Act = Callable[[Mapping[str, Any], Place], Sequence[ZWaveSet]]
Fact = Callable[[ZWaveEndpoint], Any]


@dataclass(frozen=True, slots=True)
class Update:
    """How properties are changed, in one command where the device has one. `together`: one of them alone would be nonsense."""

    names: tuple[str, ...]
    act: Act
    together: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """How one command class, or a part of it, becomes one capability.

    Rows of one `part` and capability are one: the first part that an endpoint has is on the endpoint itself, others (and where `own`)
    are on endpoints named after it, so that a tamper switch does not hide the door contact.
    """

    command_class: int
    capability: str
    part: str
    kind: str  # the device type, in the words of the lists that clouds publish
    properties: tuple[str, ...]
    reports: Mapping[str, Read]
    gets: Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]
    when: Callable[[ZWaveEndpoint], bool] = lambda _endpoint: True
    own: bool = False
    sent: bool = False  # to others: the node need not support the class, `when` decides alone
    actions: Mapping[str, Act] = field(default_factory=dict)
    updates: tuple[Update, ...] = ()
    events: tuple[str, ...] = ()
    constants: Callable[[ZWaveEndpoint], dict[str, Any]] = lambda _endpoint: {}


def nothing(_endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    """The gets of what is only ever told."""
    return ()
