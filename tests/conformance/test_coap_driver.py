"""The driver contract on the simulated CoAP devices: plain, with OSCORE, and with DTLS."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.coap_rig import OSCORE, PSK, CoapRig, ProtectedRig
from tests.conformance.driver_contract import DriverContract

pytestmark = pytest.mark.conformance


@pytest.fixture(params=[{}, OSCORE, {"psk": PSK}], ids=["plain", "oscore", "dtls"])
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CoapRig]:
    kind = ProtectedRig if request.param else CoapRig
    rig = kind(tmp_path, monkeypatch, [{"name": "lamp", "profile": "light", **request.param}])
    await rig.start()
    yield rig
    await rig.close()


class TestCoap(DriverContract):
    """All of DriverContract."""
