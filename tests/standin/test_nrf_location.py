"""Location services of the stand-in's nRF Cloud over REST, MQTT and CoAP, with stock clients."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from nrf_location_rig import CELL, PRIVATE_CELL, UNKNOWN_CELL, elements
from nrf_mqtt_rig import Device
from nrf_rig import CoapDevice, Keys, ask, bulk
from standin_mqtt import Keys as MqttKeys
from standin_rig import Cloud

from agent.sim.nrf.answers import NrfError
from agent.sim.nrf.location import nmea
from agent.sim.nrf.positions import ground_fix

DEVICE, KEYED = "tracker-1", "tracker-2"
POINTS = [{"macAddress": "00-18-39-59-8C-53", "signalStrength": -42}, {"macAddress": "00:21:55:61:F3:0A", "ssid": "x"}]


@pytest.fixture(scope="module")
def keys(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    made = Keys(tmp_path_factory.mktemp("keys"), DEVICE)
    assert bulk(cloud, "/devices", f'{DEVICE},,outdoor,,"{made.certificate}"\n')["status"] == "SUCCEEDED"
    assert bulk(cloud, "/devices/public-keys", f'{KEYED},"{made.public}"\n')["status"] == "SUCCEEDED"
    return made


def fix(cloud: Cloud, keys: Keys, body: Any, query: str = "", device: str = DEVICE) -> Any:
    return ask(cloud, "POST", f"/location/ground-fix{query}", keys.token(device), json=body)


# ---- ground fixes ---------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_a_fix_is_by_wifi_before_cells_and_always_the_same(cloud: Cloud, keys: Keys) -> None:
    neighbours = {**CELL, "rsrp": -90, "nmr": [{"earfcn": 41490, "pci": 143, "rsrp": -100, "rsrq": -10.5}]}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"lte": [CELL], "wifi": {"accessPoints": POINTS}}, "WIFI"),
        ({"wifi": POINTS}, "WIFI"),  # as the API's own example has it
        ({"lte": [CELL]}, "SCELL"),
        ({"nbiot": [CELL]}, "SCELL"),
        ({"lte": [{**CELL, "mnc": "091", "adv": 20}]}, "SCELL"),
        ({"lte": [neighbours]}, "MCELL"),
        ({"lte": [UNKNOWN_CELL], "wifi": {"accessPoints": POINTS}}, "WIFI"),
    ]
    for body, by in cases:
        first, again = fix(cloud, keys, body), fix(cloud, keys, body, "?fallback=true&doReply=1")
        assert (first.status, first.json()) == (200, again.json())
        assert first.json()["fulfilledWith"] == by
        sure = fix(cloud, keys, body, "?hiConf=true").json()
        assert sure["uncertainty"] == pytest.approx(first.json()["uncertainty"] * 1.621, abs=2)
    assert fix(cloud, keys, cases[2][0]).json() == {
        "lat": 61.4982,
        "lon": 23.761,
        "uncertainty": 1500,
        "fulfilledWith": "SCELL",
    }
    by_wifi = fix(cloud, keys, cases[0][0]).json()
    assert (by_wifi["lat"], by_wifi["uncertainty"]) == (pytest.approx(61.498, abs=0.001), pytest.approx(40, abs=30))
    silent = fix(cloud, keys, cases[2][0], "?doReply=false")
    assert (silent.status, silent.data) == (200, b"")
    cell = ask(cloud, "POST", "/location/cell", keys.token(DEVICE), json=cases[0][0]).json()
    wifi = ask(cloud, "POST", "/location/wifi", keys.token(DEVICE), json={"accessPoints": POINTS}).json()
    assert (cell["fulfilledWith"], wifi) == ("SCELL", by_wifi)
    old = ask(cloud, "GET", "/location/single-cell", keys.token(DEVICE), fields=CELL)
    assert old.json() == cell


@pytest.mark.conformance
def test_what_is_unknown_falls_back_to_its_area_or_is_not_found(cloud: Cloud, keys: Keys) -> None:
    area = fix(cloud, keys, {"lte": [UNKNOWN_CELL]}).json()
    assert (area["uncertainty"], area["fulfilledWith"]) == (20000, "SCELL")
    unlisted = [{"macAddress": "00:00:5E:00:53:01"}, {"macAddress": "00005e005302"}]
    assert fix(cloud, keys, {"lte": [CELL], "wifi": {"accessPoints": unlisted}}).json()["fulfilledWith"] == "SCELL"
    for body, query in (
        ({"lte": [UNKNOWN_CELL]}, "?fallback=false"),
        ({"lte": [PRIVATE_CELL]}, ""),
        ({"wifi": {"accessPoints": unlisted}}, ""),
    ):
        refused = fix(cloud, keys, body, query)
        assert (refused.status, refused.json()["code"]) == (404, 40410)


@pytest.mark.conformance
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"lte": []},
        {"lte": CELL},
        {"lte": ["x"]},
        {"lte": [{**CELL, "eci": 2**28}]},
        {"lte": [{**CELL, "mcc": True}]},
        {"lte": [{**CELL, "mnc": "x"}]},
        {"lte": [{**CELL, "tac": None}]},
        {"lte": [{**CELL, "rsrp": -200}]},
        {"lte": [{**CELL, "nmr": [{"pci": 1}]}]},
        {"wifi": {"accessPoints": POINTS[:1]}},
        {"wifi": "x"},
        {"lte": [CELL], "wifi": {}},
        {"wifi": {"accessPoints": [POINTS[0], {"macAddress": "02:00:00:00:00:01"}]}},
        {"wifi": {"accessPoints": [POINTS[0], {"macAddress": "00:21:55"}]}},
        {"wifi": {"accessPoints": [POINTS[0], {**POINTS[1], "signalStrength": 1}]}},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_a_request_that_breaks_a_rule_is_refused(cloud: Cloud, keys: Keys, body: dict[str, Any]) -> None:
    refused = fix(cloud, keys, body)
    assert (refused.status, refused.json()["code"]) == (422, 42200)


@pytest.mark.conformance
def test_a_key_without_a_device_is_enough_and_the_accounts_is_none(cloud: Cloud, keys: Keys) -> None:
    assert fix(cloud, keys, {"lte": [CELL]}, device=KEYED).status == 200
    assert ask(cloud, "GET", f"/fota-job-executions/{KEYED}/current", keys.token(KEYED)).status == 404
    assert ask(cloud, "POST", "/location/ground-fix", json={"lte": [CELL]}).status == 403
    assert ask(cloud, "POST", "/location/ground-fix", keys.token(DEVICE), body=b"no JSON").json()["code"] == 40000
    assert fix(cloud, keys, {"lte": [CELL]}, "?doReply=perhaps").json()["code"] == 40000
    assert ask(cloud, "GET", "/location/history", keys.token(DEVICE)).status == 403


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just([]) | st.just({})
cells = st.fixed_dictionaries({name: st.just(1) | json_values for name in CELL}, optional={"nmr": json_values})
macs = st.fixed_dictionaries({"macAddress": json_values | st.just("00:21:55:61:F3:0A")})
wifi = st.lists(macs, max_size=3).flatmap(lambda points: st.sampled_from([points, {"accessPoints": points}]))


@given(
    st.fixed_dictionaries({}, optional={"lte": json_values | st.lists(cells, max_size=2), "wifi": json_values | wifi})
)
def test_any_body_is_a_place_on_earth_or_a_refusal(body: dict[str, Any]) -> None:
    try:
        found = ground_fix(body)
    except NrfError:
        return
    assert abs(found.lat) <= 90
    assert abs(found.lon) <= 180


# ---- where devices have been ----------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_the_account_sees_where_its_devices_have_been(cloud: Cloud, tmp_path: Path) -> None:
    name, keys = "rover-1", Keys(tmp_path, "rover-1")
    assert bulk(cloud, "/devices", f'{name},,roving,,"{keys.certificate}"\n')["status"] == "SUCCEEDED"
    assert fix(cloud, keys, {"lte": [CELL]}, device=name).status == 200
    assert fix(cloud, keys, {"wifi": {"accessPoints": POINTS}}, "?doReply=false", name).status == 200
    gga = "$GPGGA,092204.999,4250.5589,S,14718.5084,E,1,04,24.4,19.7,M,,,,0000*1F"
    position = {"lat": 63.4, "lng": 10.4, "acc": 5, "alt": 40}
    messages = [
        {"appId": "GNSS", "messageType": "DATA", "data": data} for data in (position, gga, "$GPGGA,,", {"x": 1})
    ]
    for message in messages:
        assert (
            ask(cloud, "POST", f"/devices/{name}/messages", keys.token(name), json={"message": message}).status == 202
        )
    coordinates = {"lat": 1.5, "lon": -2.5, "spd": 3}
    assert ask(cloud, "POST", "/location/gnss", keys.token(name), json=coordinates).status == 202
    assert ask(cloud, "POST", "/location/gnss", keys.token(name), body=gga.encode()).status == 202
    for wrong in ({"lat": 91, "lon": 0}, {"lat": "1", "lon": 0}, []):
        assert ask(cloud, "POST", "/location/gnss", keys.token(name), json=wrong).status == 422

    def history(query: str) -> Any:
        return ask(cloud, "GET", f"/location/history?deviceId={name}&{query}").json()

    found = history("pageSort=asc")["items"]
    kinds = [entry["serviceType"] for entry in found]
    assert kinds == ["SCELL", "WIFI", "GNSS", "GNSS", "GNSS", "GNSS"]
    assert (found[0]["lat"], found[0]["lon"], found[0]["uncertainty"]) == ("61.4982", "23.761", "1500")
    assert (found[2]["lat"], found[2]["uncertainty"], found[2]["meta"]) == ("63.4", "5", {"acc": 5, "alt": 40})
    assert (found[3]["lat"], found[3]["lon"]) == ("-42.8426483", "147.3084733")
    assert found[4]["meta"] == {"spd": 3}
    page = history("pageLimit=4")
    rest = history(f"pageLimit=4&pageNextToken={page['pageNextToken']}")
    assert [*page["items"], *rest["items"]] == found[::-1]
    assert (page["total"], rest["total"], "pageNextToken" in rest) == (4, 2, False)
    assert history("latest=true")["items"] == [found[-1]]
    assert history(f"start={found[2]['insertedAt']}&pageSort=asc")["items"] == found[2:]
    assert history("end=2001-01-01")["items"] == []
    assert history("start=yesterday")["code"] == 40000
    tagged = ask(cloud, "GET", "/location/history?tags=roving&pageLimit=100").json()["items"]
    assert tagged == found[::-1]
    gone = f"/location/history/{name}/{found[0]['id']}"
    assert [ask(cloud, "DELETE", gone).status for _ in range(2)] == [202, 404]
    assert history("pageSort=asc")["items"] == found[1:]


def test_a_sentence_is_a_fix_or_nothing() -> None:
    assert nmea("$GNGGA,1,0000.0,N,00000.5,W,2,9,1,,M,,,,") == {"lat": 0.0, "lon": -0.0083333}
    for wrong in (
        "$GPGGA,1,0000.0,N,00000.0,W,0,9,1,5,M,,",
        "$GPGGA,1,0000.0,N,00000.0,W,1,9,1,5,M,,*FF",
        "",
        "$GPRMC",
    ):
        assert nmea(wrong) is None


# ---- MQTT -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mqtt(cloud: Cloud, tmp_path: Path) -> Iterator[Device]:
    name = "rover-2"
    keys = MqttKeys(tmp_path, name, MqttKeys(tmp_path, "fleet"))
    assert bulk(cloud, "/devices", f'{name},,,,"{keys.pem}"\n')["status"] == "SUCCEEDED"
    with Device(cloud, name, keys.files) as made:
        yield made.pair()
    assert ask(cloud, "DELETE", f"/devices/{name}").status == 202


@pytest.mark.conformance
def test_each_service_answers_on_a_topic_of_its_own(cloud: Cloud, mqtt: Device) -> None:
    base = mqtt.d2c.removesuffix("d2c")

    def say(service: str, data: Any, **more: Any) -> None:
        mqtt.publish(mqtt.d2c, {"appId": service, "messageType": "DATA", "data": data, **more})

    head = {"appId": "GROUND_FIX", "messageType": "DATA"}
    say("GROUND_FIX", {"lte": [CELL]}, config={"doReply": False})
    say("GROUND_FIX", {"lte": [CELL], "doReply": 0})
    say("GROUND_FIX", {"lte": [CELL]})
    found = {"lat": 61.4982, "lon": 23.761, "uncertainty": 1500, "fulfilledWith": "SCELL"}
    assert mqtt.waits_for(f"{base}ground_fix/r") == {**head, "data": found}
    say("GROUND_FIX", {"lte": [UNKNOWN_CELL]}, config={"fallback": False})
    assert mqtt.waits_for(f"{base}ground_fix/r", 2) == {**head, "err": 40410}
    for number, wrong in enumerate(({}, "x", {"lte": [{}]}), 3):
        say("GROUND_FIX", wrong)
        assert mqtt.waits_for(f"{base}ground_fix/r", number) == {**head, "err": 42200}
    kept = ask(cloud, "GET", "/location/history?deviceId=rover-2").json()["items"]
    assert [entry["serviceType"] for entry in kept] == ["SCELL"] * 3
    say("PGPS", {"predictionCount": 2})
    host, path = mqtt.waits_for(f"{base}pgps/r")
    assert len(urllib3.request("GET", f"http://{host}/{path}").data) == 16 + 2 * 2006
    say("PGPS", {"predictionCount": 100})
    assert mqtt.waits_for(f"{base}pgps/r", 2) == {"appId": "PGPS", "messageType": "DATA", "err": 42200}
    say("AGNSS", {"types": [2, 3], **CELL})
    assert list(elements(mqtt.waits_for(f"{base}agnss/r"))) == [2, 3]
    say("AGNSS", {"types": [99]})
    assert mqtt.waits_for(f"{base}agnss/r", 2) == {"appId": "AGNSS", "messageType": "DATA", "err": 42200}


# ---- CoAP -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def coap(cloud: Cloud, keys: Keys) -> Iterator[CoapDevice]:
    with CoapDevice(cloud.told["nrf_coap"], cloud.told["ca"]) as made:
        assert str(made.login(keys.token(KEYED)).code) == "2.01 Created"
        yield made


@pytest.mark.conformance
def test_coap_has_the_same_services_with_numbers_for_names(cloud: Cloud, keys: Keys, coap: CoapDevice) -> None:
    def fetch(path: str, body: Any, **options: Any) -> Any:
        return coap.ask("FETCH", f"loc/{path}", cbor2.dumps(body), content_format=60, **options)

    cell = {6: 244, 7: 91, 8: 36078631, 9: 4099}
    points = [{12: bytes.fromhex("001839598c53"), 14: -42}, {12: bytes.fromhex("00215561f30a"), 17: "x"}]
    neighbours = [{1: 41490, 2: 143, 3: -100, 4: -10.5}]
    cases = [
        ({19: [cell]}, {"lte": [CELL]}),
        ({19: [{**cell, 11: neighbours}]}, {"lte": [{**CELL, "nmr": [{"earfcn": 41490, "pci": 143, "rsrp": -100}]}]}),
        ({20: {18: points}}, {"wifi": {"accessPoints": POINTS}}),
    ]
    for asked, same in cases:
        answer = fetch("ground-fix", asked)
        assert str(answer.code) == "2.05 Content"
        assert list(cbor2.loads(answer.payload).values()) == list(fix(cloud, keys, same).json().values())
    silent = fetch("ground-fix?doReply=0", cases[0][0])
    assert (str(silent.code), silent.payload) == ("2.05 Content", b"")
    for code, path, wrong in (
        ("4.22", "ground-fix", {}),
        ("4.00", "ground-fix", {99: 1}),
        ("4.00", "ground-fix", [1]),
        ("4.00", "ground-fix?fallback=no", cases[0][0]),
        ("4.00", "ground-fix", {19: [{6: None}]}),
        ("4.04", "ground-fix", {19: [{**cell, 6: 999}]}),
        ("4.22", "agnss", {1: [99]}),
        ("4.22", "pgps", {1: 200}),
    ):
        assert str(fetch(path, wrong).code)[:4] == code, (path, wrong)
    assert str(coap.ask("FETCH", "loc/pgps", b"{}", content_format=50).code)[:4] == "4.15"
    place = cbor2.loads(fetch("pgps", {1: 1, 2: 120}).payload)
    assert len(coap.download(f"https://{place[1]}/{place[2]}")) == 16 + 2006
    content, number, more = b"", 0, True
    while more:
        answer = fetch("agnss", {2: 36078631, 5: 244, 6: 91, 8: 4099}, block2=(number, False, 6))
        assert (str(answer.code), answer.opt.content_format) == ("2.05 Content", 42)
        content, number, more = content + answer.payload, number + 1, answer.opt.block2.more
    assert list(elements(content)) == [1, 2, 3, 4, 6, 7, 9]
