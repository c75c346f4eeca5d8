"""Lists of devices, firmware bundles and FOTA jobs: Nordic's own management tool, and a stock client for what it does not ask."""

import base64
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from nrf_rig import Keys, ask, bulk
from standin_rig import Cloud

from agent.sim.nrf.answers import NrfError
from agent.sim.nrf.firmwares import Firmwares
from agent.sim.objects import Objects
from agent.sim.records import Records

# The tool has no option for the address of the API; its questions are answered from the lines that it is given.
MANAGE = """
import sys
from nrfcloud_utils import nrf_cloud_device_mgmt as tool
for name in ("API_URL", "GET_DEVICES_BASE", "GET_BUNDLES_BASE", "FOTA_JOBS_BASE"):
    setattr(tool, name, getattr(tool, name).replace("https://api.nrfcloud.com/v1", sys.argv[1]))
tool.main(sys.argv[2:])
"""
FLEET = 25  # more than the tool asks for at once
MANIFEST = {"fwversion": "1.2.0", "format-version": 1, "name": "Blinky", "description": "It blinks faster."}


def manage(cloud: Cloud, *arguments: str, answers: str = "") -> str:
    """What Nordic's tool prints."""
    command = [sys.executable, "-c", MANAGE, cloud.told["nrf"], "--api-key", cloud.told["nrf_api_key"], *arguments]
    done = subprocess.run(command, input=answers, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def packed(*files: tuple[str, str, bytes], **manifest: Any) -> bytes:
    """A bundle of files: name, type and content."""
    entries = [{"file": name, "type": kind, "size": len(content)} for name, kind, content in files]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(zipfile.ZipInfo("manifest.json"), json.dumps({**MANIFEST, "files": entries, **manifest}))
        for name, _, content in files:
            made.writestr(zipfile.ZipInfo(name), content)
    return archive.getvalue()


def upload(cloud: Cloud, content: bytes) -> Any:
    return ask(cloud, "POST", "/firmwares", body=content, headers={"Content-Type": "application/zip"})


@pytest.fixture(scope="module")
def fleet(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Devices fleet-0 to fleet-24, with one key; every fifth is in the hall and takes modem firmware too."""
    keys = Keys(tmp_path_factory.mktemp("keys"), "fleet")
    rows = [
        f"fleet-{n},{'test-gateway' if n == 3 else 'sensor'},{'all' if n % 5 else 'all|hall'},{'APP' if n % 5 else 'APP|MODEM'},"
        f'"{keys.certificate}"'
        for n in range(FLEET)
    ]
    assert bulk(cloud, "/devices", "\n".join(rows) + "\n")["status"] == "SUCCEEDED"
    told = {"appName": "blinky", "appVersion": "1.1.0", "modemFirmware": "mfw_nrf91x1_2.0.2"}
    state = {"reported": {"device": {"deviceInfo": told}}}
    for name in ("fleet-0", "fleet-5"):
        assert ask(cloud, "PATCH", f"/devices/{name}/state", json=state).status == 202
    return keys


@pytest.fixture(scope="module")
def bundle(cloud: Cloud, fleet: Keys) -> str:
    made = upload(cloud, packed(("blinky.bin", "application", b"\1" * 3000)))
    assert made.status == 202
    assert urllib3.request("GET", made.json()["uris"][0]).data == b"\1" * 3000
    (found,) = ask(cloud, "GET", "/firmwares").json()["items"]
    return str(found["bundleId"])


def current(cloud: Cloud, keys: Keys, device: str) -> Any:
    return ask(cloud, "GET", f"/fota-job-executions/{device}/current", keys.token(device))


def finish(cloud: Cloud, keys: Keys, device: str, status: str = "SUCCEEDED") -> None:
    job = current(cloud, keys, device).json()["jobId"]
    assert (
        ask(cloud, "PATCH", f"/fota-job-executions/{device}/{job}", keys.token(device), json={"status": status}).status
        == 202
    )


def job(cloud: Cloud, identifier: str) -> Any:
    return ask(cloud, "GET", f"/fota-jobs/{identifier}").json()


# ---- nrfcloud-utils -------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_nordics_tool_updates_one_device(cloud: Cloud, fleet: Keys, bundle: str) -> None:
    named = ("--bundle-id", bundle, "--name", "to 1.2.0", "--desc", "faster")
    told = manage(cloud, "--type", "APP", "--ad", "--dev-id", "fleet-0", *named)
    assert "Obtained 1 APP update bundles" in told
    assert "fleet-0, fleet-0, App[blinky, 1.1.0, True], Modem[mfw_nrf91x1_2.0.2, Delta:True Full:False]" in told
    assert "1.1.0 --> 1.2.0" in told
    made = told.rpartition("Created job: ")[2].strip()
    found = current(cloud, fleet, "fleet-0").json()
    assert (found["jobId"], found["jobDocument"]["fileSize"], found["jobDocument"]["version"]) == (made, 3000, "1.2.0")
    document = found["jobDocument"]
    assert urllib3.request("GET", f"http://{document['host']}/{document['path']}").data == b"\1" * 3000
    finish(cloud, fleet, "fleet-0")
    assert (job(cloud, made)["name"], job(cloud, made)["status"]) == ("to 1.2.0", "COMPLETED")


@pytest.mark.conformance
def test_nordics_tool_updates_a_tag_and_leaves_the_start_to_another(cloud: Cloud, fleet: Keys, bundle: str) -> None:
    answers = "2\n1\nhall\nthe hall first\ny\n"  # tag, bundle, name, description, and yes
    told = manage(cloud, "--type", "APP", "--defer-apply", answers=answers)
    assert f"{FLEET} of {FLEET} devices support APP FOTA updates" in told
    assert "1.) 'all' contains 25 device(s)" in told
    assert "2.) 'hall' contains 5 device(s)" in told
    assert "It blinks faster." in told
    made = told.rpartition("Created job: ")[2].strip()
    assert (job(cloud, made)["status"], job(cloud, made)["target"]["tags"]) == ("CREATED", ["hall"])
    assert current(cloud, fleet, "fleet-5").status == 404
    assert [ask(cloud, "POST", f"/fota-jobs/{made}/apply").status for _ in range(2)] == [202, 422]
    finish(cloud, fleet, "fleet-5")
    finish(cloud, fleet, "fleet-10", "FAILED")
    stats = job(cloud, made)["executionStats"]
    expected = {"devices": 5, "executions": 5, "queued": 3, "succeeded": 1, "failed": 1, "completedExecutions": 2}
    assert expected.items() <= stats.items()
    statuses = ask(cloud, "GET", f"/fota-job-execution-statuses/{made}?status=QUEUED").json()["items"]
    assert sorted(entry["deviceId"] for entry in statuses) == ["fleet-0", "fleet-15", "fleet-20"]
    assert ask(cloud, "PUT", f"/fota-jobs/{made}/cancel?reason=enough").status == 202
    assert (job(cloud, made)["status"], job(cloud, made)["statusDetail"]) == ("CANCELLED", "enough")
    assert current(cloud, fleet, "fleet-0").status == 404
    assert ask(cloud, "PUT", f"/fota-jobs/{made}/cancel").status == 422
    (newest, *_) = ask(cloud, "GET", "/fota-job-executions/fleet-0").json()["items"]
    assert (newest["jobId"], newest["status"], newest["statusDetail"]) == (made, "CANCELLED", "enough")


@pytest.mark.conformance
def test_nordics_tool_updates_modems_by_their_version(cloud: Cloud, fleet: Keys, bundle: str) -> None:
    assert "No MODEM bundles found" in manage(cloud)
    name = "MODEM*0123abcd*mfw_nrf91x1_2.0.3"
    (cloud.folder / "s3" / "nrf-bundles" / name).write_bytes(bytes(500))
    told = manage(cloud, "--rd", answers="1\n1\nmodems\nall of this version\ny\n")
    assert f"5 of {FLEET} devices support MODEM FOTA updates" in told
    assert "1.) mfw_nrf91x1_2.0.2 on 2 device(s)" in told
    made = told.rpartition("Created job: ")[2].strip()
    assert sorted(job(cloud, made)["target"]["deviceIds"]) == ["fleet-0", "fleet-5"]
    assert current(cloud, fleet, "fleet-0").json()["jobDocument"]["firmwareType"] == "MODEM"
    assert ask(cloud, "DELETE", f"/firmwares/{name}").status == 404  # it is the vendor's
    for device in ("fleet-0", "fleet-5"):
        finish(cloud, fleet, device)
    jobs = ask(cloud, "GET", "/fota-jobs?pageLimit=1").json()
    assert [entry["jobId"] for entry in jobs["items"]] == [made]
    assert [ask(cloud, "DELETE", f"/fota-jobs/{made}").status for _ in range(2)] == [202, 404]
    assert ask(cloud, "GET", f"/fota-job-executions/fleet-0/{made}").json()["status"] == "SUCCEEDED"


# ---- devices --------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_devices_are_listed_filtered_and_transformed(cloud: Cloud, fleet: Keys) -> None:
    def listed(query: str) -> list[str]:
        found = ask(cloud, "GET", f"/devices?pageLimit=100&pageSort=asc&{query}").json()
        return [entry["id"] for entry in found["items"]]

    names = [f"fleet-{n}" for n in range(FLEET)]
    assert listed("") == names
    assert [entry["id"] for entry in ask(cloud, "GET", "/devices?pageLimit=2").json()["items"]] == [
        "fleet-24",
        "fleet-23",
    ]
    assert listed("deviceIds=fleet-3&deviceIds=fleet-4,nobody") == ["fleet-3", "fleet-4"]
    assert listed("tags=hall") == listed("firmwareSupport=MODEM") == names[::5]
    assert listed("tags=hall&firmwareSupportExclude=MODEM") == []
    assert listed("deviceTypes=Gateway") == listed("subTypes=test-gateway") == ["fleet-3"]
    assert ask(cloud, "PUT", "/devices/fleet-7/name", json=["Front Door"]).status == 202
    assert listed("deviceNameFuzzy=front") == ["fleet-7"]
    (plain,) = ask(cloud, "GET", "/devices?deviceIds=fleet-0").json()["items"]
    assert "state" not in plain
    assert plain["firmware"] == {
        "supports": ["APP", "MODEM"],
        "app": {"name": "blinky", "version": "1.1.0"},
        "modem": "mfw_nrf91x1_2.0.2",
    }
    (whole,) = ask(cloud, "GET", "/devices?deviceIds=fleet-0&includeState=true").json()["items"]
    assert ("metadata" in whole["state"], "reported" in whole["state"]["state"]) == (False, True)
    (meta,) = ask(cloud, "GET", "/devices?deviceIds=fleet-0&includeState=true&includeStateMeta=true").json()["items"]
    assert meta == ask(cloud, "GET", "/devices/fleet-0").json()
    found = ask(cloud, "GET", "/devices", fields={"deviceIds": "fleet-0", "transform": '{"n": name, "t": tags}'}).json()
    assert found["items"] == [{"n": "fleet-0", "t": ["all", "hall"]}]
    one = ask(cloud, "GET", "/devices/fleet-0", fleet.token("fleet-0"), fields={"transform": "firmware.app.version"})
    assert one.json() == "1.1.0"
    assert ask(cloud, "GET", "/devices/fleet-0", fields={"transform": "name.("}).status == 400
    assert ask(cloud, "PUT", "/devices/fleet-8/tags", json=["attic"]).status == 202
    assert listed("tags=attic") == ["fleet-8"]
    assert ask(cloud, "PUT", "/devices/fleet-8/tags", json=["a b"]).status == 422
    assert ask(cloud, "PUT", "/devices/fleet-8/tags", json=["all"]).status == 202
    for query in ("pageLimit=0", "pageNextToken=x", "includeState=maybe"):
        assert ask(cloud, "GET", f"/devices?{query}").status == 400
    assert ask(cloud, "GET", "/devices", fleet.token("fleet-0")).status == 403


# ---- firmware -------------------------------------------------------------------------------------------------------


@pytest.mark.conformance
def test_bundles_are_uploaded_listed_and_deleted(cloud: Cloud, bundle: str) -> None:
    kind, identifier, version = bundle.split("*")
    assert (kind, len(identifier), version) == ("APP", 8, "1.2.0")
    both = packed(("app.bin", "softdevice", b"\2" * 10), ("app.dat", "init_packet", b"\3"), fwversion="7")
    made = upload(cloud, base64.b64encode(both))
    assert made.status == 202
    assert urllib3.request("GET", made.json()["uris"][0]).data == both  # a phone or a gateway unpacks it
    found = {entry["type"]: entry for entry in ask(cloud, "GET", "/firmwares").json()["items"]}
    told = found["SOFTDEVICE"]
    assert (told["version"], told["filenames"], told["size"]) == ("7", ["app.bin", "app.dat"], len(both))
    assert (found["APP"]["name"], found["APP"]["size"]) == ("Blinky", 3000)
    address = f"/firmwares/{told['bundleId']}"
    assert [ask(cloud, "DELETE", address).status for _ in range(2)] == [202, 404]
    assert ask(cloud, "DELETE", "/firmwares/APP*0123abcd*..%2F..%2Fcloud.db").status == 404
    body = {"bundleId": bundle, "deviceIds": ["fleet-1"]}
    for wrong in (
        {"name": "x" * 65},
        {"deviceIds": []},
        {"deviceIds": ["fleet-1"] * 101},
        {"bundleId": "APP*x*1"},
        {"tags": 1},
    ):
        assert (
            ask(
                cloud, "POST", "/fota-jobs", json={**body, **({"deviceIds": None} if "tags" in wrong else {}), **wrong}
            ).status
            == 422
        )
    for wrong in ({"deviceIds": ["nobody"]}, {"bundleId": "APP*0123abcd*none"}):
        assert ask(cloud, "POST", "/fota-jobs", json={**body, **wrong}).status == 404


@pytest.mark.conformance
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4nonsense",
        b"no base64!",
        packed(),
        packed(("a.hex", "application", b"x")),
        packed(("a.bin", "toast", b"x")),
        packed(("a.bin", "application", b"x"), ("b.bin", "mcuboot", b"x")),
        packed(("a.dat", "init_packet", b"x")),
        packed(("a.bin", "application", b"x"), fwversion="1 2"),
        packed(("a.bin", "application", b"x"), fwversion=None),
        packed(("a.bin", "application", b"x"), **{"format-version": 2}),
        packed(("a.bin", "application", b"x"), files=[{"file": "b.bin", "type": "application", "size": 1}]),
        packed(("a.bin", "application", b"x"), files=[{"file": "a.bin", "type": "application", "size": 2}]),
        packed(("a.bin", "application", b"x"), files=["a.bin"]),
    ],
    ids=[*"abcdefghijklmn"],
)
def test_a_bundle_that_breaks_a_rule_is_refused(cloud: Cloud, content: bytes) -> None:
    refused = upload(cloud, content)
    assert (refused.status, refused.json()["code"]) == (422, 42200)


@given(st.binary(max_size=60) | st.tuples(st.integers(0, 400), st.binary(max_size=3)))
def test_any_bytes_are_a_bundle_or_a_refusal(damage: bytes | tuple[int, bytes]) -> None:
    whole = packed(("a.bin", "application", b"x"))
    content = (
        damage if isinstance(damage, bytes) else whole[: damage[0]] + damage[1] + whole[damage[0] + len(damage[1]) :]
    )
    records = Records(None, ())
    firmwares = Firmwares(
        records, Objects(Path("/nonexistent"), "http://x"), lambda bucket, key, _: f"s3://{bucket}/{key}"
    )
    try:
        uri = firmwares.upload(content)["uris"][0]
    except NrfError as error:
        uri = f"refused with {error.status}"
    finally:
        records.close()
    assert uri.startswith(("http://x/s3/nrf-bundles/APP", "refused with 422"))
