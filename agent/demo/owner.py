"""What the owner of a hub does, in boto3. This code works on AWS as it stands; there, `connect` needs no endpoint_url and no keys."""

from typing import Any

import boto3


def connect(url: str) -> Any:
    return boto3.client(
        "iot-managed-integrations",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def ask_for_notifications(api: Any) -> None:
    api.create_destination(
        Name="my-stream",
        DeliveryDestinationType="KINESIS",
        DeliveryDestinationArn="arn:aws:kinesis:eu-west-1:123456789012:stream/my-stream",
        RoleArn="arn:aws:iam::123456789012:role/delivery",
    )
    for event in ("DEVICE_COMMAND", "DEVICE_EVENT", "DEVICE_LIFE_CYCLE", "DEVICE_STATE"):
        api.create_notification_configuration(EventType=event, DestinationName="my-stream")


def create_profile(api: Any) -> dict[str, Any]:
    profile: dict[str, Any] = api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="my-hubs")
    return profile


def create_hub(api: Any, serial: str) -> str:
    hub = api.create_managed_thing(
        Role="CONTROLLER",
        AuthenticationMaterialType="WIFI_SETUP_QR_BAR_CODE",
        AuthenticationMaterial=f"SN:{serial};UPC:829576019524",
    )
    return str(hub["Id"])


def discover(api: Any, hub: str) -> str:
    discovery = api.start_device_discovery(DiscoveryType="ZIGBEE", ControllerIdentifier=hub)
    return str(discovery["Id"])


def add_device(api: Any, found: dict[str, Any]) -> str:
    device = api.create_managed_thing(
        Role="DEVICE",
        AuthenticationMaterialType="DISCOVERED_DEVICE",
        AuthenticationMaterial=found["AuthenticationMaterial"],
    )
    return str(device["Id"])


def discover_custom(api: Any, hub: str, protocol: str) -> str:
    discovery = api.start_device_discovery(
        DiscoveryType="CUSTOM",
        CustomProtocolDetail={"Name": protocol},
        ControllerIdentifier=hub,
    )
    return str(discovery["Id"])


def switch(api: Any, light: str, endpoint: str, action: str) -> str:
    on_off = {"id": "matter.OnOff@1.4", "name": "On/Off", "version": "6", "actions": [{"name": action}]}
    command = api.send_managed_thing_command(
        ManagedThingId=light, Endpoints=[{"endpointId": endpoint, "capabilities": [on_off]}]
    )
    return str(command["TraceId"])


def expect(api: Any, hub: str, qr_code: str) -> str:
    locker = api.create_credential_locker(Name="my-home")["Id"]
    api.update_managed_thing(Identifier=hub, CredentialLockerId=locker)
    device = api.create_managed_thing(
        Role="DEVICE",
        CredentialLockerId=locker,
        AuthenticationMaterialType="ZWAVE_QR_BAR_CODE",
        AuthenticationMaterial=qr_code,
    )
    return str(device["Id"])


def expect_custom(api: Any, hub: str, code: str) -> str:
    device = api.create_managed_thing(
        Role="DEVICE",
        CredentialLockerId=api.get_managed_thing(Identifier=hub)["CredentialLockerId"],
        AuthenticationMaterialType="CUSTOM_PROTOCOL_QR_BAR_CODE",
        AuthenticationMaterial=code,
    )
    return str(device["Id"])


def discover_by_pin(api: Any, hub: str, pin: str) -> str:
    discovery = api.start_device_discovery(
        DiscoveryType="ZWAVE",
        ControllerIdentifier=hub,
        AuthenticationMaterialType="ZWAVE_INSTALL_CODE",
        AuthenticationMaterial=pin,
    )
    return str(discovery["Id"])


def lock(api: Any, door: str, action: str) -> str:
    door_lock = {"id": "matter.DoorLock@1.4", "name": "Door Lock", "version": "7", "actions": [{"name": action}]}
    command = api.send_managed_thing_command(
        ManagedThingId=door, Endpoints=[{"endpointId": "0", "capabilities": [door_lock]}]
    )
    return str(command["TraceId"])


def heat(api: Any, thermostat: str, hundredths: int) -> str:
    update = {"name": "UpdateState", "parameters": {"OccupiedHeatingSetpoint": hundredths}}
    capability = {"id": "matter.Thermostat@1.4", "name": "Thermostat", "version": "8", "actions": [update]}
    command = api.send_managed_thing_command(
        ManagedThingId=thermostat, Endpoints=[{"endpointId": "0", "capabilities": [capability]}]
    )
    return str(command["TraceId"])


def read(api: Any, thing: str, wanted: str, of: str = "") -> Any:
    state = api.get_managed_thing_state(ManagedThingId=thing)
    for endpoint in state["Endpoints"]:
        for capability in endpoint["capabilities"]:
            for entry in capability["properties"]:
                if entry["name"] == wanted and of in capability["id"]:
                    return entry["value"]["propertyValue"]
    return None


def delete(api: Any, thing: str) -> None:
    api.delete_managed_thing(Identifier=thing)
