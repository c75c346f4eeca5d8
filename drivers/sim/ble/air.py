"""Advertisements as frames of a capture file. PURE. Core Specification, Vol 6, Part B, 2.1 (packet), 2.3.1.1 (ADV_IND), 3.1.1 (CRC)."""

import struct

from drivers.sim.ble.payloads import Payload

LINKTYPE = 251  # LINKTYPE_BLUETOOTH_LE_LL
ACCESS_ADDRESS, CRC_START = 0x8E89BED6, 0x555555
ADV_IND, RANDOM = 0x00, 0x40
MOST = 31


def frame(address: str, payload: Payload) -> bytes:
    """An ADV_IND; structures that do not fit into its 31 octets are left out, as a device would put them into a scan response."""
    data = b""
    for kind, octets in payload.structures():
        structure = bytes((len(octets) + 1, kind)) + octets
        if len(data) + len(structure) <= MOST:
            data += structure
    kind = ADV_IND | (RANDOM if int(address[:2], 16) >= 0xC0 else 0)  # noqa: PLR2004  static random
    body = bytes.fromhex(address.replace(":", ""))[::-1] + data
    unit = bytes((kind, len(body))) + body
    return struct.pack("<I", ACCESS_ADDRESS) + unit + _crc(unit)


def _crc(unit: bytes) -> bytes:
    """x^24 + x^10 + x^9 + x^6 + x^4 + x^3 + x + 1, bits of an octet from the lowest on."""
    register = CRC_START
    for octet in unit:
        for bit in range(8):
            out = register >> 23 ^ octet >> bit & 1
            register = register << 1 & 0xFFFFFF
            if out:
                register ^= 0x00065B
    return bytes(int(f"{register >> shift & 0xFF:08b}"[::-1], 2) for shift in (16, 8, 0))
