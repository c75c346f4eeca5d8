"""What pydantic found wrong, in the words of the person who wrote the file: reason and remedy. PURE.

A given value is shown only where it cannot be a secret: a number out of its range, a word that is not in a short list.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

MAX_SHOWN = 32

_TABLE = ("must be a table", "write its keys below a [header], or as { key = value }")
_TYPES: Mapping[str, tuple[str, str]] = {
    "int_type": ("must be a whole number", "write digits without quotes"),
    "int_from_float": ("must be a whole number", "write digits without a point"),
    "int_parsing": ("must be a whole number", "write digits without quotes"),
    "float_type": ("must be a number", "write it without quotes"),
    "finite_number": ("must be a finite number", "write a number"),
    "bool_type": ("must be true or false", "write true or false without quotes"),
    "bool_parsing": ("must be true or false", "write true or false without quotes"),
    "string_type": ("must be a text", "put it in quotes"),
    "list_type": ("must be an array", 'write ["one", "two"]'),
    "tuple_type": ("must be an array", 'write ["one", "two"]'),
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
}
_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_BOUNDS = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
_WORDS = re.compile(r"'([^']*)'")


def explain(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """(reason, remedy) for one pydantic error of `model`."""
    kind, loc = error["type"], error["loc"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(str(loc[-1]), known_keys(model, loc[:-1]))
    if kind == "missing":
        return "is missing", f"add it: {_meaning(model, loc) or 'the driver needs it'}"
    if kind == "literal_error":
        return _not_in_list(error["input"], _WORDS.findall(str(context.get("expected", ""))))
    if kind in _RANGE:
        return f"{_shown(error['input'])} is out of range", _range(model, loc, error["msg"])
    if kind in _TYPES:
        return _TYPES[kind]
    remedy = str(context.get("remedy", "")) or _meaning(model, loc)
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return reason, remedy or "see config/agent.toml"


def unknown_key(name: str, known: Sequence[str]) -> tuple[str, str]:
    """(reason, remedy) for a key that nobody reads."""
    return "unknown key", _suggestion(name, known, "known keys")


def known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys that the table at `loc` may have; none when any name is allowed there."""
    inner: Any = model
    for part in loc:
        inner = _inside(inner, part)
    return [field.alias or name for name, field in inner.model_fields.items()] if _is_model(inner) else []


def _not_in_list(given: object, words: Sequence[str]) -> tuple[str, str]:
    reason = f"{_shown(given)} is not one of its values"
    if not isinstance(given, str) and str(given) in words:
        return "must be a text", f'put it in quotes: "{given}"'
    return reason, _suggestion(str(given), words, "one of")


def _suggestion(given: str, known: Sequence[str], label: str) -> str:
    everything = f"{label}: {', '.join(known) or 'none'}"
    close = get_close_matches(given.lower(), known, 1, 0.6)
    return f'did you mean "{close[0]}"? {everything}' if close else everything


def _range(model: type[BaseModel], loc: Sequence[str | int], default: str) -> str:
    field = _field(model, loc)
    metadata = field.metadata if field else []
    bounds = [
        f"{word} {_number(getattr(item, name))}" for name, word in _BOUNDS for item in metadata if hasattr(item, name)
    ]
    return " and ".join(bounds) or default


def _meaning(model: type[BaseModel], loc: Sequence[str | int]) -> str:
    field = _field(model, loc)
    return field.description or "" if field else ""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(given: object) -> str:
    text = repr(given) if isinstance(given, str) else str(given)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _field(model: type[BaseModel], loc: Sequence[str | int]) -> FieldInfo | None:
    inner: Any = model
    for part in loc[:-1]:
        inner = _inside(inner, part)
    return _fields(inner).get(str(loc[-1])) if loc and _is_model(inner) else None


def _inside(annotation: Any, part: str | int) -> Any:
    """The type of the member `part` of a model, dict or list type; None where it cannot be told."""
    if _is_model(annotation):
        field = _fields(annotation).get(str(part))
        return _bare(field.annotation) if field else None
    arguments = get_args(annotation)
    if get_origin(annotation) in (dict, list, tuple) and arguments:
        return _bare(arguments[-1])
    return None


def _bare(annotation: Any) -> Any:
    """Without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    models = [argument for argument in get_args(annotation) if _is_model(argument)]
    return models[0] if len(models) == 1 and get_origin(annotation) not in (dict, list, tuple) else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}
