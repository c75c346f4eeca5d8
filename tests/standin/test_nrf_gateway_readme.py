"""The README's way to a BLE device through nRF Cloud, as it is written: the daemon as users run it, and curl."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from ble_rig import ble_rig
from conftest import until, until_async
from daemon import ask, ready
from nrf_gateway_rig import LAMP_ON_AIR
from nrf_link_rig import onboarded
from standin_rig import Cloud

from agent.client import Client

pytestmark = pytest.mark.conformance
README = Path(__file__).parent.parent.parent / "README.md"
CONFIG = """
[hub]
id = "curl-gateway"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.nrf]
dialect = "nrf-cloud"
gateway = "{dialect}"
host = "127.0.0.1"
port = {port}
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"
[radios.ble]
kind = "ble"
bus = "{bus}"
"""


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


def lines(cloud: Cloud) -> tuple[str, list[str]]:
    """What is set, and then the calls, for this stand-in and hub."""
    _, _, rest = README.read_text().partition("\n### BLE devices through nRF Cloud\n")
    found = re.search(r"```sh\n(.*?)```", rest, re.DOTALL)
    port = re.search(r":(\d+)/", cloud.told["console"])
    assert found is not None
    assert port is not None
    text = found[1].replace("/tmp/cloud/", f"{cloud.folder}/").replace("127.0.0.1:8080", f"127.0.0.1:{port[1]}")
    first, *calls = text.replace("hub-7", "curl-gateway").splitlines()
    return first, calls


async def test_the_readme_s_lamp(cloud: Cloud, tmp_path: Path) -> None:
    files = onboarded(cloud, tmp_path, "curl-gateway", "a-gateway")
    port = cloud.told["mqtt"].partition(":")[2]
    async with ble_rig(tmp_path, {"devices": LAMP_ON_AIR}) as ble:
        told = {"ca": cloud.told["ca"], "certificate": files[0], "key": files[1], "bus": ble.simulation.port}
        config = tmp_path / "agent.toml"
        config.write_text(CONFIG.format(folder=tmp_path, port=port, dialect="lte", **told))
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(config)]
        with (tmp_path / "agent.log").open("ab") as log:
            process = forked.Popen(command, stdout=log, stderr=log)
        try:
            client = Client(tmp_path / "run")
            await until_async(lambda: ready(client), bool, 20.0)
            await follow(cloud)
            assert (await ble.control("list"))["devices"][0]["values"]["on"] is True
            await until(
                lambda: ble.simulation.world.connected(LAMP_ON_AIR[0]["address"]) == [], what="the lamp, let go"
            )
            counters = (await ask(client, "status"))["uplinks"]["nrf"]["counters"]
            assert counters["gateway_operations"] >= 4
            assert "gateway_errors" not in counters
        finally:
            process.terminate()
            assert await asyncio.get_running_loop().run_in_executor(None, process.wait, 10) == 0


async def follow(cloud: Cloud) -> None:
    """One line after the other, each again until it says what it is there for."""
    first, calls = lines(cloud)
    shown = ("", "A4:C1:38:00:00:01", "", '"1815"', "", "[1]", "", "descriptor_value_write_result", "")
    for call, words in zip(calls, shown, strict=True):

        async def run(call: str = call) -> str:
            done = await asyncio.get_running_loop().run_in_executor(
                None,
                lambda: subprocess.run(["bash", "-c", f"{first}\n{call}"], capture_output=True, text=True, check=False),
            )
            return done.stdout if done.returncode == 0 else f"{done.returncode} {done.stderr}"

        if words:
            await until_async(run, lambda told, words=words: words in told)
        else:
            assert await run() == "", call
