"""What `agent discover ble --auth` takes. PURE.

- `231d39c1d7cc1ab1aee224cd096db932`: bindkey of an encrypted BTHome device
- `123456`: passkey of a device that shows or carries one
- `pair`: a bond without a passkey, for a device that has none (Just Works)
- `AA:BB:CC:DD:EE:FF`: this device and no other
- `AA:BB:CC:DD:EE:FF=231d39...`, `=123456`, `=pair`: both
"""

import re
from dataclasses import dataclass, field

from agent.driver import InvalidParameters

ADDRESS = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")
BINDKEY = re.compile(r"[0-9a-fA-F]{32}")
JUST_WORKS = "pair"
PASSKEY = re.compile(r"[0-9]{6}")  # Core Specification, Vol 3, Part H, 2.3.5.3: six digits, leading zeros included


@dataclass(frozen=True, slots=True)
class Material:
    """Which device a window is for, and what opens it."""

    address: str = ""
    bindkey: bytes = field(default=b"", repr=False)
    passkey: int | None = field(default=None, repr=False)
    bond: bool = False  # with the passkey, where there is one

    def admits(self, address: str) -> bool:
        return not self.address or address == self.address


def parse(text: str) -> Material:
    """Raises InvalidParameters; its text does not repeat the secret."""
    plain = text.strip()
    if not plain:
        return Material()
    address, _, secret = plain.rpartition("=")
    if not address and ADDRESS.fullmatch(secret.upper()):
        return Material(secret.upper())
    if address and not ADDRESS.fullmatch(address.upper()):
        raise InvalidParameters("before the = stands an address, for example AA:BB:CC:DD:EE:FF")
    if BINDKEY.fullmatch(secret):
        return Material(address.upper(), bindkey=bytes.fromhex(secret))
    if PASSKEY.fullmatch(secret):
        return Material(address.upper(), passkey=int(secret), bond=True)
    if secret.lower() == JUST_WORKS:
        return Material(address.upper(), bond=True)
    raise InvalidParameters(
        "the material is a bindkey (32 hex digits), a passkey (6 digits), `pair`, an address, or ADDRESS=SECRET"
    )
