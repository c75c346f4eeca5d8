"""Keys as files: one PKCS #8 PEM file for each, mode 0600, of our own user; a file that others could read is refused, not used."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from agent.identity.keys import (
    P256,
    KeyTroubleError,
    PrivateKey,
    Subject,
    key_folder,
    make,
    public_pem,
    request,
    sign,
    there_is_none,
    there_is_one,
)


class FileKeys:
    """Keys as files of `folder`, which is made with mode 0700."""

    def __init__(self, folder: Path) -> None:
        self._files = key_folder(folder, ".key")

    def generate(self, name: str, kind: str = P256) -> None:
        if self._files.holds(name):
            raise there_is_one(name, str(self._files.path(name)))
        self._files.write(name, private_pem(make(kind)))

    def adopt(self, name: str, pem: str) -> None:
        if self._files.holds(name):
            raise there_is_one(name, str(self._files.path(name)))
        self._files.write(name, private_pem(parse(pem.encode(), "")))

    def names(self) -> tuple[str, ...]:
        return self._files.list()

    def has(self, name: str) -> bool:
        return self._files.holds(name)

    def public_key(self, name: str) -> str:
        return public_pem(self._load(name).public_key())

    def sign(self, name: str, data: bytes) -> bytes:
        return sign(self._load(name), data)

    def csr(self, name: str, subject: Subject) -> str:
        return request(self._load(name), subject)

    def tls_files(self, name: str, chain: Path) -> tuple[str, str]:
        self._load(name)
        return str(chain), str(self._files.path(name))

    def destroy(self, name: str) -> None:
        self._files.remove(name)

    def _load(self, name: str) -> PrivateKey:
        place = str(self._files.path(name))
        content = self._files.read(name)
        if content is None:
            raise there_is_none(name, place)
        return parse(content, place)


def private_pem(key: PrivateKey) -> bytes:
    """PKCS #8, without a password."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def parse(content: bytes, place: str) -> PrivateKey:
    """The key of a PEM text. Raises KeyTroubleError."""
    remedy = "restore it from where it came from, or destroy it and make another"
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        text = "the file is no PEM private key without a password"
        raise KeyTroubleError(text, place=place, remedy=remedy) from None
    if not isinstance(key, PrivateKey):
        raise KeyTroubleError("the key is of a kind that is not used here", place=place, remedy=remedy)
    return key
