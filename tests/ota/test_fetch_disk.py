"""A disk that is full, fails, or forgets: what it does to a download, at every call that changes it."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hostile_files import LIMITS, Server, Talk, content, cut, download, good, source
from power_cut import PowerCut, cutting, refusing

from agent.errors import StorageError
from agent.ota.fetch import Fetch, FetchPolicy, NoSpaceError
from agent.ota.readback import BLOCK, ReadBack

DATA = content(13_001)
CHUNK = 4096
BOTH = pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])
EXACT = FetchPolicy(**{**LIMITS, "unsynced": 0})  # the same calls in each run


async def run(path: Path, url: str, *, mapped: bool = True, size: int = 0) -> None:
    made = source(DATA, url, mapped=mapped)
    if size:
        object.__setattr__(made, "size", size)
        object.__setattr__(made, "chunks", ())
    with Fetch(made, path, EXACT, pause=lambda _: None) as fetch:
        await fetch.run()


def little(server: Server, talk: Talk) -> None:
    """One chunk with each answer."""
    cut(good, CHUNK)(server, talk)


def common(one: bytes, two: bytes) -> int:
    """Bytes from the start that are the same, in steps of 512."""
    for at in range(0, len(one), 512):
        if one[at : at + 512] != two[at : at + 512]:
            return at
    return len(one)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, after: int = 0) -> None:
    """os.`name` fails with this errno, after so many good calls."""
    really, calls = getattr(os, name), [0]

    def call(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(number, os.strerror(number))
        return really(*arguments)

    monkeypatch.setattr(os, name, call)


# ---- no room --------------------------------------------------------------------------------------------------------


async def test_a_disk_that_is_too_small_is_told_before_a_byte_is_fetched(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    with Server(DATA) as server, pytest.raises(NoSpaceError) as raised:
        await run(tmp_path / "f", server.url, size=1 << 50)
    assert abs(raised.value.missing - ((1 << 50) - free.f_bavail * free.f_frsize)) < 1 << 34  # others write, too
    assert str(raised.value.missing) in raised.value.message
    assert not server.asked
    assert (tmp_path / "f").stat().st_blocks == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
async def test_a_disk_that_gets_full_keeps_what_was_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = tmp_path / "f"
    path.write_bytes(DATA[:CHUNK])
    with Server(DATA) as server:
        with monkeypatch.context() as patched:
            failing(patched, call, number)
            with pytest.raises(NoSpaceError) as raised:
                await run(path, server.url)
        assert raised.value.missing > 0
        assert path.read_bytes()[:CHUNK] == DATA[:CHUNK]
        await download(path, DATA, server.url)
    assert server.asked[-1].offset == CHUNK


# ---- a disk that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["pwrite", "preadv", "posix_fallocate", "ftruncate"])
async def test_a_failing_disk_is_told_and_ends_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(DATA[:5000])
    with Server(DATA) as server, monkeypatch.context() as patched:
        failing(patched, call, errno.EIO)
        with pytest.raises(StorageError, match="Input/output error") as raised:
            await run(path, server.url)
        assert type(raised.value) is StorageError
    assert raised.value.place == str(path)


@BOTH
async def test_what_could_not_be_synced_is_cut_off(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mapped: bool,  # noqa: FBT001
) -> None:
    """The kernel may call pages clean after a failed fsync: they would be verified from memory, and be gone after the next start."""
    path, good_calls = tmp_path / "f", 3 if mapped else 5  # the file's, its folder's, one chunk's, and two of its note
    with Server(DATA, little) as server:
        with monkeypatch.context() as patched:
            failing(patched, "fsync", errno.EIO, after=good_calls)
            with pytest.raises(StorageError):
                await run(path, server.url, mapped=mapped)
        assert path.stat().st_size == CHUNK
        before = len(server.asked)
        await download(path, DATA, server.url, mapped=mapped)
    assert server.asked[before].offset == CHUNK


@BOTH
async def test_every_refusal_of_the_disk_is_told_and_the_next_run_ends_well(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    with Server(DATA, little) as server:
        with refusing() as counted:
            await run(tmp_path / "count", server.url, mapped=mapped)
        for number in (errno.EIO, errno.ENOSPC):
            for point in range(1, counted.seen + 1):
                path = tmp_path / f"{number}-{point}"
                with refusing(point, number), pytest.raises(StorageError) as raised:
                    await run(path, server.url, mapped=mapped)
                assert isinstance(raised.value, NoSpaceError) == (number == errno.ENOSPC)
                await download(path, DATA, server.url, mapped=mapped)
    print(f"refusals of the disk: {counted.seen} calls x EIO, ENOSPC")
    assert counted.seen > 5


async def test_a_chunk_that_is_read_back_as_something_else_is_fetched_again(tmp_path: Path) -> None:
    """The disk spoils what was right when it came, before it is synced and read back."""
    path, really, spoiled = tmp_path / "f", ReadBack.reach, []

    def reach(back: ReadBack, end: int, **more: Any) -> None:
        if end > 9000 and not spoiled:
            spoiled.append(end)
            with path.open("r+b") as file:
                file.seek(9000)
                file.write(b"rot")
        really(back, end, **more)

    with Server(DATA) as server, pytest.MonkeyPatch.context() as patched:
        patched.setattr(ReadBack, "reach", reach)
        made, _ = await download(path, DATA, server.url)
    assert made.counters.chunk_retries == 1
    assert [talk.offset for talk in server.asked] == [0, 2 * CHUNK]


@pytest.mark.parametrize("chunk", [70_000, 1 << 17, 900_000])
async def test_what_the_disk_spoils_is_noticed_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """At the edges of what is read at once, of chunks and of the file; no right one is taken for wrong."""
    path, really, data = tmp_path / "f", ReadBack.reach, content(7 * BLOCK + 321)
    places = [BLOCK - 1, 3 * BLOCK, 5 * BLOCK + 17, len(data) - 1]
    spoiled = {place // chunk for place in places}

    def reach(back: ReadBack, end: int, **more: Any) -> None:
        if places and end > places[0]:
            with path.open("r+b") as file:
                file.seek(places[0])
                file.write(bytes([data[places.pop(0)] ^ 1]))
        really(back, end, **more)

    monkeypatch.setattr("agent.ota.image.STEP", BLOCK // 4)
    monkeypatch.setattr(ReadBack, "reach", reach)
    with Server(data) as server:
        made = source(data, server.url, chunk=chunk)
        with Fetch(made, path, FetchPolicy(**LIMITS), pause=lambda _: None) as fetch:
            await fetch.run()
    assert path.read_bytes() == data
    assert (fetch.counters.chunk_retries, places) == (len(spoiled), [])
    assert [talk.offset % chunk for talk in server.asked] == [0] * len(server.asked)


async def test_what_the_disk_cannot_read_of_a_former_run_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, really, bad = tmp_path / "f", os.preadv, [2 * CHUNK]
    path.write_bytes(DATA)

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset in bad:
            bad.clear()  # written again it is well
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    with Server(DATA) as server:
        await download(path, DATA, server.url)
    assert [talk.offset for talk in server.asked] == [2 * CHUNK]


async def test_a_slow_disk_holds_the_network_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all that came would wait in memory, and a power cut take it."""
    really, data, ahead = os.pwrite, content(1 << 18), []

    def pwrite(descriptor: int, piece: memoryview, at: int) -> int:
        ahead.append(at - followed[0].at)
        return really(descriptor, piece, at)

    followed: list[ReadBack] = []
    started = ReadBack._work

    def work(back: ReadBack) -> None:
        followed.append(back)
        started(back)

    monkeypatch.setattr(ReadBack, "_work", work)
    monkeypatch.setattr(os, "pwrite", pwrite)
    with Server(data) as server:
        await download(tmp_path / "f", data, server.url, unsynced=4 * CHUNK)
    assert max(ahead) <= 4 * CHUNK


