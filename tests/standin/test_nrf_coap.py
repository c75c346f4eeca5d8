"""nRF Cloud's CoAP plane: libcoap's client for one request at a time, OpenSSL with aiocoap's codec for sessions of several."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nrf_rig import CoapDevice, Keys, ask, bulk
from OpenSSL import SSL
from standin_rig import Cloud

from agent.sim.authority import Authority
from agent.sim.coap import Peer, Request
from agent.sim.dtls import Session
from agent.sim.iot.shadows import Shadows
from agent.sim.nrf.coap import NrfCoap
from agent.sim.nrf.devices import Devices
from agent.sim.nrf.fota import Fota
from agent.sim.nrf.identities import Identities
from agent.sim.nrf.location import Location
from agent.sim.nrf.provisioning import Provisioning
from agent.sim.nrf.provisioning_coap import CoapProvisioning
from agent.sim.objects import Objects
from agent.sim.records import Records

DEVICE = "sensor-1"
JSON, CBOR = 50, 60
LOGINS = (("auth", "jwt"), ("p", "auth-jwt"))


@pytest.fixture(scope="module")
def keys(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    made = Keys(tmp_path_factory.mktemp("keys"), DEVICE)
    assert bulk(cloud, "/devices", f'{DEVICE},,,APP,"{made.certificate}"\n')["status"] == "SUCCEEDED"
    return made


def session(cloud: Cloud, **options: Any) -> CoapDevice:
    return CoapDevice(cloud.told["nrf_coap"], cloud.told["ca"], **options)


@pytest.fixture
def device(cloud: Cloud, keys: Keys) -> Iterator[CoapDevice]:
    with session(cloud) as made:
        assert str(made.login(keys.token(DEVICE)).code) == "2.01 Created"
        yield made


def libcoap(cloud: Cloud, method: str, path: str, *options: str, ca: str = "", host: str = "") -> str:
    """What libcoap's client tells: its log line of the answer, or what went wrong."""
    url = cloud.told["nrf_coap"].replace("127.0.0.1", host or "127.0.0.1")
    command = ["coap-client-openssl", "-v", "6", "-B", "5", "-m", method, "-R", ca or cloud.told["ca"], *options]
    done = subprocess.run([*command, f"{url}/{path}"], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def messages(cloud: Cloud) -> list[dict[str, Any]]:
    with closing(Records(cloud.folder / "cloud.db", ())) as records:
        return list(records.all("nrf-message"))


# ---- libcoap --------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
@pytest.mark.parametrize("blocks", [(), ("-b", "64")], ids=["whole", "in-blocks"])
def test_libcoap_logs_in_with_a_token_of_the_devices_key(cloud: Cloud, keys: Keys, blocks: tuple[str, ...]) -> None:
    told = libcoap(cloud, "post", "auth/jwt?mver=1", *blocks, "-t", "0", "-e", keys.token(DEVICE))
    assert "2.01" in told
    assert "Max-Age:2592000" in told


@pytest.mark.conformance
def test_libcoap_is_refused_without_a_login_or_with_a_token_that_opens_nothing(
    cloud: Cloud, keys: Keys, tmp_path: Path
) -> None:
    assert "4.01" in libcoap(cloud, "get", "state")
    tokens = [Keys(tmp_path, "stranger").token(DEVICE), keys.token(DEVICE, exp=int(time.time()) - 1), "nonsense"]
    for token in tokens:
        assert "4.03" in libcoap(cloud, "post", "auth/jwt", "-t", "0", "-e", token)


@pytest.mark.conformance
def test_libcoap_does_not_talk_to_a_server_that_another_ca_signed(cloud: Cloud, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    told = libcoap(cloud, "get", "state", ca=str(other.certificate_path))
    assert "4.01" not in told
    assert "4.01" in libcoap(cloud, "get", "state", host="localhost")


# ---- sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_each_session_logs_in_for_itself(cloud: Cloud, keys: Keys) -> None:
    with session(cloud) as first, session(cloud) as second:
        assert str(first.login(keys.token(DEVICE)).code) == "2.01 Created"
        assert str(second.ask("GET", "state").code) == "4.01 Unauthorized"
        assert str(first.ask("GET", "state").code) == "2.05 Content"


@pytest.mark.conformance
def test_a_handshake_survives_lost_datagrams(cloud: Cloud, keys: Keys) -> None:
    with session(cloud, drop=lambda number: number in (1, 4)) as made:
        assert str(made.login(keys.token(DEVICE)).code) == "2.01 Created"


@pytest.mark.conformance
def test_a_device_that_starts_again_at_its_old_address_gets_a_new_session(cloud: Cloud, keys: Keys) -> None:
    with session(cloud) as before:
        before.login(keys.token(DEVICE))
        port = before.socket.getsockname()[1]
        before.socket.close()
        with session(cloud, port=port) as again:
            assert str(again.ask("GET", "state").code) == "4.01 Unauthorized"
            assert str(again.login(keys.token(DEVICE)).code) == "2.01 Created"


@pytest.mark.conformance
def test_the_delta_goes_when_the_device_reports_what_is_desired(cloud: Cloud, device: CoapDevice) -> None:
    paired = json.loads(device.ask("GET", "state").payload)
    assert (paired["pairing"]["state"], paired["nrfcloud_mqtt_topic_prefix"][:5]) == ("paired", "prod/")
    reported = device.ask("PATCH", "state/reported", json.dumps(paired).encode(), content_format=JSON)
    assert str(reported.code) == "2.04 Changed"
    wanted = {"desired": {"config": {"period": 60}}}
    assert ask(cloud, "PATCH", f"/devices/{DEVICE}/state", json=wanted).status == 202
    answer = device.ask("GET", "state", accept=JSON)
    assert (answer.opt.content_format, json.loads(answer.payload)) == (JSON, wanted["desired"])
    assert cbor2.loads(device.ask("GET", "state", accept=CBOR).payload) == wanted["desired"]
    reported = device.ask("PATCH", "state/reported", json.dumps(wanted["desired"]).encode(), content_format=JSON)
    assert str(reported.code) == "2.04 Changed"
    empty = device.ask("GET", "state")
    assert (str(empty.code), empty.payload) == ("2.05 Content", b"")
    assert json.loads(device.ask("GET", "state?delta=false").payload) == paired | wanted["desired"]
    state = ask(cloud, "GET", f"/devices/{DEVICE}").json()["state"]["state"]
    assert state == {"desired": paired | wanted["desired"], "reported": paired | wanted["desired"]}
    nothing = json.dumps(dict.fromkeys((*paired, "config"))).encode()
    gone = device.ask("PATCH", "state/desired", nothing, content_format=JSON)
    assert str(gone.code) == "2.04 Changed"
    assert device.ask("GET", "state?delta=false").payload == b""


@pytest.mark.conformance
def test_messages_are_kept_as_what_they_stand_for(cloud: Cloud, device: CoapDevice) -> None:
    before = len(messages(cloud))
    position = {1: "GNSS", 2: {4: 63.4, 5: 10.4, 6: 5}, 3: 1700000000000}
    sent = [
        device.ask("POST", "msg/d2c", cbor2.dumps({1: "TEMP", 2: "23.5", 3: 1700000000000}), content_format=CBOR),
        device.ask("POST", "msg/d2c", cbor2.dumps(position), content_format=CBOR),
        device.ask("POST", "msg/d2c", b'{"appId":"BUTTON","messageType":"DATA","data":"1"}', content_format=JSON),
        device.ask("POST", "msg/d2c/bulk", b'[{"appId":"TEMP"}]', content_format=JSON),
        device.ask("POST", "msg/d2c/bin", b"\0\1", content_format=42),
        device.ask("POST", "msg/d2c/raw", b"\x80", content_format=112),
    ]
    assert {str(answer.code) for answer in sent} == {"2.01 Created"}
    kept = [(entry["topic"].removeprefix(f"d/{DEVICE}/"), entry["message"]) for entry in messages(cloud)[before:]]
    place = {"lat": 63.4, "lng": 10.4, "acc": 5}
    assert kept == [
        ("d2c", {"appId": "TEMP", "messageType": "DATA", "data": "23.5", "ts": 1700000000000}),
        ("d2c", {"appId": "GNSS", "messageType": "DATA", "data": place, "ts": 1700000000000}),
        ("d2c", {"appId": "BUTTON", "messageType": "DATA", "data": "1"}),
        ("d2c/bulk", [{"appId": "TEMP"}]),
        ("d2c/bin", "AAE="),
        ("d2c/raw", "gA=="),
    ]


@pytest.mark.conformance
def test_a_repeated_request_is_carried_out_once(cloud: Cloud, device: CoapDevice) -> None:
    before = len(messages(cloud))
    asked = device.message("POST", "msg/d2c", b'{"appId":"TEMP","data":"1"}', content_format=JSON).encode()
    device.send(asked)
    device.send(asked)
    assert device.receive() == device.receive()
    assert len(messages(cloud)) == before + 1


@pytest.mark.conformance
def test_bad_requests_are_answered_with_a_code_and_a_reason(device: CoapDevice) -> None:
    cases: list[tuple[str, str, str, bytes, dict[str, Any]]] = [
        ("4.00", "POST", "msg/d2c", b"\xff", {"content_format": CBOR}),
        ("4.00", "POST", "msg/d2c", cbor2.dumps({1: "TEMP"}), {"content_format": CBOR}),
        ("4.00", "POST", "msg/d2c", cbor2.dumps({1: "TEMP", 2: 10**400}), {"content_format": CBOR}),
        ("4.00", "POST", "msg/d2c", b"[]", {"content_format": JSON}),
        ("4.00", "POST", "msg/d2c/bulk", b"{}", {"content_format": JSON}),
        ("4.15", "POST", "msg/d2c/bulk", b"\x80", {"content_format": CBOR}),
        ("4.00", "PATCH", "state/reported", b"[]", {"content_format": JSON}),
        ("4.00", "PATCH", "state/reported", b"[" * 1000, {"content_format": JSON}),
        ("4.15", "PATCH", "state/reported", b"x", {"content_format": 0}),
        ("4.13", "PATCH", "state/reported", b"x" * 1024, {"content_format": JSON, "block1": (64, True, 6)}),
        ("4.08", "PATCH", "state/reported", b"x" * 1024, {"content_format": JSON, "block1": (7, True, 6)}),
        ("4.06", "GET", "state", b"", {"accept": 0}),
        ("4.02", "GET", "state", b"", {"if_none_match": True}),
        ("4.05", "GET", "msg/d2c", b"", {}),
        ("4.05", "POST", "fota/exec/current", b"", {}),
        ("4.04", "GET", "fota/exec/current", b"", {}),
        ("4.04", "PATCH", "fota/exec/none", b'{"status":"FAILED"}', {"content_format": JSON}),
        ("4.04", "GET", "nothing", b"", {}),
        ("4.00", "GET", "proxy", b"", {}),
    ]
    for code, method, path, payload, options in cases:
        answer = device.ask(method, path, payload, **options)
        assert str(answer.code)[:4] == code, (method, path, options, answer.payload)
        assert answer.payload or code == "4.08"  # which is aiocoap's own


@pytest.mark.conformance
def test_blocks_with_a_gap_are_incomplete(device: CoapDevice) -> None:
    first = device.ask("PATCH", "state/reported", b"{" + b" " * 1023, content_format=JSON, block1=(0, True, 6))
    assert str(first.code) == "2.31 Continue"
    third = device.ask("PATCH", "state/reported", b" " * 1024, content_format=JSON, block1=(2, True, 6))
    assert str(third.code)[:4] == "4.08"
    second = device.ask("PATCH", "state/reported", b'"a":1}', content_format=JSON, block1=(1, False, 6))
    assert str(second.code) == "2.04 Changed"


@pytest.mark.conformance
def test_firmware_comes_block_by_block_and_goes_on_in_another_session(
    cloud: Cloud, device: CoapDevice, keys: Keys
) -> None:
    folder = cloud.folder / "s3" / "nrf-bundles"
    folder.mkdir(parents=True, exist_ok=True)
    bundle, image = "APP*0123abcd*v2", bytes(range(250)) * 400
    (folder / bundle).write_bytes(image)
    job = ask(cloud, "POST", "/fota-jobs", json={"bundleId": bundle, "deviceIds": [DEVICE]}).json()["jobId"]
    assert str(device.ask("GET", "fota/exec/current?firmwareType=MODEM").code) == "4.04 Not Found"
    found = json.loads(device.ask("GET", "fota/exec/current", accept=JSON).payload)
    assert (found["jobId"], found["jobDocument"]["fileSize"]) == (job, 100_000)
    url = f"https://{found['jobDocument']['host']}/{found['jobDocument']['path']}"
    with session(cloud) as other:
        assert str(other.ask("GET", "proxy", proxy_uri=url).code) == "4.01 Unauthorized"
        other.login(keys.token(DEVICE))
        assert other.download(url) == image
        first = device.ask("GET", "proxy", proxy_uri=url)
        last = device.ask("GET", "proxy", proxy_uri=url, block2=(97, False, 6))
        assert (first.payload, first.opt.size2, first.opt.etag) == (image[:1024], 100_000, last.opt.etag)
        assert (last.payload, last.opt.block2.more) == (image[97 * 1024 :], False)
        assert str(device.ask("GET", "proxy", proxy_uri=url, block2=(98, False, 6)).code) == "4.00 Bad Request"
    for status, code in (("IN_PROGRESS", "2.04"), ("SUCCEEDED", "2.04"), ("FAILED", "4.22")):
        body = json.dumps({"status": status, "details": "by CoAP"}).encode()
        assert str(device.ask("PATCH", f"fota/exec/{job}", body, content_format=JSON).code)[:4] == code
    assert ask(cloud, "GET", f"/fota-job-executions/{DEVICE}/{job}").json()["status"] == "SUCCEEDED"
    assert str(device.ask("GET", "fota/exec/current").code) == "4.04 Not Found"


@pytest.mark.conformance
def test_the_proxy_fetches_from_this_cloud_and_nowhere_else(cloud: Cloud, device: CoapDevice) -> None:
    own = urlsplit(cloud.told["nrf"]).netloc
    codes = {
        "https://example.com/s3/bucket/key": "4.03",
        f"https://{own}/nrf/v1/devices": "4.03",
        "http://[::1": "4.03",
        f"http://user@{own}/s3/bucket/key": "4.03",
        "https://bucket.s3.eu-west-1.amazonaws.com/key": "4.03",
        f"https://{own}/s3/bucket/none": "4.04",
        f"https://{own}/s3/../ca.key": "4.04",
        f"https://{own}/s3/%2e%2e/ca.key": "4.04",
        f"https://{own}/s3/bucket/%00": "4.04",
        f"https://{own}/s3/bucket/{'x' * 500}": "4.04",
    }
    for url, code in codes.items():
        assert str(device.ask("GET", "proxy", proxy_uri=url).code)[:4] == code, url


# ---- strangers ------------------------------------------------------------------------------------------------------


HELLO = (
    bytes.fromhex("16feff000000000000000000360100002a000000000000002afefd")
    + bytes(32)
    + bytes.fromhex("0000000200ff0100")
)
junk = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda cut, tail: HELLO[:cut] + tail, st.integers(0, len(HELLO)), st.binary(max_size=80)),
    st.builds(
        lambda kind, epoch, body: bytes([kind, 254, 253, 0, epoch]) + bytes(6) + len(body).to_bytes(2, "big") + body,
        st.integers(20, 25),
        st.integers(0, 2),
        st.binary(max_size=100),
    ),
)
# a good head with any options and payload behind it
coap = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda kind, code, mid, tail: bytes([0x44 | kind << 4, code]) + mid.to_bytes(2, "big") + b"toke" + tail,
        st.integers(0, 3),
        st.integers(0, 255),
        st.integers(1000, 65535),
        st.binary(max_size=80),
    ),
)


