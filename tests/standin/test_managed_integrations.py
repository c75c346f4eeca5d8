"""AWS IoT managed integrations as boto3 sees it: things, lockers, profiles, notifications, tags, settings, tasks."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError
from conftest import until
from standin_rig import HUB, UPC, ZIGBEE, Cloud

pytestmark = pytest.mark.conformance

CODE = "Z:00124B0001000004$I:83FED3407A939723A5C639B26916D505C3B5"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def refused(call: Any, **parameters: Any) -> str:
    """The code of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def test_a_hub_waits_for_its_serial_number_which_is_its_own(cloud: Cloud) -> None:
    api, identifier = cloud.api, cloud.hub("HUB-000000001", Name="kitchen", MetaData={"owner": "acme"}, Tags={"a": "b"})
    found = api.get_managed_thing(Identifier=identifier)
    assert found["ProvisioningStatus"] == "PRE_ASSOCIATED"
    assert (found["SerialNumber"], found["UniversalProductCode"]) == ("HUB-000000001", UPC)
    assert found["Arn"].endswith(f":managed-thing/{identifier}")
    assert found["CreatedAt"].year >= 2026
    assert api.get_managed_thing_meta_data(Identifier=identifier)["MetaData"] == {"owner": "acme"}
    again = {**HUB, "AuthenticationMaterial": f"SN:HUB-000000001;UPC:{UPC}"}
    assert refused(api.create_managed_thing, **again) == "ConflictException"
    assert not api.get_managed_thing_connectivity_data(Identifier=identifier)["Connected"]
    api.delete_managed_thing(Identifier=identifier)
    assert refused(api.get_managed_thing, Identifier=identifier) == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "material", ["SN:HUB-000000002", f"UPC:{UPC}", f"SN:1;UPC:{UPC};EAN:1234567890123", "nonsense", "SN:1;UPC:12"]
)
def test_a_set_up_code_that_no_hub_has_is_refused(cloud: Cloud, material: str) -> None:
    assert refused(cloud.api.create_managed_thing, **HUB, AuthenticationMaterial=material) == "ValidationException"


def test_a_device_code_waits_until_a_hub_shares_its_locker(cloud: Cloud) -> None:
    api = cloud.api
    locker = api.create_credential_locker(Name="home")["Id"]
    request = {"Role": "DEVICE", "AuthenticationMaterialType": ZIGBEE, "AuthenticationMaterial": CODE}
    device = api.create_managed_thing(**request, CredentialLockerId=locker)["Id"]
    assert api.get_managed_thing(Identifier=device)["ProvisioningStatus"] == "UNASSOCIATED"
    hub = cloud.hub("HUB-000000003")
    api.update_managed_thing(Identifier=hub, CredentialLockerId=locker)
    assert api.get_managed_thing(Identifier=device)["ProvisioningStatus"] == "PRE_ASSOCIATED"
    assert refused(api.create_managed_thing, **request) == "ConflictException"
    wrong = {**request, "AuthenticationMaterial": "Z:1$I:2"}
    assert refused(api.create_managed_thing, **wrong) == "ValidationException"
    assert [entry["Id"] for entry in api.list_managed_things(CredentialLockerFilter=locker)["Items"]] == [device, hub]
    assert [
        entry["Id"] for entry in api.list_managed_things(CredentialLockerFilter=locker, RoleFilter="DEVICE")["Items"]
    ] == [device]
    refusal = refused(api.update_managed_thing, Identifier=device, HubNetworkMode="NETWORK_WIDE_EXCLUSION")
    assert refusal == "ValidationException"
    api.delete_credential_locker(Identifier=locker)
    assert "CredentialLockerId" not in api.get_managed_thing(Identifier=hub)


def test_the_same_client_token_makes_one_thing(cloud: Cloud) -> None:
    request = {**HUB, "AuthenticationMaterial": f"SN:HUB-000000004;UPC:{UPC}", "ClientToken": "token-1"}
    first = cloud.api.create_managed_thing(**request)
    assert cloud.api.create_managed_thing(**request)["Id"] == first["Id"]
    assert refused(cloud.api.create_managed_thing, **request, Name="other") == "ConflictException"


