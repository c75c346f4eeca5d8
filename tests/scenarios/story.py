"""The whole story in boto3: from an empty account to a switched-on light, an OTA job, a deleted device and an offboarded hub.

    python story.py ADDRESSES STICK FOLDER

ADDRESSES: the line that `agent cloud` has printed; STICK: the port of a Zigbee stick, real or simulated; FOLDER: for the hub's files.
On AWS, leave the endpoint_url out, and take the MQTT endpoint from `get_custom_endpoint`.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import boto3
from awscrt import mqtt5
from awsiot import iotidentity, iotjobs, mqtt5_client_builder
from botocore.config import Config

SERIAL, UPC = "HUB-000000001", "829576019524"
QOS = mqtt5.QoS.AT_LEAST_ONCE
CONFIG = """
[hub]
id = "{hub}"
onboarding = "cloud"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
certificate = "{folder}/hub.pem"
key = "{folder}/hub.key"
[radios.zigbee]
kind = "zigbee"
port = "{stick}"
"""


def client(service, url, **config):
    anybody = {"region_name": "eu-west-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client(service, endpoint_url=url, config=Config(**config), **anybody)


def wait_for(what, condition):
    for _ in range(300):
        if result := condition():
            print(what)
            return result
        time.sleep(0.2)
    raise TimeoutError(what)


def connect(cloud, certificate, key, client_id):
    """The AWS IoT Device SDK, connected: the connection, and the client to stop."""
    host, _, port = cloud["mqtt"].partition(":")
    connected = Future()
    mqtt = mqtt5_client_builder.mtls_from_bytes(
        certificate.encode(),
        key.encode(),
        endpoint=host,
        port=int(port),
        ca_filepath=cloud["ca"],
        client_id=client_id,
        on_lifecycle_connection_success=connected.set_result,
    )
    mqtt.start()
    connected.result(20)
    return mqtt.new_connection(), mqtt


def first(subscribe, request):
    """Subscribe; the first message of the topic."""
    heard = Future()
    done, _topic = subscribe(request=request, qos=QOS, callback=lambda body: heard.done() or heard.set_result(body))
    done.result(20)
    return heard


def provision(cloud, profile, serial):
    """Fleet provisioning by claim: the thing's name, certificate and key."""
    connection, mqtt = connect(
        cloud, profile["ClaimCertificate"], profile["ClaimCertificatePrivateKey"], f"claim-{serial}"
    )
    identity = iotidentity.IotIdentityClient(connection)
    made = first(
        identity.subscribe_to_create_keys_and_certificate_accepted,
        iotidentity.CreateKeysAndCertificateSubscriptionRequest(),
    )
    identity.publish_create_keys_and_certificate(iotidentity.CreateKeysAndCertificateRequest(), QOS).result(20)
    certificate = made.result(20)
    template = {"template_name": profile["Name"]}
    accepted = first(
        identity.subscribe_to_register_thing_accepted, iotidentity.RegisterThingSubscriptionRequest(**template)
    )
    request = iotidentity.RegisterThingRequest(
        **template,
        certificate_ownership_token=certificate.certificate_ownership_token,
        parameters={"deviceSerialNumber": serial, "universalProductCode": UPC},
    )
    identity.publish_register_thing(request, QOS).result(20)
    thing = accepted.result(20).thing_name
    mqtt.stop()
    return thing, certificate.certificate_pem, certificate.private_key


def update(cloud, hub, certificate, key):
    """What an updater on the hub does: take the next job, and report it done."""
    connection, mqtt = connect(cloud, certificate, key, f"{hub}-updater")
    jobs = iotjobs.IotJobsClient(connection)
    started = first(
        jobs.subscribe_to_start_next_pending_job_execution_accepted,
        iotjobs.StartNextPendingJobExecutionSubscriptionRequest(thing_name=hub),
    )
    jobs.publish_start_next_pending_job_execution(
        iotjobs.StartNextPendingJobExecutionRequest(thing_name=hub), QOS
    ).result(20)
    execution = started.result(20).execution
    print("  job document:", execution.job_document)
    job = {"thing_name": hub, "job_id": execution.job_id}
    done = first(jobs.subscribe_to_update_job_execution_accepted, iotjobs.UpdateJobExecutionSubscriptionRequest(**job))
    jobs.publish_update_job_execution(iotjobs.UpdateJobExecutionRequest(**job, status="SUCCEEDED"), QOS).result(20)
    done.result(20)
    mqtt.stop()


