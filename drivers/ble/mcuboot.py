"""MCUboot's image format: what an image says of itself, and whether it is whole. PURE.

Source: MCUboot, design.md ("Image format", "Image version"). Whose signature it bears is the boot loader's to judge; here only its hash is.
"""

import hashlib
import struct
from dataclasses import dataclass

from agent.driver import version_number

MAGIC, TRAILER, PROTECTED = 0x96F3B83D, 0x6907, 0x6908
HASHES = {0x10: "sha256", 0x11: "sha384", 0x12: "sha512"}  # types of the trailer's entries
LARGEST = 64 << 20  # octets
_HEADER = struct.Struct("<IIHHIIBBHI4x")
_INFO, _ENTRY = struct.Struct("<HH"), struct.Struct("<HH")


class ImageError(ValueError):
    """This is no MCUboot image, or a damaged one."""


@dataclass(frozen=True, slots=True)
class McubootImage:
    """`version` as a server tells it, `number` as a release compares it, `hash` as a server names the image by."""

    version: str
    number: int
    hash: bytes


def parse(data: bytes) -> McubootImage:
    """Raises ImageError."""
    if len(data) < _HEADER.size:
        raise ImageError(f"{len(data)} octets are no header")
    magic, _load, header, protected, size, _flags, major, minor, revision, build = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ImageError("it does not begin as an MCUboot image does")
    end = header + size + protected
    if header < _HEADER.size or end > len(data):
        raise ImageError(f"it ends at octet {len(data)}, and its header says {end}")
    if protected and _INFO.unpack_from(data, header + size) != (PROTECTED, protected):
        raise ImageError("its protected trailer is wrong")
    for kind, value in _entries(data, end):
        if kind in HASHES:
            if hashlib.new(HASHES[kind], data[:end]).digest() != value:
                raise ImageError("it is damaged: its hash is another one")
            version = f"{major}.{minor}.{revision}" + (f".{build}" if build else "")
            return McubootImage(version, version_number(version) or 0, value)
    raise ImageError("it has no hash")


def _entries(data: bytes, start: int) -> list[tuple[int, bytes]]:
    """Type and value of each entry of the trailer. Raises ImageError."""
    if start + _INFO.size > len(data):
        raise ImageError("it has no trailer")
    magic, total = _INFO.unpack_from(data, start)
    if magic != TRAILER or start + total > len(data):
        raise ImageError("its trailer is wrong")
    found, at, end = [], start + _INFO.size, start + total
    while at < end:
        if at + _ENTRY.size > end:
            raise ImageError("its trailer ends in the middle of an entry")
        kind, length = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if at + length > end:
            raise ImageError("its trailer ends in the middle of an entry")
        found.append((kind, data[at : at + length]))
        at += length
    return found
