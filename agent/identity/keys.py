"""Key stores: keys are made, used and destroyed inside, and named from outside. No key can be taken out.

The stores themselves are in agent/identity/stores; here is what they have in common.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import ConfigError, HubError
from agent.private_files import PrivateFolder

P256, P384, ED25519, RSA2048, RSA3072 = "P-256", "P-384", "Ed25519", "RSA-2048", "RSA-3072"
KINDS = (P256, P384, ED25519, RSA2048, RSA3072)
CURVES: Mapping[str, type[ec.EllipticCurve]] = {P256: ec.SECP256R1, P384: ec.SECP384R1}
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
NAME, NAME_RULE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}"), "1 to 64 of a-z 0-9 -"

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class KeyTroubleError(HubError):
    """A key is missing, there already, or cannot be used; the text names it."""


class KeyStoreAwayError(KeyTroubleError):
    """The device that holds the keys does not answer: not plugged in, taken out, restarted, or locked for a while. It may come back."""


class PinRefusedError(ConfigError):
    """The token does not take the PIN. A configuration error, so that nothing tries again by itself: a token locks after a few tries."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate request asks for. `names`: further parts of the subject (O, OU, C, ST, L, serialNumber); `hosts`: DNS names."""

    common_name: str
    names: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()


class KeyStore(Protocol):
    """What every key store does. Names are 1 to 64 of a-z 0-9 -.

    Raises KeyTroubleError, PermissionDeniedError, and ConfigError where the store cannot be opened as it is configured.
    """

    def generate(self, name: str, kind: str = P256) -> None:
        """Make a key. There must be none of this name."""

    def adopt(self, name: str, pem: str) -> None:
        """Take a private key that was made elsewhere, PEM. There must be none of this name. Devices refuse: their keys never were outside."""

    def has(self, name: str) -> bool: ...

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""

    def public_key(self, name: str) -> str:
        """SubjectPublicKeyInfo, PEM."""

    def sign(self, name: str, data: bytes) -> bytes:
        """ECDSA (DER) with the curve's own SHA-2, Ed25519, or RSA PKCS #1 v1.5 with SHA-256."""

    def csr(self, name: str, subject: Subject) -> str:
        """A PKCS #10 request (RFC 2986), PEM, signed by the key."""

    def tls_files(self, name: str, chain: Path) -> tuple[str, str]:
        """What `ssl.SSLContext.load_cert_chain` takes: the paths of the certificate chain and of the key, good until the next call.

        A store whose key stays in a device has made one handshake with it, by this interpreter's own OpenSSL, before it returns.
        """

    def destroy(self, name: str) -> None:
        """Nothing happens when there is none."""


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
    return builder.sign(key, digest_of(key)).public_bytes(serialization.Encoding.PEM).decode()


def refused_to_adopt(place: str) -> KeyTroubleError:
    """For stores whose keys are made inside, and stay there."""
    remedy = 'let the hub make its own key (identity.key_origin = "hub"), or use the store file or sealed'
    return KeyTroubleError("this store takes no key that was made elsewhere", place=place, remedy=remedy)


def make(kind: str) -> PrivateKey:
    """A new key in the memory of this process. Raises KeyTroubleError for a kind that is none."""
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    if kind == ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if kind in (RSA2048, RSA3072):
        return rsa.generate_private_key(65537, rsa_bits(kind))
    raise KeyTroubleError(f"{kind!r} is no kind of key", remedy=f"one of {', '.join(KINDS)}")


def rsa_bits(kind: str) -> int:
    """2048 for "RSA-2048"."""
    return int(kind.removeprefix("RSA-"))


def digest_of(key: PublicKey | PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """What `sign` digests with; None for Ed25519, which takes the data as they are."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()


def sign(key: PrivateKey, data: bytes) -> bytes:
    """The signature of `KeyStore.sign`, by a key of the library."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(digest_of(key) or hashes.SHA256()))


def public_pem(key: PublicKey) -> str:
    """SubjectPublicKeyInfo, PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def key_folder(folder: Path, suffix: str) -> PrivateFolder:
    """The files of a store."""
    return PrivateFolder(folder, suffix, NAME, NAME_RULE, KeyTroubleError)


def checked(name: str) -> str:
    """The name itself. Raises KeyTroubleError for one that is none."""
    if not NAME.fullmatch(name):
        raise KeyTroubleError(f"{name!r} is no name of a key", remedy=NAME_RULE)
    return name


def there_is_none(name: str, place: str) -> KeyTroubleError:
    return KeyTroubleError(
        f"there is no key {name!r}", place=place, remedy="make it, or give the hub its identity anew"
    )


def there_is_one(name: str, place: str) -> KeyTroubleError:
    return KeyTroubleError(f"there is a key {name!r} already", place=place, remedy="destroy it first")
