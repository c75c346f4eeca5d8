"""nRF Cloud's MQTT plane with paho as the device: MQTT 3.1.1, TLS, a certificate of a CA of the test's own, onboarded over REST."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import pytest
import urllib3
from cryptography.hazmat.primitives import serialization
from nrf_mqtt_rig import Device, execution, hit, job, press, state
from nrf_rig import CoapDevice, ask, bulk, jitp
from standin_mqtt import Keys, Mqtt, wait_until
from standin_rig import Cloud

from agent.sim.nrf.onboarding import PREFIX

BLE = "AA:BB:CC:DD:EE:01"

Make = Callable[..., tuple[str, Keys]]


@pytest.fixture(scope="module")
def onboard(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Onboards another device; its id and its keys."""
    folder, numbers = tmp_path_factory.mktemp("fleet"), count(1)
    authority = Keys(folder, "fleet")

    def make(sub_type: str = "", tags: str = "") -> tuple[str, Keys]:
        name = f"nrf-{next(numbers)}"
        keys = Keys(folder, name, authority)
        done = bulk(cloud, "/devices", f'{name},{sub_type},{tags},APP|MODEM,"{keys.pem}"\n')
        assert done["status"] == "SUCCEEDED", done
        return name, keys

    return make


@pytest.fixture
def device(cloud: Cloud, onboard: Make) -> Iterator[Device]:
    name, keys = onboard()
    with Device(cloud, name, keys.files) as made:
        yield made.pair()


@pytest.fixture
def gateway(cloud: Cloud, onboard: Make) -> Iterator[Device]:
    """A gateway as the JavaScript one is: it reports no pairing."""
    name, keys = onboard("test-gateway")
    with Device(cloud, name, keys.files) as made:
        made.pairing = made.ask()
        c2g = f"{PREFIX}gateways/{name}/c2g"
        shadow = (f"{PREFIX}{name}/shadow/get/accepted", f"{PREFIX}{name}/shadow/update/delta")
        assert made.subscribe(c2g, *shadow, f"{made.jobs}/ble/rcv") == [1] * 4
        yield made


# ---- pairing --------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_a_device_takes_its_topics_as_the_sdk_does(cloud: Cloud, device: Device) -> None:
    shadow = state(cloud, device.name)
    assert shadow["reported"]["pairing"] == shadow["desired"]["pairing"] == device.pairing["pairing"]
    assert press(cloud, do="c2d", device=device.name, message={"appId": "LIGHT", "messageType": "CFG_SET"}) == 202
    routed = device.d2c.removesuffix("d2c") + "c2d/r"
    assert device.waits_for(routed) == {"appId": "LIGHT", "messageType": "CFG_SET"}
    message = {"topic": f"d/{device.name}/c2d", "message": {"appId": "MODEM"}}
    assert ask(cloud, "POST", f"/devices/{device.name}/messages", json=message).status == 202
    assert device.waits_for(routed, 2) == {"appId": "MODEM"}
    assert press(cloud, do="c2d", device=device.name, message="no object") == 400
    assert press(cloud, do="c2d", device="nobody", message={}) == 404


@pytest.mark.conformance
def test_who_keeps_its_topic_hears_on_it(cloud: Cloud, onboard: Make) -> None:
    name, keys = onboard()
    with Device(cloud, name, keys.files) as device:
        c2d = device.ask()["pairing"]["topics"]["c2d"]
        device.subscribe(c2d)
        assert press(cloud, do="c2d", device=name, message={"appId": "LED"}) == 202
        assert device.waits_for(c2d) == {"appId": "LED"}


