"""TLS to a broker: the context, and what a person does about each way in which it fails."""

import ssl

from agent.errors import ConfigError

_OTHER_PORT = (
    "this port may not speak TLS 1.2 or newer (8883 usually does), or the broker wants another client certificate"
)
CLOSED_AFTER_HANDSHAKE = "the broker is starting, or wants another client certificate: see its log"
_PEM = "check that the file is PEM and readable by the agent's user"
_REMEDIES = (  # part of OpenSSL's words -> remedy; the first that fits
    ("Hostname mismatch", "use a name that the broker's certificate holds as `host`"),
    ("IP address mismatch", "use a name or address that the broker's certificate holds as `host`"),
    ("certificate has expired", "the broker's certificate has expired, or this hub's clock is wrong"),
    ("not yet valid", "this hub's clock is behind; it is tried again, and works once the time is set"),
    ("CERTIFICATE_VERIFY_FAILED", "set `ca` to the PEM file of the authority that signed the broker's certificate"),
    ("WRONG_VERSION_NUMBER", "this port does not speak TLS: use the broker's TLS port (usually 8883)"),
    ("RECORD_LAYER_FAILURE", "this port does not speak TLS: use the broker's TLS port (usually 8883)"),
    ("PROTOCOL_VERSION", "the broker speaks only TLS older than 1.2: update the broker"),
    ("UNSUPPORTED_PROTOCOL", "the broker speaks only TLS older than 1.2: update the broker"),
    ("CERTIFICATE_REQUIRED", "the broker wants a client certificate: set `certificate` and `key`"),
    ("HANDSHAKE_FAILURE", "the broker wants a client certificate or other ciphers: set `certificate` and `key`"),
    ("CERTIFICATE_EXPIRED", "the hub's certificate has expired: install a new one"),
    ("CERTIFICATE_REVOKED", "the hub's certificate was revoked: install a new one"),
    ("UNKNOWN_CA", "the broker does not know the authority of the hub's certificate"),
    ("TLS handshake", _OTHER_PORT),
    ("EOF occurred", _OTHER_PORT),
    ("closed (EOF)", _OTHER_PORT),
    ("ALERT", "the broker does not accept the hub's certificate: see the broker's log"),
)


class _Socket(ssl.SSLSocket):
    """A socket that is closed when the handshake fails: paho leaves it to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  the signature of ssl.SSLSocket
        try:
            super().do_handshake(block)
        except ConnectionError as error:
            self.close()
            raise ConnectionError("the broker closed the connection in the TLS handshake") from error
        except OSError:
            self.close()
            raise


def tls_context(*, ca: str, certificate: str, key: str, alpn: str = "") -> ssl.SSLContext:
    """TLS 1.2 or newer that checks the broker against `ca` (empty: the system's). Raises ConfigError naming the file."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 would refuse the authorities that people make for a broker at home (no key identifiers); 3.11 takes them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.sslsocket_class = _Socket
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the CA cannot be used: {error}", place=ca, remedy=_PEM) from error
    try:
        if certificate:
            context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        text, remedy = f"the certificate and its key cannot be used: {error}", _PEM
        if "KEY_VALUES_MISMATCH" in str(error):
            text = f"the key {key} is not the certificate's"
            remedy = "give the certificate that was issued for this key"
        raise ConfigError(text, place=certificate, remedy=remedy) from error
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def is_tls_trouble(reason: str) -> bool:
    """Whether these words of a lost connection tell of TLS, not of MQTT."""
    return "SSL" in reason.upper() or "TLS" in reason


def remedy_of(reason: str) -> str:
    """What to do about a failed connection; "" when the words tell nothing."""
    upper = reason.upper()
    if not is_tls_trouble(reason):
        return ""
    return next((remedy for part, remedy in _REMEDIES if part.upper() in upper), "")
