"""The frames of a simulated network as a sniffer would see them: IEEE 802.15.4, NWK and APS headers around the ZCL or ZDP frame. PURE.

Sources: IEEE 802.15.4-2011 5.2 (MAC), Zigbee specification 05-3474-22 3.3.1 (NWK) and 2.2.5 (APS). Nothing is encrypted, so that a
dissector needs no key.
"""

from drivers.sim.zigbee.model import Aps
from drivers.sim.zigbee.zcl import u16

LINKTYPE = 230  # IEEE802_15_4_NOFCS
MAC_DATA = 0x8841  # data frame, one PAN, short addresses
NWK_DATA = 0x0008  # data, protocol version 2
RADIUS = 30
BROADCAST = 0xFFFF
UNICAST_MODE, BROADCAST_MODE, GROUP_MODE, ACK = 0x00, 0x08, 0x0C, 0x40


def frame(aps: Aps, pan_id: int, sequence: int) -> bytes:
    """The MAC frame (without checksum) that carries an APS message in one hop; `sequence` counts frames."""
    many = aps.broadcast or aps.group is not None or aps.dst >= 0xFFF8  # noqa: PLR2004  broadcast addresses
    target = BROADCAST if aps.group is not None else aps.dst
    counter = bytes([sequence & 0xFF])
    mac = u16(MAC_DATA) + counter + u16(pan_id) + u16(BROADCAST if many else aps.dst) + u16(aps.src)
    nwk = u16(NWK_DATA) + u16(target) + u16(aps.src) + bytes([RADIUS]) + counter
    return mac + nwk + _aps(aps, many=many)


def _aps(aps: Aps, *, many: bool) -> bytes:
    mode = GROUP_MODE if aps.group is not None else BROADCAST_MODE if many else UNICAST_MODE
    control = mode | (ACK if aps.ack and not many else 0)
    place = u16(aps.group) if aps.group is not None else bytes([aps.dst_ep])
    head = bytes([control]) + place + u16(aps.cluster) + u16(aps.profile) + bytes([aps.src_ep, aps.sequence & 0xFF])
    return head + aps.data
