"""What bellows leaves behind when a request is cut on a link that ends."""

import asyncio
import gc
from pathlib import Path

import pytest
from conftest import until

from tests.conformance.driver_contract import command, joined, running
from tests.conformance.zigbee_rig import ZigbeeRig


async def test_a_stop_after_a_request_was_cut_leaves_no_failure_unseen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = ZigbeeRig(tmp_path, "ezsp")
    await rig.start()
    try:
        async with running(rig.driver()) as watched:
            await joined(rig, watched)
            await rig.simulation.control({"op": "mute", "seconds": 60})
            under_way = asyncio.create_task(watched.driver.execute(command(rig, rig.good, ttl=30)))
            await until(lambda: any("_send_data_frame" in repr(task) for task in asyncio.all_tasks()))
            under_way.cancel()
            await asyncio.wait([under_way])
            await watched.stop()
    finally:
        await rig.close()
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]
