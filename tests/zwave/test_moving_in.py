"""A network that exists already: with the keys of the hub that made it, its nodes go on without being paired again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.driver import DriverContext
from agent.model import DeviceFound
from agent.secret_store import FileSecrets
from drivers.sim.zwave.server import Simulation, start
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.settings import ZwaveSettings
from tests.conformance.driver_contract import Watched, running
from tests.conformance.zwave_sim_rig import hasten

KEYS = {"S0": "09" * 16, "S2_UNAUTHENTICATED": "11" * 16, "S2_AUTHENTICATED": "22" * 16, "S2_ACCESS_CONTROL": "33" * 16}
DEVICES = (
    ("lock", 5, ["S2_ACCESS_CONTROL"]),
    ("plug", 6, ["S2_UNAUTHENTICATED", "S2_AUTHENTICATED"]),
    ("s0-lock", 7, ["S0"]),
    ("old-switch", 8, []),
    ("multisensor", 9, ["S2_UNAUTHENTICATED", "S2_AUTHENTICATED"]),
)
SLEEPER = 9


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulation]:
    hasten(monkeypatch)
    devices = [{"name": p, "profile": p, "node": node, "granted": granted} for p, node, granted in DEVICES]
    spec = {"kind": "zwave", "keys": KEYS, "devices": devices}
    made = await start("zwave", spec, link=tmp_path / "zw", state=None, faults="", seed=1)
    yield made
    await made.close()


@asynccontextmanager
async def moved_in(folder: Path, **settings: Any) -> AsyncIterator[Watched]:
    made = ZwaveSettings.model_validate({"port": str(folder / "zw"), **settings})
    secrets = FileSecrets(folder / "state" / "secrets")
    async with running(ZwaveDriver(DriverContext("zwave", made, folder / "state", SystemClock(), secrets))) as watched:
        yield watched


async def test_nodes_of_another_hub_go_on_with_its_keys(home: Simulation, tmp_path: Path) -> None:
    keys = {f"{name.lower()}_key": key for name, key in KEYS.items()}
    async with moved_in(tmp_path, **keys) as watched:
        for profile, node, granted in DEVICES:
            key = str(node)
            if node == SLEEPER:
                await home.control({"op": "wake", "device": profile})
            found = await watched.wait(DeviceFound, lambda f, key=key: f.device.id.key == key, timeout=30)
            assert found.device.secure == any(name.startswith("S2") for name in granted), profile
            assert found.device.endpoints[0].capabilities, profile
            await watched.driver.refresh(key)
    async with moved_in(tmp_path) as watched:  # the keys are among the radio's secrets now
        await watched.wait(DeviceFound, lambda f: f.device.id.key == "5")
        await watched.driver.refresh("5")


async def test_keys_that_come_later_are_taken_until_a_device_has_another_one(
    home: Simulation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with moved_in(tmp_path) as watched:
        assert not (await watched.wait(DeviceFound, lambda f: f.device.id.key == "6", timeout=20)).device.secure
    async with moved_in(tmp_path, s2_authenticated_key=KEYS["S2_AUTHENTICATED"]) as watched:
        secure = await watched.wait(DeviceFound, lambda f: f.device.id.key == "6" and f.device.secure, timeout=20)
        await watched.driver.refresh(secure.device.id.key)
    async with moved_in(tmp_path, s2_authenticated_key="44" * 16) as watched:
        await watched.driver.refresh("6")
    assert "s2_authenticated_key is not taken" in caplog.text
    assert "44" * 16 not in caplog.text


async def test_a_node_that_reads_no_key_of_ours_is_known_as_such_at_once(
    home: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each class that it does not have is one that it refuses, not one that it is waited for."""
    monkeypatch.setattr("drivers.zwave.messages.ANSWER_TIMEOUT", 60.0)
    async with moved_in(tmp_path) as watched:
        found = await watched.wait(DeviceFound, lambda f: f.device.id.key == "6", timeout=30)
        assert not found.device.secure
