"""Long Range: a SmartStart device joins our driver by it, is used, backed up, and removed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.driver import NotSupported
from agent.model import DeviceFound, DeviceLost, Discovery, Report
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.provisioning import Entry
from tests.conformance.driver_contract import running
from tests.conformance.zwave_sim_rig import SimRig, hasten


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, "800", long_range=True)
    rig.devices = [{"name": "smart", "profile": "smart-start-sensor", "pairing": False}]
    await rig.start()
    yield rig
    await rig.close()


async def test_a_device_joins_by_long_range_and_is_used(rig: SimRig) -> None:
    driver = rig.driver()
    assert isinstance(driver, ZwaveDriver)
    (told,) = (await rig.control("list"))["devices"]
    smart = rig.simulation.network.nodes["smart"]
    async with running(driver) as watched:
        await driver.discover(Discovery("d1", "ZWAVE", 60, told["qr"]))
        await driver.stop_discovery()
        await rig.join("smart")
        found = await watched.wait(DeviceFound, timeout=60)
        key = found.device.id.key
        assert int(key) == smart.id >= FIRST_LONG_RANGE
        assert found.device.secure
        assert smart.guard.describe()["highest"] == "S2_AUTHENTICATED_LR"
        before = len(watched.events)
        await rig.control("set", "smart", name="temperature", value=-3.5)
        await watched.wait(Report, lambda r: r.properties.get("MeasuredValue") == -350, after=before)
        with pytest.raises(NotSupported, match="Long Range"):
            await driver.rebuild_routes(key, print)
        document = await driver.backup()
        assert f"{FIRST_LONG_RANGE}\n ]" in document.decode()
        await rig.control("power", "smart", on=False)
        await driver.remove(key, force=True)
        assert (await watched.wait(DeviceLost)).id.key == key


@pytest.mark.parametrize(
    ("protocols", "preferred", "far"),
    [(1, True, False), (3, True, True), (3, False, False), (2, False, True), (2, True, True)],
)
def test_what_a_code_names_and_the_radio_prefers_decides(protocols: int, *, preferred: bool, far: bool) -> None:
    assert Entry("", 0, protocols=protocols).long_range(preferred=preferred) is far
