"""What offboarding and factory reset leave of the hub's identity, also where keys are no files, and after a power cut anywhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from power_cut import PowerCut, cutting

from agent import offboard, offboard_mark
from agent.identity import copies
from agent.identity.hub_identity import HubIdentity
from agent.identity.keys import KeyTroubleError
from agent.identity.pairs import import_pair
from agent.identity.remains import fingerprint
from agent.identity.stores.file import FileKeys
from agent.settings import Settings, load

CONFIG = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
ca = "{folder}/test-ca.pem"
[identity]
serial = "HUB-1"
template = "claims"
claim_certificate = "{folder}/state/claim.pem"
claim_key = "{folder}/state/claim.key"
iotmi_config = "{folder}/aws/iotmi_config.json"
"""
FILE = '{"ro": {"SN": "HUB-1", "x": 1.50}, "rw": {"iot_provisioning_state": "NOT_PROVISIONED"}, "vendor": [1]}\n'


class Hub:
    """With a certificate in each slot, a key that was asked for a token, a note, a home; its keys lie in `token`, as in a device."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.state, self.token = folder, folder / "state", folder / "token"
        self.authority, self.file = Authority(folder), folder / "aws" / "iotmi_config.json"
        monkeypatch.setattr("agent.identity.hub_identity.open_keys", lambda _settings: FileKeys(self.token))
        self.state.mkdir()
        (folder / "aws").mkdir()
        self.file.write_text(FILE)
        for made, name in zip(self.authority.issue("claim"), ("claim.pem", "claim.key"), strict=True):
            made.rename(self.state / name)
        (folder / "agent.toml").write_text(CONFIG.format(folder=folder))
        slots = self.identity.slots
        self.take("one")
        self.take("two")
        slots.change(lambda record: record.connected("b", 1.0))
        slots.keys.generate("device-token")
        (slots.folder / "pending.json").write_text("{}")
        self.copy = folder / "aws" / "iot_pk.pem"
        copies.note(slots.folder, self.copy)
        (self.state / "radios" / "zigbee").mkdir(parents=True)
        (self.state / "radios" / "zigbee" / "zigbee.db").write_text("a network")
        (self.state / "hub.db").write_text("a home")
        keys = slots.keys
        self.fingerprints = {name: fingerprint(keys.public_key(name)) for name in keys.names()}
        self.keep()

    @property
    def settings(self) -> Settings:
        return load(self.folder / "agent.toml", {})

    @property
    def identity(self) -> HubIdentity:
        return HubIdentity(self.settings)

    def take(self, name: str) -> Any:
        files = self.authority.issue(name)
        certificate, key = (file.read_text() for file in files)
        return import_pair(self.identity.slots, certificate, key, "", {}, "test")

    def keep(self) -> None:
        """What `again` brings back."""
        for name in ("state", "token"):
            shutil.rmtree(self.folder / f"before-{name}", ignore_errors=True)
            shutil.copytree(self.folder / name, self.folder / f"before-{name}")
        self.before = self.file.read_text()

    def again(self) -> None:
        for name in ("state", "token"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.folder / f"before-{name}", self.folder / name)
        self.file.write_text(self.before)
        self.copy.write_bytes((self.token / "hub-b.key").read_bytes())

    @property
    def rw(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.file.read_text())["rw"]
        return told

    def gone(self, what: object) -> None:
        """Nothing of the hub is left, and everything of its operator's is."""
        assert sorted(path.name for path in self.state.iterdir()) == ["claim.key", "claim.pem", "offboarded.json"], what
        assert list(self.token.iterdir()) == [], what
        assert not self.copy.exists(), what
        assert self.rw.pop("metadata", {"last_updated_epoch_time": 1}).keys() == {"last_updated_epoch_time"}, what
        assert {key: value for key, value in self.rw.items() if key != "metadata"} == {
            "iot_provisioning_state": "NOT_PROVISIONED"
        }, what
        assert self.file.read_text().startswith('{"ro": {"SN": "HUB-1", "x": 1.50}, "rw": {'), what
        assert self.file.read_text().endswith('}, "vendor": [1]}\n'), what
        told = offboard_mark.read(self.state)
        assert told is not None, what
        assert told.proof is not None, what
        assert {key.name: key.public_key_sha256 for key in told.proof.keys_destroyed} == self.fingerprints, what
        assert (told.wiped, told.proof.private_keys_left, told.proof.left) == (True, 0, []), what
        assert told.proof.kept == [str(self.state / "claim.key"), str(self.state / "claim.pem")], what
        assert self.identity.current() is None, what


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path, monkeypatch)


def test_the_file_follows_the_slots_and_what_is_no_file_is_in_secure_storage(hub: Hub) -> None:
    rw = hub.rw
    assert (rw["iot_provisioning_state"], rw["managed_thing_id"], rw["client_id"]) == ("PROVISIONED", "two", "two")
    assert (rw["iot_permanent_cert_path"], rw["iot_permanent_pk_path"]) == ("SECURE_STORAGE", "SECURE_STORAGE")
    hub.identity.slots.change(lambda record: record.rolled_back("refused"))
    assert hub.rw["managed_thing_id"] == "one"


