"""Error bodies: every documented shape is understood, and any bytes make a short error that holds no secret."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.rest_answer import LONGEST_ERROR, LONGEST_MESSAGE, LONGEST_START, Answer, RestError, failure
from agent.wire.rest_errors import MOST_ERRORS

TOKEN = "canary.0123456789-token"
JWT = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LXNpZ25hdHVyZQ"


def error(body: bytes, status: int = 422) -> RestError:
    return failure(Answer(status, {}, body, "GET https://example.org/x"), TOKEN)


@pytest.mark.parametrize(
    ("body", "code", "errors", "part"),
    [
        ('{"code":40410,"message":"Device x not found"}', "40410", (), "Device x not found"),
        ('["first wrong","second wrong"]', "", ("first wrong", "second wrong"), "first wrong; second wrong"),
        ('{"message":null}', "", (), "answers 422"),
        ('{"appId":"GROUND_FIX","messageType":"DATA","err":42200}', "42200", (), "code 42200"),
        (
            '{"message":"no","errors":{"file":["too large","no PDF"]}}',
            "",
            ("file: too large", "file: no PDF"),
            "no (file",
        ),
        ('{"message":"no","errors":["entries.0 wrong"]}', "", ("entries.0 wrong",), "entries.0"),
        ('{"message":"no","errors":"all wrong"}', "", ("all wrong",), "all wrong"),
        ('{"error":"Resource does not exist"}', "", (), "Resource does not exist"),
        ('{"Message":"User is not authorized"}', "", (), "not authorized"),
        ('{"__type":"Throttled","message":"slow"}', "Throttled", (), "slow"),
        ('{"code":{"a":1},"message":["a","b"]}', "", (), "a; b"),
        ("{}", "", (), "{}"),
        ("[]", "", (), "[]"),
        ("", "", (), "answers 422"),
        ("<html>Bad gateway</html>", "", (), "<html>Bad gateway</html>"),
        ("null", "", (), "null"),
        ('{"code":true,"message":false}', "", (), "False"),
        ('{"code":' + "9" * 5000 + "}", "", (), "answers"),
    ],
)
def test_each_shape_is_understood(body: str, code: str, errors: tuple[str, ...], part: str) -> None:
    found = error(body.encode())
    assert (found.status, found.code, found.errors) == (422, code, errors)
    assert part in str(found)


def test_a_missing_permission_is_named_in_the_remedy() -> None:
    found = error(b'{"message":"Forbidden","required_permission":"certificate-vault:view"}', 403)
    assert "certificate-vault:view" in found.remedy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(TOKEN) | st.just(JWT),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", TOKEN, JWT]) | st.text(), inner),
)
MEMBERS = st.sampled_from(["code", "message", "errors", "err", "error", "required_permission", "detail", "Message"])


@given(
    body=st.binary(max_size=3000)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(MEMBERS, JSON).map(lambda value: json.dumps(value).encode())
    | st.tuples(st.binary(max_size=700), st.sampled_from([TOKEN, JWT]), st.binary(max_size=400)).map(
        lambda three: three[0] + b" " + three[1].encode() + b" " + three[2]
    ),
    status=st.integers(400, 599),
)
def test_any_bytes_make_a_short_printable_error_without_a_token(body: bytes, status: int) -> None:
    found = error(body, status)
    assert len(found.message) <= LONGEST_MESSAGE
    assert len(found.body_start) <= LONGEST_START
    assert len(found.errors) <= MOST_ERRORS
    assert all(len(one) <= LONGEST_ERROR for one in found.errors)
    shown = found.advice + repr(found) + repr(vars(found))
    assert TOKEN not in shown
    assert JWT not in shown
    assert found.message.isprintable()
    found.message.encode()


@pytest.mark.parametrize("body", [b"[" * 65_000, b'{"errors":' * 6000, b'{"message":"' + b"\\ud800" * 5000 + b'"}'])
def test_a_body_that_is_deep_or_broken_is_an_error_like_another(body: bytes) -> None:
    assert error(body, 500).message.isprintable()
