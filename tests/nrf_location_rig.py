"""What the location tests ask for, and A-GNSS answers read by their layout (the SDK's `nrf_cloud_agnss_schema_v1.h`)."""

import struct

CELL = {"mcc": 244, "mnc": 91, "tac": 4099, "eci": 36078631}
UNKNOWN_CELL, PRIVATE_CELL = {**CELL, "mcc": 1}, {**CELL, "mcc": 999}
SIZES = {1: 14, 2: 62, 3: 31, 4: 8, 5: 8, 6: 4, 7: 16, 8: 15, 9: 4, 11: 31, 12: 62, 13: 4}


def elements(content: bytes) -> dict[int, list[bytes]]:
    """The elements of an A-GNSS answer by type; every byte belongs to one."""
    assert content[0] == 1
    place, found = 1, dict[int, list[bytes]]()
    while place < len(content):
        kind, count = struct.unpack_from("<BH", content, place)
        size = SIZES[kind]
        found[kind] = [content[place + 3 + size * n : place + 3 + size * (n + 1)] for n in range(count)]
        place += 3 + size * count
    assert place == len(content)
    return found
