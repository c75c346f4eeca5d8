"""What the README says about updates runs as it is written; only folder, build and service are those of the test."""

import asyncio
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from agent_wheel import ROOT, wheel
from conftest import until_async

from tests.scenarios.test_update_story import running

pytestmark = pytest.mark.conformance
PIP = "pip install --target build '.[zigbee]'"


def blocks() -> list[str]:
    """The blocks of the section, in order."""
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## Updates\n")
    return re.findall(r"```\w+\n(.*?)```", re.split(r"\n## ", rest)[0], re.DOTALL)


async def shell(folder: Path, script: str) -> None:
    """The lines, in `folder`; `agent ota apply` asks the hub there."""
    hub = f'case "$2" in apply) set -- "$@" -c {folder}/agent.toml ;; esac'
    function = f'agent() {{ {hub}; {sys.executable} -m agent.cli "$@"; }}\n'
    command = ["bash", "-euo", "pipefail", "-c", f"cd {folder}\n{function}{script}"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_hub_is_updated_and_comes_back_as_written(tmp_path: Path) -> None:
    root, keys, _slots, release, signed, fleet, broken = blocks()
    (tmp_path / "root.toml").write_text(root)
    await shell(tmp_path, keys)
    async with running(tmp_path, "0.1.0") as hub:
        assert (await hub.status())["version"] == "0.1.0"
        zipfile.ZipFile(io.BytesIO(wheel("0.2.0"))).extractall(tmp_path / "build")
        (tmp_path / "release.toml").write_text(release)
        assert PIP in signed
        await shell(tmp_path, signed.replace(PIP, ":"))
        assert (await hub.status())["version"] == "0.2.0"

        await shell(tmp_path, broken)
        made: dict[str, Any] = {}
        exec(compile(fleet, "README.md", "exec"), made)  # noqa: S102  what the README shows
        task = await asyncio.to_thread(made["update"], hub.cloud.told, hub.thing, tmp_path)
        assert await hub.ends(task) == "FAILED"
        assert (await hub.status())["version"] == "0.2.0"
        await until_async(hub.updates, lambda told: told[-1]["code"] == "fell-back", 10.0)
