"""Whether this interpreter's TLS can use a key that stays in a device: by one real handshake, in memory.

`load_cert_chain` alone proves nothing: it compares public keys. Python's `ssl` reads such a key only where its OpenSSL has loaded the
device's provider, which OPENSSL_CONF must say before Python starts (CPython issue 116971 has no other way).
"""

import datetime as dt
import ssl
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.identity.keys import KeyTroubleError, PrivateKey, digest_of
from agent.identity.stores.memory import MemoryFile

_DAY = dt.timedelta(days=1)
_NOW = dt.datetime(2000, 1, 1)  # noqa: DTZ001  nobody checks it: the peer of the handshake trusts anything


def prove_tls(key: PrivateKey, key_file: str, remedy: Callable[[], str]) -> None:
    """Sign a handshake with the key that `key_file` names; `key` signs the certificate for it. Raises KeyTroubleError."""
    try:
        with MemoryFile(_certificate(key)) as certificate:
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(certificate.path, key_file)
        _shake_hands(server)
    except OSError as error:
        text = f"this Python's TLS ({ssl.OPENSSL_VERSION}) cannot use the key: {error}"
        raise KeyTroubleError(text, place=key_file, remedy=remedy()) from error


def _certificate(key: PrivateKey) -> bytes:
    """Self-signed, for the handshake only. A chain may not be there yet when a key is proved."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "proof")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(_NOW).not_valid_after(_NOW + _DAY)
    return builder.sign(key, digest_of(key)).public_bytes(Encoding.PEM)


def _shake_hands(server: ssl.SSLContext) -> None:
    """The client checks the server's signature (RFC 8446, 4.4.3) whether it trusts the certificate or not."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
