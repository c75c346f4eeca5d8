"""A stick that hangs: it has power and neither hears nor says anything. The driver ends, and the next one finds it well again."""

import asyncio
from pathlib import Path

import pytest

from agent.driver import DriverLost
from drivers.zigbee import radio
from tests.conformance.driver_contract import command, joined, running
from tests.conformance.zigbee_rig import ZigbeeRig

KNOWN_WITHIN = 40.0  # seconds: the period of the driver's signs of life and the time-outs of one request
PERIOD = 1  # second instead, here


@pytest.mark.parametrize("stick", ["znp", "ezsp"])
async def test_a_hung_stick_is_noticed_and_used_again_once_it_answers(
    tmp_path: Path, stick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = KNOWN_WITHIN - (radio.WATCHDOG_PERIOD - PERIOD)
    monkeypatch.setattr(radio, "WATCHDOG_PERIOD", PERIOD)
    rig = ZigbeeRig(tmp_path, stick)
    await rig.start()
    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await rig.control("mute", seconds=3600)
        with pytest.raises(DriverLost):
            await asyncio.wait_for(watched.task, within)
    await rig.control("mute", seconds=0)
    async with running(rig.driver()) as watched:
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded
    await rig.close()
