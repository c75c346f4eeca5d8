"""Images for the Gecko bootloader (.gbl): whether one is whole, and which version it says it is (Silicon Labs UG266, section 7). PURE.

A file is a row of tags: 32-bit identifier, 32-bit length, data, all little-endian. The first is the header, the last has the CRC-32 of all
before its value; what a transfer pads after that is not looked at.
"""

import struct
import zlib
from dataclasses import dataclass

HEADER, APPLICATION, END = 0x03A617EB, 0xF40A0AF4, 0xFC0404FC
_TAG, _CRC, _APPLICATION = struct.Struct("<II"), struct.Struct("<I"), struct.Struct("<III16s")
_HEADER_LENGTH = 8


class GblError(ValueError):
    """It is no such image, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Gbl:
    """What an image says of itself. `version` of the application, None where it is not said (or encrypted); `size` without padding, bytes."""

    size: int
    version: int | None = None


def read(data: bytes) -> Gbl:
    """Raises GblError."""
    at, version, first = 0, None, True
    while True:
        if at + _TAG.size > len(data):
            raise GblError("it ends before its last tag")
        tag, length = _TAG.unpack_from(data, at)
        start, end = at + _TAG.size, at + _TAG.size + length
        if first and (tag, length) != (HEADER, _HEADER_LENGTH):
            raise GblError("it is no .gbl file")
        if end > len(data):
            raise GblError("a tag reaches over its end")
        if tag == END:
            if length != _CRC.size or _CRC.unpack_from(data, start)[0] != zlib.crc32(data[:start]):
                raise GblError("its checksum is wrong")
            return Gbl(end, version)
        if tag == APPLICATION and length >= _APPLICATION.size:
            version = _APPLICATION.unpack_from(data, start)[1]
        at, first = end, False
