"""Capability schema documents: loading, and checks of reports, commands and events against them. PURE after the load.

A document is JSON in the grammar of AWS IoT managed integrations (capability definitions: `$id`, `properties`, `actions`, `events`), named and
scaled as the Matter 1.4 cluster. Values are checked with the subset of JSON schema that the documents use, compiled to closures: a full
validator would cost more than the rest of a report's way. tests/test_capabilities.py holds the two equal.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

READ_STATE, UPDATE_STATE = "ReadState", "UpdateState"

Check = Callable[[Any], str]  # the reason, empty when the value fits


class CapabilityError(ValueError):
    """A report, action or event does not fit its document; the text names the place and the reason."""


@dataclass(frozen=True, slots=True)
class Property:
    check: Check
    mutable: bool


@dataclass(frozen=True, slots=True)
class CapabilitySchema:
    """One document, compiled. `version` is the cluster revision as text."""

    id: str
    name: str
    version: str
    properties: Mapping[str, Property]
    actions: Mapping[str, Mapping[str, tuple[Check, bool]]]  # parameter -> (check, required)
    events: Mapping[str, Mapping[str, Check]]


@cache
def load(identifier: str) -> CapabilitySchema:
    """The compiled document of `matter.OnOff@1.4`. Raises CapabilityError when there is none."""
    return compile_document(identifier, document(identifier))


@cache
def document(identifier: str) -> Any:
    """The schema document of `matter.OnOff@1.4`, as JSON. Raises CapabilityError when there is none."""
    name = identifier.partition("@")[0].partition(".")[2]
    file = resources.files("agent.schema") / "capabilities" / f"{name}.json"
    if not name.isalnum() or not file.is_file():
        raise CapabilityError(f"no schema document for {identifier!r}")
    found = json.loads(file.read_text(encoding="utf-8"))
    if found["$id"].rpartition("/")[2] != identifier:
        raise CapabilityError(f"no schema document for {identifier!r}: this version has {found['$id']}")
    return found


def known() -> tuple[str, ...]:
    """The ids of all shipped documents."""
    folder = resources.files("agent.schema") / "capabilities"
    names = [file.name for file in folder.iterdir() if file.name.endswith(".json")]
    documents = [json.loads((folder / name).read_text(encoding="utf-8")) for name in sorted(names)]
    return tuple(document["$id"].rpartition("/")[2] for document in documents)


def compile_document(identifier: str, source: Mapping[str, Any]) -> CapabilitySchema:
    """A document's checks, once."""
    properties = {
        name: Property(compile_check(body["value"]), body.get("mutable", False))
        for name, body in source.get("properties", {}).items()
    }
    actions = {
        action["name"]: {
            name: (compile_check(body["value"]), name in action["request"].get("required", ()))
            for name, body in action.get("request", {}).get("parameters", {}).items()
        }
        for action in source.get("actions", ())
    }
    events = {
        event["name"]: {name: compile_check(body["value"]) for name, body in event.get("parameters", {}).items()}
        for event in source.get("events", ())
    }
    return CapabilitySchema(identifier, source["name"], source["extrinsicVersion"], properties, actions, events)


def validate_report(identifier: str, values: Mapping[str, Any]) -> None:
    """Check reported properties. Raises CapabilityError."""
    properties = load(identifier).properties
    for name, value in values.items():
        found = properties.get(name)
        if found is None:
            raise CapabilityError(f"{identifier} has no property {name!r}")
        reason = found.check(value)
        if reason:
            raise CapabilityError(f"{identifier}.{name}: {reason}")


def validate_event(identifier: str, event: str, fields: Mapping[str, Any]) -> None:
    """Check an event and its fields. Raises CapabilityError."""
    parameters = load(identifier).events.get(event)
    if parameters is None:
        raise CapabilityError(f"{identifier} has no event {event!r}")
    for name, value in fields.items():
        if name not in parameters:
            raise CapabilityError(f"{identifier}.{event} has no field {name!r}")
        reason = parameters[name](value)
        if reason:
            raise CapabilityError(f"{identifier}.{event}.{name}: {reason}")


