"""A certificate is checked before it is installed: its key, its chain, its validity, what it may be used for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.errors import HubError

SKEW = 300.0  # seconds that a cloud's clock may be ahead of ours
LONGEST_CHAIN = 10
LARGEST = 65536  # characters
# The library reads a certificate's parts when they are asked for, and each of them has its own way to be wrong.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class CertificateTroubleError(HubError):
    """A certificate cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A chain that fits. `pem`: leaf first, with line breaks; `mended`: they were written as escapes."""

    pem: str
    certificate_id: str  # lower hex SHA-256 of the leaf's DER, AWS IoT's own id of it
    common_name: str
    begins: float
    expires: float
    mended: bool


def check(pem: str, public_key: str, now: float | None) -> Checked:
    """The chain of a client with this key. Raises CertificateTroubleError.

    `now`: seconds since 1970, or None while the clock is not trusted: validity is then not judged.
    """
    text, mended = with_line_breaks(pem)
    chain = _parse(text)
    leaf = chain[0]
    try:
        held = leaf.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        begins, expires = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        names = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except _UNREADABLE as error:
        raise CertificateTroubleError(f"the certificate cannot be read: {error}") from None
    if not leaf.public_bytes(serialization.Encoding.DER).endswith(b"\0" + leaf.signature):
        # Bits said to be unused change the certificate's id, and not what its authority has signed.
        raise CertificateTroubleError("the certificate's signature is not of whole bytes")
    if held.decode() != public_key:
        raise CertificateTroubleError(
            "the certificate is for another key", remedy="ask for one with this hub's own request"
        )
    _check_chain(chain)
    _check_use(leaf)
    if now is not None and not begins - SKEW <= now <= expires:
        span = f"{_day(begins)} to {_day(expires)}"
        raise CertificateTroubleError(
            f"the certificate is valid from {span}, it is {_day(now)}", remedy="check the hub's clock"
        )
    name = str(names[0].value) if names else ""
    return Checked(text, leaf.fingerprint(hashes.SHA256()).hex(), name, begins, expires, mended)


def public_of(pem: str) -> str:
    """The public key of a chain's leaf, PEM. Raises CertificateTroubleError."""
    try:
        key = _parse(with_line_breaks(pem)[0])[0].public_key()
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    except _UNREADABLE as error:
        raise CertificateTroubleError(f"the certificate cannot be read: {error}") from None


def with_line_breaks(pem: str) -> tuple[str, bool]:
    """JSON texts are often pasted with their escapes where a line ends."""
    if len(pem) > LARGEST:
        raise CertificateTroubleError(f"{len(pem)} characters are no certificate chain")
    if "\\n" not in pem:
        return pem, False
    return pem.replace("\\r", "").replace("\\n", "\n").strip().strip('"') + "\n", True


def _parse(pem: str) -> list[x509.Certificate]:
    remedy = "the text begins with -----BEGIN CERTIFICATE-----, the hub's own certificate first"
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
    except _UNREADABLE as error:
        raise CertificateTroubleError(f"no PEM certificate: {error}", remedy=remedy) from None
    if len(chain) > LONGEST_CHAIN:
        raise CertificateTroubleError(f"{len(chain)} certificates are no chain", remedy=remedy)
    return chain


def _check_chain(chain: list[x509.Certificate]) -> None:
    for number, (below, above) in enumerate(pairwise(chain), 1):
        try:
            below.verify_directly_issued_by(above)
        except (*_UNREADABLE, InvalidSignature):
            raise CertificateTroubleError(
                f"certificate {number} of the chain is not signed by the one after it",
                remedy="leaf first, then each authority above it; leave out what does not belong to it",
            ) from None


def _check_use(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    except _UNREADABLE as error:
        raise CertificateTroubleError(f"its extensions cannot be read: {error}") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise CertificateTroubleError(
            "the certificate is not for a TLS client", remedy="its extended key usage needs clientAuth"
        )


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
