"""The hub's certificate and what it stands for: checked before it is installed, and kept beside its key."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.errors import HubError
from agent.files import write_atomic
from agent.identity.keys import KeyStore

KEY = "hub"
SKEW = 300.0  # seconds that a cloud's clock may be ahead of ours


class CertificateTroubleError(HubError):
    """A certificate cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the hub has become. `configuration`: of the provisioning template, for example the client id to use."""

    thing: str
    certificate_id: str
    configuration: Mapping[str, str] = field(default_factory=dict)


class Certificates:
    """The certificate of the key `hub` in `folder`: `hub.pem`, and `identity.json`, which is written last and counts."""

    def __init__(self, folder: Path, keys: KeyStore) -> None:
        self._folder, self._keys = folder, keys
        self.path = folder / "hub.pem"
        self._record = folder / "identity.json"

    def install(self, pem: str, thing: str, configuration: Mapping[str, str], now: float) -> Identity:
        """Keep a certificate chain (PEM, leaf first). Raises CertificateTroubleError when it does not fit."""
        leaf = check(pem, self._keys.public_key(KEY), now)
        identity = Identity(thing, leaf.fingerprint(hashes.SHA256()).hex(), dict(configuration))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.path, pem.encode())
        write_atomic(self._record, json.dumps(asdict(identity)).encode())
        return identity

    def current(self) -> Identity | None:
        """The identity that is installed. Raises CertificateTroubleError for a record that cannot be read."""
        if not self._record.exists():
            return None
        try:
            told = json.loads(self._record.read_bytes())
            return Identity(str(told["thing"]), str(told["certificate_id"]), dict(told["configuration"]))
        except (ValueError, KeyError, TypeError) as error:
            remedy = "delete it: the hub is then provisioned again"
            raise CertificateTroubleError(
                f"cannot be read: {error!r}", place=str(self._record), remedy=remedy
            ) from None

    def expires(self) -> float:
        """The end of the certificate's validity, seconds since the epoch."""
        return _parse(self.path.read_text(encoding="ascii"))[0].not_valid_after_utc.timestamp()


def check(pem: str, public_key: str, now: float) -> x509.Certificate:
    """The leaf of a chain that fits the key, is a client's and is valid. Raises CertificateTroubleError."""
    leaf = _parse(pem)[0]
    held = leaf.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if held.decode() != public_key:
        raise CertificateTroubleError(
            "the certificate is for another key", remedy="ask for one with this hub's own request"
        )
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if not begin - SKEW <= now <= end:
        span = f"{_day(begin)} to {_day(end)}"
        raise CertificateTroubleError(
            f"the certificate is valid from {span}, it is {_day(now)}", remedy="check the hub's clock"
        )
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return leaf
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise CertificateTroubleError(
            "the certificate is not for a TLS client", remedy="its extended key usage needs clientAuth"
        )
    return leaf


def _parse(pem: str) -> list[x509.Certificate]:
    if "\\n" in pem and "\n" not in pem.strip():
        remedy = "turn the two characters \\n into line breaks (JSON holds them so)"
        raise CertificateTroubleError("the PEM text has no line breaks", remedy=remedy)
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise CertificateTroubleError(f"no PEM certificate: {error}") from None


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
