"""Fleet provisioning by claim, jobs: the AWS IoT Device SDK, unmodified, against the stand-in's broker."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from awscrt.mqtt import SubscribeError
from awsiot import iotidentity, iotjobs
from standin_device import PATIENCE, QOS, Device, from_csr, listen, register
from standin_rig import Cloud

pytestmark = pytest.mark.conformance


@pytest.fixture
def claim(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[tuple[iotidentity.IotIdentityClient, str]]:
    """An identity client with the claim certificate of a new profile, and the profile's name."""
    name = f"p-{abs(hash(request.node.name)) % 10**9}"
    made = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name=name)
    device = Device(cloud, made["ClaimCertificate"], made["ClaimCertificatePrivateKey"], f"claim-{name}")
    yield iotidentity.IotIdentityClient(device.connection), name
    device.stop()


def test_a_hub_gets_a_certificate_for_its_own_key_and_may_then_use_its_own_topics(cloud: Cloud, claim: Any) -> None:
    identity, profile = claim
    hub = cloud.hub("HUB-FLEET-001")
    certificate, key = from_csr(identity)
    accepted, _ = register(identity, profile, certificate.certificate_ownership_token, "HUB-FLEET-001")
    assert accepted.result(PATIENCE).thing_name == hub
    found = cloud.api.get_managed_thing(Identifier=hub)
    assert found["ProvisioningStatus"] == "DISCOVERED"
    assert cloud.api.get_managed_thing_certificate(Identifier=hub)["CertificatePem"] == certificate.certificate_pem
    device = Device(cloud, certificate.certificate_pem, key, hub)
    jobs = iotjobs.IotJobsClient(device.connection)
    folder = cloud.folder / "s3" / "fleet"
    folder.mkdir(parents=True, exist_ok=True)
    url = "${aws:iot:s3-presigned-url:https://s3.eu-west-1.amazonaws.com/fleet/image.bin}"
    (folder / "job.json").write_text(json.dumps({"operation": "update", "url": url}))
    notified = listen(
        jobs.subscribe_to_next_job_execution_changed_events,
        iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=hub),
    )
    task = cloud.api.create_ota_task(S3Url="s3://fleet/job.json", OtaType="ONE_TIME", Target=[found["Arn"]])["TaskId"]
    execution = notified.result(PATIENCE).execution
    assert execution.job_document["url"].startswith("http://127.0.0.1:")
    started = listen(
        jobs.subscribe_to_start_next_pending_job_execution_accepted,
        iotjobs.StartNextPendingJobExecutionSubscriptionRequest(thing_name=hub),
    )
    jobs.publish_start_next_pending_job_execution(
        iotjobs.StartNextPendingJobExecutionRequest(thing_name=hub, status_details={"phase": "download"}), QOS
    ).result(PATIENCE)
    assert started.result(PATIENCE).execution.version_number == 2
    update = {"thing_name": hub, "job_id": execution.job_id}
    rejected = listen(
        jobs.subscribe_to_update_job_execution_rejected, iotjobs.UpdateJobExecutionSubscriptionRequest(**update)
    )
    accepted = listen(
        jobs.subscribe_to_update_job_execution_accepted, iotjobs.UpdateJobExecutionSubscriptionRequest(**update)
    )
    jobs.publish_update_job_execution(
        iotjobs.UpdateJobExecutionRequest(**update, status="SUCCEEDED", expected_version=7), QOS
    ).result(PATIENCE)
    assert rejected.result(PATIENCE).code == "VersionMismatch"
    jobs.publish_update_job_execution(
        iotjobs.UpdateJobExecutionRequest(**update, status="SUCCEEDED", expected_version=2), QOS
    ).result(PATIENCE)
    accepted.result(PATIENCE)
    assert cloud.api.get_ota_task(Identifier=task)["Status"] == "COMPLETED"
    device.stop()


def test_a_device_that_nobody_expects_is_turned_away_and_its_token_stays_good(cloud: Cloud, claim: Any) -> None:
    identity, profile = claim
    certificate, _key = from_csr(identity)
    _, rejected = register(identity, profile, certificate.certificate_ownership_token, "HUB-STRANGER")
    assert rejected.result(PATIENCE).error_code == "ACCESS_DENIED"
    cloud.hub("HUB-FLEET-002")
    accepted, _ = register(identity, profile, certificate.certificate_ownership_token, "HUB-FLEET-002")
    accepted.result(PATIENCE)
    cloud.hub("HUB-FLEET-003")
    _, rejected = register(identity, profile, certificate.certificate_ownership_token, "HUB-FLEET-003")
    assert rejected.result(PATIENCE).error_code == "InvalidCertificateOwnershipToken"


def test_a_claim_certificate_hears_nothing_elsewhere(cloud: Cloud, claim: Any) -> None:
    identity, _profile = claim
    hub = cloud.hub("HUB-FLEET-004")
    jobs = iotjobs.IotJobsClient(identity.mqtt_connection)
    wanted = iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=hub)
    with pytest.raises(SubscribeError):
        listen(jobs.subscribe_to_next_job_execution_changed_events, wanted)
