"""Damaged and forged updates by the thousand: random bytes, cuts, growth, splices of two right ones. None is taken, no reader breaks.

`make faults` runs 100,000 of manifests and as many of images; `make test` 500. HUB_AGENT_FAULT_SEED replays a run.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable

import ota_rig as rig
import pytest

from agent.ota.manifest import File
from agent.ota.refusals import ContentError, RefusedError
from agent.ota.trust import verify

CYCLES = os.environ.get("HUB_AGENT_FAULT_CYCLES")
MUTATIONS = 1000 * int(CYCLES) if CYCLES else 500
SEED = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
PAGE = 4096

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def noise(chance: random.Random, one: bytes, _other: bytes) -> bytes:
    found = bytearray(one)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        found[chance.randrange(len(found))] = chance.randrange(256)
    return bytes(found)


def zeroed(chance: random.Random, one: bytes, _other: bytes) -> bytes:
    start = chance.randrange(len(one))
    length = min(chance.choice((1, 16, 512, PAGE)), len(one) - start)
    return one[:start] + bytes(length) + one[start + length :]


def cut(chance: random.Random, one: bytes, _other: bytes) -> bytes:
    return one[: chance.randrange(len(one))]


def cut_at_a_page(chance: random.Random, one: bytes, _other: bytes) -> bytes:
    return one[: chance.randrange(-(-len(one) // PAGE)) * PAGE]


def grown(chance: random.Random, one: bytes, other: bytes) -> bytes:
    more = chance.choice((b"\0", b"}", chance.randbytes(chance.randrange(1, PAGE)), one, other))
    at = chance.choice((0, len(one), chance.randrange(len(one))))
    return one[:at] + more + one[at:]


def spliced(chance: random.Random, one: bytes, other: bytes) -> bytes:
    at = chance.randrange(1, min(len(one), len(other)))
    return one[:at] + other[at:]


def moved(chance: random.Random, one: bytes, _other: bytes) -> bytes:
    first, second = sorted(chance.randrange(len(one)) for _ in range(2))
    return one[second:] + one[first:second] + one[:first]


def members(chance: random.Random, one: bytes, other: bytes) -> bytes:
    """Right JSON with parts of two right envelopes."""
    here, there = json.loads(one), json.loads(other)
    texts = here["signatures"] + there["signatures"]
    return json.dumps(
        {
            "payload": chance.choice((here, there))["payload"],
            "signatures": chance.choices(texts, k=chance.randrange(4)),
        }
    ).encode()


def parts(chance: random.Random, one: bytes, other: bytes) -> bytes:
    """Signatures with the header of one and the rest of another."""
    here, there = json.loads(one), json.loads(other)
    texts = [text.split("..") for text in here["signatures"] + there["signatures"]]
    mixed = [f"{chance.choice(texts)[0]}..{chance.choice(texts)[1]}" for _ in range(2)]
    return json.dumps({**here, "signatures": mixed}).encode()


COMMON: tuple[Mutation, ...] = (noise, zeroed, cut, cut_at_a_page, grown, spliced, moved)


@pytest.mark.timeout(3600)
@pytest.mark.faults
def test_no_damaged_manifest_is_taken() -> None:
    chance, root, told = random.Random(SEED), rig.trusted(), Counter[str]()
    made = [rig.release(7), rig.release(8, ("p-t", "ed-s")), rig.release(9, ("p-r", "p-t", "ed-s"))]
    right = {rig.check(data).digest for data in made}
    for _ in range(MUTATIONS):
        one, other = chance.sample(made, 2)
        wrong = chance.choice((*COMMON, members, parts))(chance, one, other)
        try:
            found = verify(wrong, root, rig.HUB, rig.FLOOR, rig.at())
        except RefusedError as error:
            told[error.code] += 1
        else:  # a blank was put between two members, or two right parts of one release were put together: what was signed is whole
            assert found.digest in right
            assert len(found.signers) >= 2
            told["as signed"] += 1
    print(f"seed {SEED}: {MUTATIONS} manifests changed, 0 taken that were not signed; {dict(told)}")
    assert told["bad-signature"]
    assert told["malformed"]


def whole(told: File, data: bytes) -> bool:
    """What a fetcher asks: each chunk, and no byte more."""
    if len(data) != told.size:
        return False
    try:
        for index in range(len(told.chunks)):
            offset, length = told.span(index)
            told.check(index, memoryview(data)[offset : offset + length])
    except ContentError:
        return False
    return True


@pytest.mark.timeout(3600)
@pytest.mark.faults
def test_no_damaged_image_is_taken() -> None:
    chance = random.Random(SEED)
    one, other = chance.randbytes(60_001), chance.randbytes(60_001)
    told = File.model_validate(rig.file("image.bin", one, PAGE))
    assert whole(told, one)
    taken = same = 0
    for _ in range(MUTATIONS):
        wrong = chance.choice(COMMON)(chance, one, other)
        same += wrong == one
        taken += wrong != one and whole(told, wrong)
    print(f"seed {SEED}: {MUTATIONS} images changed ({same} by nothing), {taken} taken")
    assert not taken
