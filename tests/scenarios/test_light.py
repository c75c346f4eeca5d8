"""From CreateProvisioningProfile to a switched-on light and a deleted device: boto3 and the AWS IoT Device SDK on one side, `agent run`
with a simulated Zigbee stick on the other, and between them the stand-in cloud.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import forked
import pytest
from awsiot import iotidentity
from botocore.exceptions import ClientError
from conftest import until, until_async
from daemon import ask
from standin_device import PATIENCE, Device, from_csr, register
from standin_rig import ZIGBEE, Cloud

from agent.client import Client
from agent.errors import HubError
from drivers.sim.zigbee.server import Simulation, start

pytestmark = pytest.mark.conformance

CODED = "00:12:4b:00:01:00:00:04"
INSTALL_CODE = "83FED3407A939723A5C639B26916D505C3B5"
HOME: dict[str, Any] = {
    "kind": "zigbee",
    "stick": "ezsp",
    "ieee": "00:12:4b:00:00:00:ff:01",
    "devices": [
        {"name": "bulb", "profile": "color-bulb"},
        {"name": "remote", "profile": "remote"},
        {"name": "coded", "profile": "plug", "ieee": CODED, "pairing": False, "install_code": INSTALL_CODE},
    ],
}
CONFIG = """
[hub]
id = "{hub}"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
onboarding = "cloud"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
certificate = "{folder}/hub.pem"
key = "{folder}/hub.key"
[radios.zigbee]
kind = "zigbee"
port = "{folder}/stick"
radio = "ezsp"
"""


class Story:
    """A hub that was provisioned by its claim certificate, and the account that it belongs to."""

    def __init__(self, cloud: Cloud, folder: Path, sim: Simulation) -> None:
        self.cloud, self.api, self.folder, self.sim = cloud, cloud.api, folder, sim
        self.hub = cloud.hub("HUB-STORY-0001")
        self._provision()
        self.run()

    def _provision(self) -> None:
        profile = self.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="story")
        device = Device(self.cloud, profile["ClaimCertificate"], profile["ClaimCertificatePrivateKey"], "claim-story")
        identity = iotidentity.IotIdentityClient(device.connection)
        certificate, key = from_csr(identity)
        accepted, _ = register(identity, "story", certificate.certificate_ownership_token, "HUB-STORY-0001")
        assert accepted.result(PATIENCE).thing_name == self.hub
        device.stop()
        (self.folder / "hub.pem").write_text(certificate.certificate_pem)
        (self.folder / "hub.key").write_text(key)
        (self.folder / "hub.key").chmod(0o600)

    def run(self) -> None:
        host, _, port = self.cloud.told["mqtt"].partition(":")
        config = self.folder / "agent.toml"
        config.write_text(
            CONFIG.format(hub=self.hub, folder=self.folder, host=host, port=port, ca=self.cloud.told["ca"])
        )
        with (self.folder / "agent.log").open("ab") as log:
            command = [sys.executable, "-m", "agent.cli", "run", "-c", str(config)]
            self.process = forked.Popen(command, stdout=log, stderr=log)

    def status(self, thing: str) -> str:
        try:
            return str(self.api.get_managed_thing(Identifier=thing)["ProvisioningStatus"])
        except ClientError as error:
            return str(error.response["Error"]["Code"])

    async def becomes(self, thing: str, status: str) -> None:
        await until(lambda: self.status(thing) == status, 30.0, f"{thing} {status}, it is {self.status(thing)}")

    async def discover(self, **more: Any) -> str:
        return str(self.api.start_device_discovery(DiscoveryType="ZIGBEE", ControllerIdentifier=self.hub, **more)["Id"])

    async def found(self, discovery: str, model: str) -> dict[str, Any]:
        def devices() -> list[dict[str, Any]]:
            listed = self.api.list_discovered_devices(Identifier=discovery)["Items"]
            return [entry for entry in listed if entry.get("Model") == model]

        await until(devices, 30.0, f"{model} among the discovered devices")
        return devices()[0]

    async def adopt(self, found: dict[str, Any], **more: Any) -> str:
        material = {
            "AuthenticationMaterialType": "DISCOVERED_DEVICE",
            "AuthenticationMaterial": found["AuthenticationMaterial"],
        }
        thing = str(self.api.create_managed_thing(Role="DEVICE", **material, **more)["Id"])
        await self.becomes(thing, "ACTIVATED")
        return thing

    def value(self, thing: str, name: str) -> Any:
        for endpoint in self.api.get_managed_thing_state(ManagedThingId=thing)["Endpoints"]:
            for capability in endpoint["capabilities"]:
                for entry in capability["properties"]:
                    if entry["name"] == name:
                        return entry["value"]["propertyValue"]
        return None

    def switch(self, thing: str, action: str) -> str:
        on_off = {"id": "matter.OnOff@1.4", "name": "On/Off", "version": "6", "actions": [{"name": action}]}
        endpoints = [{"endpointId": "1", "capabilities": [on_off]}]
        return str(self.api.send_managed_thing_command(ManagedThingId=thing, Endpoints=endpoints)["TraceId"])

    async def switched(self, thing: str, action: str, wanted: bool) -> None:  # noqa: FBT001  on or off
        trace = self.switch(thing, action)
        await until(lambda: self.value(thing, "OnOff") is wanted, 20.0, f"the light {action}")
        await until(lambda: self.results(trace), 20.0, "the result")
        assert self.results(trace) == ["succeeded"]

    def results(self, trace: str) -> list[str]:
        return [told["result"] for told in self.told("DEVICE_COMMAND", lambda payload: payload["traceId"] == trace)]

    def told(self, kind: str, good: Callable[[dict[str, Any]], bool] = lambda _payload: True) -> list[dict[str, Any]]:
        told = [entry["payload"] for entry in self.cloud.stream("story") if entry["messageType"] == kind]
        return [payload for payload in told if good(payload)]


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    cloud = Cloud(tmp_path / "cloud")
    cloud.ask_for(
        "story", "DEVICE_COMMAND", "DEVICE_EVENT", "DEVICE_LIFE_CYCLE", "DEVICE_STATE", "DEVICE_DISCOVERY_STATUS"
    )
    sim = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=1)
    made = await asyncio.get_running_loop().run_in_executor(None, Story, cloud, tmp_path, sim)
    yield made
    made.process.send_signal(signal.SIGTERM)
    made.process.wait(10)
    await sim.close()
    cloud.stop()


async def test_a_light_from_the_box_to_its_end(story: Story) -> None:
    await story.becomes(story.hub, "ACTIVATED")
    assert story.api.get_managed_thing_connectivity_data(Identifier=story.hub)["Connected"]
    discovery = await story.discover()
    bulb = await story.adopt(await story.found(discovery, "SIM-BULB-RGB"), Name="living room")
    report = story.api.get_managed_thing_capabilities(Identifier=bulb)["CapabilityReport"]
    assert "matter.OnOff@1.4" in [capability["id"] for capability in report["endpoints"][0]["capabilities"]]
    schemas = story.api.list_managed_thing_schemas(Identifier=bulb, CapabilityIdFilter="matter.OnOff@1.4")["Items"]
    assert schemas[0]["Schema"]["name"] == "On/Off"
    for action, wanted in (("On", True), ("Off", False)):
        await story.switched(bulb, action, wanted)
    remote = await story.adopt(await story.found(discovery, "SIM-REMOTE"))
    await story.sim.control({"op": "press", "device": "remote", "button": 1})
    await until(lambda: story.told("DEVICE_EVENT"), 20.0, "the press of a button")
    for thing in (bulb, remote):
        story.api.delete_managed_thing(Identifier=thing)
    await story.becomes(bulb, "ResourceNotFoundException")
    await story.sim.control(
        {"op": "press", "device": "remote", "button": 1}
    )  # wakes it, so that it hears that it has to leave
    await story.becomes(remote, "ResourceNotFoundException")
    assert story.told("DEVICE_LIFE_CYCLE", lambda p: p.get("status") == "DELETED")
    with pytest.raises(ClientError, match="not found"):
        story.switch(bulb, "On")


async def test_a_deleted_hub_forgets_its_home_and_starts_anew(story: Story) -> None:
    await story.becomes(story.hub, "ACTIVATED")
    bulb = await story.adopt(await story.found(await story.discover(), "SIM-BULB-RGB"))
    with pytest.raises(ClientError, match="delete them first"):
        story.api.delete_managed_thing(Identifier=story.hub)
    story.api.delete_managed_thing(Identifier=bulb)
    await story.becomes(bulb, "ResourceNotFoundException")
    before = (await story.sim.control({"op": "network"}))["network"]
    story.api.delete_managed_thing(Identifier=story.hub)
    await story.becomes(story.hub, "ResourceNotFoundException")
    await until(lambda: story.process.poll() is not None, 30.0, "the end of the offboarded agent")
    assert story.process.returncode == 75
    left = sorted(path.name for path in (story.folder / "state").iterdir())
    assert left == ["offboarded.json"]
    story.run()
    client = Client(story.folder / "run")

    async def radio_is_up() -> bool:
        with suppress(HubError):
            return bool((await ask(client, "status"))["radios"]["zigbee"]["status"] == "online")
        return False

    await until_async(radio_is_up, bool, 30.0)
    assert (await ask(client, "status"))["uplinks"]["main"]["status"] == "offboarded"
    after = (await story.sim.control({"op": "network"}))["network"]
    assert after["extendedPanId"] != before["extendedPanId"]
    assert after["key"] != before["key"]


async def test_a_hub_logs_to_the_cloud_as_it_is_told(story: Story) -> None:
    await story.becomes(story.hub, "ACTIVATED")
    wishes = {"LogLevel": "DEBUG", "LogFlushLevel": "DEBUG", "UploadLog": True, "UploadPeriodMinutes": 60}
    story.api.put_runtime_log_configuration(ManagedThingId=story.hub, RuntimeLogConfigurations=wishes)
    local = story.folder / "state" / "logs" / "hub.log"
    await story.discover()
    await until(lambda: local.exists() and '"agent.' in local.read_text(), 20.0, "the hub's own lines")
    story.api.reset_runtime_log_configuration(ManagedThingId=story.hub)
    uploaded = Path(story.cloud.told["logs"]) / f"{story.hub}.jsonl"
    await until(uploaded.exists, 20.0, "the upload")
    await until(lambda: not list(local.parent.iterdir()), 20.0, "the local store emptied")
    loggers = [json.loads(line)["logger"] for line in uploaded.read_text().splitlines()]
    assert any(name.startswith("agent") for name in loggers), loggers


async def test_a_device_whose_code_is_known_joins_by_itself(story: Story) -> None:
    await story.becomes(story.hub, "ACTIVATED")
    locker = story.api.create_credential_locker(Name="home")["Id"]
    code = f"Z:{CODED.replace(':', '').upper()}$I:{INSTALL_CODE}"
    request = {"Role": "DEVICE", "AuthenticationMaterialType": ZIGBEE, "AuthenticationMaterial": code}
    plug = story.api.create_managed_thing(**request, CredentialLockerId=locker)["Id"]
    assert story.status(plug) == "UNASSOCIATED"
    story.api.update_managed_thing(Identifier=story.hub, CredentialLockerId=locker)
    assert story.status(plug) == "PRE_ASSOCIATED"

    async def powered() -> bool:
        await story.sim.control({"op": "pair", "device": "coded"})
        return story.status(plug) == "ACTIVATED"

    await until_async(powered, bool, 40.0)
    story.switch(plug, "On")
    await until(lambda: story.value(plug, "OnOff") is True, 20.0, "the plug on")
    assert story.api.get_managed_thing(Identifier=plug)["ParentControllerId"] == story.hub


async def test_a_hub_that_goes_is_seen_and_one_that_is_silent_times_out(story: Story) -> None:
    await story.becomes(story.hub, "ACTIVATED")
    story.process.kill()
    story.process.wait()

    def connection() -> dict[str, Any]:
        return dict(story.api.get_managed_thing_connectivity_data(Identifier=story.hub))

    await until(lambda: not connection()["Connected"], 20.0, "the end of the connection")
    assert connection()["DisconnectReason"] == "CONNECTION_LOST"
    story.run()
    await until(lambda: connection()["Connected"], 20.0, "the hub again")
    events = story.told("DEVICE_LIFE_CYCLE", lambda p: p.get("managedThingId") == story.hub)
    assert [event["eventType"] for event in events] == ["connected", "disconnected", "connected"]
