"""TI's Monitor and Test protocol: UNPI frames, command numbers, layouts (Z-Stack Monitor and Test API 1.14). PURE.

Layouts are those of `struct` without alignment; `*` takes the rest of the frame.
"""

import struct
from enum import IntEnum
from typing import Any

SOF = 0xFE
MAX_PAYLOAD = 250
SREQ, AREQ, SRSP = 0x20, 0x40, 0x60
SYS, AF, ZDO, UTIL, APP = 0x01, 0x04, 0x05, 0x07, 0x0F


class Status(IntEnum):
    """MT and stack status values."""

    SUCCESS = 0x00
    FAILURE = 0x01
    INVALID_PARAMETER = 0x02
    ITEM_UNINIT = 0x09
    OPERATION_FAILED = 0x0A
    BAD_LENGTH = 0x0C
    MEMORY = 0x10
    TABLE_FULL = 0xB2  # of the APS layer
    DUPLICATE = 0xB8
    NO_ROUTE = 0xCD
    NO_ACK = 0xE9
    EXPIRED = 0xF0


REQUESTS: dict[tuple[int, int], tuple[str, str]] = {  # (subsystem, command): (name, layout)
    (SYS, 0x01): ("ping", ""),
    (SYS, 0x02): ("version", ""),
    (SYS, 0x04): ("own_address", ""),
    (SYS, 0x07): ("item_init", "<HHB*"),
    (SYS, 0x08): ("item_read", "<HB"),
    (SYS, 0x09): ("item_write", "<HBB*"),
    (SYS, 0x0F): ("tune", "<BB"),
    (SYS, 0x12): ("item_delete", "<HH"),
    (SYS, 0x13): ("item_length", "<H"),
    (SYS, 0x14): ("tx_power", "<b"),
    (SYS, 0x1C): ("item_read", "<HH"),
    (SYS, 0x1D): ("item_write", "<HHH*"),
    (SYS, 0x30): ("table_create", "<BHHI"),
    (SYS, 0x31): ("table_delete", "<BHH"),
    (SYS, 0x32): ("table_length", "<BHH"),
    (SYS, 0x33): ("table_read", "<BHHHB"),
    (SYS, 0x34): ("table_write", "<BHHHB*"),
    (AF, 0x00): ("register", "<BHHBB*"),
    (AF, 0x01): ("data", "<HBBHBBBB*"),
    (AF, 0x02): ("data_ext", "<BQBHBHBBBH*"),
    (AF, 0x04): ("unregister", "<B"),
    (ZDO, 0x00): ("nwk_address", "<QBB"),
    (ZDO, 0x01): ("ieee_address", "<HBB"),
    (ZDO, 0x02): ("ask", "<H*"),
    (ZDO, 0x03): ("ask", "<H*"),
    (ZDO, 0x04): ("ask", "<H*"),
    (ZDO, 0x05): ("ask", "<H*"),
    (ZDO, 0x06): ("ask", "<H*"),
    (ZDO, 0x21): ("bind", "<H*"),
    (ZDO, 0x22): ("bind", "<H*"),
    (ZDO, 0x31): ("ask", "<H*"),
    (ZDO, 0x32): ("ask", "<H*"),
    (ZDO, 0x33): ("ask", "<H*"),
    (ZDO, 0x34): ("ask", "<H*"),
    (ZDO, 0x36): ("permit", "<BHBB"),
    (ZDO, 0x37): ("nwk_update", "<HBIBBH"),
    (ZDO, 0x3E): ("accepted", "<H"),
    (ZDO, 0x40): ("startup", "<H"),
    (ZDO, 0x45): ("accepted", "<HBB"),
    (ZDO, 0x46): ("accepted", "<HBB"),
    (ZDO, 0x4A): ("find_group", "<BH"),
    (ZDO, 0x4B): ("add_group", "<BH*"),
    (ZDO, 0x47): ("remove_group", "<BH"),
    (ZDO, 0x50): ("nwk_info", ""),
    (UTIL, 0x00): ("device_info", ""),
    (UTIL, 0x0A): ("accepted", "<BB"),
    (UTIL, 0x48): ("assoc_count", "<BB"),
    (UTIL, 0x49): ("assoc_find", "<B"),
    (UTIL, 0x4A): ("assoc_get", "<QH"),
    (UTIL, 0x63): ("accepted", "<Q"),
    (UTIL, 0x64): ("accepted", "<HQB"),
    (APP, 0x03): ("accepted", "<B"),
    (APP, 0x04): ("install_code", "<BQ*"),
    (APP, 0x05): ("commission", "<B"),
    (APP, 0x06): ("codes_only", "<B"),
    (APP, 0x08): ("accepted", "<BI"),
    (APP, 0x09): ("accepted", "<B"),
}


class MtError(ValueError):
    """A payload that does not fit its layout."""


def unpack(layout: str, data: bytes) -> tuple[Any, ...]:
    """The values of a layout; the rest as bytes when it ends with `*`. Raises MtError."""
    fixed = struct.Struct(layout.rstrip("*") or "<")
    if len(data) < fixed.size:
        raise MtError(f"{len(data)} octets, not {fixed.size}")
    values = fixed.unpack_from(data)
    return (*values, data[fixed.size :]) if layout.endswith("*") else values


def frame(kind: int, subsystem: int, command: int, payload: bytes = b"") -> bytes:
    """One UNPI frame with its check octet."""
    body = bytes([len(payload), kind | subsystem, command]) + payload
    check = 0
    for octet in body:
        check ^= octet
    return bytes([SOF]) + body + bytes([check])


class Parser:
    """Cuts a byte stream into (command 0, command 1, payload); what is no frame is counted and skipped."""

    def __init__(self) -> None:
        self.bad_bytes = self.bad_frames = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        self._buffer += data
        buffer, at, frames = self._buffer, 0, []
        while len(buffer) - at >= 5:  # noqa: PLR2004  the shortest frame
            size = buffer[at + 1]
            if buffer[at] != SOF or size > MAX_PAYLOAD:
                self.bad_bytes += 1
                at += 1
                continue
            if len(buffer) - at < size + 5:
                break
            check = 0
            for octet in buffer[at + 1 : at + size + 5]:
                check ^= octet
            if check:
                self.bad_frames += 1
                at += 1
                continue
            frames.append((buffer[at + 2], buffer[at + 3], bytes(buffer[at + 4 : at + 4 + size])))
            at += size + 5
        del buffer[:at]
        return frames