@pytest.mark.conformance
def test_a_device_that_is_not_associated_waits_for_its_pairing(cloud: Cloud, tmp_path: Path) -> None:
    made = ask(cloud, "POST", "/devices/late-1/certificates", body=b"code", headers={"Content-Type": "text/plain"})
    files = tmp_path / "late.pem", tmp_path / "late.key"
    files[0].write_text(made.json()["clientCert"])
    files[1].write_text(made.json()["privateKey"])
    jitp(cloud, files)
    delta = "late-1/shadow/update/delta/trim"
    with Device(cloud, "late-1", files) as device:
        assert device.ask() == {}
        device.report_unassociated()
        device.publish(f"{PREFIX}m/d/late-1/d2c", {"appId": "TEMP"})
        assert ask(cloud, "PUT", "/association/late-1", body=b"code").status == 202
        told = device.waits_for(delta)
        assert set(told) == {"state", "version", "timestamp"}
        device.take(told["state"])
        wait_until(lambda: state(cloud, "late-1")["reported"]["pairing"] == device.pairing["pairing"])
        device.publish(device.d2c, {"appId": "TEMP", "data": "1"})
        heard = ask(cloud, "GET", "/messages?deviceId=late-1").json()["items"]
        assert [entry["message"] for entry in heard] == [{"appId": "TEMP", "data": "1"}]
        before = len(device.on(delta))
        assert ask(cloud, "DELETE", "/association/late-1").status == 202
        assert device.waits_for(delta, before + 1)["state"]["pairing"]["state"] == "not_associated"


@pytest.mark.conformance
def test_a_topic_that_is_not_listed_ends_the_connection(cloud: Cloud, onboard: Make) -> None:
    name, keys = onboard()
    for topic in (f"{PREFIX}#", f"{PREFIX}m/d/other/c2d", f"{PREFIX}{name}/jobs/get", f"{PREFIX}gateways/{name}/c2g"):
        with Device(cloud, name, keys.files) as device:
            device.client.subscribe(topic)
            assert device.ended.result(10)
    with Device(cloud, name, keys.files) as device:
        device.client.publish("other/shadow/update", "{}", 1)
        assert device.ended.result(10)


@pytest.mark.conformance
def test_a_deleted_device_is_told_and_then_not_known_any_more(cloud: Cloud, onboard: Make) -> None:
    name, keys = onboard()
    with Device(cloud, name, keys.files).pair() as device:
        waiting = job(cloud, name)
        assert ask(cloud, "DELETE", f"/devices/{name}").status == 202
        assert ask(cloud, "GET", f"/devices/{name}").status == 404
        routed = device.d2c.removesuffix("d2c") + "c2d/r"
        assert device.waits_for(routed) == {"appId": "DEVICE", "messageType": "DISCON"}
        device.publish(f"{name}/shadow/update", {"state": {"reported": {"late": 1}}})
        assert device.ended.result(10)
    with Mqtt(cloud, keys.files, name, v5=False) as again:
        assert again.connected() != "Success"
    assert bulk(cloud, "/devices", f'{name},,,,"{keys.pem}"\n')["status"] == "SUCCEEDED"
    with Device(cloud, name, keys.files) as device:
        assert device.ask()["pairing"]["state"] == "paired"
        wait_until(lambda: set(state(cloud, name)["reported"]) == {"connection"})
        assert execution(cloud, name, waiting)[0] == "CANCELLED"


@pytest.mark.conformance
def test_the_shadow_says_who_is_connected(cloud: Cloud, device: Device) -> None:
    def connection() -> Any:
        return {
            key: value
            for key, value in state(cloud, device.name)["reported"]["connection"].items()
            if key != "keepalive"
        }

    assert connection() == {"status": "connected"}
    device.stop()
    wait_until(lambda: connection() == {"status": "disconnected", "disconnectReason": "CLIENT_INITIATED_DISCONNECT"})


