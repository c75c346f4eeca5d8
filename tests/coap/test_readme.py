"""What the README tells people to type for CoAP devices runs as it is written; only the folders are those of the test."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from standin_account import Account
from standin_rig import HUB, UPC

from agent.home import address_in
from drivers.coap.keys import Address, OscoreKey, material

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("ports of config/examples/coap.toml")


def blocks() -> list[str]:
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## CoAP devices\n")
    return re.findall(r"```\w+\n(.*?)```", re.split(r"\n## ", rest)[0], re.DOTALL)


async def test_the_section_runs_as_written(tmp_path: Path) -> None:
    start, asked, _ = blocks()
    function = f'agent() {{ {sys.executable} -m agent.cli "$@"; }}\n'
    environment = {
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "PATH": "/usr/bin:/bin",
        "HUB_AGENT__HUB__STATE_DIR": str(tmp_path / "hub"),
        "HUB_AGENT__HUB__RUNTIME_DIR": str(tmp_path / "run"),
    }
    (tmp_path / "hub").mkdir()
    servers = []
    try:
        for line in start.replace("/tmp/home", str(tmp_path)).splitlines():
            arguments = line.partition("#")[0].split()[1:]
            command = [sys.executable, "-m", "agent.cli", *arguments]
            servers.append(
                await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT, stdout=subprocess.PIPE)
            )
        assert servers[0].stdout is not None
        told = json.loads(await asyncio.wait_for(servers[0].stdout.readline(), 10))
        assert told["kind"] == "coap"
        await until((tmp_path / "run" / "control.sock").exists, 20)
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", function + asked],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for server in servers:
            server.terminate()
            await server.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"127.0.0.1-{port}" in done.stdout for port in range(15683, 15689)), done.stdout
    assert "73656372657450534b" not in done.stdout + done.stderr


def test_what_its_owner_asks_of_aws_is_taken_there_and_understood_by_the_hub(tmp_path: Path) -> None:
    said: dict[str, Any] = {}
    exec(compile(blocks()[2], "README.md", "exec"), said)  # noqa: S102  what the README tells people to run
    account = Account(tmp_path)
    hub = account.api.create_managed_thing(**HUB, AuthenticationMaterial=f"SN:1;UPC:{UPC}")["Id"]
    locker = account.api.create_credential_locker()["Id"]
    account.api.update_managed_thing(Identifier=hub, CredentialLockerId=locker)
    device = said["expect"](account.api, locker)
    assert account.api.get_managed_thing(Identifier=device)["ProvisioningStatus"] == "PRE_ASSOCIATED"
    assert account.api.get_device_discovery(Identifier=said["discover"](account.api, hub))["Status"] == "RUNNING"
    (code,) = re.findall(r'AuthenticationMaterial="(.*)"', blocks()[2])
    where, key = material(code)
    assert (where, type(key)) == (Address("192.0.2.7"), OscoreKey)
    assert address_in(code) == str(where)
