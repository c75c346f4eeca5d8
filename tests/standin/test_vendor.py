"""The certificate vendor: a device (paho) replaces its certificate, with the answers, retries and traps that the service has."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from standin_mqtt import Keys, Mqtt, provisioned, wait_until
from standin_rig import Cloud

pytestmark = pytest.mark.conformance

PUBLIC = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
def deleting(tmp_path: Path) -> Iterator[Cloud]:
    """A stand-in whose vendor deletes what the acknowledging connection does not use, and fails twice before it succeeds."""
    made = Cloud(tmp_path / "data", "--faults", "vendor_deletes=1,vendor_failures=2,vendor_retry=0.1")
    yield made
    assert made.stop() == 0


def rotate(cloud: Cloud, thing: str, **more: str) -> str:
    """The operator's word; the job's id."""
    body = json.dumps({"do": "rotate", "hub": thing, **more}).encode()
    answer = urllib3.request(
        "POST", f"{cloud.told['console']}console", body=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 200, answer.data
    return str(answer.json()["job"])


def topics(thing: str, action: str) -> tuple[str, str, str]:
    topic = f"cdf/certificates/{thing}/{action}"
    return topic, f"{topic}/accepted", f"{topic}/rejected"


def test_a_certificate_is_replaced_and_the_job_ends(cloud: Cloud, tmp_path: Path) -> None:
    thing, files = provisioned(cloud, tmp_path, "HUB-VENDOR-0001")
    get, got, _ = topics(thing, "get")
    ack, acknowledged, _ = topics(thing, "ack")
    keys = Keys(tmp_path, "new")
    jobs = f"$aws/things/{thing}/jobs"
    with Mqtt(cloud, files, thing) as old:
        old.subscribe(f"{jobs}/notify-next", f"{get}/+")
        job = rotate(cloud, thing)
        execution = old.waits_for(f"{jobs}/notify-next")["execution"]
        assert execution["jobId"] == job
        document = execution["jobDocument"]
        assert document["name"] == "RotateCertificates"
        assert json.loads(document["payload"])["get"]["publish"] == "cdf/certificates/{thingName}/get"
        old.publish(get, {"csr": keys.csr()})
        answer = old.waits_for(got)
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    assert certificate.public_key().public_bytes(*PUBLIC) == keys.key.public_key().public_bytes(*PUBLIC)
    with Mqtt(cloud, keys.with_certificate(answer["certificate"]), thing) as new:
        assert new.connected() == "Success"
        new.subscribe(f"{ack}/+", f"{jobs}/+/update/+")
        new.publish(ack, {})
        assert new.waits_for(acknowledged) == {"message": "OK"}
        update = f"{jobs}/{job}/update"
        new.publish(update, {"status": "SUCCEEDED"})
        refused = new.waits_for(f"{update}/rejected")  # it has left the job's group: the execution is REMOVED
        assert refused["code"] == "InvalidStateTransition"
        assert refused["executionState"]["status"] == "REMOVED"
    with Mqtt(cloud, files, thing) as old:
        assert old.connected() == "Success"  # this vendor deletes nothing


def test_a_device_sees_rejected_twice_and_then_accepted(deleting: Cloud, tmp_path: Path) -> None:
    thing, files = provisioned(deleting, tmp_path, "HUB-VENDOR-0002")
    get, got, refused = topics(thing, "get")
    ack, acknowledged, _ = topics(thing, "ack")
    keys = Keys(tmp_path, "new")
    with Mqtt(deleting, files, thing) as old:
        old.subscribe(f"{get}/+")
        old.publish(get, {"csr": keys.csr()})
        answer = old.waits_for(got)
        assert [body["message"] for body in old.on(refused)] == ["UNABLE_TO_ATTACH_POLICY"] * 2
    with Mqtt(deleting, keys.with_certificate(answer["certificate"]), thing) as new:
        new.subscribe(f"{ack}/+")
        new.publish(ack, {})
        new.waits_for(acknowledged)
        with Mqtt(deleting, files, thing) as old:
            assert old.ended.result(10) != "Success"  # deleted
        assert not new.ended.done()


def test_an_acknowledgement_over_the_old_connection_deletes_the_new_certificate(
    deleting: Cloud, tmp_path: Path
) -> None:
    thing, files = provisioned(deleting, tmp_path, "HUB-VENDOR-0003")
    get, got, _ = topics(thing, "get")
    ack, acknowledged, _ = topics(thing, "ack")
    keys = Keys(tmp_path, "new")
    with Mqtt(deleting, files, thing) as old:
        old.subscribe(f"{get}/+", f"{ack}/+")
        old.publish(get, {"csr": keys.csr()})
        answer = old.waits_for(got)
        old.publish(ack, {})
        old.waits_for(acknowledged)
        with Mqtt(deleting, keys.with_certificate(answer["certificate"]), thing) as new:
            assert new.ended.result(10) != "Success"
        assert not old.ended.done()


def test_a_package_is_told_by_its_address(cloud: Cloud, tmp_path: Path) -> None:
    thing, files = provisioned(cloud, tmp_path, "HUB-VENDOR-0004")
    get, got, refused = topics(thing, "get")
    with Mqtt(cloud, files, thing) as device:
        device.subscribe(f"{get}/+")
        device.publish(get, {})
        assert device.waits_for(refused) == {"message": "CERTIFICATE_NOT_FOUND"}
        package = cloud.folder / "s3" / "certificates" / f"{thing}.zip"
        package.parent.mkdir(parents=True)
        package.write_bytes(b"a package")
        device.publish(get, {})
        assert urllib3.request("GET", device.waits_for(got)["location"]).data == b"a package"


def test_what_cannot_be_a_request_is_refused_or_met_with_silence(cloud: Cloud, tmp_path: Path) -> None:
    thing, files = provisioned(cloud, tmp_path, "HUB-VENDOR-0005")
    get, _, refused = topics(thing, "get")
    with Mqtt(cloud, files, thing) as device:
        device.subscribe(f"{get}/+")
        for silent in (b"no json", b"[]", {"csr": ""}):
            device.publish(get, silent)
        device.publish(get, {"csr": "no PEM"})
        device.waits_for(refused)
        assert len(device.heard) == 1


@pytest.mark.parametrize("form", ["readme", "installer"])
def test_the_job_document_has_its_other_forms(cloud: Cloud, tmp_path: Path, form: str) -> None:
    thing, files = provisioned(cloud, tmp_path, f"HUB-VENDOR-{form}")
    get = f"$aws/things/{thing}/jobs/$next/get"
    rotate(cloud, thing, form=form)
    with Mqtt(cloud, files, thing) as device:
        device.publish(get, {})
        wait_until(lambda: device.heard)
        document: dict[str, Any] = device.heard[0][1]["execution"]["jobDocument"]
    if form == "readme":
        assert document["get"]["subscribe"] == "cdf/certificates/{thingName}/get/+"
    else:
        assert "+" in json.loads(document["payload"])["get"]["publish"]
