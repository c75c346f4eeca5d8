"""The last word on an attribute is the device's newest, however its frames are bunched together on the wire."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.model import Report
from tests.conformance.driver_contract import joined, running
from tests.conformance.zigbee_rig import PLUG, ZigbeeRig

ON_OFF, READ_ANSWER = 0x0006, 0x01


@pytest.fixture(params=["znp", "ezsp"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ZigbeeRig]:
    rig = ZigbeeRig(tmp_path, request.param)
    await rig.start()
    yield rig
    await rig.close()


async def test_a_report_right_behind_the_answer_to_a_read_is_the_last_word(
    rig: ZigbeeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer wakes a waiting request, the report is told at once: the older value must not overtake the newer one."""
    network = rig.simulation.network
    incoming = network.incoming

    def answer_and_change(node: Any, *where: Any) -> None:
        incoming(node, *where)
        if where[3] == ON_OFF and where[4][2] == READ_ANSWER:
            cell = node.tables[(1, ON_OFF)][0x0000]
            cell[1] = not cell[1]
            incoming(node, *where[:4], node.report(1, ON_OFF, (0x0000,)))

    async with running(rig.driver()) as watched:
        await joined(rig, watched)
        await watched.driver.stop_discovery()
        monkeypatch.setattr(network, "incoming", answer_and_change)
        for _ in range(3):
            await watched.driver.refresh(PLUG)
            told = [e for e in watched.events if isinstance(e, Report) and "OnOff" in e.properties]
            (plug,) = (node for node in network.nodes.values() if node.name == "plug")
            assert told[-1].properties["OnOff"] is plug.get(1, ON_OFF, 0x0000)
