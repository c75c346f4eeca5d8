"""What the engine and its front ends exchange: addresses, APS messages, effects. Pure data.

An EUI-64 is an int (text form `00:12:4b:00:01:02:03:04`, most significant byte first; on the wire little-endian).
Times are seconds on any monotonic clock; the caller brings them.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, Protocol

Json = dict[str, Any]

COORDINATOR_NWK = 0x0000
BROADCAST_ALL = 0xFFFF
BROADCAST_AWAKE = 0xFFFD
BROADCAST_ROUTERS = 0xFFFC
BROADCAST_FIRST = 0xFFF8  # 0xFFF8..0xFFFF are broadcast addresses (Zigbee 3.6.5)
NO_NWK = 0xFFFE
NO_IEEE = 0xFFFF_FFFF_FFFF_FFFF

PROFILE_ZDO = 0x0000
PROFILE_HOME = 0x0104
PROFILE_GREEN_POWER = 0xA1E0

GLOBAL_LINK_KEY = b"ZigBeeAlliance09"  # the well-known trust-centre link key (Zigbee 4.4.10)


def ieee_text(ieee: int) -> str:
    """`00:12:4b:...`, most significant byte first."""
    return ieee.to_bytes(8, "big").hex(":")


def parse_ieee(text: str) -> int:
    """The address of `00:12:4b:...` or sixteen hex digits. Raises ValueError."""
    digits = text.replace(":", "").replace("-", "").removeprefix("0x")
    if len(digits) != 16:  # noqa: PLR2004  an EUI-64 has sixteen hex digits
        raise ValueError(f"{text!r} is no EUI-64 (eight bytes in hex, for example 00:12:4b:00:01:02:03:04)")
    return int(digits, 16)


class Capability(IntEnum):
    """MAC capability bits of a Device_annce (Zigbee 2.3.2.3.6)."""

    ROUTER = 0x8E  # full function device, mains powered, receiver on when idle, allocate address
    MAINS_END_DEVICE = 0x8C  # mains powered, receiver on when idle
    SLEEPY = 0x80  # allocate address only


class Delivery(Enum):
    """The end of a message that the host sent."""

    DELIVERED = "delivered"
    NO_ACK = "no-ack"  # nobody acknowledged (device off or out of reach)
    EXPIRED = "expired"  # sleepy device did not poll its parent in time
    NO_ROUTE = "no-route"  # no such short address
    TABLE_FULL = "table-full"  # the stick had no room for the message


class JoinKind(Enum):
    """How a device came."""

    ASSOCIATION = "association"  # new, with a link key
    SECURED_REJOIN = "secured-rejoin"
    UNSECURED_REJOIN = "unsecured-rejoin"
    DENIED = "denied"  # the trust centre turned it away (policy or missing key); it gets no network key


@dataclass(frozen=True, slots=True)
class Aps:
    """One APS data message as host and network see it. Unicast to `dst`, to `group`, or to the broadcast address `dst`."""

    src: int
    dst: int
    src_ep: int
    dst_ep: int
    profile: int
    cluster: int
    data: bytes
    group: int | None = None
    broadcast: bool = False
    lqi: int = 255
    rssi: int = -40
    sequence: int = 0  # APS counter
    ack: bool = True  # APS acknowledgement asked for
    secured: bool = False  # encrypted with the link key


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message for the host: from a node, or an answer of the coordinator's own ZDO (src 0x0000, src_ep 0)."""

    aps: Aps


@dataclass(frozen=True, slots=True)
class Confirm:
    """The end of the send() with this tag."""

    tag: int
    status: Delivery
    aps: Aps


@dataclass(frozen=True, slots=True)
class DeviceJoined:
    """The trust centre saw a device join; comes before its announcement. `parent` is a short address."""

    ieee: int
    nwk: int
    parent: int
    how: JoinKind


@dataclass(frozen=True, slots=True)
class DeviceAnnounced:
    """Device_annce heard; an Incoming with ZDO cluster 0x0013 follows it."""

    ieee: int
    nwk: int
    capability: int


@dataclass(frozen=True, slots=True)
class DeviceLeft:
    """A leave was heard or confirmed."""

    ieee: int
    nwk: int
    rejoin: bool = False


@dataclass(frozen=True, slots=True)
class PermitChanged:
    """The coordinator's own join window: seconds left, 0 = closed."""

    seconds: int


Effect = Incoming | Confirm | DeviceJoined | DeviceAnnounced | DeviceLeft | PermitChanged


@dataclass(frozen=True, slots=True)
class Params:
    """What makes a network; `form` takes it, `backup`s carry it."""

    pan_id: int
    ext_pan_id: int
    channel: int
    network_key: bytes
    tc_link_key: bytes = GLOBAL_LINK_KEY
    key_sequence: int = 0
    frame_counter: int = 0
    update_id: int = 0
    tc_address: int | None = None  # default: the coordinator itself


@dataclass(frozen=True, slots=True)
class SimpleDescriptor:
    """One endpoint, as registered by the host or as a node has it."""

    endpoint: int
    profile: int
    device_type: int
    version: int = 0
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


@dataclass(slots=True)
class LinkKey:
    """A link key that the trust centre shares with one device."""

    key: bytes
    tx_counter: int = 0
    rx_counter: int = 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A row of the neighbour table. `kind`: 0 coordinator, 1 router, 2 end device; `relation`: 0 parent, 1 child, 2 sibling."""

    ieee: int
    nwk: int
    kind: int
    relation: int
    rx_on: bool
    depth: int
    lqi: int


class FrontEnd(Protocol):
    """A stick's serial protocol over one Network: bytes in, wire frames out. Pure; the server brings bytes and time."""

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the host, in any pieces. Garbage is counted, never raised."""

    def poll(self, now: float) -> list[bytes]:
        """Drain what is due at `now` (the Network's effects included): complete frames for the host, in order."""

    def next_deadline(self) -> float | None:
        """When poll() has work again (the Network's deadlines included); None = only after receive()."""

    def reset(self, now: float) -> None:
        """The stick restarts by itself (power, crash): volatile state goes, the host hears a reset indication."""

    def fault(self, kind: str, now: float) -> None:
        """Arm a one-shot status fault for the host's next data request; the kinds are the values of Delivery."""

    def snapshot(self) -> Json:
        """What survives a power cut besides the Network (NV memory, tokens), as JSON values."""

    def restore(self, state: Json) -> None:
        """Take up a snapshot; called before the first receive()."""


@dataclass(slots=True)
class Counters:
    """What a test can ask of a front end or the engine."""

    frames_in: int = 0
    frames_out: int = 0
    bad_bytes: int = 0  # bytes skipped while looking for a frame
    bad_frames: int = 0  # checksum, length or content wrong
    unknown: dict[str, int] = field(default_factory=dict)  # commands without an implementation, by name
