"""Rotation in the real daemon, against a real mosquitto that wants client certificates; and the power cut at each arrow."""

import errno
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from certificates import Authority
from conftest import until_async
from power_cut import PowerCut, cutting, refusing

from agent.client import Client
from agent.errors import HubError
from agent.identity.local_ca import LocalAuthority, Subject
from agent.identity.record import KEEP
from agent.identity.slots import Slots
from agent.identity.sources import fetch
from agent.identity.stores.file import FileKeys
from tests.conformance.test_link_tls import SecureBroker

CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = {port}
ca = "{ca}"
[identity]
ca_certificate = "{folder}/own-ca.pem"
ca_key = "{folder}/own-ca.key"
"""


class Daemon:
    """`agent run` with an authority of its own, which the broker trusts."""

    def __init__(self, folder: Path, port: int, authority: Authority) -> None:
        self.folder, self.config = folder, folder / "agent.toml"
        self.take(authority)
        self.config.write_text(CONFIG.format(folder=folder, port=port, ca=authority.ca))
        self.client = Client(folder / "run")
        self.process: subprocess.Popen[bytes] | None = None

    def take(self, authority: Authority) -> None:
        """Sign with this authority from now on."""
        shutil.copy(authority.ca, self.folder / "own-ca.pem")
        shutil.copy(authority.key_file(), self.folder / "own-ca.key")

    def keys(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "state" / "identity" / "keys").iterdir())

    def run(self) -> None:
        command = [sys.executable, "-m", "agent.cli", "run", "-c", str(self.config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = forked.Popen(command, stdout=log, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def status(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self.client.get("status")
        except Exception as error:  # noqa: BLE001  it starts
            return {"uplinks": {}, "certificate": {}, "error": str(error)}
        return answer

    async def online(self, slot: str = "") -> dict[str, Any]:
        def good(told: dict[str, Any]) -> bool:
            up = told["uplinks"].get("main", {}).get("status") == "online"
            certificate = told["certificate"]
            return up and bool(certificate["proved"]) and (not slot or certificate["slot"] == slot)

        await until_async(self.status_async, good, 30.0)
        return self.status()

    async def status_async(self) -> dict[str, Any]:
        return self.status()

    def agent(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent.cli", *words, "-c", str(self.config)]
        return forked.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def authority(broker_folder: Path) -> Authority:
    return Authority(broker_folder)


@pytest.fixture
async def broker(broker_folder: Path, authority: Authority) -> AsyncIterator[SecureBroker]:
    authority.issue("broker")
    made = SecureBroker(broker_folder, authority)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def daemon(tmp_path: Path, broker: SecureBroker, authority: Authority) -> Iterator[Daemon]:
    made = Daemon(tmp_path, broker.tls_port, authority)
    yield made
    made.stop(signal.SIGKILL)


@pytest.mark.conformance
async def test_a_hub_gets_its_certificate_and_changes_it_by_a_connection(daemon: Daemon) -> None:
    daemon.run()
    first = (await daemon.online())["certificate"]
    assert first["proved"]
    assert (first["slot"], first["state"], first["source"]) == ("a", "fine", "local-ca")
    assert first["daysLeft"] == pytest.approx(30, abs=1), "no longer than its authority"
    rotated = daemon.agent("identity", "rotate", "--json")
    assert rotated.returncode == 0, rotated.stderr
    told = (await daemon.online("b"))["certificate"]
    assert told["certificateId"] == json.loads(rotated.stdout)["certificate_id"] != first["certificateId"]
    assert told["rotation"] == "kept", "the old one, for a day"
    assert daemon.keys() == ["hub-a.key", "hub-b.key"]


@pytest.mark.conformance
async def test_a_certificate_that_the_broker_refuses_is_given_up(
    daemon: Daemon, broker_folder: Path, authority: Authority
) -> None:
    daemon.run()
    first = (await daemon.online())["certificate"]
    daemon.take(Authority(broker_folder, "stranger"))
    rotated = daemon.agent("identity", "rotate")
    assert rotated.returncode == 69
    assert "given up" in rotated.stderr
    told = (await daemon.online("a"))["certificate"]
    assert (told["certificateId"], told["rotation"]) == (first["certificateId"], "")
    assert told["trouble"]
    assert daemon.keys() == ["hub-a.key"]
    daemon.take(authority)
    assert daemon.agent("identity", "rotate").returncode == 0


@pytest.mark.conformance
async def test_a_trial_goes_on_after_a_kill(daemon: Daemon, broker: SecureBroker) -> None:
    daemon.run()
    await daemon.online()
    broker.stop()
    with (daemon.folder / "rotate.log").open("wb") as log:
        rotating = forked.Popen(
            [sys.executable, "-m", "agent.cli", "identity", "rotate", "-c", str(daemon.config)], stdout=log, stderr=log
        )
    await until_async(daemon.status_async, lambda told: told["certificate"].get("rotation") == "candidate", 20.0)
    daemon.stop(signal.SIGKILL)
    assert rotating.wait(20) == 69
    broker.start()
    daemon.run()
    told = await daemon.online("b")
    assert told["certificate"]["rotation"] == "kept"


@pytest.mark.conformance
async def test_without_a_daemon_the_command_proves_the_certificate_itself(daemon: Daemon) -> None:
    assert daemon.agent("identity", "provision").returncode == 0
    rotated = daemon.agent("identity", "rotate", "--json")
    assert rotated.returncode == 0, rotated.stderr
    told = json.loads(rotated.stdout)["certificate"]
    assert (told["slot"], told["rotation"]) == ("b", "kept")
    assert told["proved"]


@pytest.mark.conformance
async def test_a_certificate_that_somebody_brings_is_tried(daemon: Daemon, authority: Authority) -> None:
    """`csr` beside a working identity asks for the other slot; the daemon goes on until the new one has connected."""
    daemon.run()
    await daemon.online()
    request = daemon.folder / "hub.csr"
    request.write_text(daemon.agent("identity", "csr").stdout)
    signed = daemon.folder / "signed.pem"
    command = ["openssl", "x509", "-req", "-in", str(request), "-CA", str(authority.ca), "-CAkey"]
    subprocess.run(
        [*command, str(authority.key_file()), "-days", "5", "-out", str(signed)], check=True, capture_output=True
    )
    installed = daemon.agent("identity", "install", str(signed))
    assert installed.returncode == 0, installed.stderr
    told = await daemon.online("b")
    assert told["certificate"]["source"] == "by hand"


# ---- power cuts -----------------------------------------------------------------------------------------------------


class Hub:
    """Slots that go through a whole rotation."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.slots = Slots(folder / "identity", FileKeys(folder / "identity" / "keys"))
        self.source = LocalAuthority(authority.ca, authority.key_file(), 5, Subject("hub-1"))

    async def first(self) -> None:
        await fetch(self.slots, self.source, "first")
        self.connect("a")

    def connect(self, slot: Any) -> None:
        self.slots.change(lambda record: record.connected(slot, 1.0, "local-ca"))

    async def rotate(self) -> None:
        await fetch(self.slots, self.source, "age")
        self.connect("b")
        self.slots.change(lambda record: record.confirmed())
        self.slots.change(lambda record: record.lived(KEEP))

    async def refuse(self) -> None:
        await fetch(self.slots, self.source, "age")
        self.slots.change(lambda record: record.given_up("refused"))

    async def roll_back(self) -> None:
        await fetch(self.slots, self.source, "age")
        self.connect("b")
        self.slots.change(lambda record: record.rolled_back("refused"))

    def usable(self) -> None:
        """There is a certificate, it fits its key, and nothing lies about that no record names."""
        self.slots.tidy()
        record = self.slots.record
        for slot in record.used - {record.asked}:
            assert self.slots.check(self.slots.chain(slot).read_text(), slot)
        assert record.current
        names = {path.name for path in self.slots.folder.iterdir()} - {"keys", "lock", "identity.json"}
        left = {name for name in names if not name.endswith(".tmp")}
        assert left <= {f"hub-{slot}.pem" for slot in record.used}
        assert {path.name for path in (self.slots.folder / "keys").glob("hub*")} <= {
            f"hub-{s}.key" for s in record.used
        }


