"""An HTTP request and its answer, as the stand-in's APIs see them: no socket, no framework."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: `path` is still percent-encoded and has no prefix of ours, header names are in lower case."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handle = Callable[[Ask], Answer]


def read_json(body: bytes) -> Any:
    """The JSON that a stranger sent. Raises ValueError or RecursionError."""
    found = json.loads(body)
    # half of a surrogate pair: JSON can name it, no text has it; NaN and Infinity: Python reads them, JSON has none
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    return found
