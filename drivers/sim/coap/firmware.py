"""The Firmware Update object of a simulated device (OMA LwM2M, object 5): a package in blocks, its check, and what it becomes. PURE.

A package is a line of its version and the SHA-256 of all that follows it: `version=1.2.3 sha256=<hex>`, a line feed, anything.
"""

import hashlib
import re
from collections import deque
from enum import IntEnum

IDLE, DOWNLOADING, DOWNLOADED, UPDATING = range(4)
INITIAL, SUCCESS = 0, 1
NO_ROOM, DAMAGED, WRONG_KIND, FAILED = 2, 5, 6, 8
LARGEST = 1 << 20
SPOILS = ("forget", "damage", "fail")
_HEAD = re.compile(rb"version=([0-9.]{1,20}) sha256=([0-9a-f]{64})\n")


class Taken(IntEnum):
    """What becomes of a block."""

    MORE = 0
    ALL = 1
    INCOMPLETE = 2
    TOO_LARGE = 3


class FirmwareObject:
    """`spoil`: what goes wrong next, one of SPOILS; `received`: octets of packages, repetitions included."""

    def __init__(self, version: str) -> None:
        self.version, self.package_version = version, ""
        self.state, self.result, self.received = IDLE, INITIAL, 0
        self.spoil: deque[str] = deque()
        self._package = b""

    def write(self, offset: int, more: bool, payload: bytes) -> Taken:  # noqa: FBT001  as the option has it
        """A block of a package; an empty one alone has it begin anew."""
        if not payload and not offset and not more:
            self.state, self.result, self._package = IDLE, INITIAL, b""
            return Taken.ALL
        if self._spoilt("forget"):
            self._package = b""
        if not offset:
            self._package = b""
        if offset != len(self._package):
            self.state, self._package = IDLE, b""
            return Taken.INCOMPLETE
        if offset + len(payload) > LARGEST:
            self.state, self.result, self._package = IDLE, NO_ROOM, b""
            return Taken.TOO_LARGE
        self._package += payload
        self.received += len(payload)
        self.state, self.result = DOWNLOADING, INITIAL
        if not more:
            self._check()
        return Taken.MORE if more else Taken.ALL

    def _check(self) -> None:
        head = _HEAD.match(self._package)
        if head is None:
            self.state, self.result = IDLE, WRONG_KIND
        elif hashlib.sha256(self._package[head.end() :]).hexdigest() != head[2].decode() or self._spoilt("damage"):
            self.state, self.result = IDLE, DAMAGED
        else:
            self.state, self.package_version = DOWNLOADED, head[1].decode()

    def update(self) -> bool:
        """Start the package; False where there is none."""
        if self.state != DOWNLOADED:
            return False
        self.state = UPDATING
        return True

    def begin(self) -> None:
        """It starts, after an update or a lost battery: what was half there is gone."""
        if self.state == UPDATING:
            good = not self._spoilt("fail")
            self.result = SUCCESS if good else FAILED
            self.version = self.package_version if good else self.version
        self.state, self._package = IDLE, b""

    def _spoilt(self, kind: str) -> bool:
        if self.spoil and self.spoil[0] == kind:
            self.spoil.popleft()
            return True
        return False


def package(version: str, content: bytes) -> bytes:
    """A file for such a device."""
    return f"version={version} sha256={hashlib.sha256(content).hexdigest()}\n".encode() + content
