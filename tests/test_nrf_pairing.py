"""nRF Cloud's pairing as a state machine: topics are the listed ones, whatever a shadow says, and every wish of the account is answered."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.dialect import MalformedMessage
from agent.cloud.nrf_pairing import (
    ASK,
    About,
    Control,
    Conversation,
    Leave,
    Pairing,
    Phase,
    Ready,
    Say,
    SetControl,
    Step,
    Subscribe,
    Wait,
)
from agent.sim.gate.policy import covers, nrf_policy
from agent.sim.nrf.transform import transform

DEVICE, PREFIX = "hub-1", "prod/7b6a5f4e-3d2c-4b1a-8f9e-0d1c2b3a4f5e/"
MESSAGES = f"{PREFIX}m/d/{DEVICE}"
TOLD, REJECTED = f"{DEVICE}/shadow/get/accepted/tf", f"{DEVICE}/shadow/get/rejected"
DELTA = f"{DEVICE}/shadow/update/delta/trim"
PAIRING = {"state": "paired", "topics": {"d2c": f"{MESSAGES}/d2c", "c2d": f"{MESSAGES}/c2d"}}
ABOUT = About({"appName": "hub-agent"}, ("APP",), 60)

LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
SHADOW = ("tf", "err", "message", "state", "pairing", "topics", "d2c", "c2d", "nrfcloud_mqtt_topic_prefix")
NAMES = st.sampled_from((*SHADOW, "control", "alertsEn", "logLvl", "memfaultEn", "other"))


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    known = st.sampled_from(["paired", "not_associated", PREFIX, f"{MESSAGES}/d2c", f"{MESSAGES}/c2d", "a/b/", "x/+/"])
    return LEAF | known | st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5)


JSON = nested(nested(nested(nested(LEAF))))


def reply(**found: Any) -> bytes:
    return json.dumps({"tf": {"nrfcloud_mqtt_topic_prefix": PREFIX, "pairing": PAIRING, **found}}).encode()


def delta(**state: Any) -> bytes:
    return json.dumps({"state": state, "version": 2, "timestamp": 1}).encode()


def said(steps: list[Step]) -> list[tuple[str, Any]]:
    return [(step.publication.topic, json.loads(step.publication.payload)) for step in steps if isinstance(step, Say)]


def update(steps: list[Step]) -> dict[str, Any]:
    (topic, body) = said(steps)[0]
    assert topic == f"{DEVICE}/shadow/update"
    state: dict[str, Any] = body["state"]
    return state


@pytest.fixture
def asking() -> Conversation:
    made = Conversation(DEVICE, ABOUT)
    made.begin()
    return made


@pytest.fixture
def paired(asking: Conversation) -> Conversation:
    asking.heard(TOLD, reply())
    return asking


# ---- association ----------------------------------------------------------------------------------------------------


def test_a_paired_device_reports_its_topics_subscribes_and_is_ready() -> None:
    conversation = Conversation(DEVICE, ABOUT)
    assert said(conversation.begin()) == [(f"{DEVICE}/shadow/get/tf", {"t": ASK})]
    steps = conversation.heard(TOLD, reply())
    pairing = Pairing(DEVICE, PREFIX)
    assert steps[1:] == [Subscribe((f"{MESSAGES}/+/r",)), SetControl(Control()), Ready(pairing)]
    state = update(steps)
    assert state["desired"] == {"pairing": {"topics": {"c2d": f"{MESSAGES}/+/r"}}}
    assert state["reported"] == {
        "pairing": {"state": "paired", "topics": {"d2c": f"{MESSAGES}/d2c", "c2d": f"{MESSAGES}/+/r"}},
        "nrfcloud_mqtt_topic_prefix": PREFIX,
        "connection": {"keepalive": 60},
        "control": {"alertsEn": True, "logLvl": 0},
        "device": {
            "deviceInfo": {"appName": "hub-agent"},
            "connectionInfo": {"protocol": "MQTT"},
            "serviceInfo": {"fota_v2": ["APP"], "ui": None},
        },
        "hub": None,
    }


def test_topics_that_are_rewritten_already_are_not_desired_again(asking: Conversation) -> None:
    topics = {"d2c": f"{MESSAGES}/d2c", "c2d": f"{MESSAGES}/+/r"}
    assert "desired" not in update(asking.heard(TOLD, reply(pairing={"state": "paired", "topics": topics})))


def test_the_transform_is_one_that_jsonata_understands() -> None:
    control = {"logLvl": 2}
    desired = {"nrfcloud_mqtt_topic_prefix": PREFIX, "pairing": PAIRING, "control": control, "other": 1}
    found = {"nrfcloud_mqtt_topic_prefix": PREFIX, "pairing": PAIRING, "control": control}
    assert transform(ASK, {"state": {"desired": desired}}, 1792) == {"tf": found}
    assert transform(ASK, {"state": {"desired": {}}}, 1792) == {"tf": {}}


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"pairing": None},
        {"pairing": {"state": "not_associated", "topics": None}},
        {"pairing": PAIRING, "nrfcloud_mqtt_topic_prefix": None},
    ],
)
def test_a_device_of_nobody_says_so_and_waits_for_its_pairing(asking: Conversation, found: dict[str, Any]) -> None:
    body = {"nrfcloud_mqtt_topic_prefix": PREFIX, "pairing": None, **found}
    steps = asking.heard(TOLD, json.dumps({"tf": body}).encode())
    reported = update(steps)["reported"]
    assert reported["pairing"] == {"state": "not_associated", "topics": None, "config": None}
    assert (reported["nrfcloud_mqtt_topic_prefix"], reported["connection"]) == (None, {"keepalive": None})
    assert {"pairingStatus", "stage"} <= reported.keys()
    (wait,) = [step for step in steps if isinstance(step, Wait)]
    assert "agent onboard nrf-device" in wait.reason
    assert not said(asking.heard(TOLD, b'{"tf": null}')), "once is enough"
    (question,) = said(asking.heard(DELTA, delta(pairing=PAIRING, nrfcloud_mqtt_topic_prefix=PREFIX)))
    assert question[0].endswith("/get/tf")
    assert isinstance(asking.heard(TOLD, reply())[-1], Ready)


def test_a_pairing_that_goes_or_changes_ends_the_connection(paired: Conversation) -> None:
    gone = {"state": "not_associated", "topics": None}
    assert said(paired.heard(DELTA, delta(pairing=gone)))[0][0].endswith("/get/tf")
    assert paired.heard(TOLD, reply()) == [], "it is the same after all"
    for changed in ({"pairing": gone}, {"nrfcloud_mqtt_topic_prefix": "beta/t/", "pairing": {"state": "paired"}}):
        assert paired.heard(TOLD, reply(**changed)) == [Leave("the device's association has changed", anew=True)]


@pytest.mark.parametrize(
    "found",
    [
        {"nrfcloud_mqtt_topic_prefix": "prod/#/"},
        {"nrfcloud_mqtt_topic_prefix": "prod/t"},
        {"nrfcloud_mqtt_topic_prefix": "muchtoolong/t/"},
        {"nrfcloud_mqtt_topic_prefix": "prod/t/x/"},
        {"nrfcloud_mqtt_topic_prefix": f"prod/{'t' * 64}/"},
        {"pairing": {"state": "paired", "topics": {"d2c": "#", "c2d": ""}}},
        {"pairing": {"state": "paired", "topics": {"d2c": f"{MESSAGES}/d2c", "c2d": f"{PREFIX}m/d/other/c2d"}}},
    ],
)
def test_topics_that_are_not_this_device_s_are_not_followed(asking: Conversation, found: dict[str, Any]) -> None:
    (wait,) = asking.heard(TOLD, reply(**found))
    assert isinstance(wait, Wait)
    assert "onboard the device anew" in wait.reason


def test_what_the_cloud_refuses_ends_the_connection(asking: Conversation) -> None:
    (leave,) = asking.heard(TOLD, b'{"err": 41300, "position": 0, "message": "too large"}')
    assert leave == Leave("nRF Cloud cannot tell whose this device is: 41300 too large")
    assert isinstance(asking.heard(REJECTED, b"{}")[0], Leave)
    assert said(asking.heard(f"{DELTA}/err", b"{}"))[0][0].endswith("/get/tf"), "too large to be told: it is asked for"


# ---- control --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "reported", "taken_back"),
    [
        ({"logLvl": 3}, {"logLvl": 3}, None),
        ({"alertsEn": False}, {"alertsEn": False}, None),
        ({"alertsEn": False, "logLvl": 5}, {"alertsEn": False, "logLvl": 0}, {"logLvl": None}),
        ({"logLvl": True}, {"logLvl": 0}, {"logLvl": None}),
        ({"logLvl": "3"}, {"logLvl": 0}, {"logLvl": None}),
        ({"alertsEn": 1}, {"alertsEn": True}, {"alertsEn": None}),
        ({"memfaultEn": True}, {"memfaultEn": False}, {"memfaultEn": None}),
        ({"memfaultEn": False, "other": 1}, {"memfaultEn": False}, None),
    ],
)
def test_a_wish_is_reported_or_taken_back(
    paired: Conversation, wanted: dict[str, Any], reported: dict[str, Any], taken_back: dict[str, Any] | None
) -> None:
    steps = paired.heard(DELTA, delta(control=wanted))
    state = update(steps)
    assert state["reported"] == {"control": reported}
    assert state.get("desired") == (None if taken_back is None else {"control": taken_back})
    expected = Control(reported.get("alertsEn", True), reported.get("logLvl", 0))
    assert steps[-1] == SetControl(expected)
    assert paired.control == expected


def test_a_wish_of_before_the_connection_holds_from_its_beginning(asking: Conversation) -> None:
    steps = asking.heard(TOLD, reply(control={"logLvl": 2, "alertsEn": "no"}))
    state = update(steps)
    assert state["reported"]["control"] == {"alertsEn": True, "logLvl": 2}
    assert state["desired"]["control"] == {"alertsEn": None}
    assert SetControl(Control(alerts=True, log_level=2)) in steps


def test_nothing_is_said_to_what_means_nothing_here(paired: Conversation) -> None:
    assert paired.heard(DELTA, delta(control={"other": 1})) == []
    assert paired.heard(DELTA, delta(period=60)) == []
    with pytest.raises(MalformedMessage, match="control is no object"):
        paired.heard(DELTA, delta(control=3))
    with pytest.raises(MalformedMessage, match="nothing is expected"):
        paired.heard(f"{DEVICE}/shadow/update/accepted", b"{}")


# ---- whatever comes -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from([TOLD, DELTA, f"{DELTA}/err"]), JSON | st.binary(max_size=30)), max_size=12))
def test_whatever_comes_only_listed_topics_are_used(messages: list[tuple[str, Any]]) -> None:
    conversation = Conversation(DEVICE, ABOUT)
    policy = nrf_policy(DEVICE, PREFIX, gateway=False)
    steps = conversation.begin()
    for topic, body in messages:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.suppress(MalformedMessage):
            steps += conversation.heard(topic, payload)
        if any(isinstance(step, Leave) for step in steps):
            break
    foreign = conversation.pairing is not None and conversation.pairing.prefix != PREFIX
    for step in steps:
        if isinstance(step, Subscribe) and not foreign:
            assert all(any(covers(rule, one) for rule in policy.subscribe) for one in step.topics)
        if isinstance(step, Say):
            assert any(covers(rule, step.publication.topic) for rule in policy.publish)
            json.loads(step.publication.payload)
    assert (conversation.phase is Phase.PAIRED) == (conversation.pairing is not None)
