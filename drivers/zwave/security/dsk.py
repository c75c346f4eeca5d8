"""Device specific keys: the first 16 bytes of a public key, as people and SmartStart use them. PURE."""

import re

from drivers.zwave.security.classes import SecurityError

SIZE = 16
GROUPS, DIGITS = 8, 5
PIN_SIZE = 2  # bytes that the user types where the device keeps them back


def to_text(dsk: bytes) -> str:
    """Eight groups of five digits."""
    return "-".join(f"{int.from_bytes(dsk[at : at + 2], 'big'):05d}" for at in range(0, SIZE, 2))


def from_text(text: str) -> bytes:
    """16 bytes of a printed DSK, with or without its dashes and blanks, or of a zws2dsk: URI. Raises SecurityError."""
    digits = re.sub(r"[\s-]", "", text.strip().lower().removeprefix("zws2dsk:"))
    if not re.fullmatch(rf"[0-9]{{{GROUPS * DIGITS}}}", digits):
        raise SecurityError("a DSK has eight groups of five digits")
    groups = [int(digits[at : at + DIGITS]) for at in range(0, len(digits), DIGITS)]
    if max(groups) > 0xFFFF:  # noqa: PLR2004  a group is two bytes
        raise SecurityError(f"{max(groups)} is no group of a DSK: it was mistyped")
    return b"".join(group.to_bytes(2, "big") for group in groups)


def pin(text: str) -> bytes:
    """The two bytes of the five digits that the user typed. Raises SecurityError."""
    if not re.fullmatch(r"[0-9]{5}", text.strip()) or int(text) > 0xFFFF:  # noqa: PLR2004  two bytes
        raise SecurityError("a PIN has five digits and is at most 65535")
    return int(text).to_bytes(PIN_SIZE, "big")


def nwi_home_id(dsk: bytes) -> bytes:
    """The home id that a SmartStart device announces itself with: bytes 9..12, top two bits set, last bit cleared."""
    return bytes((dsk[8] | 0xC0, dsk[9], dsk[10], dsk[11] & 0xFE))


def auth_home_id(dsk: bytes) -> bytes:
    """The home id of its inclusion: bytes 13..16, top two bits cleared, last bit set."""
    return bytes((dsk[12] & 0x3F, dsk[13], dsk[14], dsk[15] | 0x01))
