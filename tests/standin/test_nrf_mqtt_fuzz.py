"""nRF Cloud's MQTT plane and what strangers say to it: never an exception, and the service goes on."""

import json
import sys
from contextlib import closing
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from nrf_mqtt_rig import hit

from agent.sim.gate.policy import Policy, Presence, Principal, nrf_policy
from agent.sim.iot.shadows import Shadows
from agent.sim.managed_integrations.world import INDEXED
from agent.sim.nrf.devices import Devices
from agent.sim.nrf.fota import Fota
from agent.sim.nrf.gateways import Gateways
from agent.sim.nrf.location import Location
from agent.sim.nrf.mqtt import NrfMqtt
from agent.sim.nrf.onboarding import PREFIX
from agent.sim.nrf.transform import transform
from agent.sim.records import Records

BLE = "AA:BB:CC:DD:EE:01"


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([BLE, "", "job-1", "event"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "event", "state", "reported", "desired", "pairing", "topics", "c2d", "t", "l"])
            | st.sampled_from(["device", "id", "devices", "services", "characteristic", "path", "value"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
names = st.text("/ab", max_size=5)
services = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {"characteristics": st.dictionaries(names, st.fixed_dictionaries({"descriptors": values}) | values, max_size=2)}
    )
    | values,
    max_size=2,
)
held = st.fixed_dictionaries({"path": names, "value": st.just([1])}) | values
members = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("scan_result"), "devices": st.lists(st.just(hit(BLE, -1)) | values) | values}
    ),
    st.fixed_dictionaries({"type": st.just("device_discover_result"), "services": services | values}),
    st.fixed_dictionaries({"type": st.just("device_characteristic_value_changed"), "characteristic": held}),
    st.fixed_dictionaries({"type": st.just("device_descriptor_value_changed"), "descriptor": held}),
    st.fixed_dictionaries({"type": st.just("device_connect_result") | values}),
)
about = st.sampled_from([{"device": {"id": BLE}}, {"device": {"id": BLE}}, {}]) | st.builds(
    lambda v: {"device": v}, values
)
events = st.builds(lambda event, more: {"type": "event", "event": {**more, **event}}, members, about)
updates = st.tuples(st.sampled_from(["job-1", BLE]), st.integers(-1, 8) | values, values).map(list)
payloads = (
    st.binary(max_size=60)
    | (values | events | updates).map(encoded)
    | st.sampled_from(
        [b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900, b"1" * 5000, b'"\\ud800"', b"NaN", b"1e999"]
    )
)
TOPICS = (*nrf_policy("gw-1", PREFIX, gateway=True).publish, "gw-1/shadow/delete", f"{PREFIX}m/d/gw-1/d2c/x", "x")


jobs = f"{PREFIX}gw-1/jobs"
cell = st.fixed_dictionaries(
    {name: st.just(1) | values for name in ("mcc", "mnc", "eci", "tac")}, optional={"nmr": values}
)
request = st.fixed_dictionaries(
    {},
    optional={
        "lte": st.lists(cell, max_size=2) | values,
        "wifi": values,
        "types": values,
        "lat": values,
        "lng": values,
    },
)
located = st.fixed_dictionaries(
    {
        "appId": st.sampled_from(["GROUND_FIX", "AGNSS", "PGPS", "GNSS"]),
        "messageType": st.just("DATA"),
        "data": request | values,
    },
    optional={"config": values | st.fixed_dictionaries({"fallback": values, "doReply": st.just(True) | values})},
)
heard_messages = (
    st.tuples(st.sampled_from(TOPICS), payloads)
    | st.tuples(st.sampled_from([f"{PREFIX}gateways/gw-1/g2c", f"{PREFIX}m/d/gw-1/d2c"]), events.map(encoded))
    | st.tuples(st.just(f"{PREFIX}m/d/gw-1/d2c"), located.map(encoded))
    | st.tuples(st.just(f"{jobs}/update"), updates.map(encoded))
    | st.tuples(st.just(f"{jobs}/ble/update"), updates.map(lambda update: encoded([BLE, *update])))
    | st.tuples(
        st.just("gw-1/shadow/update"),
        st.builds(
            lambda part, value: encoded({"state": {part: value}}), st.sampled_from(["reported", "desired"]), values
        ),
    )
)


