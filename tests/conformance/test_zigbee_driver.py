"""The driver contract on zigpy's radios and the simulated sticks: zigpy-znp on Z-Stack, bellows on EZSP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.driver_contract import DriverContract
from tests.conformance.zigbee_rig import ZigbeeRig

pytestmark = pytest.mark.conformance


@pytest.fixture(params=["znp", "ezsp"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ZigbeeRig]:
    rig = ZigbeeRig(tmp_path, request.param)
    await rig.start()
    yield rig
    await rig.close()


class TestZigbee(DriverContract):
    """All of DriverContract."""
