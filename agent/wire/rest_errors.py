"""What REST services answer instead of success: every shape that is known, declared once.

nRF Cloud (protocol notes, section 1.5): `{"code", "message"}`, a bare list of texts, `{"message": null}` of the gateway before it,
`{"appId", "messageType", "err"}`. AWS CDF: `{"error"}`, or an empty object. The certificate vault (section 8): `{"message", "errors":
{field: [text]}}`, `errors` as a list, and `required_permission`.
"""

import json
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

MOST_ERRORS = 1000  # a bulk has as many as it has entries; the text of an error shows the first few
LONGEST_TEXT = 200  # characters of one text
_DEEPEST = 3  # levels of lists and objects that are looked into for texts


def _code(value: Any) -> Any:
    """A code is a number or a short text; anything else tells nothing."""
    known = isinstance(value, int | str) and not isinstance(value, bool)
    return str(value)[:LONGEST_TEXT] if known and abs(value if isinstance(value, int) else 0) < 10**9 else ""


def _text(value: Any) -> str:
    lines = _lines(value)
    return "; ".join(lines)[: 2 * LONGEST_TEXT]


def _lines(value: Any, depth: int = 0) -> list[str]:
    """The texts of a value, those of an object with their member's name before them."""
    if isinstance(value, str):
        return [value[:LONGEST_TEXT]] if value.strip() else []
    if depth < _DEEPEST and isinstance(value, dict):
        pairs = list(value.items())[:MOST_ERRORS]
        return [f"{name[:LONGEST_TEXT]}: {line}" for name, inner in pairs for line in _lines(inner, depth + 1)][
            :MOST_ERRORS
        ]
    if depth < _DEEPEST and isinstance(value, list):
        return [line for inner in value[:MOST_ERRORS] for line in _lines(inner, depth + 1)][:MOST_ERRORS]
    return [] if value is None or isinstance(value, dict | list) else [str(value)[:LONGEST_TEXT]]


class Refusal(BaseModel):
    """One error answer. Members of an unknown form are empty: a body never fails to be one."""

    model_config = ConfigDict(frozen=True)

    code: Annotated[str, BeforeValidator(_code)] = Field(
        "", validation_alias=AliasChoices("code", "error_code", "err", "__type")
    )
    message: Annotated[str, BeforeValidator(_text)] = Field(
        "", validation_alias=AliasChoices("message", "Message", "error", "error_description", "detail")
    )
    errors: Annotated[tuple[str, ...], BeforeValidator(_lines)] = ()
    required_permission: Annotated[str, BeforeValidator(_text)] = ""


def read_refusal(body: bytes) -> Refusal:
    """The error of an answer's body; an empty one when the body is none of the known shapes."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal()
    if isinstance(found, list):
        return Refusal.model_validate({"errors": found})
    return Refusal.model_validate(found) if isinstance(found, dict) else Refusal()
