"""How a device is spoken to: where it is, and by which key. PURE: the discovery material, and the form in which a key is kept.

coap://192.0.2.7                                       a device without protection, for which the policy must allow it
coaps://192.0.2.7?identity=hub&psk=<hex>               DTLS with a pre-shared key (RFC 7252, 9.1.3.1)
coap://192.0.2.7?secret=<hex>&sender=01&recipient=02   OSCORE (RFC 8613): master secret and the ids of hub and device, in hex,
                                                       with salt=<hex> and context=<hex> where the device has them

A dot may be written %2E (RFC 3986, 6.2.2.2): AWS takes none in a code.
"""

import json
import re
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

PORT, SECURE_PORT = 5683, 5684
DTLS, OSCORE = "dtls", "oscore"
LONGEST = 512  # characters of a text
_KEY_SIZES = range(4, 65)  # bytes; OpenSSL takes a PSK of up to 64, and fewer than 16 are for toys
_SECRET_SIZES = range(16, 65)  # bytes of a master secret (RFC 8613, 3.2.1: of the strength of the cipher)
_ID_SIZES = range(8)  # bytes of a sender id: nonce of 13 less 6 (RFC 8613, 3.3)
_HOST = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?")
_IDENTITY = 128  # bytes, RFC 4279, 5.3


class MaterialError(ValueError):
    """The material cannot be used; the text says why and never repeats a key."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device is. `host` is an IP address or a name."""

    host: str
    port: int = PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class DtlsKey:
    """A pre-shared key."""

    identity: str
    psk: str  # hex
    kind: str = DTLS


@dataclass(frozen=True, slots=True)
class OscoreKey:
    """The parts of a security context that both ends must have."""

    secret: str  # hex, as are the others
    salt: str = ""
    sender: str = ""
    recipient: str = ""
    context: str = ""
    kind: str = OSCORE


Key = DtlsKey | OscoreKey


def material(text: str) -> tuple[Address, Key | None]:
    """What `--auth` says of one device. Raises MaterialError."""
    if len(text) > LONGEST:
        raise MaterialError(f"the material is longer than {LONGEST} characters")
    address, query, secure = _split(text)
    if "psk" in query or secure:
        if not secure or "secret" in query:
            raise MaterialError("a psk belongs to coaps://, a secret to coap://")
        return address, _dtls(query)
    if "secret" in query:
        return address, _oscore(query)
    if query:
        raise MaterialError(f"{min(query)!r} is not known without psk or secret")
    return address, None


def address(text: str) -> Address:
    """An address of the configuration: coap://host:port, or host:port. Raises MaterialError."""
    found, query, secure = _split(text if "://" in text else f"coap://{text}")
    if query or secure:
        raise MaterialError(f"{text[:64]!r}: a protected device is added by `agent discover coap --auth`")
    return found


def _split(text: str) -> tuple[Address, dict[str, str], bool]:
    try:
        parts = urlsplit(text)
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        raise MaterialError("this is no coap:// or coaps:// address") from None
    if parts.scheme not in ("coap", "coaps") or parts.path not in ("", "/") or parts.username or parts.fragment:
        raise MaterialError("this is no coap:// or coaps:// address")
    if not _is_ip(host) and not _HOST.fullmatch(host):
        raise MaterialError("the address names no host")
    pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=16) if parts.query else []
    if len(dict(pairs)) != len(pairs):
        raise MaterialError("a name comes twice in the material")
    secure = parts.scheme == "coaps"
    return Address(host, port or (SECURE_PORT if secure else PORT)), dict(pairs), secure


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _dtls(query: dict[str, str]) -> DtlsKey:
    _only(query, {"identity", "psk"})
    identity = query.get("identity", "")
    if not identity or len(identity.encode()) > _IDENTITY or not identity.isprintable():
        raise MaterialError(f"identity is missing, or longer than {_IDENTITY} bytes")
    return DtlsKey(identity, _hex(query, "psk", _KEY_SIZES))


def _oscore(query: dict[str, str]) -> OscoreKey:
    _only(query, {"secret", "salt", "sender", "recipient", "context"})
    key = OscoreKey(
        _hex(query, "secret", _SECRET_SIZES),
        _hex(query, "salt", range(65)),
        _hex(query, "sender", _ID_SIZES),
        _hex(query, "recipient", _ID_SIZES),
        _hex(query, "context", range(33)),
    )
    if key.sender == key.recipient:
        raise MaterialError("sender and recipient must differ: with one id both ends would use one key and one nonce")
    return key


def _only(query: dict[str, str], known: set[str]) -> None:
    unknown = sorted(set(query) - known)
    if unknown:
        raise MaterialError(f"{unknown[0][:32]!r} is not known here; known: {', '.join(sorted(known))}")


def _hex(query: dict[str, str], name: str, sizes: range) -> str:
    try:
        size = len(bytes.fromhex(query.get(name, "")))
    except ValueError:
        raise MaterialError(f"{name} is not written in hexadecimal digits") from None
    if size not in sizes:
        raise MaterialError(f"{name} has {size} bytes; {sizes.start} to {sizes.stop - 1} can be used")
    return query.get(name, "").lower()


# ---- as it is kept ------------------------------------------------------------------------------------------------------


def pack(key: Key) -> bytes:
    return json.dumps(asdict(key)).encode()


def unpack(data: bytes) -> Key:
    """Raises ValueError for what `pack` did not make."""
    fields = json.loads(data)
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise ValueError("this is no key of a CoAP device")
    try:
        return DtlsKey(**fields) if fields.get("kind") == DTLS else OscoreKey(**fields)
    except TypeError:
        raise ValueError("this is no key of a CoAP device") from None
