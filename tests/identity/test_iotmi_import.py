"""A hub that ran AWS's hub SDK is taken over by `agent identity import`, with the stand-in cloud and a real `agent run`."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from iotmi_rig import Machine
from power_cut import PowerCut, cutting
from standin_rig import Cloud

from agent.errors import HubError, TryAgainError
from agent.identity.hub_identity import HubIdentity
from agent.identity.iotmi_import import import_file
from agent.identity.keys import KeyTroubleError
from agent.identity.pairs import import_pair
from agent.identity.slots import Slots
from agent.identity.stores.file import FileKeys
from agent.settings import load

PRIVATE = "PRIVATE KEY"


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where a test is about root, a folder that other users reach: every start of pytest closes its own to them."""
    if not request.node.name.startswith("test_root"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
async def machine(cloud: Cloud, claims: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    serial = f"HUB-{abs(hash(request.node.name)) % 10**9:09}"
    made = Machine(cloud, claims, tmp_path, serial)
    yield made
    made.stop(signal.SIGKILL)


async def test_a_provisioned_hub_goes_on_as_it_is(machine: Machine) -> None:
    await machine.as_the_sdk_does()
    before = machine.whole
    told = machine.told("identity", "import", str(machine.file))
    assert (told["written"], told["identity"]["thing"], told["identity"]["tried"]) == (True, machine.thing, False)
    assert any("copy of the private key" in note for note in told["notes"])
    assert told["keys"]["uplinks.main.keep_alive"] == 120
    text = machine.drop_in.read_text()
    assert f'iotmi_config = "{machine.file}"' in text
    assert f'host = "{machine.host}"' in text
    machine.run()
    status = await machine.online()
    assert status["hub"] == machine.thing
    assert status["certificate"]["source"] == "iotmi"
    assert "provisioned" not in machine.log
    after = machine.whole
    assert {key: value for key, value in after.items() if key != "rw"} == {k: before[k] for k in ("ro", "vendor")}
    identity = machine.state / "identity"
    assert after["rw"]["iot_permanent_cert_path"] == str(identity / "hub-a.pem")
    assert after["rw"]["iot_permanent_pk_path"] == str(identity / "keys" / "hub-a.key")
    assert PRIVATE in Path(after["rw"]["iot_permanent_pk_path"]).read_text()
    assert after["rw"]["event_manager_upper_bound"] == 500
    machine.stop()
    machine.file.write_text(json.dumps(before))  # what a power cut between our record and the file has left
    machine.run()
    await machine.online()
    assert machine.rw["iot_permanent_cert_path"] == str(identity / "hub-a.pem")


async def test_a_hub_that_is_not_provisioned_is_so_by_the_imported_claim(machine: Machine) -> None:
    told = machine.told("identity", "import", str(machine.file))
    assert told["identity"] is None
    machine.run()
    await machine.online()
    assert machine.rw["iot_provisioning_state"] == "PROVISIONED"
    assert (machine.rw["managed_thing_id"], machine.rw["client_id"]) == (machine.thing, machine.thing)
    assert machine.rw["metadata"]["last_updated_epoch_time"] > 1.7e9


async def test_the_same_again_changes_nothing(machine: Machine) -> None:
    await machine.as_the_sdk_does()
    machine.told("identity", "import", str(machine.file))
    files = (machine.drop_in, machine.file, machine.state / "identity" / "identity.json")
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    assert machine.told("identity", "import", str(machine.file))["written"] is False
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def broken(machine: Machine, how: str) -> str:
    """Spoil the file; the JSON path of what is wrong."""
    whole = machine.whole
    ro, rw = whole["ro"], whole["rw"]
    local = machine.aws / "local.pem"
    where = {
        "no claim": ("ro", "iot_claim_cert_path", "/nowhere/claim.pem"),
        "other key": ("ro", "iot_claim_cert_path", str(machine.aws / "iot_cert.pem")),
        "escapes": ("ro", "iot_claim_cert_path", str(local)),
        "no pair": ("rw", "iot_permanent_cert_path", "/nowhere/iot_cert.pem"),
        "no key": ("rw", "iot_permanent_pk_path", str(machine.aws / "iot_cert.pem")),
    }[how]
    text = (machine.claims / "claim.pem").read_text()
    local.write_text(text.replace("\n", "\\n"))
    {"ro": ro, "rw": rw}[where[0]][where[1]] = where[2]
    machine.file.write_text(json.dumps(whole))
    return ".".join(where[:2])


@pytest.mark.parametrize("how", ["no claim", "other key", "escapes", "no pair", "no key"])
async def test_what_cannot_be_used_is_told_and_nothing_is_written(machine: Machine, how: str) -> None:
    await machine.as_the_sdk_does()
    where = broken(machine, how)
    before = machine.file.read_bytes()
    done = machine.agent("identity", "import", str(machine.file))
    assert done.returncode == 78
    assert where in done.stderr.replace("\n", "")
    assert "remedy" in done.stderr
    assert machine.file.read_bytes() == before
    assert not machine.drop_in.exists()
    assert not machine.state.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[uplinks.main]\nhost = "other.example.com"\n', "uplinks.main.host"),
        ('[uplinks.main]\nusername = "me"\n', "does not take"),
        ("[identity]\nserial = 5\n", "identity.serial"),
    ],
)
async def test_a_configuration_that_would_not_do_is_refused_before_it_is_written(
    machine: Machine, text: str, words: str
) -> None:
    later = machine.drop_in.with_name("60-mine.toml")
    later.parent.mkdir()
    later.write_text(text)
    done = machine.agent("identity", "import", str(machine.file))
    assert done.returncode == 78
    assert words in done.stderr
    assert [path.name for path in later.parent.iterdir()] == ["60-mine.toml"]


