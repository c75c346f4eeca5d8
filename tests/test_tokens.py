"""Device tokens: their exact form, their life, and the time that they rest on. PyJWT and the stand-in cloud judge them."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import ESTIMATED, TRUSTED, Moment
from agent.errors import TryAgainError
from agent.identity.keys import P384
from agent.identity.stores.file import FileKeys
from agent.identity.tokens import LEEWAY, LONGEST, MOST_SKEW, Profile, Stored, Tokens, TokenTroubleError, key_id, verify

NOW = 1_790_000_000.0
PUBLIC = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@dataclass
class Watch:
    """A clock that stands still."""

    wall: float = NOW
    quality: str = TRUSTED
    mono: float | None = None  # goes with `wall`, unless it is given

    def now(self) -> Moment:
        return Moment(self.wall, self.wall if self.mono is None else self.mono, "boot", self.quality)


@pytest.fixture
def key(tmp_path: Path) -> Stored:
    keys = FileKeys(tmp_path)
    keys.generate("hub")
    return Stored(keys, "hub")


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    head, body, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    return json.loads(head), json.loads(body), signature


def test_a_token_has_exactly_what_nrf_cloud_wants(key: Stored) -> None:
    token = Tokens(key, "hub-1", Watch()).token()
    assert "=" not in token
    head, body, signature = parts(token)
    assert head == {"typ": "JWT", "alg": "ES256"}
    assert body == {"sub": "hub-1", "exp": int(NOW) + 600}
    assert len(signature) == 64
    public = key.keys.public_key("hub")
    assert jwt.decode(token, public, algorithms=["ES256"], options={"verify_exp": False})["sub"] == "hub-1"
    assert verify(token, public, now=NOW)["sub"] == "hub-1"


def test_a_key_id_is_the_digest_of_the_public_key(key: Stored) -> None:
    public = key.keys.public_key("hub")
    der = serialization.load_pem_public_key(public.encode()).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert key_id(public) == hashlib.sha256(der).hexdigest()
    head, _, _ = parts(Tokens(key, "hub-1", Watch(), profile=Profile(kid=True)).token())
    assert head["kid"] == key_id(public)


@pytest.mark.parametrize(
    ("wished", "bound", "life"), [(0, 0, 600), (60, 0, 60), (10**9, 0, LONGEST), (600, 90, 90), (-5, 0, 1)]
)
def test_a_life_is_as_wished_and_never_longer_than_allowed(key: Stored, wished: int, bound: int, life: int) -> None:
    token = Tokens(key, "hub-1", Watch(), bound=lambda: bound).token(wished)
    assert parts(token)[1]["exp"] == int(NOW) + life


def test_a_token_is_used_until_most_of_its_life_is_over(key: Stored) -> None:
    watch = Watch()
    tokens = Tokens(key, "hub-1", watch)
    first = tokens.token(100)
    watch.wall += 79
    assert tokens.token(100) == first
    watch.wall += 2
    assert tokens.token(100) != first


def test_nothing_is_signed_on_a_clock_that_is_not_trusted_until_a_server_has_told_the_time(key: Stored) -> None:
    watch = Watch(wall=100.0, quality=ESTIMATED)
    tokens = Tokens(key, "hub-1", watch)
    with pytest.raises(TryAgainError, match="not trusted"):
        tokens.token()
    assert tokens.learn(NOW)
    assert parts(tokens.token())[1]["exp"] == int(NOW) + 600
    first = tokens.token()
    assert not tokens.learn(NOW + LEEWAY / 2)
    assert tokens.token() == first
    assert tokens.learn(NOW + 10 * LEEWAY)
    assert tokens.token() != first


def test_a_shorter_bound_ends_the_use_of_a_longer_token(key: Stored) -> None:
    bound = 0
    tokens = Tokens(key, "hub-1", Watch(), bound=lambda: bound)
    first = tokens.token()
    bound = 90
    assert parts(tokens.token())[1]["exp"] == int(NOW) + 90
    assert parts(tokens.token(30))[1]["exp"] == int(NOW) + 30
    bound = 0
    assert tokens.token() != first


def test_a_clock_that_is_set_meanwhile_is_not_counted_twice(key: Stored) -> None:
    watch = Watch(wall=NOW - 5000, mono=7.0, quality=ESTIMATED)
    tokens = Tokens(key, "hub-1", watch)
    assert tokens.learn(NOW)
    watch.wall, watch.mono, watch.quality = NOW + 100, 107.0, TRUSTED  # the time was synchronised
    assert parts(tokens.make(600, {}))[1]["exp"] == int(NOW) + 700
    watch.wall += 3600  # and this one is wrong: the service's time is what its tokens are judged by
    assert parts(tokens.make(600, {}))[1]["exp"] == int(NOW) + 700


def test_a_synchronised_clock_is_not_led_astray(key: Stored) -> None:
    tokens = Tokens(key, "hub-1", Watch())
    for server in (0.0, NOW - 2 * MOST_SKEW, NOW + 2 * MOST_SKEW):
        assert not tokens.learn(server)
    assert parts(tokens.token())[1]["exp"] == int(NOW) + 600
    assert tokens.learn(NOW + 3600)
    assert not tokens.learn(NOW + 2 * MOST_SKEW)
    assert parts(tokens.token())[1]["exp"] == int(NOW) + 4200


def test_a_clock_that_is_not_trusted_does_not_learn_a_time_before_this_agent(key: Stored) -> None:
    tokens = Tokens(key, "hub-1", Watch(wall=100.0, quality=ESTIMATED))
    assert not tokens.learn(1000.0)
    with pytest.raises(TryAgainError):
        tokens.token()


def test_a_token_of_another_is_verified_strictly(key: Stored, tmp_path: Path) -> None:
    public, other = key.keys.public_key("hub"), FileKeys(tmp_path / "other")
    other.generate("hub")
    token = Tokens(key, "hub-1", Watch()).token()
    head, body, tail = token.split(".")
    none = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"none"}').decode().rstrip("=")
    forged = jwt.encode({"sub": "hub-1", "exp": int(NOW) + 9}, "a" * 64, algorithm="HS256")
    without = Tokens(key, "hub-1", Watch()).make(600, {"exp": None})
    cases = [
        f"{none}.{body}.",
        f"{head}.{body}.{tail[:-4]}AAAA",
        forged,
        without,
        "",
        "a.b",
        "a.b.c",
        "é.b.c",
        token + ".",
    ]
    for wrong in cases:
        with pytest.raises(TokenTroubleError):
            verify(wrong, public, now=NOW)
    with pytest.raises(TokenTroubleError):
        verify(token, other.public_key("hub"), now=NOW)
    assert verify(token, public, now=NOW + 600 + LEEWAY - 1)
    with pytest.raises(TokenTroubleError, match="expired"):
        verify(token, public, now=NOW + 600 + LEEWAY + 1)


@given(token=st.text(max_size=120))
def test_any_text_is_refused_by_a_clear_error(token: str) -> None:
    with pytest.raises(TokenTroubleError):
        verify(token, PUBLIC, now=NOW)


def test_the_store_signs_and_does_nothing_else_that_the_library_offers(key: Stored) -> None:
    signer = Tokens(key, "hub-1", Watch())._signer
    token = Tokens(key, "hub-1", Watch()).token()
    with pytest.raises(TokenTroubleError, match="public key"):
        signer.decode(token, key, algorithms=["ES256"])  # type: ignore[arg-type]  # what must not work
    algorithm = signer.get_algorithm_by_name("ES256")
    with pytest.raises(TokenTroubleError, match="does not leave"):
        algorithm.to_jwk(key)
    with pytest.raises(TokenTroubleError, match="from outside"):
        algorithm.from_jwk("{}")


def test_a_key_that_is_not_p_256_cannot_sign_one(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path)
    keys.generate("hub", P384)
    with pytest.raises(TokenTroubleError, match="P-256"):
        Tokens(Stored(keys, "hub"), "hub-1", Watch()).token()
