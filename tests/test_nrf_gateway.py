"""nRF Cloud's gateway protocol: operations and events in both dialects; a stranger's words get no further than a typed error."""

import contextlib
import json
import math
from typing import Any

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.dialect import MalformedMessage
from agent.cloud.nrf import NrfCloud
from agent.cloud.nrf_gateway import (
    MOST_WANTED,
    Name,
    RefusedOperation,
    address_type,
    addresses,
    connections_change,
    dialect_of,
    is_operation,
    peer_status,
)
from agent.cloud.nrf_gateway_values import attribute
from agent.cloud.nrf_pairing import About, Conversation, Pairing
from agent.requests import Kind, Message
from agent.wire import nrf_gateway as wire

PAIRING = Pairing("hub-1", "prod/tenant/")
ADDRESS, OTHER = "AA:BB:CC:DD:EE:FF", "C0:00:00:00:00:01"
NORDIC = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
JS, LTE = dialect_of("gateway", "hub-1"), dialect_of("lte", "hub-1")
both = pytest.mark.parametrize("dialect", [JS, LTE], ids=["gateway", "lte"])
PLACE = {"deviceAddress": ADDRESS, "serviceUUID": "180F", "characteristicUUID": "2A19"}
OPERATIONS: list[tuple[dict[str, Any], wire.Operation]] = [
    (
        {"type": "scan", "scanTimeout": 3, "scanMode": "active", "scanType": 0, "scanReporting": "instant"},
        wire.Scan(type="scan"),
    ),
    (
        {"type": "scan", "scanTimeout": 0, "scanType": 1, "scanInterval": 5, "filter": {"rssi": -70, "name": "Th"}},
        wire.Scan(
            type="scan",
            scan_timeout=0,
            scan_type=1,
            scan_interval=5,
            filter=wire.ScanFilter(rssi=-70, name="Th"),
        ),
    ),
    (
        {"type": "device_discover", "deviceAddress": ADDRESS.lower()},
        wire.Discover(type="device_discover", device_address=ADDRESS),
    ),
    (
        {"type": "device_characteristic_value_read", **PLACE},
        wire.CharacteristicRead.model_validate({"type": "device_characteristic_value_read", **PLACE}),
    ),
    (
        {"type": "device_characteristic_value_write", **PLACE, "characteristicValue": [1, 255]},
        wire.CharacteristicWrite.model_validate(
            {"type": "device_characteristic_value_write", **PLACE, "characteristicValue": b"\x01\xff"}
        ),
    ),
    (
        {"type": "device_descriptor_value_read", **PLACE, "descriptorUUID": "2901"},
        wire.DescriptorRead.model_validate({"type": "device_descriptor_value_read", **PLACE, "descriptorUUID": "2901"}),
    ),
    (
        {"type": "device_descriptor_value_write", **PLACE, "descriptorUUID": "2902", "descriptorValue": [1, 0]},
        wire.DescriptorWrite.model_validate(
            {"type": "device_descriptor_value_write", **PLACE, "descriptorUUID": "2902", "descriptorValue": b"\x01\x00"}
        ),
    ),
    ({"type": "get_gateway_status"}, wire.GatewayStatus(type="get_gateway_status")),
    ({"type": "delete_yourself"}, wire.DeleteYourself(type="delete_yourself")),
]


def message(operation: Any, **more: Any) -> bytes:
    return json.dumps({"type": "operation", "id": "7", "operation": operation, **more}).encode()


# ---- operations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "meant"), OPERATIONS)
def test_each_operation_is_read_and_the_lte_gateway_finds_a_characteristic_by_its_uuid_alone(
    told: dict[str, Any], meant: wire.Operation
) -> None:
    assert is_operation(message(told))
    assert JS.read("c2g", message(told)) == meant
    alone = meant.model_copy(update={"service_uuid": ""}) if isinstance(meant, wire.AttributeOperation) else meant
    assert LTE.read("c2d", message(told)) == alone


def test_the_dialects_differ_in_what_an_operation_must_have() -> None:
    write = {"type": "device_descriptor_value_write", "deviceAddress": ADDRESS, "characteristicUUID": NORDIC}
    lte = LTE.read("c2d", json.dumps({"type": "operation", "operation": {**write, "descriptorValue": [1]}}).encode())
    assert isinstance(lte, wire.DescriptorWrite)
    assert (lte.descriptor_uuid, lte.characteristic_uuid) == ("2902", NORDIC.replace("-", "").upper())
    text = {"type": "device_characteristic_value_write", **PLACE, "characteristicValue": "on"}
    found = LTE.read("c2d", message(text))
    assert isinstance(found, wire.CharacteristicWrite)
    assert found.characteristic_value == b"on"
    with pytest.raises(RefusedOperation, match="serviceUUID") as refused:
        JS.read("c2g", message({**write, "descriptorValue": [1]}))
    assert refused.value.address == ADDRESS
    with pytest.raises(RefusedOperation, match="descriptorUUID"):
        JS.read("c2g", message({**write, "serviceUUID": "180F", "descriptorValue": [1]}))
    with pytest.raises(MalformedMessage, match="id"):
        JS.read("c2g", json.dumps({"type": "operation", "operation": {"type": "scan"}}).encode())