def test_what_the_command_needs_and_where_it_puts_it(machine: Machine) -> None:
    assert machine.agent("identity", "import").returncode == 64
    missing = machine.agent("identity", "import", "/nowhere/iotmi_config.json")
    assert missing.returncode == 78
    assert "remedy" in missing.stderr
    text = machine.config.read_text()
    machine.config.write_text(text + "[uplinks.near]\ntls = false\nport = 1883\n")
    before = dict.fromkeys(machine.folder.rglob("*"))
    done = machine.agent("identity", "import", str(machine.file), "--uplink", "aws")
    assert done.returncode == 0, done.stderr
    assert f"wrote {machine.drop_in}" in done.stdout
    assert 'uplinks.aws.host = "127.0.0.1"' in done.stdout
    assert set(machine.folder.rglob("*")) - before.keys() == {machine.drop_in.parent, machine.drop_in}
    assert machine.told("identity", "import", str(machine.file))["uplink"] == "main", "where there are several"


async def test_a_claim_that_others_may_read_is_refused(machine: Machine) -> None:
    loose = shutil.copytree(machine.claims, machine.folder / "loose")
    (loose / "claim.key").chmod(0o644)
    machine.claims = loose
    machine.write({"iot_provisioning_state": "NOT_PROVISIONED"})
    done = machine.agent("identity", "import", str(machine.file))
    assert done.returncode == 78
    assert "chmod 600" in done.stderr


async def test_secure_storage_is_said_where_it_stops_the_hub_and_where_it_does_not(machine: Machine) -> None:
    hidden = {"iot_claim_cert_path": "SECURE_STORAGE", "iot_claim_pk_path": "SECURE_STORAGE"}

    def hide() -> None:
        machine.file.write_text(json.dumps({**machine.whole, "ro": {**machine.ro, **hidden}}))

    hide()
    done = machine.agent("identity", "import", str(machine.file))
    assert done.returncode == 78
    assert "SECURE_STORAGE" in done.stderr
    await machine.as_the_sdk_does()
    hide()
    told = machine.told("identity", "import", str(machine.file))
    assert "identity.claim_key" not in told["keys"]
    assert any("claim is not imported" in note for note in told["notes"])


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
async def test_root_imports_for_the_user_of_the_hub(machine: Machine) -> None:
    await machine.as_the_sdk_does()
    machine.give_to(12345)
    machine.told("identity", "import", str(machine.file))
    owners = {path.stat().st_uid for path in machine.state.rglob("*")}
    assert owners == {12345}
    assert machine.drop_in.stat().st_uid == 0


