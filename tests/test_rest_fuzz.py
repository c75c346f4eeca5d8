"""Headers, URLs and packed bodies that a hostile service may send, and texts that a person may configure: a result or a typed error."""

import gzip
import math
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_http import RawHttp, answer
from rest_rig import client
from yarl import URL

from agent.cloud.rest import UnusableError
from agent.cloud.rest_body import Decoder, EncodingError, TooMuchError
from agent.cloud.rest_policy import http_date, retry_after
from agent.cloud.rest_request import Request, base_url, redirected, segment, url_of
from agent.errors import ConfigError, UsageError

BASE = URL("https://example.org/v1")
HOSTS = st.sampled_from(
    ["example.org", "evil.example", "127.0.0.1", "[::1]", "user:pass@example.org", "a" * 70, "a..b", ""]
)
URLS = st.text() | st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "//", "ftp://", "HTTPS://", "\\\\", ""]),
    HOSTS,
    st.sampled_from(["", ":443", ":80", ":99999", ":x", "@evil.example"]),
    st.text(max_size=20) | st.just("/x?sig=1#f"),
)


def asked(method: str = "GET", *, foreign: bool = False) -> Request:
    content = None if method == "GET" else b"body"
    return Request("GET" if method == "GET with body" else method, BASE / "here", {}, content, None, None, foreign)


@given(
    location=URLS,
    status=st.sampled_from([301, 302, 303, 307, 308]),
    method=st.sampled_from(["GET", "GET with body", "POST"]),
    foreign=st.booleans(),
)
def test_a_redirect_leads_to_where_it_may_or_nowhere(location: str, status: int, method: str, foreign: bool) -> None:  # noqa: FBT001
    try:
        found = redirected(asked(method, foreign=foreign), status, location)
    except UnusableError as error:
        told = error.advice
        found = None
    if found is None:
        assert "sig=1" not in told
        return
    assert found.url.scheme == "https"
    assert found.url.user is None
    assert foreign or found.url.origin() == BASE.origin()
    if found.url.origin() != BASE.origin():
        assert (found.method, found.content) == ("GET", None)


@given(URLS)
def test_a_path_never_leaves_the_service(path: str) -> None:
    try:
        found = url_of(BASE, path, {"a": "&b=c"})
    except UsageError:
        return
    assert found.origin() == BASE.origin()
    assert found.query["a"] == "&b=c"


@given(URLS)
def test_a_base_is_encrypted_or_on_this_machine(text: str) -> None:
    try:
        found = base_url(text)
    except ConfigError:
        return
    assert found.scheme == "https" or found.host in ("127.0.0.1", "::1", "localhost")
    assert not any((found.user, found.query_string, found.fragment))


@given(st.text(min_size=1))
def test_a_segment_is_one_segment(text: str) -> None:
    try:
        part = segment(text)
    except UsageError:
        return
    assert part.isascii()
    assert not set(part) & set("/?#\\ \r\n")
    assert url_of(BASE, f"/a/{part}/b", None).raw_parts[-3:] == ("a", part, "b")


@given(st.text() | st.from_regex(r"-?\d{1,30}") | st.datetimes().map(str), st.floats(0, 4e9))
def test_any_retry_after_is_a_wait_or_nothing(text: str, now: float) -> None:
    wait = retry_after(text, now)
    assert 0 <= (wait or 0.0) < math.inf
    date = http_date(text)
    assert date is None or math.isfinite(date)


def test_a_date_without_a_zone_is_not_of_this_machines_zone() -> None:
    assert http_date("Thu, 01 Jan 1970 00:00:00 -0000") == 0.0


@given(
    content=st.binary(max_size=5000),
    cuts=st.lists(st.integers(0, 5000)),
    pack=st.sampled_from(["gzip", "deflate", "identity"]),
)
def test_a_packed_body_is_the_same_however_it_arrives(content: bytes, cuts: list[int], pack: str) -> None:
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[pack](content)
    edges = [0, *sorted(cut for cut in cuts if cut < len(packed)), len(packed)]
    decoder = Decoder(pack, len(content))
    found = [piece for a, b in pairwise(edges) for piece in decoder.feed(packed[a:b])]
    decoder.end()
    assert b"".join(found) == content


@given(st.binary(max_size=2000), st.integers(0, 100))
def test_any_bytes_unpack_within_the_limit_or_not_at_all(data: bytes, limit: int) -> None:
    decoder, size = Decoder("gzip", limit), 0
    try:
        for piece in decoder.feed(b"\x1f\x8b\x08" + data):
            size += len(piece)
    except (EncodingError, TooMuchError):
        pass
    assert size <= limit


@pytest.mark.parametrize(
    "host", ["a" * 70 + ".example", "a..example", "xn--a.example", "-", "%00", "a_b.example", "1.2.3.4.5"]
)
async def test_a_host_that_has_no_name_is_told(host: str) -> None:
    async with RawHttp(answer(302, b"", f"Location: https://{host}/x")) as server, client(server) as rest:
        with pytest.raises(UnusableError):
            await rest.call("GET", "/")
