"""A simulated device: endpoints with attribute tables, bindings, reporting, and what each cluster does. PURE.

`handle(frame...)` answers one ZCL frame; what changes by it is reported through `changed`, which the network turns into reports.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.model import PROFILE_HOME, Capability, Neighbour, SimpleDescriptor
from drivers.sim.zigbee.ota import CLUSTER as OTA
from drivers.sim.zigbee.ota import Client
from drivers.sim.zigbee.profiles import PROFILES, Part, Profile, basic
from drivers.sim.zigbee.zdo import Binding, node_descriptor

WRITABLE = frozenset({(0x0003, 0x0000), (0x0500, 0x0010), (0x0202, 0x0000), (0x0101, 0x0023), (0x0101, 0x0025)})
WRITABLE_CLUSTERS = frozenset({0x0201})
SETTINGS = frozenset(
    {0x0010, 0x0011, 0x4000, 0x4001, 0x4002, 0x4003}
)  # attributes that may be written in OnOff and Level
MANUFACTURER_CODE = 0x1234


@dataclass(slots=True)
class Reporting:
    """Configured by the host; `last` is the value and time of the last report."""

    kind: int
    minimum: int
    maximum: int
    change: Any
    value: Any = None
    at: float = float("-inf")
    timed: bool = False  # a timer for the maximum interval runs; one is enough, it looks at `at` when it is due


@dataclass(slots=True)
class Node:
    """One device. `tables` maps (endpoint, cluster) to attribute -> [type, value]."""

    ieee: int
    name: str
    profile_name: str
    pairing: bool = True
    install_key: bytes = b""
    poll_every: float = 0.5  # how often a sleepy device asks its parent
    nwk: int = 0xFFFE
    parent: int = 0x0000
    joined: bool = False
    powered: bool = True
    mute_until: float = float("-inf")  # the radio acknowledges, and the device does and says nothing
    bindings: set[Binding] = field(default_factory=set)
    groups: dict[int, set[int]] = field(default_factory=dict)
    tables: dict[tuple[int, int], dict[int, list[Any]]] = field(default_factory=dict)
    reporting: dict[tuple[int, int, int], Reporting] = field(default_factory=dict)
    sequence: int = 0
    ota: Client | None = None  # None: it never asks for another firmware
    failures: dict[str, tuple[int, int]] = field(default_factory=dict)  # sort -> (status, how often yet)
    changed: Callable[["Node", int, int, int], None] = lambda *_: None
    later: Callable[[float, Callable[[], None]], None] = lambda *_: None

    def __post_init__(self) -> None:
        for part in self.profile.parts:
            self.tables[(part.endpoint, 0x0000)] = _table(basic(self.profile, self.name))
            for cluster, table in part.inputs.items():
                self.tables[(part.endpoint, cluster)] = _table(table)

    @property
    def profile(self) -> Profile:
        return PROFILES[self.profile_name]

    @property
    def sleepy(self) -> bool:
        return self.profile.sleepy

    @property
    def capability(self) -> int:
        if self.sleepy:
            return Capability.SLEEPY
        return Capability.MAINS_END_DEVICE if self.profile.battery else Capability.ROUTER

    # ---- the subject of ZDO questions -------------------------------------------------------------------------------

    @property
    def node_descriptor(self) -> bytes:
        return node_descriptor(1 if self.capability == Capability.ROUTER else 2, self.capability, MANUFACTURER_CODE)

    def descriptors(self) -> Iterable[SimpleDescriptor]:
        for part in self.profile.parts:
            inputs = (0x0000, *sorted(part.inputs))
            yield SimpleDescriptor(part.endpoint, PROFILE_HOME, part.device_type, 1, inputs, part.outputs)

    def find(self, *, ieee: int | None = None, nwk: int | None = None) -> tuple[int, int] | None:
        return (self.ieee, self.nwk) if self.ieee == ieee or self.nwk == nwk else None

    def table(self) -> list[Neighbour]:
        return []

    def refusal(self, sort: str) -> int | None:
        """The status that a request of this sort fails with now, if it was told to fail."""
        status, left = self.failures.get(sort, (0, 0))
        if not left:
            return None
        self.failures[sort] = (status, left - 1)
        return status

    # ---- attributes -------------------------------------------------------------------------------------------------

    def get(self, endpoint: int, cluster: int, attribute: int) -> Any:
        """An attribute's value. Raises KeyError."""
        return self.tables[(endpoint, cluster)][attribute][1]

    def set(self, endpoint: int, cluster: int, attribute: int, value: Any) -> None:
        """Change an attribute; reports follow by the reporting rules. Raises KeyError, zcl.ZclError."""
        cell = self.tables[(endpoint, cluster)][attribute]
        zcl.encode(cell[0], value)
        if cell[1] != value:
            cell[1] = value
            self.changed(self, endpoint, cluster, attribute)

    def next_sequence(self) -> int:
        self.sequence = (self.sequence + 1) & 0xFF
        return self.sequence

    def report(self, endpoint: int, cluster: int, attributes: Iterable[int]) -> bytes:
        """A Report Attributes frame."""
        payload = b""
        for attribute in attributes:
            kind, value = self.tables[(endpoint, cluster)][attribute]
            payload += zcl.u16(attribute) + bytes([kind]) + zcl.encode(kind, value)
        control = zcl.FROM_SERVER | zcl.NO_DEFAULT
        return zcl.Frame(control, self.next_sequence(), zcl.REPORT, payload).pack()

    # ---- ZCL --------------------------------------------------------------------------------------------------------

    def handle(self, endpoint: int, cluster: int, data: bytes, *, unicast: bool) -> bytes | None:
        """Answer a ZCL frame; None when it wants no answer."""
        try:
            frame = zcl.parse(data)
        except zcl.ZclError:
            return None
        part = next((p for p in self.profile.parts if p.endpoint == endpoint), None)
        if part is None:
            return None
        try:
            answer = self._specific(part, cluster, frame) if frame.specific else self._foundation(part, cluster, frame)
        except (zcl.ZclError, IndexError):
            answer = _default(frame, zcl.MALFORMED)
        return answer.pack() if answer is not None and unicast else None

    def _foundation(self, part: Part, cluster: int, frame: zcl.Frame) -> zcl.Frame | None:
        handler = {
            zcl.READ: self._read,
            zcl.WRITE: self._write,
            zcl.WRITE_QUIET: self._write_quiet,
            zcl.CONFIGURE: self._configure,
            zcl.READ_CONFIG: self._read_config,
            zcl.DISCOVER: self._discover,
        }.get(frame.command)
        if frame.command in (zcl.DEFAULT_RSP, zcl.READ_RSP, zcl.WRITE_RSP):
            return None
        if handler is None or frame.manufacturer is not None:
            return _default(frame, zcl.UNSUP_GENERAL_COMMAND)
        return handler(part, cluster, frame)

    def _read(self, part: Part, cluster: int, frame: zcl.Frame) -> zcl.Frame:
        # The OTA cluster of a device is a client: its attributes are asked with the direction bit set.
        table = {} if frame.from_server else self.tables.get((part.endpoint, cluster), {})
        if frame.from_server and cluster == OTA and OTA in part.outputs:
            table = {0x0002: [zcl.U32, 1]} if self.ota is None else self.ota.attributes()
        payload = b""
        for attribute in zcl.words(frame.payload):
            cell = table.get(attribute)
            if cell is None:
                payload += zcl.u16(attribute) + bytes([zcl.UNSUPPORTED_ATTRIBUTE])
            else:
                payload += zcl.u16(attribute) + bytes([zcl.SUCCESS, cell[0]]) + zcl.encode(*cell)
        return frame.answer(zcl.READ_RSP, payload)

    def _write(self, part: Part, cluster: int, frame: zcl.Frame) -> zcl.Frame:
        statuses, rest = b"", frame.payload
        while rest:
            attribute, kind = int.from_bytes(rest[:2], "little"), rest[2]
            value, rest = zcl.decode(kind, rest[3:])
            status = self._written(part.endpoint, cluster, attribute, kind, value)
            if status != zcl.SUCCESS:
                statuses += bytes([status]) + zcl.u16(attribute)
        return frame.answer(zcl.WRITE_RSP, statuses or bytes([zcl.SUCCESS]))

    def _write_quiet(self, part: Part, cluster: int, frame: zcl.Frame) -> None:
        self._write(part, cluster, frame)

    def _written(self, endpoint: int, cluster: int, attribute: int, kind: int, value: Any) -> int:
        cell = self.tables.get((endpoint, cluster), {}).get(attribute)
        if cell is None:
            return zcl.UNSUPPORTED_ATTRIBUTE
        allowed = (cluster, attribute) in WRITABLE or cluster in WRITABLE_CLUSTERS or attribute in SETTINGS
        if not allowed:
            return zcl.READ_ONLY
        if cell[0] != kind:
            return zcl.INVALID_TYPE
        self.set(endpoint, cluster, attribute, value)
        return zcl.SUCCESS

    def _configure(self, part: Part, cluster: int, frame: zcl.Frame) -> zcl.Frame:
        statuses, rest = b"", frame.payload
        while rest:
            direction, attribute, kind = rest[0], int.from_bytes(rest[1:3], "little"), rest[3]
            if direction:
                raise zcl.ZclError("only reports that the device sends can be configured")
            minimum, maximum = zcl.words(rest[4:8])
            rest, change = rest[8:], None
            if kind in zcl.ANALOG:
                change, rest = zcl.decode(kind, rest)
            cell = self.tables.get((part.endpoint, cluster), {}).get(attribute)
            status = self.refusal("configure") or zcl.SUCCESS
            if cell is None or cell[0] != kind:
                status = zcl.UNSUPPORTED_ATTRIBUTE if cell is None else zcl.INVALID_TYPE
            if status != zcl.SUCCESS:
                statuses += bytes([status, direction]) + zcl.u16(attribute)
                continue
            key = (part.endpoint, cluster, attribute)
            self.reporting[key] = Reporting(kind, minimum, maximum, change, self.get(*key))
            self.changed(self, *key)
        return frame.answer(zcl.CONFIGURE_RSP, statuses or bytes([zcl.SUCCESS]))

    def _read_config(self, part: Part, cluster: int, frame: zcl.Frame) -> zcl.Frame:
        payload = b""
        for start in range(0, len(frame.payload) - 2, 3):
            attribute = int.from_bytes(frame.payload[start + 1 : start + 3], "little")
            found = self.reporting.get((part.endpoint, cluster, attribute))
            if found is None:
                payload += bytes([zcl.NOT_FOUND, 0]) + zcl.u16(attribute)
                continue
            payload += bytes([zcl.SUCCESS, 0]) + zcl.u16(attribute) + bytes([found.kind])
            payload += zcl.u16(found.minimum) + zcl.u16(found.maximum)
            payload += zcl.encode(found.kind, found.change) if found.change is not None else b""
        return frame.answer(zcl.READ_CONFIG_RSP, payload)

    def _discover(self, part: Part, cluster: int, frame: zcl.Frame) -> zcl.Frame:
        start, most = int.from_bytes(frame.payload[:2], "little"), frame.payload[2]
        table = self.tables.get((part.endpoint, cluster), {})
        found = sorted(attribute for attribute in table if attribute >= start)
        listed = b"".join(zcl.u16(attribute) + bytes([table[attribute][0]]) for attribute in found[:most])
        return frame.answer(zcl.DISCOVER_RSP, bytes([len(found) <= most]) + listed)

    def _specific(self, part: Part, cluster: int, frame: zcl.Frame) -> zcl.Frame | None:
        from drivers.sim.zigbee.behaviour import COMMANDS  # noqa: PLC0415  behaviours act on nodes

        if cluster == OTA and frame.from_server and self.ota is not None:
            self.ota.heard(frame)
            return None
        command = COMMANDS.get((cluster, frame.command))
        if (part.endpoint, cluster) not in self.tables or command is None or frame.from_server:
            return None if frame.from_server else _default(frame, zcl.UNSUP_CLUSTER_COMMAND)
        refused = self.refusal("command")
        if refused is not None:
            return _default(frame, refused)
        answered = command(self, part.endpoint, frame.payload)
        if answered is None:
            return None if frame.control & zcl.NO_DEFAULT else _default(frame, zcl.SUCCESS)
        return frame.answer(*answered, specific=True)


def _default(frame: zcl.Frame, status: int) -> zcl.Frame:
    return frame.answer(zcl.DEFAULT_RSP, bytes([frame.command, status]))


def _table(rows: dict[int, tuple[int, Any]]) -> dict[int, list[Any]]:
    return {attribute: [kind, value] for attribute, (kind, value) in rows.items()}
