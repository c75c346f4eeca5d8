"""A certificate authority for tests and benches: P-256, PEM files in one folder."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.touch(mode=0o600)
    path.write_bytes(encoded)
    return path


class Authority:
    """`ca` is its certificate's file; `issue` makes a leaf for both ends of TLS."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        self._folder = folder
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            self._builder(self._name, self._key, days=30).add_extension(
                x509.BasicConstraints(ca=True, path_length=0), critical=True
            )
        )
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def key_file(self) -> Path:
        """The authority's own key, for who signs with it elsewhere."""
        path = self.ca.with_suffix(".key")
        return path if path.exists() else _write_key(path, self._key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + days * DAY) - DAY)
            .not_valid_after(now + days * DAY)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.sign(self._key, hashes.SHA256())

    def issue(
        self, name: str, *, days: int = 30, hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    ) -> tuple[Path, Path]:
        """Certificate and key files of `name`; with negative `days` it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = []
        for host in hosts:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                alternatives.append(x509.DNSName(host))
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = self._sign(
            self._builder(_name(name), key, days)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(usages, critical=False)
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path, _write_key(self._folder / f"{name}.key", key)

    def sign_request(self, request: str, name: str = "hub") -> Path:
        """The certificate that a request (PEM) asks for: its subject and extensions as they are."""
        asked = x509.load_pem_x509_csr(request.encode())
        assert asked.is_signature_valid
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(asked.subject).issuer_name(self._name)
        builder = builder.public_key(asked.public_key()).serial_number(x509.random_serial_number())  # type: ignore[arg-type]
        builder = builder.not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)
        for extension in asked.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        path = self._folder / f"{name}.pem"
        path.write_bytes(self._sign(builder).public_bytes(serialization.Encoding.PEM))
        return path
