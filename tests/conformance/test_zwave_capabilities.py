"""Devices of several classes on a simulated stick: their capabilities, what they report, and what they are told, through the driver."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.model import Action, Device, DeviceEvent, DeviceFound, Discovery, Report
from tests.conformance.driver_contract import Watched, command, running, shows
from tests.conformance.zwave_sim_rig import SimRig, hasten

ON_OFF, LEVEL, SWITCH, LOCK = (f"matter.{name}@1.4" for name in ("OnOff", "LevelControl", "Switch", "DoorLock"))
ENERGY = "matter.ElectricalEnergyMeasurement@1.4"
HALF = {"Level": 128, "TransitionTime": 0}
PLENTY = 60  # seconds for a join and an interview


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, "800")
    await rig.start()
    yield rig
    await rig.close()


def offered(device: Device) -> dict[str, set[str]]:
    return {
        found.id: {one.id.removeprefix("matter.").removesuffix("@1.4") for one in found.capabilities}
        for found in device.endpoints
    }


async def join(rig: SimRig, watched: Watched, device: str, material: str = "") -> Device:
    await watched.driver.discover(Discovery("d1", "ZWAVE", PLENTY, material))
    await rig.join(device)
    found = await watched.wait(DeviceFound, timeout=PLENTY)
    await watched.driver.stop_discovery()
    return found.device


async def done(
    rig: SimRig, watched: Watched, device: Device, capability: str, name: str, place: str = "0", **values: Any
) -> dict[str, Any]:
    action = Action(place, f"matter.{capability}@1.4", name, values)
    outcome = await watched.driver.execute(command(rig, action, key=device.id.key))
    assert outcome.succeeded, outcome
    return dict(outcome.results[0].values)


async def test_a_dimmer_with_buttons(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        dimmer = await join(rig, watched, "dimmer")
        assert offered(dimmer) == {"0": {"OnOff", "LevelControl", "Switch"}, "0identify": {"Identify"}}
        await watched.wait(Report, shows(("0", SWITCH, "NumberOfPositions", 3)))  # which no report repeats
        await done(rig, watched, dimmer, "LevelControl", "MoveToLevelWithOnOff", **HALF)
        await watched.wait(Report, shows(("0", LEVEL, "CurrentLevel", 128)))
        read = await done(rig, watched, dimmer, "OnOff", "ReadState", propertiesToRead=["OnOff"])
        assert read == {"OnOff": True}
        await rig.control("set", "dimmer", name="level", value=0)
        await watched.wait(Report, shows(("0", ON_OFF, "OnOff", False)))
        await rig.control("press", "dimmer", button=2)
        pressed = await watched.wait(DeviceEvent)
        assert (pressed.endpoint, pressed.capability) == ("0", SWITCH)


async def test_a_lock(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        lock = await join(rig, watched, "lock", (await rig.label("lock"))[:5])
        battery = {"PowerSource", "LevelControl"}
        assert offered(lock) == {"0": {"DoorLock"}, "0battery": battery, "0identify": {"Identify"}}
        await done(rig, watched, lock, "DoorLock", "UnlockDoor")
        await watched.wait(Report, shows(("0", LOCK, "LockState", 2)))
        before = len(watched.events)
        await rig.control("set", "lock", name="locked", value=True)
        await watched.wait(Report, shows(("0", LOCK, "LockState", 1)), after=before)
        await watched.wait(DeviceEvent, lambda e: e.event == "LockOperation", after=before)
        await rig.control("set", "lock", name="battery", value=40)
        await watched.wait(Report, shows(("0battery", "matter.PowerSource@1.4", "BatPercentRemaining", 80)))


async def test_a_strip_of_sockets(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        strip = await join(rig, watched, "strip")
        socket = {"OnOff", "ElectricalEnergyMeasurement", "ElectricalPowerMeasurement"}
        assert offered(strip) == {"0identify": {"Identify"}, "1": socket, "2": socket, "3": socket}
        await done(rig, watched, strip, "OnOff", "On", "2")
        await watched.wait(Report, shows(("2", ON_OFF, "OnOff", True)))
        await watched.driver.refresh(strip.id.key)
        await watched.wait(Report, shows(("1", ON_OFF, "OnOff", False)))
        await watched.wait(Report, shows(("3", ENERGY, "CumulativeEnergyImported", {"energy": 12_345_000})))
