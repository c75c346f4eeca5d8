"""An `identity.json` that is no record: the agent ends with 78 and says where and what to do, nothing is taken away, and a backup mends it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority
from conftest import until_async

from agent.client import Client
from agent.errors import Exit, HubError
from tests.identity.test_hostile_brokers import QUICK

HUB = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = 1
ca = "{ca}"
"""


class Hub:
    """One with a certificate, and a backup of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config, authority = folder, folder / "agent.toml", Authority(folder)
        self.config.write_text(HUB.format(folder=folder, ca=authority.ca))
        self.identity = folder / "state" / "identity"
        self.words = folder / "words"
        self.words.touch(mode=0o600)
        self.words.write_text("correct horse battery")
        self.agent("identity", "install", authority.sign_request(self.agent("identity", "csr").stdout))
        self.agent("backup", folder / "backup", "--passphrase-file", self.words)
        self.record = self.identity / "identity.json"
        self.good = self.record.read_bytes()

    def agent(self, *words: str | Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", QUICK, *map(str, words), "-c", str(self.config)]
        environment = {**os.environ, "COLUMNS": "400"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def test_the_agent_does_not_start_and_says_why_until_it_is_mended(hub: Hub) -> None:
    keys = {path: path.read_bytes() for path in (hub.identity / "keys").iterdir()}
    for garbage in (b"", b"{}", b"\xff\xfe\x00", hub.good[: len(hub.good) // 2], b'{"version": 1, "current": "a"}'):
        hub.record.write_bytes(garbage)
        said = hub.agent("run", code=int(Exit.CONFIG)).stderr
        assert str(hub.record) in said
        assert "remedy" in said
        assert "agent restore" in said
        assert "Traceback" not in said
        assert hub.record.read_bytes() == garbage
        assert {path: path.read_bytes() for path in (hub.identity / "keys").iterdir()} == keys
    assert str(hub.record) in hub.agent("identity", "show", code=int(Exit.CONFIG)).stderr
    restored = hub.agent("restore", hub.folder / "backup", "--passphrase-file", hub.words).stdout
    assert "with the key that the store still has" in restored
    assert json.loads(hub.record.read_bytes())["held"] == json.loads(hub.good)["held"]


async def test_damage_under_the_daemon_is_shown_and_does_not_end_it(hub: Hub) -> None:
    with (hub.folder / "log").open("wb") as log:
        command = [sys.executable, "-c", QUICK, "run", "-c", str(hub.config)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    client = Client(hub.folder / "run")

    async def trouble() -> str | None:
        assert process.poll() is None, (hub.folder / "log").read_text()
        try:
            return str(client.get("status")["certificate"]["trouble"])
        except (HubError, KeyError):
            return None

    try:
        await until_async(trouble, lambda told: told == "", 20.0)
        hub.record.write_bytes(b"{")
        await until_async(trouble, lambda told: bool(told) and str(hub.record) in (told or ""), 20.0)
        assert str(hub.record) in (await asyncio.to_thread(hub.agent, "status")).stdout
        assert "certificate_days_left" not in (await asyncio.to_thread(hub.agent, "metrics")).stdout
        hub.record.write_bytes(hub.good)
        await until_async(trouble, lambda told: told == "", 20.0)
    finally:
        process.terminate()
        assert process.wait(20) == 0
