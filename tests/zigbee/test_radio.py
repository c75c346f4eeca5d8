import asyncio
import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import zigpy_znp.api

from agent.clock import SystemClock
from agent.driver import DriverContext, DriverLost
from agent.secret_store import FileSecrets
from agent.settings import Secret
from drivers.zigbee import radio
from drivers.zigbee.driver import INFO
from drivers.zigbee.settings import ZigbeeSettings


@pytest.fixture
def mute_port() -> Iterator[str]:
    """A port on which nobody answers."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radio, "CONNECT_TIMEOUT", 2.0)
    monkeypatch.setattr(zigpy_znp.api, "CONNECT_PROBE_TIMEOUT", 0.3)


async def run(settings: ZigbeeSettings, folder: Path) -> DriverLost:
    driver = INFO.open(DriverContext("zigbee", settings, folder, SystemClock(), FileSecrets(folder)))
    with pytest.raises(DriverLost) as caught:
        await driver.run(lambda _: None)
    return caught.value


def test_zigpy_does_nothing_on_its_own_account(tmp_path: Path) -> None:
    settings = ZigbeeSettings(
        pan_id="539d", extended_pan_id="0123456789abcdef", network_key=Secret("00" * 16), tx_power=8
    )
    config = radio.raw_config(settings, "/dev/ttyUSB0", tmp_path / "zigbee.db")
    assert config["ota"] == {"enabled": False, "broadcast_enabled": False, "providers": [], "extra_providers": []}
    assert not config["backup_enabled"]
    assert not config["topology_scan_enabled"]
    assert config["database_commit_interval"] == 3600
    assert config["network"] == {
        "channel": 15,
        "pan_id": 0x539D,
        "extended_pan_id": "01:23:45:67:89:ab:cd:ef",
        "key": [0] * 16,
        "tx_power": 8,
    }


@pytest.mark.parametrize("kind", ["znp", "ezsp"])
def test_zigpy_takes_the_configuration(tmp_path: Path, kind: str) -> None:
    settings = ZigbeeSettings(pan_id="539d", extended_pan_id="0123456789abcdef", network_key=Secret("0f" * 16))
    app = radio._new_app(kind, radio.raw_config(settings, "/dev/ttyUSB0", tmp_path / "zigbee.db"), None)
    network = app.config["network"]
    assert (network["channel"], int(network["pan_id"])) == (15, 0x539D)
    assert bytes(network["key"]) == b"\x0f" * 16
    assert app.config["ota"]["providers"] == []


async def test_no_stick_at_all(tmp_path: Path) -> None:
    lost = await run(ZigbeeSettings(candidates=[f"{tmp_path}/*"]), tmp_path / "state")
    assert "no stick is plugged in" in str(lost)
    assert lost.remedy


async def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    lost = await run(ZigbeeSettings(port=str(tmp_path / "ttyUSB7")), tmp_path / "state")
    assert "ttyUSB7 is not there" in str(lost)


async def test_a_network_port_that_nobody_serves(tmp_path: Path) -> None:
    lost = await run(ZigbeeSettings(port="socket://127.0.0.1:1", radio="znp"), tmp_path / "state")
    assert "socket://127.0.0.1:1" in str(lost)


@pytest.mark.parametrize("kind", ["znp", "ezsp"])
async def test_a_port_on_which_nobody_answers_is_given_back(tmp_path: Path, mute_port: str, kind: str) -> None:
    settings = ZigbeeSettings.model_validate({"port": mute_port, "radio": kind})
    files, tasks = len(os.listdir("/proc/self/fd")), asyncio.all_tasks()  # noqa: PTH208
    lost = await run(settings, tmp_path / "state")
    assert "nothing answers" in str(lost)
    assert len(os.listdir("/proc/self/fd")) <= files  # noqa: PTH208
    assert asyncio.all_tasks() <= tasks


async def test_a_damaged_state_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "nodes.json").write_text("{")
    lost = await run(ZigbeeSettings(port="/dev/null"), tmp_path)
    assert "state folder" in str(lost)


async def test_quirks_that_are_not_installed_are_told(tmp_path: Path) -> None:
    pytest.importorskip("zigpy")
    try:
        import zha  # noqa: F401, PLC0415  # pragma: no cover
    except ImportError:
        lost = await run(ZigbeeSettings(port="/dev/null", quirks=True), tmp_path)
        assert "quirks" in lost.remedy
