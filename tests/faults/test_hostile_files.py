"""The hostile file server for long: each manner again and again with other sizes, and mixes of them over downloads that were damaged before.

tests/ota/test_fetch_hostile.py has each manner once. CYCLES=100 of `make faults` are 50 of each, and 5,000 mixes.
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hostile_files import TAG, Manner, Server, Talk, download, good
from hostile_manners import CASES, DATA, Case, meet, mixable

from agent.errors import HubError

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]
CYCLES = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "0"))
SEED = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
TIMES, FEW = max(1, CYCLES // 2), 5  # of each manner; manners of a short run
MIXES = 50 * CYCLES or 10


async def test_each_manner_again_with_other_sizes(tmp_path: Path) -> None:
    chance, ends = random.Random(SEED), Counter[str]()
    cases = CASES if CYCLES else chance.sample(CASES, FEW)
    for _ in range(TIMES):
        for case in cases:
            ends[await _meet(case, tmp_path / "image", chance)] += 1
    print(f"seed {SEED}: {len(cases)} manners x {TIMES}, {dict(ends)}")


async def _meet(case: Case, path: Path, chance: random.Random) -> str:
    chunk, unsynced = chance.choice((1024, 4096, 5000, 16_384)), chance.choice((0, 4096, 16_384, 1 << 20))
    mapped = chance.random() < 0.5
    told = f"seed {SEED}: {case.name}, {'mapped' if mapped else 'plain'}, chunks of {chunk}, {unsynced} unsynced"
    try:
        await meet(case, path, mapped=mapped, chunk=chunk, unsynced=unsynced)
    except AssertionError as error:
        raise AssertionError(told) from error
    for left in path.parent.iterdir():
        left.unlink()
    expected = case.ends(mapped=mapped)
    return expected.__name__ if expected else "right bytes"


def damaged(chance: random.Random) -> bytes:
    """What a former run may have left: torn, with holes, with bits that changed, longer than it should be."""
    found = bytearray(DATA[: chance.randrange(len(DATA) + 1)])
    for _ in range(chance.randrange(4)):
        at, length = chance.randrange(len(found) + 1), chance.choice((1, 512, 4096))
        found[at : at + length] = chance.choice((bytes(length), chance.randbytes(length)))
    return bytes(found) + chance.choice((b"", b"", bytes(4096)))


def _any(manners: list[Manner], chance: random.Random) -> Manner:
    """Another one for each request."""

    def answer(server: Server, talk: Talk) -> None:
        chance.choice(manners)(server, talk)

    return answer


async def test_any_mix_over_what_a_damaged_download_has_left_ends_with_the_right_bytes(tmp_path: Path) -> None:
    chance, manners, told = random.Random(SEED), mixable(), Counter[str]()
    for _ in range(MIXES):
        path = tmp_path / "image"
        path.write_bytes(damaged(chance))
        with Server(DATA) as other, Server(DATA, _any(manners, chance)) as server:
            server.other = other.url
            try:
                await download(path, DATA, server.url, strikes=10)
                told["ended well"] += 1
            except HubError as error:
                told[type(error).__name__] += 1
                server.tag, server.manner = TAG, good
                path.write_bytes(path.read_bytes()[: chance.randrange(len(DATA))])  # torn once more
                await download(path, DATA, server.url)
        path.unlink()
    print(f"seed {SEED}: {MIXES} mixes over damaged downloads, {dict(told)}")
    assert told["ended well"]
