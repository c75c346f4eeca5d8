"""The nrf-cloud dialect: messages as they are published, and nothing that a stranger sends gets further than a typed error or an answer."""

import contextlib
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.dialect import MalformedMessage
from agent.cloud.nrf import NrfCloud, decimal, is_disconnect
from agent.cloud.nrf_jobs import (
    RejectedJob,
    ble_id,
    ble_request,
    ble_update,
    job_request,
    job_update,
    read_ble_job,
    read_job,
)
from agent.cloud.nrf_pairing import About, Control, Conversation, Pairing
from agent.cloud.nrf_wires import FirmwareJob
from agent.model import Action
from agent.requests import CommandRequest, Kind, Message, RejectedCommand, StateQuery
from agent.wire.nrf import FotaStatus

PAIRING = Pairing("hub-1", "prod/tenant/")
D2C, C2D = "prod/tenant/m/d/hub-1/d2c", "prod/tenant/m/d/hub-1/c2d/r"
TEMPERATURE, SMOKE = "matter.TemperatureMeasurement@1.4", "matter.SmokeCOAlarm@1.4"
COMMAND = {"traceId": "t-1", "device": "dev-1", "endpoint": "1", "capability": "matter.OnOff@1.4", "action": "On"}
LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
NAMES = st.sampled_from(["appId", "messageType", "data", *COMMAND, "params", "expiresAt"])


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    known = st.sampled_from(["DEVICE", "CMD", "STATE", "DISCON"])
    return LEAF | known | st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=6)


JSON = nested(nested(nested(LEAF)))


def dialect(control: Control | None = None, largest: int = 131_072) -> NrfCloud:
    made = NrfCloud("nrf", Conversation("hub-1", About()), largest=largest)
    made.pairing, made.control = PAIRING, control or Control()
    return made


def message(kind: Kind, body: Any, device: str = "dev-1", trace: str = "") -> Message:
    return Message(7, "nrf", kind, device, trace, body, 1_700_000_000.25, "trusted", "boot", 5.0)


def told(made: NrfCloud, given: Message, shift: float = 0.0) -> list[tuple[str, Any]]:
    return [(one.topic, json.loads(one.payload)) for one in made.encode(given, "m-7", shift)]


def command(**changes: Any) -> bytes:
    return json.dumps({"appId": "DEVICE", "messageType": "CMD", "data": {**COMMAND, **changes}}).encode()


# ---- to the cloud ---------------------------------------------------------------------------------------------------


def test_a_value_is_one_message_that_says_whose_it_is() -> None:
    value = ("1", TEMPERATURE, "MeasuredValue", 2150, 1_700_000_000.0)
    assert told(dialect(), message(Kind.STATE, (value,)), shift=1.0) == [
        (
            D2C,
            {
                "appId": "TEMP",
                "messageType": "DATA",
                "data": "21.5",
                "ts": 1_700_000_001_250,
                "device": "dev-1",
                "endpoint": "1",
                "capability": TEMPERATURE,
                "property": "MeasuredValue",
                "changedAt": 1_700_000_001_000,
                "id": "m-7",
            },
        )
    ]


@pytest.mark.parametrize(
    ("capability", "name", "value", "app", "data"),
    [
        (TEMPERATURE, "MeasuredValue", -5, "TEMP", "-0.05"),
        (TEMPERATURE, "MeasuredValue", None, "STATE", None),
        ("matter.RelativeHumidityMeasurement@1.4", "MeasuredValue", 4000, "HUMID", "40"),
        ("matter.PressureMeasurement@1.4", "MeasuredValue", 1013, "AIR_PRESS", "101.3"),
        ("matter.OnOff@1.4", "OnOff", True, "STATE", True),
        ("matter.IlluminanceMeasurement@1.4", "MeasuredValue", 9, "STATE", 9),
    ],
)
def test_nordic_s_words_are_used_where_it_has_them(capability: str, name: str, value: Any, app: str, data: Any) -> None:
    ((_, body),) = told(dialect(), message(Kind.STATE, [["1", capability, name, value, 1.0]]))
    assert (body["appId"], body["data"]) == (app, data)


@given(st.integers(-(2**31), 2**31), st.integers(1, 4))
def test_a_decimal_text_is_exact(value: int, digits: int) -> None:
    text = decimal(value, digits)
    assert Decimal(text) == Decimal(value).scaleb(-digits)
    assert text.count(".") <= 1
    assert not text.endswith(".")


@given(st.lists(st.text(max_size=300), min_size=1, max_size=25), st.integers(4096, 9000))
def test_values_come_in_lists_that_are_not_too_large_and_in_their_order(texts: list[str], largest: int) -> None:
    values = [("1", "matter.OnOff@1.4", "OnOff", text, 1.0) for text in texts]
    publications = dialect(largest=largest).encode(message(Kind.STATE, values), "m-7", 0.0)
    found: list[Any] = []
    for one in publications:
        assert len(one.payload) <= largest
        body = json.loads(one.payload)
        assert one.topic == (D2C if isinstance(body, dict) else f"{D2C}/bulk")
        found += [body] if isinstance(body, dict) else body
    assert [body["data"] for body in found] == texts
    assert len({body["id"] for body in found}) == len(found)


