"""Redaction: what was registered and what looks like a key is blanked; ordinary text stays; hostile text costs no time."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.redact import STARS, Redactor

KEY = "5a6967426565416c6c69616e63653039"  # 16 bytes
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nIIvA\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"x {PEM} y", f"x {STARS} y"),
        (repr(PEM), f"'{STARS}'"),
        ("-----BEGIN PRIVATE KEY-----\nMHcC", STARS),
        ("Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJodWIifQ.c2ln_-0 ok", f"Bearer {STARS} ok"),
        (f"network_key={KEY}", f"network_key={STARS}"),
        (f"NetworkKey: {':'.join(KEY[i : i + 2] for i in range(0, 32, 2))}, next", f"NetworkKey: {STARS}, next"),
        (f"{{'link_key': '{KEY}'}}", f"{{'link_key': {STARS}}}"),
        (f"key={list(bytes.fromhex(KEY))}!", f"key={STARS}!"),
        (f"key = ({', '.join(map(hex, bytes.fromhex(KEY)))})", f"key = {STARS}"),
        (f"key={bytes.fromhex(KEY)!r} x", f"key={STARS} x"),
        ('password="hunter2 x" user=u', f"password={STARS} user=u"),
        ("mqtt_password=hunter2, user=u", f"mqtt_password={STARS}, user=u"),
        ("{'password': 'hunter2', 'user': 'u'}", f"{{'password': {STARS}, 'user': 'u'}}"),
        ("connect mqtts://user:hunter2@broker:8883/x", f"connect mqtts://{STARS}@broker:8883/x"),
        ("Z:000D6F000F8A1B2C$I:83FED3407A939723A5C639B26916D505C3B5", f"Z:000D6F000F8A1B2C$I:{STARS}"),
    ],
)
def test_what_looks_like_a_secret(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "device key=00:12:4b:00:01:02:03:04 joined",
        "key=00124b0001020304",
        "unknown key 'temperature' in capability",
        "https://broker:8883/path and user@example.com",
        "public key: -----BEGIN PUBLIC KEY-----",
        "keyboard, monkey business, tokens of esteem",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor().redact(text) == text


def test_registered_values() -> None:
    redactor = Redactor()
    redactor.register("open sesame")
    redactor.register("open sesame twice")
    redactor.register("line one\nline two\n")
    redactor.register('it\'s \\ "odd" ä\n')
    redactor.register("abc")
    redactor.register("")
    assert redactor.redact("<open sesame twice> <open sesame>") == f"<{STARS}> <{STARS}>"
    assert redactor.redact("... line two ...") == f"... {STARS} ..."
    assert redactor.redact('it\'s \\ "odd" ä') == STARS
    assert redactor.redact(repr({"x": 'it\'s \\ "odd" ä'})).count(STARS) == 1
    assert redactor.redact(json.dumps({"x": 'it\'s \\ "odd" ä'})).count(STARS) == 1
    assert redactor.redact("abc of abc") == "abc of abc"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40), st.text(), st.text())
def test_a_registered_value_is_nowhere(value: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.register(value)
    stripped = value.strip()
    if len(stripped) >= 6 and stripped not in STARS:
        assert stripped not in redactor.redact(before + value + after).replace(STARS, "\0")


@given(st.text(alphabet=st.sampled_from("keypasword=:'\"[](),0x1fa eyJ.-$I/@\nBEGIN PRVATKY"), max_size=300))
def test_any_text(text: str) -> None:
    once = Redactor().redact(text)
    assert Redactor().redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        *("key=[", "a", "1,", "[1 , ", "key=[1,", "aa:", "k", "key", "key='", "password="),
        *("eyJ", "eyJaaaa.", "://", "://a:", "$I:aa", "-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_time_grows_with_the_length_only(piece: str) -> None:
    def seconds(size: int) -> float:
        text = f"key=[{(piece * size)[:size]}"
        start = time.perf_counter()
        Redactor().redact(text)
        return time.perf_counter() - start

    assert seconds(200_000) < 2.0  # what is linear takes milliseconds; a quadratic pattern takes minutes
