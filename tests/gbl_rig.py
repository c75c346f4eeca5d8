"""Images for the Gecko bootloader, right ones and wrong ones."""

import struct
import zlib

from drivers.gbl import APPLICATION, END, HEADER


def tag(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data


def gbl(content: bytes = b"", *, version: int | None = None, spoilt: int = 0) -> bytes:
    """An image with a program of `content`; `spoilt` is added to its checksum."""
    told = b"" if version is None else tag(APPLICATION, struct.pack("<III16s", 1, version, 0, bytes(16)))
    whole = tag(HEADER, struct.pack("<II", 0x03000000, 0)) + told + tag(0xFE0101FE, struct.pack("<I", 0x4000) + content)
    whole += struct.pack("<II", END, 4)
    return whole + struct.pack("<I", zlib.crc32(whole) + spoilt & 0xFFFFFFFF)
