"""Keys that releases are signed with: sealed with a passphrase, and in a token (SoftHSM)."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from key_rig import PIN, SOFTHSM, TOKEN, soft_token
from ota_rig import agent, file, release_document

from agent.cli import main
from agent.ota.manifest import LARGEST
from agent.ota.signatures import Verifier, open_envelope, read_public
from agent.ota.signing_keys import TokenKey, token_key

PASSPHRASE = "correct horse battery staple"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.whl").write_bytes(b"x")
    part = agent(files=["agent.whl"])
    assert file("agent.whl", b"x")["size"] == 1
    (tmp_path / "release.json").write_text(json.dumps(release_document(components=[part])))
    secret("passphrase", PASSPHRASE)
    secret("pin", PIN)
    return tmp_path


def secret(name: str, text: str) -> None:
    path = Path(name)
    path.touch(mode=0o600)
    path.write_text(text)


def signers(public: str) -> frozenset[str]:
    """Who has signed, as a hub sees it that trusts this key."""
    key = read_public(Path(public).read_bytes())
    signed = open_envelope(Path("release.signed.json").read_bytes(), LARGEST, "")
    return Verifier({key.thumbprint: key}, 1).check(signed, "release", "")


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_sealed_key_signs_with_its_passphrase_from_a_file_or_a_descriptor(desk: Path, algorithm: str) -> None:
    made = ["ota", "sign", "--new-key", "k.pem", "--seal", "--algorithm", algorithm, "--passphrase-file", "passphrase"]
    assert main(made) == 0
    assert "ENCRYPTED PRIVATE KEY" in (desk / "k.pem").read_text()
    signs = ["ota", "sign", "release.json", "--key", "k.pem"]
    assert main([*signs, "--passphrase-file", "passphrase"]) == 0
    assert len(signers("k.pub.pem")) == 1
    (desk / "release.signed.json").unlink()
    with (desk / "passphrase").open() as opened:
        assert main([*signs, "--passphrase-fd", str(opened.fileno())]) == 0
    assert len(signers("k.pub.pem")) == 1


class Terminal:
    """A command whose controlling terminal this is."""

    def __init__(self, *arguments: str) -> None:
        self._ours, self._theirs = pty.openpty()
        name = os.ttyname(self._theirs)
        command = [sys.executable, "-m", "agent.cli", "ota", "sign", *arguments]
        shell = ["sh", "-c", 'terminal=$1; shift; exec "$@" <"$terminal" >"$terminal" 2>&1', "sh", name, *command]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            shell, env=environment, start_new_session=True
        )  # whose first terminal is its own
        self.shown = ""

    def until(self, text: str) -> None:
        while text not in self.shown:
            ready, _, _ = select.select([self._ours], [], [], 20.0)
            assert ready, self.shown
            self.shown += os.read(self._ours, 4096).decode()

    def answers(self, prompt: str, text: str) -> None:
        self.until(prompt)
        os.write(self._ours, f"{text}\n".encode())

    def end(self) -> int:
        self.until("key ")
        code = self._process.wait(20)
        for descriptor in (self._ours, self._theirs):
            os.close(descriptor)
        return code


def test_who_sits_at_the_terminal_is_asked_and_nobody_sees_the_answer(desk: Path) -> None:
    makes = Terminal("--new-key", "k.pem", "--seal")
    makes.answers("new passphrase of k.pem: ", PASSPHRASE)
    makes.answers("once more: ", PASSPHRASE)
    assert makes.end() == 0
    signs = Terminal("release.json", "--key", "k.pem")
    signs.answers("passphrase of k.pem: ", PASSPHRASE)
    assert signs.end() == 0
    assert PASSPHRASE not in makes.shown + signs.shown
    assert len(signers(f"{desk}/k.pub.pem")) == 1


def test_a_key_in_a_token_is_made_there_and_signs_there(desk: Path) -> None:
    """In a process of its own: SoftHSM reads where its tokens are once."""
    environment = {**os.environ, **soft_token(desk / "softhsm", TOKEN), "PYTHONPATH": str(ROOT)}
    uri = f"pkcs11:token={TOKEN};object=release?module-path={SOFTHSM}"

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "agent.cli", "ota", "sign", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    made = run("--new-key", f"{uri}&pin-source=file:{desk}/pin", "-o", "r.pub.pem")
    assert made.returncode == 0, made.stderr
    signed = run("release.json", "--key", uri, "--passphrase-file", "pin")
    assert signed.returncode == 0, signed.stderr
    assert len(signers("r.pub.pem")) == 1
    again = run("--new-key", uri, "--passphrase-file", "pin", "-o", "other.pub.pem")
    assert (again.returncode, "already" in again.stderr) == (69, True), again.stderr
    none = run("release.json", "--key", uri.replace("release", "none"), "--passphrase-file", "pin")
    assert (none.returncode, "no keys have the label 'none'" in none.stderr) == (69, True), none.stderr
    wrong = run("release.json", "--key", uri, "--passphrase-file", "passphrase")
    assert (wrong.returncode, "refuses the PIN" in wrong.stderr) == (78, True), wrong.stderr
    assert PIN not in "".join(one.stdout + one.stderr for one in (made, signed, again, none, wrong))


def test_a_uri_is_read_as_rfc_7512_has_it() -> None:
    uri = "pkcs11:token=The%20Token;object=re%3Blease;type=private?module-path=/m.so&pin-source=file:/run/pin"
    assert token_key(uri) == TokenKey("The Token", "re;lease", Path("/m.so"), Path("/run/pin"))
    assert token_key("pkcs11:object=o;token=t?module-path=/m.so").pin is None
