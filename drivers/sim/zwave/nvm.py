"""The stick's memory as the host reads and writes it: an image of everything that the chip keeps. PURE.

800-series chips have an NVM3 store (chip_files.py). Older ones: "ZWSIM1", four bytes of length, zlib-compressed JSON, its CRC-32, then
0xFF. A restored image takes effect when it is closed.
"""

import binascii
import json
import zlib
from typing import TYPE_CHECKING, Any

from drivers.sim.zwave import chip_files, persistence

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Stick

MAGIC = b"ZWSIM1"
_LENGTH = 4


class Memory:
    """Opened for the time of one backup or restore, so that an image is of one moment."""

    def __init__(self, stick: "Stick") -> None:
        self._stick = stick
        self._image: bytearray | None = None
        self._written = False
        self.size = stick.profile.nvm
        self.opened = False

    def open(self, _now: float) -> None:
        """Take the image."""
        self.opened, self._written = True, False
        if self._stick.has("NvmOperation"):
            self._image = bytearray(chip_files.image(self._stick))
        else:
            self._image = bytearray(encode(persistence.pack_chip(self._stick), self.size))

    def read(self, offset: int, size: int, now: float) -> bytes:
        """What there is of `size` bytes. Older chips read without opening."""
        if self._image is None or (offset == 0 and not self.opened):
            opened = self.opened
            self.open(now)
            self.opened = opened
        image = self._image or bytearray()
        return bytes(image[offset : offset + size])

    def write(self, offset: int, data: bytes, now: float) -> bool:
        """Whether there is room."""
        if self._image is None:
            self.read(0, 0, now)
        if self._image is None or offset + len(data) > self.size:
            return False
        self._image[offset : offset + len(data)] = data
        self._written = True
        return True

    def close(self) -> None:
        """Take up what was written, if it is an image."""
        image, self._image, self.opened = self._image, None, False
        if image is not None and self._written:
            self._written = False
            reader = chip_files.state if self._stick.has("NvmOperation") else decode
            state = reader(bytes(image))
            if state is not None:
                persistence.unpack_chip(self._stick, state)


def encode(state: dict[str, Any], size: int) -> bytes:
    """The image. A network that is too large for it is cut off, and then does not restore."""
    packed = zlib.compress(json.dumps(state, sort_keys=True).encode(), 9)
    head = MAGIC + len(packed).to_bytes(_LENGTH, "big")
    return (head + packed + binascii.crc32(packed).to_bytes(4, "big"))[:size].ljust(size, b"\xff")


def decode(image: bytes) -> dict[str, Any] | None:
    """The inverse; None for what is no image."""
    start = len(MAGIC) + _LENGTH
    size = int.from_bytes(image[len(MAGIC) : start], "big")
    packed, check = image[start : start + size], image[start + size : start + size + 4]
    if image[: len(MAGIC)] != MAGIC or binascii.crc32(packed) != int.from_bytes(check, "big"):
        return None
    state: dict[str, Any] = json.loads(zlib.decompress(packed))
    return state
