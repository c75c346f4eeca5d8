"""The words of the Zigbee catalogue: an interviewed node, a cluster's row of the table, and what a translation yields. PURE."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Raw = Any
Attributes = Mapping[tuple[int, int], Raw]


@dataclass(frozen=True, slots=True)
class ZigbeeEndpoint:
    """One endpoint of an interviewed node; `attributes` holds (cluster, attribute) -> raw value where they were read."""

    id: int
    profile: int
    device_type: int
    in_clusters: frozenset[int]
    out_clusters: frozenset[int]
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ZigbeeNode:
    ieee: str
    nwk: int
    manufacturer: str
    model: str
    endpoints: tuple[ZigbeeEndpoint, ...]
    battery: bool = False
    sleepy: bool = False


# ---- what the driver does for a device ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reporting:
    """Configure Reporting: seconds, and the smallest change (None for discrete values)."""

    attribute: int
    minimum: int
    maximum: int
    change: int | float | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What is done once after a join: bind, configure reports, read, and IAS enrolment where `enrol`."""

    endpoint: int
    cluster: int
    reports: tuple[Reporting, ...] = ()
    reads: tuple[int, ...] = ()
    enrol: bool = False


@dataclass(frozen=True, slots=True)
class Poll:
    """Attributes that this cluster cannot report, and how often to read them."""

    endpoint: int
    cluster: int
    attributes: tuple[int, ...]
    every: float


@dataclass(frozen=True, slots=True)
class ZclRead:
    endpoint: int
    cluster: int
    attributes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ZclWrite:
    endpoint: int
    cluster: int
    values: Mapping[int, Raw]


@dataclass(frozen=True, slots=True)
class ZclCommand:
    """A cluster command with its positional arguments; `confirm` is read back when no report follows it."""

    endpoint: int
    cluster: int
    command: int
    arguments: tuple[Raw, ...] = ()
    confirm: tuple[int, ...] = ()


Step = ZclRead | ZclWrite | ZclCommand


# ---- a row of the table ---------------------------------------------------------------------------------------------------

Decode = Callable[[Raw, Attributes], dict[str, Any] | None]
Encode = Callable[[Any], Raw]
Arguments = Callable[[Mapping[str, Any]], tuple[Raw, ...]]
Heard = Callable[[Sequence[Raw], ZigbeeEndpoint], list[tuple[str, str, dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Attr:
    """One attribute: the properties that it fills, how to decode it, and how to write it if a property can be written."""

    id: int
    properties: tuple[str, ...]
    decode: Decode
    encode: Encode | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """One action: the cluster command and its arguments."""

    command: int
    arguments: Arguments = lambda _parameters: ()
    confirm: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterMap:
    """How one server cluster becomes one capability. `updates` maps a property to the action that changes it."""

    cluster: int
    capability: str
    attributes: tuple[Attr, ...]
    actions: Mapping[str, Act] = field(default_factory=dict)
    updates: Mapping[str, Callable[[Any], tuple[int, tuple[Raw, ...]]]] = field(default_factory=dict)
    reports: tuple[Reporting, ...] = ()
    poll: float = 0.0  # seconds, where nothing can be reported
    when: Callable[[ZigbeeEndpoint], bool] = lambda _endpoint: True
    enrol: bool = False
    events: tuple[str, ...] = ()
