"""Sealed bytes: AES-256-GCM under a key that is derived from a secret. What a box holds is bound to its name.

    "HUBSEAL1" (8 bytes, with the version) | which key (8) | nonce (12) | ciphertext and tag (16 more than the content)

The name, the version and the key's mark are the associated data, so that files that change places do not open. A nonce is random and
new for each sealing: 2^32 of them are safe under one key (NIST SP 800-38D, 8.3).
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.errors import HubError

MAGIC = b"HUBSEAL1"
_MARK, _NONCE, _TAG = 8, 12, 16
_HEADER = len(MAGIC) + _MARK


class Box:
    """Seals and opens with keys derived from `secret`; `use` keeps the keys of different uses apart. `trouble` is raised."""

    def __init__(self, secret: bytes, use: str, trouble: type[HubError]) -> None:
        derived = HKDF(SHA256(), 32 + _MARK, None, f"hub-agent {use} 1".encode()).derive(secret)
        self._cipher, self._mark = AESGCM(derived[:32]), derived[32:]
        self._trouble = trouble

    def seal(self, name: str, content: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        header = MAGIC + self._mark
        return header + nonce + self._cipher.encrypt(nonce, content, header + name.encode())

    def open(self, name: str, sealed: bytes, place: str) -> bytes:
        """The content. Raises `trouble` for what is damaged, cut, of another name, or sealed with another secret."""
        header = sealed[:_HEADER]
        if len(sealed) < _HEADER + _NONCE + _TAG or not header.startswith(MAGIC):
            if header.startswith(MAGIC[:-1]) and header[:_HEADER] != MAGIC[: len(header)]:
                text, remedy = "the file was sealed by a newer hub-agent", "install the version that has written it"
                raise self._trouble(text, place=place, remedy=remedy)
            raise self._trouble("the file is cut off, or none that was sealed", place=place, remedy=_RESTORE)
        if header[len(MAGIC) :] != self._mark:
            remedy = "give the store the secret, token or TPM that it was sealed with; without it the content is lost"
            raise self._trouble("the file was sealed with another secret", place=place, remedy=remedy)
        nonce, body = sealed[_HEADER : _HEADER + _NONCE], sealed[_HEADER + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, body, header + name.encode())
        except InvalidTag:
            text = "the file is damaged, or was put in the place of another"
            raise self._trouble(text, place=place, remedy=_RESTORE) from None


_RESTORE = "restore it from a backup of the state folder, or destroy it and make another"
