"""The stand-in's page in a real browser: a hub is seen, a discovery is started, a device is added and switched, all by its buttons."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import urllib3
from conftest import Broker, until
from nrf_mqtt_rig import Device, job
from nrf_rig import ask, bulk
from paho.mqtt.enums import CallbackAPIVersion
from playwright.async_api import Page, async_playwright
from standin_account import Account
from standin_mqtt import Keys
from standin_rig import Cloud

from agent.sim import console

pytestmark = pytest.mark.conformance

NOW = "2026-11-27T00:00:00.000Z"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def envelope(kind: str, payload: dict[str, Any], thing: str = "") -> bytes:
    head = {"version": "1.0.0", "messageId": f"{kind}-{thing}", "messageType": kind, "timestamp": NOW}
    return json.dumps({**head, "payload": payload, "managedThingId": thing or None}).encode()


class Hub:
    """A hub that a paho client plays."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.heard = name, list[dict[str, Any]]()
        self.mqtt = paho.Client(CallbackAPIVersion.VERSION2, client_id=name)
        self.mqtt.on_message = lambda _c, _u, message: self.heard.append(json.loads(message.payload))
        self.subscribed: list[bool] = []
        self.mqtt.on_subscribe = lambda *_: self.subscribed.append(True)
        self.mqtt.on_connect = lambda client, *_: client.subscribe(f"south/{name}/#", 1)
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()

    def say(self, topic: str, kind: str, payload: dict[str, Any], thing: str = "") -> None:
        self.mqtt.publish(f"north/{self.name}/{topic}", envelope(kind, payload, thing), 1)

    async def asked(self, kind: str) -> dict[str, Any]:
        await until(lambda: [message for message in self.heard if message["messageType"] == kind], what=kind)
        return next(message for message in self.heard if message["messageType"] == kind)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        made = await browser.new_page()
        yield made
        await browser.close()


@pytest.fixture
async def plain(tmp_path: Path, broker: Broker) -> AsyncIterator[Cloud]:
    """A stand-in on a broker of ours, without TLS."""
    made = await asyncio.to_thread(Cloud, tmp_path / "data", "--mqtt", f"127.0.0.1:{broker.port}")
    yield made
    if made.process.poll() is None:
        made.stop()


async def test_a_device_is_found_added_and_switched_on_by_hand(plain: Cloud, broker: Broker, page: Page) -> None:
    cloud = plain
    cloud.ask_for("page", "DEVICE_COMMAND", "DEVICE_STATE")
    hub = Hub(cloud.hub("HUB-PAGE-0001", Name="kitchen"), broker.port)
    await until(lambda: hub.subscribed, what="the hub's subscription")
    await page.goto(cloud.told["console"])
    await page.get_by_text("kitchen").wait_for()
    hub.say("lifecycle", "HUB_STATUS", {"status": "online"})
    await page.get_by_text("ACTIVATED").wait_for()
    await page.get_by_role("button", name="discover").click()
    discovery = (await hub.asked("START_DISCOVERY"))["payload"]["deviceDiscoveryId"]
    found = {"deviceDiscoveryId": discovery, "nodeId": "zb.1A62+0001", "deviceTypes": ["Light"], "manufacturer": "Acme"}
    hub.say(
        "discovery", "DEVICE_DISCOVERED", {**found, "model": "<i>Bulb</i>", "macAddress": "01", "discoveredAt": NOW}
    )
    await page.get_by_role("button", name="add <i>Bulb</i>").click()
    thing = (await hub.asked("DEVICE_ONBOARDED"))["payload"]["managedThingId"]
    on_off = {"id": "matter.OnOff@1.4", "name": "On/Off", "version": "6"}
    report = {**on_off, "properties": ["OnOff"], "actions": ["On", "Off"], "events": []}
    endpoints = [{"id": "1", "deviceTypes": ["Light"], "capabilities": [report]}]
    hub.say(
        "capability", "CAPABILITY_REPORT", {"version": "1.0.0", "nodeId": "zb.1A62+0001", "endpoints": endpoints}, thing
    )
    value = {"name": "OnOff", "value": {"propertyValue": False, "lastChangedAt": NOW}}
    state = {"endpoints": [{"endpointId": "1", "capabilities": [{**on_off, "properties": [value]}]}]}
    hub.say("state", "DEVICE_STATE", {"addedStates": state}, thing)
    await page.get_by_text("OnOff false").wait_for()
    await page.get_by_role("button", name="On", exact=True).click()
    command = await hub.asked("COMMAND")
    assert command["managedThingId"] == thing
    assert command["payload"]["Endpoints"][0]["capabilities"][0]["actions"] == [{"name": "On"}]
    await page.get_by_role("cell", name="DEVICE_STATE").first.wait_for()
    hub.mqtt.disconnect()
    hub.mqtt.loop_stop()
    assert await asyncio.to_thread(cloud.stop) == 0
    await page.get_by_text("the stand-in cloud is away").wait_for()


