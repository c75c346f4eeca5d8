"""Keys in a PKCS #11 token: made there, sensitive, never extractable; the token signs. The secrets' key is sealed by a key of the token.

A key is two objects, private and public, with the label `hub-agent:NAME`; one without the other is what a power cut has left of a
`generate`, and counts as none. TLS reaches the key by a file that names it, as pkcs11-provider understands (its docs/provider-pkcs11.7).
"""

import base64
import hashlib
import os
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from agent.identity.keys import (
    P256,
    P384,
    RSA2048,
    RSA3072,
    KeyTroubleError,
    Subject,
    checked,
    digest_of,
    key_folder,
    public_pem,
    refused_to_adopt,
    request,
    rsa_bits,
    there_is_none,
    there_is_one,
)
from agent.identity.stores.facade import EcFacade, RsaFacade, facade
from agent.identity.stores.proof import prove_tls
from agent.identity.stores.provider import PKCS11
from agent.identity.stores.token import Token
from agent.private_files import PrivateFolder
from agent.secret_store import SecretTroubleError

KINDS = (P256, P384, RSA2048, RSA3072)
PREFIX = "hub-agent:"
_CURVES = {P256: "secp256r1", P384: "secp384r1"}
_MASTER = f"{PREFIX}:secrets"  # no name of a key begins with a colon
_PRIVATE = {Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
_OTHER = (
    "check pkcs11-module-path in the file that OPENSSL_CONF names: it must be the library of identity.pkcs11_module"
)
_BLOCK = 16  # bytes of AES, and of its initial vector
_CAPABILITIES = pkcs11.MechanismFlag

Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class TokenKeys:
    """Keys of `token`; `folder` gets the files that name them for TLS."""

    def __init__(self, token: Token, folder: Path) -> None:
        self._token = token
        self._files = key_folder(folder, ".uri")
        self._known: dict[str, Public] = {}  # what is public does not change
        self._proved: set[str] = set()

    def generate(self, name: str, kind: str = P256) -> None:
        label = PREFIX + checked(name)
        if kind not in KINDS:
            raise KeyTroubleError(f"a token makes no key of the kind {kind!r}", remedy=f"one of {', '.join(KINDS)}")
        with self._token.session() as session:
            if self._whole(session, label):
                raise there_is_one(name, self._token.place)
            self._destroy(session, label)
            identity: dict[str, Any] = {"id": label.encode(), "label": label, "store": True}
            templates: dict[str, Any] = {"public_template": {Attribute.TOKEN: True}, "private_template": _PRIVATE}
            if kind in _CURVES:
                named = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[kind])}
                parameters = session.create_domain_parameters(KeyType.EC, named, local=True)
                use = _CAPABILITIES.SIGN | _CAPABILITIES.VERIFY
                parameters.generate_keypair(**identity, **templates, capabilities=use)
            else:
                use = _CAPABILITIES.SIGN | _CAPABILITIES.VERIFY
                session.generate_keypair(KeyType.RSA, rsa_bits(kind), **identity, **templates, capabilities=use)

    def adopt(self, name: str, pem: str) -> None:  # noqa: ARG002  the protocol's
        raise refused_to_adopt(self._token.place)

    def names(self) -> tuple[str, ...]:
        def names(session: pkcs11.Session) -> tuple[str, ...]:
            labels = {label for label in map(_label, session.get_objects()) if label.startswith(PREFIX)} - {_MASTER}
            return tuple(sorted(label.removeprefix(PREFIX) for label in labels))

        return self._token.surely(names)

    def has(self, name: str) -> bool:
        label = PREFIX + checked(name)
        return self._token.surely(lambda session: self._whole(session, label))

    def public_key(self, name: str) -> str:
        return public_pem(self._public(name))

    def sign(self, name: str, data: bytes) -> bytes:
        public = self._public(name)
        mechanism, given = Mechanism.SHA256_RSA_PKCS, data
        if not isinstance(public, rsa.RSAPublicKey):
            digest = digest_of(public)
            given = hashlib.new(digest.name if digest else "sha256", data).digest()
            mechanism = Mechanism.ECDSA  # r and s; every token has this, few the ones that hash

        def signature(session: pkcs11.Session) -> bytes:
            private = self._one(session, PREFIX + name, ObjectClass.PRIVATE_KEY)
            return b"" if private is None else bytes(private.sign(given, mechanism=mechanism))

        raw = self._token.surely(signature)
        if not raw:
            self._known.pop(name, None)
            raise there_is_none(name, self._token.place)
        if mechanism is Mechanism.SHA256_RSA_PKCS:
            return raw
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))

    def csr(self, name: str, subject: Subject) -> str:
        return request(self._facade(name), subject)

    def tls_files(self, name: str, chain: Path) -> tuple[str, str]:
        key = self._facade(name)
        self._files.write(name, uri_pem(self._token.label, PREFIX + name))
        path = str(self._files.path(name))
        if name not in self._proved:
            prove_tls(key, path, lambda: PKCS11.diagnosis() or _OTHER)
            self._proved.add(name)
        return str(chain), path

    def destroy(self, name: str) -> None:
        label = PREFIX + checked(name)
        with self._token.session() as session:
            self._destroy(session, label)
        self._files.remove(name)
        self._known.pop(name, None)
        self._proved.discard(name)

    def forget(self) -> None:
        """Destroy all that this program has ever made in the token."""
        with self._token.session() as session:
            for label in {found for found in map(_label, session.get_objects()) if found.startswith(PREFIX)}:
                self._destroy(session, label)
        self._known.clear()

    def _facade(self, name: str) -> EcFacade | RsaFacade:
        return facade(self._public(name), lambda data: self.sign(name, data))

    def _whole(self, session: pkcs11.Session, label: str) -> bool:
        kinds = (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
        return all(self._one(session, label, kind) is not None for kind in kinds)

    def _public(self, name: str) -> Public:
        label = PREFIX + checked(name)

        def public(session: pkcs11.Session) -> Public | None:
            found = self._one(session, label, ObjectClass.PUBLIC_KEY)
            return None if found is None or not self._whole(session, label) else _public(found)

        if name not in self._known:
            found = self._token.surely(public)
            if found is None:
                raise there_is_none(name, self._token.place)
            self._known[name] = found
        return self._known[name]

    def _one(self, session: pkcs11.Session, label: str, kind: ObjectClass) -> Any:
        return next(iter([*session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label})]), None)

    def _destroy(self, session: pkcs11.Session, label: str) -> None:
        for found in [*session.get_objects({Attribute.LABEL: label})]:
            found.destroy()


