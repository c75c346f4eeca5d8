"""Answers and errors of nRF Cloud's REST API: `{"code", "message"}`, with codes that begin with the HTTP status."""

import json
from typing import Any

from agent.sim.exchange import Answer, read_json

BAD_REQUEST, DENIED, NOT_ASSOCIATED, BAD_OWNERSHIP = 40000, 40100, 40103, 40102
NOT_FOUND, NOT_CONNECTED, INVALID, INTERNAL = 40410, 40412, 42200, 50000
_JSON = {"Content-Type": "application/json"}


class NrfError(Exception):
    """A request that ends with an error; `code` is nRF Cloud's."""

    def __init__(self, code: int, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or code // 100


def answer(status: int, body: Any = None) -> Answer:
    return Answer(status) if body is None else Answer(status, json.dumps(body).encode(), _JSON)


def refusal(error: NrfError) -> Answer:
    return answer(error.status, {"code": error.code, "message": str(error)})


def json_body(body: bytes) -> Any:
    """The JSON of a request. Raises NrfError."""
    try:
        return read_json(body)
    except (ValueError, RecursionError):
        raise NrfError(BAD_REQUEST, "the body is not JSON") from None


def object_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises NrfError."""
    found = json_body(body)
    if not isinstance(found, dict):
        raise NrfError(BAD_REQUEST, "the body is not a JSON object")
    return found