# ---- power cuts -----------------------------------------------------------------------------------------------------


class Disk:
    """What of the image would be there after a power cut: the last sync, with some later blocks, whichever the disk had got to."""

    def __init__(self, path: Path, patched: pytest.MonkeyPatch) -> None:
        self.path, self.kept = path, b""
        really = os.fsync

        def fsync(descriptor: int) -> None:
            really(descriptor)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                self.kept = path.read_bytes()

        patched.setattr(os, "fsync", fsync)

    def cut(self, random: Random) -> None:
        now = self.path.read_bytes() if self.path.exists() else b""
        size = random.choice([len(self.kept), len(now)])
        blocks = [random.choice([self.kept, now])[at : at + 512].ljust(512, b"\0") for at in range(0, size, 512)]
        self.path.write_bytes(b"".join(blocks)[:size])


@BOTH
async def test_every_power_cut_is_survived_and_costs_one_chunk(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    points, again = 0, 0
    with Server(DATA, little) as server:
        with cutting() as counted:
            await run(tmp_path / "count", server.url, mapped=mapped)
        for point in range(1, counted.seen + 1):
            path = tmp_path / str(point)
            with pytest.MonkeyPatch.context() as patched:
                disk = Disk(path, patched)
                with cutting(point), pytest.raises(PowerCut):
                    await run(path, server.url, mapped=mapped)
                disk.cut(Random(point))
            made, _ = await download(path, DATA, server.url, mapped=mapped)
            again = max(again, made.counters.fetched - (len(DATA) - common(disk.kept, DATA)))
            points += 1
    print(f"power cuts of a download: {points} points, at most {again} bytes again")
    assert points > 10
    assert again <= CHUNK


@BOTH
async def test_after_run_the_file_is_on_the_disk(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    with Server(DATA) as server, pytest.MonkeyPatch.context() as patched:
        disk = Disk(tmp_path / "f", patched)
        await run(tmp_path / "f", server.url, mapped=mapped)
        assert disk.kept == DATA


async def test_the_proof_sees_a_missing_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""
    with Server(DATA) as server:
        disk = Disk(tmp_path / "f", monkeypatch)
        monkeypatch.setattr("agent.ota.readback.os.fsync", lambda _: None)
        await run(tmp_path / "f", server.url)
    assert disk.kept != DATA


# ---- kill -9 --------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, sys
from pathlib import Path
from agent.ota.fetch import Fetch, FetchPolicy, Source
url, path, size, sha256, chunks = sys.argv[1:]
made = Source((url,), int(size), sha256, 1 << 20, tuple(chunks.split()))
with Fetch(made, Path(path), FetchPolicy(unsynced=0)) as fetch:
    asyncio.run(fetch.run())
"""
MIB = 1 << 20


@BOTH
async def test_kill_9_in_the_middle_costs_at_most_one_chunk(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    path, data = tmp_path / "f", content(MIB) * 3
    reached = MIB + 3 * BLOCK

    def manner(server: Server, talk: Talk) -> None:
        if talk.number > 1:
            good(server, talk)
            return
        talk.head(200, f"Content-Length: {len(data)}", f"ETag: {server.tag}")
        server.body(talk, 0, reached + 1000)
        while not path.exists() or common(path.read_bytes()[:reached], data) < reached:
            if server.over.wait(0.01):
                return
        process.kill()
        server.over.wait()

    with Server(data, manner) as server:
        made = source(data, server.url, chunk=MIB, mapped=mapped)
        arguments = [server.url, str(path), str(made.size), made.sha256, " ".join(made.chunks)]
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])
        assert process.wait(30) == -9
        with Fetch(made, path) as fetch:
            await fetch.run()
            with fetch.take() as file:
                assert file.read() == data
    again = reached - server.asked[-1].offset
    print(f"kill -9 at {reached} bytes: {again} fetched again")
    assert 0 <= again <= MIB