# ---- the shadow -----------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_deltas_come_in_every_form_whoever_wants_something(cloud: Cloud, device: Device, onboard: Make) -> None:
    delta, name = f"{device.name}/shadow/update/delta", device.name
    device.subscribe(delta, f"{delta}/full", f"$aws/things/{delta}")
    short = len(device.on(f"{delta}/trim"))
    wanted = {"control": {"logLvl": 4}}
    assert ask(cloud, "PATCH", f"/devices/{name}/state", json={"desired": wanted}).status == 202
    whole = device.waits_for(delta)
    assert (whole["state"], set(whole)) == (wanted, {"state", "metadata", "version", "timestamp"})
    assert whole == device.waits_for(f"{delta}/full") == device.waits_for(f"$aws/things/{delta}")
    trimmed = device.waits_for(f"{delta}/trim", short + 1)
    assert trimmed == {key: whole[key] for key in ("state", "version", "timestamp")}
    assert ask(cloud, "PATCH", f"/devices/{name}/state", json={"desired": {"big": "x" * 1792}}).status == 202
    error = device.waits_for(f"{delta}/trim/err")
    assert (error["err"], set(error)) == (41300, {"err", "message", "version", "timestamp"})
    assert device.waits_for(delta, 2)["version"] == error["version"]
    assert len(device.on(f"{delta}/trim")) == short + 1


@pytest.mark.conformance
def test_what_is_wanted_over_coap_comes_over_mqtt(cloud: Cloud, onboard: Make) -> None:
    name, keys = onboard()
    pem = keys.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    token = jwt.encode({"sub": name, "exp": 4102444800}, pem, "ES256")
    with Device(cloud, name, keys.files).pair() as device, CoapDevice(cloud.told["nrf_coap"], cloud.told["ca"]) as coap:
        assert str(coap.login(token).code) == "2.01 Created"
        before = len(device.on(f"{name}/shadow/update/delta/trim"))
        coap.ask("PATCH", "state/desired", b'{"period":60}', content_format=50)
        assert device.waits_for(f"{name}/shadow/update/delta/trim", before + 1)["state"] == {"period": 60}


@pytest.mark.conformance
def test_the_shadow_can_be_had_whole_and_without_metadata(cloud: Cloud, device: Device, gateway: Device) -> None:
    shadow = f"{device.name}/shadow"
    device.subscribe(f"{shadow}/get/accepted", f"{shadow}/get/accepted/trim", f"$aws/things/{shadow}/get/accepted")
    for topic in (f"{shadow}/get", f"{shadow}/get/trim", f"$aws/things/{shadow}/get"):
        device.publish(topic, b"")
    short = device.waits_for(f"{shadow}/get/accepted")
    assert short["desired"]["pairing"] == short["reported"]["pairing"] == device.pairing["pairing"]
    assert "metadata" not in short
    assert device.waits_for(f"{shadow}/get/accepted/trim")["desired"] == short["desired"]
    whole = device.waits_for(f"$aws/things/{shadow}/get/accepted")
    assert (whole["state"]["desired"], "metadata" in whole) == (short["desired"], True)
    device.publish(f"$aws/things/{shadow}/update", {"state": {"reported": {"name": "hall"}}})
    wait_until(lambda: state(cloud, device.name)["reported"].get("name") == "hall")
    gateway.publish(f"{PREFIX}{gateway.name}/shadow/get", b"")
    found = gateway.waits_for(f"{PREFIX}{gateway.name}/shadow/get/accepted")
    assert found["state"]["desired"]["pairing"]["state"] == "paired"
    gateway.publish(f"{PREFIX}{gateway.name}/shadow/update", {"state": {"reported": {"name": "loft"}}})
    wait_until(lambda: state(cloud, gateway.name)["reported"].get("name") == "loft")


@pytest.mark.conformance
def test_transforms_answer_errors_and_limits(device: Device) -> None:
    assert device.transform("state.desired.pairing.state") == {"tf": "paired"}
    assert device.transform("state.nothing") == {"tf": None}
    wrong = device.transform("state.(")
    assert (wrong["err"], wrong["position"] > 0, wrong["message"][:5]) == (40000, True, "S0203")
    assert device.transform("$error('no')")["message"] == "D3137: no"
    assert device.transform("function($x){$x}")["err"] == 40000
    assert device.transform("( $f := function(){$f()}; $f() )")["message"].startswith("D1012")
    assert device.transform("[1..10000]")["err"] == 41300
    assert device.transform("state.desired", l=20)["err"] == 41300
    assert device.transform("[1..10000]", l=100000)["tf"][-1] == 10000
    for payload in (b"no JSON", {"l": 10}, {"t": 1}, {"t": "state", "l": "x"}):
        before = len(device.on(f"{device.name}/shadow/get/rejected"))
        device.publish(f"{device.name}/shadow/get/tf", payload)
        assert device.waits_for(f"{device.name}/shadow/get/rejected", before + 1)["code"] == 400


