"""The body of a Security 2 Message Encapsulation: flags, extensions, associated data (SDS13783). PURE."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from drivers.zwave.security.classes import SecurityError
from drivers.zwave.security.primitives import TAG

ENTROPY_INPUT = 16
FIRST_LONG_RANGE = 256

_CLEAR, _ENCRYPTED = 0x01, 0x02
_MORE, _CRITICAL, _TYPE = 0x80, 0x40, 0x3F
_EXTENSION_HEADER = 2
_COMMAND_HEADER = 2  # command class and command


class ExtensionType(IntEnum):
    SPAN = 1  # the sender's entropy input
    MPAN = 2  # group and inner MPAN state; travels encrypted
    MGRP = 3  # the multicast group that a singlecast follows up
    MOS = 4  # the sender cannot read the group's multicasts


_SIZES = {
    ExtensionType.SPAN: ENTROPY_INPUT,
    ExtensionType.MPAN: 1 + ENTROPY_INPUT,
    ExtensionType.MGRP: 1,
    ExtensionType.MOS: 0,
}


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension."""

    type: int
    data: bytes = b""
    critical: bool = True

    @property
    def understood(self) -> bool:
        """The type is known and its size is right."""
        return self.type in _SIZES and len(self.data) == _SIZES[ExtensionType(self.type)]


@dataclass(frozen=True, slots=True)
class Body:
    """An encapsulation before decryption. `clear` is authenticated as it came: sequence, flags, clear extensions."""

    sequence: int
    extensions: tuple[Extension, ...]
    has_encrypted: bool
    clear: bytes
    sealed: bytes

    def extension(self, kind: ExtensionType) -> bytes | None:
        return find(self.extensions, kind)


def find(extensions: Sequence[Extension], kind: ExtensionType) -> bytes | None:
    """The data of the first well-formed extension of a type."""
    return next((one.data for one in extensions if one.type == kind and one.understood), None)


def encode_extensions(extensions: Sequence[Extension]) -> bytes:
    out = b""
    for place, one in enumerate(extensions):
        more = _MORE if place < len(extensions) - 1 else 0
        out += bytes((len(one.data) + _EXTENSION_HEADER, more | one.critical * _CRITICAL | one.type)) + one.data
    return out


def decode_extensions(data: bytes) -> tuple[tuple[Extension, ...], bytes]:
    """The extensions and what follows. Raises SecurityError where their lengths are wrong."""
    found: list[Extension] = []
    more = True
    while more:
        if len(data) < _EXTENSION_HEADER or not _EXTENSION_HEADER <= data[0] <= len(data):
            raise SecurityError("an extension has a wrong length")
        size, head = data[0], data[1]
        found.append(Extension(head & _TYPE, data[_EXTENSION_HEADER:size], bool(head & _CRITICAL)))
        data, more = data[size:], bool(head & _MORE)
    return tuple(found), data


def head(sequence: int, clear: Sequence[Extension], *, encrypted: bool) -> bytes:
    """The authenticated beginning of a body."""
    return bytes((sequence, encrypted * _ENCRYPTED | bool(clear) * _CLEAR)) + encode_extensions(clear)


def parse(data: bytes) -> Body:
    """A body from its sequence number on. Raises SecurityError."""
    if len(data) < _EXTENSION_HEADER + TAG:
        raise SecurityError("shorter than an encapsulation")
    extensions: tuple[Extension, ...] = ()
    left = data[_EXTENSION_HEADER:]
    if data[1] & _CLEAR:
        extensions, left = decode_extensions(left)
    if len(left) < TAG:
        raise SecurityError("shorter than an encapsulation")
    return Body(data[0], extensions, bool(data[1] & _ENCRYPTED), data[: len(data) - len(left)], left)


def associated(source: int, destination: int, home_id: bytes, body_size: int, clear: bytes) -> bytes:
    """What is authenticated beside the ciphertext. `body_size`: bytes after the command; Long Range ids make both ids 16 bits."""
    size = 2 if max(source, destination) >= FIRST_LONG_RANGE else 1
    ids = source.to_bytes(size, "big") + destination.to_bytes(size, "big")
    return ids + home_id + (body_size + _COMMAND_HEADER).to_bytes(2, "big") + clear
