"""Manners of a file server, by name, and how a download must end with each: with the right bytes, or with which error.

`mapped` and `plain` say it for a source with a chunk map and without one; None is the right bytes.
"""

import gzip
import socket
import time
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hostile_files import Manner, Server, Talk, content, cut, download, good

from agent.cloud.rest_answer import RestError, UnavailableError, UnusableError
from agent.errors import HubError
from agent.ota.ranges import RangeError
from agent.ota.trouble import CorruptError, DeadlineError, StalledError

Error = type[HubError] | None
DATA = content(70_001)
OTHER = content(70_001, seed=1)
QUERY = "?X-Sig=CANARY-of-a-signature"
LONGEST = 10.0  # seconds of a case, on a machine that has other work
MEMORY = 2_000_000  # bytes that client and server may take together; the bomb holds 16 MiB
OLD = formatdate(0, usegmt=True)
BOMB = gzip.compress(bytes(1 << 24))
MANY = 400  # more than http.client takes


@dataclass(frozen=True)
class Case:
    name: str
    manner: Manner
    mapped: Error = None
    plain: Any = "as mapped"
    words: str = ""
    policy: dict[str, Any] = field(default_factory=dict)

    def ends(self, *, mapped: bool) -> Error:
        found: Error = self.mapped if mapped or self.plain == "as mapped" else self.plain
        return found


def whole(server: Server, talk: Talk) -> None:
    """Knows no ranges, and says nothing of the file's version."""
    talk.head(200, f"Content-Length: {len(server.data)}")
    server.body(talk, 0, len(server.data))


def same_tag_whole(server: Server, talk: Talk) -> None:
    talk.head(200, f"Content-Length: {len(server.data)}", f"ETag: {server.tag}")
    server.body(talk, 0, len(server.data))


def first_cut(then: Manner, after: int = 30_000) -> Manner:
    """One good start that is cut, then this."""
    return lambda server, talk: (cut(good, after) if talk.number == 1 else then)(server, talk)


def part(*headers: str) -> Manner:
    """206 with these headers when a range was asked for, else the whole."""

    def answer(server: Server, talk: Talk) -> None:
        if "range" not in talk.headers:
            good(server, talk)
            return
        filled = [
            header.format(at=talk.offset, next=talk.offset + 1, last=69_999 + 1, size=70_001) for header in headers
        ]
        talk.head(206, f"Content-Length: {70_001 - talk.offset}", *filled)
        server.body(talk, talk.offset, 70_001)

    return answer


def status(code: int, *headers: str) -> Manner:
    return lambda _server, talk: talk.head(code, "Content-Length: 0", *headers)


def raw(data: bytes) -> Manner:
    return lambda _server, talk: talk.send(data)


def with_body(*headers: str, times: int = 1) -> Manner:
    def answer(server: Server, talk: Talk) -> None:
        talk.head(200, *headers)
        for _ in range(times):
            server.body(talk, 0, len(server.data))

    return answer


def endless(first: bytes, piece: bytes) -> Manner:
    def answer(server: Server, talk: Talk) -> None:
        talk.send(first)
        while not server.over.is_set():
            talk.send(piece)

    return answer


def dripping(head: bytes, drop: bytes, seconds: float) -> Manner:
    """A little at a time, for ever."""

    def answer(server: Server, talk: Talk) -> None:
        talk.send(head)
        while not server.over.wait(seconds):
            talk.send(drop)

    return answer


def silent(server: Server, talk: Talk) -> None:
    server.over.wait()


def stalls_once(server: Server, talk: Talk) -> None:
    if talk.number > 1:
        good(server, talk)
        return
    talk.head(200, f"Content-Length: {len(server.data)}", f"ETag: {server.tag}")
    server.body(talk, 0, 30_000)
    server.over.wait()


def tag_changes_once(server: Server, talk: Talk) -> None:
    if talk.number == 1:
        cut(good, 30_000)(server, talk)
    else:
        server.tag = '"two"'
        good(server, talk)


def file_changes(server: Server, talk: Talk) -> None:
    if talk.number == 1:
        cut(good, 30_000)(server, talk)
    else:
        server.tag = '"two"'
        good(server, talk, data=OTHER)


def another_part_under_the_same_tag(server: Server, talk: Talk) -> None:
    """Every second answer is of another file."""
    manner = cut(good, 30_000) if talk.number == 1 else good
    manner(server, talk) if talk.number != 2 else good(server, talk, data=OTHER)


