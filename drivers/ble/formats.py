"""All formats of advertisements: which one it is, what it says, and which patterns a passive scan asks for. PURE."""

from drivers.ble import beacons, bthome
from drivers.ble.adverts import Advert, Said

SERVICE_DATA_16, MANUFACTURER, FLAGS = 0x16, 0xFF, 0x01  # AD types (Assigned Numbers, 2.3)

# (start, AD type, octets) of BlueZ's advertisement monitors: the formats, and the flags of all that is discoverable.
PATTERNS: tuple[tuple[int, int, bytes], ...] = (
    (0, SERVICE_DATA_16, bytes.fromhex("d2fc")),
    (0, SERVICE_DATA_16, bytes.fromhex("aafe")),
    (0, MANUFACTURER, bytes.fromhex("4c000215")),
    (0, MANUFACTURER, bytes.fromhex("990405")),
    *((0, FLAGS, bytes((flags,))) for flags in (0x02, 0x04, 0x05, 0x06, 0x1A)),
)


def parse(advert: Advert, decrypt: bthome.Decrypt | None = None) -> Said | None:
    """What an advertisement says; None when it has no format that is known. Raises bthome.LockedError."""
    said = bthome.parse(advert, decrypt)
    if said is not None:
        return said
    return next((found for parser in beacons.PARSERS if (found := parser(advert)) is not None), None)
