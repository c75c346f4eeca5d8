"""The Gecko bootloader of a simulated stick: a menu, and an upload by XMODEM with CRC (AN0047, UG266). PURE: bytes in, bytes out.

Texts end with a zero byte, as the bootloader sends them. An upload goes over the application that was there: until a whole one has come,
there is none to run.
"""

import binascii

from drivers import gbl

MENU = b"\r\nGecko Bootloader v1.12.00\r\n1. upload gbl\r\n2. run\r\n3. ebl info\r\nBL > \0"
BEGIN = b"\r\nbegin upload\r\n\0"
COMPLETE = b"\r\nSerial upload complete\r\n\0"
ABORTED = b"\r\nSerial upload aborted\r\nfile error 0x18\r\n\0"
READY = b"C"  # the receiver wants blocks with a CRC
SOH, EOT, ACK, NAK, CAN = 0x01, 0x04, 0x06, 0x15, 0x18
BLOCK = 128
_FRAME = 3 + BLOCK + 2  # header, data, CRC
_UPLOAD, _RUN = ord("1"), ord("2")


class Bootloader:
    """One stay in it. `whole`: there is an application; `run`: it is to be started; `image`: what was uploaded last, with its padding.

    `refuses` so many images are not taken, whatever they are; `loses` so many blocks are not acknowledged.
    """

    def __init__(self, *, whole: bool = True) -> None:
        self.whole = whole
        self.run = False
        self.image = b""
        self.refuses = self.loses = 0
        self._uploading = False
        self._received = bytearray()
        self._number = 1
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """What it says to these bytes."""
        self._buffer += data
        out: list[bytes] = []
        while self._buffer and not self.run:
            step = self._block() if self._uploading else self._choose()
            if step is None:
                break
            out += step
        return out

    def _choose(self) -> list[bytes]:
        choice = self._buffer.pop(0)
        if choice == _RUN and self.whole:
            self.run = True
            return []
        if choice == _UPLOAD:
            self._uploading, self._number = True, 1
            self._received.clear()
            return [BEGIN, READY]
        self._buffer.clear()
        return [MENU]

    def _block(self) -> list[bytes] | None:
        """One step of the upload; None where more bytes are needed."""
        first = self._buffer[0]
        if first == EOT:
            del self._buffer[:1]
            return self._end()
        if first == CAN:
            self._buffer.clear()
            self._uploading = False
            return [ABORTED, MENU]
        if first != SOH:
            del self._buffer[:1]
            return []
        if len(self._buffer) < _FRAME:
            return None
        frame = bytes(self._buffer[:_FRAME])
        del self._buffer[:_FRAME]
        return self._take(frame[1], frame[2], frame[3 : 3 + BLOCK], frame[-2:])

    def _take(self, number: int, inverse: int, data: bytes, check: bytes) -> list[bytes]:
        right = number == 0xFF - inverse and binascii.crc_hqx(data, 0) == int.from_bytes(check, "big")
        if not right or number not in (self._number, self._number - 1 & 0xFF):
            return [bytes((NAK,))]
        if number == self._number:  # the one before comes again where its acknowledgement was lost
            self.whole = False
            self._received += data
            self._number = self._number + 1 & 0xFF
        if self.loses:
            self.loses -= 1
            return []
        return [bytes((ACK,))]

    def _end(self) -> list[bytes]:
        self._uploading = False
        received = bytes(self._received)
        try:
            gbl.read(received)
        except gbl.GblError:
            return [bytes((ACK,)), ABORTED, MENU]
        if self.refuses:
            self.refuses -= 1
            return [bytes((ACK,)), ABORTED, MENU]
        self.image, self.whole = received, True
        return [bytes((ACK,)), COMPLETE, MENU]


def version(image: bytes) -> tuple[int, int, int, int] | None:
    """Major, minor, patch and special of the application in an image, where it says so."""
    found = gbl.read(image).version
    return None if found is None else (found >> 24 & 0xFF, found >> 16 & 0xFF, found >> 8 & 0xFF, found & 0xFF)
