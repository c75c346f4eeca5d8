"""A REST API that is described by botocore's service model: routes, requests, constraints, answers and errors. PURE.

The model is the vendor's own (the file that boto3 reads), so that what a client of the vendor sends is understood, and what the vendor
would refuse is refused, without a table of ours. Protocol `rest-json`: https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel, ServiceModel, Shape

from agent.sim.exchange import Answer, Query, read_json

_PYTHON_WORDS = (("\\x{0022}", '"'), ("\\p{L}", "a-zA-Z\u00c0-\uffff"), ("\\p{N}", "0-9"))  # Java's regular expressions
_SCALARS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "map": (dict,),
    "list": (list,),
    "structure": (dict,),
}


class AwsError(Exception):
    """An error of the service: `code` is the model's exception name, `extra` its further fields."""

    def __init__(self, code: str, message: str, **extra: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extra = extra


@dataclass(frozen=True, slots=True)
class Route:
    """An operation and the labels of its path. `name` is the operation in snake case, as boto3 calls it."""

    operation: OperationModel
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        return str(xform_name(self.operation.name))


class RestJson:
    """The model of one service, by the name that boto3 gives it."""

    def __init__(self, service: str) -> None:
        self.model: ServiceModel = botocore.session.get_session().get_service_model(service)
        self._routes = [self._compile(name) for name in self.model.operation_names]
        self.names = tuple(str(xform_name(name)) for name in self.model.operation_names)

    def _compile(self, name: str) -> tuple[str, re.Pattern[str], OperationModel]:
        operation = self.model.operation_model(name)
        path = re.split(r"\{([^}]+)\}", operation.http["requestUri"])
        pattern = "".join(f"(?P<{part}>[^/]+)" if place % 2 else re.escape(part) for place, part in enumerate(path))
        return operation.http["method"], re.compile(pattern), operation

    def route(self, method: str, raw_path: str) -> Route | None:
        """The operation of a request; `raw_path` is still percent-encoded, so that a label may hold a slash."""
        for verb, pattern, operation in self._routes:
            found = pattern.fullmatch(raw_path) if verb == method else None
            if found is not None:
                return Route(operation, {label: unquote(value) for label, value in found.groupdict().items()})
        return None

    def read(self, route: Route, query: Query, body: bytes) -> dict[str, Any]:
        """The request's members by name, checked. Raises AwsError `ValidationException` (or the model's twin of it)."""
        shape = route.operation.input_shape
        if shape is None:
            return {}
        values = _from_body(body)
        found: dict[str, Any] = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            location = member.serialization.get("location")
            value: Any = None
            if location == "uri":
                value = route.labels.get(wire)
            elif location == "querystring":
                value = _from_query(name, member, query.get(wire, ()))
            elif location is None:
                value = values.get(wire)
            if value is not None:
                found[name] = value
        problems = _problems(shape, found, "")
        if problems:
            raise AwsError("ValidationException", _sentence(problems))
        return found

    def check(self, shape: str, value: Any) -> None:
        """Check a value against a named shape. Raises AwsError `ValidationException` with the place."""
        problems = _problems(self.model.shape_for(shape), value, "")
        if problems:
            raise AwsError("ValidationException", _sentence(problems))

    def write(self, route: Route, result: Mapping[str, Any] | None) -> Answer:
        """The answer of an operation that succeeded; members that the model lacks are a bug (KeyError)."""
        shape = route.operation.output_shape
        status = int(route.operation.http.get("responseCode", 200))
        if shape is None or result is None:
            return Answer(status)
        body = json.dumps(_plain(shape, result), separators=(",", ":")).encode()
        return Answer(status, body, {"Content-Type": "application/json"})

    def refuse(self, route: Route | None, error: AwsError) -> Answer:
        """The answer of an operation that failed, with the code that the operation's model has for it; 404 without an operation."""
        code = error.code
        if route is not None:
            code = _named(code, [shape.name for shape in route.operation.error_shapes])
        known = code in self.model.shape_names
        status = self.model.shape_for(code).metadata["error"]["httpStatusCode"] if known else 404
        body = json.dumps({"Message": error.message, **error.extra}).encode()
        return Answer(int(status), body, {"Content-Type": "application/json", "x-amzn-ErrorType": code})


def _named(code: str, names: Sequence[str]) -> str:
    """The operation's own name of an error: a few use a twin."""
    twins = {"ValidationException": "InvalidRequestException", "InternalServerException": "InternalFailureException"}
    return twins[code] if code not in names and twins.get(code) in names else code


def _from_body(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        values = read_json(body)
    except (ValueError, RecursionError):
        raise AwsError("ValidationException", "the body is not JSON") from None
    if not isinstance(values, dict):
        raise AwsError("ValidationException", "the body is not a JSON object")
    return values


def _from_query(name: str, shape: Shape, texts: Sequence[str]) -> Any:
    if not texts:
        return None
    if shape.type_name == "list":
        return list(texts)
    text = texts[0]
    if shape.type_name == "boolean":
        if text not in ("true", "false"):
            raise AwsError("ValidationException", _sentence([f"Value '{text}' at '{name}' must be true or false"]))
        return text == "true"
    if shape.type_name in ("integer", "long"):
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise AwsError("ValidationException", _sentence([f"Value at '{name}' must be an integer"]))
        return int(text)
    return text


# ---- constraints --------------------------------------------------------------------------------------------------------


def _problems(shape: Shape, value: Any, place: str) -> list[str]:
    """What is wrong with `value`, each with its place, in the words of the vendor's services."""
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return []
    wanted = _SCALARS.get(kind)
    if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean")):
        return [f"Value at '{place}' failed to satisfy constraint: Member must be of type {kind}"]
    problems = _own_problems(shape, value, place)
    if kind == "structure":
        problems += _member_problems(shape, value, place)
    elif kind == "list":
        for number, entry in enumerate(value, 1):
            problems += _problems(shape.member, entry, f"{place}.{number}.member")
    elif kind == "map":
        for key, entry in value.items():
            problems += _problems(shape.key, key, f"{place}.key") + _problems(shape.value, entry, f"{place}.{key}")
    return problems


def _member_problems(shape: Shape, value: Mapping[str, Any], place: str) -> list[str]:
    problems = []
    for name, member in shape.members.items():
        inside = f"{place}.{name}" if place else name
        given = value.get(name)
        if given is not None:
            problems += _problems(member, given, inside)
        elif name in shape.required_members:
            problems.append(f"Value at '{inside}' failed to satisfy constraint: Member must not be null")
    return problems


def _own_problems(shape: Shape, value: Any, place: str) -> list[str]:
    rules, problems = shape.metadata, []
    number = shape.type_name in ("integer", "long", "float", "double")
    size = value if number else len(value) if isinstance(value, str | list | dict) else 0
    what = "value" if number else "length"
    if "min" in rules and size < rules["min"]:
        problems.append(f"Member must have {what} greater than or equal to {rules['min']}")
    if "max" in rules and size > rules["max"]:
        problems.append(f"Member must have {what} less than or equal to {rules['max']}")
    enum = getattr(shape, "enum", None)
    if enum and value not in enum:
        problems.append(f"Member must satisfy enum value set: [{', '.join(enum)}]")
    if isinstance(value, str) and "pattern" in rules and not _pattern(rules["pattern"]).fullmatch(value):
        problems.append(f"Member must satisfy regular expression pattern: {rules['pattern']}")
    shown = "***" if rules.get("sensitive") else str(value)[:64]
    return [f"Value '{shown}' at '{place}' failed to satisfy constraint: {problem}" for problem in problems]


@cache
def _pattern(text: str) -> re.Pattern[str]:
    for java, python in _PYTHON_WORDS:
        text = text.replace(java, python)
    return re.compile(text)


def _sentence(problems: Sequence[str]) -> str:
    errors = "error" if len(problems) == 1 else "errors"
    return f"{len(problems)} validation {errors} detected: {'; '.join(problems)}"


# ---- answers ------------------------------------------------------------------------------------------------------------


def _plain(shape: Shape, value: Any) -> Any:
    """`value` as JSON: times as seconds since 1970, absent members left out."""
    if getattr(shape, "is_document_type", False):
        return value
    if shape.type_name == "structure":
        return {
            shape.members[name].serialization.get("name", name): _plain(shape.members[name], entry)
            for name, entry in value.items()
            if entry is not None
        }
    if shape.type_name == "list":
        return [_plain(shape.member, entry) for entry in value]
    if shape.type_name == "map":
        return {key: _plain(shape.value, entry) for key, entry in value.items()}
    if shape.type_name == "timestamp" and shape.serialization.get("timestampFormat") == "iso8601":
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    return value
