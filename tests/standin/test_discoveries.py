"""Discoveries and what the customer is told of them: paho as a hub, boto3 as its owner."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin_account import Account
from standin_mqtt import Mqtt, provisioned, wait_until
from standin_rig import Cloud

pytestmark = pytest.mark.conformance

REDISCOVERY = {"DiscoveryType": "CONTROLLER_CAPABILITY_REDISCOVERY", "Protocol": "ZIGBEE"}
NODE = "zb.539D+4A1D"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    made = Account(tmp_path)
    yield made
    made.close()


def says(hub: Mqtt, name: str, kind: str, payload: Any, thing: str = "") -> None:
    """A message of a hub."""
    number = f"m{len(hub.heard)}-{kind}-{payload.get('status', '')}-{'error' in payload}"
    envelope = {"version": "1.0.0", "messageId": number, "messageType": kind, "timestamp": "2026-01-01T00:00:00Z"}
    device = {"managedThingId": thing} if thing else {}
    hub.publish(f"north/{name}/discovery", {**envelope, **device, "payload": payload})


def test_a_rediscovery_is_told_for_each_device_and_at_its_end(cloud: Cloud, tmp_path: Path) -> None:
    api = cloud.api
    name, files = provisioned(cloud, tmp_path, "HUB-REDISCOVER")
    cloud.ask_for("rediscovery", "DEVICE_DISCOVERY_STATUS")
    arn = api.get_managed_thing(Identifier=name)["Arn"]
    with Mqtt(cloud, files, name) as hub:
        assert hub.connected() == "Success"
        first = api.start_device_discovery(DiscoveryType="ZIGBEE", ControllerIdentifier=name)["Id"]
        found = {"deviceDiscoveryId": first, "nodeId": NODE, "discoveredAt": "2026-01-01T00:00:00Z"}
        says(hub, name, "DEVICE_DISCOVERED", found)
        says(hub, name, "DISCOVERY_STATUS", {"deviceDiscoveryId": first, "status": "RUNNING", "deviceCount": 1})
        says(hub, name, "DISCOVERY_STATUS", {"deviceDiscoveryId": first, "status": "SUCCEEDED", "deviceCount": 1})
        wait_until(lambda: cloud.stream("rediscovery"))
        material = api.list_discovered_devices(Identifier=first)["Items"][0]["AuthenticationMaterial"]
        thing = api.create_managed_thing(
            Role="DEVICE", AuthenticationMaterialType="DISCOVERED_DEVICE", AuthenticationMaterial=material
        )
        second = api.start_device_discovery(**REDISCOVERY, ControllerIdentifier=name)["Id"]
        status = {"deviceDiscoveryId": second, "status": "RUNNING", "deviceCount": 0}
        error = {"code": "500", "message": "Device unreachable"}
        says(hub, name, "DISCOVERY_STATUS", status)
        says(hub, name, "DISCOVERY_STATUS", {**status, "deviceCount": 1}, thing["Id"])
        says(hub, name, "DISCOVERY_STATUS", {**status, "error": error}, thing["Id"])
        says(hub, name, "DISCOVERY_STATUS", {**status, "status": "SUCCEEDED"})
        wait_until(lambda: len(cloud.stream("rediscovery")) == 4)
    told = cloud.stream("rediscovery")
    assert [entry["resources"] for entry in told[1:]] == [[arn, thing["Arn"]], [arn, thing["Arn"]], [arn]]
    assert [(entry["payload"]["status"], entry["payload"]["deviceCount"]) for entry in told] == [
        ("SUCCEEDED", 1),
        ("RUNNING", 1),
        ("RUNNING", 0),
        ("SUCCEEDED", 0),
    ]
    assert told[2]["payload"]["error"] == {**error, "managedThingId": thing["Id"]}


def test_a_custom_protocol_has_a_name(account: Account) -> None:
    (hub,) = account.things(1)
    request = {"DiscoveryType": "CUSTOM", "ControllerIdentifier": hub}
    for detail in ({}, {"CustomProtocolDetail": {"NodeId": "1"}}):
        with pytest.raises(ClientError, match="CustomProtocolDetail"):
            account.api.start_device_discovery(**request, **detail)
    assert account.api.start_device_discovery(**request, CustomProtocolDetail={"Name": "Matter"})["Id"]


@pytest.mark.parametrize(
    ("request_", "runs", "over"), [({"DiscoveryType": "ZIGBEE"}, 4.5, 5.5), (REDISCOVERY, 15.2, 16)]
)
def test_a_silent_hubs_discovery_ends_once_no_hub_would_still_be_at_it(
    account: Account, request_: dict[str, str], runs: float, over: float
) -> None:
    (hub,) = account.things(1)
    discovery = account.api.start_device_discovery(**request_, ControllerIdentifier=hub)["Id"]
    account.pass_minutes(runs)
    assert account.api.get_device_discovery(Identifier=discovery)["Status"] == "RUNNING"
    account.pass_minutes(over - runs)
    assert account.api.get_device_discovery(Identifier=discovery)["Status"] == "TIMED_OUT"