def _label(found: Any) -> str:
    try:
        return str(found[Attribute.LABEL])
    except (pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive):
        return ""


def _public(found: Any) -> Public:
    """The public key of an object. Raises KeyTroubleError for one that was not made here."""
    if found.key_type is KeyType.RSA:
        modulus, exponent = (int.from_bytes(found[part]) for part in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT))
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    if found.key_type is KeyType.EC:
        key = load_der_public_key(encode_ec_public_key(found))
        if isinstance(key, ec.EllipticCurvePublicKey):
            return key
    raise KeyTroubleError("the token's object is of a kind that is not used here", remedy="destroy it and make another")


def master(token: Token, files: PrivateFolder) -> bytes:
    """The 32 bytes that seal the secrets: kept beside them, encrypted by an AES key that never leaves the token.

    What else makes the store unreadable (another token, a changed file) shows when the first secret is opened.
    """

    def held(session: pkcs11.Session) -> Any:
        found = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: _MASTER})
        return next(iter([*found]), None)

    token.surely(held)
    with token.session() as session:
        key = held(session)
        sealed = files.read("master")
        if sealed is None:
            if key is None:
                use = _CAPABILITIES.ENCRYPT | _CAPABILITIES.DECRYPT
                key = session.generate_key(
                    KeyType.AES,
                    256,
                    store=True,
                    label=_MASTER,
                    id=_MASTER.encode(),
                    capabilities=use,
                    template=_PRIVATE,
                )
            fresh, vector = os.urandom(32), os.urandom(_BLOCK)
            encrypted = key.encrypt(fresh, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=vector)
            files.write("master", vector + bytes(encrypted))
            return fresh
        place = str(files.path("master"))
        remedy = (
            "plug in the token that the secrets were made with, or delete the folder: radios then form new networks"
        )
        if key is None:
            raise SecretTroubleError(f"{token.place} has not the key of the secrets", place=place, remedy=remedy)
        try:
            vector, encrypted = sealed[:_BLOCK], sealed[_BLOCK:]
            return bytes(key.decrypt(encrypted, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=vector))
        except (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.ArgumentsBad, pkcs11.GeneralError):
            raise SecretTroubleError("the secrets' key is damaged", place=place, remedy=remedy) from None


def uri_pem(token: str, label: str) -> bytes:
    """The key file of pkcs11-provider: a DER sequence of its description and the key's URI (RFC 7512)."""
    uri = f"pkcs11:token={quote(token)};object={quote(label)};type=private".encode()
    body = _der(0x1A, b"PKCS#11 Provider URI v1.0") + _der(0x0C, uri)
    lines = textwrap.wrap(base64.b64encode(_der(0x30, body)).decode(), 64)
    text = "\n".join(("-----BEGIN PKCS#11 PROVIDER URI-----", *lines, "-----END PKCS#11 PROVIDER URI-----", ""))
    return text.encode()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    long = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag]) + (bytes([size]) if size < 0x80 else bytes([0x80 | len(long)]) + long) + content  # noqa: PLR2004  X.690, 8.1.3
