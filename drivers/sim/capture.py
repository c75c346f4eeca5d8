"""A capture file of simulated radio traffic, for Wireshark and its kin (pcap, microseconds)."""

import struct
import time
from pathlib import Path

_HEADER = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
MAGIC, MAJOR, MINOR, LONGEST = 0xA1B2C3D4, 2, 4, 65535


class Capture:
    """Appends frames to a new file; each is there for readers at once."""

    def __init__(self, path: Path, linktype: int) -> None:
        self._file = path.open("wb", buffering=0)
        self._file.write(_HEADER.pack(MAGIC, MAJOR, MINOR, 0, 0, LONGEST, linktype))
        self.frames = 0

    def write(self, frame: bytes) -> None:
        micros = time.time_ns() // 1000
        self._file.write(_RECORD.pack(micros // 1_000_000, micros % 1_000_000, len(frame), len(frame)) + frame)
        self.frames += 1

    def close(self) -> None:
        self._file.close()
