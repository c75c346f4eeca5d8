"""Signatures of releases beside joserfc, a library for JOSE that we did not write: each takes what the other signs."""

import json

import ota_rig as rig
import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, Key, OKPKey

from agent.ota.manifest import LARGEST
from agent.ota.signatures import Envelope, media_type, open_envelope, private_pem, url64

pytestmark = [
    pytest.mark.conformance,
    # RFC 9864 renames EdDSA to Ed25519, which few libraries know yet; what it is about, a curve that is left open, our keys pin.
    pytest.mark.filterwarnings("ignore:EdDSA is deprecated"),
]
ALGORITHMS = ["ES256", "EdDSA"]


def foreign(label: str) -> Key:
    pem = private_pem(rig.key(label))
    return OKPKey.import_key(pem) if label.startswith("ed") else ECKey.import_key(pem)


def test_it_takes_ours() -> None:
    opened = open_envelope(rig.release(), LARGEST, "")
    for label, text in zip(("p-r", "ed-s"), opened.signatures, strict=True):
        key = foreign(label)
        whole = text.replace("..", f".{url64(opened.payload)}.")
        found = jws.deserialize_compact(whole, key, algorithms=ALGORITHMS)
        assert found.payload == opened.payload
        assert found.headers()["kid"] == key.thumbprint()
        with pytest.raises(BadSignatureError):
            jws.deserialize_compact(text.replace("..", f".{url64(opened.payload + b' ')}."), key, algorithms=ALGORITHMS)


def test_we_take_its() -> None:
    payload = json.dumps(rig.release_document()).encode()
    made = []
    for label, algorithm in (("p-r", "ES256"), ("ed-s", "EdDSA")):
        key = foreign(label)
        header = {"alg": algorithm, "kid": key.thumbprint(), "typ": media_type("release")}
        whole = jws.serialize_compact(header, payload, key, algorithms=ALGORITHMS)
        made.append(jws.detach_content(whole))
    envelope = json.loads(rig.signed(payload, ()))
    found = rig.check(Envelope(payload=envelope["payload"], signatures=tuple(made)).encoded())
    assert found.signers == {rig.kid("p-r"), rig.kid("ed-s")}