def test_every_answer_has_a_request_id_as_code_that_logs_it_expects(cloud: Cloud) -> None:
    first, second = cloud.api.list_managed_things(), cloud.api.list_managed_things()
    assert first["ResponseMetadata"]["RequestId"] != second["ResponseMetadata"]["RequestId"]
    with pytest.raises(ClientError) as caught:
        cloud.api.get_managed_thing(Identifier="none")
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    unknown = urllib3.request("GET", f"{cloud.told['managed_integrations']}/nothing")
    assert (unknown.status, unknown.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


def test_pages_follow_each_other_and_end(cloud: Cloud) -> None:
    made = [cloud.api.create_credential_locker(Name=f"page-{number}")["Id"] for number in range(7)]
    pages = list(cloud.api.get_paginator("list_credential_lockers").paginate(PaginationConfig={"PageSize": 3}))
    found = [entry["Id"] for page in pages for entry in page["Items"]]
    assert [identifier for identifier in found if identifier in made] == made
    assert all(len(page["Items"]) <= 3 for page in pages)
    assert refused(cloud.api.list_credential_lockers, NextToken="bm9uc2Vuc2U=") == "ValidationException"
    assert refused(cloud.api.list_managed_things, NextToken=pages[0]["NextToken"]) == "ValidationException"


def test_a_profile_gives_its_claim_key_once(cloud: Cloud) -> None:
    made = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="hubs")
    assert made["ClaimCertificatePrivateKey"].startswith("-----BEGIN PRIVATE KEY-----\n")
    found = cloud.api.get_provisioning_profile(Identifier=made["Id"])
    assert found["ClaimCertificate"] == made["ClaimCertificate"]
    assert "ClaimCertificatePrivateKey" not in found
    again = {"ProvisioningType": "FLEET_PROVISIONING", "Name": "hubs"}
    assert refused(cloud.api.create_provisioning_profile, **again) == "ConflictException"
    own = {"ProvisioningType": "FLEET_PROVISIONING", "ClaimCertificate": made["ClaimCertificate"].replace("\n", "\\n")}
    assert refused(cloud.api.create_provisioning_profile, **own) == "ValidationException"
    assert refused(cloud.api.create_provisioning_profile, ProvisioningType="JITR") == "ValidationException"
    authority = Path(cloud.told["ca"]).read_text()
    assert (
        cloud.api.create_provisioning_profile(ProvisioningType="JITR", CaCertificate=authority)["Status"] == "CREATED"
    )
    cloud.api.delete_provisioning_profile(Identifier=made["Id"])
    names = [entry["Name"] for entry in cloud.api.list_provisioning_profiles()["Items"]]
    assert "hubs" not in names


def test_tags_follow_their_resource(cloud: Cloud) -> None:
    made = cloud.api.create_credential_locker(Name="tagged", Tags={"team": "red"})
    cloud.api.tag_resource(ResourceArn=made["Arn"], Tags={"floor": "1"})
    assert cloud.api.list_tags_for_resource(ResourceArn=made["Arn"])["tags"] == {"team": "red", "floor": "1"}
    cloud.api.untag_resource(ResourceArn=made["Arn"], TagKeys=["team"])
    assert cloud.api.get_credential_locker(Identifier=made["Id"])["Tags"] == {"floor": "1"}
    unknown = f"{made['Arn'][:-4]}ffff"
    assert refused(cloud.api.list_tags_for_resource, ResourceArn=unknown) == "ResourceNotFoundException"


def test_notifications_go_where_a_configuration_sends_them(cloud: Cloud) -> None:
    cloud.hub("HUB-000000005")
    assert cloud.stream("life") == []
    cloud.ask_for("life", "DEVICE_LIFE_CYCLE")
    hub = cloud.hub("HUB-000000006")
    (told,) = cloud.stream("life")
    assert (told["messageType"], told["payload"]["status"]) == ("DEVICE_LIFE_CYCLE", "PRE_ASSOCIATED")
    assert told["resources"] == [cloud.api.get_managed_thing(Identifier=hub)["Arn"]]
    known = cloud.api.list_notification_configurations()["NotificationConfigurationList"]
    assert known == [{"EventType": "DEVICE_LIFE_CYCLE", "DestinationName": "life"}]
    cloud.api.delete_notification_configuration(EventType="DEVICE_LIFE_CYCLE")
    cloud.api.delete_managed_thing(Identifier=hub)
    assert len(cloud.stream("life")) == 1


def test_settings_of_the_account(cloud: Cloud) -> None:
    api = cloud.api
    assert refused(api.get_hub_configuration) == "ResourceNotFoundException"
    assert (
        api.put_hub_configuration(HubTokenTimerExpirySettingInSeconds=600)["HubTokenTimerExpirySettingInSeconds"] == 600
    )
    assert api.get_hub_configuration()["HubTokenTimerExpirySettingInSeconds"] == 600
    assert api.register_custom_endpoint()["EndpointAddress"] == api.get_custom_endpoint()["EndpointAddress"]
    assert api.get_default_encryption_configuration()["configurationStatus"] == {"state": "ENABLED"}
    own = {"encryptionType": "CUSTOMER_KEY_ENCRYPTION"}
    assert refused(api.put_default_encryption_configuration, **own) == "ValidationException"
    key = "arn:aws:kms:eu-west-1:123456789012:key/a1b2"
    assert api.put_default_encryption_configuration(**own, kmsKeyArn=key)["kmsKeyArn"] == key
    made = api.create_event_log_configuration(ResourceType="managed-thing", EventLogLevel="INFO")["Id"]
    assert (
        refused(api.create_event_log_configuration, ResourceType="managed-thing", EventLogLevel="WARN")
        == "ConflictException"
    )
    api.update_event_log_configuration(Id=made, EventLogLevel="ERROR")
    assert api.get_event_log_configuration(Id=made)["EventLogLevel"] == "ERROR"