@pytest.mark.parametrize("story", ["rotate", "refuse", "roll_back"])
async def test_a_power_cut_at_any_arrow_leaves_a_hub_that_works(tmp_path: Path, story: str) -> None:
    """Before and after each call that changes the disk; then the same again, whole."""
    authority = Authority(tmp_path)
    whole = Hub(tmp_path / "whole", authority)
    await whole.first()
    with cutting() as counted:
        await getattr(whole, story)()
    whole.usable()
    assert counted.seen > 20
    for point in range(1, counted.seen + 1):
        folder = tmp_path / f"{story}-{point}"
        await Hub(folder, authority).first()
        with cutting(point), pytest.raises(PowerCut):
            await getattr(Hub(folder, authority), story)()
        after = Hub(folder, authority)
        after.usable()
        if after.slots.record.current == "a":
            await after.rotate()
            after.usable()
            assert after.slots.record.current == "b"


@pytest.mark.parametrize("stays", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=["full", "broken", "read-only"])
@pytest.mark.parametrize("story", ["rotate", "refuse", "roll_back"])
async def test_a_disk_that_refuses_any_call_leaves_a_hub_that_works(
    tmp_path: Path, story: str, number: int, *, stays: bool
) -> None:
    """Trouble in words, never a bug; and when the disk takes writes again, so does the hub."""
    authority = Authority(tmp_path)
    whole = Hub(tmp_path / "whole", authority)
    await whole.first()
    with refusing() as counted:
        await getattr(whole, story)()
    assert counted.seen > 20
    said = 0
    for point in range(1, counted.seen + 1):
        hub = Hub(tmp_path / f"{story}-{point}", authority)
        await hub.first()
        with refusing(point, number, stays=stays):
            try:
                await getattr(hub, story)()
            except HubError as error:
                said += error.message != ""
        hub.usable()
        if hub.slots.record.current == "a":
            await hub.rotate()
            hub.usable()
            assert hub.slots.record.current == "b"
    assert said >= counted.seen * 0.9
