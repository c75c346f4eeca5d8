"""Onboarding by the cloud, end to end: a cloud at a real broker, the daemon, a simulated stick with devices that have install codes."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import Broker, until, until_async
from house import House

from drivers.sim.zigbee.server import start
from tests.conformance.test_link_protocol import REFUSE_NEW, OldBroker

pytestmark = pytest.mark.conformance

CODED = "00:12:4b:00:01:00:00:04"
INSTALL_CODE = "83FED3407A939723A5C639B26916D505C3B5"
QR = f"Z:{CODED.replace(':', '').upper()}$I:{INSTALL_CODE}"
HOME: dict[str, Any] = {
    "kind": "zigbee",
    "stick": "ezsp",
    "ieee": "00:12:4b:00:00:00:ff:01",
    "devices": [
        {"name": "coded", "profile": "plug", "ieee": CODED, "pairing": False, "install_code": INSTALL_CODE},
        {"name": "plain", "profile": "color-bulb", "pairing": False},
    ],
}


class Cloud(House):
    """The cloud's part of a home that it onboards."""

    numbers = count()

    def setup(self, kind: str, **payload: Any) -> None:
        number = next(self.numbers)
        body = {"version": "1.0.0", "messageId": f"m{number}", "messageType": kind, "payload": payload}
        self.mqtt.publish("south/hub-1/setup", json.dumps(body), 1)

    async def sim_do(self, op: str, device: str, **more: Any) -> Any:
        assert self.sim is not None
        return await self.sim.control({"op": op, "device": device, **more})

    async def in_the_air(self, device: str) -> dict[str, Any]:
        listed = await self.sim_do("list", "")
        found: dict[str, Any] = next(entry for entry in listed["devices"] if entry["name"] == device)
        return found

    def statuses(self, discovery: str) -> list[str]:
        told = [message["payload"] for message in self.told("DISCOVERY_STATUS")]
        return [body["status"] for body in told if body["deviceDiscoveryId"].startswith(discovery)]

    def life(self, thing: str) -> list[str]:
        told = [message for message in self.told("DEVICE_LIFE_CYCLE") if message["managedThingId"] == thing]
        return [message["payload"]["status"] for message in told]

    async def ours(self) -> list[dict[str, Any]]:
        """The devices without those in quarantine: a stranger that slips in as a window closes is shown, and no more."""
        return [device for device in await self.ask("devices") if device["status"] != "ISOLATED"]

    async def window(self, discovery: str) -> None:
        await until(lambda: self.statuses(discovery) == ["RUNNING"], what=f"the start of {discovery}")

        async def seconds() -> int:
            return int((await self.ask("status"))["radios"]["zigbee"]["joinWindow"])

        await until_async(seconds, bool)

    async def discovered(self, device: str) -> dict[str, Any]:
        """Put the device in pairing mode; what the cloud hears of it."""
        before = len(self.told("DEVICE_DISCOVERED"))
        await self.sim_do("pair", device)
        await until(lambda: len(self.told("DEVICE_DISCOVERED")) > before, 20.0, f"the discovery of {device}")
        found: dict[str, Any] = self.told("DEVICE_DISCOVERED")[-1]["payload"]
        return found

    async def command(self, thing: str, trace: str, action: str) -> str:
        self.send(thing, trace, action)
        await until(lambda: self.outcomes(trace), 20.0, f"the Outcome of {trace}")
        (result,) = self.outcomes(trace)
        return result

    async def onboarded(self, thing: str, discovered: dict[str, Any]) -> None:
        """Capabilities, life cycle and state have come under the managed thing's id."""
        await until(lambda: thing in self.things("CAPABILITY_REPORT"), what="the capability report")
        report = next(m for m in self.told("CAPABILITY_REPORT") if m["managedThingId"] == thing)["payload"]
        assert (report["version"], report["nodeId"]) == ("1.0.0", discovered["nodeId"])
        assert "matter.OnOff@1.4" in [c["id"] for e in report["endpoints"] for c in e["capabilities"]]
        await until(lambda: "ACTIVATED" in self.life(thing), what="the life cycle")
        await until(lambda: self.values(thing, "OnOff"), what="the first state")

    def things(self, kind: str) -> set[str]:
        return {message["managedThingId"] for message in self.told(kind)}


