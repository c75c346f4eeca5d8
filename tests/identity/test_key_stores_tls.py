"""mTLS with the key where it is: a real mosquitto that wants a certificate, and the agent's own TLS and MQTT in a process of their own."""

import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import Authority
from conftest import Broker, free_port
from key_rig import SOFTHSM, Place, SoftTpm

from agent.identity.keys import P256, P384, RSA2048, KeyTroubleError, Subject
from agent.identity.stores import open_keys
from agent.identity.stores.proof import prove_tls
from agent.identity.stores.provider import PKCS11, Provider

pytestmark = pytest.mark.conformance

CONFIG = Path(__file__).parent.parent.parent / "config"
PUBLISH = """
import asyncio, ssl, sys
from pathlib import Path
from agent.cloud.dialect import Publication
from agent.cloud.mqtt import V5, Endpoint, MqttConnection
from agent.cloud.tls import tls_context
from agent.errors import HubError
from agent.identity.stores import open_keys
from agent.settings import load

config, chain, ca, port, name = sys.argv[1:6]

async def main():
    keys = open_keys(load(Path(config), {}))
    certificate, key = keys.tls_files(name, Path(chain))
    told = []
    for _ in range(3):  # a handshake each: what the device has room for once, it has for ever
        context = tls_context(ca=ca, certificate=certificate, key=key)
        endpoint, done = Endpoint("127.0.0.1", int(port), "hub-1", 60, context), asyncio.Event()
        link = MqttConnection(
            endpoint, version=V5, will=None, on_message=print, on_acknowledged=lambda mid: done.set()
        )
        await link.open(())
        link.publish(Publication("north/hub-1/state", b"signed by the store"))
        await done.wait()
        await link.drain_and_close(5)
        told.append("acknowledged")
    print(*told, sep=chr(10))

try:
    asyncio.run(asyncio.wait_for(main(), 60))
except HubError as error:
    print(type(error).__name__, error.advice)
"""


@dataclass
class Secure:
    """A broker with a TLS listener that wants a certificate of `authority`."""

    broker: Broker
    port: int
    authority: Authority
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text()


@pytest.fixture
def secure(broker_folder: Path) -> Iterator[Secure]:
    authority, port = Authority(broker_folder), free_port()
    certificate, key = authority.issue("broker")
    key.chmod(0o644)
    owner = "user root\n" if os.geteuid() == 0 else ""
    extra = (
        f"{owner}listener {port} 127.0.0.1\ncafile {authority.ca}\ncertfile {certificate}\nkeyfile {key}\n"
        "require_certificate true\nuse_identity_as_username true\n"
    )
    with Broker(broker_folder, extra) as broker:
        yield Secure(broker, port, authority, broker_folder)


def provider_there() -> bool:
    """Whether OpenSSL finds pkcs11-provider: a package from Debian 13 on, or a folder of one's own in OPENSSL_MODULES."""
    asked = subprocess.run(["openssl", "version", "-m"], capture_output=True, text=True, check=True).stdout
    folder = os.environ.get("OPENSSL_MODULES") or asked.split('"')[1]
    return (Path(folder) / "pkcs11.so").exists()


def environment_of(place: Place) -> dict[str, str]:
    """What the unit's Environment= lines say."""
    if place.store == "tpm":
        return {"OPENSSL_CONF": str(CONFIG / "openssl-tpm.cnf"), "TPM2OPENSSL_TCTI": place.told["tpm_tcti"]}
    if place.store == "pkcs11":
        return {"OPENSSL_CONF": str(CONFIG / "openssl-pkcs11.cnf"), "HUB_AGENT_PKCS11_MODULE": str(SOFTHSM)}
    return {}


