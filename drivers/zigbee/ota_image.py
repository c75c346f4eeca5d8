"""Zigbee OTA upgrade images: the header and the tagged sub-elements after it (ZCL 8, 11.4 "OTA File Format"). PURE.

Makers wrap and pad their files: IKEA's NGIS container, Legrand's and Third Reality's headers, bytes after the end. Like zigbee-herdsman
this looks for the magic number; the first place from which a whole image can be read is the image, and only that is ever sent.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agent.driver import InvalidParameters

MAGIC = struct.pack("<I", 0x0BEEF11E)
LARGEST = 16 << 20  # octets; the largest files of public indexes have 2 MiB
CANDIDATES = 16  # places of the magic number that are tried
ELEMENTS = 64

_FIXED = struct.Struct("<4sHHHHHIH32sI")  # file id, header version, header length, field control, manufacturer, ...
_SECURITY, _DESTINATION, _HARDWARE = 0x0001, 0x0002, 0x0004  # field control
_OPTIONAL = {_SECURITY: 1, _DESTINATION: 8, _HARDWARE: 4}  # octets, in this order
_ELEMENT = struct.Struct("<HI")  # tag, length
TELINK, TELINK_INFO = 0xF000, 2  # Telink's encrypted element has two octets of its own between length and data
HUE, HUE_BODY = 0x100B, b"\x2a\x00\x01"  # Signify's sbl-ota files have no elements behind the header


class ImageError(InvalidParameters):
    """The file is no Zigbee OTA image."""


@dataclass(frozen=True, slots=True)
class Header:
    """`destination` is the one EUI64 that a file is for, `hardware` the lowest and highest version; None where the file does not say."""

    version: int  # of the header
    length: int
    control: int
    manufacturer: int
    image_type: int
    file_version: int
    stack_version: int
    text: bytes
    size: int  # of the whole image
    security: int | None = None
    destination: int | None = None
    hardware: tuple[int, int] | None = None

    def suits(self, hardware: int | None) -> bool:
        """Whether a device of this hardware version may have it; one that does not tell its version may (ZCL 8, 11.13.4)."""
        return self.hardware is None or hardware is None or self.hardware[0] <= hardware <= self.hardware[1]


@dataclass(frozen=True, slots=True)
class Element:
    """One sub-element: tag 0 is the upgrade image itself."""

    tag: int
    data: bytes


@dataclass(frozen=True, slots=True)
class OtaImage:
    """An image as it is served, and where it began in the file. Without elements its body is the maker's own."""

    header: Header
    elements: tuple[Element, ...]
    data: bytes
    offset: int = 0


def parse(file: bytes, place: str = "") -> OtaImage:
    """The image in a file. Raises ImageError, which says why the first place that looked like one is none."""
    remedy = "take the file of the device's maker (.ota, .zigbee); what is signed is not what the radio needs"
    if len(file) > LARGEST:
        raise ImageError(f"{len(file)} bytes are too many for a Zigbee image", place=place, remedy=remedy)
    reason = ""
    for start in _places(file):
        try:
            return _image(file, start)
        except ValueError as error:
            reason = reason or f", at {start}: {error}"
    raise ImageError(f"this is no Zigbee OTA image{reason}", place=place, remedy=remedy)


def _places(file: bytes) -> Iterator[int]:
    start = -1
    for _ in range(CANDIDATES):
        start = file.find(MAGIC, start + 1)
        if start < 0:
            return
        yield start


def _image(file: bytes, start: int) -> OtaImage:
    header = _header(file, start)
    data = file[start : start + header.size]
    if len(data) < header.size:
        raise ValueError(f"{header.size} bytes are announced, {len(data)} are there")
    if header.manufacturer == HUE and data[header.length :].startswith(HUE_BODY):
        return OtaImage(header, (), data, start)
    return OtaImage(header, tuple(_elements(data, header.length)), data, start)


def _header(file: bytes, start: int) -> Header:
    """Raises ValueError."""
    if len(file) - start < _FIXED.size:
        raise ValueError("the header is cut short")
    _, version, length, control, manufacturer, kind, file_version, stack, text, size = _FIXED.unpack_from(file, start)
    needed = _FIXED.size + sum(octets for bit, octets in _OPTIONAL.items() if control & bit)
    if version >> 8 != 1:
        raise ValueError(f"header version 0x{version:04X} is not known")
    if not needed <= length <= size:
        raise ValueError(f"a header of {length} bytes does not hold what it names, in an image of {size}")
    if len(file) - start < length:
        raise ValueError("the header is cut short")
    at, found = start + _FIXED.size, {}
    for bit, octets in _OPTIONAL.items():
        if control & bit:
            found[bit] = int.from_bytes(file[at : at + octets], "little")
            at += octets
    hardware = found.get(_HARDWARE)
    return Header(
        version,
        length,
        control,
        manufacturer,
        kind,
        file_version,
        stack,
        text,
        size,
        found.get(_SECURITY),
        found.get(_DESTINATION),
        None if hardware is None else (hardware & 0xFFFF, hardware >> 16),
    )


def _elements(data: bytes, at: int) -> Iterator[Element]:
    """Raises ValueError unless they fill the image to its last byte."""
    for _ in range(ELEMENTS):
        if at == len(data):
            return
        if len(data) - at < _ELEMENT.size:
            raise ValueError("a sub-element is cut short")
        tag, length = _ELEMENT.unpack_from(data, at)
        at += _ELEMENT.size + (TELINK_INFO if tag == TELINK else 0)
        if length > len(data) - at:
            raise ValueError(f"sub-element 0x{tag:04X} goes beyond the end")
        yield Element(tag, data[at : at + length])
        at += length
    if at != len(data):
        raise ValueError(f"more than {ELEMENTS} sub-elements")
