"""Simulated CoAP devices and a driver for them; rigs end with their test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.coap_rig import CoapRig, Made


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Made]:
    """A rig of these devices; keys beside them belong to the home file."""
    rigs: list[CoapRig] = []

    async def made(*devices: dict[str, Any], **spec: Any) -> CoapRig:
        folder = tmp_path / str(len(rigs))
        folder.mkdir()
        rigs.append(CoapRig(folder, monkeypatch, list(devices), **spec))
        await rigs[-1].start()
        return rigs[-1]

    yield made
    for rig in rigs:
        await rig.close()
