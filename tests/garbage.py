"""Answers as a broken or hostile cloud may send them: a good one with each part changed, and bytes that are none."""

import json
import random
from collections.abc import Iterator
from typing import Any

SEED = 20261127
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    " ",
    "#",
    "a/+/b",
    "\u0000",
    "x" * 5000,
    "²",
    "../../x",
    [],
    {},
    [[]],
    {"x": {}},
    {"": ""},
)
BYTES = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b'"',
    b'{"',
    b"{]",
    b"NaN",
    b'{"a":1e999}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'"\\ud800"',
    b"\xef\xbb\xbf{}",
)


def changed(good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The good answer with one part missing or odd, at every depth."""
    for name, value in good.items():
        yield {key: kept for key, kept in good.items() if key != name}
        for odd in ODD:
            yield {**good, name: odd}
        if isinstance(value, dict):
            yield from ({**good, name: inner} for inner in changed(value))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from ({**good, name: [inner]} for inner in changed(value[0]))


def payloads(good: dict[str, Any], noise: int = 40) -> list[bytes]:
    """All of them, and the good one with random bytes replaced, cut or doubled; the same for one SEED."""
    dice, whole = random.Random(SEED), json.dumps(good).encode()
    noisy = []
    for _ in range(noise):
        text = bytearray(whole)
        for _ in range(dice.randrange(1, 5)):
            text[dice.randrange(len(text))] = dice.randrange(256)
        noisy.append(bytes(text[: dice.randrange(1, len(text))] if dice.random() < 0.5 else text + text))
    return [*BYTES, *(json.dumps(one).encode() for one in changed(good)), *noisy]
