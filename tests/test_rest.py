"""The REST client against a raw server that does what servers must not do: retries, limits, and what an answer can be."""

import asyncio
import gzip
import os
import resource
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import BaseModel
from raw_http import Asked, RawHttp, Write, answer
from rest_rig import FAST, KEY, Pauses, client, cut, endless, silent

from agent.cloud.rest import Bearer, Part, Policy, Rest, RestError, UnavailableError, UnusableError, segment
from agent.cloud.rest_body import NotReadError, NotWrittenError
from agent.errors import ConfigError, Exit, TryAgainError, UsageError
from agent.settings.secret import Secret

OK = answer(200, b"{}")
CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"


class Thing(BaseModel):
    name: str
    size: int


# ---- requests -------------------------------------------------------------------------------------------------------


async def test_a_call_sends_what_it_is_given_and_gives_what_comes() -> None:
    async with (
        RawHttp(answer(200, b'{"name":"a","size":1}')) as server,
        client(server, base=server.url + "/v1/") as rest,
    ):
        found = await rest.call("POST", f"/x/{segment('a/b ?')}", query={"q": "ä", "yes": True}, json={"a": 1})
        await rest.call("GET", f"{server.url}/whole?a=1")
    asked, whole = server.asked
    assert found.model(Thing) == Thing(name="a", size=1)
    assert (asked.method, asked.path, asked.query) == ("POST", "/v1/x/a%2Fb%20%3F", {"q": "ä", "yes": "true"})
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.headers["content-type"], asked.body) == ("application/json", b'{"a":1}')
    assert (whole.path, whole.query) == ("/whole", {"a": "1"})


async def test_a_form_is_sent_in_both_ways_and_a_file_anew_for_each_attempt(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content of a file")
    part = Part(tmp_path / "file", "a.pdf", "application/pdf")
    async with RawHttp(answer(503), OK) as server, client(server) as rest:
        await rest.call("POST", "/", form={"title": "x", "file": part}, retry=True)
        await rest.call("POST", "/", form={"a": "1 2"})
        with pytest.raises(NotReadError, match="No such file"):
            await rest.call("POST", "/", form={"file": Part(tmp_path / "none", "a", "b/c")})
    first, second, plain = server.asked
    for asked in (first, second):
        assert b"content of a file" in asked.body
        assert b'filename="a.pdf"' in asked.body
    assert plain.body == b"a=1+2"


async def test_a_large_body_and_a_stream_are_sent_whole() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000

    async with RawHttp(OK, answer(503)) as server, client(server) as rest:
        await rest.call("PUT", "/", body=b"y" * (2 << 20))
        with pytest.raises(UnavailableError):
            await rest.call("PUT", "/", body=pieces())
    large, stream = server.asked  # what cannot be sent twice is not
    assert (len(large.body), stream.body) == (2 << 20, b"x" * 3000)


@pytest.mark.parametrize(
    "path", ["http://127.0.0.2/x", "https://other.example/x", "x", "ftp://x/", "http://a:b@127.0.0.1"]
)
async def test_a_url_of_another_service_is_refused(path: str) -> None:
    async with RawHttp(OK) as server, client(server) as rest:
        with pytest.raises(UsageError, match="not of this service"):
            await rest.call("GET", path)
        await rest.call("GET", "//other.example/x")  # a path, not a host
    assert [asked.headers["host"] for asked in server.asked] == [server.url.removeprefix("http://")]


@pytest.mark.parametrize(
    "base",
    [
        *("http://example.org", "https://user:hunter2x@example.org", "https://example.org/?sig=hunter2x"),
        *("example.org", "ftp://example.org", "", "https://", "https://example.org:port"),
    ],
)
def test_a_base_that_would_tell_a_secret_or_is_none_is_refused(base: str) -> None:
    with pytest.raises(ConfigError) as told:
        Rest(base)
    assert "hunter2x" not in told.value.advice


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_change_the_path_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        segment(name)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_takes_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        Bearer(Secret(key))


async def test_a_client_outside_of_its_context_says_so() -> None:
    with pytest.raises(UsageError):
        await Rest("http://127.0.0.1:1").call("GET", "/")


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with RawHttp(OK) as server, client(server, authorize=None) as rest:
        assert (await rest.call("GET", "/")).status == 200
    assert "authorization" not in server.asked[0].headers


async def test_a_configured_proxy_is_used() -> None:
    async with RawHttp(OK) as server, client(server, base="http://127.0.0.1:9", proxy=server.url) as rest:
        assert (await rest.call("GET", "/x")).status == 200


# ---- retries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again_and_then_given_up(status: int) -> None:
    pauses = Pauses()
    async with RawHttp(answer(status, b'{"message":"busy"}')) as server, client(server, pauses) as rest:
        with pytest.raises(UnavailableError, match=f"answers {status}: busy") as told:
            await rest.call("GET", "/")
    assert len(server.asked) == FAST.attempts
    assert isinstance(told.value, TryAgainError)
    assert told.value.exit_code is Exit.TEMPFAIL
    assert all(0 <= pause <= FAST.first * 2**number for number, pause in enumerate(pauses.waited))


@pytest.mark.parametrize(
    ("method", "retry", "attempts"),
    [
        ("GET", None, 3),
        ("PUT", None, 3),
        ("DELETE", None, 3),
        ("POST", None, 1),
        ("PATCH", None, 1),
        ("POST", True, 3),
        ("GET", False, 1),
    ],
)
@pytest.mark.parametrize("step", [answer(503), cut, b""])
async def test_only_what_does_no_harm_twice_is_sent_twice(method: str, retry: Any, attempts: int, step: Any) -> None:
    async with RawHttp(step) as server, client(server) as rest:
        with pytest.raises(UnavailableError):
            await rest.call(method, "/", retry=retry)
    assert len(server.asked) == attempts


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422, 501, 505])
async def test_what_will_not_pass_is_told_at_once(status: int) -> None:
    async with RawHttp(answer(status, b'{"code":40410,"message":"no"}')) as server, client(server) as rest:
        with pytest.raises(RestError) as told:
            await rest.call("GET", "/a?secret=x")
    assert not isinstance(told.value, TryAgainError)
    assert (told.value.status, told.value.code, len(server.asked)) == (status, "40410", 1)
    assert told.value.place == f"GET {server.url}/a"


