"""Verification of tokens under attack: every token that is not exactly one of ours is refused by a typed error, in little time."""

import base64
import json
import string
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from agent.identity.tokens import LEEWAY, LONGEST, TokenTroubleError, verify

NOW = 1_790_000_000.0
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)
HEAD = '{"typ":"JWT","alg":"ES256"}'
BODY = json.dumps({"sub": "hub-1", "exp": int(NOW) + 600})


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(head: str = HEAD, body: str | bytes = BODY) -> str:
    """A token of these exact texts, rightly signed: a hostile device has the key that it was registered with."""
    text = f"{packed(head.encode())}.{packed(body if isinstance(body, bytes) else body.encode())}"
    r, s = decode_dss_signature(KEY.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{packed(r.to_bytes(32) + s.to_bytes(32))}"


GOOD = signed()


def refused(token: str) -> None:
    with pytest.raises(TokenTroubleError):
        verify(token, PUBLIC, now=NOW)


def test_the_good_one_is_good() -> None:
    assert verify(GOOD, PUBLIC, now=NOW, subject="hub-1")["sub"] == "hub-1"
    with pytest.raises(TokenTroubleError, match="another's"):
        verify(GOOD, PUBLIC, now=NOW, subject="hub-2")


@given(st.text() | st.text(alphabet=string.ascii_letters + string.digits + "-_.=", max_size=200))
def test_any_text(token: str) -> None:
    refused(token)


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_any_change_of_one_character(at: int, char: str) -> None:
    changed = GOOD[:at] + char + GOOD[at + 1 :]
    if changed != GOOD:
        refused(changed)


@given(st.lists(st.sampled_from([*GOOD.split("."), "", "e30", "W10", packed(HEAD.encode()) + "="]), max_size=5))
def test_any_order_of_parts(parts: list[str]) -> None:
    if ".".join(parts) != GOOD:
        refused(".".join(parts))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["sub", "exp", "iat", "nbf", "aud", "iss", "jti"])


@given(st.dictionaries(NAMES, JSON))
def test_any_claims_with_a_right_signature_are_refused_or_within_their_time(claims: dict[str, Any]) -> None:
    try:
        found = verify(signed(body=json.dumps(claims)), PUBLIC, now=NOW)
    except TokenTroubleError:
        return
    assert isinstance(found["sub"], str)
    assert NOW - LEEWAY <= found["exp"] <= NOW + LONGEST + LEEWAY


@pytest.mark.parametrize(
    "exp",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e308",
        "9" * 4000,
        "9" * 5000,
        "true",
        "null",
        '"1790000600"',
        "[1790000600]",
        str(int(NOW) + LONGEST + LEEWAY + 1),
        str(int(NOW) - LEEWAY - 1),
        "-1",
        "0",
    ],
)
def test_an_expiry_that_is_no_time_or_too_far(exp: str) -> None:
    refused(signed(body=f'{{"sub":"hub-1","exp":{exp}}}'))


@pytest.mark.parametrize(
    "body",
    [
        '{"sub":"hub-1","exp":1,"exp":1790000600}',
        '{"sub":"hub-2","sub":"hub-1","exp":1790000600}',
        '{"sub":"","exp":1790000600}',
        '{"sub":7,"exp":1790000600}',
        '{"sub":"hub-1"}',
        '{"exp":1790000600}',
        '{"sub":"hub-1","exp":1790000600,"nbf":1790000500}',
        '{"sub":"hub-1","exp":1790000600,"iat":1790000500}',
        '{"sub":"hub-1","exp":1790000600,"nbf":NaN}',
        '{"sub":"hub-1","exp":1790000600,"x":' + "[" * 2500 + "]" * 2500 + "}",
        '{"sub":"hub-1","exp":1790000600,"x":"' + "a" * 8000 + '"}',
        "[]",
        '"text"',
        "null",
        "",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + BODY.encode(),
        BODY.encode("utf-16"),
    ],
)
def test_claims_that_two_readers_may_read_differently(body: str | bytes) -> None:
    if body == BODY.encode("utf-16"):
        assert json.loads(body)["sub"] == "hub-1"  # which Python's reader takes, and others do not
    refused(signed(body=body))


@pytest.mark.parametrize(
    "head",
    [
        '{"typ":"JWT","alg":"none"}',
        '{"typ":"JWT","alg":"None"}',
        '{"typ":"JWT","alg":"HS256"}',
        '{"typ":"JWT","alg":"ES384"}',
        '{"typ":"JWT","alg":["ES256"]}',
        '{"typ":"JWT","alg":"none","alg":"ES256"}',
        '{"typ":"JWT"}',
        '{"typ":"JWT","alg":"ES256","crit":["b64"],"b64":false}',
        '{"typ":"JWT","alg":"ES256","crit":["exp"]}',
        '{"typ":"JWT","alg":"ES256","b64":false}',
        "[]",
        "{}",
    ],
)
def test_a_header_that_asks_for_something_else(head: str) -> None:
    refused(signed(head=head))


def test_the_public_key_is_no_secret_of_hs256() -> None:
    import hashlib  # noqa: PLC0415  the forger's own tools
    import hmac  # noqa: PLC0415

    for secret in (PUBLIC, PUBLIC.strip(), PUBLIC.replace("\n", "")):
        for head in ('{"typ":"JWT","alg":"HS256"}', HEAD):
            text = f"{packed(head.encode())}.{packed(BODY.encode())}"
            refused(f"{text}.{packed(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}")
    refused(jwt.encode({"sub": "hub-1", "exp": int(NOW) + 60}, None, algorithm="none"))


def test_signatures_of_other_forms() -> None:
    text, _, tail = GOOD.rpartition(".")
    raw = base64.urlsafe_b64decode(tail + "==")
    der = KEY.sign(text.encode(), ec.ECDSA(SHA256()))
    zero, order = bytes(64), bytes(32) + raw[32:]
    for wrong in (der, raw + b"\0", raw[:63], b"", zero, order, raw[32:] + raw[:32], b"\xff" * 64):
        refused(f"{text}.{packed(wrong)}")
    refused(f"{text}.{tail}==")
    refused(f"{text}.{tail[:-1]}{'BCD'[['A', 'Q', 'g', 'w'].index(tail[-1]) - 1] if tail[-1] in 'AQgw' else '!'}")


def test_length_costs_no_time() -> None:
    start = time.perf_counter()
    for token in ("." * 10**7, "a" * 10**7, GOOD + "A" * 10**7, f"{packed(b'[' * 10**6)}.x.y"):
        refused(token)
    assert time.perf_counter() - start < 2.0  # what is linear takes milliseconds
