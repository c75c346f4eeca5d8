"""A download by the book and at the limits that it is given: resumed, mirrored, slowed down, canceled, out of time."""

import asyncio
import hashlib
import os
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from hostile_files import LIMITS, Server, Talk, content, cut, download, good, source
from hostile_manners import dripping, silent, spoiled, stalls_once, status

from agent.cloud.rest_answer import RestError, UnavailableError
from agent.errors import ConfigError, StorageError, TryAgainError, UsageError
from agent.ota.fetch import (
    CanceledError,
    CorruptError,
    DeadlineError,
    Fetch,
    FetchPolicy,
    Limit,
    Source,
    discard,
)

DATA = content(70_001)
CHUNK = 4096
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 70001\r\n\r\n"
BOTH = pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])


class Clock:
    """Stands, unless somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


async def fail(path: Path, made: Source, kind: type[Exception], **policy: Any) -> Any:
    """A download that ends with this error."""
    with Fetch(made, path, FetchPolicy(**{**LIMITS, **policy}), pause=lambda _: None) as fetch:
        with pytest.raises(kind) as raised:
            await fetch.run()
        assert type(raised.value) is kind
        with pytest.raises(UsageError, match="no verified file"):
            fetch.take()
    return raised.value


# ---- by the book ----------------------------------------------------------------------------------------------------


async def test_progress_is_told_on_the_loop_and_ends_with_the_size(tmp_path: Path) -> None:
    told: list[int] = []
    here = threading.get_ident()

    def progress(done: int) -> None:
        assert threading.get_ident() == here
        told.append(done)

    with Server(DATA) as server:
        made, _ = await download(tmp_path / "f", DATA, server.url, options={"progress": progress})
        await until(lambda: told[-1:] == [len(DATA)])
    assert told == sorted(set(told))
    assert (made.counters.fetched, made.counters.again, made.counters.requests) == (len(DATA), 0, 1)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


async def test_a_request_is_plain_and_carries_nothing_that_is_not_needed(tmp_path: Path) -> None:
    with Server(DATA, cut(good, 10_000, times=1)) as server:
        await download(tmp_path / "f", DATA, f"{server.url}/a%20b?X=1%2F2&s=a+b")
    first, second = server.asked
    assert first.path == "/a%20b?X=1%2F2&s=a+b"
    assert first.headers.keys() == {"host", "accept", "accept-encoding", "user-agent", "connection", ""}
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["host"] == f"127.0.0.1:{server.port}"
    assert (second.headers["range"], second.headers["if-range"]) == ("bytes=10000-", '"one"')


@BOTH
async def test_a_finished_file_is_verified_again_and_nothing_is_fetched(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    (tmp_path / "f").write_bytes(DATA)
    with Server(DATA) as server:
        await download(tmp_path / "f", DATA, server.url, mapped=mapped)
    assert not server.asked


async def test_what_is_right_of_a_file_is_kept_and_the_rest_is_not(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA[:30_000] + b"!" + DATA[30_001:] + b"and more")
    with Server(DATA) as server:
        made, _ = await download(tmp_path / "f", DATA, server.url)
    good_chunks = 30_000 // CHUNK * CHUNK
    assert [talk.offset for talk in server.asked] == [good_chunks]
    assert made.counters.fetched == len(DATA) - good_chunks


async def test_a_new_signature_goes_on_where_the_old_one_expired(tmp_path: Path) -> None:
    def manner(server: Server, talk: Talk) -> None:
        fresh = "sig=new" in talk.path or len(server.asked) == 1
        (cut(good, 30_000, times=1) if fresh else status(403))(server, talk)

    for mapped in (True, False):
        path = tmp_path / f"{mapped}"
        with Server(DATA, manner) as server:
            error = await fail(path, source(DATA, f"{server.url}/f?sig=old", mapped=mapped), RestError, unsynced=0)
            assert error.status == 403
            assert "presigned" in error.remedy
            await download(path, DATA, f"{server.url}/f?sig=new", mapped=mapped)
        assert server.asked[-1].offset == (30_000 // CHUNK * CHUNK if mapped else 30_000)
        assert server.asked[-1].headers.get("if-range") == (None if mapped else '"one"')


async def test_a_note_that_is_damaged_or_of_another_file_tells_nothing(tmp_path: Path) -> None:
    path, note = tmp_path / "f", tmp_path / "f.resume"
    other = f'{{"sha256": "{"0" * 64}", "length": 9, "mirror": "", "validator": ""}}'
    sha256 = hashlib.sha256(DATA).hexdigest()
    for text in ("", "{", "[]", other, f'{{"sha256": "{sha256}", "length": "9", "mirror": "", "validator": ""}}'):
        path.write_bytes(DATA[:9])
        note.write_text(text)
        with Server(DATA) as server:
            await download(path, DATA, server.url, mapped=False)
        assert [talk.offset for talk in server.asked] == [0]
        assert not note.exists()
        path.unlink()


async def test_a_false_note_costs_a_second_download_and_nothing_else(tmp_path: Path) -> None:
    """The hash of the whole decides, whatever was believed before."""
    (tmp_path / "f").write_bytes(b"x" * 30_000)
    sha256 = hashlib.sha256(DATA).hexdigest()
    (tmp_path / "f.resume").write_text(f'{{"sha256": "{sha256}", "length": 30000, "mirror": "", "validator": ""}}')
    with Server(DATA) as server:
        await download(tmp_path / "f", DATA, server.url, mapped=False)
    assert [talk.offset for talk in server.asked] == [30_000, 0]


async def test_discard_leaves_nothing(tmp_path: Path) -> None:
    with Server(DATA, cut(good, 30_000, times=1)) as server:
        server.manner = lambda s, t: (cut(good, 30_000) if t.number == 1 else status(404))(s, t)
        await fail(tmp_path / "f", source(DATA, server.url, mapped=False), RestError, unsynced=0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f", "f.resume"]
    discard(tmp_path / "f")
    discard(tmp_path / "f")
    assert not list(tmp_path.iterdir())


# ---- mirrors and pauses ---------------------------------------------------------------------------------------------


@BOTH
async def test_a_mirror_that_is_away_is_passed_over_at_once(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    with Server(DATA) as dead:
        gone = dead.url
    with Server(DATA, status(404)) as empty, Server(DATA) as server:
        _, pauses = await download(tmp_path / "f", DATA, gone, empty.url, server.url, mapped=mapped)
    assert not pauses


@BOTH
async def test_mirrors_go_on_where_another_stopped(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    def second(server: Server, talk: Talk) -> None:
        server.tag = '"of another server"'
        cut(good, 20_000)(server, talk)

    with Server(DATA, cut(good, 20_000)) as one, Server(DATA, second) as two:
        made, _ = await download(tmp_path / "f", DATA, one.url, two.url, mapped=mapped)
    assert made.counters.again == 0
    assert one.asked
    assert two.asked


async def test_an_address_that_is_silent_leaves_time_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a host has whose IPv6 goes nowhere."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as callers, Server(DATA) as server:
        for _ in range(3):  # nobody accepts: the kernel leaves the next one without an answer
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        both = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", at) for at in (full.getsockname(), ("127.0.0.1", server.port))
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        _, pauses = await download(tmp_path / "f", DATA, server.url, connect=0.4)
    assert not pauses


async def test_a_chunk_that_one_mirror_spoils_is_fetched_from_another(tmp_path: Path) -> None:
    with Server(DATA, spoiled(20_480, b"spoiled")) as one, Server(DATA) as two:
        made, pauses = await download(tmp_path / "f", DATA, one.url, two.url)
    assert [talk.offset for talk in two.asked] == [20_480]
    assert (made.counters.chunk_retries, pauses) == (1, [])
    assert CHUNK <= made.counters.again <= CHUNK + FetchPolicy().unsynced


async def test_a_bad_chunk_is_fetched_again_and_not_the_file(tmp_path: Path) -> None:
    with Server(DATA, spoiled(20_480, b"spoiled", times=3)) as server:
        made, _ = await download(tmp_path / "f", DATA, server.url)
    assert [talk.headers.get("range", "") for talk in server.asked] == ["", *["bytes=20480-"] * 3]
    assert made.counters.chunk_retries == 3
    assert 3 * CHUNK <= made.counters.again <= 3 * (CHUNK + FetchPolicy().unsynced)


async def test_a_chunk_that_stays_bad_names_itself(tmp_path: Path) -> None:
    with Server(DATA, spoiled(20_480, b"spoiled")) as server:
        error = await fail(tmp_path / "f", source(DATA, server.url), CorruptError)
    assert (error.chunk, len(server.asked)) == (5, 4)
    assert (tmp_path / "f").read_bytes()[:20_480] == DATA[:20_480]


async def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_says(tmp_path: Path) -> None:
    with Server(DATA, lambda s, t: (good if t.number > 1 else status(503, "Retry-After: 70"))(s, t)) as server:
        _, pauses = await download(tmp_path / "f", DATA, server.url)
    assert len(pauses) == 1
    assert 70 <= pauses[0] <= 71


async def test_twenty_resumes_without_a_new_byte_fail_and_each_new_byte_counts_anew(tmp_path: Path) -> None:
    with Server(DATA, cut(good, 1000)) as server:
        made, _ = await download(tmp_path / "f", DATA, server.url)
    assert made.counters.resumes == 70
    with Server(DATA, status(503)) as server:
        await fail(tmp_path / "g", source(DATA, server.url), UnavailableError)
    assert len(server.asked) == 21


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_the_bandwidth_limit_holds_also_for_several_together(tmp_path: Path) -> None:
    clock = Clock()
    options = {"clock": clock, "pause": clock.wait}
    with Server(DATA) as server:
        await download(tmp_path / "f", DATA, server.url, bandwidth=10_000, options=options)
        assert 1006.5 < clock.now < 1007.1
        clock.now = 1000.0
        shared = Limit(20_000, clock)
        for name in "gh":
            await download(tmp_path / name, DATA, server.url, options={**options, "shared": shared})
    assert 1006.5 < clock.now < 1007.1


async def test_the_deadline_counts_pauses_and_leaves_what_came(tmp_path: Path) -> None:
    clock = Clock()
    with Server(DATA, cut(good, 100, times=1)) as server:
        server.manner = lambda s, t: (cut(good, 30_000) if t.number == 1 else status(503))(s, t)
        made = source(DATA, server.url)
        fetch = Fetch(made, tmp_path / "f", FetchPolicy(total=5.0), clock=clock, pause=clock.wait)
        with fetch, pytest.raises(DeadlineError, match="503"):
            await fetch.run()
        assert 1000 < clock.now < 1005
        server.manner = good
        await download(tmp_path / "f", DATA, server.url)
    assert server.asked[-1].offset == 30_000 // CHUNK * CHUNK


async def test_cancel_ends_a_wait_for_a_server_at_once(tmp_path: Path) -> None:
    for manner in (silent, dripping(HEAD, b"x", 0.01), dripping(b"HTTP/1.1 200 OK\r\n", b"x", 0.01), status(503)):
        with Server(DATA, manner) as server, Fetch(source(DATA, server.url), tmp_path / "f") as fetch:
            run = asyncio.ensure_future(fetch.run())
            await until(lambda server=server: server.asked)  # type: ignore[misc]
            fetch.cancel()
            with pytest.raises(CanceledError):
                await asyncio.wait_for(run, 5)


async def test_a_download_that_was_canceled_before_does_nothing(tmp_path: Path) -> None:
    with Server(DATA) as server, Fetch(source(DATA, server.url), tmp_path / "f") as fetch:
        fetch.cancel()
        with pytest.raises(CanceledError):
            await fetch.run()
    assert not server.asked


async def test_the_end_of_its_task_is_the_end_of_the_download(tmp_path: Path) -> None:
    with Server(DATA, stalls_once) as server, Fetch(source(DATA, server.url), tmp_path / "f") as fetch:
        run = asyncio.ensure_future(fetch.run())
        await until(lambda: fetch.counters.fetched >= 30_000 // CHUNK * CHUNK)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not [thread for thread in threading.enumerate() if thread.name == "ota-read-back"]
        await download(tmp_path / "f", DATA, server.url)  # the lock is free
    assert server.asked[-1].offset == 30_000 // CHUNK * CHUNK


async def test_a_download_runs_once(tmp_path: Path) -> None:
    with Server(DATA) as server, Fetch(source(DATA, server.url), tmp_path / "f") as fetch:
        await fetch.run()
        fetch.take().close()
        with pytest.raises(UsageError):
            await fetch.run()
        with pytest.raises(UsageError):
            fetch.take()


def test_plain_http_leaves_the_machine_only_where_that_was_said(tmp_path: Path) -> None:
    made = source(DATA, "http://192.0.2.1/f?sig=CANARY")
    with pytest.raises(ConfigError, match="not encrypted") as raised:
        Fetch(made, tmp_path / "f")
    assert "CANARY" not in raised.value.advice
    Fetch(made, tmp_path / "f", FetchPolicy(plain_http=True))
    for url in ("ftp://host/f?CANARY", "https://u:p@host/f?CANARY", "http://[?CANARY", "https://host/ä?CANARY"):
        with pytest.raises((ConfigError, UsageError)) as refused:
            Fetch(source(DATA, url), tmp_path / "f")
        assert "CANARY" not in refused.value.advice


# ---- the file -------------------------------------------------------------------------------------------------------


async def test_the_descriptor_is_the_one_that_was_checked(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with Server(DATA) as server, Fetch(source(DATA, server.url), path) as fetch:
        await fetch.run()
        path.unlink()
        path.write_bytes(b"something else")
        with fetch.take() as file:
            assert file.read() == DATA


async def test_two_downloads_do_not_share_a_file(tmp_path: Path) -> None:
    with Server(DATA) as server, Fetch(source(DATA, server.url), tmp_path / "f") as first:
        await first.run()
        error = await fail(tmp_path / "f", source(DATA, server.url), TryAgainError)
        assert "another download" in error.message
        with first.take():
            await fail(tmp_path / "f", source(DATA, server.url), TryAgainError)
        await download(tmp_path / "f", DATA, server.url)


async def test_only_a_plain_file_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    (tmp_path / "folder").mkdir()
    with Server(DATA) as server:
        for name in ("pipe", "link", "folder", "no-folder/f"):
            await fail(tmp_path / name, source(DATA, server.url), StorageError)
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not server.asked