def publish(place: Place, secure: Secure, tmp_path: Path, kind: str, **environment: str) -> list[str]:
    """What the process says: three times "acknowledged", or an error."""
    keys, name = open_keys(place.settings()), f"hub-{kind.lower()}"
    keys.generate(name, kind)
    chain = secure.authority.sign_request(keys.csr(name, Subject(name.upper())))
    config = tmp_path / "agent.toml"
    config.write_text(f'[hub]\nstate_dir = "{place.state}"\n' + place.config(tmp_path))
    arguments = (str(config), str(chain), str(secure.authority.ca), str(secure.port), name)
    done = place.run(PUBLISH, *arguments, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", [P256, P384, RSA2048])
def test_the_agent_publishes_with_a_key_that_stays_in_its_store(
    place: Place, secure: Secure, tmp_path: Path, kind: str
) -> None:
    lines = publish(place, secure, tmp_path, kind, **environment_of(place))
    if place.store == "pkcs11" and not provider_there():
        (line,) = lines
        assert line.startswith("KeyTroubleError")
        assert "pkcs11.so is not there: install pkcs11-provider" in line
        assert "OPENSSL_CONF=" in line
        return
    assert lines == ["acknowledged"] * 3
    assert secure.log.count(f"u'HUB-{kind.upper()}'") == 3, "the broker knows it by its certificate"
    held = b"".join(path.read_bytes() for path in place.files())
    assert (b"-----BEGIN PRIVATE KEY-----" in held) == (place.store == "file")


@pytest.mark.parametrize("store", ["tpm", "pkcs11"])
def test_a_python_that_was_not_told_says_what_to_set(
    devices: dict[str, dict[str, object]], secure: Secure, tmp_path: Path, store: str
) -> None:
    place = Place(store, tmp_path / "state", **devices[store])  # type: ignore[arg-type]
    (line,) = publish(place, secure, tmp_path, P256, OPENSSL_CONF="")
    open_keys(place.settings()).destroy("hub-p-256")
    assert line.startswith("KeyTroubleError")
    told = "not told to load" if store == "tpm" or provider_there() else "is not there: install"
    assert told in line
    assert f"openssl-{store}.cnf" in line


def test_the_wrong_tpm_in_the_environment_is_found_before_the_first_handshake(
    devices: dict[str, dict[str, object]], secure: Secure, tmp_path: Path
) -> None:
    place, other = Place("tpm", tmp_path / "state", **devices["tpm"]), SoftTpm(tmp_path / "other")  # type: ignore[arg-type]
    other.start()
    try:
        environment = environment_of(place) | {"TPM2OPENSSL_TCTI": other.direct}
        (line,) = publish(place, secure, tmp_path, P256, **environment)
    finally:
        other.stop()
    assert line.startswith("KeyTroubleError")
    assert "names the TPM tabrmd" in line


def test_the_proof_is_a_signature_and_not_only_a_look(tmp_path: Path) -> None:
    """A certificate for one key and a file with another: what `load_cert_chain` finds, and what it does not read at all."""
    keys = open_keys(Place("file", tmp_path).settings())
    keys.generate("hub")
    keys.generate("other")
    files = {name: keys.tls_files(name, Path("x"))[1] for name in ("hub", "other")}
    key = keys._load("hub")  # type: ignore[attr-defined]  # a store of files has no facade
    prove_tls(key, files["hub"], lambda: pytest.fail("nothing is wrong"))
    for wrong in (files["other"], str(tmp_path / "nothing")):
        with pytest.raises(KeyTroubleError, match=ssl.OPENSSL_VERSION):
            prove_tls(key, wrong, lambda: "what to do")


def test_the_diagnosis_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENSSL_CONF", raising=False)
    monkeypatch.setenv("OPENSSL_MODULES", str(tmp_path))
    assert f"{tmp_path}/pkcs11.so is not there: install pkcs11-provider" in PKCS11.diagnosis()
    (tmp_path / "pkcs11.so").touch()
    assert "not told to load" in PKCS11.diagnosis()
    monkeypatch.setenv("OPENSSL_CONF", "/etc/x.cnf")
    assert "OPENSSL_CONF=/etc/x.cnf" in PKCS11.diagnosis()
    assert Provider("default", "", "").diagnosis() == ""
    monkeypatch.setattr("agent.identity.stores.provider._loaded", lambda _library: "")
    assert "built into this Python" in PKCS11.diagnosis()