@pytest.mark.parametrize("what", ["offboarding", "reset"])
def test_a_power_cut_anywhere_leaves_a_hub_that_is_whole_or_goes_on_to_its_end(hub: Hub, what: str) -> None:
    def order() -> None:
        if what == "reset":
            offboard.order_reset(hub.settings, "2026-11-27T10:00:00.000Z")
        else:
            settings = hub.settings
            offboard_mark.write(hub.state, offboard.mark(settings, "2026-11-27T10:00:00.000Z"))

    def whole() -> None:
        order()
        offboard.finish(hub.settings)

    with cutting() as counted:
        whole()
    hub.gone("whole")
    assert counted.seen > 40
    for point in range(1, counted.seen + 1):
        hub.again()
        with cutting(point), pytest.raises(PowerCut):
            whole()
        if offboard_mark.read(hub.state) is None:
            assert hub.identity.slots.record.current == "b", f"point {point}"
            assert hub.identity.keys.names() == ("device-token", "hub-a", "hub-b"), f"point {point}"
            order()
        offboard.finish(hub.settings)
        hub.gone(f"point {point}")


def test_a_hub_can_have_an_identity_again(hub: Hub) -> None:
    offboard.order_reset(hub.settings, "2026-11-27T10:00:00.000Z")
    offboard.finish(hub.settings)
    hub.take("three")
    offboard.finish(hub.settings)  # as at every start
    assert hub.identity.slots.record.current == "a"
    assert hub.rw["managed_thing_id"] == "three"


def test_a_key_that_does_not_go_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(FileKeys):
        def destroy(self, name: str) -> None:
            if name != "hub-b":
                super().destroy(name)

    monkeypatch.setattr("agent.identity.hub_identity.open_keys", lambda _settings: Stubborn(hub.token))
    offboard.order_reset(hub.settings, "2026-11-27T10:00:00.000Z")
    offboard.finish(hub.settings)
    told = offboard_mark.read(hub.state)
    assert told is not None
    assert told.proof is not None
    assert told.proof.private_keys_left == 1
    assert [(left.where, left.matches) for left in told.proof.left] == [("the key store", "hub-b")]
    assert [key.name for key in told.proof.keys_destroyed] == ["device-token", "hub-a"]


def test_a_token_that_is_away_is_told_and_its_keys_go_with_the_next_reset(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(FileKeys):
        def names(self) -> tuple[str, ...]:
            raise KeyTroubleError("the token is not there", remedy="plug it in")

    offboard.order_reset(hub.settings, "2026-11-27T10:00:00.000Z")
    with monkeypatch.context() as patched:
        patched.setattr("agent.identity.hub_identity.open_keys", lambda _settings: Away(hub.token))
        offboard.finish(hub.settings)
    told = offboard_mark.read(hub.state)
    assert told is not None
    assert told.proof is not None
    assert (told.wiped, told.proof.private_keys_left) == (True, 1), "a hub whose token is lost starts again"
    assert "the token is not there" in told.proof.left[0].kind
    assert not (hub.state / "hub.db").exists()
    offboard.order_reset(hub.settings, "2026-11-27T11:00:00.000Z")
    offboard.finish(hub.settings)
    hub.gone("later")


def test_a_file_that_cannot_be_written_keeps_nobody_from_anything(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.file.write_text("no JSON")
    offboard.order_reset(hub.settings, "2026-11-27T10:00:00.000Z")
    offboard.finish(hub.settings)
    assert "restore it" in caplog.text
    assert hub.file.read_text() == "no JSON"
    assert not (hub.state / "identity").exists()


def test_after_a_power_cut_in_a_rotation_the_file_is_brought_in_step(hub: Hub) -> None:
    """Between any two writes: also between the record and the file."""
    hub.identity.slots.change(lambda record: record.lived(1e9))

    def rotate() -> None:
        hub.take("three")
        hub.identity.slots.change(lambda record: record.connected("a", 2.0))
        hub.identity.slots.change(lambda record: record.lived(1e9))

    hub.keep()
    with cutting() as counted:
        rotate()
    assert hub.rw["managed_thing_id"] == "three"
    assert counted.seen > 20
    for point in range(1, counted.seen + 1):
        hub.again()
        with cutting(point), pytest.raises(PowerCut):
            rotate()
        hub.identity.slots.tell()
        held = hub.identity.current()
        assert held is not None, f"point {point}"
        assert (hub.rw["managed_thing_id"], hub.rw["client_id"]) == (held.thing, held.thing), f"point {point}"


def test_the_file_of_a_hub_that_another_program_provisioned_is_left(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    offboard.order_reset(hub.settings, "2026-11-27T10:00:00.000Z")
    offboard.finish(hub.settings)
    rw = {"iot_provisioning_state": "PROVISIONED", "managed_thing_id": "x", "iot_permanent_cert_path": "/aws/cert.pem"}
    hub.file.write_text(json.dumps({"ro": {}, "rw": rw}))
    hub.identity.slots.tell()
    assert hub.rw == rw
    assert "agent identity import" in caplog.text


def test_a_file_that_is_not_there_is_made(hub: Hub) -> None:
    hub.file.unlink()
    hub.identity.slots.tell()
    made = json.loads(hub.file.read_text())
    assert made["ro"]["endpoint_url"] == "127.0.0.1"
    assert made["ro"]["SN"] == "HUB-1"
    assert made["rw"]["managed_thing_id"] == "two"


def test_the_program_in_its_slots_and_the_version_floor_stay(hub: Hub) -> None:
    """The service starts from the slots, and a reset is no way back to a version with known holes."""
    kept = [hub.state / "slots" / name for name in ("launch", "floor.json", "A/site/agent/cli.py")]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("-----BEGIN PRIVATE KEY-----\nin a test of some package\n-----END PRIVATE KEY-----\n")
    offboard.order_reset(hub.settings, "2026-11-27T10:00:00.000Z")
    offboard.finish(hub.settings)
    assert all(path.exists() for path in kept)
    told = offboard_mark.read(hub.state)
    assert told is not None
    assert told.proof is not None
    assert (told.proof.private_keys_left, hub.identity.current()) == (0, None)
