"""Nordic's legacy DFU: what the control point is told, and what it answers. PURE: octets in, messages out.

Source: nRF5 SDK 11 documentation, "BLE DFU Service" and "BLE DFU Profile". All numbers are little endian.
"""

import struct
from dataclasses import dataclass

from drivers.ble.adverts import short
from drivers.ble.gatt import Services

BASE = "-1212-efde-1523-785feabcd123"
SERVICE, CONTROL, PACKET, REVISION = (f"0000{number}{BASE}" for number in ("1530", "1531", "1532", "1534"))
START, INIT, RECEIVE, VALIDATE, ACTIVATE, RESET, RECEIPTS = 1, 2, 3, 4, 5, 6, 8
ANSWER, RECEIPT = 0x10, 0x11
APPLICATION = 4  # the kind of image
SUCCESS, INVALID_STATE, CRC_ERROR = 1, 2, 5
IN_APPLICATION = 0x0001  # revision of a device whose application runs; a boot loader has 0.5 or later
SIZE = 20  # octets of a packet: these boot loaders agree to no larger ones
EVERY = 10  # packets until the device says how much it has got

ENTER = bytes((START, APPLICATION))  # also what an application leaves for its boot loader upon
INIT_BEGINS, INIT_ENDS = bytes((INIT, 0)), bytes((INIT, 1))
REFUSALS = {
    2: "it cannot do that in the state that it is in",
    3: "it does not know the procedure",
    4: "the image is too large",
    5: "the image's checksum is wrong",
    6: "it failed: the image is for another device, or its flash does not take it",
}
_GENERIC = frozenset({0x1800, 0x1801, 0x180A})  # services that say nothing of what runs


class DfuError(ValueError):
    """This is nothing that a control point says."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a procedure ended."""

    procedure: int
    status: int

    @property
    def refusal(self) -> str:
        return "" if self.status == SUCCESS else REFUSALS.get(self.status, f"status {self.status}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """How many octets of the image have come."""

    octets: int


def sizes(image: int) -> bytes:
    """What follows START on the packet characteristic: octets of SoftDevice, boot loader and application."""
    return struct.pack("<III", 0, 0, image)


def receipts(every: int) -> bytes:
    return struct.pack("<BH", RECEIPTS, every)


def parse(data: bytes) -> Answer | Receipt:
    """A notification of the control point. Raises DfuError."""
    match tuple(data):
        case (first, procedure, status, *_) if first == ANSWER:
            return Answer(procedure, status)
        case (first, _, _, _, _) if first == RECEIPT:
            return Receipt(int.from_bytes(data[1:], "little"))
    raise DfuError(f"{data[:20].hex()} is nothing that a DFU control point says")


def offers(services: Services) -> bool:
    return any(one.uuid == SERVICE for one in services)


def looks_like_bootloader(services: Services) -> bool:
    """Whether nothing but DFU is offered; a revision, where there is one, says it better."""
    others = [one for one in services if one.uuid != SERVICE and short(one.uuid) not in _GENERIC]
    return offers(services) and not others


def next_address(address: str) -> str:
    """Where the boot loader of a device without a bond is: its address, one higher in the last octet."""
    head, last = address[:-2], int(address[-2:], 16)
    return f"{head}{(last + 1) & 0xFF:02X}"
