"""What the README says about updates runs as it is written; only folder, build and service are those of the test."""

import asyncio
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from agent_wheel import ROOT, wheel
from conftest import until_async
from key_rig import PIN, soft_token
from update_rig import Hub, running

from agent.settings import OtaSettings

pytestmark = pytest.mark.conformance
ONE_MACHINE = "### All of it on one machine"
LARGE = 9 << 20
PIP = "pip install --target build '.[zigbee]'"


def blocks(heading: str = "## Updates") -> list[str]:
    """The blocks of a section, in order."""
    _, _, rest = (ROOT / "README.md").read_text().partition(f"\n{heading}\n")
    return re.findall(r"```\w+\n(.*?)```", re.split(r"\n##+ ", rest)[0], re.DOTALL)


def run_as_written(python: str) -> dict[str, Any]:
    """What a block defines, or does in this folder."""
    made: dict[str, Any] = {"__name__": "written"}
    exec(compile(python, "README.md", "exec"), made)  # noqa: S102  what the README shows
    return made


class Written(Hub):
    """A hub with the account and the configuration of the README, without its radios and its patience."""

    def _configure(self) -> None:
        account = run_as_written(blocks(ONE_MACHINE)[1])
        self.thing = account["hub"](self.cloud.told, self.folder)
        text, _, radios = (self.folder / "agent.toml").read_text().partition("[radios.")
        assert radios
        (self.folder / "agent.toml").write_text(text.replace('trial = "10s"', 'trial = "1s"'))


async def shell(folder: Path, script: str, **more: str) -> None:
    """The lines, in `folder`; `agent ota apply` asks the hub there. `more` is for the environment."""
    hub = f'case "$2" in apply) set -- "$@" -c {folder}/agent.toml ;; esac'
    function = f'agent() {{ {hub}; {sys.executable} -m agent.cli "$@"; }}\n'
    command = ["bash", "-euo", "pipefail", "-c", f"cd {folder}\n{function}{script}"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **more}
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_hub_is_updated_and_comes_back_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root, keys, _token, _slots, release, signed, fleet, broken, _tuf = blocks()
    (tmp_path / "root.toml").write_text(root)
    await shell(tmp_path, keys)
    async with running(tmp_path, "0.1.0", Written) as hub:
        assert (await hub.status())["version"] == "0.1.0"
        zipfile.ZipFile(io.BytesIO(wheel("0.2.0"))).extractall(tmp_path / "build")
        (tmp_path / "release.toml").write_text(release)
        assert PIP in signed
        await shell(tmp_path, signed.replace(PIP, ":"))
        assert (await hub.status())["version"] == "0.2.0"

        await shell(tmp_path, broken)
        (tmp_path / "much.json").write_bytes(
            bytes(LARGE)
        )  # a real build is larger than what boto3 uploads in one piece
        update = run_as_written(fleet)["update"]
        task = await asyncio.to_thread(update, hub.cloud.told, hub.thing, tmp_path)
        assert await hub.ends(task) == "FAILED"
        assert (await hub.status())["version"] == "0.2.0"
        await until_async(hub.updates, lambda told: told[-1]["code"] == "fell-back", 10.0)


async def test_a_release_is_signed_in_a_token_as_written(tmp_path: Path) -> None:
    _root, _keys, token, _slots, release, *_ = blocks()
    environment = soft_token(tmp_path / "softhsm", "releases")
    (tmp_path / "pin").touch(mode=0o600)
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "release.toml").write_text(release)
    (tmp_path / "hub-0.2.0.tar.gz").write_bytes(b"a build")
    assert token.count("?module-path=") == 1
    await shell(tmp_path, token.replace("?", f"?pin-source=file:{tmp_path}/pin&"), **environment)
    envelope = json.loads((tmp_path / "release.json").read_text())
    assert len(envelope["signatures"]) == 1


def test_the_settings_of_a_tuf_repository_are_as_written() -> None:
    told = OtaSettings.model_validate(tomllib.loads(blocks()[-1])["ota"]).tuf
    assert (told.root, told.product) == ("/etc/hub-agent/tuf-root.json", "my-hub")
    assert told.metadata.startswith("https://")
    assert told.targets.startswith("https://")
