"""What an account keeps: made, read, changed, listed and deleted with boto3, action by action."""

import pytest
from standin_rig import Cloud

pytestmark = pytest.mark.conformance

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/"
ROLE = "arn:aws:iam::123456789012:role/delivery"


def destination(cloud: Cloud, name: str) -> dict[str, str]:
    made = {
        "Name": name,
        "DeliveryDestinationArn": STREAM + name,
        "DeliveryDestinationType": "KINESIS",
        "RoleArn": ROLE,
    }
    assert cloud.api.create_destination(**made, Description="a stream")["Name"] == name
    return made


def test_a_destination_has_its_life(cloud: Cloud) -> None:
    api, made = cloud.api, destination(cloud, "first")
    found = api.get_destination(Name="first")
    assert {name: found[name] for name in made} == made
    api.update_destination(Name="first", Description="another", DeliveryDestinationArn=f"{STREAM}other")
    changed = api.get_destination(Name="first")
    assert (changed["Description"], changed["DeliveryDestinationArn"]) == ("another", f"{STREAM}other")
    assert changed["UpdatedAt"] >= found["UpdatedAt"]
    assert changed["CreatedAt"] == found["CreatedAt"]
    assert "first" in [entry["Name"] for entry in api.list_destinations()["DestinationList"]]
    api.delete_destination(Name="first")
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.get_destination(Name="first")


def test_a_notification_configuration_moves_to_another_destination(cloud: Cloud) -> None:
    api = cloud.api
    for name in ("one", "two"):
        destination(cloud, name)
    api.create_notification_configuration(EventType="DEVICE_OTA", DestinationName="one")
    assert api.get_notification_configuration(EventType="DEVICE_OTA")["DestinationName"] == "one"
    api.update_notification_configuration(EventType="DEVICE_OTA", DestinationName="two")
    assert api.get_notification_configuration(EventType="DEVICE_OTA")["DestinationName"] == "two"
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.update_notification_configuration(EventType="DEVICE_OTA", DestinationName="none")
    assert {"EventType": "DEVICE_OTA", "DestinationName": "two"} in [
        {name: entry[name] for name in ("EventType", "DestinationName")}
        for entry in api.list_notification_configurations()["NotificationConfigurationList"]
    ]
    api.delete_notification_configuration(EventType="DEVICE_OTA")
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.get_notification_configuration(EventType="DEVICE_OTA")


def test_discoveries_are_read_and_listed(cloud: Cloud) -> None:
    api, hub = cloud.api, cloud.hub("HUB-ACCOUNT-001")
    made = [
        api.start_device_discovery(DiscoveryType=kind, ControllerIdentifier=hub)["Id"] for kind in ("ZIGBEE", "ZWAVE")
    ]
    found = api.get_device_discovery(Identifier=made[0])
    assert (found["Id"], found["DiscoveryType"], found["ControllerId"]) == (made[0], "ZIGBEE", hub)
    assert found["Status"] == "RUNNING"
    listed = api.list_device_discoveries()["Items"]
    assert set(made) <= {entry["Id"] for entry in listed}
    only = api.list_device_discoveries(TypeFilter="ZWAVE")["Items"]
    assert made[1] in {entry["Id"] for entry in only}
    assert made[0] not in {entry["Id"] for entry in only}


def test_an_ota_configuration_has_its_life(cloud: Cloud) -> None:
    api = cloud.api
    push = {"RolloutConfig": {"MaximumPerMinute": 7}, "TimeoutConfig": {"InProgressTimeoutInMinutes": 30}}
    made = api.create_ota_task_configuration(Name="nightly", Description="at night", PushConfig=push)
    identifier = made["TaskConfigurationId"]
    found = api.get_ota_task_configuration(Identifier=identifier)
    assert (found["Name"], found["Description"], found["PushConfig"]) == ("nightly", "at night", push)
    assert identifier in [entry["TaskConfigurationId"] for entry in api.list_ota_task_configurations()["Items"]]
    api.delete_ota_task_configuration(Identifier=identifier)
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.get_ota_task_configuration(Identifier=identifier)


def test_a_runtime_log_configuration_is_put_read_and_reset(cloud: Cloud) -> None:
    api, hub = cloud.api, cloud.hub("HUB-ACCOUNT-002")
    wanted = {"LogLevel": "INFO", "UploadLog": True, "UploadPeriodMinutes": 5}
    api.put_runtime_log_configuration(ManagedThingId=hub, RuntimeLogConfigurations=wanted)
    found = api.get_runtime_log_configuration(ManagedThingId=hub)
    assert (found["ManagedThingId"], found["RuntimeLogConfigurations"]) == (hub, wanted)
    api.reset_runtime_log_configuration(ManagedThingId=hub)
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.get_runtime_log_configuration(ManagedThingId=hub)


def test_there_are_no_connectors_and_that_is_said(cloud: Cloud) -> None:
    """Lists are empty; what would need a connector is refused in the model's own words (tests/standin/test_model.py)."""
    api, hub = cloud.api, cloud.hub("HUB-ACCOUNT-003")
    assert api.list_cloud_connectors()["Items"] == []
    assert api.list_account_associations()["Items"] == []
    assert api.list_managed_thing_account_associations(ManagedThingId=hub)["Items"] == []
