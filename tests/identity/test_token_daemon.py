"""The daemon whose token or TPM goes: status and log say it, with a remedy; no PIN is tried again; it is back when the device is."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from conftest import until_async
from key_rig import PIN, SEAL, SOFTHSM, TOKEN, Place, managed_tpm, soft_token

from agent.client import Client
from agent.errors import HubError
from agent.settings import Secret
from tests.conformance.test_link_tls import SecureBroker
from tests.identity.test_hostile_brokers import QUICK
from tests.identity.test_key_stores_daemon import CLI, HUB, environment_of
from tests.identity.test_token_keys import LOCKED, SPY, set_flags

pytestmark = pytest.mark.conformance


class Hub:
    """A hub with its certificate, whose key is in a device."""

    def __init__(self, folder: Path, place: Place, broker: SecureBroker, authority: Authority) -> None:
        self.folder, self.place = folder, place
        self.environment, self.config, self.log_file = (
            environment_of(place),
            folder / "agent.toml",
            folder / "agent.log",
        )
        place.state.mkdir(mode=0o700, exist_ok=True)
        text = HUB.format(state=place.state, folder=folder, port=broker.tls_port, ca=authority.ca)
        self.config.write_text(text + place.config(folder))
        self.agent("install", str(authority.sign_request(self.agent("csr"))))
        self.client = Client(folder / "run")
        self.process: subprocess.Popen[bytes] | None = None

    def agent(self, *words: str) -> str:
        command = [sys.executable, "-c", CLI, "identity", *words, "-c", str(self.config)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self) -> None:
        with self.log_file.open("ab") as log:
            command = [sys.executable, "-c", QUICK, "run", "-c", str(self.config)]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return " ".join(self.log_file.read_text().split())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    async def uplink(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            told = self.client.get("status")
            return {**told["uplinks"].get("main", {}), "proved": told["certificate"].get("proved")}
        except HubError:
            return {}

    async def online(self) -> None:
        await until_async(self.uplink, lambda told: told.get("status") == "online" and told["proved"], 30.0)

    async def away(self, words: str) -> None:
        await until_async(self.uplink, lambda told: words in told.get("reason", ""), 40.0)


@pytest.fixture
def authority(broker_folder: Path) -> Authority:
    return Authority(broker_folder)


@pytest.fixture
def secure(broker_folder: Path, authority: Authority) -> Iterator[SecureBroker]:
    authority.issue("broker")
    made = SecureBroker(broker_folder, authority)
    made.start()
    yield made
    made.stop()


async def test_a_tpm_that_goes_and_comes_back(tmp_path: Path, secure: SecureBroker, authority: Authority) -> None:
    """Its processes end under the daemon, as a chip that is reset or a manager that is restarted."""
    device = ExitStack()
    tcti, bus = device.enter_context(managed_tpm(tmp_path / "tpm"))
    hub = Hub(tmp_path, Place("tpm", tmp_path / "state", {"tpm_tcti": tcti}, bus), secure, authority)
    hub.run()
    try:
        await hub.online()
        device.close()
        secure.stop()
        secure.start()
        await hub.away("TPM")
        assert hub.log.count("is away") < 5, "said once, not at every try"
        device.enter_context(managed_tpm(tmp_path / "tpm"))
        assert hub.process is not None
        assert await asyncio.to_thread(hub.process.wait, 30) == 75, (
            "OpenSSL does not find it again: the service manager starts the agent"
        )
        hub.run()
        await hub.online()
    finally:
        hub.stop()
        device.close()


@pytest.fixture
def token(tmp_path: Path) -> Place:
    told = {"pkcs11_module": str(SPY), "pkcs11_token": TOKEN, "pin": Secret(PIN)}
    spied = {"PKCS11SPY": str(SOFTHSM), "PKCS11SPY_OUTPUT": str(tmp_path / "spy.log")}
    return Place("pkcs11", tmp_path / "state", told, soft_token(tmp_path / "softhsm", TOKEN) | spied)


@pytest.mark.parametrize(
    ("trouble", "words", "tries"), [("wrong", "refuses the PIN", 1), ("locked", "PIN is locked", 0)]
)
def test_a_pin_that_is_refused_ends_the_daemon_for_a_person_to_come(
    tmp_path: Path, token: Place, secure: SecureBroker, authority: Authority, trouble: str, words: str, tries: int
) -> None:
    """With 78, on which systemd does not start it again: each start would cost one more try."""
    hub, spy = Hub(tmp_path, token, secure, authority), tmp_path / "spy.log"
    if trouble == "locked":
        set_flags(token, LOCKED)
    else:
        (tmp_path / "pin.secret").write_text("999999")
    before = spy.read_text().count("C_Login")
    hub.run()
    assert hub.process is not None
    assert hub.process.wait(30) == 78
    assert words in hub.log
    assert "remedy" in hub.log
    assert "999999" not in hub.log
    assert spy.read_text().count("C_Login") - before == tries


async def test_a_token_that_is_pulled_out_under_the_daemon(
    tmp_path: Path, token: Place, secure: SecureBroker, authority: Authority
) -> None:
    """What stands goes on, status and metrics say it, nothing is taken for lost, and the token is taken up again by itself."""
    hub = Hub(tmp_path, token, secure, authority)
    plain = f'[uplinks.plain]\nhost = "127.0.0.1"\nport = {secure.port}\ntls = false\nclient_id = "plain"\n'
    hub.config.write_text(hub.config.read_text().replace("[identity]", f"{plain}[identity]"))
    held, record = hub.agent("show", "--json"), token.state / "identity" / "identity.json"
    tokens = tmp_path / "softhsm" / "tokens"
    hub.run()

    async def told() -> dict[str, Any]:
        await hub.uplink()
        try:
            status: dict[str, Any] = hub.client.get("status")
        except HubError:
            return {}
        return {"plain": status["uplinks"].get("plain", {}), "keys": status["certificate"].get("keyStore")}

    def shown(*words: str) -> str:
        command = [sys.executable, "-c", CLI, *words, "-c", str(hub.config)]
        environment = {**hub.environment, "COLUMNS": "400"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    try:
        await until_async(told, lambda now: now and now["plain"].get("status") == "online" and now["keys"] == "", 30.0)
        before = await told()
        for _ in range(2):
            tokens.rename(tokens.with_name("drawer"))
            tokens.mkdir()
            await until_async(told, lambda now: "plug it in" in (now["keys"] or ""), 20.0)
            assert "plug it in" in await asyncio.to_thread(shown, "status")
            assert "key_store_up 0" in await asyncio.to_thread(shown, "metrics")
            tokens.rmdir()
            tokens.with_name("drawer").rename(tokens)
            await until_async(told, lambda now: now["keys"] == "", 20.0)
        after = (await told())["plain"]
        assert after["status"] == "online"
        assert after["counters"]["connects"] == before["plain"]["counters"]["connects"] == 1
        assert hub.log.count("the hub's key cannot be used") == 2, "said once each time"
        assert json.loads(hub.agent("show", "--json"))["public_key"] == json.loads(held)["public_key"]
        assert json.loads(record.read_text())["current"] == "a"
        assert json.loads(record.read_text())["asked"] is None
    finally:
        hub.stop()


async def test_a_token_that_is_not_there_at_the_start_is_waited_for(
    tmp_path: Path, token: Place, secure: SecureBroker, authority: Authority
) -> None:
    hub = Hub(tmp_path, token, secure, authority)
    tokens = tmp_path / "softhsm" / "tokens"
    tokens.rename(tokens.with_name("drawer"))
    tokens.mkdir()
    hub.run()
    try:
        await hub.away("plug it in")
        assert "the token is not there" in hub.log
        tokens.rmdir()
        tokens.with_name("drawer").rename(tokens)
        await until_async(hub.uplink, lambda told: "plug it in" not in told.get("reason", "plug it in"), 40.0)
        told = json.dumps(hub.client.get("status"))
        assert not [secret for secret in (PIN, SEAL) if secret in hub.log + told]
    finally:
        hub.stop()
