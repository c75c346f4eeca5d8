"""Sealed files: nothing in clear on a disk, and an error for each way in which a seal does not fit. The seal is made by systemd-creds."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from key_rig import SEAL, Place

from agent.errors import ConfigError
from agent.identity.keys import KeyTroubleError
from agent.identity.stores import open_keys, open_secrets
from agent.identity.stores.sealed import SealedKeys, SealedSecrets
from agent.secret_store import SecretTroubleError
from agent.settings import Secret, load

OTHER = SEAL[::-1]


@pytest.fixture
def keys(tmp_path: Path) -> SealedKeys:
    made = SealedKeys(tmp_path / "keys", SEAL)
    made.generate("hub")
    return made


def test_another_seal_is_told_from_damage(keys: SealedKeys, tmp_path: Path) -> None:
    with pytest.raises(KeyTroubleError, match="sealed with another secret"):
        SealedKeys(tmp_path / "keys", OTHER).sign("hub", b"x")


def test_files_that_change_places_do_not_open(keys: SealedKeys, tmp_path: Path) -> None:
    keys.generate("other")
    (tmp_path / "keys" / "other.sealed").replace(tmp_path / "keys" / "hub.sealed")
    with pytest.raises(KeyTroubleError, match="in the place of another"):
        keys.sign("hub", b"x")


def test_a_secret_is_not_taken_for_a_key(keys: SealedKeys, tmp_path: Path) -> None:
    secrets = SealedSecrets(tmp_path / "keys", SEAL.encode)
    secrets.put("hub", b"x")
    (tmp_path / "keys" / "hub.secret").replace(tmp_path / "keys" / "hub.sealed")
    with pytest.raises(KeyTroubleError, match="another secret"):
        keys.sign("hub", b"x")


def test_a_cut_damaged_or_newer_file_says_so(keys: SealedKeys, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "hub.sealed"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(KeyTroubleError, match=r"cut off|damaged"):
            keys.sign("hub", b"x")
    for at in range(16, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(KeyTroubleError, match="damaged"):
            keys.sign("hub", b"x")
    path.write_bytes(b"HUBSEAL2" + whole[8:])
    with pytest.raises(KeyTroubleError, match="newer"):
        keys.sign("hub", b"x")


def test_a_nonce_is_used_once(tmp_path: Path) -> None:
    secrets = SealedSecrets(tmp_path, SEAL.encode)
    seen = set()
    for _ in range(50):
        secrets.put("a", b"the same")
        seen.add((tmp_path / "a.secret").read_bytes())
    assert len(seen) == 50


def test_tls_gets_a_file_that_no_disk_has_and_nobody_can_change(keys: SealedKeys, tmp_path: Path) -> None:
    chain, path = keys.tls_files("hub", tmp_path / "chain.pem")
    assert chain == str(tmp_path / "chain.pem")
    assert "memfd:" in str(Path(path).readlink())
    assert b"PRIVATE KEY" in Path(path).read_bytes()
    descriptor = int(path.rsplit("/", 1)[1])
    assert not os.get_inheritable(descriptor)
    with pytest.raises(PermissionError):
        os.write(descriptor, b"x")
    with pytest.raises(PermissionError):
        os.truncate(descriptor, 0)
    again = keys.tls_files("hub", tmp_path)[1]
    assert b"PRIVATE KEY" in Path(again).read_bytes()
    keys.destroy("hub")
    assert not Path(again).exists()


@pytest.mark.parametrize("seal", ["", "short"])
def test_a_seal_that_could_be_guessed_is_refused(tmp_path: Path, seal: str) -> None:
    with pytest.raises(ConfigError, match="seal"):
        SealedKeys(tmp_path, seal)
    secrets = open_secrets(Place("sealed", tmp_path, {"seal": Secret(seal)}).settings())
    with pytest.raises(ConfigError, match="seal"):
        secrets.put("a", b"x")


@pytest.mark.conformance
def test_the_seal_that_systemd_creds_makes_opens_the_store(tmp_path: Path) -> None:
    """The README's command, and what LoadCredentialEncrypted= does with it, by the host's own key or the null key where it has none."""
    program = shutil.which("systemd-creds")
    assert program
    sealed, credentials = tmp_path / "hub-agent-seal.cred", tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    random = subprocess.run(["sh", "-c", "head -c 32 /dev/urandom | base64"], capture_output=True, check=True).stdout
    made = ["encrypt", "--name=hub-agent-seal", "-", str(sealed)]
    ways = [[program, "--with-key=host"], [program, "--with-key=tpm2-absent"]]
    done = [subprocess.run([*way, *made], input=random, capture_output=True, check=False) for way in ways]
    assert any(one.returncode == 0 for one in done), done
    assert random.strip() not in sealed.read_bytes()
    opened = credentials / "hub-agent-seal"
    subprocess.run([program, "decrypt", "--name=hub-agent-seal", str(sealed), str(opened)], check=True)
    opened.chmod(0o400)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[hub]\nstate_dir = "{tmp_path}/state"\n[identity]\nstore = "sealed"\nseal = "credential:hub-agent-seal"\n'
    )
    settings = load(config, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert settings.identity.seal.reveal() == random.decode().strip()
    keys = open_keys(settings)
    keys.generate("hub")
    assert keys.sign("hub", b"x")
    sealed.write_bytes(sealed.read_bytes()[:-8])
    broken = subprocess.run([program, "decrypt", str(sealed), "-"], capture_output=True, check=False)
    assert broken.returncode != 0, "a damaged credential keeps the service from starting"


def test_secrets_of_another_seal_are_refused(tmp_path: Path) -> None:
    SealedSecrets(tmp_path, SEAL.encode).put("a", b"x")
    with pytest.raises(SecretTroubleError, match="another secret"):
        SealedSecrets(tmp_path, OTHER.encode).get("a")
