"""Envelopes: the bytes of a document with detached signatures beside them (JWS, RFC 7515, appendix F). PURE.

    {"payload": "<base64 of the document's bytes>", "signatures": ["<header>..<signature>", ...]}

The header is {"alg", "kid", "typ"} and nothing else. `typ` names the type of the document, so that a signature for one type never counts for
another (RFC 8725, 3.11). The payload is base64url in what is signed, as in every plain JWS: with its payload put back between the two dots,
any library for JWS verifies it. The unencoded form (RFC 7797) saves nothing here, and many libraries do not know it.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import Field, model_validator

from agent.ota.documents import KeyId, Many, Part, read
from agent.ota.refusals import MalformedError, SignatureError, ThresholdError, TooLargeError, UnsignedError

MOST_SIGNATURES, LONGEST_SIGNATURE = 32, 512
ROOM = MOST_SIGNATURES * LONGEST_SIGNATURE + 1024  # bytes of an envelope beside its payload
ES256, EDDSA = "ES256", "EdDSA"
_SIGNER = jwt.PyJWS(algorithms=[ES256, EDDSA])
_KINDS = "keys that sign updates are P-256 or Ed25519"
_COORDINATE = r"^[A-Za-z0-9_-]{43}$"

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Key(Part):
    """A public key (JWK, RFC 7517 and 8037): P-256, which signs ES256 only, or Ed25519, which signs EdDSA only."""

    kty: Literal["EC", "OKP"]
    crv: Literal["P-256", "Ed25519"]
    x: Annotated[str, Field(pattern=_COORDINATE)]
    y: Annotated[str, Field(pattern=_COORDINATE)] | None = None

    @model_validator(mode="after")
    def _a_key(self) -> "Key":
        if (self.kty, self.crv, self.y is not None) not in (("EC", "P-256", True), ("OKP", "Ed25519", False)):
            raise ValueError("neither P-256 with x and y nor Ed25519 with x")
        for part in filter(None, (self.x, self.y)):  # one key with two texts would be two keys of a threshold
            if url64(unurl64(part)) != part:
                raise ValueError("not in canonical base64url")
        try:
            self.public()
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("no point of its curve") from None
        return self

    @property
    def algorithm(self) -> str:
        """The one that this key signs with."""
        return ES256 if self.kty == "EC" else EDDSA

    @property
    def thumbprint(self) -> str:
        """RFC 7638: SHA-256 of the required members, base64url."""
        text = json.dumps(self.model_dump(exclude_none=True), sort_keys=True, separators=(",", ":"))
        return url64(hashlib.sha256(text.encode()).digest())

    def public(self) -> PublicKey:
        """For the library."""
        x = unurl64(self.x)
        if self.y is None:
            return ed25519.Ed25519PublicKey.from_public_bytes(x)
        y = unurl64(self.y)
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1()).public_key()


class Envelope(Part):
    """The outer form. What is in it is nobody's word before its signatures are checked."""

    payload: str
    signatures: Annotated[
        Many[Annotated[str, Field(max_length=LONGEST_SIGNATURE, pattern=r"^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+$")]],
        Field(max_length=MOST_SIGNATURES),
    ]

    def encoded(self) -> bytes:
        """The file: JSON that people can look at."""
        return json.dumps({"payload": self.payload, "signatures": list(self.signatures)}, indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Signed:
    """An envelope that was opened: the bytes, and what claims to be signatures of them."""

    payload: bytes
    signatures: tuple[str, ...]


class Verifier:
    """The keys of a role, ready to verify; `threshold` of them must have signed."""

    def __init__(self, keys: Mapping[str, Key], threshold: int) -> None:
        self._keys = {kid: (key.algorithm, key.public()) for kid, key in keys.items()}
        self.threshold = threshold

    def check(self, signed: Signed, kind: str, place: str) -> frozenset[str]:
        """The ids of the keys that signed, at least `threshold`. Raises UnsignedError, SignatureError, ThresholdError, MalformedError."""
        if not signed.signatures:
            raise UnsignedError("nobody has signed it", place=place, remedy="sign it: agent ota sign")
        good = self.signers(signed, kind, place)
        if len(good) < self.threshold:
            text = f"{len(good)} of the {self.threshold} keys that must sign have signed"
            remedy = "have it signed by the keys of the role that the root names, or give the hub the newer root"
            raise ThresholdError(text, place=place, remedy=remedy)
        return good

    def signers(self, signed: Signed, kind: str, place: str) -> frozenset[str]:
        """The ids of the keys of this role that have signed. Raises SignatureError, MalformedError.

        A signature of a key that the role does not have says nothing, and is passed over: the key may be of the next root. One that names a
        key of the role and is not its signature is refused even where others would do: somebody has changed something.
        """
        content = url64(signed.payload)
        good: set[str] = set()
        for kid, text in [(header_of(text, kind, place), text) for text in signed.signatures]:
            if kid not in self._keys:
                continue
            if kid in good:
                raise SignatureError("a key has signed twice", place=place, remedy="take one of the signatures away")
            self._check_one(kid, text, content, place)
            good.add(kid)
        return frozenset(good)

    def _check_one(self, kid: str, text: str, content: str, place: str) -> None:
        pinned, key = self._keys[kid]
        head, _, tail = text.partition("..")
        try:
            _SIGNER.decode(f"{head}.{content}.{tail}", key, algorithms=[pinned])
        except jwt.PyJWTError as error:
            remedy = "fetch it again; if that does not help, it was tampered with"
            raise SignatureError(f"the signature of key {kid} is wrong: {error}", place=place, remedy=remedy) from None


def open_envelope(data: bytes, most: int, place: str) -> Signed:
    """The payload of at most `most` bytes, with its signatures unchecked. Raises TooLargeError, MalformedError."""
    envelope = read(Envelope, data, -(-most // 3) * 4 + ROOM, place)
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
    except (ValueError, binascii.Error):
        payload = b""
    if not payload or base64.b64encode(payload).decode() != envelope.payload:
        raise MalformedError("the payload is not in canonical base64", place=place, remedy="fetch it again")
    if len(payload) > most:
        remedy = "ask who made it: such a document is smaller"
        raise TooLargeError(f"{len(payload)} bytes, and {most} are allowed", place=place, remedy=remedy)
    return Signed(payload, envelope.signatures)


def header_of(text: str, kind: str, place: str) -> str:
    """Id of the key that a signature for a document of this type names. Raises MalformedError, SignatureError."""
    head, _, tail = text.partition("..")
    try:
        decoded, signature = unurl64(head), unurl64(tail)
    except (ValueError, binascii.Error):
        raise MalformedError("a signature is no base64url", place=place) from None
    if url64(decoded) != head or url64(signature) != tail:
        raise MalformedError("a signature is not in canonical base64url", place=place)
    header = read(_Header, decoded, LONGEST_SIGNATURE, place)
    if header.typ != media_type(kind):
        raise SignatureError(f"a signature of a {header.typ}, and not of a {kind}", place=place)
    return header.kid


class _Header(Part):
    alg: Literal["ES256", "EdDSA"]
    kid: KeyId
    typ: Annotated[str, Field(max_length=32)]


def media_type(kind: str) -> str:
    """`typ` of the header: `hub-agent-release+jws`."""
    return f"hub-agent-{kind}+jws"


def seal(payload: bytes, kind: str, keys: Iterable[PrivateKey], already: Iterable[str] = ()) -> Envelope:
    """Sign with each of `keys`; `already` are signatures of the same bytes, of which those by one of `keys` are replaced."""
    made: dict[str, str] = {header_of(text, kind, ""): text for text in already}
    for private in keys:
        key = jwk(private.public_key())
        headers = {"kid": key.thumbprint, "typ": media_type(kind)}
        head, _, tail = _SIGNER.encode(payload, private, algorithm=key.algorithm, headers=headers).split(".")
        made[key.thumbprint] = f"{head}..{tail}"
    return Envelope(payload=base64.b64encode(payload).decode(), signatures=tuple(made.values()))


def jwk(key: PublicKey) -> Key:
    """The form that a root names a key in. Raises ValueError for another curve than P-256."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Key(kty="OKP", crv="Ed25519", x=url64(key.public_bytes_raw()))
    if not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(_KINDS)  # noqa: TRY004  a value of the right type
    numbers = key.public_numbers()
    return Key(kty="EC", crv="P-256", x=url64(numbers.x.to_bytes(32)), y=url64(numbers.y.to_bytes(32)))


def url64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unurl64(text: str) -> bytes:
    """The opposite. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def new_key(algorithm: str) -> PrivateKey:
    """A key that signs updates: ES256 or EdDSA."""
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == ES256 else ed25519.Ed25519PrivateKey.generate()


class LockedError(ValueError):
    """The key is sealed with a passphrase, and none was given."""


def private_pem(key: PrivateKey, passphrase: bytes = b"") -> bytes:
    """PKCS #8, sealed where there is a passphrase."""
    sealed = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed)


def public_pem(key: PrivateKey) -> bytes:
    """SubjectPublicKeyInfo of its public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_private(pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """A P-256 or Ed25519 key. Raises LockedError, and ValueError for another key, another passphrase, and for what is none."""
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError as error:  # the library's word for a passphrase that is missing, or too many
        raise (LockedError if passphrase is None else ValueError)(str(error)) from None
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise ValueError(_KINDS)  # noqa: TRY004  what the file holds is wrong, not what was called
    jwk(key.public_key())
    return key


def read_public(pem: bytes) -> Key:
    """As read_private, for a public key."""
    try:
        key = load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise ValueError(_KINDS)  # noqa: TRY004  as above
    return jwk(key)
