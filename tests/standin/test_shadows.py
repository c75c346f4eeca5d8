"""Device shadows: the AWS IoT Device SDK against the stand-in, and the rules of documents and versions as properties."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from awsiot import iotidentity, iotshadow
from hypothesis import given
from hypothesis import strategies as st
from standin_device import PATIENCE, QOS, Device, from_csr, listen, register
from standin_rig import Cloud

from agent.sim.iot.shadows import Shadows
from agent.sim.managed_integrations.world import INDEXED
from agent.sim.records import Records

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
NO_JSON = [  # what Python takes for JSON, or cannot hold
    b'{"state":{"reported":{"a":%s}}}' % value
    for value in (
        b"NaN",
        b"-Infinity",
        b"1e999",
        b'"\\ud800"',
        b"[" * 600 + b"]" * 600,
        b'{"a":' * 600 + b"1" + b"}" * 600,
    )
]
UPDATES = st.lists(st.tuples(st.sampled_from(("desired", "reported")), SECTIONS), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def hub(cloud: Cloud) -> Iterator[tuple[str, iotshadow.IotShadowClient]]:
    """A provisioned hub's thing name, and its shadow client."""
    thing = cloud.hub("HUB-SHADOW-01")
    made = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="shadows")
    claim = Device(cloud, made["ClaimCertificate"], made["ClaimCertificatePrivateKey"], "claim-shadows")
    identity = iotidentity.IotIdentityClient(claim.connection)
    certificate, key = from_csr(identity)
    accepted, _ = register(identity, "shadows", certificate.certificate_ownership_token, "HUB-SHADOW-01")
    accepted.result(PATIENCE)
    claim.stop()
    device = Device(cloud, certificate.certificate_pem, key, thing)
    yield thing, iotshadow.IotShadowClient(device.connection)
    device.stop()


@pytest.mark.conformance
def test_a_desired_value_comes_as_a_delta_until_it_is_reported(hub: tuple[str, iotshadow.IotShadowClient]) -> None:
    thing, shadow = hub
    delta = listen(
        shadow.subscribe_to_shadow_delta_updated_events,
        iotshadow.ShadowDeltaUpdatedSubscriptionRequest(thing_name=thing),
    )
    accepted = listen(
        shadow.subscribe_to_update_shadow_accepted, iotshadow.UpdateShadowSubscriptionRequest(thing_name=thing)
    )
    state = iotshadow.ShadowState(desired={"mode": "away", "limit": 5}, reported={"limit": 5})
    shadow.publish_update_shadow(iotshadow.UpdateShadowRequest(thing_name=thing, state=state, client_token="t1"), QOS)
    assert (accepted.result(PATIENCE).version, accepted.result(PATIENCE).client_token) == (1, "t1")
    assert (delta.result(PATIENCE).state, delta.result(PATIENCE).version) == ({"mode": "away"}, 1)
    found = listen(shadow.subscribe_to_get_shadow_accepted, iotshadow.GetShadowSubscriptionRequest(thing_name=thing))
    shadow.publish_get_shadow(iotshadow.GetShadowRequest(thing_name=thing), QOS)
    assert found.result(PATIENCE).state.delta == {"mode": "away"}


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("version", "document", "code"),
    [
        (7, {"a": 1}, 409),
        (None, {"a": "x" * 8200}, 413),
        (None, {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}, 400),
    ],
)
def test_what_a_shadow_does_not_take_is_rejected(
    hub: tuple[str, iotshadow.IotShadowClient], version: int | None, document: dict[str, Any], code: int
) -> None:
    thing, shadow = hub
    name = f"limits-{code}"
    wanted = iotshadow.UpdateNamedShadowSubscriptionRequest(thing_name=thing, shadow_name=name)
    rejected = listen(shadow.subscribe_to_update_named_shadow_rejected, wanted)
    state = iotshadow.ShadowState(reported=document)
    request = iotshadow.UpdateNamedShadowRequest(thing_name=thing, shadow_name=name, state=state, version=version)
    shadow.publish_update_named_shadow(request, QOS)
    assert rejected.result(PATIENCE).code == code


def without_nulls(value: Any) -> Any:
    """A document as a shadow holds it: no nulls, no empty objects."""
    if not isinstance(value, dict):
        return value
    held = {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return {key: entry for key, entry in held.items() if entry != {}}


def merged(before: Any, change: Any) -> Any:
    """RFC 7386, which is what a shadow does with each section."""
    if not isinstance(change, dict):
        return change
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(UPDATES)
def test_sections_merge_as_json_merge_patches_and_versions_count(updates: list[tuple[str, dict[str, Any]]]) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    clock = iter(range(10**6))
    wanted: dict[str, Any] = {"desired": {}, "reported": {}}
    with closing(Records(None, ())) as records:
        shadows = Shadows(records, lambda: float(next(clock)), lambda topic, body: told.append((topic, body)))
        for part, section in updates:
            wanted[part] = without_nulls(merged(wanted[part], section))
            shadows.request("t", ("update",), json.dumps({"state": {part: section}}).encode())
        shadows.request("t", ("get",), b"")
    topic, found = told[-1]
    assert topic == "$aws/things/t/shadow/get/accepted"
    assert {part: found["state"].get(part, {}) for part in wanted} == wanted
    assert found["version"] == len(updates)


@pytest.mark.parametrize(("name", "code"), [("s" * 64, 404), ("s" * 65, 400), ("$a:b_c-1", 404), ("a b", 400)])
def test_a_shadow_has_a_name_of_at_most_64_letters_and_digits(name: str, code: int) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    with closing(Records(None, INDEXED)) as records:
        shadows = Shadows(records, lambda: 1.0, lambda topic, body: told.append((topic, body)))
        shadows.request("t", ("name", name, "get"), b"")
    ((topic, body),) = told
    assert (topic, body["code"]) == (f"$aws/things/t/shadow/name/{name}/get/rejected", code)


@given(st.binary(max_size=60) | st.sampled_from(NO_JSON))
def test_any_payload_is_answered(payload: bytes) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    with closing(Records(None, INDEXED)) as records:
        shadows = Shadows(records, lambda: 1.0, lambda topic, body: told.append((topic, body)))
        shadows.request("t", ("name", "n", "update"), payload)
    assert told[-1][0].startswith("$aws/things/t/shadow/name/n/update/")