def validate_action(identifier: str, action: str, parameters: Mapping[str, Any]) -> None:
    """Check an action and its parameters; ReadState and UpdateState are part of every capability. Raises CapabilityError."""
    schema = load(identifier)
    if action == READ_STATE:
        _validate_read(schema, parameters)
    elif action == UPDATE_STATE:
        _validate_update(schema, parameters)
    else:
        _validate_own(schema, action, parameters)


def _validate_read(schema: CapabilitySchema, parameters: Mapping[str, Any]) -> None:
    names = parameters.get("propertiesToRead", ["*"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CapabilityError(f"{schema.id}.ReadState.propertiesToRead: not a list of property names")
    for name in names:
        if name != "*" and name not in schema.properties:
            raise CapabilityError(f"{schema.id} has no property {name[:64]!r}")


def _validate_update(schema: CapabilitySchema, parameters: Mapping[str, Any]) -> None:
    if not parameters:
        raise CapabilityError(f"{schema.id}.UpdateState: no property given")
    for name, value in parameters.items():
        found = schema.properties.get(name)
        if found is None:
            raise CapabilityError(f"{schema.id} has no property {name[:64]!r}")
        if not found.mutable:
            raise CapabilityError(f"{schema.id}.{name} cannot be changed")
        reason = found.check(value)
        if reason:
            raise CapabilityError(f"{schema.id}.{name}: {reason}")


def _validate_own(schema: CapabilitySchema, action: str, parameters: Mapping[str, Any]) -> None:
    declared = schema.actions.get(action)
    if declared is None:
        raise CapabilityError(f"{schema.id} has no action {action[:64]!r}")
    for name, value in parameters.items():
        if name not in declared:
            raise CapabilityError(f"{schema.id}.{action} has no parameter {name[:64]!r}")
        reason = declared[name][0](value)
        if reason:
            raise CapabilityError(f"{schema.id}.{action}.{name}: {reason}")
    for name, (_, required) in declared.items():
        if required and name not in parameters:
            raise CapabilityError(f"{schema.id}.{action}: parameter {name} is missing")


# ---- the subset of JSON schema --------------------------------------------------------------------------------------------


def compile_check(schema: Mapping[str, Any]) -> Check:
    """A check for `type` (with `nullable`), minimum, maximum, enum, maxLength, items and properties."""
    inner = _TYPES[schema["type"]](schema)
    if not schema.get("nullable", False):
        return inner
    return lambda value: "" if value is None else inner(value)


def _boolean(_schema: Mapping[str, Any]) -> Check:
    return lambda value: "" if isinstance(value, bool) else "not a boolean"


def _number(schema: Mapping[str, Any]) -> Check:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    allowed = frozenset(schema.get("enum", ()))
    types = (int,) if schema["type"] == "integer" else (int, float)

    def check(value: Any) -> str:
        if not isinstance(value, types) or isinstance(value, bool):
            return f"not of type {schema['type']}"
        if not low <= value <= high:
            return f"{value} is not within {low} and {high}"
        if allowed and value not in allowed:
            return f"{value} is none of {sorted(allowed)}"
        return ""

    return check


def _string(schema: Mapping[str, Any]) -> Check:
    longest = schema.get("maxLength", 1024)
    return lambda value: (
        "not a text" if not isinstance(value, str) else f"longer than {longest}" if len(value) > longest else ""
    )


def _object(schema: Mapping[str, Any]) -> Check:
    fields = {name: compile_check(body) for name, body in schema.get("properties", {}).items()}

    def check(value: Any) -> str:
        if not isinstance(value, dict):
            return "not an object"
        for name, item in value.items():
            reason = fields[name](item) if name in fields else "is not a field"
            if reason:
                return f"{name}: {reason}"
        return ""

    return check


def _array(schema: Mapping[str, Any]) -> Check:
    item_check = compile_check(schema["items"])

    def check(value: Any) -> str:
        if not isinstance(value, list):
            return "not a list"
        return next((reason for item in value if (reason := item_check(item))), "")

    return check


_TYPES: Mapping[str, Callable[[Mapping[str, Any]], Check]] = {
    "boolean": _boolean,
    "integer": _number,
    "number": _number,
    "string": _string,
    "object": _object,
    "array": _array,
}
