"""What offboarding leaves on the disk, also when it is cut off."""

import json
import shutil
from pathlib import Path

import pytest
from power_cut import PowerCut, cutting

from agent import offboard, offboard_mark
from agent.errors import ConfigError
from agent.settings import Settings, load

CONFIG = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = 8883
ca = "{folder}/ca.pem"
certificate = "{folder}/hub.pem"
key = "{folder}/hub.key"
[uplinks.plain]
host = "127.0.0.1"
port = 1883
tls = false
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("ca.pem", "hub.pem", "hub.key"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o600)
    state = tmp_path / "state"
    (state / "radios" / "zigbee").mkdir(parents=True)
    for name in ("hub.db", "hub.db-wal", "radios/zigbee/zigbee.db"):
        (state / name).write_text("a home")
    (tmp_path / "agent.toml").write_text(CONFIG.format(folder=tmp_path))
    return load(tmp_path / "agent.toml", {})


def mark(settings: Settings) -> Path:
    offboard_mark.write(settings.hub.state_dir, offboard.mark(settings, "2026-11-27T10:00:00Z"))
    return settings.hub.state_dir / offboard.MARK


def names(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.hub.state_dir.iterdir())


def test_without_a_mark_nothing_is_touched(settings: Settings) -> None:
    offboard.finish(settings)
    assert names(settings) == ["hub.db", "hub.db-wal", "radios"]
    assert offboard.barred(settings) == {}


def test_a_mark_has_everything_deleted_once(settings: Settings) -> None:
    path = mark(settings)
    offboard.finish(settings)
    assert names(settings) == [offboard.MARK]
    assert json.loads(path.read_bytes())["wiped"]
    (settings.hub.state_dir / "hub.db").write_text("a new home")
    offboard.finish(settings)
    assert names(settings) == ["hub.db", offboard.MARK]


def test_a_deletion_that_was_cut_off_goes_on(settings: Settings, tmp_path: Path) -> None:
    """At every call that changes the disk."""
    state = settings.hub.state_dir
    whole = shutil.copytree(state, tmp_path / "whole")

    def again() -> None:
        shutil.rmtree(state)
        shutil.copytree(whole, state)
        mark(settings)

    again()
    with cutting() as counted:
        offboard.finish(settings)
    assert counted.seen > 15
    for point in range(1, counted.seen + 1):
        again()
        with cutting(point), pytest.raises(PowerCut):
            offboard.finish(settings)
        offboard.finish(settings)
        assert names(settings) == [offboard.MARK], f"point {point}"
        told = offboard_mark.read(state)
        assert told is not None, f"point {point}"
        assert told.wiped, f"point {point}"


def test_what_the_configuration_names_stays_in_the_state_folder(settings: Settings, tmp_path: Path) -> None:
    """An operator may keep the claim there; without it the hub could not be provisioned again."""
    state = settings.hub.state_dir
    (state / "claims" / "old").mkdir(parents=True)
    for name in ("claims/hub.pem", "claims/hub.key", "claims/old/x", "password", "agent.toml"):
        (state / name).write_text("mine")
        (state / name).chmod(0o600)
    (state / "claims" / "link").symlink_to(tmp_path)
    text = (tmp_path / "agent.toml").read_text()
    text = text.replace(f"{tmp_path}/hub.", f"{state}/claims/hub.")
    (state / "agent.toml").write_text(f'{text}username = "me"\npassword = "file:{state}/password"\n')
    claiming = load(state / "agent.toml", {})
    mark(claiming)
    offboard.finish(claiming)
    assert names(settings) == ["agent.toml", "claims", offboard.MARK, "password"]
    assert sorted(path.name for path in (state / "claims").iterdir()) == ["hub.key", "hub.pem"]
    assert (tmp_path / "hub.pem").exists(), "links are not followed"


def test_an_uplink_is_held_back_until_it_has_another_certificate(settings: Settings, tmp_path: Path) -> None:
    path = mark(settings)
    held = offboard.barred(settings)
    assert set(held) == {"main", "plain"}
    assert str(path) in held["main"]
    (tmp_path / "hub.pem").write_text("another certificate")
    assert set(offboard.barred(settings)) == {"plain"}
    path.unlink()
    assert offboard.barred(settings) == {}


def test_an_identity_by_claim_is_claimed_anew(settings: Settings, tmp_path: Path) -> None:
    text = (tmp_path / "agent.toml").read_text()
    text = text.replace(f'certificate = "{tmp_path}/hub.pem"\nkey = "{tmp_path}/hub.key"\n', "")
    claim = f'[identity]\nserial = "HUB-1"\ntemplate = "t"\nclaim_certificate = "{tmp_path}/hub.pem"\n'
    (tmp_path / "agent.toml").write_text(f'{text}{claim}claim_key = "{tmp_path}/hub.key"\n')
    claiming = load(tmp_path / "agent.toml", {})
    mark(claiming)
    assert set(offboard.barred(claiming)) == {"plain"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"wiped": 1}'])
def test_a_mark_that_cannot_be_read_is_named(settings: Settings, content: bytes) -> None:
    (settings.hub.state_dir / offboard.MARK).write_bytes(content)
    with pytest.raises(ConfigError, match=offboard.MARK):
        offboard.finish(settings)
    assert names(settings) == ["hub.db", "hub.db-wal", offboard.MARK, "radios"]
