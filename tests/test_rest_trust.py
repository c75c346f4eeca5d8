"""Whom the REST client trusts: TLS, redirects, and that keys, tokens and signed URLs are in no log line and no error."""

import logging
import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from pydantic import BaseModel
from raw_http import RawHttp, answer
from rest_rig import KEY, client, cut

from agent.cloud.rest import Rest, RestError, UnusableError
from agent.errors import HubError

OK = answer(200, b"{}")
SIGNATURE = "canary-signature-0123456789"
JWT = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LXNpZ25hdHVyZQ"


class RestModel(BaseModel):
    size: int


def moved(status: int, to: str) -> bytes:
    return answer(status, b"", f"Location: {to}")


def context(authority: Authority, **more: Any) -> ssl.SSLContext:
    certificate, key = authority.issue("server", **more)
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(certificate, key)
    return made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# ---- TLS ------------------------------------------------------------------------------------------------------------


async def test_tls_is_verified_against_the_authorities_that_are_named(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other-ca")
    async with RawHttp(OK, tls=context(authority)) as server:
        async with client(server, ca=str(authority.ca)) as rest:
            assert (await rest.call("GET", "/")).status == 200
        for ca in ("", str(other.ca)):
            async with client(server, ca=ca) as rest:
                with pytest.raises(RestError, match="TLS fails") as told:
                    await rest.call("GET", "/")
                assert "`ca`" in told.value.remedy
    assert len(server.asked) == 1


@pytest.mark.parametrize("wrong", [{"hosts": ("other.example",)}, {"days": -1}])
async def test_a_certificate_of_another_host_or_time_is_refused(authority: Authority, wrong: dict[str, Any]) -> None:
    async with RawHttp(OK, tls=context(authority, **wrong)) as server, client(server, ca=str(authority.ca)) as rest:
        with pytest.raises(RestError, match="TLS fails") as told:
            await rest.call("GET", "/")
    assert told.value.remedy
    assert not server.asked


# ---- redirects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_service_is_followed_with_the_key(status: int) -> None:
    async with RawHttp(moved(status, "/there?a=b"), OK) as server, client(server) as rest:
        await rest.call("GET", "/here", headers={"X-More": "1"})
    last = server.asked[-1]
    assert (last.path, last.query, last.headers["authorization"]) == ("/there", {"a": "b"}, f"Bearer {KEY}")
    assert last.headers["x-more"] == "1"


async def test_a_redirect_to_another_host_is_followed_where_the_caller_says_so_and_without_the_key() -> None:
    headers = {"X-Api-Key": KEY, "Range": "bytes=0-"}
    async with (
        RawHttp(OK) as other,
        RawHttp(moved(302, f"{other.url}/there?sig={SIGNATURE}")) as server,
        client(server) as rest,
    ):
        with pytest.raises(UnusableError, match="another host") as told:
            await rest.call("GET", "/here", headers=headers)
        assert not other.asked
        await rest.call("GET", "/here", headers=headers, foreign=True)
    assert SIGNATURE not in told.value.advice
    arrived = other.asked[0]
    assert arrived.query == {"sig": SIGNATURE}
    assert arrived.headers["range"] == "bytes=0-"
    assert KEY not in str(arrived.headers)


async def test_who_leads_away_does_not_lead_back_with_the_key() -> None:
    async with RawHttp() as other, RawHttp() as server, client(server) as rest:
        other.script = [moved(302, f"{server.url}/secret-place")]
        server.script = [moved(302, other.url + "/"), OK]
        await rest.call("GET", "/", foreign=True)
    assert [asked.headers.get("authorization") for asked in server.asked] == [f"Bearer {KEY}", None]


@pytest.mark.parametrize("foreign", [True, False], ids=["foreign", "own"])
@pytest.mark.parametrize(
    ("method", "status", "target", "reason"),
    [
        ("GET", 302, "http://example.org/x", "without encryption"),
        ("GET", 302, "//example.org/x", "without encryption"),
        ("GET", 302, "ftp://example.org/x", "not HTTP"),
        ("GET", 302, "file:///etc/passwd", "redirected to"),
        ("GET", 302, "http://127.0.0.1:70000/", "redirected to"),
        ("GET", 302, "http://user:pass@127.0.0.1/", "not HTTP"),
        ("POST", 307, "https://example.org/x", "another host"),
        ("POST", 301, "/x", "leaves open"),
        ("GET", 302, "/loop", "more than 5 redirects"),
        ("GET", 302, "http://[::1", "no URL"),
    ],
)
async def test_a_redirect_that_is_not_safe_is_not_followed(
    method: str, status: int, target: str, reason: str, foreign: Any
) -> None:
    async with RawHttp(moved(status, target)) as server, client(server) as rest:
        with pytest.raises(UnusableError, match=reason):
            await rest.call(method, "/", body=b"x", foreign=foreign)
    assert len(server.asked) == (6 if "more" in reason else 1)


async def test_encryption_is_not_given_up_by_a_redirect(authority: Authority) -> None:
    tls = context(authority)
    async with (
        RawHttp(OK) as plain,
        RawHttp(moved(302, plain.url), tls=tls) as server,
        client(server, ca=str(authority.ca)) as rest,
    ):
        with pytest.raises(UnusableError, match="without encryption"):
            await rest.call("GET", "/", foreign=True)
    assert not plain.asked


async def test_a_post_goes_on_as_its_redirect_says() -> None:
    async with RawHttp(moved(303, "/result"), moved(307, "/again"), OK) as server, client(server) as rest:
        await rest.call("POST", "/", json={"a": 1})
        server.script = [moved(308, "/again"), OK]
        await rest.call("POST", "/", json={"a": 1})
    assert [(asked.method, asked.path, asked.body) for asked in server.asked[1:3]] == [
        ("GET", "/result", b""),
        ("GET", "/again", b""),
    ]
    assert [(asked.method, asked.body) for asked in server.asked[3:]] == [("POST", b'{"a":1}')] * 2


# ---- what is never told ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        answer(400, f'{{"message":"bad {KEY} {JWT}","errors":{{"{KEY}":["{JWT}"]}}}}'.encode()),
        answer(401, f"<h1>Bearer {KEY}</h1>".encode()),
        answer(403, f'{{"required_permission":"{KEY}"}}'.encode()),
        answer(422, f'["{KEY}", "{JWT}"]'.encode()),
        answer(429, f'{{"code":"{KEY}"}}'.encode()),
        answer(500, (KEY * 4000).encode()),
        answer(500, (f"{JWT} " * 4000).encode()),
        answer(200, f'"{KEY}"'.encode(), f"Content-Type: {KEY}"),
        answer(200, b"x", f"Content-Encoding: {KEY}"),
        answer(302, b"", f"Location: http://example.org/{KEY}?sig={SIGNATURE}"),
        answer(302, b"", f"Location: https://{KEY}.example.org/?sig={SIGNATURE}"),
        answer(200, b"x", "X-Long: " + KEY * 1000),
        f"HTTP/1.1 {KEY} {KEY}\r\n\r\n".encode(),
        f"{KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
        cut,
        b"",
    ],
)
async def test_a_planted_key_is_in_no_log_line_and_no_error(step: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="")
    async with RawHttp(step) as server, client(server) as rest:
        with pytest.raises(HubError) as told:
            (await rest.call("GET", "/x", query={"X-Amz-Signature": SIGNATURE}, foreign=True)).model(RestModel)
    _holds_nothing(told.value, caplog.text)


async def test_a_signed_url_that_leads_nowhere_is_told_without_its_signature(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="")
    async with RawHttp() as server:
        gone = server.url
    async with client(server, base=gone) as rest:
        with pytest.raises(HubError) as told:
            await rest.call("GET", f"{gone}/x?sig={SIGNATURE}")
    _holds_nothing(told.value, caplog.text)


def test_a_client_shows_nothing_of_its_key() -> None:
    rest = Rest("https://example.org", headers={"X-Api-Key": KEY})
    assert KEY not in repr(rest)


def _holds_nothing(error: HubError, logged: str) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error) + error.advice + repr(vars(error)) + logged
    for secret in (KEY, SIGNATURE, JWT, JWT.partition(".")[2]):
        assert secret not in shown
    assert len(error.message) <= 600