def start_agent(cloud, hub, certificate, key, stick, folder):
    host, _, port = cloud["mqtt"].partition(":")
    for name, text in (("hub.pem", certificate), ("hub.key", key)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    text = CONFIG.format(hub=hub, folder=folder, host=host, port=port, ca=cloud["ca"], stick=stick)
    (folder / "agent.toml").write_text(text)
    return subprocess.Popen(["agent", "run", "-c", folder / "agent.toml"])


def main(cloud, stick, folder):
    api = client("iot-managed-integrations", cloud["managed_integrations"])
    profile = api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="hubs")
    hub = api.create_managed_thing(
        Role="CONTROLLER",
        AuthenticationMaterialType="WIFI_SETUP_QR_BAR_CODE",
        AuthenticationMaterial=f"SN:{SERIAL};UPC:{UPC}",
    )["Id"]
    thing, certificate, key = provision(cloud, profile, SERIAL)
    assert thing == hub
    agent = start_agent(cloud, hub, certificate, key, stick, folder)

    def status(thing):
        try:
            return api.get_managed_thing(Identifier=thing)["ProvisioningStatus"]
        except api.exceptions.ResourceNotFoundException:
            return "gone"

    wait_for("the hub is activated", lambda: status(hub) == "ACTIVATED")

    discovery = api.start_device_discovery(DiscoveryType="ZIGBEE", ControllerIdentifier=hub)["Id"]

    def light_found():
        found = api.list_discovered_devices(Identifier=discovery)["Items"]
        return next((device for device in found if "Light" in str(device["DeviceTypes"])), None)

    found = wait_for("a light is discovered", light_found)
    light = api.create_managed_thing(
        Role="DEVICE",
        AuthenticationMaterialType="DISCOVERED_DEVICE",
        AuthenticationMaterial=found["AuthenticationMaterial"],
    )["Id"]
    wait_for("the light is activated", lambda: status(light) == "ACTIVATED")

    on_off = {"id": "matter.OnOff@1.4", "name": "On/Off", "version": "6", "actions": [{"name": "On"}]}
    api.send_managed_thing_command(ManagedThingId=light, Endpoints=[{"endpointId": "1", "capabilities": [on_off]}])

    def is_on():
        state = api.get_managed_thing_state(ManagedThingId=light)["Endpoints"]
        capabilities = [capability for endpoint in state for capability in endpoint["capabilities"]]
        values = {entry["name"]: entry["value"]["propertyValue"] for c in capabilities for entry in c["properties"]}
        return values.get("OnOff") is True

    wait_for("the light is on", is_on)

    s3 = client("s3", cloud["s3"], s3={"addressing_style": "path"})
    s3.put_object(Bucket="updates", Key="job.json", Body=json.dumps({"operation": "update", "version": "2.0"}).encode())
    arn = api.get_managed_thing(Identifier=hub)["Arn"]
    task = api.create_ota_task(S3Url="s3://updates/job.json", OtaType="ONE_TIME", Target=[arn])["TaskId"]
    update(cloud, hub, certificate, key)
    wait_for("the OTA task is completed", lambda: api.get_ota_task(Identifier=task)["Status"] == "COMPLETED")

    api.delete_managed_thing(Identifier=light)
    wait_for("the light has left its network", lambda: status(light) == "gone")
    api.delete_managed_thing(Identifier=hub)
    wait_for("the hub is offboarded", lambda: status(hub) == "gone")
    assert agent.wait(60) == 75  # it has forgotten everything; a service manager starts it anew


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
