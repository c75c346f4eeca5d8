"""The hostile file server: with each of its manners a download ends with the right bytes, or with the right error, within its limits."""

import logging
from pathlib import Path
from random import Random

import pytest
from hostile_files import TAG, Server, download, good
from hostile_manners import CASES, DATA, Case, meet, mixable

from agent.errors import HubError

SEEDS = 25


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_manner(case: Case, mapped: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    caplog.set_level(logging.DEBUG)
    await meet(case, tmp_path / "image", mapped=mapped)
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "plain"])
async def test_any_mix_of_manners_leaves_what_a_good_server_completes(tmp_path: Path, mapped: bool) -> None:  # noqa: FBT001
    """Each request meets another manner: whatever is left by that is right, or is not believed."""
    quick, ended = mixable(), 0
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
