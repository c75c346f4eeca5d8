"""One signed release for three Zigbee bulbs, a Z-Wave switch and two Bluetooth lamps, given to a running hub by its command line."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agent_wheel import ROOT
from conftest import until_async
from daemon import ask, ready
from zigbee_ota_rig import IMAGE_TYPE, MANUFACTURER, NEW, bulb, image

from agent import cli
from agent.client import Client
from drivers.sim.ble.firmware import BOOTLOADER
from drivers.sim.ble.server import Simulation as Bluez
from drivers.sim.ble.server import start as start_ble
from drivers.sim.serving import Simulation
from drivers.sim.zigbee.server import start as start_zigbee
from drivers.sim.zwave.profiles import MANUFACTURER as MAKER
from drivers.sim.zwave.server import start as start_zwave
from drivers.zwave.security import dsk as dsks
from tests.ble_update_rig import MOVING, SMP, mcuboot, package

CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[radios.zigbee]
port = "{folder}/zb"
radio = "ezsp"
update_interval = 0.0
[radios.zwave]
port = "{folder}/zw"
[radios.ble]
bus = "{bus}"
[ota]
root = "{folder}/1.root.json"
"""
ROOT_TOML = """
type = "root"
product = "hub"
expires = "1095d"
roles.root = { keys = ["root.pub.pem"], threshold = 1 }
roles.release = { keys = ["release.pub.pem"], threshold = 1 }
"""
RELEASE = """
type = "release"
product = "hub"
release = "1.0"
number = 1
expires = "180d"
[[components]]
name = "bulb"
kind = "zigbee"
version = "2.0"
file_version = {new}
files = ["bulb.ota"]
device = {{ manufacturer = {manufacturer}, products = [{image_type}] }}
[[components]]
name = "switch"
kind = "zwave"
version = "1.5"
file_version = 0x010500
files = ["switch.bin"]
device = {{ manufacturer = {maker}, products = [{product}] }}
[[components]]
name = "lamp"
kind = "ble"
version = "1.2.3"
file_version = 0x01020003
files = ["lamp.signed.bin"]
device = {{ manufacturer = "Simulated", products = ["U-1"] }}
[[components]]
name = "old-lamp"
kind = "ble"
version = "1.2.3"
file_version = 0x01020003
files = ["lamp.zip"]
device = {{ manufacturer = "Simulated", products = ["D-1"] }}
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
        self.config.write_text(CONFIG.format(folder=folder, bus=ble.port))
        for name in ("root", "release"):
            run("ota", "sign", "--new-key", folder / f"{name}.pem")
        (folder / "root.toml").write_text(ROOT_TOML)
        run("ota", "sign", folder / "root.toml", "--key", folder / "root.pem")
        with (folder / "agent.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent.cli", "run", "-c", str(self.config)], stdout=log, stderr=log
            )
        self.client = Client(folder / "run")

    async def agent(self, *arguments: str) -> str:
        """A command; its output."""
        command = [sys.executable, "-m", "agent.cli", *arguments, "-c", str(self.config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def devices(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await ask(self.client, "devices")
        return told


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    zb = {
        "kind": "zigbee",
        "stick": "ezsp",
        "ieee": "00:12:4b:00:00:00:aa:01",
        "devices": [bulb(f"bulb-{n}", n) for n in (1, 2, 3)],
    }
    zw = {"kind": "zwave", "stick": "800", "devices": [{"name": "switch", "profile": "switch"}]}
    zigbee = await start_zigbee("zigbee", zb, link=tmp_path / "zb", state=None, faults="", seed=1)
    zwave = await start_zwave("zwave", zw, link=tmp_path / "zw", state=None, faults="", seed=1)
    bz = {"kind": "ble", "devices": LAMPS, "latency": 0.001}
    ble = await start_ble("ble", bz, link=tmp_path / "bz", state=None, faults="", seed=1)
    made = await asyncio.to_thread(House, tmp_path, zigbee, zwave, ble)
    yield made
    made.process.terminate()
    await asyncio.to_thread(made.process.wait, 10)  # it takes leave of BlueZ, which is of this process
    await zigbee.close()
    await zwave.close()
    await ble.close()


async def test_bulbs_a_switch_and_lamps_are_updated_by_one_release(house: House) -> None:
    await until_async(lambda: ready(house.client), bool, 30.0)
    dsk = dsks.to_text(house.zwave.network.nodes["switch"].dsk)
    await asyncio.gather(
        house.agent("discover", "zigbee", "--duration", "6", "--json"),
        house.agent("discover", "zwave", "--auth", dsk, "--duration", "7", "--json"),
        house.agent("discover", "ble", "--duration", "6", "--json"),
    )
    assert len(await house.devices()) == 6

    (house.folder / "bulb.ota").write_bytes(image())
    (house.folder / "lamp.signed.bin").write_bytes(mcuboot())
    (house.folder / "lamp.zip").write_bytes(package())
    (house.folder / "switch.bin").write_bytes(bytes(range(256)) * 2)
    told = RELEASE.format(
        new=NEW, manufacturer=MANUFACTURER, image_type=IMAGE_TYPE, maker=MAKER, product=0x0100 << 16 | 1
    )
    (house.folder / "release.toml").write_text(told)
    run("ota", "sign", house.folder / "release.toml", "--key", house.folder / "release.pem")
    lines = (await house.agent("ota", "apply", str(house.folder / "release.json"), "--json")).splitlines()
    assert json.loads(lines[-1])["components"] == ["bulb", "switch", "lamp", "old-lamp"]
    lamps = [one for one in house.ble.world.peripherals.values() if one.role != BOOTLOADER]
    assert [one.updates.version for one in lamps if one.updates is not None] == ["1.2.3", "1.2.3"]
