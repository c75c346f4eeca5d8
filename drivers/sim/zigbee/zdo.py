"""Zigbee Device Objects: what a node answers about itself (Zigbee specification 2.4). PURE.

`answer` is one table for nodes and coordinator; the subject is anything that has a place in the network.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from drivers.sim.zigbee.model import Neighbour, SimpleDescriptor
from drivers.sim.zigbee.zcl import u16

SUCCESS, INVALID_REQUEST, NO_DEVICE, NOT_ACTIVE, NOT_SUPPORTED, NO_ENTRY = 0x00, 0x80, 0x81, 0x83, 0x84, 0x88
NWK_ADDRESS, MATCH, DEVICE_ANNCE, BIND, UNBIND = 0x0000, 0x0006, 0x0013, 0x0021, 0x0022
LEAVE, PERMIT, NWK_UPDATE = 0x0034, 0x0036, 0x0038
LEAVE_REJOIN = 0x80  # flag of Mgmt_Leave_req
LONGEST_SCAN, CHANGE_CHANNEL = 0x05, 0xFE  # scan durations of Mgmt_NWK_Update_req
CHANNELS = range(11, 27)
STACK_REVISION = 22


@dataclass(frozen=True, slots=True)
class Binding:
    """`target` is an EUI-64 with endpoint, or a group with endpoint None."""

    endpoint: int
    cluster: int
    target: int
    target_endpoint: int | None


class Subject(Protocol):
    """Who is asked."""

    ieee: int
    nwk: int
    bindings: set[Binding]

    @property
    def node_descriptor(self) -> bytes: ...

    def descriptors(self) -> Iterable[SimpleDescriptor]: ...

    def refusal(self, sort: str) -> int | None:
        """The status that a request fails with although nothing is wrong with it."""

    def find(self, *, ieee: int | None = None, nwk: int | None = None) -> tuple[int, int] | None:
        """(ieee, nwk) of a device that this one can speak for."""

    def table(self) -> list[Neighbour]: ...


def node_descriptor(kind: int, capability: int, manufacturer: int) -> bytes:
    """Thirteen octets (2.3.2.3): kind 0 coordinator, 1 router, 2 end device."""
    server = (STACK_REVISION << 9) | (0x0041 if kind == 0 else 0)
    head = bytes([kind, 0x40, capability])
    return head + u16(manufacturer) + bytes([82]) + u16(128) + u16(server) + u16(128) + b"\x00"


def answer(
    subject: Subject, cluster: int, data: bytes, energy: Callable[[list[int]], list[int]], *, broadcast: bool = False
) -> bytes | None:
    """The response payload (with the request's sequence number), None for what has none.

    To a broadcast only those answer who are meant by it.
    """
    handler = _HANDLERS.get(cluster)
    if not data or cluster & 0x8000 or cluster == DEVICE_ANNCE:
        return None
    sequence, body = data[:1], data[1:]
    if cluster == NWK_UPDATE:
        return None if broadcast else _energy(sequence, body, energy)
    if handler is None:
        return None if broadcast else sequence + bytes([NOT_SUPPORTED])
    try:
        answered = handler(subject, body)
    except IndexError:
        answered = bytes([INVALID_REQUEST])
    meant = answered[0] == SUCCESS and (cluster == NWK_ADDRESS or (cluster == MATCH and answered[-1:] != b"\0"))
    return None if broadcast and not meant else sequence + answered


@dataclass(frozen=True, slots=True)
class Change:
    """What a Mgmt request changes in the network, beside its answer."""

    cluster: int
    seconds: int = 0  # Mgmt_Permit_Joining_req
    rejoin: bool = False  # Mgmt_Leave_req
    channel: int = 0  # Mgmt_NWK_Update_req


def change(cluster: int, data: bytes) -> Change | None:
    """The change that a request (with its sequence number) asks for; None if it asks for none or is malformed."""
    if cluster == PERMIT and len(data) >= 3:  # noqa: PLR2004  sequence, seconds, significance
        return Change(cluster, seconds=data[1])
    if cluster == LEAVE and len(data) >= 10:  # noqa: PLR2004  sequence, EUI-64, flags
        return Change(cluster, rejoin=bool(data[9] & LEAVE_REJOIN))
    if cluster == NWK_UPDATE and data[5:6] == bytes([CHANGE_CHANNEL]):
        mask = int.from_bytes(data[1:5], "little")
        wanted = next((channel for channel in CHANNELS if mask >> channel & 1), None)
        return Change(cluster, channel=wanted) if wanted is not None else None
    return None


def _word(body: bytes, at: int = 0) -> int:
    if len(body) < at + 2:
        raise IndexError(at)
    return int.from_bytes(body[at : at + 2], "little")


def _long(body: bytes, at: int = 0) -> int:
    if len(body) < at + 8:
        raise IndexError(at)
    return int.from_bytes(body[at : at + 8], "little")


def _address(subject: Subject, body: bytes, *, by_ieee: bool) -> bytes:
    found = subject.find(ieee=_long(body)) if by_ieee else subject.find(nwk=_word(body))
    if found is None:
        return bytes([NO_DEVICE]) + (body[:8] if by_ieee else bytes(8)) + (b"\xff\xff" if by_ieee else body[:2])
    ieee, nwk = found
    return bytes([SUCCESS]) + ieee.to_bytes(8, "little") + u16(nwk)


def _node(subject: Subject, body: bytes) -> bytes:
    if _word(body) != subject.nwk:
        return bytes([NO_DEVICE]) + body[:2]
    return bytes([SUCCESS]) + u16(subject.nwk) + subject.node_descriptor


def _power(subject: Subject, body: bytes) -> bytes:
    return bytes([SUCCESS]) + u16(_word(body) and subject.nwk) + b"\x10\xc1"


def _active(subject: Subject, body: bytes) -> bytes:
    if _word(body) != subject.nwk:
        return bytes([NO_DEVICE]) + body[:2] + b"\x00"
    endpoints = bytes(descriptor.endpoint for descriptor in subject.descriptors())
    return bytes([SUCCESS]) + u16(subject.nwk) + bytes([len(endpoints)]) + endpoints


def _simple(subject: Subject, body: bytes) -> bytes:
    if _word(body) != subject.nwk:
        return bytes([NO_DEVICE]) + body[:2] + b"\x00"
    wanted = body[2]
    for found in subject.descriptors():
        if found.endpoint == wanted:
            packed = pack_simple(found)
            return bytes([SUCCESS]) + u16(subject.nwk) + bytes([len(packed)]) + packed
    return bytes([NOT_ACTIVE]) + u16(subject.nwk) + b"\x00"


def pack_simple(found: SimpleDescriptor) -> bytes:
    """A simple descriptor (2.3.2.5)."""
    head = bytes([found.endpoint]) + u16(found.profile) + u16(found.device_type) + bytes([found.version])
    inputs = bytes([len(found.inputs)]) + b"".join(u16(c) for c in found.inputs)
    return head + inputs + bytes([len(found.outputs)]) + b"".join(u16(c) for c in found.outputs)


def _match(subject: Subject, body: bytes) -> bytes:
    profile, count = _word(body, 2), body[4]
    inputs = {_word(body, 5 + 2 * i) for i in range(count)}
    start = 5 + 2 * count
    outputs = {_word(body, start + 1 + 2 * i) for i in range(body[start])}
    found = bytes(
        d.endpoint
        for d in subject.descriptors()
        if d.profile == profile and (inputs & set(d.inputs) or outputs & set(d.outputs))
    )
    return bytes([SUCCESS]) + u16(subject.nwk) + bytes([len(found)]) + found


def _binding(body: bytes) -> Binding:
    mode = body[11]
    if mode == 0x03:  # noqa: PLR2004  64-bit address and endpoint
        return Binding(body[8], _word(body, 9), _long(body, 12), body[20])
    return Binding(body[8], _word(body, 9), _word(body, 12), None)


def _bind(subject: Subject, body: bytes) -> bytes:
    if _long(body) != subject.ieee:
        return bytes([NO_DEVICE])
    refused = subject.refusal("bind")
    if refused is not None:
        return bytes([refused])
    subject.bindings.add(_binding(body))
    return bytes([SUCCESS])


def _unbind(subject: Subject, body: bytes) -> bytes:
    binding = _binding(body)
    if binding not in subject.bindings:
        return bytes([NO_ENTRY])
    subject.bindings.discard(binding)
    return bytes([SUCCESS])


def _lqi(subject: Subject, body: bytes) -> bytes:
    table, start = subject.table(), body[0]
    part = table[start : start + 3]
    packed = b"".join(_neighbour(entry) for entry in part)
    return bytes([SUCCESS, len(table), start, len(part)]) + packed


def _neighbour(entry: Neighbour) -> bytes:
    flags = entry.kind | (1 if entry.rx_on else 0) << 2 | entry.relation << 4
    address = bytes(8) + entry.ieee.to_bytes(8, "little") + u16(entry.nwk)
    return address + bytes([flags, 0x02, entry.depth, entry.lqi])


def _routes(_subject: Subject, body: bytes) -> bytes:
    return bytes([SUCCESS, 0, body[0], 0])


def _leave(subject: Subject, body: bytes) -> bytes:
    """Only the device itself can leave: an address that is another's would be a child of it."""
    if len(body) < 9:  # noqa: PLR2004  EUI-64, flags
        return bytes([INVALID_REQUEST])
    return bytes([SUCCESS if _long(body) in (0, subject.ieee) else NO_DEVICE])


def _permit(_subject: Subject, body: bytes) -> bytes:
    return bytes([SUCCESS if len(body) >= 2 else INVALID_REQUEST])  # noqa: PLR2004  seconds, significance


def _energy(sequence: bytes, body: bytes, energy: Callable[[list[int]], list[int]]) -> bytes | None:
    """Mgmt_NWK_Update_notify: the energies of a scan, or none after a change of the channel."""
    scan = len(body) >= 5 and body[4] <= LONGEST_SCAN  # noqa: PLR2004  mask and duration
    if not scan and body[4:5] != bytes([CHANGE_CHANNEL]):
        return None
    mask = int.from_bytes(body[:4], "little")
    channels = [channel for channel in CHANNELS if scan and mask & 1 << channel]
    values = bytes(energy(channels))
    return sequence + bytes([SUCCESS]) + body[:4] + u16(0) + u16(0) + bytes([len(values)]) + values


_HANDLERS: dict[int, Callable[[Subject, bytes], bytes]] = {
    NWK_ADDRESS: lambda subject, body: _address(subject, body, by_ieee=True),
    0x0001: lambda subject, body: _address(subject, body, by_ieee=False),
    0x0002: _node,
    0x0003: _power,
    0x0004: _simple,
    0x0005: _active,
    MATCH: _match,
    BIND: _bind,
    UNBIND: _unbind,
    0x0031: _lqi,
    0x0032: _routes,
    LEAVE: _leave,
    PERMIT: _permit,
}
