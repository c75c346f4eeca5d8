"""The stand-in cloud's certificate authority: P-256, kept in its data folder. It signs claim, device and broker certificates."""

import hashlib
import ipaddress
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.files import write_atomic

YEARS = timedelta(days=3650)
P256 = 32  # bytes of a number of the curve
SKEW = timedelta(minutes=5)  # a device's clock may be behind

_SUBJECT = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "C": NameOID.COUNTRY_NAME,
}


class Authority:
    """The CA of `folder`: `ca.pem` and `ca.key`, made at the first use."""

    def __init__(self, folder: Path) -> None:
        self.certificate_path = folder / "ca.pem"
        key_path = folder / "ca.key"
        self._folder = folder
        self._suppliers = threading.Lock()  # keys are made beside the loop
        if key_path.exists() and self.certificate_path.exists():
            self._key = _read_key(key_path)
            self.certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
            return
        self.certificate, self._key = self._root("hub-agent stand-in CA")
        _keep((self.certificate, self._key), self.certificate_path, key_path)

    def claim(self, name: str) -> tuple[str, str]:
        """A claim certificate and its private key, both PEM."""
        return self.issue_with_key(name)

    def issue_with_key(self, name: str, *, hosts: tuple[str, ...] = (), qualifier: str = "") -> tuple[str, str]:
        """A certificate and a key made here, both PEM; with `hosts` it is a server's. `qualifier`: the subject's dnQualifier."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._issue(name, key.public_key(), hosts, qualifier), _key_pem(key)

    def issue_from_csr(self, csr: str, name: str) -> str:
        """A device certificate for the key of a CSR. Raises ValueError when the CSR cannot be read or is not signed by its key."""
        request = x509.load_pem_x509_csr(csr.encode())
        public = request.public_key()
        if not request.is_signature_valid:
            raise ValueError("the CSR is not signed by its own key")
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise ValueError("the CSR's key is not an elliptic-curve key")  # noqa: TRY004  a stranger's file, not a caller's type
        return self._issue(name, public, ())

    def issue_rsa(self, supplier: str, subject: Mapping[str, str], days: int) -> tuple[str, str, str]:
        """A certificate of a supplier's CA for an RSA-2048 key made here: certificate and key as PEM, and the SHA-256 of the former."""
        key = rsa.generate_private_key(65537, 2048)
        names = [x509.NameAttribute(_SUBJECT[short], value) for short, value in subject.items()]
        authority, authority_key = self._supplier(supplier)
        builder = _builder(x509.Name(names), authority.subject, key.public_key(), timedelta(days=days))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(ca=False), critical=True)
        pem = builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        return pem, _key_pem(key), fingerprint(pem)

    def certificate_of(self, supplier: str) -> str:
        """A supplier's CA certificate, PEM."""
        return self._supplier(supplier)[0].public_bytes(serialization.Encoding.PEM).decode()

    def _supplier(self, supplier: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """The CA of a supplier, made at its first use."""
        label = hashlib.sha256(supplier.encode()).hexdigest()[:16]  # a stranger's word never becomes a file's name
        certificate_path, key_path = (self._folder / f"supplier-{label}{suffix}" for suffix in (".pem", ".key"))
        with self._suppliers:
            if not key_path.exists():
                made = self._root(f"supplier CA {label}")
                _keep(made, certificate_path, key_path)
            return x509.load_pem_x509_certificate(certificate_path.read_bytes()), _read_key(key_path)

    @staticmethod
    def _root(common: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key, name = ec.generate_private_key(ec.SECP256R1()), _name(common)
        builder = _builder(name, name, key.public_key(), YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(ca=True), critical=True)
        return builder.sign(key, hashes.SHA256()), key

    def signed(self, pem: str) -> bool:
        """True when a certificate is of this CA."""
        return issued_by(pem, self.certificate_path.read_text(encoding="ascii"))

    def _issue(self, name: str, public: ec.EllipticCurvePublicKey, hosts: tuple[str, ...], qualifier: str = "") -> str:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = _builder(_name(name, qualifier), self.certificate.subject, public, YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(ca=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def certificate_problem(pem: str) -> str:
    """Why a certificate cannot be used, empty when it can."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return "is not a PEM certificate (are its line breaks the two characters \\n?)"
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return f"is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc} only"
    return ""


def common_name(pem: str) -> str:
    """The subject's common name, by which the broker knows a client."""
    subject = x509.load_pem_x509_certificate(pem.encode()).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def p256_public_key(pem: str) -> str:
    """The public key of a certificate or of a public key, PEM. Raises ValueError when it is none of P-256."""
    text = pem.encode()
    key = (
        x509.load_pem_x509_certificate(text).public_key()
        if "BEGIN CERTIFICATE" in pem
        else serialization.load_pem_public_key(text)
    )
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError("the key is not one of P-256, which ES256 needs")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def p256_key_of_request(csr: bytes) -> str:
    """The public key that a CSR (DER) is for, PEM. Raises ValueError."""
    try:
        key = x509.load_der_x509_csr(csr).public_key()
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return p256_public_key(key.public_bytes(serialization.Encoding.PEM, form).decode())


def signed_by(key: str, signature: bytes, message: bytes) -> bool:
    """True for a signature as JOSE and COSE have it in ES256, r and s of 32 bytes each. `key` is a public key of P-256, PEM."""
    public = serialization.load_pem_public_key(key.encode())
    if not isinstance(public, ec.EllipticCurvePublicKey) or len(signature) != 2 * P256:
        return False
    r, s = (int.from_bytes(half, "big") for half in (signature[:P256], signature[P256:]))
    try:
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def pem_of(certificate: bytes) -> str:
    """A certificate in DER as PEM."""
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM).decode()


def issued_by(pem: str, authority: str) -> bool:
    """True when a certificate is signed by a CA's certificate; both PEM."""
    try:
        ca = x509.load_pem_x509_certificate(authority.encode())
        x509.load_pem_x509_certificate(pem.encode()).verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def fingerprint(pem: str) -> str:
    """SHA-256 of the certificate in hexadecimal digits: the certificateId of AWS IoT."""
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, qualifier: str = "") -> x509.Name:
    more = [x509.NameAttribute(NameOID.DN_QUALIFIER, qualifier)] if qualifier else []
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), *more])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _keep(made: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], certificate_path: Path, key_path: Path) -> None:
    """The key last: where there is a key, there is its certificate."""
    write_atomic(certificate_path, made[0].public_bytes(serialization.Encoding.PEM), mode=0o644)
    write_atomic(key_path, _key_pem(made[1]).encode())


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no elliptic-curve key")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
