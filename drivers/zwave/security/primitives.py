"""The cryptographic primitives that Z-Wave uses, from the `cryptography` library. PURE; the only place that imports it."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.cmac import CMAC

from drivers.zwave.security.classes import SecurityError

BLOCK = 16
TAG = 8  # bytes of S2's authentication tag
MAC = 8  # bytes of S0's authentication code


def xor(one: bytes, other: bytes) -> bytes:
    """Bytewise, as long as the shorter."""
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


def aes_ecb(key: bytes, block: bytes) -> bytes:
    """One block."""
    encryptor = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305  the block cipher itself: modes are built on it
    return encryptor.update(block) + encryptor.finalize()


def aes_ofb(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Output feedback, both directions (S0). On the block cipher: `cryptography` has moved OFB to its decrepit module."""
    out = bytearray()
    for at in range(0, len(data), BLOCK):
        iv = aes_ecb(key, iv)
        out += xor(data[at : at + BLOCK], iv)
    return bytes(out)


def cbc_mac(key: bytes, data: bytes) -> bytes:
    """The first 8 bytes of the CBC-MAC over `data`, zero padded (S0)."""
    padded = data + bytes(-len(data) % BLOCK)
    block = bytes(BLOCK)
    for at in range(0, len(padded), BLOCK):
        block = aes_ecb(key, xor(block, padded[at : at + BLOCK]))
    return block[:MAC]


def cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC (RFC 4493)."""
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def ccm_encrypt(key: bytes, nonce: bytes, data: bytes, associated: bytes, tag: int = TAG) -> bytes:
    """AES-CCM (RFC 3610): ciphertext and tag."""
    return AESCCM(key, tag_length=tag).encrypt(nonce, data, associated)


def ccm_decrypt(key: bytes, nonce: bytes, data: bytes, associated: bytes, tag: int = TAG) -> bytes:
    """The inverse. Raises SecurityError where the tag does not fit."""
    if len(data) < tag:
        raise SecurityError("shorter than its authentication tag")
    try:
        return AESCCM(key, tag_length=tag).decrypt(nonce, data, associated)
    except InvalidTag:
        raise SecurityError("the authentication tag does not fit") from None


def public_key(private: bytes) -> bytes:
    """The X25519 public key (RFC 7748) of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared_secret(private: bytes, public: bytes) -> bytes:
    """X25519. Raises SecurityError for keys that have none: a wrong size, or a point of low order."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise SecurityError("no usable public key") from error