def test_what_somebody_should_look_at_is_an_alert_too() -> None:
    smoke = {
        "endpoint": "1",
        "capability": SMOKE,
        "event": "SmokeAlarm",
        "fields": {"AlarmSeverityLevel": 2},
        "at": 9.0,
    }
    event, alert = told(dialect(), message(Kind.EVENT, smoke))
    assert (event[1]["appId"], event[1]["event"], event[1]["data"]) == ("EVENT", "SmokeAlarm", smoke["fields"])
    assert alert == (D2C, {"appId": "ALERT", "type": 110, "desc": "dev-1: smoke", "ts": 9000})
    assert len(told(dialect(Control(alerts=False)), message(Kind.EVENT, smoke))) == 1
    body = {"status": "ACTIVATED", "nodeId": "n", "eventType": "disconnected", "at": 9.0}
    life, offline = told(dialect(), message(Kind.LIFECYCLE, body))
    assert (life[1]["appId"], offline[1]["type"]) == ("LIFECYCLE", 100)
    assert len(told(dialect(), message(Kind.LIFECYCLE, {**body, "eventType": "connected"}))) == 1


def test_an_outcome_is_one_message_with_the_trace_id() -> None:
    body = {"succeeded": False, "code": 404, "error": "no device", "received": 1.0, "ended": 2.0, "results": []}
    ((topic, answer),) = told(dialect(), message(Kind.OUTCOME, body, trace="t-1"))
    assert (topic, answer["appId"], answer["messageType"]) == (D2C, "DEVICE", "DATA")
    assert answer["data"] == {
        "traceId": "t-1",
        "result": "failed",
        "code": 404,
        "error": "no device",
        "receivedAt": 1000,
        "executedAt": 2000,
        "results": [],
    }


def test_log_lines_are_those_of_the_account_s_level() -> None:
    lines = [
        {"time": "2026-11-27T10:00:00.000Z", "level": level, "logger": "agent.x", "message": "m"}
        for level in ("debug", "info", "warning", "error", "critical")
    ]
    for level, count in ((0, 0), (1, 2), (2, 3), (3, 4), (4, 5)):
        found = told(dialect(Control(log_level=level)), message(Kind.LOG, {"lines": lines}, ""))
        bodies = [
            body for _, told_body in found for body in (told_body if isinstance(told_body, list) else [told_body])
        ]
        assert len(bodies) == count
    assert bodies[2] == {
        "appId": "LOG",
        "lvl": 2,
        "msg": "m",
        "dom": 0,
        "src": "agent.x",
        "ts": 1795773600000,
        "id": "m-7-2",
    }
    ((_, body),) = told(dialect(Control(log_level=4)), message(Kind.LOG, {"lines": [{"message": "x" * 10**6}]}, ""))
    assert len(body["msg"]) == 8192


def test_the_status_is_in_the_shadow_and_there_is_no_last_will() -> None:
    publication = dialect().status("m-8", "2026-11-27T10:00:00Z", {"status": "online"})
    assert publication.topic == "hub-1/shadow/update"
    hub = {"status": "online", "reason": None, "error": None, "certificate": None, "at": "2026-11-27T10:00:00Z"}
    assert json.loads(publication.payload) == {"state": {"reported": {"hub": hub}}}
    assert dialect().will("m-9", "now") is None


# ---- from the cloud -------------------------------------------------------------------------------------------------


def test_a_command_has_one_action() -> None:
    action = Action("1", "matter.OnOff@1.4", "On", {})
    found = dialect().decode(C2D, command(expiresAt=1_700_000_000_500), retained=True)
    assert found == CommandRequest("t-1", "dev-1", (action,), "nrf", 1_700_000_000.5, retained=True)
    with_params = dialect().decode(C2D, command(params={"Level": 3}), retained=False)
    assert isinstance(with_params, CommandRequest)
    assert with_params.actions[0].parameters == {"Level": 3}


def test_a_command_that_cannot_be_understood_is_answered_under_its_own_name_or_one_of_its_content() -> None:
    found = dialect().decode(C2D, command(action=3), retained=False)
    assert isinstance(found, RejectedCommand)
    assert (found.request.trace_id, found.code, found.request.device) == ("t-1", 400, "dev-1")
    assert found.reason.startswith("action")
    bare = dialect().decode(C2D, command(traceId=None), retained=False)
    again = dialect().decode(C2D, command(traceId=None), retained=False)
    assert isinstance(bare, RejectedCommand)
    assert bare == again, "a redelivery has the same name, so that it is not answered twice"
    assert bare.request.trace_id.startswith("nrf-")


def test_the_state_is_told_once_more_on_request() -> None:
    asked = {"appId": "STATE", "messageType": "CMD", "data": {"device": "dev-1"}}
    assert dialect().decode(C2D, json.dumps(asked).encode(), retained=False) == StateQuery("dev-1", refresh=False)
    with pytest.raises(MalformedMessage, match="retained"):
        dialect().decode(C2D, json.dumps(asked).encode(), retained=True)