def part_with_another_tag(server: Server, talk: Talk) -> None:
    if talk.number == 1:
        cut(good, 30_000)(server, talk)
    elif "range" in talk.headers:
        range_ = f"Content-Range: bytes {talk.offset}-70000/70001"
        talk.head(206, range_, f"Content-Length: {70_001 - talk.offset}", 'ETag: "two"')
        server.body(talk, talk.offset, 70_001)
    else:
        server.tag = '"two"'
        good(server, talk)


def weak(server: Server, talk: Talk) -> None:
    assert "if-range" not in talk.headers
    server.tag = "whatever is asked"
    data, size = server.data, len(server.data)
    if "range" in talk.headers:
        told = f"Content-Range: bytes {talk.offset}-{size - 1}/{size}"
        talk.head(206, told, f"Content-Length: {size - talk.offset}", 'ETag: W/"one"')
        server.body(talk, talk.offset, min(size, talk.offset + 30_000), data)
    else:
        talk.head(200, f"Content-Length: {size}", 'ETag: W/"one"')
        server.body(talk, 0, 30_000, data)


def dated(server: Server, talk: Talk) -> None:
    """Only a date of change, which is a good validator since it is old."""
    size, told = len(server.data), (f"Last-Modified: {OLD}", f"Date: {formatdate(usegmt=True)}")
    if talk.number > 1:
        assert talk.headers["if-range"] == OLD
        range_ = f"Content-Range: bytes {talk.offset}-{size - 1}/{size}"
        talk.head(206, range_, f"Content-Length: {size - talk.offset}", *told)
        server.body(talk, talk.offset, min(size, talk.offset + 30_000))
    else:
        talk.head(200, f"Content-Length: {size}", *told)
        server.body(talk, 0, 30_000)


def little_parts(server: Server, talk: Talk) -> None:
    """Never more than 9,000 bytes at once, as some caches do."""
    if "range" not in talk.headers:
        cut(good, 9000)(server, talk)
        return
    end = min(len(server.data), talk.offset + 9000)
    range_ = f"Content-Range: bytes {talk.offset}-{end - 1}/{len(server.data)}"
    talk.head(206, range_, f"Content-Length: {end - talk.offset}", f"ETag: {server.tag}")
    server.body(talk, talk.offset, end)


def to_other(server: Server, talk: Talk) -> None:
    talk.head(302, f"Location: {server.other}/elsewhere?sig=CANARY", "Content-Length: 0")


def chunked(server: Server, talk: Talk, *, cut_at: int = 1 << 30, tail: bytes = b"0\r\n\r\n") -> None:
    start = talk.offset if "range" in talk.headers else 0
    size = len(server.data)
    if start:
        talk.head(
            206, "Transfer-Encoding: chunked", f"Content-Range: bytes {start}-{size - 1}/{size}", f"ETag: {server.tag}"
        )
    else:
        talk.head(200, "Transfer-Encoding: chunked", f"ETag: {server.tag}")
    for at in range(start, min(size, start + cut_at), 777):
        piece = server.data[at : at + 777]
        talk.send(f"{len(piece):x};note=1\r\n".encode() + piece + b"\r\n")
    if start + cut_at < size:
        return
    talk.send(tail)
    while tail.startswith(b"0\r\nX") and not server.over.is_set():
        talk.send(b"X: y\r\n" * 100)


def storm(server: Server, talk: Talk) -> None:
    codes = (500, 502, 503, 504, 599, 408, 425)
    good(server, talk) if talk.number > len(codes) else status(codes[talk.number - 1])(server, talk)


def later(*headers: str) -> Manner:
    return lambda server, talk: (good if talk.number > 1 else status(429, *headers))(server, talk)


def spoiled(start: int, piece: bytes, *, times: int = 1 << 30) -> Manner:
    """A file with these bytes at `start`, in the first answers."""

    def answer(server: Server, talk: Talk) -> None:
        data = server.data[:start] + piece + server.data[start + len(piece) :]
        good(server, talk, data=data if talk.number <= times else None)

    return answer


def swapped(server: Server, talk: Talk) -> None:
    data = server.data
    good(server, talk, data=data[:4096] + data[8192:12288] + data[4096:8192] + data[12288:])


def half_closed(_server: Server, talk: Talk) -> None:
    talk.head(200, "Content-Length: 70001")
    talk.connection.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        talk.connection.recv(1)


