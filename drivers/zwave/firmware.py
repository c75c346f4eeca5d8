"""Fragments of a firmware image (SDS13782, Firmware Update Meta Data command class). PURE."""

from dataclasses import dataclass

from drivers.zwave.codec import CodecError, Command, decode, make
from drivers.zwave.encapsulation import crc16

REPORT = "Firmware Update Meta Data Report"
_CRC = 2
_CHECKED = 2  # the version from which on fragments carry a checksum


@dataclass(frozen=True, slots=True)
class Fragment:
    """Fragment `number`, from 1 on."""

    number: int
    last: bool
    data: bytes


def encode(fragment: Fragment, version: int) -> bytes:
    """The report that carries a fragment; `version` is the receiver's."""
    report = make(REPORT, number=fragment.number, last=fragment.last, data=fragment.data)
    return report + crc16(report).to_bytes(_CRC, "big") if version >= _CHECKED else report


def parse(report: bytes, version: int) -> Fragment:
    """The inverse. Raises CodecError, also for a wrong checksum."""
    command = decode(report)
    if not isinstance(command, Command) or command.name != REPORT:
        raise CodecError("no firmware fragment")
    data: bytes = command["data"]
    if version >= _CHECKED:
        if len(data) < _CRC or crc16(report[:-_CRC]) != int.from_bytes(data[-_CRC:], "big"):
            raise CodecError("the fragment's checksum does not fit")
        data = data[:-_CRC]
    return Fragment(command["number"], command["last"], data)


def image_checksum(image: bytes) -> int:
    """What Meta Data Report and Request Get call the checksum of an image."""
    return crc16(image)
