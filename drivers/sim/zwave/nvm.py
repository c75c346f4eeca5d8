"""The stick's memory as the host reads and writes it: an image of everything that the chip keeps. PURE.

800-series chips have an NVM3 store (chip_files.py), older ones a table (nvm500.py). A restored image takes effect when it is closed; until
the chip restarts it is read as it was written.
"""

from typing import TYPE_CHECKING

from drivers.sim.zwave import chip_files, nvm500, persistence

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Stick


class Memory:
    """Opened for the time of one backup or restore, so that an image is of one moment."""

    def __init__(self, stick: "Stick") -> None:
        self._stick = stick
        self._image: bytearray | None = None
        self._restored: bytearray | None = None
        self._written = False
        self._read = False
        self.size = stick.profile.nvm
        self.opened = False

    def open(self) -> None:
        """Take the image."""
        self.opened, self._written, self._read = True, False, False
        self._take()

    def _take(self) -> None:
        layout = chip_files if self._stick.has("NvmOperation") else nvm500
        self._image = bytearray(self._restored or layout.image(self._stick))

    def mixes(self, *, write: bool) -> bool:
        """The chip reads or writes between an open and a close, not both."""
        return self._read if write else self._written

    def read(self, offset: int, size: int) -> bytes:
        """What there is of `size` bytes. Older chips read without opening: what has changed since shows from the first byte on."""
        self._read = True
        if self._image is None or (offset == 0 and not self.opened and not self._written):
            self._take()
        return bytes((self._image or b"")[offset : offset + size])

    def write(self, offset: int, data: bytes) -> bool:
        """Whether there is room."""
        if self._image is None:
            self._take()
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
            self._restored = image
            layout = chip_files if self._stick.has("NvmOperation") else nvm500
            state = layout.state(bytes(image))
            if state is not None:
                persistence.unpack_chip(self._stick, state)

    def restart(self) -> None:
        """The chip starts with what it keeps."""
        self.close()
        self._restored = None
