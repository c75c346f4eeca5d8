"""Every single bit of a release and of its signatures is flipped, and no one is passed over; and parsers are fed what nobody would write."""

import base64
import json
import os
import random
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ota_rig import FLOOR, HUB, agent, at, file, release, release_document, root_document, signed, trusted

from agent.ota.documents import order, strict_json
from agent.ota.manifest import LARGEST, read_downgrade, read_release
from agent.ota.refusals import RefusedError
from agent.ota.roots import pinned
from agent.ota.signatures import open_envelope, unurl64, url64
from agent.ota.trust import verify

ROOT = trusted()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def accepted(data: bytes) -> bool:
    try:
        verify(data, ROOT, HUB, FLOOR, at())
    except RefusedError:
        return False
    return True


def share() -> tuple[int, int]:
    """Every bit in `make faults`; in `make test` every fourth, in each run others."""
    every = 1 if os.environ.get("HUB_AGENT_FAULT_CYCLES") else 4
    return random.randrange(every), every


def flips(data: bytes) -> list[bytes]:
    number, size = int.from_bytes(data), len(data)
    return [(number ^ (1 << bit)).to_bytes(size) for bit in range(8 * size)]


def test_every_bit_of_manifest_and_signatures_flipped() -> None:
    """In the bytes themselves, in a right envelope: it is the signature that refuses, not the form around it."""
    good = release(components=[agent(), agent(name="os", kind="rauc", files=[file("os.raucb")])])
    assert accepted(good)
    opened = open_envelope(good, LARGEST, "")
    signatures = list(opened.signatures)
    wrong = [(data, signatures) for data in flips(opened.payload)]
    for index, text in enumerate(signatures):
        head, tail = (unurl64(part) for part in text.split(".."))
        changed = [f"{url64(h)}..{url64(tail)}" for h in flips(head)] + [
            f"{url64(head)}..{url64(t)}" for t in flips(tail)
        ]
        wrong += [(opened.payload, [*signatures[:index], one, *signatures[index + 1 :]]) for one in changed]
    first, every = share()
    bad = [
        number
        for number, (payload, texts) in list(enumerate(wrong))[first::every]
        if accepted(json.dumps({"payload": base64.b64encode(payload).decode(), "signatures": texts}).encode())
    ]
    print(
        f"{len(wrong)} bits of a manifest of {len(opened.payload)} bytes and its 2 signatures, "
        f"every {every} from {first} flipped, {len(bad)} accepted"
    )
    assert len(wrong) > 10_000
    assert not bad


def test_every_bit_of_the_form_around_them_flipped() -> None:
    """The envelope's own text: names, quotes, the texts of the signatures, and the ends of the payload's."""
    good = release(components=[agent(files=[file(chunk=8192)])])
    assert accepted(good)
    begins = good.index(b'"payload": "') + len(b'"payload": "')
    inside = range(begins + 8, good.index(b'"', begins) - 8)
    wrong = [data for place, data in enumerate(flips(good)) if len(good) - 1 - place // 8 not in inside]
    first, every = share()
    bad = [number for number, data in list(enumerate(wrong))[first::every] if accepted(data)]
    print(
        f"{len(wrong)} bits of an envelope around its payload, every {every} from {first} flipped, {len(bad)} accepted"
    )
    assert not bad


@pytest.mark.parametrize("read", [read_release, read_downgrade, pinned, lambda d: open_envelope(d, LARGEST, "")])
@given(data=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
@example(data=b"\xef\xbb\xbf{}")
@example(data=b'{"type":"release","type":"release"}')
@settings(max_examples=60, deadline=None)
def test_no_reader_raises_anything_else(read: object, data: bytes) -> None:
    with pytest.raises(RefusedError):
        read(data)  # type: ignore[operator]


@given(path=st.integers(0, 10_000), value=JSON)
@settings(max_examples=150, deadline=None)
def test_a_field_that_is_changed_is_refused_or_read(path: int, value: object) -> None:
    """Signed by the right keys, and still of any form."""
    for kind, document, read, labels in (
        ("release", release_document(), lambda d: verify(d, ROOT, HUB, FLOOR, at()), ("p-r", "ed-s")),
        ("root", root_document(), pinned, ("ed-a", "ed-b")),
    ):
        inside: object = document
        step = path
        while True:
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))  # type: ignore[arg-type]
            chosen = keys[step % len(keys)]
            step //= len(keys)
            if not isinstance(inside[chosen], dict | list) or not inside[chosen] or not step:  # type: ignore[index]
                break
            inside = inside[chosen]  # type: ignore[index]
        inside[chosen] = value  # type: ignore[index]
        try:
            read(signed(json.dumps(document).encode(), labels, kind))
        except RefusedError:
            continue


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":1.0}',
        '{"a":1e3}',
        '{"a":-0}',
        '{"a":9007199254740992}',
        '{"a":"\\udc00"}',
        "[]",
        '"a"',
        "",
        '{"a":1}x',
        "{'a':1}",
        '{"a":' + "1" * 5000 + "}",
        '{"a":01}',
        "\ufeff{}",
    ],
)
def test_json_that_readers_take_differently_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        strict_json(text.encode(), 10_000, "")
    assert strict_json(b'{"a":9007199254740991,"b":"\\ud83d\\ude00"}', 100, "")


def test_versions_are_ordered() -> None:
    told = "0.9 1 1.0.1-alpha 1.0.1-alpha.1 1.0.1-alpha.beta 1.0.1-beta.2 1.0.1-beta.11 1.0.1rc1 1.0.1 1.2 1.10 2026.01"
    texts = told.split(" ")
    assert all(order(older) < order(newer) for older, newer in pairwise(texts))
    assert order("2.1") == order("2.1.0+build.5")
    for wrong in ("", "v1", "1..2", "1.2.3.4.5", "1-", "1+", "\u0661", "1 ", "1\n", "1.0.post1"):
        with pytest.raises(ValueError, match="no version"):
            order(wrong)
