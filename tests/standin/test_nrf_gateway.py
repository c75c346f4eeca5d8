"""BLE devices through nRF Cloud's gateway protocol: the stand-in's REST on one end, simulated peripherals on BlueZ's D-Bus on the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ble_rig import IBEACON, LAMP
from conftest import until
from nrf_gateway_rig import QUICK, GatewayHub, gateway_hub
from nrf_mqtt_rig import press
from standin_rig import Cloud

from agent.cloud.nrf_gateway import Name

pytestmark = pytest.mark.conformance
STATE, LEVEL = "2A56", "2A19"  # of the lamp: whether it is on, its battery
VALUE = f"{LAMP}/characteristics/{STATE}"
CHANGED, WRITTEN = "device_characteristic_value_changed", "device_characteristic_value_write_result"
DESCRIPTOR_CHANGED, DESCRIPTOR_WRITTEN = "device_descriptor_value_changed", "device_descriptor_value_write_result"
AWAY = "C0:11:22:33:44:55"
both = pytest.mark.parametrize("dialect", ["gateway", "lte"])


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


def values(hub: GatewayHub, kind: str = CHANGED) -> list[tuple[str, list[int]]]:
    """Path and value of the events of a kind."""
    place = "descriptor" if "descriptor" in kind else "characteristic"
    return [(one[place]["path"], one[place]["value"]) for one in hub.events(kind)]


def kinds(hub: GatewayHub) -> list[str]:
    return [one["type"] for one in hub.events()]


async def operate(hub: GatewayHub, kind: str, **members: Any) -> None:
    """As the cloud would, where REST has no call for it."""
    message = {"type": "operation", "id": "1", "operation": {"type": kind, "deviceAddress": LAMP, **members}}
    assert press(hub.cloud, do="c2d", device=hub.name, message=message) == 202


async def test_a_lamp_is_discovered_read_written_and_followed(cloud: Cloud, tmp_path: Path) -> None:
    async with gateway_hub(tmp_path, cloud, "gateway") as hub:
        await hub.linked(LAMP)
        assert kinds(hub) == ["device_connect_result", "device_discover_result"]
        services = hub.ask("GET", LAMP).json()["state"]
        lamp = services["1815"]["characteristics"][STATE]
        assert (lamp["path"], lamp["value"], lamp["properties"]) == (
            f"1815/{STATE}",
            [0],
            {"read": True, "write": True, "notify": True},
        )
        assert lamp["descriptors"]["2902"] == {"uuid": "2902", "path": f"1815/{STATE}/2902", "value": [0, 0]}
        assert hub.status(LAMP) == {"id": LAMP, "status": {"connected": True, "connecting": False}}
        assert hub.ask("GET", LAMP).json()["status"] == {"connected": True}

        assert hub.ask("PUT", VALUE, json=[1]).status == 202
        await hub.told(CHANGED)
        assert kinds(hub)[2:] == [WRITTEN, CHANGED]
        assert (await hub.ble.control("list"))["devices"][0]["values"]["on"] is True
        await hub.ble.control("set", "lamp", name="on", value=False)
        assert hub.ask("GET", f"{VALUE}?read=true").json() == [1], "what was known before the gateway has read"
        await until(lambda: hub.ask("GET", VALUE).json() == [0], what="a read, answered as a changed value")

        assert hub.ask("PUT", f"{VALUE}/descriptors/2902", json=[1, 0]).status == 202
        await hub.told(DESCRIPTOR_WRITTEN)
        assert kinds(hub)[-2:] == [DESCRIPTOR_CHANGED, DESCRIPTOR_WRITTEN]
        await hub.ble.control("set", "lamp", name="on", value=True)
        await until(lambda: values(hub)[-1] == (f"1815/{STATE}", [1]), what="a notification")
        assert hub.ask("PUT", f"{VALUE}/descriptors/2902", json=[0, 0]).status == 202
        await hub.told(DESCRIPTOR_WRITTEN, 2)
        before = len(values(hub))
        await hub.ble.control("set", "lamp", name="on", value=False)
        assert hub.ask("GET", f"{VALUE}/descriptors/2909?read=true").json() == [1]
        await until(lambda: values(hub, DESCRIPTOR_CHANGED)[-1] == (f"1815/{STATE}/2909", [1]), what="a descriptor")
        assert len(values(hub)) == before, "nobody listens any more"
        assert hub.ask("POST", f"{hub.name}/discover/{LAMP}").status == 202
        again = await hub.told("device_discover_result", 2)
        cached = again["services"]["1815"]["characteristics"][STATE]["value"]
        assert cached == [1], "the newest that was heard, without reading anew"
        assert hub.count["gateway_errors"] == hub.count["gateway_malformed"] == 0

        assert hub.ask("DELETE", LAMP).status == 202
        await until(lambda: hub.status(LAMP) is None, what="null in the shadow")
        await until(lambda: not hub.connected(), what="the lamp let go")


async def scanned(hub: GatewayHub, seconds: int, **config: Any) -> list[dict[str, Any]]:
    """What a scan has found, by address. It is asked for twice: a scan during a scan is ignored."""

    def ends() -> int:
        return sum(one["timeout"] for one in hub.events("scan_result"))

    before = ends()
    for _ in range(2 if seconds else 1):
        assert hub.ask("POST", f"{hub.name}/scan", json={"scanTimeout": seconds, **config}).status == 202
    await until(lambda: ends() > before, what="the end of the scan")
    assert ends() == before + 1
    found: list[dict[str, Any]] = hub.ask("GET", f"{hub.name}/scan").json()["devices"]
    return sorted(found, key=lambda one: str(one["address"]["address"]))


async def test_a_scan_of_a_javascript_gateway_tells_each_device_and_then_that_it_is_over(
    cloud: Cloud, tmp_path: Path
) -> None:
    async with gateway_hub(tmp_path, cloud, "gateway", replace(QUICK, watch=0.3)) as hub:
        lamp, beacon = await scanned(hub, 1)
        assert (lamp["deviceType"], lamp["name"], lamp["serviceUUIDs"]) == ("BLE", "lamp", ["1815"])
        assert (lamp["address"], beacon["address"]["address"]) == ({"address": LAMP, "type": "public"}, IBEACON)
        assert 0x4C in beacon["advertisementData"]
        told = hub.events("scan_result")
        assert [len(one["devices"]) for one in told] == [1] * (len(told) - 1) + [0]
        assert [one["timeout"] for one in told] == [False] * (len(told) - 1) + [True]
        only = await scanned(hub, 0, filter={"name": "lam", "rssi": -100}, scanReporting="batch", scanMode="passive")
        assert [one["address"]["address"] for one in only] == [LAMP]
        desired = {"desired": {"beacons": [IBEACON], "desiredConnections": [LAMP]}}
        assert hub.ask("PATCH", f"{hub.name}/state", json=desired).status == 202
        await hub.told("device_discover_result")

        def watched() -> set[tuple[str, str]]:
            results = [one for event in hub.events("scan_result")[len(told) :] for one in event["devices"]]
            return {(one["address"]["address"], one["address"]["type"]) for one in results}

        await until(
            lambda: {(IBEACON, "public"), (LAMP, "")} <= watched(), what="the beacon, and how the lamp is heard"
        )


async def test_a_scan_of_the_lte_gateway_tells_all_at_its_end(cloud: Cloud, tmp_path: Path) -> None:
    async with gateway_hub(tmp_path, cloud, "lte") as hub:
        await until(lambda: hub.heard(LAMP, IBEACON))
        lamp, beacon = await scanned(hub, 0)
        assert {**lamp, "rssi": 0} == {"deviceType": "BLE", "name": "lamp", "rssi": 0, "address": {"address": LAMP}}
        assert [(len(one["devices"]), one["timeout"]) for one in hub.events("scan_result")] == [(2, True)]
        assert [one["address"] for one in await scanned(hub, 0, scanType=1)] == [beacon["address"]]


async def test_a_lamp_that_vanishes_in_any_step_costs_an_error_and_comes_back(cloud: Cloud, tmp_path: Path) -> None:
    async with gateway_hub(tmp_path, cloud, "gateway") as hub:
        for step in ("connect", "services", "read"):
            await hub.ble.control("fault", "lamp", step=step, kind="vanish", seconds=0.1)
        await hub.linked(LAMP)
        assert len(hub.events("error")) == 1, "of the discovery: an attempt to connect is the shadow's matter"
        operations = (
            ("read", "GET", f"{VALUE}?read=true", None),
            ("write", "PUT", VALUE, [1]),
            ("notify", "PUT", f"{VALUE}/descriptors/2902", [1, 0]),
            ("descriptor", "GET", f"{VALUE}/descriptors/2909?read=true", None),
        )
        for turn, (step, method, path, body) in enumerate(operations, 2):
            await hub.ble.control("fault", "lamp", step=step, kind="vanish", seconds=0.1)
            hub.ask(method, path, json=body)
            error = await hub.told("error", turn)
            assert error["device"] == {"deviceAddress": LAMP}, step
            assert (error["error"]["code"], bool(error["error"]["description"])) == (504, True)
            await hub.told("device_discover_result", turn)
        assert kinds(hub).count("device_disconnect") == 5
        assert hub.ask("PUT", VALUE, json=[1]).status == 202
        await hub.told(WRITTEN)
        assert hub.count["gateway_errors"] == 5
        assert hub.status(LAMP)["status"]["connected"] is True


@both
async def test_the_account_says_in_three_forms_who_is_connected(cloud: Cloud, tmp_path: Path, dialect: Name) -> None:
    async with gateway_hub(tmp_path, cloud, dialect) as hub:
        assert not hub.reported()["device"]["serviceInfo"].get("fota_v2_ble")
        hub.want(LAMP.lower())
        await hub.told("device_connect_result")
        for wanted in ([{"id": AWAY}, LAMP], [{"address": {"address": AWAY}}, {"id": LAMP}]):
            hub.want(*wanted)
            await until(lambda: hub.status(AWAY) == {"id": AWAY, "status": {"connected": False, "connecting": False}})
            assert hub.status(LAMP)["status"]["connected"] is True
            hub.want(LAMP)
            await until(lambda: hub.status(AWAY) is None, what="null for who is wanted no more")
        assert kinds(hub).count("device_connect_result") == 1, "who stays is left alone"
        await hub.hub.stop()
        await hub.ble.control("power", "lamp", on=False)
        await hub.ble.control("vanish", "lamp", seconds=60)
        await until(lambda: not hub.connected())
        hub.report({"statusConnections": {AWAY: {"id": AWAY, "status": {"connected": True}}}})
        hub.want("nonsense", LAMP, LAMP, AWAY[:-1])
        hub.hub.start()
        await hub.told("device_disconnect")
        await until(
            lambda: list(hub.reported()["statusConnections"]) == [LAMP], what="what an earlier life has left, gone"
        )
        assert hub.status(LAMP)["status"]["connected"] is False
        await until(lambda: hub.count["gateway_malformed"] == 1, what="the nonsense, counted once")
        assert hub.ask("DELETE", hub.name).status == 202
        await until(lambda: not hub.wanted(), what="nobody, since the gateway is removed")


async def test_a_radio_that_goes_is_waited_for_and_what_was_followed_is_followed_again(
    cloud: Cloud, tmp_path: Path
) -> None:
    async with gateway_hub(tmp_path, cloud, "gateway") as hub:
        await hub.linked(LAMP)
        assert hub.ask("PUT", f"{VALUE}/descriptors/2902", json=[1, 0]).status == 202
        await hub.told(DESCRIPTOR_WRITTEN)
        await hub.ble.unplug()
        await hub.told("device_disconnect")
        assert hub.status(LAMP)["status"]["connected"] is False
        hub.ask("GET", f"{VALUE}?read=true")
        assert (await hub.told("error"))["error"]["code"] in (503, 504)
        assert hub.ask("POST", f"{hub.name}/scan").status == 202
        assert (await hub.told("scan_result"))["timeout"] is True
        await hub.ble.plug()
        again = await hub.told("device_discover_result", 2)
        followed = again["services"]["1815"]["characteristics"][STATE]["descriptors"]["2902"]
        assert followed["value"] == [1, 0]
        await hub.ble.control("set", "lamp", name="on", value=True)
        await until(lambda: values(hub)[-1:] == [(f"1815/{STATE}", [1])], what="a notification, told once")
        assert len(values(hub)) == 1


async def test_events_survive_a_connection_and_what_is_no_operation_is_counted(cloud: Cloud, tmp_path: Path) -> None:
    async with gateway_hub(tmp_path, cloud, "lte") as hub:
        await hub.linked(LAMP)
        assert hub.ask("PUT", f"{VALUE}/descriptors/2902", json=[1, 0]).status == 202
        await hub.told(DESCRIPTOR_WRITTEN)
        await hub.hub.stop()
        for turn in range(10):
            await hub.ble.control("set", "lamp", name="on", value=turn % 2 == 0)
        await until(lambda: hub.backlog() >= 10, what="notifications in the outbox")
        hub.hub.start()
        await until(lambda: [value for _, value in values(hub)] == [[1], [0]] * 5, what="all of them, in their order")
        await until(lambda: hub.hub.link.connected)
        await operate(hub, "device_teleport")
        error = await hub.told("error")
        assert error == {
            "type": "error",
            "error": {"description": "device_teleport is not supported"},
            "device": {"deviceAddress": LAMP},
        }
        await operate(hub, "device_characteristic_value_read", characteristicUUID="FFFF")
        assert "no characteristic FFFF" in (await hub.told("error", 2))["error"]["description"]
        await operate(hub, "device_discover", deviceAddress=AWAY)
        assert "not among desiredConnections" in (await hub.told("error", 3))["error"]["description"]
        await operate(hub, "device_characteristic_value_write", characteristicUUID=LEVEL, characteristicValue="0")
        assert (await hub.told("error", 4))["device"] == {"deviceAddress": LAMP}, "the battery cannot be written"
        assert press(cloud, do="c2d", device=hub.name, message={"type": "operation", "operation": {}}) == 202
        await until(lambda: hub.count["gateway_malformed"] == 1)
        assert (hub.hub.link.counters["connects"], hub.count["gateway_errors"]) == (2, 4)
        before = hub.reported()["statusConnections"]
        hub.report({"statusConnections": None})
        await operate(hub, "get_gateway_status")
        await until(lambda: hub.reported().get("statusConnections") == before, what="all of it, told anew")
