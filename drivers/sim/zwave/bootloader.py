"""The Gecko bootloader of 700 and 800 series chips: a menu, and an upload by XMODEM with CRC (AN0047, UG266). PURE: bytes in, bytes out.

Texts end with a zero byte, as the bootloader sends them.
"""

import binascii

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
    """One stay in it. `run`: the application is to be started; `image`: what was uploaded last."""

    def __init__(self) -> None:
        self.run = False
        self.image = b""
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
        if choice == _RUN:
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
            self._uploading, self.image = False, bytes(self._received)
            return [bytes((ACK,)), COMPLETE, MENU]
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
        number, data = frame[1], frame[3 : 3 + BLOCK]
        right = number == 0xFF - frame[2] and binascii.crc_hqx(data, 0) == int.from_bytes(frame[-2:], "big")
        if not right or number not in (self._number, self._number - 1 & 0xFF):
            return [bytes((NAK,))]
        if number == self._number:  # the one before comes again where its acknowledgement was lost
            self._received += data
            self._number = self._number + 1 & 0xFF
        return [bytes((ACK,))]
