"""The sender's side of XMODEM with CRC-16 (Forsberg, "XMODEM/YMODEM Protocol Reference", chapter 7; AN0047). PURE: bytes in, bytes out.

The receiver begins with `C`; each block of 128 octets is acknowledged, or asked for again; the last one is padded with zero octets, which
what is sent must bear after its end.
"""

import binascii
from enum import IntEnum

BLOCK = 128
TRIES = 10  # of one block, before it is given up


class Signal(IntEnum):
    SOH = 0x01
    EOT = 0x04
    ACK = 0x06
    NAK = 0x15
    CAN = 0x18
    READY = 0x43  # "C"


class Sender:
    """One upload of `data`. `heard` takes what the receiver says, `silent` tells that it has said nothing for a while.

    Both return what is to be sent now. `done`: the receiver has it all; `failed`: why it has not and will not, "" as long as it may;
    `acknowledged`: octets.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0  # octets that were sent and acknowledged
        self._out = b""  # what was sent last
        self._tries = 0
        self.done = False
        self.failed = ""

    @property
    def acknowledged(self) -> int:
        return min(self._next, len(self._data))

    def heard(self, octet: int) -> bytes:
        """One octet of the receiver; what means nothing here is noise on the line."""
        if self.done or self.failed:
            return b""
        match octet:
            case Signal.READY if not self._out:
                return self._send(self._block())
            case Signal.ACK if self._out:
                return self._go_on()
            case Signal.NAK if self._out:
                return self._again()
            case Signal.CAN:
                self.failed = "the receiver has broken off"
        return b""

    def silent(self) -> bytes:
        """An acknowledgement, or what it is for, was lost."""
        return self._again() if self._out and not self.done and not self.failed else b""

    def _go_on(self) -> bytes:
        if self._out[0] == Signal.EOT:
            self.done = True
            return b""
        self._next += BLOCK
        self._tries = 0
        return self._send(self._block() if self._next < len(self._data) else bytes((Signal.EOT,)))

    def _again(self) -> bytes:
        self._tries += 1
        if self._tries > TRIES:
            self.failed = f"block {self._next // BLOCK + 1} was not taken, {TRIES} times"
            return bytes((Signal.CAN,)) * 2
        return self._out

    def _block(self) -> bytes:
        number = (self._next // BLOCK + 1) & 0xFF
        data = self._data[self._next : self._next + BLOCK].ljust(BLOCK, b"\0")
        check = binascii.crc_hqx(data, 0).to_bytes(2, "big")
        return bytes((Signal.SOH, number, 0xFF - number)) + data + check

    def _send(self, data: bytes) -> bytes:
        self._out = data
        return data
