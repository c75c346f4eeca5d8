"""Advertisements of beacons and tags: Eddystone (UID, URL, TLM), iBeacon, Ruuvi RAWv2. PURE.

Sources: https://github.com/google/eddystone (protocol-specification.md, eddystone-uid, -url, -tlm/tlm-plain.md); Apple, Proximity Beacon
Specification R1; https://docs.ruuvi.com/communication/bluetooth-advertisements/data-format-5-rawv2.
"""

import struct
from uuid import UUID

from drivers.ble import scales
from drivers.ble.adverts import Advert, Said
from drivers.told import Values

EDDYSTONE, RUUVI, APPLE = 0xFEAA, 0x0499, 0x004C
UID, URL, TLM, EID = 0x00, 0x10, 0x20, 0x30
IBEACON = b"\x02\x15"
IBEACON_SIZE, UID_SIZE, TLM_SIZE, RAWV2_SIZE = 23, 18, 14, 24
RAWV2 = 5
PLAIN = 0x00  # version of a TLM frame that is not encrypted
NO_TEMPERATURE = -0x8000  # of TLM (8.8) and of RAWv2
SCHEMES = ("http://www.", "https://www.", "http://", "https://")
ENDINGS = (".com", ".org", ".edu", ".net", ".info", ".biz", ".gov")
PRESENCE = "1"


def present(state: bool = True) -> Values:  # noqa: FBT001, FBT002  the one value
    """A beacon that is heard is there."""
    return Values(PRESENCE, *scales.occupancy(state))


def eddystone(advert: Advert) -> Said | None:
    """A frame of an Eddystone beacon. Encrypted telemetry and ephemeral ids say only that it is there."""
    data = advert.data_of(EDDYSTONE)
    if not data:
        return None
    values = [present()]
    words: tuple[str, ...] = ()
    if data[0] == UID and len(data) >= UID_SIZE:
        words = (f"Eddystone-UID {data[2:12].hex()} {data[12:18].hex()}",)
    elif data[0] == URL and len(data) >= 3:  # noqa: PLR2004  frame, power, scheme
        words = (f"Eddystone-URL {url(data[2:])}",)
    elif data[0] == TLM and len(data) >= TLM_SIZE and data[1] == PLAIN:
        values += _telemetry(data)
    elif data[0] not in (UID, URL, TLM, EID):
        return None
    return Said("Eddystone", tuple(values), unmapped=words)


def url(data: bytes) -> str:
    """The address of an Eddystone-URL frame: a scheme's number, then text with numbers for endings."""
    scheme = SCHEMES[data[0]] if data[0] < len(SCHEMES) else ""
    text = []
    for octet in data[1:]:
        if octet < 2 * len(ENDINGS):
            text.append(ENDINGS[octet % len(ENDINGS)] + ("/" if octet < len(ENDINGS) else ""))
        elif 0x20 < octet < 0x7F:  # noqa: PLR2004  printable; the others are reserved
            text.append(chr(octet))
    return scheme + "".join(text)


def _telemetry(data: bytes) -> list[Values]:
    millivolts, warmth, count, tenths = struct.unpack(">HhII", data[2:14])
    celsius = None if warmth == NO_TEMPERATURE else warmth / 256
    return [
        Values("1", *scales.battery_voltage(millivolts or None)),  # 0: it has no battery
        Values("1", *scales.temperature(celsius)),
        Values("advertisements", *scales.number("advertisements", count, "")),
        Values("uptime", *scales.number("uptime", tenths / 10, "s")),
    ]


def ibeacon(advert: Advert) -> Said | None:
    """A beacon of Apple's form: it is there; its ids are words for people."""
    data = advert.manufacturer.get(APPLE)
    if data is None or len(data) != IBEACON_SIZE or not data.startswith(IBEACON):
        return None
    major, minor = struct.unpack(">HH", data[18:22])
    return Said("iBeacon", (present(),), unmapped=(f"iBeacon {UUID(bytes=data[2:18])} {major} {minor}",))


def ruuvi(advert: Advert) -> Said | None:
    """A RuuviTag's RAWv2."""
    data = advert.manufacturer.get(RUUVI)
    if data is None or len(data) < RAWV2_SIZE or data[0] != RAWV2:
        return None
    warmth, damp, weight, x, y, z, energy, moves, sequence = struct.unpack(">hHHhhhHBH", data[1:18])
    millivolts, known = energy >> 5, 0xFFFF
    values = [
        Values("1", *scales.temperature(None if warmth == NO_TEMPERATURE else warmth / 200)),
        Values("1", *scales.humidity(None if damp == known else damp / 400)),
        Values("1", *scales.pressure(None if weight == known else (weight + 50_000) / 100)),
        Values("1", *scales.battery_voltage(None if millivolts == 0x7FF else millivolts + 1600)),  # noqa: PLR2004  unknown
        Values("movements", *scales.number("movements", None if moves == 0xFF else moves, "")),  # noqa: PLR2004  unknown
    ]
    for axis, raw in (("accelerationX", x), ("accelerationY", y), ("accelerationZ", z)):
        values.append(Values(axis, *scales.number(axis, None if raw == NO_TEMPERATURE else raw / 1000, "g")))
    return Said("Ruuvi RAWv2", tuple(values), packet=None if sequence == known else sequence)


PARSERS = (ruuvi, eddystone, ibeacon)
