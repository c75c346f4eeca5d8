"""QR codes of Z-Wave devices (SDS13937, "Node Provisioning QR Code Format"). PURE.

Digits: 90, version (2), checksum (5), requested keys (3), DSK (40), then TLVs. Scanners and labels add things before and after: the
longest part with a right checksum counts.
"""

import hashlib
import re
from dataclasses import dataclass, field

from drivers.zwave.security import dsk as dsks
from drivers.zwave.security.classes import SecurityError

MIN_DIGITS = 52
PREFIX = "90"

_CHECKED_FROM = 9
_DSK_AT, _TLVS_AT = 12, 52
_TLV_HEADER = 4
_CRITICAL = 1

PRODUCT_TYPE, PRODUCT_ID, MAX_INCLUSION_INTERVAL, UUID16, PROTOCOLS = range(5)
_SIZES = {PRODUCT_TYPE: 10, PRODUCT_ID: 20}
_INTERVAL_UNIT = 128  # seconds


@dataclass(frozen=True, slots=True)
class QrCode:
    """What a code says. `keys` is the mask of requested keys; `unknown` TLVs by type, as digits."""

    smart_start: bool
    keys: int
    dsk: bytes
    generic: int | None = None
    specific: int | None = None
    installer_icon: int | None = None
    manufacturer: int | None = None
    product_type: int | None = None
    product: int | None = None
    version: tuple[int, int] | None = None
    max_inclusion_interval: int | None = None  # seconds
    uuid: bytes | None = None
    protocols: int | None = None  # bit 0 Z-Wave, bit 1 Long Range
    unknown: dict[int, str] = field(default_factory=dict)


def parse(text: str) -> QrCode:
    """The code in `text`. Raises SecurityError where there is none with a right checksum, or where it needs what we do not know."""
    digits = re.sub(r"\s", "", text)
    for match in re.finditer(rf"(?={PREFIX}([0-9]{{{MIN_DIGITS - len(PREFIX)},}}))", digits):
        candidate = PREFIX + match[1]
        for end in sorted(_ends(candidate), reverse=True):
            if _checksum(candidate[:end]) == int(candidate[4:9]):
                return _read(candidate[:end])
    raise SecurityError("no Z-Wave QR code, or its checksum is wrong")


def _checksum(digits: str) -> int:
    return int.from_bytes(hashlib.sha1(digits[_CHECKED_FROM:].encode()).digest()[:2], "big")  # noqa: S324  the format's checksum, no security


def _ends(digits: str) -> list[int]:
    """Where the code may end: after each TLV."""
    found, at = [_TLVS_AT], _TLVS_AT
    while at + _TLV_HEADER <= len(digits):
        at += _TLV_HEADER + int(digits[at + 2 : at + 4])
        if at <= len(digits):
            found.append(at)
    return found


def _read(digits: str) -> QrCode:
    version = int(digits[2:4])
    if version > 1:
        raise SecurityError(f"a QR code of version {version}")
    values: dict[str, object] = {}
    unknown: dict[int, str] = {}
    at = _TLVS_AT
    while at < len(digits):
        head, size = int(digits[at : at + 2]), int(digits[at + 2 : at + 4])
        body = digits[at + _TLV_HEADER : at + _TLV_HEADER + size]
        at += _TLV_HEADER + size
        found = _tlv(head >> 1, body)
        if found is None and head & _CRITICAL:
            raise SecurityError(f"the QR code needs type {head >> 1}, which is unknown")
        if found is None:
            unknown[head >> 1] = body
        else:
            values.update(found)
    dsk = dsks.from_text(digits[_DSK_AT:_TLVS_AT])
    return QrCode(smart_start=version == 1, keys=int(digits[9:12]), dsk=dsk, unknown=unknown, **values)  # type: ignore[arg-type]


def _tlv(kind: int, body: str) -> dict[str, object] | None:
    """The values of a TLV; None where its type or its size is unknown."""
    groups = [int(body[at : at + 5]) for at in range(0, len(body), 5)]
    if not body or (kind in _SIZES and len(body) != _SIZES[kind]):
        return None
    if kind == PRODUCT_TYPE:
        return {"generic": groups[0] >> 8, "specific": groups[0] & 0xFF, "installer_icon": groups[1]}
    if kind == PRODUCT_ID:
        version = (groups[3] >> 8, groups[3] & 0xFF)
        return {"manufacturer": groups[0], "product_type": groups[1], "product": groups[2], "version": version}
    if kind == MAX_INCLUSION_INTERVAL:
        return {"max_inclusion_interval": int(body) * _INTERVAL_UNIT}
    if kind == UUID16:
        groups = [int(body[at : at + 5]) for at in range(2, len(body), 5)]  # after two digits that say how to print it
        if len(groups) != dsks.GROUPS or max(groups) > 0xFFFF:  # noqa: PLR2004  two bytes each
            return None
        return {"uuid": b"".join(group.to_bytes(2, "big") for group in groups)}
    if kind == PROTOCOLS:
        return {"protocols": int(body)}
    return None


def compose(keys: int, key: bytes, tlvs: list[tuple[int, str]], *, smart_start: bool = True) -> str:
    """The inverse of `parse`, for what prints labels: `tlvs` are types and digits."""
    body = f"{keys:03d}" + dsks.to_text(key).replace("-", "")
    body += "".join(f"{kind << 1:02d}{len(digits):02d}{digits}" for kind, digits in tlvs)
    unchecked = f"{PREFIX}{int(smart_start):02d}00000{body}"
    return f"{PREFIX}{int(smart_start):02d}{_checksum(unchecked):05d}{body}"
