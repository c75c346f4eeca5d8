"""Every device type of the example home joins through the real radio libraries, is read whole, and obeys."""

import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.capabilities import validate_report
from agent.clock import SystemClock
from agent.model import Action, Command, DeviceEvent, DeviceFound, DeviceId, Discovery, Report
from tests.conformance import zigbee_rig
from tests.conformance.driver_contract import Watched, running
from tests.conformance.zigbee_rig import ON_OFF, ZigbeeRig

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(300)]

HOME = Path(__file__).parents[2] / "config/examples/home.toml"


@pytest.fixture(params=["znp", "ezsp"])
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ZigbeeRig]:
    devices = tomllib.loads(HOME.read_text())["radios"]["zigbee"]["devices"]
    monkeypatch.setattr(zigbee_rig, "DEVICES", devices)
    rig = ZigbeeRig(tmp_path, request.param)
    await rig.start()
    yield rig
    await rig.close()


async def test_the_whole_home_joins_reports_and_obeys(rig: ZigbeeRig) -> None:
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("home", "ZIGBEE", 200))
        expected = {device["ieee"] for device in (await rig.control("list"))["devices"]}
        found = {}
        while expected - found.keys():
            missing = expected - found.keys()
            event = await watched.wait(DeviceFound, lambda f: f.device.id.key in missing, timeout=120)  # noqa: B023
            found[event.device.id.key] = event.device
        await watched.driver.stop_discovery()
        assert [device.id.key for device in found.values() if not device.endpoints] == []
        for key in found:
            await watched.driver.refresh(key)
        await obeys(watched, found)
        reports = [event for event in watched.events if isinstance(event, Report)]
        for report in reports:
            validate_report(report.capability, report.properties)
        silent = expected - {report.id.key for report in reports}
        names = {device["ieee"]: device["name"] for device in (await rig.control("list"))["devices"]}
        assert sorted(names[key] for key in silent) == []


async def obeys(watched: Watched, found: dict[str, object]) -> None:
    """Everything that can be switched is switched on, and says so."""
    switched = 0
    for key, device in found.items():
        for endpoint in device.endpoints:  # type: ignore[attr-defined]
            if any(c.id == ON_OFF and "On" in c.actions for c in endpoint.capabilities):
                before = len(watched.events)
                action = Action(endpoint.id, ON_OFF, "On")
                deadline = SystemClock().now().mono + 30
                outcome = await watched.driver.execute(Command("t", DeviceId("zigbee", key), (action,), deadline))
                assert outcome.succeeded, outcome
                await watched.wait(
                    Report, lambda r, k=key: r.id.key == k and r.properties.get("OnOff") is True, after=before
                )  # type: ignore[misc]
                switched += 1
    assert switched >= 4


async def test_an_alarm_and_a_button_are_events(rig: ZigbeeRig) -> None:
    devices = {d["profile"]: d for d in (await rig.control("list"))["devices"]}
    contact, remote = devices["contact"], devices.get("remote") or devices["button"]
    async with running(rig.driver()) as watched:
        await watched.driver.discover(Discovery("home", "ZIGBEE", 200))
        for device in (contact, remote):
            await watched.wait(DeviceFound, lambda f, d=device: f.device.id.key == d["ieee"], timeout=120)  # type: ignore[misc]
        before = len(watched.events)
        assert (await rig.control("zone", contact["name"], status=1))["enrolled"]
        await watched.wait(Report, lambda r: r.id.key == contact["ieee"] and "StateValue" in r.properties, after=before)
        await rig.control("press", remote["name"], button=1)
        await watched.wait(
            DeviceEvent, lambda e: e.id.key == remote["ieee"] and e.event == "InitialPress", after=before
        )
