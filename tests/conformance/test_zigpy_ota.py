"""The simulated devices' OTA client against zigpy's own OTA server, so that our server and our client do not merely agree with each other."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from zigbee_ota_rig import IMAGE_TYPE, MANUFACTURER, NEW, OLD, bulb, image

from drivers.sim.zigbee.server import Simulation, start
from tests.conformance.test_zigpy_znp import application, until

pytestmark = pytest.mark.conformance
device_module = pytest.importorskip("zigpy.device")
ota = pytest.importorskip("zigpy.ota")
providers = pytest.importorskip("zigpy.ota.providers")


@pytest.fixture
async def simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulation]:
    monkeypatch.setattr(device_module, "AFTER_OTA_ATTR_READ_DELAY", 0.2)
    kinds: list[dict[str, Any]] = [{}, {"page": 400}, {"lose": 0.1}, {"verdict": 0x96}]
    devices = [bulb(f"bulb {number}", number, hardware=2, **kind) for number, kind in enumerate(kinds, 1)]
    spec = {"kind": "zigbee", "stick": "znp", "devices": devices}
    simulation = await start("zigbee", spec, link=tmp_path / "zb", state=None, faults="", seed=3)
    yield simulation
    await simulation.close()


async def test_zigpys_server_updates_the_simulated_devices(simulation: Simulation) -> None:
    app, heard = await application(simulation)
    try:
        await app.permit(60)
        await until(heard.changed, lambda: len(heard.interviewed) == 4)
        file, _ = ota.image.parse_ota_image(image(hardware=(1, 3)))
        metadata = providers.BaseOtaImageMetadata(file_version=NEW, manufacturer_id=MANUFACTURER, image_type=IMAGE_TYPE)
        offered = ota.OtaImageWithMetadata(metadata=metadata, firmware=file)
        ends, told = {}, []
        for node in list(simulation.network.nodes.values()):
            device = heard.interviewed[node.ieee]
            told.append(device.get_last_ota_query_cmd().current_file_version)
            ends[node.name] = (await device.update_firmware(offered)).name
        assert told == [OLD] * 4
        assert ends == {f"bulb {number}": "SUCCESS" for number in (1, 2, 3)} | {"bulb 4": "INVALID_IMAGE"}
        clients = [node.ota for node in simulation.network.nodes.values() if node.ota is not None]
        assert [client.firmware.version for client in clients] == [NEW, NEW, NEW, OLD]
    finally:
        await app.shutdown()