# ---- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_messages_are_kept_as_rest_keeps_them(cloud: Cloud, device: Device) -> None:
    temperature = {"appId": "TEMP", "messageType": "DATA", "data": "23.5", "ts": 1700000000000}
    for topic, body in (
        (device.d2c, b"no JSON"),
        (device.d2c, [1]),
        (f"{device.d2c}/bulk", {"appId": "TEMP"}),
        (device.d2c, b'{"data":NaN}'),
        (device.d2c, temperature),
        (f"{device.d2c}/bulk", [temperature, temperature]),
        (f"{device.d2c}/bin", b"\0\xff"),
    ):
        device.publish(topic, body)
    url = f"/devices/{device.name}/messages"
    assert ask(cloud, "POST", url, json={"message": {"appId": "HUMID"}}).status == 202
    found = ask(cloud, "GET", f"/messages?deviceId={device.name}&pageSort=asc").json()["items"]
    assert [(entry["topic"], entry["message"]) for entry in found] == [
        (f"d/{device.name}/d2c", temperature),
        (f"d/{device.name}/d2c/bulk", [temperature, temperature]),
        (f"d/{device.name}/d2c/bin", "AP8="),
        (f"d/{device.name}/d2c", {"appId": "HUMID"}),
    ]
    page = ask(cloud, "GET", f"/messages?deviceId={device.name}&pageLimit=3").json()
    assert page["items"][0]["message"] == {"appId": "HUMID"}
    rest = ask(cloud, "GET", f"/messages?deviceId={device.name}&pageNextToken={page['pageNextToken']}").json()
    assert (len(page["items"]), len(rest["items"]), "pageNextToken" in rest) == (3, 1, False)
    of_app = ask(cloud, "GET", f"/messages?deviceId={device.name}&appId=TEMP").json()["items"]
    assert [entry["message"] for entry in of_app] == [temperature]
    assert ask(cloud, "GET", "/messages?pageLimit=x").status == 400


# ---- FOTA -----------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_a_job_is_pushed_offered_again_and_told_of(cloud: Cloud, device: Device) -> None:
    receive, made = f"{device.jobs}/rcv", job(cloud, device.name)
    offer = device.waits_for(receive)
    assert offer[:3] == [made, 0, 2048]
    assert len(urllib3.request("GET", f"http://{offer[3]}/{offer[4]}").data) == 2048
    for status, details, shown in ((7, 40, "DOWNLOADING"), (7, 100, "DOWNLOADING"), (1, "", "IN_PROGRESS")):
        device.publish(f"{device.jobs}/update", [made, status, details])
        assert execution(cloud, device.name, made) == (shown, str(details))
        before = len(device.on(receive))
        device.publish(f"{device.jobs}/req", [made])
        assert device.waits_for(receive, before + 1) == offer
    device.publish(f"{device.jobs}/update", [made, 3, "done"])
    assert execution(cloud, device.name, made) == ("SUCCEEDED", "done")
    device.publish(f"{device.jobs}/update", [made, 2, "late"])
    assert execution(cloud, device.name, made) == ("SUCCEEDED", "done")


@pytest.mark.conformance
def test_the_newest_job_that_has_a_number_is_offered(cloud: Cloud, device: Device) -> None:
    receive = f"{device.jobs}/rcv"
    first, second = job(cloud, device.name), job(cloud, device.name, "MODEM")
    third = job(cloud, device.name, "MDM_FULL")
    assert device.waits_for(receive, 2)[:2] == [second, 1]
    for asked, offered in (([""], second), ([first], first), ([third], ""), (["none"], ""), ([1], ""), ([""], second)):
        before = len(device.on(receive))
        device.publish(f"{device.jobs}/req", asked)
        if offered:
            assert device.waits_for(receive, before + 1)[0] == offered
    assert third not in [offer[0] for offer in device.on(receive)]
    for update in ([first, 9, ""], [first, True, ""], [first], ["none", 3, ""], "x", [third, 6, "unknown type"]):
        device.publish(f"{device.jobs}/update", update)
    assert [execution(cloud, device.name, made)[0] for made in (first, third)] == ["QUEUED", "REJECTED"]
    current = ask(cloud, "GET", f"/fota-job-executions/{device.name}/current").json()
    assert current["jobId"] == first