def reset_at_once(_server: Server, talk: Talk) -> None:
    talk.reset()


def bomb(server: Server, talk: Talk) -> None:
    talk.head(200, "Content-Encoding: gzip", "Transfer-Encoding: chunked")
    talk.send(f"{len(BOMB):x}\r\n".encode() + BOMB + b"\r\n0\r\n\r\n")


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 70001\r\n\r\n"
NOISE = b"HTTP/1.1 100 Continue\r\n\r\n"
FEW = {"resumes": 2}

CASES = (
    Case("correct", good),
    Case("cut-every-9000-bytes", cut(good, 9000)),
    Case("reset-every-2000-bytes", cut(good, 2000, reset=True)),
    Case("no-ranges", first_cut(whole)),
    Case("whole-for-a-part", first_cut(same_tag_whole)),
    Case("whole-for-a-part-always-cut", cut(whole, 30_000), UnavailableError, words="brought nothing new"),
    Case("part-of-another-place", first_cut(part("Content-Range: bytes {next}-{last}/{size}"))),
    Case("part-with-another-total", first_cut(part("Content-Range: bytes {at}-{last}/99999"))),
    Case("part-past-the-end", first_cut(part("Content-Range: bytes {at}-99999/*"))),
    Case("part-without-a-place", first_cut(part())),
    Case("part-with-garbage-for-a-place", first_cut(part("Content-Range: bytes x-y/z"))),
    Case("part-of-unknown-total", first_cut(part("Content-Range: bytes {at}-{last}/*"))),
    Case("parts-in-multipart", first_cut(part("Content-Type: multipart/byteranges; boundary=x"))),
    Case("part-that-nobody-asked-for", status(206, "Content-Range: bytes 0-70000/70001"), RangeError),
    Case("little-parts", little_parts),
    Case("longer-length", with_body("Content-Length: 70002", times=2), UnusableError, words="70002"),
    Case("shorter-length", with_body("Content-Length: 70000"), UnusableError),
    Case("two-lengths", with_body("Content-Length: 70001", "Content-Length: 5"), UnusableError),
    Case("negative-length", with_body("Content-Length: -70001"), UnusableError),
    Case("no-length", with_body("Connection: close")),
    Case("longer-body", with_body("Connection: close", times=2)),
    Case("endless-body", endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)), CorruptError),
    Case("tag-changes", tag_changes_once),
    Case("file-changes", file_changes, CorruptError),
    Case("one-answer-of-another-file", another_part_under_the_same_tag),
    Case("part-with-another-tag", part_with_another_tag),
    Case("weak-tag", weak),
    Case("only-a-date", dated),
    Case("redirect-elsewhere", to_other),
    Case("redirect-loop", status(302, "Location: /f"), UnusableError, words="more than 5 redirects"),
    Case("redirect-without-a-place", status(302), UnusableError),
    Case("redirect-to-a-file", status(302, "Location: file:///etc/passwd"), UnusableError, words="not followed"),
    Case("redirect-to-no-url", status(301, "Location: http://["), UnusableError),
    Case("redirect-with-a-password", status(307, "Location: https://u:p@127.0.0.1/"), UnusableError),
    Case(
        "redirect-to-plain-http", status(308, "Location: http://192.0.2.1/f"), UnusableError, words="without encryption"
    ),
    Case("redirect-to-an-impossible-name", status(302, f"Location: https://{'a' * 70}.invalid/"), UnusableError),
    Case("slow-head", dripping(b"HTTP/1.1 200 OK\r\n", b"X", 0.02), StalledError, policy={"resumes": 1}),
    Case("slow-body", dripping(LENGTH, b"x", 0.02), DeadlineError, policy={"total": 0.8, "slowest": 9999}),
    Case("slow-body-within-the-stall-time", dripping(LENGTH, b"x", 0.02), DeadlineError, policy={"total": 0.5}),
    Case("silent", silent, StalledError, policy={"resumes": 1}, words="does not answer in time"),
    Case("silent-in-the-middle", stalls_once),
    Case("reset-before-the-head", reset_at_once, UnavailableError, policy=FEW),
    Case("closed-before-the-head", raw(b""), UnavailableError, policy=FEW),
    Case("half-closed", half_closed, UnavailableError, policy=FEW),
    Case("gzip", with_body("Content-Encoding: gzip"), UnusableError, words="packed"),
    Case("gzip-bomb", bomb, UnusableError, words="packed"),
    Case("chunked", chunked),
    Case("chunked-and-cut", lambda server, talk: chunked(server, talk, cut_at=9000)),
    Case("chunked-with-an-endless-trailer", lambda server, talk: chunked(server, talk, tail=b"0\r\nX: y\r\n")),
    Case(
        "chunked-garbage",
        raw(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        UnavailableError,
        policy=FEW,
    ),
    Case("storm-that-passes", storm),
    Case("storm-that-stays", status(503), UnavailableError, words="503"),
    Case("not-implemented", status(501), RestError, words="501"),
    Case("later-in-seconds", later("Retry-After: 7")),
    Case("later-at-a-date", later("Date: Thu, 01 Jan 1970 00:00:00 GMT", "Retry-After: Thu, 01 Jan 1970 00:00:07 GMT")),
    Case("later-than-can-be", later("Retry-After: 99999999999999"), UnavailableError, words="429"),
    Case("expired-url", status(403), RestError, words="403"),
    Case("not-there", status(404), RestError, words="404"),
    Case("range-refused", first_cut(lambda s, t: status(416)(s, t) if "range" in t.headers else good(s, t))),
    Case("file-got-shorter", first_cut(status(416, "Content-Range: bytes */5")), UnusableError, words="has 5 bytes"),
    Case("no-content", status(204), UnusableError),
    Case("not-modified", status(304), UnusableError),
    Case("switching-protocols", status(101), UnusableError),
    Case("garbage", raw(b"\x00\xff\x16\x03garbage\r\n\r\n"), UnusableError, words="no HTTP"),
    Case("http-0.9", raw(b"<html>it works</html>"), UnusableError, words="no HTTP"),
    Case("status-of-a-thousand-digits", raw(b"HTTP/1.1 " + b"2" * 1000 + b" OK\r\n\r\n"), UnusableError),
    Case("long-header", raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"), UnusableError),
    Case("many-headers", raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MANY + b"\r\n"), UnusableError),
    Case("endless-head", endless(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 9000 + b"\r\n"), UnusableError),
    Case("head-that-ends-in-the-middle", raw(b"HTTP/1.1 200 OK\r\nContent-Le"), UnavailableError, policy=FEW),
    Case("noise-before-the-head", lambda server, talk: (talk.send(NOISE * 3), good(server, talk))[1]),
    Case("endless-noise", endless(b"", NOISE), UnusableError, words="head is longer"),
    Case("tag-of-control-characters", cut(lambda s, t: good(s, t, "ETag: \x01\x02"), 30_000)),
    Case("one-bad-chunk-once", spoiled(20_480, b"spoiled", times=1), None, CorruptError),
    Case("one-bad-chunk-three-times", spoiled(20_480, b"spoiled", times=3), None, CorruptError),
    Case("one-bad-chunk-for-ever", spoiled(20_480, b"spoiled"), CorruptError, words="signed"),
    Case("last-byte-bad", spoiled(70_000, b"!"), CorruptError),
    Case("swapped-chunks", swapped, CorruptError),
    Case("all-zeros", spoiled(0, bytes(70_001)), CorruptError),
)