@pytest.fixture(params=["MQTT 5"])
async def cloud(request: pytest.FixtureRequest, tmp_path: Path, broker: Broker) -> AsyncIterator[Cloud]:
    async with AsyncExitStack() as around:
        made = Cloud(tmp_path, broker, "default", HOME)
        config = made.config.read_text().replace("[hub]", '[hub]\nonboarding = "cloud"')
        if request.param == "MQTT 3.1.1":
            old = OldBroker(broker.port, REFUSE_NEW)
            await around.enter_async_context(old.running())
            config = config.replace(f"port = {broker.port}", f"port = {old.port}")
        made.config.write_text(config)
        made.sim = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=1)
        around.push_async_callback(made.sim.close)
        around.callback(made.kill)
        around.callback(made.mqtt.loop_stop)
        around.callback(made.mqtt.disconnect)
        made.run()
        await made.online()
        yield made
        assert made.process is not None
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(10) == 0


@pytest.mark.parametrize("cloud", ["MQTT 3.1.1"], indirect=True)
async def test_a_person_onboards_a_device_by_its_install_code_and_deletes_it(cloud: Cloud) -> None:
    material = {"authenticationMaterial": QR, "authenticationMaterialType": "ZIGBEE_QR_BAR_CODE"}
    cloud.setup("START_DISCOVERY", deviceDiscoveryId="disc-1", discoveryType="ZIGBEE", durationSeconds=60, **material)
    await cloud.window("disc-1")
    await cloud.sim_do("pair", "plain")
    found = await cloud.discovered("coded")
    assert (found["deviceDiscoveryId"], found["macAddress"], found["secure"]) == ("disc-1", CODED, True)
    cloud.setup("STOP_DISCOVERY", deviceDiscoveryId="disc-1")
    await until(lambda: cloud.statuses("disc-1")[-1] == "SUCCEEDED", what="the end of the discovery")
    assert cloud.told("DISCOVERY_STATUS")[-1]["payload"]["deviceCount"] == 1
    assert {m["payload"]["macAddress"] for m in cloud.told("DEVICE_DISCOVERED")} == {CODED}
    assert [d["address"] for d in await cloud.ours()] == [CODED], "the window is for the device with this code"
    for early in ("CAPABILITY_REPORT", "DEVICE_STATE", "DEVICE_LIFE_CYCLE"):
        assert not cloud.told(early), "nothing but its discovery before the cloud has taken it on"

    cloud.setup("DEVICE_ONBOARDED", nodeId=found["nodeId"], managedThingId="thing-1")
    await cloud.onboarded("thing-1", found)
    assert await cloud.command("thing-1", "on-1", "On") == "succeeded"
    await until(lambda: cloud.values("thing-1", "OnOff")[-1] is True, what="the state after the command")
    assert (await cloud.in_the_air("coded"))["state"]["1/0x0006/0x0000"] is True

    cloud.setup("DEPROVISION", managedThingId="thing-1")
    await until(lambda: cloud.life("thing-1")[-1] == "DELETED", what="the deletion")
    await until_async(lambda: cloud.in_the_air("coded"), lambda found: not found["joined"])
    assert await cloud.ours() == []
    assert await cloud.command("thing-1", "on-2", "On") == "failed"
    cloud.setup("DEPROVISION", managedThingId="thing-1")
    await until(lambda: cloud.life("thing-1").count("DELETED") == 2, what="the answer to the second deletion")


