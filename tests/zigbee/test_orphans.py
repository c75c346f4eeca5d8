"""What bellows leaves behind when a request is cut on a link that ends."""

import asyncio
import errno
import gc
from pathlib import Path

import pytest
from bellows.ash import AshProtocol, DataFrame
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


async def test_a_port_that_breaks_between_two_frames_of_one_read_ends_the_link_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = ZigbeeRig(tmp_path, "ezsp")
    await rig.start()
    try:
        async with running(rig.driver()) as watched:
            await joined(rig, watched)
            ash = next(one for one in gc.get_objects() if isinstance(one, AshProtocol) and one._transport)
            frames = [DataFrame(frm_num=ash._rx_seq, re_tx=True, ack_num=0, ezsp_frame=b"\x00\x80\x01")] * 2
            read = b"".join(ash._stuff_bytes(frame.to_bytes()) + b"\x7e" for frame in frames)
            port = ash._transport
            asyncio.get_running_loop().call_soon(port._protocol.data_received, read)  # as the port's reader does
            port._fatal_error(OSError(errno.EIO, "unplugged"))
            await until(lambda: ash._transport is None)
    finally:
        await rig.close()
    assert not [record for record in caplog.records if record.name == "asyncio"]
