"""A simulated device with Nordic's legacy DFU: an application that can be left, and a boot loader that takes another one. PURE.

nRF5 SDK 11 documentation, "BLE DFU Service", "BLE DFU Profile", "Init packet". Written without the driver's codec. The flash has one bank:
START takes the application away. What an image is called stands in it as `version=1.2.3;`.
"""

import binascii
import re
import struct
from collections.abc import Callable
from typing import Any

from drivers.sim.ble.firmware import APPLICATION, BOOTLOADER, Effect, Notify, Restart

BASE = "-1212-efde-1523-785feabcd123"
SERVICE, CONTROL, PACKET, REVISION = (f"0000{number}{BASE}" for number in ("1530", "1531", "1532", "1534"))
LARGEST = 256 * 1024  # octets
DEVICE_TYPE = 0x0052
ANY = 0xFFFF
SUCCESS, INVALID_STATE, NOT_SUPPORTED, TOO_LARGE, CRC_ERROR, FAILED = range(1, 7)
_APPLICATION = 4
_START, _INIT, _RECEIVE, _VALIDATE, _ACTIVATE, _RESET, _SIZE, _RECEIPTS = range(1, 9)
_STEPS = {
    _START: "dfu-start",
    _INIT: "dfu-init",
    _RECEIVE: "dfu-receive",
    _VALIDATE: "dfu-validate",
    _ACTIVATE: "dfu-activate",
}
IDLE, SIZES, READY, INIT, KNOWN, DATA, GOT, GOOD = range(8)  # where it stands
_VERSION = re.compile(rb"version=([0-9.]{1,20});")


class DfuTarget:
    """`version` is that of the application that it comes with."""

    def __init__(self, version: str) -> None:
        self.mode = APPLICATION
        self.received = 0
        self._version, self._whole = version, True
        self._entered = False  # the boot loader is entered on purpose
        self._clear()

    def _clear(self) -> None:
        self._state, self._length, self._init, self._image, self._every, self._packets = IDLE, 0, b"", b"", 0, 0

    @property
    def version(self) -> str:
        return self._version

    def step(self, uuid: str, data: bytes) -> str:
        if uuid == PACKET:
            return "dfu-packet"
        step = _STEPS.get(data[0], "") if uuid == CONTROL and data else ""
        return "dfu-jump" if step == "dfu-start" and self.mode == APPLICATION else step

    def heard(self, uuid: str, data: bytes, spoilt: str) -> list[Effect]:
        """See Firmware."""
        if uuid == PACKET and self.mode == BOOTLOADER:
            return self._packet(data, spoilt)
        if uuid != CONTROL or not data:
            return []
        if self.mode == APPLICATION:
            jump = data[:2] == bytes((_START, _APPLICATION)) and spoilt != "refuse"
            self._entered = jump
            return [Restart()] if jump else []
        return self._asked(data, spoilt)

    # ---- the control point ------------------------------------------------------------------------------------------

    def _asked(self, data: bytes, spoilt: str) -> list[Effect]:
        procedure = data[0]
        if spoilt == "refuse":
            return _answer(procedure, FAILED)
        acts: dict[tuple[int, int], Callable[[bytes, str], list[Effect]]] = {
            (_START, IDLE): self._started,
            (_INIT, READY): self._init_begins,
            (_INIT, INIT): lambda _data, _spoilt: self._known(),
            (_RECEIVE, KNOWN): self._receives,
            (_VALIDATE, GOT): lambda _data, spoilt: self._validated(spoilt),
            (_ACTIVATE, GOOD): lambda _data, _spoilt: [Restart()],
        }
        if procedure == _RESET:
            return [Restart()]
        if procedure == _RECEIPTS:
            self._every = int.from_bytes(data[1:3], "little")
            return []
        act = acts.get((procedure, self._state))
        if act is None:
            return _answer(procedure, INVALID_STATE if procedure in _STEPS else NOT_SUPPORTED)
        return act(data, spoilt)

    def _started(self, data: bytes, _spoilt: str) -> list[Effect]:
        """Its answer comes after the sizes."""
        if data[1:2] != bytes((_APPLICATION,)):
            return _answer(_START, NOT_SUPPORTED)
        self._state = SIZES
        return []

    def _init_begins(self, _data: bytes, _spoilt: str) -> list[Effect]:
        self._state, self._init = INIT, b""
        return []

    def _receives(self, _data: bytes, _spoilt: str) -> list[Effect]:
        self._state, self._image, self._packets = DATA, b"", 0
        return []

    def _known(self) -> list[Effect]:
        """Whether the init packet is of this device: type, revision, application's version, SoftDevices, checksum."""
        good = len(self._init) > 8 and int.from_bytes(self._init[:2], "little") in (DEVICE_TYPE, ANY)  # noqa: PLR2004
        self._state = KNOWN if good else IDLE
        return _answer(_INIT, SUCCESS if good else FAILED)

    def _validated(self, spoilt: str) -> list[Effect]:
        checksum = binascii.crc_hqx(self._image, 0xFFFF)
        if checksum != int.from_bytes(self._init[-2:], "little") or spoilt == "bad_hash":
            self._clear()
            return _answer(_VALIDATE, CRC_ERROR)
        found = _VERSION.search(self._image)
        self._version, self._whole = found[1].decode() if found else "0.0.0", spoilt != "reverts"
        self._state = GOOD
        return _answer(_VALIDATE, SUCCESS)

    # ---- packets ----------------------------------------------------------------------------------------------------

    def _packet(self, data: bytes, spoilt: str) -> list[Effect]:
        if self._state == SIZES:
            return self._sizes(data)
        if self._state == INIT:
            self._init += data
        if self._state != DATA:
            return []
        if spoilt != "wrong_offset":  # else it is lost on its way
            self._image += data
            self.received += len(data)
        self._packets += 1
        if len(self._image) >= self._length:
            self._state = GOT
            return _answer(_RECEIVE, SUCCESS if len(self._image) == self._length else TOO_LARGE)
        if self._every and self._packets % self._every == 0:
            return [Notify(CONTROL, struct.pack("<BI", 0x11, len(self._image)))]
        return []

    def _sizes(self, data: bytes) -> list[Effect]:
        if len(data) != 12 or data[:8] != bytes(8):  # noqa: PLR2004  three lengths, of which the first two have to be 0
            self._clear()
            return _answer(_START, NOT_SUPPORTED)
        self._length = int.from_bytes(data[8:], "little")
        if not 0 < self._length <= LARGEST:
            self._clear()
            return _answer(_START, TOO_LARGE)
        self._state, self._whole = READY, False
        return _answer(_START, SUCCESS)

    # ---- life -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The application, where there is a whole one and it was not just left for the boot loader."""
        self.mode = BOOTLOADER if self._entered or not self._whole else APPLICATION
        self._entered = False
        self._clear()

    def cut(self) -> None:
        """It stays where it was: whoever connects next finds it in the middle of something."""

    def document(self) -> dict[str, Any]:
        return {"version": self._version, "whole": self._whole, "mode": self.mode}

    def load(self, document: dict[str, Any]) -> None:
        self._version, self._whole, self.mode = document["version"], document["whole"], document["mode"]


def revision(mode: str) -> bytes:
    """What its service says of the mode."""
    return b"\x01\x00" if mode == APPLICATION else b"\x08\x00"


def _answer(procedure: int, status: int) -> list[Effect]:
    return [Notify(CONTROL, bytes((0x10, procedure, status)))]
