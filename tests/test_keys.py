"""Keys: made, used and destroyed by name; what others could read is refused. OpenSSL judges what comes out."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import PermissionDeniedError
from agent.identity.keys import ED25519, KINDS, P256, FileKeys, KeyTroubleError, Subject

CHAIN = Path("hub.pem")


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    return FileKeys(tmp_path / "keys")


def openssl(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)


@pytest.mark.conformance
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_takes_the_signatures_and_requests_of_every_kind(keys: FileKeys, tmp_path: Path, kind: str) -> None:
    keys.generate("hub", kind)
    public, data, signature = tmp_path / "public.pem", tmp_path / "data", tmp_path / "signature"
    public.write_text(keys.public_key("hub"))
    data.write_bytes(b"what is signed")
    signature.write_bytes(keys.sign("hub", b"what is signed"))
    digest = [] if kind == ED25519 else ["-digest", "sha384" if kind == "P-384" else "sha256"]
    raw = ["-rawin"] if kind == ED25519 else ["-rawin", *digest]
    verified = openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-sigfile", str(signature), "-in", str(data), *raw
    )
    assert verified.returncode == 0, verified.stderr
    request = keys.csr("hub", Subject("HUB-1"))
    judged = openssl("req", "-verify", "-noout", "-subject", data=request.encode())
    assert judged.returncode == 0, judged.stderr
    assert b"HUB-1" in judged.stdout
    assert x509.load_pem_x509_csr(request.encode()).is_signature_valid


def test_a_key_is_private_from_its_first_moment(keys: FileKeys, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.generate("hub")
    finally:
        os.umask(before)
    folder, file = tmp_path / "keys", Path(keys.tls_files("hub", CHAIN)[1])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_key_that_others_may_touch_is_refused(keys: FileKeys, mode: int) -> None:
    keys.generate("hub")
    path = Path(keys.tls_files("hub", CHAIN)[1])
    path.chmod(mode)
    for use in (keys.public_key, lambda name: keys.tls_files(name, CHAIN), lambda name: keys.sign(name, b"x")):
        with pytest.raises(PermissionDeniedError, match=f"{mode:04o}"):
            use("hub")


def test_a_key_of_another_user_is_refused(keys: FileKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.generate("hub")
    other = os.geteuid() + 1
    monkeypatch.setattr("agent.identity.keys.os.geteuid", lambda: other)
    with pytest.raises(PermissionDeniedError, match="another user"):
        keys.public_key("hub")


def test_a_link_to_a_key_is_none(keys: FileKeys, tmp_path: Path) -> None:
    keys.generate("hub")
    (tmp_path / "keys" / "other.key").symlink_to(keys.tls_files("hub", CHAIN)[1])
    with pytest.raises(KeyTroubleError, match="cannot be read"):
        keys.public_key("other")


def test_keys_have_names_and_are_made_once(keys: FileKeys) -> None:
    keys.generate("hub")
    first = keys.public_key("hub")
    with pytest.raises(KeyTroubleError, match="already"):
        keys.generate("hub")
    keys.destroy("hub")
    keys.destroy("hub")
    assert not keys.has("hub")
    with pytest.raises(KeyTroubleError, match="no key 'hub'"):
        keys.sign("hub", b"x")
    keys.generate("hub", P256)
    assert keys.public_key("hub") != first
    with pytest.raises(KeyTroubleError, match="kind"):
        keys.generate("other", "P-521")


@pytest.mark.parametrize("name", ["", "../hub", "a/b", "A", "-a", "a" * 65, ".", "a\n"])
def test_a_name_never_leaves_the_folder(keys: FileKeys, name: str) -> None:
    for use in (keys.generate, keys.has, keys.public_key, keys.destroy):
        with pytest.raises(KeyTroubleError, match="no name"):
            use(name)


@given(st.binary(max_size=400) | st.sampled_from([b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lies_there_is_a_key_or_a_clear_error(keys: FileKeys, content: bytes) -> None:
    if not keys.has("hub"):
        keys.generate("hub")
    path = keys._path("hub")
    path.write_bytes(content)
    with pytest.raises(KeyTroubleError, match="PEM private key"):
        keys.public_key("hub")


def test_a_key_with_a_password_or_of_a_strange_kind_is_refused(keys: FileKeys) -> None:
    keys.generate("hub")
    path = keys._path("hub")
    locked = serialization.load_pem_private_key(path.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    path.write_bytes(locked)
    with pytest.raises(KeyTroubleError, match="without a password"):
        keys.public_key("hub")
    path.write_bytes(openssl("genpkey", "-algorithm", "X25519").stdout)
    with pytest.raises(KeyTroubleError, match="kind that is not used"):
        keys.public_key("hub")


@pytest.mark.conformance
def test_openssl_reads_a_requests_subject_and_extensions(keys: FileKeys) -> None:
    keys.generate("hub")
    subject = Subject("HUB-1", {"O": "Home & Co", "C": "NO"}, ("hub-1.local",))
    told = openssl("req", "-noout", "-text", data=keys.csr("hub", subject).encode()).stdout.decode()
    assert "O = Home & Co, C = NO, CN = HUB-1" in told
    assert "TLS Web Client Authentication" in told
    assert "Digital Signature" in told
    assert "DNS:hub-1.local" in told


@pytest.mark.parametrize(
    "subject", [Subject(""), Subject("x" * 65), Subject("x", {"XX": "y"}), Subject("x", {"C": "Norway"})]
)
def test_a_subject_that_no_request_can_hold_is_refused(keys: FileKeys, subject: Subject) -> None:
    keys.generate("hub")
    with pytest.raises(KeyTroubleError, match="subject"):
        keys.csr("hub", subject)
