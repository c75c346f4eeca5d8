"""The real daemon and brokers that refuse, stall and throw out; certificates that are revoked, expired or lost: it comes back, and says why."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from certificates import Authority
from conftest import Broker, until, until_async

from tests.conformance.test_link_tls import SecureBroker
from tests.identity.front import Front, Mode
from tests.identity.test_rotation import Daemon as Plain

pytestmark = pytest.mark.conformance

# The product's waits are made for a home; here they are short.
QUICK = """
import sys
from agent import cli, supervise
from agent.cloud import mqtt
from agent.identity import credentials, presence, trial, watch
mqtt.HANDSHAKE_TIMEOUT = 1.0
credentials.SHORT = trial.SHORT = 2.0
trial.WAITS = (0.2, 0.2, 0.2)
watch.FIRST = 0.5
presence.LOOK = 0.2
supervise.Supervisor._delay = lambda self, unit: 0.05
sys.exit(cli.main(sys.argv[1:]))
"""
CODES = [
    0x80,
    0x81,
    0x82,
    0x83,
    0x85,
    0x86,
    0x87,
    0x88,
    0x89,
    0x8A,
    0x8C,
    0x90,
    0x95,
    0x97,
    0x99,
    0x9A,
    0x9B,
    0x9C,
    0x9D,
    0x9F,
    0x84,
]


class Daemon(Plain):
    """With short waits."""

    def run(self) -> None:
        command = [sys.executable, "-c", QUICK, "run", "-c", str(self.config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = forked.Popen(command, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return " ".join((self.folder / "agent.log").read_text().split())

    @property
    def identity(self) -> Path:
        return self.folder / "state" / "identity"

    def lives(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, self.log

    def record(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.identity / "identity.json").read_text())
        return told

    async def rotate(self) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.agent, "identity", "rotate")

    async def away(self, *words: str) -> dict[str, Any]:
        def said(told: dict[str, Any]) -> bool:
            return any(word in told["uplinks"].get("main", {}).get("reason", "") for word in words)

        await until_async(self.status_async, said, 30.0)
        self.lives()
        return self.status()


@pytest.fixture
def authority(broker_folder: Path) -> Authority:
    return Authority(broker_folder)


@pytest.fixture
async def front(broker: Broker, authority: Authority) -> AsyncIterator[Front]:
    async with Front(authority, broker.port) as made:
        yield made


@pytest.fixture
def daemon(tmp_path: Path, front: Front, authority: Authority) -> Iterator[Daemon]:
    made = Daemon(tmp_path, front.port, authority)
    yield made
    made.stop(signal.SIGKILL)


async def test_a_broker_that_says_nothing_or_no_is_outlived_and_named(daemon: Daemon, front: Front) -> None:
    """Nothing after TCP, nothing after TLS, nothing after CONNACK, and each reason code: then it says yes."""
    script: list[Mode] = ["silent", "half", *CODES]
    front.silent, front.treat = 1, lambda _certificate: script.pop(0) if script else "pass"
    daemon.run()
    await daemon.away("no answer", "cannot connect")
    await daemon.online()
    daemon.lives()
    assert [mode for _, mode in front.seen][:3] == ["nothing", "silent", "half"]
    assert [mode for _, mode in front.seen if mode in CODES] == CODES
    assert "no answer from the broker" in daemon.log
    for words in ("Not authorized", "Server busy", "Banned", "Quota exceeded", "Use another server"):
        assert words in daemon.log
    assert len(daemon.keys()) == 1, "a first certificate is not thrown away"


@pytest.mark.parametrize("mode", ["silent", 0x87, 0x88, "half"], ids=["silence", "not-authorized", "busy", "half"])
async def test_a_broker_that_does_not_take_the_new_certificate_keeps_the_old_one(
    daemon: Daemon, front: Front, mode: Mode
) -> None:
    daemon.run()
    first = (await daemon.online())["certificate"]
    front.treat = lambda certificate: "pass" if certificate == first["certificateId"] else mode
    rotated = await daemon.rotate()
    assert rotated.returncode == 69
    assert "given up" in rotated.stderr
    told = (await daemon.online("a"))["certificate"]
    assert (told["certificateId"], told["rotation"]) == (first["certificateId"], "")
    assert told["trouble"], "why"
    assert daemon.keys() == ["hub-a.key"]


async def test_a_new_certificate_whose_connections_are_thrown_out_is_rolled_back(daemon: Daemon, front: Front) -> None:
    """A broker that takes the certificate and ends the connection at its first word, as for a missing right."""
    daemon.run()
    first = (await daemon.online())["certificate"]
    front.treat = lambda certificate: "pass" if certificate == first["certificateId"] else "kick"
    await daemon.rotate()
    await until_async(daemon.status_async, lambda told: told["certificate"].get("trouble"), 40.0)
    told = (await daemon.online("a"))["certificate"]
    assert told["certificateId"] == first["certificateId"]
    assert "thrown out" in told["trouble"]
    assert daemon.keys() == ["hub-a.key"]


async def test_a_broker_that_throws_everybody_out_costs_no_certificate(daemon: Daemon, front: Front) -> None:
    daemon.run()
    first = (await daemon.online())["certificate"]
    assert (await daemon.rotate()).returncode == 0
    second = (await daemon.online("b"))["certificate"]["certificateId"]
    front.treat = lambda _certificate: "kick"
    seen = len(front.seen)
    front.cut()
    await until(lambda: len({one for one, _ in front.seen[seen:]}) == 2 and len(front.seen) > seen + 9, 40.0)
    front.treat = lambda certificate: "pass" if certificate == second else "kick"
    told = (await daemon.online("b"))["certificate"]
    assert (told["certificateId"], told["rotation"]) == (second, "kept")
    assert first["certificateId"] != second


async def test_a_network_that_is_silent_in_a_trial_costs_no_certificate(daemon: Daemon, front: Front) -> None:
    daemon.run()
    await daemon.online()
    front.silent = 5
    front.cut()
    rotated = await daemon.rotate()
    told = (await daemon.online())["certificate"]
    assert rotated.returncode == 0, rotated.stderr
    assert told["slot"] == "b"


# ---- certificates and keys --------------------------------------------------------------------------------------------


@pytest.fixture
async def secure(broker_folder: Path, authority: Authority) -> AsyncIterator[SecureBroker]:
    authority.issue("broker")
    made = SecureBroker(broker_folder, authority)
    made._config.write_text(made._config.read_text() + f"crlfile {authority.revoke()}\n")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hub(tmp_path: Path, secure: SecureBroker, authority: Authority) -> Iterator[Daemon]:
    made = Daemon(tmp_path, secure.tls_port, authority)
    yield made
    made.stop(signal.SIGKILL)


async def test_a_certificate_that_is_revoked_in_its_first_day_is_rolled_back(
    hub: Daemon, secure: SecureBroker, authority: Authority
) -> None:
    hub.run()
    first = (await hub.online())["certificate"]
    assert (await hub.rotate()).returncode == 0
    await hub.online("b")
    secure.stop()
    authority.revoke(hub.identity / "hub-b.pem")
    secure.start()
    told = (await hub.online("a"))["certificate"]
    assert (told["certificateId"], told["rotation"]) == (first["certificateId"], "")
    assert told["trouble"]
    assert hub.keys() == ["hub-a.key"], "the revoked one goes"


async def test_an_expired_certificate_is_renewed_without_a_connection(hub: Daemon, authority: Authority) -> None:
    assert hub.agent("identity", "provision").returncode == 0
    public = json.loads(hub.agent("identity", "show", "--json").stdout)["public_key"]
    authority.certify(public, hub.identity / "hub-a.pem", begins=-30, ends=-1)
    record = hub.record()
    record["held"]["a"] |= {
        "begins": record["held"]["a"]["begins"] - 40 * 86400,
        "expires": record["held"]["a"]["begins"] - 86400,
    }
    (hub.identity / "identity.json").write_text(json.dumps(record))
    hub.run()
    told = (await hub.online("b"))["certificate"]
    assert told["state"] == "fine"
    assert "has expired" in hub.log
    assert "age of" in hub.record()["reason"]


@pytest.mark.parametrize("loss", ["key", "chain", "other key", "other chain", "garbage"])
@pytest.mark.parametrize("when", ["at the start", "while it runs"])
async def test_a_lost_key_or_chain_is_named_and_replaced_by_the_source(
    hub: Daemon, secure: SecureBroker, authority: Authority, loss: str, when: str
) -> None:
    """Deleted, foreign, mismatched: the daemon lives, and gets itself another certificate."""
    assert hub.agent("identity", "provision").returncode == 0
    key, chain = hub.identity / "keys" / "hub-a.key", hub.identity / "hub-a.pem"
    certificate, other_key = authority.issue("stranger")
    if when == "while it runs":
        hub.run()
        await hub.online("a")
    match loss:
        case "key":
            key.unlink()
        case "chain":
            chain.unlink()
        case "other key":
            key.write_bytes(other_key.read_bytes())
        case "other chain":
            chain.write_bytes(certificate.read_bytes())
        case _:
            key.write_bytes(b"\x00\xff" * 64)
    if when == "while it runs":
        secure.stop()
        secure.start()
    else:
        hub.run()
    await hub.online("b")
    hub.lives()
    assert str(key) in hub.log or str(chain) in hub.log, "what is wrong, and where"
    assert "loss of" in hub.record()["reason"]


async def test_without_a_source_a_lost_key_is_named_until_somebody_comes(hub: Daemon, secure: SecureBroker) -> None:
    assert hub.agent("identity", "provision").returncode == 0
    lines = hub.config.read_text().splitlines()
    hub.config.write_text("\n".join(line for line in lines if "own-ca" not in line) + '\nsource = "none"\n')
    hub.run()
    await hub.online("a")
    key = hub.identity / "keys" / "hub-a.key"
    kept = key.read_bytes()
    key.unlink()
    secure.stop()
    secure.start()
    told = await hub.away(str(key))
    assert told["uplinks"]["main"]["status"] == "away"
    key.write_bytes(kept)
    key.chmod(0o600)
    await hub.online("a")


async def test_a_record_that_turns_to_garbage_under_the_daemon_does_not_end_it(
    hub: Daemon, secure: SecureBroker
) -> None:
    hub.run()
    await hub.online("a")
    path = hub.identity / "identity.json"
    kept = path.read_bytes()
    path.write_bytes(b"{")
    secure.stop()
    secure.start()
    told = await hub.away("identity.json")
    assert "identity.json" in told["certificate"]["trouble"]
    path.write_bytes(kept)
    await hub.online("a")
