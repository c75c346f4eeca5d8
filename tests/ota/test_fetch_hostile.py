"""The hostile file server: with each of its manners a download ends with the right bytes, or with the right error, within its limits."""

import logging
import time
import tracemalloc
from pathlib import Path
from random import Random

import pytest
from hostile_files import TAG, Server, content, download, good
from hostile_manners import CASES, Case, dated, weak

from agent.errors import HubError

DATA = content(70_001)
QUERY = "?X-Sig=CANARY-of-a-signature"
SEEDS = 25
LONGEST = 10.0  # seconds of a case, on a machine that has other work
MEMORY = 2_000_000  # bytes that client and server may take together; the bomb holds 16 MiB


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_manner(case: Case, mapped: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    caplog.set_level(logging.DEBUG)
    expected, path, begin = case.ends(mapped=mapped), tmp_path / "image", time.monotonic()
    tracemalloc.start()
    try:
        with Server(DATA) as other, Server(DATA, case.manner) as server:
            server.other = other.url
            url = f"{server.url}/f{QUERY}"
            if expected is None:
                await download(path, DATA, url, mapped=mapped, **case.policy)
                assert sorted(entry.name for entry in tmp_path.iterdir()) == ["image"]
            else:
                with pytest.raises(HubError) as raised:
                    await download(path, DATA, url, mapped=mapped, **case.policy)
                assert type(raised.value) is expected, raised.value
                assert case.words in str(raised.value)
                assert raised.value.place.startswith(("GET http", str(path)))
                assert "CANARY" not in raised.value.advice + repr(raised.value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "CANARY" not in caplog.text
    assert peak < MEMORY
    assert time.monotonic() - begin < LONGEST
    assert path.stat().st_size <= len(DATA)


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])
async def test_any_mix_of_manners_leaves_what_a_good_server_completes(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    """Each request meets another manner: whatever is left by that is right, or is not believed."""
    picky = (dated, weak)  # they expect an If-Range that only they can have given
    quick = [
        case.manner for case in CASES if not case.policy and "silent" not in case.name and case.manner not in picky
    ]
    ended = 0
    for seed in range(SEEDS):
        random, path = Random(seed), tmp_path / str(seed)
        with Server(DATA) as other, Server(DATA, lambda s, t, r=random: r.choice(quick)(s, t)) as server:  # type: ignore[misc]
            server.other = other.url
            try:
                await download(path, DATA, server.url, mapped=mapped, strikes=10)
                ended += 1
            except HubError:
                server.tag = TAG
                server.manner = good
                await download(path, DATA, server.url, mapped=mapped)
    print(f"mixed manners: {SEEDS} seeds, {ended} ended well")


def test_there_are_thirty_manners_and_more() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 30
    print(f"hostile file server: {len(CASES)} manners x 2 kinds of source")
