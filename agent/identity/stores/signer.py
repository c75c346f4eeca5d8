"""A key of a person's in a PKCS #11 token, under whatever label it has there: one that signs, and nothing else.

The keys of a hub (pkcs11.py) are its own, and carry its prefix; a maker's key for releases was made by the maker.
"""

import hashlib
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from agent.identity.keys import KeyTroubleError
from agent.identity.stores.facade import EcFacade
from agent.identity.stores.token import Token

_PRIVATE = {Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
_USE = pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY


def signing_key(token: Token, label: str) -> EcFacade:
    """The P-256 key `label`. Raises KeyTroubleError where there is none, or another kind, and as Token.session."""

    def public(session: pkcs11.Session) -> ec.EllipticCurvePublicKey | None:
        _one(session, token, label, ObjectClass.PRIVATE_KEY)
        found = _one(session, token, label, ObjectClass.PUBLIC_KEY)
        key = load_der_public_key(encode_ec_public_key(found)) if found.key_type is KeyType.EC else None
        return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None

    with token.session() as session:
        key = public(session)
    if key is None:
        remedy = "make one: agent ota sign --new-key 'pkcs11:...' -o FILE.pub.pem"
        raise KeyTroubleError(f"the key {label!r} is not of the curve P-256", place=token.place, remedy=remedy)
    return EcFacade(key, lambda data: _signature(token, label, data))


def make_signing_key(token: Token, label: str) -> EcFacade:
    """A new P-256 key that never leaves the token. Raises KeyTroubleError where the label is taken, and as Token.session."""
    with token.session() as session:
        if [*session.get_objects({Attribute.LABEL: label})]:
            remedy = "take another label, or destroy the key: pkcs11-tool --delete-object"
            raise KeyTroubleError(f"there is a key {label!r} already", place=token.place, remedy=remedy)
        named = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        session.create_domain_parameters(KeyType.EC, named, local=True).generate_keypair(
            id=label.encode(),
            label=label,
            store=True,
            public_template={Attribute.TOKEN: True},
            private_template=_PRIVATE,
            capabilities=_USE,
        )
    return signing_key(token, label)


def _signature(token: Token, label: str, data: bytes) -> bytes:
    with token.session() as session:
        private = _one(session, token, label, ObjectClass.PRIVATE_KEY)
        raw = bytes(private.sign(hashlib.sha256(data).digest(), mechanism=Mechanism.ECDSA))
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


def _one(session: pkcs11.Session, token: Token, label: str, kind: ObjectClass) -> Any:
    found = [*session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label})]
    if len(found) != 1:
        text = f"{len(found) or 'no'} keys have the label {label!r}"
        remedy = f"`pkcs11-tool --module {token.module} --login --list-objects` shows what is there"
        raise KeyTroubleError(text, place=token.place, remedy=remedy)
    return found[0]
