"""Lists of nRF Cloud's REST API, a page at a time: `{"items", "total", "pageNextToken"?}`. PURE."""

from collections.abc import Iterable
from typing import Any

from agent.sim.exchange import Query
from agent.sim.nrf.answers import BAD_REQUEST, NrfError

PAGE, MOST = 10, 100  # entries of an answer: when the caller names no number, and never more


def first(query: Query, name: str, default: str = "") -> str:
    """The first value of a query parameter."""
    return query.get(name, (default,))[0]


def flag(query: Query, name: str, *, default: bool) -> bool:
    """A query parameter that is true or false; 1 and 0 count too. Raises NrfError."""
    text = first(query, name).lower()
    if text not in ("", "true", "false", "1", "0"):
        raise NrfError(BAD_REQUEST, f"{name} is true or false")
    return default if not text else text in ("true", "1")


def page(found: Iterable[Any], query: Query) -> dict[str, Any]:
    """The page that `pageLimit` and `pageNextToken` ask for. `total` counts the entries of this page. Raises NrfError."""
    entries = list(found)
    try:
        limit, start = min(int(first(query, "pageLimit", str(PAGE))), MOST), int(first(query, "pageNextToken", "0"))
    except ValueError:
        limit = start = -1
    if limit < 1 or start < 0:
        raise NrfError(BAD_REQUEST, f"pageLimit is 1 to {MOST}, pageNextToken one of an answer")
    items = entries[start : start + limit]
    answer = {"items": items, "total": len(items)}
    return {**answer, "pageNextToken": str(start + limit)} if len(entries) > start + limit else answer