def test_events_are_logged_where_and_as_loud_as_it_is_wished(cloud: Cloud) -> None:
    for configured in cloud.api.list_event_log_configurations()["EventLogConfigurationList"]:
        cloud.api.delete_event_log_configuration(Id=configured["Id"])
    quiet, loud = cloud.hub("HUB-EVENTS-0001"), cloud.hub("HUB-EVENTS-0002")
    log = Path(cloud.told["logs"]) / "events.jsonl"
    cloud.api.create_event_log_configuration(ResourceType="managed-thing", EventLogLevel="ERROR")
    cloud.api.create_event_log_configuration(ResourceType="managed-thing", ResourceId=loud, EventLogLevel="INFO")
    for hub in (quiet, loud):
        cloud.api.delete_managed_thing(Identifier=hub, Force=True)
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    assert {line["resourceId"] for line in lines} == {loud}
    assert lines[-1]["payload"]["status"] == "DELETED"
    assert lines[-1]["level"] == "INFO"


def test_published_schemas_are_those_that_hubs_report_by(cloud: Cloud) -> None:
    found = cloud.api.list_schema_versions(Type="capability", Namespace="matter")["Items"]
    assert {"matter.OnOff", "matter.ColorControl"} <= {entry["SchemaId"] for entry in found}
    schema = cloud.api.get_schema_version(Type="capability", SchemaVersionedId="matter.OnOff@1.4")
    assert schema["Schema"]["extrinsicId"] == "0x0006"
    for unknown in ("matter.OnOff@9.9", "matter.OnOff@$latest"):
        refused(cloud.api.get_schema_version, Type="capability", SchemaVersionedId=unknown)


def test_an_ota_task_is_a_job_for_each_target(cloud: Cloud) -> None:
    api, things = cloud.api, [cloud.hub(f"HUB-OTA-{number:06}", MetaData={"owner": "ota"}) for number in range(3)]
    folder = cloud.folder / "s3" / "bucket"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"operation": "update"}))
    arns = [api.get_managed_thing(Identifier=thing)["Arn"] for thing in things]
    rollout = {"RolloutConfig": {"MaximumPerMinute": 2}, "TimeoutConfig": {"InProgressTimeoutInMinutes": 5}}
    configuration = api.create_ota_task_configuration(Name="slow", PushConfig=rollout)["TaskConfigurationId"]
    cloud.ask_for("ota", "DEVICE_OTA")
    api.create_event_log_configuration(ResourceType="ota-task", EventLogLevel="INFO")
    assert (
        refused(api.create_ota_task, S3Url="s3://bucket/none.json", OtaType="ONE_TIME", Target=arns)
        == "ValidationException"
    )
    task = api.create_ota_task(
        S3Url="s3://bucket/job.json", OtaType="ONE_TIME", Target=arns, TaskConfigurationId=configuration
    )
    (told,) = cloud.stream("ota")
    assert told["resources"] == arns
    assert told["payload"] == {
        "operation": "CREATE_OTA",
        "otaTaskId": task["TaskId"],
        "otaType": "ONE_TIME",
        "status": "IN_PROGRESS",
    }
    line = (Path(cloud.told["logs"]) / "events.jsonl").read_text().splitlines()[-1]
    assert (json.loads(line)["resourceType"], json.loads(line)["resourceId"]) == ("ota-task", task["TaskId"])
    found = api.get_ota_task(Identifier=task["TaskId"])
    assert (found["Status"], found["TaskProcessingDetails"]["numberOfQueuedThings"]) == ("IN_PROGRESS", 2)
    executions = api.list_ota_task_executions(Identifier=task["TaskId"])["ExecutionSummaries"]
    assert [entry["ManagedThingId"] for entry in executions] == things[:2]
    matching = api.create_ota_task(
        S3Url="s3://bucket/job.json", OtaType="CONTINUOUS", OtaTargetQueryString="attributes.owner=ota"
    )
    assert api.get_ota_task(Identifier=matching["TaskId"])["TaskProcessingDetails"]["numberOfQueuedThings"] == 3
    api.delete_ota_task(Identifier=task["TaskId"])
    assert refused(api.get_ota_task, Identifier=task["TaskId"]) == "ResourceNotFoundException"


def test_everything_is_there_again_after_a_kill(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "data")
    hub = cloud.hub("HUB-000000007")
    cloud.stop(kill=True)
    cloud.start()
    assert cloud.api.get_managed_thing(Identifier=hub)["SerialNumber"] == "HUB-000000007"
    cloud.stop()


async def test_a_killed_cloud_takes_its_broker_along(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "data")
    config = (tmp_path / "data" / "broker" / "mosquitto.conf").read_text()
    port = int(config.split("listener ")[1].split()[0])
    assert listens(port)
    cloud.stop(kill=True)
    await until(lambda: not listens(port), what="the end of the broker")
