"""The driver contract on the mock server of zwave-js."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.driver_contract import DriverContract
from tests.conformance.zwave_mock import mock_server
from tests.conformance.zwave_rig import ZwaveRig

pytestmark = pytest.mark.conformance


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[ZwaveRig]:
    async with mock_server() as mock:
        yield ZwaveRig(tmp_path, mock)


class TestZwave(DriverContract):
    """All of DriverContract."""
