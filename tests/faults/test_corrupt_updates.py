"""Damaged and forged updates by the thousand: random bytes, cuts, growth, splices of two right ones. None is taken, no reader breaks.

`make faults` runs 100,000 of manifests and as many of images, 1,000 of them as whole updates; `make test` 500. HUB_AGENT_FAULT_SEED replays
a run.
"""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ota_rig as rig
import pytest
import slots_rig
from ota_machine import Machine, update

from agent.ota.appliers.contract import Image
from agent.ota.downloads import Downloads
from agent.ota.fetch import FetchPolicy
from agent.ota.plan import State
from agent.ota.refusals import RefusedError
from agent.ota.trust import verify

CYCLES = os.environ.get("HUB_AGENT_FAULT_CYCLES")
MUTATIONS = 1000 * int(CYCLES) if CYCLES else 500
SEED = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
PAGE, WHOLE = 4096, 100  # bytes; images of which one is also offered as a whole update

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


@pytest.mark.timeout(3600)
@pytest.mark.faults
async def test_no_damaged_image_is_taken(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    one, other = chance.randbytes(60_001), chance.randbytes(60_001)
    verified = rig.check(rig.release(components=[rig.agent(files=[rig.file("image.bin", one, PAGE)])]))
    (component,), downloads = verified.hub, Downloads(tmp_path, FetchPolicy())
    path = tmp_path / component.files[0].sha256
    path.write_bytes(one)
    assert _closed(await downloads.images(component))
    taken = same = 0
    for _ in range(MUTATIONS):
        wrong = chance.choice(COMMON)(chance, one, other)
        path.write_bytes(wrong)
        found = _closed(await downloads.images(component))
        same += wrong == one
        taken += wrong != one and found
    print(f"seed {SEED}: {MUTATIONS} images changed ({same} by nothing), {taken} taken")
    assert not taken


def _closed(images: list[Image] | None) -> bool:
    """Whether they were taken."""
    for image in images or ():
        image.file.close()
    return images is not None


@pytest.mark.timeout(3600)
@pytest.mark.faults
async def test_no_damaged_image_is_activated(tmp_path: Path) -> None:
    chance, told = random.Random(SEED), Counter[str]()
    one, other = (slots_rig.tree("2.0", more={"agent/data": chance.randbytes(20_000)}) for _ in range(2))
    for number in range(MUTATIONS // WHOLE):
        wrong = chance.choice(COMMON)(chance, one, other)
        machine, offered = Machine(tmp_path / str(number)), update(("agent.tar.gz", one))
        offered["images"]["agent.tar.gz"] = wrong
        task = await machine.to_the_end(machine.offer_files(**offered))
        ends = (task.state, machine.board.start())
        assert ends == ((State.SUCCEEDED, "2.0 B") if wrong == one else (State.FAILED, "1.0 A"))
        assert wrong == one or not (machine.board.folder / "B").exists()
        told[f"{task.state} {task.code}"] += 1
        shutil.rmtree(machine.folder)
    print(f"seed {SEED}: {MUTATIONS // WHOLE} whole updates with changed images, {dict(told)}")