@pytest.mark.conformance
def test_a_ble_device_gets_its_firmware_through_its_gateway(cloud: Cloud, gateway: Device, device: Device) -> None:
    receive, address = f"{gateway.jobs}/ble/rcv", "AA:BB:CC:DD:EE:02"
    assert ask(cloud, "PUT", f"/devices/{gateway.name}/{address}").status == 204
    made = job(cloud, address)
    offer = gateway.waits_for(receive)
    assert offer[:4] == [address, made, 0, 2048]
    for number, asked in enumerate(([address], [address, made]), 2):
        gateway.publish(f"{gateway.jobs}/ble/req", asked)
        assert gateway.waits_for(receive, number) == offer
    gateway.publish(f"{gateway.jobs}/ble/update", [address, made, 7, 50])
    gateway.publish(f"{gateway.jobs}/ble/update", ["AA:BB:CC:DD:EE:FF", made, 2, ""])
    assert execution(cloud, address, made) == ("DOWNLOADING", "50")
    device.client.publish(f"{device.jobs}/ble/req", json.dumps([address]), 1)
    assert device.ended.result(10)  # it is no gateway


# ---- gateways -------------------------------------------------------------------------------------------------------


def event(gateway: Device, kind: str, **members: Any) -> None:
    inner = {"type": kind, "timestamp": "2024-01-01T00:00:00.000Z", **members}
    message = {"type": "event", "gatewayId": gateway.name, "event": inner, "messageId": 1}
    gateway.publish(f"{PREFIX}gateways/{gateway.name}/g2c", message)


@pytest.mark.conformance
def test_a_gateway_scans_and_tells_what_it_finds(cloud: Cloud, gateway: Device) -> None:
    url, c2g = f"/devices/{gateway.name}/scan", f"{PREFIX}gateways/{gateway.name}/c2g"
    assert ask(cloud, "GET", url).status == 404
    assert ask(cloud, "POST", url, json={"scanTimeout": 70000}).status == 400
    assert ask(cloud, "POST", url, json={"scanTimeout": 5, "filter": {"name": "Th"}}).status == 202
    asked = gateway.waits_for(c2g)
    assert (asked["type"], bool(asked["id"])) == ("operation", True)
    operation = {"type": "scan", "scanTimeout": 5, "scanMode": "active", "scanType": 0, "scanReporting": "instant"}
    assert operation.items() <= asked["operation"].items()
    assert asked["operation"]["filter"] == {"name": "Th"}
    for found in (hit(BLE, -60), hit("AA:BB:CC:DD:EE:02", -70), hit(BLE, -50)):
        event(gateway, "scan_result", subType="instant", devices=[found], timeout=False)
    event(gateway, "scan_result", subType="instant", devices=[], timeout=True)
    event(gateway, "scan_result", subType="instant", devices=[hit(BLE, -10)], timeout=False)  # a watched beacon
    told = ask(cloud, "GET", url).json()
    assert (told["devices"], told["timeout"]) == ([hit(BLE, -50), hit("AA:BB:CC:DD:EE:02", -70)], True)
    events = ask(cloud, "GET", f"/devices/{gateway.name}/events").json()["items"]
    assert [entry["event"]["type"] for entry in events] == ["scan_result"] * 5


