"""A sleeping switch on the mock server of zwave-js: it is sent to sleep, left alone, and gets what is still worth sending."""

import asyncio
from pathlib import Path

import pytest

from agent.driver import NotNow
from agent.model import Action, AvailabilityChanged, DeviceAwake, Discovery, Report
from tests.conformance.driver_contract import command, running, shows
from tests.conformance.zwave_mock import mock_server
from tests.conformance.zwave_rig import ON_OFF, ZwaveRig

pytestmark = pytest.mark.conformance

CLASSES = [["Binary Switch", 2, {"secure": True}], ["Security 2", 1, {}], ["Wake Up", 1, {}]]
NO_MORE, OFF = "WakeUpCCNoMoreInformation", Action("0", ON_OFF, "Off")


async def test_a_sleeping_switch(tmp_path: Path) -> None:
    async with mock_server() as mock:
        rig = ZwaveRig(tmp_path, mock)
        async with running(rig.driver()) as watched:
            await watched.driver.discover(Discovery("d1", "ZWAVE", 60))
            await rig.join(classes=CLASSES, isListening=False)
            await watched.wait(DeviceAwake, timeout=60)
            await mock("sent", node=7, name=NO_MORE)
            await rig.silence(True)
            for _ in range(3):
                with pytest.raises(NotNow):
                    await watched.driver.execute(command(rig, rig.good))
            await rig.silence(False)
            before = len(watched.events)
            await mock("send", node=7, hex="8407")
            await watched.wait(DeviceAwake, after=before)
            first, last = await asyncio.gather(
                watched.driver.execute(command(rig, rig.good)), watched.driver.execute(command(rig, OFF))
            )
            assert [first.results[0].code, last.results[0].code] == [409, 200]
            await watched.wait(Report, shows(("0", ON_OFF, "OnOff", False)), after=before)
            await mock("sent", node=7, name=NO_MORE)
            offline = [e for e in watched.events if isinstance(e, AvailabilityChanged) and e.availability == "offline"]
            assert offline == []
