"""Key stores: keys are made, used and destroyed inside, and named from outside. No key can be taken out.

A store is a folder here: one PKCS #8 PEM file for each key, mode 0600, of our own user; a file that others could read is refused, not
used. Others (PKCS #11, TPM) have the same methods.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import HubError, PermissionDeniedError
from agent.files import sync_folder, write_atomic

P256, P384, ED25519, RSA2048, RSA3072 = "P-256", "P-384", "Ed25519", "RSA-2048", "RSA-3072"
KINDS = (P256, P384, ED25519, RSA2048, RSA3072)
_CURVES: Mapping[str, type[ec.EllipticCurve]] = {P256: ec.SECP256R1, P384: ec.SECP384R1}
NAMES = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "dnQualifier": NameOID.DN_QUALIFIER,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
_CLIENT_USE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class KeyTroubleError(HubError):
    """A key is missing, there already, or cannot be used; the text names it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate request asks for. `names`: further parts of the subject (O, OU, C, ST, L, serialNumber); `hosts`: DNS names."""

    common_name: str
    names: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()


class KeyStore(Protocol):
    """What every key store does. Names are 1 to 64 of a-z 0-9 -. Raises KeyTroubleError, PermissionDeniedError."""

    def generate(self, name: str, kind: str = P256) -> None:
        """Make a key. There must be none of this name."""

    def adopt(self, name: str, pem: str) -> None:
        """Take a private key that was made elsewhere, PEM. There must be none of this name. A store may refuse."""

    def has(self, name: str) -> bool: ...

    def names(self) -> list[str]:
        """Of all keys that are there, sorted."""

    def public_key(self, name: str) -> str:
        """SubjectPublicKeyInfo, PEM."""

    def sign(self, name: str, data: bytes) -> bytes:
        """ECDSA (DER) with the curve's own SHA-2, Ed25519, or RSA PKCS #1 v1.5 with SHA-256."""

    def csr(self, name: str, subject: Subject) -> str:
        """A PKCS #10 request (RFC 2986), PEM, signed by the key."""

    def tls_files(self, name: str, chain: Path) -> tuple[str, str]:
        """What `ssl.SSLContext.load_cert_chain` takes for the key and its certificate chain: two paths."""

    def destroy(self, name: str) -> None:
        """Nothing happens when there is none."""


class FileKeys:
    """Keys as files of `folder`, which is made with mode 0700."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def generate(self, name: str, kind: str = P256) -> None:
        self._write(name, _make(kind))

    def adopt(self, name: str, pem: str) -> None:
        self._write(name, _parse(self._path(name), pem.encode()))

    def _write(self, name: str, key: PrivateKey) -> None:
        path = self._path(name)
        if path.exists():
            raise KeyTroubleError(f"there is a key {name!r} already", place=str(path), remedy="destroy it first")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomic(path, pem)

    def has(self, name: str) -> bool:
        return self._path(name).exists()

    def names(self) -> list[str]:
        found = (path.name.removesuffix(".key") for path in self._folder.glob("*.key"))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def public_key(self, name: str) -> str:
        return (
            self._load(name)
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def sign(self, name: str, data: bytes) -> bytes:
        return _sign(self._load(name), data)

    def csr(self, name: str, subject: Subject) -> str:
        return request(self._load(name), subject)

    def tls_files(self, name: str, chain: Path) -> tuple[str, str]:
        self._load(name)
        return str(chain), str(self._path(name))

    def destroy(self, name: str) -> None:
        path = self._path(name)
        if path.exists():
            path.unlink()
            sync_folder(self._folder)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise KeyTroubleError(f"{name!r} is no name of a key", remedy="1 to 64 of a-z 0-9 -")
        return self._folder / f"{name}.key"

    def _load(self, name: str) -> PrivateKey:
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise KeyTroubleError(f"there is no key {name!r}", place=str(path)) from None
        except OSError as error:
            raise KeyTroubleError(f"the key cannot be read: {error.strerror}", place=str(path)) from error
        with os.fdopen(descriptor, "rb") as file:
            _private(path, os.fstat(descriptor))
            return _parse(path, file.read())


def request(key: PrivateKey, subject: Subject) -> str:
    """The request of `KeyStore.csr`, for any object that signs like a key of the library. Raises KeyTroubleError."""
    try:
        parts = [x509.NameAttribute(NAMES[name], value) for name, value in subject.names.items()]
        name = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)])
        hosts = [x509.DNSName(host) for host in subject.hosts]
    except (KeyError, ValueError) as error:
        remedy = f"names are {', '.join(NAMES)}; a common name has 1 to 64 characters"
        raise KeyTroubleError(f"the subject of the request cannot be used: {error}", remedy=remedy) from None
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(_CLIENT_USE, critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else _digest(key)
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


def _private(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise PermissionDeniedError(
            "the key belongs to another user", place=str(path), remedy=f"chown it to uid {os.geteuid()}"
        )
    if status.st_mode & 0o077:
        text = f"others may read the key (mode {status.st_mode & 0o777:04o}): it is not used"
        raise PermissionDeniedError(
            text, place=str(path), remedy="make a new key; if nobody has read this one: chmod 600"
        )


def _parse(path: Path, content: bytes) -> PrivateKey:
    remedy = "restore it from where it came from, or destroy it and make another"
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyTroubleError(
            "the file is no PEM private key without a password", place=str(path), remedy=remedy
        ) from None
    if not isinstance(key, PrivateKey):
        raise KeyTroubleError("the key is of a kind that is not used here", place=str(path), remedy=remedy)
    return key


def _make(kind: str) -> PrivateKey:
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    if kind == ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if kind in (RSA2048, RSA3072):
        return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))
    raise KeyTroubleError(f"{kind!r} is no kind of key", remedy=f"one of {', '.join(KINDS)}")


def _digest(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> hashes.SHA256 | hashes.SHA384:
    larger = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1)
    return hashes.SHA384() if larger else hashes.SHA256()


def _sign(key: PrivateKey, data: bytes) -> bytes:

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(_digest(key)))
