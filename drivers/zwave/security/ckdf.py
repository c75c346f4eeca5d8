"""Key derivation of S2 (SDS13783, CKDF): extract and expand on AES-CMAC. PURE."""

from dataclasses import dataclass, field

from drivers.zwave.security.primitives import BLOCK, cmac

_PRK = bytes((0x33,)) * BLOCK
_TEMPORARY = bytes((0x88,)) * (BLOCK - 1)
_NETWORK = bytes((0x55,)) * (BLOCK - 1)
_NONCE = bytes((0x26,)) * BLOCK
_ENTROPY = bytes((0x88,)) * (BLOCK - 1)


@dataclass(frozen=True, slots=True)
class Keys:
    """What one key is turned into. `mpan` is empty for the temporary key, which has no multicast."""

    ccm: bytes = field(repr=False)
    personalization: bytes = field(repr=False)
    mpan: bytes = field(default=b"", repr=False)


def _expand(key: bytes, constant: bytes, count: int) -> list[bytes]:
    found = [cmac(key, constant + b"\x01")]
    for number in range(2, count + 1):
        found.append(cmac(key, found[-1] + constant + bytes((number,))))
    return found


def temporary_prk(secret: bytes, public_a: bytes, public_b: bytes) -> bytes:
    """CKDF-TempExtract: `secret` of X25519; A is the including controller."""
    return cmac(_PRK, secret + public_a + public_b)


def temporary_keys(prk: bytes) -> Keys:
    """CKDF-TempExpand."""
    first, second, third = _expand(prk, _TEMPORARY, 3)
    return Keys(first, second + third)


def network_keys(key: bytes) -> Keys:
    """CKDF-NetworkKeyExpand of a network key."""
    first, second, third, fourth = _expand(key, _NETWORK, 4)
    return Keys(first, second + third, fourth)


def mixed_entropy(sender: bytes, receiver: bytes) -> bytes:
    """CKDF-MEI: the 32 bytes that both ends' entropy inputs make."""
    prk = cmac(_NONCE, sender + receiver)
    first = cmac(prk, _ENTROPY + b"\x00" + _ENTROPY + b"\x01")
    return first + cmac(prk, first + _ENTROPY + b"\x02")