async def test_a_pre_associated_device_joins_as_its_managed_thing_also_after_a_crash(cloud: Cloud) -> None:
    cloud.setup("PRE_ASSOCIATE", managedThingId="thing-9", authenticationMaterial=QR, durationSeconds=60)
    await cloud.window("pre-")
    cloud.kill()
    cloud.run()
    await cloud.online()
    await until(lambda: cloud.statuses("pre-")[-1] == "FAILED", what="the word on the window that the crash closed")
    cloud.setup(
        "START_DISCOVERY",
        deviceDiscoveryId="disc-2",
        discoveryType="ZIGBEE",
        durationSeconds=60,
        authenticationMaterial=QR,
    )
    await cloud.window("disc-2")
    found = await cloud.discovered("coded")
    await cloud.onboarded("thing-9", found)
    assert await cloud.command("thing-9", "on-9", "On") == "succeeded"
    cloud.kill()
    cloud.run()
    await cloud.online()
    assert await cloud.command("thing-9", "off-9", "Off") == "succeeded"
    assert cloud.things("CAPABILITY_REPORT") == {"thing-9"}


async def test_what_cannot_be_onboarded_is_told_why(cloud: Cloud) -> None:
    async def ends(discovery: str, status: str) -> None:
        await until(lambda: cloud.statuses(discovery)[-1:] == [status], 20.0, f"{discovery}: {status}")

    zigbee = {"discoveryType": "ZIGBEE", "durationSeconds": 60}
    cloud.setup("START_DISCOVERY", deviceDiscoveryId="wrong", authenticationMaterial=f"{QR[:-1]}4", **zigbee)
    await ends("wrong", "FAILED")
    cloud.setup("START_DISCOVERY", deviceDiscoveryId="zwave", discoveryType="ZWAVE")
    await ends("zwave", "FAILED")
    cloud.setup("PRE_ASSOCIATE", managedThingId="thing-0", authenticationMaterial="SN:1;UPC:2")
    await ends("pre-", "FAILED")
    cloud.setup("START_DISCOVERY", deviceDiscoveryId="nobody", discoveryType="ZIGBEE", durationSeconds=1)
    await ends("nobody", "TIMED_OUT")
    errors = {
        message["payload"]["deviceDiscoveryId"]: message["payload"]["error"]
        for message in cloud.told("DISCOVERY_STATUS")
        if "error" in message["payload"]
    }
    assert (errors["wrong"]["code"], errors["zwave"]["code"]) == ("400", "404")
    assert "checksum" in errors["wrong"]["message"]
    cloud.setup("DEVICE_ONBOARDED", nodeId="zb.0000+0000", managedThingId="thing-0")

    async def unknown() -> int:
        return int((await cloud.ask("status"))["counters"].get("unknown_device", 0))

    await until_async(unknown, lambda number: number == 1)
    assert not cloud.told("CAPABILITY_REPORT")


async def test_a_repeated_request_opens_no_second_window_and_a_dead_device_is_deleted_by_force(cloud: Cloud) -> None:
    for _ in range(2):
        cloud.setup("START_DISCOVERY", deviceDiscoveryId="twice", discoveryType="ZIGBEE", durationSeconds=60)
    await cloud.window("twice")
    found = await cloud.discovered("plain")
    cloud.setup("DEVICE_ONBOARDED", nodeId=found["nodeId"], managedThingId="thing-2")
    cloud.setup("DEVICE_ONBOARDED", nodeId=found["nodeId"], managedThingId="thing-2")
    await cloud.onboarded("thing-2", found)
    cloud.setup("STOP_DISCOVERY", deviceDiscoveryId="twice")
    await until(lambda: cloud.statuses("twice")[-1] == "SUCCEEDED", what="the end of the one discovery")
    assert cloud.statuses("twice") == ["RUNNING", "RUNNING", "SUCCEEDED"]
    assert len(cloud.told("CAPABILITY_REPORT")) == 1
    await cloud.sim_do("power", "plain", on=False)
    cloud.setup("DEPROVISION", managedThingId="thing-2")
    await until(lambda: cloud.life("thing-2")[-1] == "DELETION_FAILED", 30.0, "the failed deletion")
    assert len(await cloud.ask("devices")) == 1
    cloud.setup("DEPROVISION", managedThingId="thing-2", force=True)
    await until(lambda: cloud.life("thing-2")[-1] == "DELETED", 30.0, "the forced deletion")
    assert await cloud.ours() == []
