"""nRF Cloud's REST plane over HTTP with a stock client; certificates and keys are made by OpenSSL."""

import time
from contextlib import closing
from pathlib import Path

import jwt
import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from nrf_rig import Keys, ask, bulk, jitp
from standin_rig import Cloud

from agent.sim.nrf.answers import NrfError
from agent.sim.nrf.onboarding import Onboarding
from agent.sim.records import Records

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"), "sensor-1")


@pytest.fixture(scope="module")
def device(cloud: Cloud, keys: Keys) -> str:
    done = bulk(cloud, "/devices", f'sensor-1,my-gateway,hall|east,APP|MODEM,"{keys.certificate}"\n')
    assert (done["endpoint"], done["status"]) == ("ONBOARD_DEVICES", "SUCCEEDED")
    return "sensor-1"


def test_a_device_tells_its_state_with_a_token_of_its_own_key(cloud: Cloud, device: str, keys: Keys) -> None:
    token = keys.token(device)
    found = ask(cloud, "GET", f"/devices/{device}", token).json()
    assert (found["type"], found["tags"], found["firmware"]["supports"]) == (
        "Gateway",
        ["hall", "east"],
        ["APP", "MODEM"],
    )
    version = found["$meta"]["version"]
    state = {"reported": {"device": {"serviceInfo": {"fota_v2": ["APP"]}}}}
    assert (
        ask(cloud, "PATCH", f"/devices/{device}/state", token, json=state, headers={"If-Match": str(version)}).status
        == 202
    )
    assert (
        ask(cloud, "PATCH", f"/devices/{device}/state", token, json=state, headers={"If-Match": str(version)}).status
        == 412
    )
    assert ask(cloud, "GET", f"/devices/{device}").json()["state"]["state"]["reported"] == state["reported"]
    assert ask(cloud, "GET", f"/devices/{device}").json()["firmware"]["supports"] == ["APP"]
    message = {"message": {"appId": "TEMP", "messageType": "DATA", "data": "23.5"}}
    assert ask(cloud, "POST", f"/devices/{device}/messages", token, json=message).status == 202
    assert (
        ask(cloud, "POST", f"/devices/{device}/messages", token, json={"topic": "d/other/d2c", **message}).status == 400
    )


def test_a_token_that_is_not_the_devices_opens_nothing(cloud: Cloud, device: str, keys: Keys, tmp_path: Path) -> None:
    stranger = Keys(tmp_path, "stranger")
    tokens = [
        stranger.token(device),
        keys.token(device, exp=int(time.time()) - 1),
        keys.token(device, exp=None),
        keys.token("nobody"),
        keys.token("\ud800"),  # half a character, which no database takes
        keys.token(device)[:-4] + "AAAA",
        jwt.encode({"sub": device, "exp": int(time.time()) + 60}, "x" * 32, "HS256"),
        "nonsense",
        "a.b.c",
    ]
    for token in tokens:
        refused = ask(cloud, "GET", f"/devices/{device}", token)
        assert (refused.status, refused.json()["code"]) == (401, 40100)
    other = ask(cloud, "POST", "/fota-jobs", keys.token(device), json={})
    assert other.status == 403


def test_a_public_key_that_was_uploaded_replaces_the_certificates(
    cloud: Cloud, device: str, keys: Keys, tmp_path: Path
) -> None:
    other = Keys(tmp_path, "other")
    assert bulk(cloud, "/devices/public-keys", f'{device},"{other.public}"\n')["status"] == "SUCCEEDED"
    assert ask(cloud, "GET", f"/devices/{device}", other.token(device)).status == 200
    assert ask(cloud, "GET", f"/devices/{device}", keys.token(device)).status == 401
    assert bulk(cloud, "/devices/public-keys", f'{device},"{keys.public}"\n')["status"] == "SUCCEEDED"


