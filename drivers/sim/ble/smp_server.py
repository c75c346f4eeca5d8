"""A simulated device with MCUboot and an SMP server: two slots, an upload that survives a lost connection, a swap on trial. PURE.

Zephyr's documentation, "Application/software image management group" (as its server behaves: an offset that it does not expect is answered
with the one that it does); MCUboot, design.md (swap, trial, revert). Both ends of the codec are proved against smp and smpclient.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.ble.smp import (
    CHARACTERISTIC,
    ERASE,
    IMAGE,
    OS,
    READ,
    RESET,
    STATE,
    UPLOAD,
    WRITE,
    Packet,
    Part,
    Reassembly,
    SlotRequest,
    SmpError,
    read,
)
from drivers.sim.ble.firmware import APPLICATION, Effect, Notify, Restart

ROOM = 244  # octets of a notification
LARGEST = 1 << 20
INVALID, BAD_STATE, NOT_SUPPORTED, BUSY = 3, 6, 8, 10
NO_IMAGE, BAD_HEADER, BAD_MAGIC, BAD_HASH = 3, 22, 23, 24
_MAGIC, _HEADER, _SHA256 = 0x96F3B83D, 32, 0x10


class RefusedError(Exception):
    def __init__(self, group: int, code: int) -> None:
        super().__init__(f"{group}/{code}")
        self.group, self.code = group, code


@dataclass(slots=True)
class Held:
    """What lies in a slot. One that was made without a file has a version and a hash and nothing else."""

    version: str
    hash: bytes
    data: bytes = b""
    pending: bool = False
    confirmed: bool = False
    whole: bool = True


def blank(version: str) -> Held:
    """The image that a device comes with."""
    return Held(version, hashlib.sha256(version.encode()).digest(), confirmed=True)


def held(data: bytes) -> Held:
    """An image that was uploaded. Raises RefusedError."""
    if len(data) < _HEADER:
        raise RefusedError(IMAGE, BAD_HEADER)
    magic, _, header, protected, size = struct.unpack_from("<IIHHI", data)
    major, minor, revision, build = struct.unpack_from("<BBHI", data, 20)
    if magic != _MAGIC:
        raise RefusedError(IMAGE, BAD_MAGIC)
    end = header + size + protected
    at, told = end + 4, b""
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        told = data[at + 4 : at + 4 + length] if kind == _SHA256 else told
        at += 4 + length
    version = f"{major}.{minor}.{revision}" + (f".{build}" if build else "")
    return Held(version, told, data, whole=told == hashlib.sha256(data[:end]).digest())


class SmpServer:
    """One image with two slots. `reverts`: the next image does not come up."""

    def __init__(self, version: str) -> None:
        self.mode = APPLICATION
        self.received = 0
        self.running = blank(version)
        self.other: Held | None = None
        self._sha, self._length, self._upload = b"", 0, b""
        self._pieces = Reassembly()
        self._step = ""
        self._reverts = False

    @property
    def version(self) -> str:
        return self.running.version

    # ---- what is asked ----------------------------------------------------------------------------------------------

    def step(self, uuid: str, data: bytes) -> str:
        """By the header of a packet; what follows it in further pieces belongs to it."""
        if uuid != CHARACTERISTIC or len(data) < 8:  # noqa: PLR2004  a header
            return self._step
        steps = {
            (IMAGE, STATE, READ): "smp-state",
            (IMAGE, STATE, WRITE): "smp-mark",
            (IMAGE, UPLOAD, WRITE): "smp-upload",
            (OS, RESET, WRITE): "smp-reset",
        }
        self._step = steps.get((int.from_bytes(data[4:6], "big"), data[7], data[0] & 0b111), "")
        return self._step

    def heard(self, uuid: str, data: bytes, spoilt: str) -> list[Effect]:
        """See Firmware. What is no SMP is not answered, as Zephyr has it."""
        if uuid != CHARACTERISTIC:
            return []
        try:
            packets = self._pieces.feed(data)
        except SmpError:
            self._pieces = Reassembly()
            return []
        return [effect for packet in packets for effect in self._served(packet, spoilt)]

    def _served(self, packet: Packet, spoilt: str) -> list[Effect]:
        acts: dict[tuple[int, int, int], Callable[[Packet, str], dict[str, Any]]] = {
            (IMAGE, STATE, READ): lambda _packet, spoilt: self._state(spoilt),
            (IMAGE, STATE, WRITE): self._mark,
            (IMAGE, UPLOAD, WRITE): self._take,
            (IMAGE, ERASE, WRITE): self._erase,
            (OS, RESET, WRITE): self._reset,
        }
        act = acts.get((packet.group, packet.command, packet.operation))
        try:
            if act is None:
                raise RefusedError(packet.group, NOT_SUPPORTED)
            if spoilt == "refuse":
                raise RefusedError(packet.group, BUSY if packet.group == OS else 9)
            body = act(packet, spoilt)
        except RefusedError as error:
            body = {"rc": error.code}
            if packet.version and error.group == IMAGE:
                body = {"err": {"group": error.group, "rc": error.code}}
        answer = Packet(packet.operation | 1, packet.group, packet.command, packet.sequence, body, packet.version)
        data = answer.encoded()
        effects: list[Effect] = [Notify(CHARACTERISTIC, data[at : at + ROOM]) for at in range(0, len(data), ROOM)]
        done = packet.group == OS and "rc" not in body
        return [*effects, Restart()] if done else effects

    def _reset(self, _packet: Packet, spoilt: str) -> dict[str, Any]:
        self._reverts = spoilt == "reverts"
        return {}

    def _erase(self, _packet: Packet, _spoilt: str) -> dict[str, Any]:
        if self.other is not None and self.other.pending:
            raise RefusedError(OS, BAD_STATE)
        self.other, self._upload, self._length = None, b"", 0
        return {}

    # ---- images -----------------------------------------------------------------------------------------------------

    def _state(self, spoilt: str = "") -> dict[str, Any]:
        entries = [_entry(0, self.running, active=True)]
        if self.other is not None:
            entries.append(_entry(1, self.other, active=False))
        if spoilt == "bad_hash":
            entries[-1]["hash"] = bytes(32)
        return {"images": entries, "splitStatus": 0}

    def _mark(self, packet: Packet, _spoilt: str) -> dict[str, Any]:
        try:
            wanted = read(SlotRequest, packet)
        except SmpError:
            raise RefusedError(OS, INVALID) from None
        if wanted.confirm and wanted.hash in (b"", self.running.hash):
            self.running.confirmed = True
        elif self.other is None or self.other.hash != wanted.hash:
            raise RefusedError(IMAGE, NO_IMAGE)
        else:
            self.other.pending, self.other.confirmed = True, wanted.confirm
        return self._state()

    def _take(self, packet: Packet, spoilt: str) -> dict[str, Any]:
        try:
            part = read(Part, packet)
        except SmpError:
            raise RefusedError(OS, INVALID) from None
        if not part.off and (not part.sha or part.sha != self._sha or len(self._upload) >= self._length):
            self._first(part)
        if spoilt == "rewind":
            self._upload = self._upload[: len(self._upload) // 2]
        if spoilt == "wrong_offset":
            return {"off": self._length + 1}
        if part.off != len(self._upload) or not self._length:
            return {"off": len(self._upload)}
        data = part.data if spoilt != "bad_hash" else part.data[:-1] + bytes((part.data[-1] ^ 1,))
        self._upload += data
        self.received += len(data)
        if len(self._upload) < self._length:
            return {"off": len(self._upload)}
        self.other = held(self._upload[: self._length])
        return {"off": self._length, "match": hashlib.sha256(self.other.data).digest() == self._sha}

    def _first(self, part: Part) -> None:
        if part.len is None or not part.data or part.len > LARGEST:
            raise RefusedError(OS, INVALID)
        if not self.running.confirmed or (self.other is not None and self.other.pending):
            raise RefusedError(OS, BAD_STATE)
        if part.data[:4] != _MAGIC.to_bytes(4, "little"):
            raise RefusedError(IMAGE, BAD_MAGIC)
        self._sha, self._length, self._upload, self.other = part.sha, part.len, b"", None

    # ---- the boot loader --------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Swap what is pending, if it is whole; take back what ran on trial and was not confirmed."""
        self._pieces = Reassembly()
        other = self.other
        if other is not None and other.pending:
            other.pending = False
            if not other.whole:
                self.other = None  # MCUboot erases what it does not start
            elif not self._reverts:
                self.running, self.other = other, self.running
        elif not self.running.confirmed and other is not None:
            self.running, self.other = other, self.running
            self.running.confirmed = True
        self._reverts = False

    def cut(self) -> None:
        self._pieces = Reassembly()

    def document(self) -> dict[str, Any]:
        slots = [_kept(one) for one in (self.running, self.other) if one is not None]
        return {"slots": slots, "sha": self._sha.hex(), "length": self._length, "upload": self._upload.hex()}

    def load(self, document: dict[str, Any]) -> None:
        slots = [_loaded(one) for one in document["slots"]]
        self.running, self.other = slots[0], slots[1] if len(slots) > 1 else None
        self._sha, self._length = bytes.fromhex(document["sha"]), document["length"]
        self._upload = bytes.fromhex(document["upload"])


def _entry(slot: int, one: Held, *, active: bool) -> dict[str, Any]:
    told = {"slot": slot, "version": one.version, "hash": one.hash, "bootable": True, "active": active}
    return {**told, "pending": one.pending, "confirmed": one.confirmed, "permanent": False}


def _kept(one: Held) -> dict[str, Any]:
    facts = {"pending": one.pending, "confirmed": one.confirmed, "whole": one.whole}
    return {"version": one.version, "hash": one.hash.hex(), "data": one.data.hex(), **facts}


def _loaded(entry: dict[str, Any]) -> Held:
    texts = {"hash": bytes.fromhex(entry["hash"]), "data": bytes.fromhex(entry["data"])}
    return Held(**{**entry, **texts})
