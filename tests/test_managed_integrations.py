"""The managed-integrations dialect: bodies as they are published, and nothing that a stranger sends gets further than a typed error."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.dialect import MalformedMessage
from agent.cloud.managed_integrations import ManagedIntegrations
from agent.requests import (
    CommandRequest,
    ConfigureHub,
    ConfigureLogs,
    Deprovision,
    Kind,
    Message,
    OffboardHub,
    Onboard,
    PreAssociate,
    RejectedCommand,
    SetNetworkMode,
    StartDiscovery,
    StateQuery,
    StopDiscovery,
)

DIALECT = ManagedIntegrations("main", "hub-1")
SETUP, CONTROL = "south/hub-1/setup", "south/hub-1/control"
LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return LEAF | st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)


JSON = nested(nested(nested(LEAF)))
KEYS = st.sampled_from(
    [
        "version",
        "messageId",
        "messageType",
        "timestamp",
        "managedThingId",
        "traceId",
        "expiresAt",
        "payload",
        "Endpoints",
        "endpointId",
        "capabilities",
        "actions",
    ]
)


def down(kind: str, payload: Any, **more: Any) -> bytes:
    return json.dumps(
        {"version": "1.0.0", "messageId": "m-1", "messageType": kind, "payload": payload, **more}
    ).encode()


def decode(topic: str, kind: str, payload: Any, *, retained: bool = False, **more: Any) -> Any:
    return DIALECT.decode(topic, down(kind, payload, **more), retained=retained)


def body(message_kind: Kind, content: Any, **more: Any) -> dict[str, Any]:
    message = Message(1, "main", message_kind, "thing-1", more.get("trace", ""), content, 1.7e9, "trusted", "b", 1.0)
    (publication, *_) = DIALECT.encode(message, "id-1", more.get("shift", 0.0))
    made: dict[str, Any] = json.loads(publication.payload)
    return made


@given(st.binary(max_size=300), st.sampled_from([SETUP, CONTROL, "south/hub-2/control"]), st.booleans())
def test_any_bytes_are_refused_by_name(payload: bytes, topic: str, retained: bool) -> None:  # noqa: FBT001
    with pytest.raises(MalformedMessage):
        DIALECT.decode(topic, payload, retained=retained)


@given(
    kind=st.sampled_from(
        ["COMMAND", "STATE_QUERY", "START_DISCOVERY", "PRE_ASSOCIATE", "DEPROVISION", "NETWORK_MODE", "X"]
    ),
    payload=JSON | st.dictionaries(KEYS, JSON, max_size=6),
    more=st.dictionaries(KEYS, JSON, max_size=3),
    topic=st.sampled_from([SETUP, CONTROL]),
)
def test_any_json_is_a_request_or_refused(kind: str, payload: Any, more: dict[str, Any], topic: str) -> None:
    envelope = {"version": "1.0.0", "messageId": "m", "messageType": kind, "payload": payload, **more}
    with contextlib.suppress(MalformedMessage):
        assert DIALECT.decode(topic, json.dumps(envelope).encode(), retained=False)


@pytest.mark.parametrize(
    ("topic", "kind", "payload", "expected"),
    [
        (
            SETUP,
            "START_DISCOVERY",
            {"deviceDiscoveryId": "d", "discoveryType": "ZIGBEE"},
            StartDiscovery("d", "ZIGBEE", 180, "main"),
        ),
        (
            SETUP,
            "START_DISCOVERY",
            {"deviceDiscoveryId": "d", "discoveryType": "CUSTOM", "customProtocolDetail": {"Name": "CoAP"}},
            StartDiscovery("d", "COAP", 180, "main"),
        ),
        (
            SETUP,
            "START_DISCOVERY",
            {"deviceDiscoveryId": "d", "discoveryType": "CUSTOM", "customProtocolDetail": {"Name": "Matter"}},
            StartDiscovery("d", "CUSTOM", 180, "main"),
        ),
        (SETUP, "STOP_DISCOVERY", {"deviceDiscoveryId": "d"}, StopDiscovery("d")),
        (SETUP, "DEVICE_ONBOARDED", {"nodeId": "zb.1+2", "managedThingId": "t"}, Onboard("zb.1+2", "t")),
        (SETUP, "DEPROVISION", {"nodeId": "zb.1+2", "force": True}, Deprovision("zb.1+2", True, "main")),
        (SETUP, "NETWORK_MODE", {"hubNetworkMode": "STANDARD"}, SetNetworkMode("STANDARD")),
        (CONTROL, "STATE_QUERY", {"refresh": False}, StateQuery("", False)),
        (SETUP, "OFFBOARD_HUB", {"managedThingId": "hub-1"}, OffboardHub()),
        (CONTROL, "HUB_CONFIGURATION", {"HubTokenTimerExpirySettingInSeconds": 600}, ConfigureHub(600)),
        (
            CONTROL,
            "RUNTIME_LOG_CONFIGURATION",
            {"RuntimeLogConfigurations": {"LogLevel": "INFO", "UploadLog": True}},
            ConfigureLogs({"LogLevel": "INFO", "UploadLog": True}),
        ),
        (CONTROL, "RUNTIME_LOG_CONFIGURATION", {"RuntimeLogConfigurations": {}}, ConfigureLogs({})),
    ],
)
def test_requests_are_read(topic: str, kind: str, payload: Any, expected: Any) -> None:
    assert decode(topic, kind, payload) == expected


@pytest.mark.parametrize(
    ("topic", "kind", "payload", "words"),
    [
        (SETUP, "OFFBOARD_HUB", {"managedThingId": "hub-2"}, "this is hub hub-1"),
        (SETUP, "OFFBOARD_HUB", {}, "managedThingId"),
        (CONTROL, "HUB_CONFIGURATION", {"HubTokenTimerExpirySettingInSeconds": 0}, "HubTokenTimer"),
        (CONTROL, "RUNTIME_LOG_CONFIGURATION", {"RuntimeLogConfigurations": {"LogLevel": "LOUD"}}, "LogLevel"),
        (SETUP, "HUB_CONFIGURATION", {"HubTokenTimerExpirySettingInSeconds": 1}, "unknown messageType"),
    ],
)
def test_what_a_hub_is_told_wrongly_is_named(topic: str, kind: str, payload: Any, words: str) -> None:
    with pytest.raises(MalformedMessage, match=words):
        decode(topic, kind, payload)


def test_a_pre_association_carries_its_material_as_a_discovery() -> None:
    read = decode(SETUP, "PRE_ASSOCIATE", {"managedThingId": "t", "authenticationMaterial": "Z:00$I:11"})
    assert isinstance(read, PreAssociate)
    assert (read.managed_thing_id, read.discovery.material) == ("t", "Z:00$I:11")


@pytest.mark.parametrize(
    ("kind", "material", "radio"),
    [
        ("ZWAVE_QR_BAR_CODE", "90", "ZWAVE"),
        ("CUSTOM_PROTOCOL_QR_BAR_CODE", "coaps://192.0.2.7?identity=hub&psk=00", "COAP"),
        ("CUSTOM_PROTOCOL_QR_BAR_CODE", "A4:C1:38:00:00:07=123456", "BLE"),
    ],
)
def test_a_code_goes_to_the_radio_that_it_is_for(kind: str, material: str, radio: str) -> None:
    payload = {"managedThingId": "t", "authenticationMaterial": material, "authenticationMaterialType": kind}
    assert decode(SETUP, "PRE_ASSOCIATE", payload).discovery.kind == radio


def command(**more: Any) -> Any:
    actions = [{"name": "UpdateState", "parameters": {"OnTime": 5}}]
    endpoints = [
        {
            "endpointId": "1",
            "capabilities": [{"id": "matter.OnOff@1.4", "name": "On/Off", "version": "1", "actions": actions}],
        }
    ]
    return decode(
        CONTROL,
        "COMMAND",
        {"Endpoints": endpoints, **more.pop("payload", {})},
        managedThingId="t",
        traceId="tr",
        **more,
    )


def test_the_public_command_body_is_a_command() -> None:
    read = command(expiresAt="2027-01-01T00:00:00Z")
    assert isinstance(read, CommandRequest)
    assert (read.trace_id, read.device, read.expires_at) == ("tr", "t", 1798761600.0)
    assert dict(read.actions[0].parameters) == {"OnTime": 5}
    assert command(payload={"expiresAt": "1798761600000"}).expires_at == 1798761600.0
    assert command(retained=True).retained


@pytest.mark.parametrize(
    "payload", [{}, {"Endpoints": []}, {"Endpoints": [{"endpointId": "!"}]}, {"expiresAt": "soon"}]
)
def test_a_bad_command_is_answered(payload: Any) -> None:
    base = {
        "Endpoints": [{"endpointId": "1", "capabilities": [{"id": "matter.OnOff@1.4", "actions": [{"name": "On"}]}]}]
    }
    read = decode(CONTROL, "COMMAND", {**base, **payload} if payload else {}, traceId="tr")
    assert isinstance(read, RejectedCommand)
    assert (read.request.trace_id, read.code) == ("tr", 400)


def test_commands_and_settings_stay_on_their_topics_and_retained_settings_are_refused() -> None:
    with pytest.raises(MalformedMessage):
        decode(SETUP, "COMMAND", {}, traceId="tr")
    with pytest.raises(MalformedMessage):
        decode(CONTROL, "NETWORK_MODE", {"mode": "STANDARD"})
    with pytest.raises(MalformedMessage, match="retained"):
        decode(SETUP, "STOP_DISCOVERY", {"deviceDiscoveryId": "d"}, retained=True)


def test_state_has_the_public_shape_and_back_dated_times() -> None:
    made = body(
        Kind.STATE,
        [["1", "matter.OnOff@1.4", "OnOff", True, 1.7e9], ["2", "matter.OnOff@1.4", "OnOff", False, 1.7e9]],
        shift=60.0,
    )
    first, second = made["payload"]["addedStates"]["endpoints"]
    assert (made["messageType"], made["managedThingId"], made["timestamp"]) == (
        "DEVICE_STATE",
        "thing-1",
        "2023-11-14T22:14:20.000Z",
    )
    assert first["capabilities"] == [
        {
            "id": "matter.OnOff@1.4",
            "name": "On/Off",
            "version": "6",
            "properties": [
                {"name": "OnOff", "value": {"propertyValue": True, "lastChangedAt": "2023-11-14T22:14:20.000Z"}}
            ],
        }
    ]
    assert second["endpointId"] == "2"


def test_an_outcome_says_what_each_action_answered() -> None:
    result = {
        "endpoint": "1",
        "capability": "matter.OnOff@1.4",
        "action": "On",
        "code": 504,
        "error": "no answer",
        "values": {},
    }
    content = {"received": 1.7e9, "ended": 1.7e9 + 1, "succeeded": False, "error": "", "code": 200, "results": [result]}
    made = body(Kind.OUTCOME, content, trace="tr")
    assert (made["traceId"], made["payload"]["traceId"], made["payload"]["result"]) == ("tr", "tr", "failed")
    action = made["payload"]["endpoints"][0]["capabilities"][0]["actions"][0]
    assert action == {"name": "On", "responseCode": 504, "errors": [{"code": "504", "message": "no answer"}]}


def test_a_deleted_device_leaves_no_retained_message() -> None:
    content = {"status": "DELETED", "nodeId": "zb.1+2", "reason": "left", "at": 1.7e9}
    message = Message(1, "main", Kind.LIFECYCLE, "thing-1", "", content, 1.7e9, "trusted", "b", 1.0)
    told, cleared = DIALECT.encode(message, "id-1", 0.0)
    assert not told.retain
    assert (cleared.topic, cleared.payload, cleared.retain) == (told.topic, b"", True)