def test_wrong_rows_are_named_and_no_row_is_carried_out(cloud: Cloud, keys: Keys, tmp_path: Path) -> None:
    curve = Keys(tmp_path, "curve", "secp384r1")
    rows = [
        f'good-1,,,,"{keys.certificate}"',
        f'bad id,,,,"{keys.certificate}"',
        f'bad-fw,,,TOASTER,"{keys.certificate}"',
        f'bad-pem,,,,"{keys.certificate.rstrip()}"',
        f'bad-curve,,,,"{curve.certificate}"',
        f'good-1,,,,"{keys.certificate}"',
    ]
    done = bulk(cloud, "/devices", "\n".join(rows))
    assert done["status"] == "FAILED"
    assert urllib3.request("GET", done["uploadedDataUrl"]).data.decode() == "\n".join(rows)
    errors = urllib3.request("GET", done["errorSummaryUrl"]).json()["errors"]
    assert [error.partition(":")[0] for error in errors] == ["[1]", "[2]", "[3]", "[4]", "[5]"]
    assert ask(cloud, "GET", "/devices/good-1").status == 404
    assert ask(cloud, "POST", "/devices", body=b"one,two\n").status == 422


@given(st.binary(max_size=80))
def test_any_bytes_are_a_batch_or_a_refusal(text: bytes) -> None:
    with closing(Records(None, ("status",))) as records:
        onboarding = Onboarding(records, lambda: 1.0, lambda *_: "url", lambda _device: None)
        try:
            identifier = onboarding.many("devices", text)
        except NrfError:
            return
        onboarding.tick()
        assert onboarding.bulk(identifier)["status"] == "FAILED"


def test_a_job_goes_from_the_queue_through_a_download_in_parts_to_its_end(
    cloud: Cloud, device: str, keys: Keys
) -> None:
    folder = cloud.folder / "s3" / "nrf-bundles"
    folder.mkdir(parents=True, exist_ok=True)
    bundle, image = "APP*0123abcd*v2", bytes(range(256)) * 8
    (folder / bundle).write_bytes(image)
    token = keys.token(device)
    assert ask(cloud, "GET", f"/fota-job-executions/{device}/current", token).status == 404
    assert ask(cloud, "POST", "/fota-jobs", json={"bundleId": "APP*none"}).status == 422
    job = ask(cloud, "POST", "/fota-jobs", json={"bundleId": bundle, "deviceIds": [device]}).json()["jobId"]
    assert ask(cloud, "GET", f"/fota-job-executions/{device}/current?firmwareType=MODEM", token).status == 404
    found = ask(cloud, "GET", f"/fota-job-executions/{device}/current", token).json()
    document = found["jobDocument"]
    assert (found["jobId"], document["firmwareType"], document["fileSize"]) == (job, "APP", 2048)
    url = f"http://{document['host']}/{document['path']}"
    part = urllib3.request("GET", url, headers={"Range": "bytes=1024-1279"})
    assert (part.status, part.data, part.headers["Content-Range"]) == (206, image[:256], "bytes 1024-1279/2048")
    for status in ("IN_PROGRESS", "SUCCEEDED"):
        assert ask(cloud, "PATCH", f"/fota-job-executions/{device}/{job}", token, json={"status": status}).status == 202
    assert ask(cloud, "PATCH", f"/fota-job-executions/{device}/{job}", token, json={"status": "FAILED"}).status == 422
    assert ask(cloud, "GET", f"/fota-job-executions/{device}/{job}").json()["status"] == "SUCCEEDED"
    assert ask(cloud, "GET", f"/fota-job-executions/{device}/current", token).status == 404


def test_a_device_of_the_clouds_own_ca_is_associated_by_its_code(cloud: Cloud, tmp_path: Path) -> None:
    made = ask(cloud, "POST", "/devices/nordic-1/certificates", body=b"code-1", headers={"Content-Type": "text/plain"})
    assert made.status == 201
    token = jwt.encode({"sub": "nordic-1", "exp": int(time.time()) + 60}, made.json()["privateKey"], "ES256")
    assert ask(cloud, "GET", "/devices/nordic-1", token).status == 401
    assert ask(cloud, "PUT", "/association/nordic-1", body=b"code-1").json()["code"] == 40412
    files = tmp_path / "nordic.pem", tmp_path / "nordic.key"
    files[0].write_text(made.json()["clientCert"])
    files[1].write_text(made.json()["privateKey"])
    jitp(cloud, files)
    assert ask(cloud, "GET", "/devices/nordic-1", token).status == 403
    assert ask(cloud, "PUT", "/association/nordic-1", body=b"wrong").json()["code"] == 40102
    assert ask(cloud, "PUT", "/association/nordic-1", body=b"code-1").status == 202
    assert ask(cloud, "GET", "/devices/nordic-1", token).status == 200
    assert ask(cloud, "DELETE", "/association/nordic-1").status == 202
    assert ask(cloud, "DELETE", "/devices/none").status == 404
