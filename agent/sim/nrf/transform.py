"""Transforms of a shadow: a JSONata expression over the document, and its result within a number of bytes. PURE but for a time limit."""

import json
import sys
from functools import cache
from importlib import import_module
from typing import Any

from agent.sim.nrf.answers import BAD_REQUEST

LIMIT = 1792  # bytes of a reply, unless the device names another number
TOO_LARGE = 41300
_SECONDS, _DEPTH = 0.5, 100

Body = dict[str, Any]


def transform(expression: str, document: Body, limit: int) -> Body:
    """`{"tf": result}`, or `{"err": nRF Cloud's code, "position": in the expression, "message"}`; undefined is null."""
    library = _library()
    try:
        parsed = library.Jsonata(expression)
        frame = parsed.create_frame()
        frame.set_runtime_bounds(round(_SECONDS * 1000), _DEPTH)
        reply = {"tf": parsed.evaluate(document, frame)}
        size = len(encoded(reply))
    except library.JException as error:
        return _failure(BAD_REQUEST, error.location, f"{error.error}: {error}")
    except Exception as error:  # noqa: BLE001  a stranger's program runs here: what the library raises is its author's
        return _failure(BAD_REQUEST, 0, str(error) or type(error).__name__)
    if size > limit:
        return _failure(TOO_LARGE, 0, f"the result has {size} bytes, the limit is {limit}")
    return reply


@cache
def _library() -> Any:
    """jsonata, which sets the interpreter's recursion limit to 10,000 when it is imported: deep JSON would then end the process."""
    depth = sys.getrecursionlimit()
    try:
        return import_module("jsonata")
    finally:
        sys.setrecursionlimit(depth)


def _failure(code: int, position: Any, message: str) -> Body:
    return {"err": code, "position": position if isinstance(position, int) else 0, "message": message[:300]}


def encoded(body: Body) -> bytes:
    """Compact JSON. Raises ValueError and TypeError for what JSON has not."""
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
