"""The driver contract on bleak's BlueZ back end, which speaks to a simulated BlueZ over a real D-Bus."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ble_rig import BleRig, ble_rig
from tests.conformance.driver_contract import DriverContract

pytestmark = pytest.mark.conformance


@pytest.fixture(params=["passive", "active"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BleRig]:
    async with ble_rig(tmp_path, {"passive": request.param == "passive"}) as rig:
        yield rig


class TestBle(DriverContract):
    """All of DriverContract."""
