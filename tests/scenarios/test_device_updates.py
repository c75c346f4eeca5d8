"""One signed release for three Zigbee bulbs, a Z-Wave switch and two Bluetooth lamps, given to a running hub by its command line.

Home, images, release and commands are those of the README, but for the lamps.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agent_wheel import ROOT
from conftest import until_async
from daemon import ask, ready

from agent import cli
from agent.client import Client
from drivers.sim.ble.firmware import BOOTLOADER
from drivers.sim.ble.server import Simulation as Bluez
from drivers.sim.ble.server import start as start_ble
from drivers.sim.serving import Simulation
from drivers.sim.zigbee.server import start as start_zigbee
from drivers.sim.zwave.server import start as start_zwave
from tests.ble_update_rig import MOVING, SMP, mcuboot, package
from tests.scenarios.test_readme_updates import ONE_MACHINE, blocks, run_as_written

WRITTEN = blocks(ONE_MACHINE)

CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[radios.ble]
bus = "{bus}"
[ota]
root = "{folder}/1.root.json"
{radios}
"""
ROOT_TOML = """
type = "root"
product = "my-hub"
expires = "1095d"
roles.root = { keys = ["root.pub.pem"], threshold = 1 }
roles.release = { keys = ["release.pub.pem"], threshold = 1 }
"""
LAMP_PARTS = """
[[components]]
name = "lamp"
kind = "ble"
version = "1.2.3"
file_version = 0x01020003
files = ["lamp.signed.bin"]
device = { manufacturer = "Simulated", products = ["U-1"] }
[[components]]
name = "old-lamp"
kind = "ble"
version = "1.2.3"
file_version = 0x01020003
files = ["lamp.zip"]
device = { manufacturer = "Simulated", products = ["D-1"] }
"""
LAMPS = [
    {"name": "lamp", "profile": "smp-lamp", "address": SMP, "interval": 0.05},
    {"name": "old lamp", "profile": "dfu-lamp", "address": MOVING, "interval": 0.05, "firmware": {"moves": True}},
]


def run(*arguments: str | Path) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


class House:
    """Two simulated sticks and a simulated BlueZ with their devices, and the hub."""

    def __init__(self, folder: Path, zigbee: Simulation, zwave: Simulation, ble: Bluez) -> None:
        self.folder, self.zigbee, self.zwave, self.ble = folder, zigbee, zwave, ble
        self.config = folder / "agent.toml"
        _, _, radios = run_as_written(WRITTEN[1])["CONFIG"].partition("[radios.")
        self.config.write_text(
            CONFIG.format(folder=folder, bus=ble.port, radios="[radios." + radios.format(folder=folder))
        )
        for name in ("root", "release"):
            run("ota", "sign", "--new-key", folder / f"{name}.pem")
        (folder / "root.toml").write_text(ROOT_TOML)
        run("ota", "sign", folder / "root.toml", "--key", folder / "root.pem")
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(self.config)]
        quick = {**os.environ, "HUB_AGENT__RADIOS__ZIGBEE__UPDATE_INTERVAL": "0"}
        with (folder / "agent.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=quick)
        self.client = Client(folder / "run")

    async def agent(self, line: str) -> str:
        """A line of the README, in the folder that it means by /tmp/fleet; its output."""
        agent, *arguments = shlex.split(line.replace("/tmp/fleet", str(self.folder)))
        assert agent == "agent"
        command = [sys.executable, "-m", "agent.cli", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, env=environment, cwd=self.folder
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def devices(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await ask(self.client, "devices")
        return told


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    home = tomllib.loads((ROOT / "config" / "examples" / "ota" / "home.toml").read_text())["radios"]
    home["zigbee"]["devices"][0]["firmware"] |= {"retry": 0.25, "restart": 0.05}
    zigbee = await start_zigbee("zigbee", home["zigbee"], link=tmp_path / "zigbee", state=None, faults="", seed=1)
    zwave = await start_zwave("zwave", home["zwave"], link=tmp_path / "zwave", state=None, faults="", seed=1)
    bz = {"kind": "ble", "devices": LAMPS, "latency": 0.001}
    ble = await start_ble("ble", bz, link=tmp_path / "bz", state=None, faults="", seed=1)
    made = await asyncio.to_thread(House, tmp_path, zigbee, zwave, ble)
    yield made
    made.process.terminate()
    await asyncio.to_thread(made.process.wait, 10)  # it takes leave of BlueZ, which is of this process
    await zigbee.close()
    await zwave.close()
    await ble.close()


async def test_bulbs_a_switch_and_lamps_are_updated_by_one_release(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.folder)
    *_, images, release, commands = WRITTEN
    zigbee, zwave, sign, apply = commands.splitlines()
    await until_async(lambda: ready(house.client), bool, 30.0)
    joins = [line.replace("--duration 15", "--duration 7") for line in (zigbee, zwave)]
    await asyncio.gather(*map(house.agent, [*joins, zigbee.replace("zigbee --duration 15", "ble --duration 6")]))
    assert len(await house.devices()) == 6

    run_as_written(images)
    (house.folder / "lamp.signed.bin").write_bytes(mcuboot())
    (house.folder / "lamp.zip").write_bytes(package())
    (house.folder / "devices.toml").write_text(release + LAMP_PARTS)
    await house.agent(sign)
    lines = (await house.agent(f"{apply} --json")).splitlines()
    assert json.loads(lines[-1])["components"] == ["bulb", "switch", "lamp", "old-lamp"]
    bulbs = [node.ota.firmware.version for node in house.zigbee.network.nodes.values() if node.ota is not None]
    assert (bulbs, house.zwave.network.nodes["switch"].firmware) == ([2, 2, 2], (1, 5))
    lamps = [one for one in house.ble.world.peripherals.values() if one.role != BOOTLOADER]
    assert [one.updates.version for one in lamps if one.updates is not None] == ["1.2.3", "1.2.3"]