async def meet(case: Case, path: Path, *, mapped: bool, chunk: int = 4096, **policy: Any) -> None:
    """A download from a server with this manner: it ends as it must, soon, in little memory, and tells nobody the signature."""
    expected, begin = case.ends(mapped=mapped), time.monotonic()
    tracemalloc.start()
    try:
        with Server(DATA) as other, Server(DATA, case.manner) as server:
            server.other = other.url
            url = f"{server.url}/f{QUERY}"
            told = {"mapped": mapped, "chunk": chunk, **policy, **case.policy}
            if expected is None:
                await download(path, DATA, url, **told)
                assert not path.with_name(f"{path.name}.resume").exists()
            else:
                with pytest.raises(HubError) as raised:
                    await download(path, DATA, url, **told)
                assert type(raised.value) is expected, raised.value
                assert case.words in str(raised.value)
                assert raised.value.place.startswith(("GET http", str(path)))
                assert "CANARY" not in raised.value.advice + repr(raised.value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    assert time.monotonic() - begin < LONGEST
    assert path.stat().st_size <= len(DATA)


def mixable() -> list[Manner]:
    """Those that take no time, and expect no If-Range that only they can have given."""
    return [
        case.manner
        for case in CASES
        if not case.policy and "silent" not in case.name and case.manner not in (dated, weak)
    ]