async def test_a_connection_that_never_was_may_be_tried_again_by_any_method() -> None:
    async with RawHttp() as server:
        gone = server.url
    pauses = Pauses()
    async with client(server, pauses, base=gone) as rest:
        with pytest.raises(UnavailableError, match="no connection"):
            await rest.call("POST", "/")
    assert len(pauses.waited) == FAST.attempts - 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("Retry-After: 7", 7, 7.5),
        ("Retry-After: Thu, 01 Jan 2026 00:00:09 GMT\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT", 9, 9.5),
        ("Retry-After: Thu, 01 Jan 2026 00:00:00 GMT\r\nDate: Thu, 01 Jan 2026 00:00:09 GMT", 0, 0.5),
        ("Retry-After: nonsense", 0, 0.5),
        ("Retry-After: -5", 0, 0.5),
    ],
)
async def test_a_retry_is_when_the_service_wants_it(header: str, least: float, most: float) -> None:
    pauses = Pauses()
    async with RawHttp(answer(429, b"", header), OK) as server, client(server, pauses) as rest:
        await rest.call("GET", "/")
    assert len(pauses.waited) == 1
    assert least <= pauses.waited[0] <= most


@pytest.mark.parametrize("wish", ["61", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_wish_for_a_long_wait_ends_the_call_and_is_told(wish: str) -> None:
    async with RawHttp(answer(503, b"", f"Retry-After: {wish}"), OK) as server, client(server) as rest:
        with pytest.raises(UnavailableError) as told:
            await rest.call("GET", "/")
    assert told.value.retry_after is not None
    assert told.value.retry_after > FAST.longest


def test_all_pauses_together_have_a_bound() -> None:
    policy = Policy(attempts=1000, patience=100.0)
    waited, attempt, server = 0.0, 0, Pauses()
    random = Random(3)
    while (pause := policy.pause(attempt := attempt + 1, waited, None, random)) is not None:
        waited += pause
        server.waited.append(pause)
    assert waited <= 100.0 < waited + policy.longest


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (answer(200, b"x" * 101), "larger than 100 bytes"),
        (endless(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"), "larger than 100 bytes"),
        (endless(b"HTTP/1.1 200 X\r\n\r\n", b"x" * 1024), "larger than 100 bytes"),
        (answer(200, gzip.compress(b"0" * 10_000_000, mtime=0), "Content-Encoding: gzip"), "larger than 100 bytes"),
        (answer(200, gzip.compress(b"", mtime=0) * 100, "Content-Encoding: gzip"), "too many members"),
        (answer(200, gzip.compress(b"text" * 9, mtime=0)[:-9], "Content-Encoding: gzip"), "ends in the middle"),
        (answer(200, b"no gzip", "Content-Encoding: gzip"), "damaged"),
        (answer(200, b"x", "Content-Encoding: br"), "none of gzip"),
        (answer(200, b"x", "X-Long: " + "a" * 100_000), "no HTTP"),
        (endless(b"HTTP/1.1 200 X\r\n", b"X-A: " + b"b" * 100 + b"\r\n"), "no HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_no_reason_to_ask_again(step: Any, reason: str) -> None:
    async with RawHttp(step) as server, client(server) as rest:
        with pytest.raises(UnusableError, match=reason):
            await rest.call("GET", "/", limit=100)
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda text: gzip.compress(text[:9], mtime=0) + gzip.compress(text[9:])]
)
async def test_a_packed_answer_is_unpacked_whole(size: int, pack: Any) -> None:
    text = b"a" * size
    name = "deflate" if pack is zlib.compress else "gzip"
    async with RawHttp(answer(200, pack(text), f"Content-Encoding: {name}")) as server, client(server) as rest:
        assert (await rest.call("GET", "/", limit=size)).body == text


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nslow"])
async def test_a_service_that_falls_silent_is_left(start: bytes) -> None:
    policy = Policy(total=5.0, stall=0.05, attempts=1)
    async with RawHttp() as server, client(server, policy=policy) as rest:
        server.script = [silent(server, start)]
        with pytest.raises(UnavailableError, match="in time"):
            await rest.call("GET", "/")


async def test_a_service_that_drips_is_left_after_the_whole_time() -> None:
    async def drip(_asked: Asked, writer: Write) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
        while not server.open.is_set():
            writer.write(b"x")
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await server.open.wait()

    async with RawHttp(drip) as server, client(server, policy=Policy(total=0.2, stall=5.0, attempts=1)) as rest:
        with pytest.raises(UnavailableError, match="in time"):
            await rest.call("GET", "/")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "0 bytes"),
        (b"<html>log in to this hotel</html>", "text/html"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
    ],
)
async def test_what_is_no_json_says_what_it_is(body: bytes, reason: str) -> None:
    async with RawHttp(answer(200, body, "Content-Type: text/html")) as server, client(server) as rest:
        with pytest.raises(UnusableError, match=reason):
            (await rest.call("GET", "/")).json()


async def test_an_answer_of_another_model_names_the_member_and_not_its_value() -> None:
    async with RawHttp(answer(200, b'{"name":"hunter2x","size":"hunter2x"}')) as server, client(server) as rest:
        found = await rest.call("GET", "/")
        with pytest.raises(UnusableError, match="size: ") as told:
            found.model(Thing)
    assert "hunter2x" not in str(told.value)


async def test_no_content_is_an_answer() -> None:
    async with RawHttp(b"HTTP/1.1 204 X\r\n\r\n") as server, client(server) as rest:
        found = await rest.call("DELETE", "/")
        assert (found.status, found.body) == (204, b"")
        head = await rest.call("HEAD", "/")
    assert head.body == b""


# ---- downloads ------------------------------------------------------------------------------------------------------


async def test_a_download_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file, content = tmp_path / "image", os.urandom(300_000)
    file.write_bytes(b"old")
    async with RawHttp(cut, answer(200, content)) as server, client(server) as rest:
        found = await rest.download("/image", file)
        assert (found.size, file.read_bytes()) == (300_000, content)
        server.script = [cut]
        with pytest.raises(UnavailableError):
            await rest.download("/image", file)
        server.script = [answer(200, content)]
        with pytest.raises(UnusableError, match="larger"):
            await rest.download("/image", file, limit=299_999)
        server.script = [answer(403, b"<Error>expired</Error>")]
        with pytest.raises(RestError, match="expired"):
            await rest.download("/image", file)
    assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


async def test_a_download_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, seen = tmp_path / "image", list[bool]()
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(file.exists()), real(handle)))
    async with RawHttp(answer(200, b"x")) as server, client(server) as rest:
        await rest.download("/", file)
    assert seen == [False, True]  # the file, and then the folder


async def test_a_disk_that_takes_nothing_is_told_with_the_place(tmp_path: Path) -> None:
    async with RawHttp(answer(200, b"x" * (2 << 20))) as server, client(server) as rest:
        with pytest.raises(NotWrittenError, match="No such file") as told:
            await rest.download("/", tmp_path / "none" / "image")
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # as a full disk: the write fails in the middle
        try:
            with pytest.raises(NotWrittenError, match="too large"):
                await rest.download("/", tmp_path / "image")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert str(tmp_path) in told.value.place
    assert not list(tmp_path.iterdir())
