"""The driver contract on the simulated CoAP devices: plain, with OSCORE, and with DTLS."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.coap_rig import CoapRig
from tests.conformance.driver_contract import DriverContract

pytestmark = pytest.mark.conformance


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CoapRig]:
    rig = CoapRig(tmp_path, monkeypatch)
    await rig.start()
    yield rig
    await rig.close()


class TestCoap(DriverContract):
    """All of DriverContract."""