@pytest.mark.parametrize("topic", ["prod/tenant/m/d/hub-2/c2d/r", "prod/tenant/m/d/hub-1/agnss/r", "x"])
def test_only_its_own_topic_has_commands(topic: str) -> None:
    with pytest.raises(MalformedMessage):
        dialect().decode(topic, command(), retained=False)


def test_a_removed_device_is_told_to_go() -> None:
    assert is_disconnect(b'{"appId": "DEVICE", "messageType": "DISCON"}')
    assert not is_disconnect(command())
    assert not is_disconnect(b"[" * 100_000)


@given(JSON | st.builds(lambda data: {"appId": "DEVICE", "messageType": "CMD", "data": data}, JSON) | st.none())
def test_whatever_comes_is_a_request_or_refused(body: Any) -> None:
    with contextlib.suppress(MalformedMessage):
        found = dialect().decode(C2D, json.dumps(body).encode(), retained=False)
        assert isinstance(found, CommandRequest | RejectedCommand | StateQuery)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_are_refused(payload: bytes) -> None:
    for data in (payload, b"[" * 10_000 + payload, b'{"appId":' + payload):
        with contextlib.suppress(MalformedMessage):
            dialect().decode(C2D, data, retained=False)
        with contextlib.suppress(MalformedMessage, RejectedJob):
            read_job("rcv", data)


# ---- firmware jobs --------------------------------------------------------------------------------------------------


def test_a_job_is_a_row() -> None:
    job = read_job("rcv", b'["j-1", 0, 2048, "files.example.com", "a/b.bin"]')
    assert (job.job_id, job.firmware_type, job.file_size, job.host, job.path) == (
        "j-1",
        0,
        2048,
        "files.example.com",
        "a/b.bin",
    )
    assert job_request() == b'[""]'
    assert job_update("j-1", FotaStatus.DOWNLOADING, 40) == b'["j-1",7,40]'
    assert job_update("j-1", FotaStatus.SUCCEEDED, "") == b'["j-1",3,""]'
    assert job_update("j-1", FotaStatus.FAILED, "half a pair \ud800") == b'["j-1",2,"half a pair ?"]'


@pytest.mark.parametrize(
    "row",
    [["j-1"], ["j-1", "0", 1, "h", "p"], ["j-1", 0, 0, "h", "p"], ["j-1", 0, 1, "h/../x", "p"], ["j-1", 0, 1, "h"]],
)
def test_a_job_whose_id_can_be_read_is_rejected_by_it(row: list[Any]) -> None:
    with pytest.raises(RejectedJob, match="cannot be understood") as told_job:
        read_job("rcv", json.dumps(row).encode())
    assert told_job.value.job == "j-1"


def test_a_job_of_a_ble_device_has_its_address_first_and_perhaps_several_files() -> None:
    address = "A4:C1:38:00:00:01"
    job = read_ble_job("rcv", json.dumps([address, "j-1", 0, 2048, "files.example.com", "a/b.bin a/b.dat"]).encode())
    assert (job.device, job.job_id, job.path) == (address, "j-1", "a/b.bin a/b.dat")
    assert ble_request(address) == f'["{address}"]'.encode()
    told = ble_id(address, "j-1")
    assert ble_update(told, FotaStatus.IN_PROGRESS, 40) == f'["{address}","j-1",1,40]'.encode()
    assert ble_update(told, FotaStatus.FAILED, "it broke") == f'["{address}","j-1",2,"it broke"]'.encode()
    with pytest.raises(RejectedJob, match="file_size") as rejected:
        read_ble_job("rcv", json.dumps([address, "j-1", 0, -1, "files.example.com", "a"]).encode())
    assert rejected.value.job == told
    for row in (["j-1", 0, 2048, "h", "p"], [address], [address.lower(), "j-1", 0, 1, "h", "p"], [address, 7], []):
        with pytest.raises(MalformedMessage):
            read_ble_job("rcv", json.dumps(row).encode())


def test_the_files_of_a_job_have_addresses() -> None:
    job = FirmwareJob("A/j-1", "APP", 10, "files.example.com", "a/b.bin", "A", ("a/b.bin", "a/b.dat"))
    assert job.document == {
        "firmwareType": "APP",
        "fileSize": 10,
        "host": "files.example.com",
        "path": "a/b.bin",
        "device": "A",
        "paths": ["a/b.bin", "a/b.dat"],
    }
    assert set(FirmwareJob("j-1", "APP", 10, "h", "p").document) == {"firmwareType", "fileSize", "host", "path"}


@given(st.lists(LEAF, max_size=6))
def test_any_row_is_a_job_a_rejection_or_nothing(row: list[Any]) -> None:
    readable = bool(row) and isinstance(row[0], str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", row[0], re.ASCII)
    with pytest.raises((RejectedJob, MalformedMessage)) as told_job:  # no row of these leaves is a whole job
        read_job("rcv", json.dumps(row).encode())
    assert isinstance(told_job.value, RejectedJob) is bool(readable)