async def test_a_power_cut_in_an_import_is_mended_by_the_next_one(machine: Machine, tmp_path: Path) -> None:
    await machine.as_the_sdk_does()
    sdk = machine.file.read_bytes()

    def begin(point: int) -> None:
        machine.file.write_bytes(sdk)
        shutil.rmtree(machine.state, ignore_errors=True)
        shutil.rmtree(machine.drop_in.parent, ignore_errors=True)
        with cutting(point) as cuts:
            import_file(machine.file, machine.config, {})
        counted.append(cuts.seen)

    counted: list[int] = []
    begin(0)
    assert counted[0] > 15
    for point in range(1, counted[0] + 1):
        with pytest.raises(PowerCut):
            begin(point)
        again = import_file(machine.file, machine.config, {})
        assert again["identity"]["thing"] == machine.thing, f"point {point}"
        slots = HubIdentity(load(machine.config, {})).slots
        assert slots.record.current == "a"
        assert slots.check(slots.chain("a").read_text(), "a")
        assert machine.rw["iot_permanent_cert_path"] == str(slots.chain("a"))
        slots.tidy()
        assert FileKeys(slots.folder / "keys").names() == ("hub-a",)


# ---- one pair beside another ----------------------------------------------------------------------------------------------


class Made:
    """Slots, and pairs of an authority."""

    def __init__(self, folder: Path) -> None:
        self.slots = Slots(folder / "identity", FileKeys(folder / "identity" / "keys"))
        self.authority = Authority(folder)

    def take(self, name: str) -> Any:
        files = self.authority.issue(name)
        certificate, key = (file.read_text() for file in files)
        return import_pair(self.slots, certificate, key, "", {"clientId": f"{name}-id"}, "bulk")


def test_a_pair_beside_an_identity_is_a_candidate(tmp_path: Path) -> None:
    made = Made(tmp_path)
    first = made.take("one")
    assert (first.thing, made.slots.record.current) == ("one", "a")
    second = made.take("two")
    record = made.slots.record
    assert (record.current, record.candidate, record.held["b"]) == ("a", "b", second)
    assert record.reason, "a person who asks the daemon to try it is answered"
    with pytest.raises(TryAgainError, match="being tried"):
        made.take("three")
    made.slots.change(lambda now: now.connected("b", 1.0))
    assert made.slots.record.identity == made.slots.record.held["b"]


def test_a_pair_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.take("one")
    before = made.slots.record
    certificate, key = (file.read_text() for file in made.authority.issue("two"))
    expired = [file.read_text() for file in made.authority.issue("old", days=-2)]
    other = made.authority.issue("three")[1].read_text()
    for pem, private, words in (
        (certificate, other, "another key"),
        (certificate, "no key", "no PEM private key"),
        ("no certificate", key, "no PEM certificate"),
        (*expired, "valid from"),
    ):
        with pytest.raises(HubError, match=words):
            import_pair(made.slots, pem, private, "", {}, "bulk")
    assert made.slots.record == before
    assert made.slots.keys.names() == ("hub-a",)


def test_a_store_that_takes_no_keys_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    made = Made(tmp_path)

    class Token(FileKeys):
        def adopt(self, name: str, pem: str) -> None:  # noqa: ARG002  as every store
            raise KeyTroubleError("a token takes no key from outside", remedy="have the hub make its own")

    first = made.take("one")
    made.slots.keys = Token(tmp_path / "identity" / "keys")
    with pytest.raises(KeyTroubleError, match="takes no key"):
        made.take("two")
    assert made.slots.record.identity == first
    assert made.slots.keys.names() == ("hub-a",)
