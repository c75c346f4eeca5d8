"""Schema documents: their grammar, and our compiled checks beside a real JSON-schema validator."""

import json
import re
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import capabilities
from agent.capabilities import CapabilityError, compile_check

DOCUMENTS = [
    json.loads(file.read_text())
    for file in sorted((resources.files("agent.schema") / "capabilities").iterdir(), key=lambda f: f.name)
]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text(max_size=80)
) | st.dictionaries(st.sampled_from(["energy", "other"]), st.integers(-5, 5), max_size=2)


def schemas() -> list[Any]:
    found = []
    for document in DOCUMENTS:
        found += [body["value"] for body in document["properties"].values()]
        for action in document["actions"]:
            found += [body["value"] for body in action["request"]["parameters"].values()]
        for event in document["events"]:
            found += [body["value"] for body in event["parameters"].values()]
    return found


def standard(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's nullable, said in JSON schema; fields that are not declared are refused."""
    plain = {key: value for key, value in schema.items() if key != "nullable"}
    if "properties" in plain:
        plain["properties"] = {name: standard(body) for name, body in plain["properties"].items()}
        plain["additionalProperties"] = False
    return {"anyOf": [{"type": "null"}, plain]} if schema.get("nullable") else plain


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d["name"]))
def test_every_document_obeys_the_grammar(document: dict[str, Any]) -> None:
    assert re.fullmatch(
        r"/schema-versions/capability/(matter\.[A-Za-z0-9]+@1\.4|hub\.NumericSensor@1\.0)", document["$id"]
    )
    assert document["$ref"].endswith("aws.capability@1.0")
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9./ -]{0,63}", document["name"])
    assert re.fullmatch(r"0x[0-9A-F]{4}", document["extrinsicId"])
    assert re.fullmatch(r"[0-9]{1,10}", document["extrinsicVersion"])
    assert len(json.dumps(document)) <= 50_000
    names = [
        *document["properties"],
        *(a["name"] for a in document["actions"]),
        *(e["name"] for e in document["events"]),
    ]
    assert all(name.isalnum() for name in names)
    assert document["properties"]
    assert capabilities.load(document["$id"].rpartition("/")[2]).version == document["extrinsicVersion"]


@given(st.data())
def test_our_checks_say_what_a_real_validator_says(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from(schemas()))
    value = data.draw(VALUES | st.integers(schema.get("minimum", 0) - 1, schema.get("maximum", 3) + 1))
    if isinstance(value, float) and value.is_integer():
        return  # JSON schema takes 1.0 for an integer; a device's 1.0 is a mistake of a scaler, and refused
    theirs = jsonschema.Draft202012Validator(standard(schema)).is_valid(value)
    assert (compile_check(schema)(value) == "") is theirs


@pytest.mark.parametrize(
    ("action", "parameters", "good"),
    [
        ("On", {}, True),
        ("OnWithTimedOff", {"OnOffControl": 0, "OnTime": 5, "OffWaitTime": 0}, True),
        ("OnWithTimedOff", {"OnTime": 5}, False),
        ("Explode", {}, False),
        ("On", {"Loud": True}, False),
        ("ReadState", {"propertiesToRead": ["*"]}, True),
        ("ReadState", {"propertiesToRead": ["Nothing"]}, False),
        ("ReadState", {"propertiesToRead": "OnOff"}, False),
        ("UpdateState", {"OnOff": True}, True),
        ("UpdateState", {"OnTime": 70000}, False),
        ("UpdateState", {}, False),
    ],
)
def test_actions_are_checked(action: str, parameters: dict[str, Any], good: bool) -> None:  # noqa: FBT001
    if good:
        capabilities.validate_action("matter.OnOff@1.4", action, parameters)
    else:
        with pytest.raises(CapabilityError):
            capabilities.validate_action("matter.OnOff@1.4", action, parameters)


@pytest.mark.parametrize(
    "identifier", ["matter.Nothing@1.4", "matter.OnOff@9.9", "../../etc/passwd@1.4", "", "matter."]
)
def test_unknown_capabilities_are_refused(identifier: str) -> None:
    with pytest.raises(CapabilityError):
        capabilities.load(identifier)


def test_a_measured_value_cannot_be_changed() -> None:
    with pytest.raises(CapabilityError, match="cannot be changed"):
        capabilities.validate_action("matter.TemperatureMeasurement@1.4", "UpdateState", {"MeasuredValue": 1})
