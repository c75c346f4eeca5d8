"""What is printed on a simulated device: its QR code (SDS13937, "Node Provisioning QR Code Format"). PURE."""

from typing import TYPE_CHECKING

from drivers.sim.zwave.profiles import MANUFACTURER
from drivers.zwave.security import qr

if TYPE_CHECKING:
    from drivers.sim.zwave.node import Node

PRODUCT_TYPE = 0x0100
MESH, LONG_RANGE = 0x01, 0x02  # bits of the protocols that a device knows
S2 = 0x7F  # of the keys


def code(node: "Node") -> str:
    """The digits of its code."""
    profile, part = node.profile, node.profile.root
    version = node.firmware[0] << 8 | node.firmware[1]
    protocols = MESH | (LONG_RANGE if profile.long_range else 0)
    tlvs = [
        (qr.PRODUCT_TYPE, _digits(part.generic << 8 | part.specific, profile.icon)),
        (qr.PRODUCT_ID, _digits(MANUFACTURER, PRODUCT_TYPE, profile.product, version)),
        (qr.PROTOCOLS, f"{protocols:02d}"),
    ]
    return qr.compose(profile.keys & S2, node.dsk, tlvs, smart_start=profile.smart_start)


def _digits(*numbers: int) -> str:
    return "".join(f"{number:05d}" for number in numbers)
