"""The Simple Management Protocol of MCUmgr, as far as an update needs it. PURE: octets in, messages out.

A packet is a header of eight octets and a CBOR map; over GATT both sides use one characteristic, in as many pieces as the MTU asks.
Source: Zephyr's documentation, "SMP Protocol Specification", "SMP over Bluetooth", "Application/software image management group" (1),
"Default / OS Management Group" (0).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drivers import cbor

SERVICE, CHARACTERISTIC = "8d53dc1d-1db7-4cd3-868b-8a527460aa84", "da2e7828-fbce-4e01-ae9e-261174997c48"
READ, READ_ANSWER, WRITE, WRITE_ANSWER = range(4)
OS, IMAGE = 0, 1  # groups
RESET = 5  # of the group OS
STATE, UPLOAD, ERASE = 0, 1, 5  # of the group IMAGE
VERSION = 1  # SMP version 2, whose servers say which group an error is of
LARGEST = 4096  # octets of a body
SEQUENCES = 256
_HEADER = struct.Struct("!BBHHBB")
_OPERATION, _VERSION_SHIFT, _VERSION_MASK = 0b111, 3, 0b11

ERRORS = {
    1: "an error without a name",
    2: "it has no memory for it",
    3: "a value that it does not take",
    4: "it took too long",
    5: "there is no such thing",
    6: "it cannot do that in the state that it is in",
    7: "its answer would be too large",
    8: "it does not know the command",
    9: "what it has is damaged",
    10: "it is busy",
    11: "it is not allowed",
    12: "its protocol is too old",
    13: "its protocol is too new",
}
IMAGE_ERRORS = {
    1: "an error without a name",
    2: "its flash cannot be asked for its layout",
    3: "there is no image in the slot",
    4: "the image has no trailer",
    5: "the image's trailer is wrong",
    6: "the image has several hashes",
    7: "a length in the image's trailer is wrong",
    8: "the image has no hash",
    9: "it has no free slot",
    10: "its flash cannot be opened",
    11: "its flash cannot be read",
    12: "its flash cannot be written",
    13: "its flash cannot be erased",
    14: "there is no such slot",
    15: "it has no memory for it",
    16: "another upload is under way",
    17: "no upload is under way",
    18: "it has no flash for it",
    19: "a page that its flash has not",
    20: "the offset is missing",
    21: "the length is missing",
    22: "the image is shorter than its header",
    23: "this is no MCUboot image",
    24: "the hash is wrong",
    25: "the image is for another address of its flash",
    26: "it does not know which version it runs",
    27: "it runs a newer version",
    28: "an image waits for the next start already",
    29: "the image's vector table is wrong",
    30: "the image is too large",
    31: "it got more than the length that was told",
    32: "it may not be confirmed",
    33: "the image that runs cannot be tested",
}


class SmpError(ValueError):
    """This is no packet of SMP, or not one that can follow; the text says why."""


@dataclass(frozen=True, slots=True)
class Packet:
    """`operation` is READ to WRITE_ANSWER, `sequence` 0 to 255; the answer has that of its request."""

    operation: int
    group: int
    command: int
    sequence: int
    body: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def encoded(self) -> bytes:
        body = cbor.dumps(dict(self.body))
        first = self.version << _VERSION_SHIFT | self.operation
        return _HEADER.pack(first, 0, len(body), self.group, self.sequence, self.command) + body

    def answers(self, request: "Packet") -> bool:
        told = (self.operation, self.group, self.command, self.sequence)
        return told == (request.operation + 1, request.group, request.command, request.sequence)


def decode(data: bytes) -> Packet:
    """One whole packet. Raises SmpError."""
    if len(data) < _HEADER.size:
        raise SmpError(f"{len(data)} octets are no header")
    first, _flags, length, group, sequence, command = _HEADER.unpack_from(data)
    if length != len(data) - _HEADER.size:
        raise SmpError(f"a body of {len(data) - _HEADER.size} octets, and the header says {length}")
    operation = first & _OPERATION
    if operation > WRITE_ANSWER:
        raise SmpError(f"there is no operation {operation}")
    try:
        body = cbor.loads(data[_HEADER.size :]) if length else {}
    except cbor.CborError as error:
        raise SmpError(f"the body is wrong: {error}") from error
    if not isinstance(body, dict):
        raise SmpError("the body is no map")
    return Packet(operation, group, command, sequence, body, first >> _VERSION_SHIFT & _VERSION_MASK)


class Reassembly:
    """Puts packets together from the pieces in which they come."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, piece: bytes) -> list[Packet]:
        """The packets that are whole now. Raises SmpError; what came before is forgotten then."""
        self._held += piece
        found = []
        while len(self._held) >= _HEADER.size:
            length = int.from_bytes(self._held[2:4], "big")
            whole = _HEADER.size + length
            data, rest = self._held[:whole], self._held[whole:]
            if length > LARGEST:
                self._held = b""
                raise SmpError(f"a body of {length} octets, more than {LARGEST}")
            if len(data) < whole:
                break
            self._held = rest
            found.append(decode(data))
        return found


