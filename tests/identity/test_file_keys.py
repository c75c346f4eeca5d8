"""What is true of keys in files alone."""

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from agent.errors import PermissionDeniedError
from agent.identity.keys import KeyTroubleError, Subject
from agent.identity.stores.file import FileKeys

CHAIN = Path("hub.pem")


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    return FileKeys(tmp_path / "keys")


def openssl(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)


def test_a_key_of_another_user_is_refused(keys: FileKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.generate("hub")
    other = os.geteuid() + 1
    monkeypatch.setattr("agent.private_files.os.geteuid", lambda: other)
    with pytest.raises(PermissionDeniedError, match="another user"):
        keys.public_key("hub")


def test_a_link_to_a_key_is_none(keys: FileKeys, tmp_path: Path) -> None:
    keys.generate("hub")
    (tmp_path / "keys" / "other.key").symlink_to(keys.tls_files("hub", CHAIN)[1])
    with pytest.raises(KeyTroubleError, match="cannot be read"):
        keys.public_key("other")


def test_a_key_with_a_password_or_of_a_strange_kind_is_refused(keys: FileKeys) -> None:
    keys.generate("hub")
    path = Path(keys.tls_files("hub", CHAIN)[1])
    locked = serialization.load_pem_private_key(path.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    path.write_bytes(locked)
    with pytest.raises(KeyTroubleError, match="without a password"):
        keys.public_key("hub")
    path.write_bytes(openssl("genpkey", "-algorithm", "X25519").stdout)
    with pytest.raises(KeyTroubleError, match="kind that is not used"):
        keys.public_key("hub")


@pytest.mark.parametrize(
    "subject", [Subject(""), Subject("x" * 65), Subject("x", {"XX": "y"}), Subject("x", {"C": "Norway"})]
)
def test_a_subject_that_no_request_can_hold_is_refused(keys: FileKeys, subject: Subject) -> None:
    keys.generate("hub")
    with pytest.raises(KeyTroubleError, match="subject"):
        keys.csr("hub", subject)