@given(datagrams=st.lists(junk, max_size=10), inside=st.lists(coap, max_size=10))
def test_no_datagram_stops_the_service_or_a_session(
    cloud: Cloud, keys: Keys, datagrams: list[bytes], inside: list[bytes]
) -> None:
    place = urlsplit(cloud.told["nrf_coap"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger, session(cloud) as made:
        for datagram in datagrams:
            stranger.sendto(datagram, (place.hostname, place.port))
            made.socket.send(datagram)
        assert str(made.login(keys.token(DEVICE)).code) == "2.01 Created"
        for message in filter(None, inside):
            made.send(message)
        assert str(made.ask("GET", "state").code) == "2.05 Content"
    assert "Traceback" not in (cloud.folder.parent / f"{cloud.folder.name}.log").read_text()


words = st.sampled_from(
    ["auth", "jwt", "state", "reported", "desired", "msg", "d2c", "bulk", "bin", "fota", "exec", "proxy", "x"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 10) | st.text(), inner, max_size=4),
    max_leaves=8,
)
cells = st.lists(st.dictionaries(st.integers(1, 11), values, max_size=4), max_size=2)
located = st.dictionaries(st.integers(1, 20), values | cells, max_size=5).map(cbor2.dumps)
bodies = (
    located
    | st.binary(max_size=60)
    | values.map(cbor2.dumps)
    | st.builds(lambda v: cbor2.dumps({1: "A", 2: v}), values)
)


@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "FETCH", "0.09"]),
    path=st.lists(words, max_size=4).map(tuple)
    | st.sampled_from([("msg", "d2c"), ("state", "reported"), ("auth", "jwt")])
    | st.sampled_from([("loc", "ground-fix"), ("loc", "agnss"), ("loc", "pgps")])
    | st.sampled_from([("p", "auth-jwt"), ("p", "cmd"), ("p", "rsp")]),
    body=bodies,
    content_format=st.sampled_from([None, 0, 42, 50, 60]),
    proxy_uri=st.text(max_size=20).map(lambda text: f"http://x/s3/{text}") | st.text(max_size=20),
)
def test_any_request_has_a_reply(**asked: Any) -> None:
    with closing(Records(None, ("open", "claimId"))) as records:
        objects = Objects(Path("/nonexistent"), "http://x")
        shadows = Shadows(records, lambda: 1.0, lambda _topic, _body: None)
        devices = Devices(records, lambda: 1.0, shadows, Fota(records, lambda: 1.0))
        records.put("nrf-device", DEVICE, {"id": DEVICE, "associated": True, "version": 1, "key": ""})
        peer = Peer(Session(SSL.Connection(SSL.Context(SSL.DTLS_METHOD), None), ("x", 1), 0.0, lambda _data, _to: None))
        records.put("nrf-claim", DEVICE, {"id": DEVICE, "tags": [], "rules": []})
        peer.identity = peer.attested = DEVICE
        peer.until = peer.attested_until = 2.0
        location = Location(records, lambda: 1.0, lambda _name, _content: {"host": "x", "path": "y"})
        identities = Identities(records)
        service = Provisioning(records, lambda: 1.0, identities, lambda _device, _key: None, lambda _device: None)
        provisioning = CoapProvisioning(service, lambda token: token, lambda: 1.0)
        plane = NrfCoap(devices, objects, location, provisioning)
        reply = plane.serve(Request(**asked), peer)
        assert reply.code // 100 in (2, 4, 5)
        assert reply.code != 500
        peer.until = peer.attested_until = 1.0
        late = plane.serve(Request(**asked), peer)
        assert late.code == (reply.code if asked["path"] in LOGINS and asked["method"] == "POST" else 401)
