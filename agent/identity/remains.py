"""Looks for private keys in files: the proof that none is left. It knows nothing of what should be there.

Found are PEM texts of every kind, also within other files; DER of PKCS #8 (RFC 5958), SEC 1 (RFC 5915) and PKCS #1 (RFC 8017), also in
base64; and the bare number of a key that is known by its public half, in a file of its own.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agent.errors import PermissionDeniedError
from agent.identity.keys import PrivateKey
from agent.offboard_mark import Left

_PEM = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----(.{0,16384}?)-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_OIDS = rb"(?:\x06\x07\x2a\x86\x48\xce\x3d\x02\x01|\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01|\x06\x03\x2b\x65[\x6e-\x71])"
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..)"
_DER = re.compile(
    rb"\x30" + _LENGTH + rb"(?:"
    rb"\x02\x01[\x00\x01]\x30" + _LENGTH + _OIDS + rb"|"  # PKCS #8: version, algorithm
    rb"\x02\x01\x01\x04[\x20\x30\x42]|"  # SEC 1: version, a number of 32, 48 or 66 bytes
    rb"\x02\x01\x00\x02\x82..\x00[\x80-\xff]"  # PKCS #1: version, a modulus with its highest bit set
    rb")",
    re.DOTALL,
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/](?:[A-Za-z0-9+/\r\n]|\\[rn]){58,}={0,2}")
_BREAKS = re.compile(rb"\\[rn]|[\r\n\"]")
_HEX = re.compile(rb"\s*((?:[0-9A-Fa-f]{2}){32,66})\s*")
_CURVES: Mapping[int, ec.EllipticCurve] = {32: ec.SECP256R1(), 48: ec.SECP384R1()}
_SIZES = (32, 48)  # bytes of a bare number
_LARGEST_KEY = 16384  # bytes


def search(path: Path, destroyed: Mapping[str, str]) -> list[Left]:
    """The private keys in a file; `destroyed` and errors as in `scan`."""
    return [Left(where=str(path), kind=kind, matches=name) for kind, name in _keys(_content(path), destroyed)]


def scan(folders: Collection[Path], kept: Collection[Path], destroyed: Mapping[str, str]) -> tuple[int, list[Left]]:
    """How many files there are below `folders` but those `kept` (files and whole folders), and the private keys in them.

    `destroyed`: SHA-256 of a public key -> name. Raises PermissionDeniedError for a file that cannot be read: it proves nothing.
    """
    count, left, whole = 0, [], frozenset(kept)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file() or not whole.isdisjoint((path, *path.parents)):
                continue
            count += 1
            left += search(path, destroyed)
    return count, left


def fingerprint(public_key: str) -> str:
    """SHA-256 of the DER SubjectPublicKeyInfo of a PEM public key, hex."""
    body = "".join(line for line in public_key.splitlines() if "-----" not in line)
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = "run it as the hub's user, or as root"
        raise PermissionDeniedError(
            f"cannot be searched for keys: {error.strerror}", place=str(path), remedy=remedy
        ) from error


def _keys(content: bytes, destroyed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Kind and name of each key in a file."""
    spans = [found.span() for found in _PEM.finditer(content)]
    for found in _PEM.finditer(content):
        yield found[1].decode(), _name(_decoded(found[2]), destroyed)
    for found in _BEGIN.finditer(content):
        if not any(begin <= found.start() < end for begin, end in spans):
            yield "the beginning of a PEM private key", ""
    for found in _DER.finditer(content):
        yield "DER private key", _name(content[found.start() : found.start() + _LARGEST_KEY], destroyed)
    for found in _BASE64.finditer(content):
        if not any(begin <= found.start() < end for begin, end in spans):
            decoded = _decoded(found[0])
            for inner in _DER.finditer(decoded):
                yield "private key in base64", _name(decoded[inner.start() :], destroyed)
    for number in _bare(content):
        for name in _of_number(number, destroyed):
            yield "the number of a private key", name


def _decoded(text: bytes) -> bytes:
    body = _BREAKS.sub(b"", text).rstrip(b"=")
    body = body[: len(body) - (len(body) % 4 == 1)]
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4))
    except binascii.Error:
        return b""  # no base64: a PEM with headers, which counts without a name


def _name(der: bytes, destroyed: Mapping[str, str]) -> str:
    """Of the destroyed key that this is, which may have more bytes behind it; empty for another one."""
    whole = der[: _size(der)]
    try:
        key = serialization.load_der_private_key(whole, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return ""
    return destroyed.get(_digest(key), "") if isinstance(key, PrivateKey) else ""


def _size(der: bytes) -> int:
    """Bytes of the DER value that begins here (X.690, 8.1.3)."""
    if len(der) < 2 or der[1] < 0x80:  # noqa: PLR2004  the short form
        return 2 + (der[1] if len(der) > 1 else 0)
    width = der[1] & 0x7F
    return 2 + width + int.from_bytes(der[2 : 2 + width])


def _bare(content: bytes) -> Iterator[bytes]:
    if len(content) in _SIZES:
        yield content
    elif found := _HEX.fullmatch(content):
        yield bytes.fromhex(found[1].decode())


def _of_number(number: bytes, destroyed: Mapping[str, str]) -> Iterator[str]:
    made: list[PrivateKey] = []
    try:
        if len(number) in _CURVES:
            made.append(ec.derive_private_key(int.from_bytes(number), _CURVES[len(number)]))
        if len(number) == _SIZES[0]:
            made.append(ed25519.Ed25519PrivateKey.from_private_bytes(number))
    except ValueError:
        return  # not below the order of the curve
    for key in made:
        if name := destroyed.get(_digest(key), ""):
            yield name


def _digest(key: PrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()
