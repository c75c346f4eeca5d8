"""What comes into the hub from clouds and people, and what the hub wants done: requests and effects. PURE data.

A request never carries wire JSON; the mapping of a dialect has validated it already. An effect never names a library.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agent.model import Action, Command, DeviceId, Discovery, JsonValue, Outcome

LOCAL = "local"  # the source of requests made on this machine; its answers go to the asker, not to a cloud


class Kind(StrEnum):
    """What an outgoing message says."""

    DISCOVERED = "discovered"
    DISCOVERY_STATUS = "discovery_status"
    CAPABILITIES = "capabilities"
    OUTCOME = "outcome"
    LIFECYCLE = "lifecycle"
    EVENT = "event"
    GATEWAY = "gateway"  # what a gateway of BLE devices tells one uplink, in nRF Cloud's form
    STATE = "state"
    LOG = "log"


# A lane is drained before the next one; shedding goes the other way round.
LANE_DIALOGUE, LANE_EVENT, LANE_STATE, LANE_LOG = range(4)
LANES: Mapping[Kind, int] = {
    Kind.DISCOVERED: LANE_DIALOGUE,
    Kind.DISCOVERY_STATUS: LANE_DIALOGUE,
    Kind.CAPABILITIES: LANE_DIALOGUE,
    Kind.OUTCOME: LANE_DIALOGUE,
    Kind.LIFECYCLE: LANE_DIALOGUE,
    Kind.EVENT: LANE_EVENT,
    Kind.GATEWAY: LANE_EVENT,
    Kind.STATE: LANE_STATE,
    Kind.LOG: LANE_LOG,
}


# ---- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command as it was asked for. `device` is a managed thing id, node id, address or key; `expires_at` is wall seconds."""

    trace_id: str
    device: str
    actions: tuple[Action, ...]
    source: str
    expires_at: float | None = None
    retained: bool = False


@dataclass(frozen=True, slots=True)
class RejectedCommand:
    """A command that could be read far enough to be answered, and no further."""

    request: CommandRequest
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class StartDiscovery:
    id: str
    kind: str
    duration: int
    source: str
    material: str = ""
    material_type: str = ""
    radio: str = ""  # only this radio; empty: the first that knows the kind
    rediscover: bool = False  # read the capabilities of joined devices anew instead
    device: str = ""  # rediscover only this one
    attended: bool = False  # somebody is there who can be asked for a PIN


@dataclass(frozen=True, slots=True)
class StopDiscovery:
    id: str  # empty: every one


@dataclass(frozen=True, slots=True)
class PreAssociate:
    managed_thing_id: str
    discovery: StartDiscovery


@dataclass(frozen=True, slots=True)
class Onboard:
    node_id: str
    managed_thing_id: str


@dataclass(frozen=True, slots=True)
class Deprovision:
    device: str
    force: bool
    source: str


@dataclass(frozen=True, slots=True)
class SetNetworkMode:
    mode: str


@dataclass(frozen=True, slots=True)
class StateQuery:
    device: str  # empty: all of them
    refresh: bool


@dataclass(frozen=True, slots=True)
class ConfigureLogs:
    """What a cloud wants of the hub's log lines; empty for nothing. Members: agent.runtime_logs.LogWishes."""

    wishes: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ConfigureHub:
    """The longest life of the tokens that the hub signs, in seconds."""

    token_seconds: int


@dataclass(frozen=True, slots=True)
class OffboardHub:
    """The hub's owner has deleted it from the cloud."""


Request = (
    CommandRequest
    | RejectedCommand
    | StartDiscovery
    | StopDiscovery
    | PreAssociate
    | Onboard
    | Deprovision
    | SetNetworkMode
    | StateQuery
    | ConfigureLogs
    | ConfigureHub
    | OffboardHub
)


@dataclass(frozen=True, slots=True)
class Message:
    """An outgoing message as it lies in the outbox: neutral, each dialect maps it when it leaves.

    `id` is unique for ever and the same on a redelivery. `wall` is back-dated on the way out when `quality` was only estimated and the
    clock of the same `boot` is trusted by then.
    """

    id: int
    uplink: str
    kind: Kind
    device: str
    trace_id: str
    body: Any
    wall: float
    quality: str
    boot: str
    mono: float

    @property
    def lane(self) -> int:
        return LANES[self.kind]


# ---- effects ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publish:
    """A message for the clouds: `uplink` empty means all of them. `body` is neutral; each dialect maps it when it leaves."""

    kind: Kind
    device: str
    body: Mapping[str, Any]
    trace_id: str = ""
    uplink: str = ""


@dataclass(frozen=True, slots=True)
class PublishState:
    """Values of one device: (endpoint, capability, property, value, changed at in wall seconds), at most 25 of them."""

    id: DeviceId
    device: str
    values: tuple[tuple[str, str, str, JsonValue, float], ...]


@dataclass(frozen=True, slots=True)
class SaveDevice:
    """The device's record changed and must be on disk before anyone hears of it."""

    id: DeviceId


@dataclass(frozen=True, slots=True)
class ForgetDevice:
    id: DeviceId


@dataclass(frozen=True, slots=True)
class SaveCommand:
    """A command's life so far; `status` is waiting or started, `ref` the device as whoever asked named it."""

    trace_id: str
    device: DeviceId
    ref: str
    actions: tuple[Action, ...]
    status: str
    source: str
    received_at: float
    deadline: float  # wall seconds


@dataclass(frozen=True, slots=True)
class FinishCommand:
    trace_id: str
    finished_at: float
    succeeded: bool


@dataclass(frozen=True, slots=True)
class SaveMeta:
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Execute:
    command: Command


@dataclass(frozen=True, slots=True)
class OpenWindow:
    radio: str
    discovery: Discovery


@dataclass(frozen=True, slots=True)
class CloseWindow:
    radio: str


@dataclass(frozen=True, slots=True)
class Interview:
    id: DeviceId


@dataclass(frozen=True, slots=True)
class Refresh:
    id: DeviceId


@dataclass(frozen=True, slots=True)
class Remove:
    id: DeviceId
    force: bool
    source: str


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The hub's own status (radios, mode) is to be told to the clouds again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A step that people and programs on this machine may watch."""

    what: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApplyLogs:
    """Keep and upload log lines as wished from now on."""

    wishes: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Offboard:
    """Forget the home, its networks and this cloud, and tell it so."""


Effect = (
    Publish
    | PublishState
    | SaveDevice
    | ForgetDevice
    | SaveCommand
    | FinishCommand
    | SaveMeta
    | Execute
    | OpenWindow
    | CloseWindow
    | Interview
    | Refresh
    | Remove
    | StatusChanged
    | Progress
    | ApplyLogs
    | Offboard
)


# ---- how effects on radios ended ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandEnded:
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class CommandParked:
    """Nothing reached the device: it sleeps, or its radio is away."""

    trace_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RadioWorkEnded:
    """A window, interview, refresh or removal ended; `error` is empty when it went well."""

    effect: OpenWindow | CloseWindow | Interview | Refresh | Remove
    error: str = ""
    code: int = 200


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: what is due is done."""
