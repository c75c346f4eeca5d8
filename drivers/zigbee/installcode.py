"""Install codes as printed on devices and in their QR codes. PURE.

`Z:<EUI64>$I:<code>` (Zigbee 3.0 QR), `<EUI64>:<code>` or `<EUI64> <code>`. A code is 6, 8, 12 or 16 bytes and a CRC-16/X-25, low byte first
(Base Device Behaviour 1.0, 10.1). The link key is the Matyas-Meyer-Oseas hash of code and CRC; zigpy computes it.
"""

import re
from dataclasses import dataclass

SIZES = (6, 8, 12, 16)  # bytes of an install code without its CRC

_QR = re.compile(r"Z:(?P<eui64>[0-9A-Fa-f]{16})\$I:(?P<code>[0-9A-Fa-f]+)(?:[$%].*)?")
_PLAIN = re.compile(r"(?P<eui64>[0-9A-Fa-f]{16}|(?:[0-9A-Fa-f]{2}[:-]){7}[0-9A-Fa-f]{2})[:;, ](?P<code>[0-9A-Fa-f -]+)")


class InstallCodeError(ValueError):
    """The material is no install code; the message says why."""


@dataclass(frozen=True, slots=True)
class InstallCode:
    """`eui64` in zigpy's form (aa:bb:..), `code` with its two CRC bytes."""

    eui64: str
    code: bytes


def parse(material: str) -> InstallCode:
    """The install code in `material`. Raises InstallCodeError for anything else, a wrong length or a wrong CRC."""
    match = _QR.fullmatch(material.strip()) or _PLAIN.fullmatch(material.strip())
    if match is None:
        raise InstallCodeError("not an install code: expected Z:<EUI64>$I:<code>")
    digits = match["code"].replace(" ", "").replace("-", "")
    if len(digits) % 2 or len(digits) // 2 - 2 not in SIZES:
        sizes = ", ".join(str(2 * (size + 2)) for size in SIZES)
        raise InstallCodeError(f"the install code has {len(digits)} hex digits; it must have one of {sizes}")
    code = bytes.fromhex(digits)
    if crc16_x25(code[:-2]) != int.from_bytes(code[-2:], "little"):
        raise InstallCodeError("the install code's checksum is wrong; was it typed correctly?")
    plain = match["eui64"].replace(":", "").replace("-", "").lower()
    return InstallCode(":".join(plain[i : i + 2] for i in range(0, 16, 2)), code)


def crc16_x25(data: bytes) -> int:
    """CRC-16/X-25: reflected polynomial 0x8408, start and final exclusive-or 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
    return crc ^ 0xFFFF
