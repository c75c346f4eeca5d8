"""The daemon itself with its key in each store: request, certificate, uplink; and no PIN or seal where others could see it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import Authority
from conftest import Broker, free_port
from key_rig import PIN, SEAL, SOFTHSM, Place, wait_for

pytestmark = pytest.mark.conformance

CONFIG = Path(__file__).parent.parent.parent / "config"
CLI = "import sys; from agent import cli; sys.exit(cli.main(sys.argv[1:]))"
HUB = """
[hub]
id = "hub-1"
state_dir = "{state}"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = {port}
ca = "{ca}"
"""


def environment_of(place: Place) -> dict[str, str]:
    told = {**os.environ, **place.environment, "PYTHONPATH": str(CONFIG.parent)}
    if place.store == "tpm":
        return told | {"OPENSSL_CONF": str(CONFIG / "openssl-tpm.cnf"), "TPM2OPENSSL_TCTI": place.told["tpm_tcti"]}
    if place.store == "pkcs11":
        return told | {"OPENSSL_CONF": str(CONFIG / "openssl-pkcs11.cnf"), "HUB_AGENT_PKCS11_MODULE": str(SOFTHSM)}
    return told


@contextmanager
def daemon(config: Path, environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("ab") as file:
        command = [sys.executable, "-c", CLI, "run", "-c", str(config)]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def provider_there(environment: dict[str, str]) -> bool:
    asked = subprocess.run(["openssl", "version", "-m"], capture_output=True, text=True, check=True).stdout
    return (Path(environment.get("OPENSSL_MODULES") or asked.split('"')[1]) / "pkcs11.so").exists()


def test_the_daemon_is_on_line_with_a_key_that_stays_in_its_store(
    place: Place, broker_folder: Path, tmp_path: Path
) -> None:
    authority, port = Authority(broker_folder), free_port()
    certificate, key = authority.issue("broker")
    owner = "user root\n" if os.geteuid() == 0 else ""
    tls = f"cafile {authority.ca}\ncertfile {certificate}\nkeyfile {key}\nrequire_certificate true\nuse_identity_as_username true\n"
    environment, config, log = environment_of(place), tmp_path / "agent.toml", tmp_path / "agent.log"
    place.state.mkdir(mode=0o700)
    text = HUB.format(state=place.state, folder=tmp_path, port=port, ca=authority.ca)
    config.write_text(text + place.config(tmp_path))

    def agent(*arguments: str) -> str:
        command = [sys.executable, "-c", CLI, "identity", *arguments, "-c", str(config)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    chain = authority.sign_request(agent("csr"))
    agent("install", str(chain))
    with Broker(broker_folder, f"{owner}listener {port} 127.0.0.1\n{tls}"), daemon(config, environment, log) as process:
        if place.store == "pkcs11" and not provider_there(environment):
            wait_for(lambda: "install pkcs11-provider" in " ".join(log.read_text().split()), log.read_text())
            assert process.poll() is None, "the radios run on"
        else:
            known = broker_folder / "mosquitto.log"
            wait_for(lambda: "u'hub-1'" in known.read_text() or process.poll() is not None, log.read_text())
            assert process.poll() is None, log.read_text()
            seen = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
            assert not [word for word in (PIN, SEAL) if word.encode() in seen]
    said = log.read_text()
    assert not [word for word in (PIN, SEAL, "PRIVATE KEY") if word in said]