@pytest.mark.conformance
def test_a_ble_device_is_connected_discovered_read_and_written(cloud: Cloud, gateway: Device) -> None:
    c2g, url = f"{PREFIX}gateways/{gateway.name}/c2g", f"/devices/{BLE}"
    delta = f"{PREFIX}{gateway.name}/shadow/update/delta"
    assert ask(cloud, "PUT", f"/devices/{gateway.name}/{BLE.lower()}").status == 204
    wait_until(lambda: any(told["state"].get("desiredConnections") == [BLE] for told in gateway.on(delta)))
    event(gateway, "device_connect_result", device={"id": BLE, "status": {"connected": True}})
    assert ask(cloud, "GET", url).json()["status"] == {"connected": True}
    assert ask(cloud, "POST", f"/devices/{gateway.name}/discover/{BLE}").status == 202
    assert gateway.waits_for(c2g)["operation"] == {"type": "device_discover", "deviceAddress": BLE}
    client = {"uuid": "2902", "path": "180F/2A19/2902", "value": [0, 0]}
    level = {
        "uuid": "2A19",
        "path": "180F/2A19",
        "value": [90],
        "properties": {"read": True},
        "descriptors": {"2902": client},
    }
    services = {"180F": {"uuid": "180F", "characteristics": {"2A19": level}}}
    event(gateway, "device_discover_result", device={"id": BLE}, services=services)
    assert ask(cloud, "GET", url).json()["state"] == services
    value, descriptor = f"{url}/characteristics/2A19", f"{url}/characteristics/180F%2F2A19/descriptors/2902"
    assert ask(cloud, "GET", f"{value}?read=true").json() == [90]
    names = {"deviceAddress": BLE, "serviceUUID": "180F", "characteristicUUID": "2A19"}
    assert gateway.waits_for(c2g, 2)["operation"] == {"type": "device_characteristic_value_read", **names}
    characteristic = {"uuid": "2A19", "path": "180F/2A19", "value": [80]}
    event(gateway, "device_characteristic_value_changed", device={"id": BLE}, characteristic=characteristic)
    assert ask(cloud, "GET", value).json() == [80]
    assert ask(cloud, "PUT", value, json=[1, 255]).status == 202
    written = {"type": "device_characteristic_value_write", **names, "characteristicValue": [1, 255]}
    assert gateway.waits_for(c2g, 3)["operation"] == written
    assert ask(cloud, "PUT", value, json=[256]).status == 400
    assert ask(cloud, "PUT", descriptor, json=[1, 0]).status == 202
    written = {"type": "device_descriptor_value_write", **names, "descriptorUUID": "2902", "descriptorValue": [1, 0]}
    assert gateway.waits_for(c2g, 4)["operation"] == written
    event(gateway, "device_descriptor_value_changed", device={"id": BLE}, descriptor={**client, "value": [1, 0]})
    assert ask(cloud, "GET", descriptor).json() == [1, 0]
    assert ask(cloud, "GET", f"{url}/characteristics/FFFF").status == 404
    assert ask(cloud, "DELETE", url).status == 202
    assert ask(cloud, "GET", url).status == 404
    assert state(cloud, gateway.name)["desired"]["desiredConnections"] == []


@pytest.mark.conformance
def test_a_gateway_that_is_the_sdks_hears_and_tells_among_its_messages(cloud: Cloud, onboard: Make) -> None:
    name, keys = onboard("lte-gateway")
    with Device(cloud, name, keys.files).pair("ble/rcv") as gateway:
        assert ask(cloud, "POST", f"/devices/{name}/scan").status == 202
        asked = gateway.waits_for(gateway.d2c.removesuffix("d2c") + "c2d/r")
        assert asked["operation"]["type"] == "scan"
        found = {"type": "scan_result", "subType": "instant", "devices": [hit(BLE, -40)], "timeout": True}
        gateway.publish(gateway.d2c, {"type": "event", "gatewayId": name, "requestId": None, "event": found})
        assert ask(cloud, "GET", f"/devices/{name}/scan").json()["devices"] == [hit(BLE, -40)]
        assert ask(cloud, "DELETE", f"/devices/{name}").status == 202
        routed = gateway.d2c.removesuffix("d2c") + "c2d/r"
        gateway.waits_for(routed, 3)
        assert gateway.on(routed)[1]["operation"] == {"type": "delete_yourself"}
