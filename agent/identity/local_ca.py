"""Certificates from an authority of one's own, whose key lies on this hub: for plain brokers, and for JITR and JITP on a bench.

AWS IoT, "Just-in-time registration": the certificate is signed by a registered authority, and registered at its first connection.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.errors import ConfigError, TryAgainError
from agent.identity.keys import Subject
from agent.identity.record import Held
from agent.identity.sources import Asked, Obtained

_EARLIER = timedelta(minutes=5)  # the broker's clock may be behind


class LocalAuthority:
    """`certificate` and `key`: PEM files of the authority. Raises ConfigError when they cannot be used."""

    name = "local-ca"

    def __init__(self, certificate: Path, key: Path, days: int, subject: Subject) -> None:
        self._certificate, self._key, self._days, self._subject = certificate, key, days, subject

    async def obtain(self, asked: Asked) -> Obtained:
        authority, key = self._read()
        request = x509.load_pem_x509_csr(asked.csr(self._subject).encode())
        now = datetime.now(UTC)
        begins = max(now - _EARLIER, authority.not_valid_before_utc)
        ends = min(now + timedelta(days=self._days), authority.not_valid_after_utc)
        if begins >= ends:
            text = f"the authority signs nothing that is valid on {now:%Y-%m-%d}"
            remedy = "check the hub's clock; if it is right, make a new authority"
            raise TryAgainError(text, place=str(self._certificate), remedy=remedy)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(authority.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        issuer = authority.public_key()
        if isinstance(issuer, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
            builder = builder.add_extension(identifier, critical=False)
        digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        pem = serialization.Encoding.PEM
        made = builder.sign(key, digest)
        return Obtained((made.public_bytes(pem) + authority.public_bytes(pem)).decode())

    async def confirm(self, previous: Held | None) -> None:
        """Nobody waits for it."""

    def kept(self) -> None:
        """Nothing was kept."""

    def _read(
        self,
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey]:
        remedy = "ca_certificate and ca_key are PEM files of one authority, the key without a password and mode 0600"
        try:
            authority = x509.load_pem_x509_certificate(self._certificate.read_bytes())
            with self._key.open("rb") as file:
                loose = os.fstat(file.fileno()).st_mode & 0o077
                key = serialization.load_pem_private_key(file.read(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                f"the authority cannot be used: {error}", place="identity.ca_key", remedy=remedy
            ) from None
        if loose:
            raise ConfigError(
                "others may read the authority's key", place=str(self._key), remedy=f"chmod 600 {self._key}"
            )
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise ConfigError("the authority's key is of a kind that is not used", place=str(self._key), remedy=remedy)
        if key.public_key() != authority.public_key():
            raise ConfigError("the key is not the authority's", place=str(self._key), remedy=remedy)
        return authority, key