async def test_a_device_of_nrf_cloud_is_shown_with_its_shadow_and_its_firmware(
    cloud: Cloud, page: Page, tmp_path: Path
) -> None:
    name, keys = "thermometer", Keys(tmp_path, "thermometer", Keys(tmp_path, "fleet"))
    assert bulk(cloud, "/devices", f'{name},,,APP,"{keys.pem}"\n')["status"] == "SUCCEEDED"
    await page.goto(cloud.told["console"])
    device = page.locator("#nrf tr", has_text=name)
    await device.get_by_role("cell", name='"paired"').first.wait_for()
    with Device(cloud, name, keys.files) as mqtt:
        await device.get_by_role("cell", name="connected", exact=True).wait_for()
        mqtt.pair()
        mqtt.publish(f"{name}/shadow/update", {"state": {"reported": {"note": "<i>21 degrees</i>"}}})
        await device.get_by_text('"note":"<i>21 degrees</i>"').wait_for()
        assert ask(cloud, "PATCH", f"/devices/{name}/state", json={"desired": {"period": 60}}).status == 202
        await device.get_by_text('"period":60').wait_for()
        made = job(cloud, name)
        row = page.locator("#fota tr", has_text=made)
        await row.get_by_role("cell", name="QUEUED").wait_for()
        assert await row.get_by_role("cell").all_inner_texts() == [made, name, "APP v2", "QUEUED", ""]
        mqtt.publish(f"{mqtt.jobs}/update", [made, 7, 40])
        await row.get_by_text("DOWNLOADING").wait_for()
        mqtt.publish(f"{mqtt.jobs}/update", [made, 3, "done"])
        await row.get_by_text("SUCCEEDED").wait_for()
    await device.get_by_role("cell", name="disconnected").first.wait_for()
    assert ask(cloud, "DELETE", f"/association/{name}").status == 202
    await device.get_by_text("not associated").first.wait_for()
    assert await page.locator("#nrf i").count() == 0
    assert ask(cloud, "PUT", f"/association/{name}", body=b"wrong").status == 401


def test_a_device_that_is_found_gives_the_page_another_version(tmp_path: Path) -> None:
    with closing(Account(tmp_path)) as account:
        (hub,) = account.things(1)
        discovery = account.api.start_device_discovery(DiscoveryType="ZIGBEE", ControllerIdentifier=hub)["Id"]
        shown, before = console.snapshot(account.records, ()), console.version(account.records)
        payload = {"deviceDiscoveryId": discovery, "nodeId": "zb.1A62+0001", "deviceTypes": ["Light"]}
        payload |= {"manufacturer": "Acme", "model": "Bulb", "macAddress": "01", "discoveredAt": NOW}
        account.service.hear(f"north/{hub}/discovery", envelope("DEVICE_DISCOVERED", payload))
        assert console.snapshot(account.records, ()) != shown
        assert console.version(account.records) != before


def test_a_foreign_page_cannot_press_its_buttons(cloud: Cloud) -> None:
    url, body = cloud.told["console"], b'{"do": "discover", "hub": "x"}'
    json_type = {"Content-Type": "application/json"}
    assert urllib3.request("POST", f"{url}console", body=body, headers={"Content-Type": "text/plain"}).status == 415
    assert (
        urllib3.request("POST", f"{url}console", body=body, headers={**json_type, "Host": "evil.example:80"}).status
        == 403
    )
    assert urllib3.request("GET", url, headers={"Host": "evil.example:80"}).status == 403
    assert urllib3.request("POST", f"{url}console", body=body, headers=json_type).status == 404
    for nonsense in (b"", b"[]", b'{"do": "explode"}', b'{"do": "command"}'):
        assert urllib3.request("POST", f"{url}console", body=nonsense, headers=json_type).status == 400