@given(heard=st.lists(heard_messages, max_size=10))
def test_whatever_a_device_says_the_service_goes_on(heard: list[tuple[str, bytes]]) -> None:
    told: list[tuple[str, bytes]] = []
    with closing(Records(None, INDEXED)) as records:
        shadows = Shadows(records, lambda: 1.0, lambda topic, body: told.append((topic, json.dumps(body).encode())))
        devices = Devices(records, lambda: 1.0, shadows, Fota(records, lambda: 1.0))

        def publish(topic: str, payload: bytes) -> None:
            told.append((topic, payload))

        gateways = Gateways(records, devices, publish)
        location = Location(records, lambda: 1.0, lambda _name, _content: {"host": "x", "path": "y"})
        devices.kept = location.heard
        plane = NrfMqtt(devices, gateways, location, shadows, publish)
        record = {
            "id": "gw-1",
            "type": "Gateway",
            "prefix": PREFIX,
            "associated": True,
            "certificate": "",
            "version": 1,
        }
        records.put("nrf-device", "gw-1", record)
        devices.pair(record)
        gateways.add(record, BLE)
        gateways.scan(record, {})
        document = {"firmwareType": "APP", "fileSize": 1, "host": "h", "path": "p"}
        for target in ("gw-1", BLE):
            made = {"jobId": "job-1", "deviceId": target, "status": "QUEUED", "jobDocument": document, "open": target}
            records.put("nrf-execution", f"{target}/job-1", made | ({"gateway": "gw-1"} if target == BLE else {}))
        for topic, payload in heard:
            plane.hear("gw-1", topic, payload)
            plane.hear("nobody", topic, payload)
        told.clear()
        plane.hear("gw-1", "gw-1/shadow/get/tf", b'{"t":"1"}')
        assert told == [("gw-1/shadow/get/accepted/tf", b'{"tf": 1}')]
        ask_all(gateways, devices, record)


def ask_all(gateways: Gateways, devices: Devices, record: dict[str, Any]) -> None:
    """What a stranger has told can be shown."""
    json.dumps([gateways.events(record), gateways.scanned(record), devices.messages({}), devices.state(record)])
    json.dumps(gateways.find(BLE))


@given(st.text(max_size=30) | st.text("$()[]{}.*+-?:=/'\"ab1~>|@#^%&,", max_size=30))
def test_any_expression_has_a_reply(expression: str) -> None:
    reply = transform(expression, {"state": {"desired": {"a": 1, "b": ["x"]}}}, 1792)
    assert set(reply) in ({"tf"}, {"err", "position", "message"})
    json.dumps(reply, allow_nan=False)


def test_an_old_sessions_end_does_not_count() -> None:
    with closing(Records(None, INDEXED)) as records:
        shadows = Shadows(records, lambda: 1.0, lambda _topic, _body: None)
        devices = Devices(records, lambda: 1.0, shadows, Fota(records, lambda: 1.0))
        location = Location(records, lambda: 1.0, lambda _name, _content: {})
        gateways = Gateways(records, devices, lambda _t, _p: None)
        plane = NrfMqtt(devices, gateways, location, shadows, lambda _t, _p: None)
        records.put("nrf-device", "d", {"id": "d", "type": "Generic", "prefix": PREFIX, "associated": True})
        who = Principal("c", "d", Policy((), ()), nrf=True)
        for session, reason in (("one", ""), ("two", ""), ("one", "CONNECTION_LOST")):
            plane.present(Presence("d", who, session, 1, 1.0, reason))
        plane.present(Presence("d-2", who, "three", 1, 1.0, "CONNECTION_LOST"))
        assert devices.state({"id": "d"})["state"]["reported"]["connection"] == {"status": "connected"}
        plane.present(Presence("gone", Principal("c", "gone", Policy((), ()), nrf=True), "four", 1, 1.0))


def test_a_transform_leaves_the_depth_of_the_process_as_it_was() -> None:
    before = sys.getrecursionlimit()
    assert transform("state.desired", {"state": {"desired": {"a": 1}}}, 1792) == {"tf": {"a": 1}}
    assert transform("(", {}, 1792)["err"]
    assert sys.getrecursionlimit() == before
    assert before < 10_000  # what the library sets
