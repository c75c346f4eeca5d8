"""The words that the hub, its radios and its clouds share. Frozen data, no behaviour beyond its own consistency.

A *device* has *endpoints*, an endpoint has *capabilities* (`matter.OnOff@1.4`), a capability has properties, actions and events, named
and scaled as in the Matter 1.4 cluster of that name. JSON values only: None, bool, int, float, str, list, dict.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

JsonValue = Any


class Availability(StrEnum):
    """Whether a device can be reached, and if not, whose fault it is."""

    ONLINE = "online"
    OFFLINE = "offline"
    RADIO_AWAY = "radio_away"  # the stick is gone, nothing is known of the device
    UNKNOWN = "unknown"  # known from the database, not heard since the radio came up


@dataclass(frozen=True, slots=True)
class DeviceId:
    """One device of one radio. `radio` is the name in [radios.<name>]; `key` never changes for the hardware (EUI64, node id)."""

    radio: str
    key: str

    def __str__(self) -> str:
        return f"{self.radio}/{self.key}"


@dataclass(frozen=True, slots=True)
class Capability:
    """What one capability of an endpoint offers; the lists hold names from its schema document."""

    id: str  # matter.OnOff@1.4
    name: str  # On/Off
    version: str  # cluster revision, an integer as text
    properties: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of a device; `id` matches [0-9a-zA-Z]{1,64}."""

    id: str
    device_types: tuple[str, ...]
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its interview told it."""

    id: DeviceId
    node_id: str  # zb.539D+4A1D
    endpoints: tuple[Endpoint, ...]
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    address: str = ""  # EUI64 or MAC, as printed on the device
    battery: bool = False
    sleepy: bool = False
    unmapped: tuple[str, ...] = ()  # what the device has and no capability covers, in the words of the radio
    secure: bool = True  # joined with an install code, S2, bond: what the radio's policy calls secure


# ---- what a driver tells the hub -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RadioUp:
    """The radio is connected and its network runs. `identity` names the hardware (EUI64, home id)."""

    radio: str
    identity: str
    details: Mapping[str, str] = field(default_factory=dict)  # channel, pan_id, firmware


@dataclass(frozen=True, slots=True)
class RadioDown:
    """The radio is gone; the supervisor says so, not the driver."""

    radio: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceJoining:
    """A step of a join: stage is joined, securing, pin, secured, interviewing, configuring, failed; `detail` is for people.

    With `seconds` the driver waits so long for a person's answer (agent.driver.Asking).
    """

    id: DeviceId
    stage: str
    detail: str = ""
    node_id: str = ""
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class DeviceFound:
    """A device is interviewed and usable: after a join, a re-interview, or (`known`) after a start from the radio's own database.

    `expected`: the radio was told of this device before, and let it in whenever it came (SmartStart).
    """

    device: Device
    known: bool = False
    expected: bool = False


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A device left or was removed from the radio's network."""

    id: DeviceId
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceAwake:
    """A sleeping device was heard: what waits for it can be sent now."""

    id: DeviceId


@dataclass(frozen=True, slots=True)
class AvailabilityChanged:
    id: DeviceId
    availability: Availability


@dataclass(frozen=True, slots=True)
class Report:
    """Values that a device reported or answered; never what the hub hopes them to be."""

    id: DeviceId
    endpoint: str
    capability: str
    properties: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """Something happened at a device that is no state: a button was pressed, an alarm raised."""

    id: DeviceId
    endpoint: str
    capability: str
    event: str
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JoinWindow:
    """The radio's join window changed; `seconds` is what remains, 0 when it is closed."""

    radio: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A step of an exclusion window: open (for `seconds`), found, left, failed (`detail` says why), closed.

    Whatever device is asked to leaves its network then. `device`: the one of ours that left; None: one of another network, or of none.
    """

    radio: str
    stage: str
    detail: str = ""
    seconds: int = 0
    device: DeviceId | None = None


DriverEvent = (
    RadioUp
    | RadioDown
    | DeviceJoining
    | DeviceFound
    | DeviceLost
    | DeviceAwake
    | AvailabilityChanged
    | Report
    | DeviceEvent
    | JoinWindow
    | Exclusion
)


# ---- what the hub asks of a driver ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """One action of one capability. Every capability also knows ReadState {propertiesToRead: [...]|["*"]} and UpdateState {property: value}."""

    endpoint: str
    capability: str
    name: str
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """What a cloud or a person wants done, whole. `trace_id` is its idempotency key; `deadline` is monotonic seconds."""

    trace_id: str
    device: DeviceId
    actions: tuple[Action, ...]
    deadline: float


@dataclass(frozen=True, slots=True)
class ActionResult:
    """How one action ended; `code` is HTTP-like (200, 400, 404, 408, 501, 503), `values` the response of the action if it has one."""

    action: Action
    code: int
    error: str = ""
    values: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300  # noqa: PLR2004  HTTP classes


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one terminal word on a command."""

    trace_id: str
    results: tuple[ActionResult, ...]
    error: str = ""  # why nothing was tried: expired, unknown device, radio away past the deadline
    code: int = 200

    @property
    def succeeded(self) -> bool:
        return not self.error and all(result.ok for result in self.results)


@dataclass(frozen=True, slots=True)
class Discovery:
    """A request to open a join window for `duration` seconds, bound to `material` (QR or install code) where there is one.

    `attended`: somebody is there who can be asked (DeviceJoining with `seconds`). `replaces`: the key of a device that has failed, whose
    place the one that joins takes (agent.driver.DriverInfo.replaces).
    """

    id: str
    kind: str  # ZIGBEE, ZWAVE, BLE, COAP, CUSTOM
    duration: int
    material: str = ""
    material_type: str = ""
    attended: bool = False
    replaces: str = ""