@pytest.mark.parametrize(
    ("operation", "code", "match"),
    [
        ({"type": "device_teleport", "deviceAddress": ADDRESS}, 501, "device_teleport is not supported"),
        ({"type": "device_discover", "deviceAddress": "hall"}, 400, "device_address|deviceAddress"),
        ({"type": "device_characteristic_value_write", **PLACE, "characteristicValue": [256]}, 400, "octets"),
        ({"type": "device_characteristic_value_write", **PLACE, "characteristicValue": [0] * 513}, 400, "512"),
        ({"type": "device_characteristic_value_read", **PLACE, "characteristicUUID": "2A1"}, 400, "no UUID"),
        ({"type": "scan", "scanTimeout": 70_000}, 400, "scanTimeout"),
        ({"type": "scan", "scanTimeout": math.inf}, 400, "scanTimeout"),
        ({"type": "scan", "filter": {"rssi": math.nan}}, 400, "rssi"),
    ],
)
@both
def test_what_cannot_be_done_is_refused_with_its_reason(
    dialect: Any, operation: dict[str, Any], code: int, match: str
) -> None:
    with pytest.raises(RefusedOperation, match=match) as refused:
        dialect.read("c2g", message(operation))
    assert refused.value.code == code
    assert refused.value.address == (ADDRESS if operation.get("deviceAddress") == ADDRESS else "")


LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
WORDS = [word for told, _ in OPERATIONS for pair in told.items() for word in pair if isinstance(word, str)]
NAMES = st.sampled_from([*WORDS, "operation", "id", "type", "desiredConnections", "address", "tf", "state", "desired"])


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return LEAF | NAMES | st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=6)


JSON = nested(nested(nested(LEAF)))
ALMOST = st.sampled_from([told for told, _ in OPERATIONS]).flatmap(
    lambda told: st.dictionaries(st.sampled_from(list(told)), JSON, max_size=2).map(lambda odd: {**told, **odd})
)


@examples(4)
@given(ALMOST | JSON, st.sampled_from([JS, LTE]))
def test_any_operation_is_read_refused_or_malformed(operation: Any, dialect: Any) -> None:
    payload = message(operation)
    with contextlib.suppress(RefusedOperation, MalformedMessage):
        read = dialect.read("c2g", payload)
        assert read.type == operation["type"]
        if isinstance(read, wire.AttributeOperation):
            assert wire.uuid(read.characteristic_uuid) == read.characteristic_uuid
            assert len(getattr(read, "characteristic_value", b"")) <= wire.LONGEST_VALUE


@examples(4)
@given(st.binary(max_size=60) | JSON.map(lambda body: json.dumps(body).encode()), st.sampled_from([JS, LTE]))
def test_any_bytes_at_all_are_no_more_than_malformed(payload: bytes, dialect: Any) -> None:
    is_operation(payload)
    with contextlib.suppress(RefusedOperation, MalformedMessage):
        dialect.read("c2g", payload)


def test_json_that_is_deep_is_malformed() -> None:
    deep = b'{"type":"operation","id":"1","operation":{"type":' + b"[" * 100_000
    with pytest.raises(MalformedMessage):
        JS.read("c2g", deep)


# ---- events ---------------------------------------------------------------------------------------------------------


def told(name: Name, event: wire.Event) -> tuple[str, Any]:
    """Topic and message, by the uplink's dialect."""
    made = NrfCloud("nrf", Conversation("hub-1", About()), gateway=dialect_of(name, "hub-1"))
    made.pairing = PAIRING
    body = {"event": event.wire(), "number": 3}
    (one,) = made.encode(Message(7, "nrf", Kind.GATEWAY, ADDRESS, "", body, 1.7e9, "trusted", "b", 5.0), "m-7", 0.5)
    return one.topic, json.loads(one.payload)


AT = "2023-11-14T22:13:20.500Z"


def test_a_changed_value_in_both_dialects() -> None:
    def event(dialect: Any) -> wire.CharacteristicEvent:
        return wire.CharacteristicEvent(
            type="device_characteristic_value_changed",
            device=dialect.peer(OTHER, "random", connected=True, value=True),
            characteristic=attribute(("180F", "2A19"), b"", dialect),
        )

    about = {"type": "device_characteristic_value_changed", "timestamp": AT}
    assert told("gateway", event(JS)) == (
        "prod/tenant/gateways/hub-1/g2c",
        {
            "type": "event",
            "gatewayId": "hub-1",
            "messageId": 3,
            "event": {
                **about,
                "device": {
                    "id": OTHER,
                    "address": {"address": OTHER, "type": "randomStatic"},
                    "status": {"connected": True},
                },
                "characteristic": {"uuid": "2A19", "path": "180F/2A19", "value": []},
            },
        },
    )
    assert told("lte", event(LTE)) == (
        "prod/tenant/m/d/hub-1/d2c",
        {
            "type": "event",
            "gatewayId": "hub-1",
            "requestId": None,
            "event": {
                **about,
                "device": {"id": OTHER, "address": {"address": OTHER, "type": "random"}},
                "characteristic": {"uuid": "2A19", "path": "180F/2A19", "value": [0]},
            },
        },
    )


