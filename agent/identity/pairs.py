"""A certificate and its key that were made elsewhere: by AWS's hub SDK, by a certificate vendor in bulk."""

from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from agent.identity.certificates import with_line_breaks
from agent.identity.keys import KeyTroubleError, PrivateKey
from agent.identity.record import Held
from agent.identity.slots import Slots


def import_pair(
    slots: Slots, certificate_pem: str, key_pem: str, thing: str, configuration: Mapping[str, str], source: str
) -> Held:
    """Make a pair the hub's own; beside an identity that is there it is a candidate, which a real connection proves.

    `thing` may be empty: then it is the certificate's common name. `configuration`: "clientId", if it is not the thing; `source`: a word for
    people. The same certificate again changes nothing. Raises KeyTroubleError (no key, or a store that takes none), CertificateTroubleError,
    TryAgainError while another candidate is tried.
    """
    key, _ = with_line_breaks(key_pem)
    return slots.adopt(certificate_pem, public_key_of(key), key, thing, configuration, source)


def public_key_of(key_pem: str, place: str = "") -> str:
    """SubjectPublicKeyInfo, PEM, of a private key. Raises KeyTroubleError."""
    remedy = "the file begins with -----BEGIN PRIVATE KEY-----, or EC or RSA PRIVATE KEY, and has no password"
    try:
        key = serialization.load_pem_private_key(key_pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyTroubleError("no PEM private key without a password", place=place, remedy=remedy) from None
    if not isinstance(key, PrivateKey):
        raise KeyTroubleError("the key is of a kind that is not used here", place=place, remedy=remedy)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