# ---- bodies ---------------------------------------------------------------------------------------------------------


class _Body(BaseModel):
    """Members that a server has beside these are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)


class Slot(_Body):
    """One slot of an image. `hash` is that of MCUboot's trailer; the slot that runs is `active`."""

    slot: int = Field(ge=0, le=255)
    version: str = Field(max_length=64)
    image: int = Field(0, ge=0, le=255)
    hash: bytes = Field(b"", max_length=64)
    bootable: bool = False
    pending: bool = False
    confirmed: bool = False
    active: bool = False
    permanent: bool = False


class Slots(_Body):
    images: list[Slot] = Field(max_length=64)


class SlotRequest(_Body):
    """Without `confirm`: the image with this hash is started once, on trial."""

    hash: bytes = b""
    confirm: bool = False


class Part(_Body):
    """A part of an image; `len`, `sha` (SHA-256 of the file) and `image` stand in the first one."""

    off: int = Field(ge=0)
    data: bytes
    len: int | None = Field(None, ge=0)
    sha: bytes = b""
    image: int = Field(0, ge=0, le=255)


class Progress(_Body):
    """`off`: the octet that the server wants next; `match`: whether the whole file has the hash that was told."""

    off: int = Field(ge=0)
    match: bool | None = None


Body = TypeVar("Body", bound=_Body)


def read(model: type[Body], packet: Packet) -> Body:
    """The body of a packet. Raises SmpError."""
    try:
        return model.model_validate(packet.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise SmpError(f"{place}: {first['msg']}") from None


def refusal(packet: Packet) -> str:
    """What the server has against the request; "" where it is well. Version 2 names the group of an error, version 1 has general ones only."""
    told = packet.body.get("err")
    if isinstance(told, dict):
        group, code = told.get("group"), told.get("rc")
        words = IMAGE_ERRORS if group == IMAGE else ERRORS
    else:
        code, words = packet.body.get("rc", 0), ERRORS
    if code == 0 or not isinstance(code, int):
        return "" if code == 0 else "an error that cannot be read"
    return words.get(code, f"error {code}")


# ---- requests -------------------------------------------------------------------------------------------------------


def part(sequence: int, image: bytes, offset: int, room: int, number: int = 0, sha: bytes = b"") -> Packet:
    """As much of `image` from `offset` on as fits into `room` octets, header included. Raises SmpError where that is nothing."""
    told: dict[str, Any] = {"off": offset, "data": b""}
    if not offset:
        told |= {"len": len(image), "sha": sha} | ({"image": number} if number else {})
    empty = len(Packet(WRITE, IMAGE, UPLOAD, sequence, told).encoded())
    size = room - empty - 2  # octets that the length of the data may take beside the one that an empty text has
    end = min(len(image), offset + max(0, size))
    if end < len(image):
        end -= end % _ALIGNED  # what flash is written in
    if end <= offset or (not offset and end < min(len(image), _IMAGE_HEADER)):
        raise SmpError(f"{room} octets at once are too few for an update")
    return Packet(WRITE, IMAGE, UPLOAD, sequence, {**told, "data": image[offset:end]})


_ALIGNED = 4
_IMAGE_HEADER = 32  # octets, which a server wants in the first part