def test_connections_scans_and_errors_in_both_dialects() -> None:
    def connected(dialect: Any) -> Any:
        device = dialect.peer(ADDRESS, "public", connected=True)
        return wire.ConnectionChanged(type="device_connect_result", device=device)

    place = {"id": ADDRESS, "address": {"address": ADDRESS, "type": "public"}, "status": {"connected": True}}
    assert told("gateway", connected(JS))[1]["event"]["device"] == place
    assert told("lte", connected(LTE))[1]["event"]["device"] == {**place, "address": {"address": ADDRESS}}
    over = {"type": "scan_result", "timestamp": AT, "subType": "instant", "devices": [], "timeout": True}
    assert told("gateway", wire.ScanResults(devices=[], timeout=True))[1]["event"] == over
    problem = {"description": "gone", "code": 504}
    assert told("gateway", JS.error("gone", 504, ADDRESS))[1]["event"] == {
        "type": "error",
        "timestamp": AT,
        "error": problem,
        "device": {"deviceAddress": ADDRESS},
    }
    assert told("lte", LTE.error("gone", 504, ""))[1] == {
        "type": "event",
        "gatewayId": "hub-1",
        "timestamp": AT,
        "event": {"type": "error", "error": {"description": "gone"}},
    }


def test_an_event_of_a_gateway_that_is_none_any_more_is_nobody_s() -> None:
    made = NrfCloud("nrf", Conversation("hub-1", About()))
    made.pairing = PAIRING
    body = {"event": wire.ScanResults(devices=[], timeout=True).wire(), "number": 1}
    assert made.encode(Message(7, "nrf", Kind.GATEWAY, "", "", body, 1.7e9, "trusted", "b", 5.0), "m-7", 0.0) == []


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "kind", "meant"),
    [
        ("C0:00:00:00:00:00", "random", "randomStatic"),
        ("40:00:00:00:00:00", "random", "randomPrivateResolvable"),
        ("00:00:00:00:00:00", "random", "randomPrivateNonResolvable"),
        ("C0:00:00:00:00:00", "public", "public"),
        ("C0:00:00:00:00:00", "", "randomStatic"),
        ("A4:00:00:00:00:00", "", "public"),
    ],
)
def test_types_of_addresses(address: str, kind: str, meant: str) -> None:
    assert address_type(address, kind) == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2a19", "2A19"),
        ("00002A19", "2A19"),
        ("00002a19-0000-1000-8000-00805f9b34fb", "2A19"),
        ("00002A1900001000800000805F9B34FB", "2A19"),
        (NORDIC, NORDIC.replace("-", "").upper()),
        ("12345678", "1234567800001000800000805F9B34FB"),
    ],
)
def test_forms_of_a_uuid(given: str, meant: str) -> None:
    assert wire.uuid(given) == meant == wire.uuid(meant)


# ---- the shadow -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        [ADDRESS, OTHER],
        [{"id": ADDRESS.lower()}, {"id": OTHER}],
        [{"address": {"address": ADDRESS}}, {"address": {"address": OTHER, "type": "random"}}],
        [ADDRESS, {"id": OTHER}, ADDRESS, None, 3, {}, "hall", [OTHER], {"id": 1}, {"address": "hall"}],
    ],
)
def test_desired_connections_come_in_three_forms(given: Any) -> None:
    assert addresses(given) == (ADDRESS, OTHER)


@pytest.mark.parametrize("given", [None, [], {}, "", 0, [None]])
def test_none_are_desired(given: Any) -> None:
    assert addresses(given) == ()


@given(JSON)
def test_any_desire_is_a_short_list_of_addresses(given: Any) -> None:
    found = addresses(given)
    assert len(found) <= MOST_WANTED
    assert all(wire.address(one) == one for one in found)


def test_who_is_no_more_is_null_in_a_shadow_that_is_merged() -> None:
    up, down = peer_status(ADDRESS, connected=True), peer_status(ADDRESS, connected=False, connecting=True)
    other = peer_status(OTHER, connected=False)
    assert connections_change({ADDRESS: down, OTHER: other}, {ADDRESS: up}) == {
        ADDRESS: {"id": ADDRESS, "status": {"connected": True, "connecting": False}},
        OTHER: None,
    }
    assert connections_change({ADDRESS: up}, {ADDRESS: up}) == {}
