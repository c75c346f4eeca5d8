"""Secrets that can be recognised, everywhere a hub keeps one, and eyes on every place where none may show."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import forked
import paho.mqtt.client as paho
from certificates import Authority
from paho.mqtt.enums import CallbackAPIVersion

from agent.wire.fleet_provisioning import CREATE_FROM_CSR, PROVISION

ROOT = Path(__file__).parent.parent.parent
PASSWORD, EST, PIN = "canary-mqtt-8f1d2a77", "canary-est-5b9e0c31", "918273645546"
API_KEY, VAULT, PASSPHRASE = "canary-nrf-api-key-77aa01", "canary-vault-token-c0ffee", "canary passphrase 42 long"
SEAL = base64.b64encode(b"canary seal, of thirty-two bytes and more").decode()
CONFIG = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "127.0.0.1"
port = {port}
ca = "{ca}"
[uplinks.other]
host = "127.0.0.1"
port = {plain}
tls = false
client_id = "other"
username = "hub"
password = "file:{folder}/password"
[identity]
store = "{store}"
seal = "file:{folder}/seal"
pin = "file:{folder}/pin"
source = "claim"
serial = "HUB-CANARY-001"
product_code = "829576019524"
template = "t"
claim_certificate = "{claim}"
claim_key = "{claim_key}"
est = "https://127.0.0.1:9"
est_username = "hub"
est_password = "file:{folder}/est"
[radios.zigbee]
kind = "zigbee"
port = "{folder}/stick"
radio = "ezsp"
[logging]
level = "debug"
"""
# `agent` with a trusted clock; a word before the arguments injects a bug that has every secret of the settings in its mouth.
AGENT = """
import resource, sys
from agent import cli, clock
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
clock.kernel_synchronised = lambda: True
if sys.argv[1] == "BUG":
    del sys.argv[1]
    from agent.uplinks import Uplinks
    def add(self, name, uplink):
        told, key = self._settings.identity, self._settings.identity.claim_key
        from threading import Thread
        def thread():
            raise RuntimeError(f"a thread with {told.pin.reveal()}")
        Thread(target=thread).start()
        raise RuntimeError(f"{self._settings!r} {uplink!r} {uplink.password.reveal()} {told.seal.reveal()} {told.pin.reveal()} "
                           f"{told.est_password.reveal()} {open(key).read()}")
    Uplinks.add = add
sys.exit(cli.main(sys.argv[1:]))
"""


class Canaries:
    """What must not be found, by name; in clear, as hex, in base64, in a URL, in a JSON text."""

    def __init__(self) -> None:
        self._spelt: dict[str, set[bytes]] = {}

    def add(self, name: str, text: str | bytes) -> None:
        raw = text.encode() if isinstance(text, str) else text
        spellings = {raw, raw.hex().encode(), raw.hex().upper().encode()}
        for offset in range(3):  # base64 of it inside of something longer
            inner = base64.b64encode(bytes(offset) + raw)[(0, 2, 3)[offset] :]
            spellings.add(inner[: len(inner) - 4])
        if isinstance(text, str):
            spellings |= {quote(text).encode(), json.dumps(text)[1:-1].encode(), repr(text)[1:-1].encode()}
        self._spelt[name] = {one for one in spellings if len(one) >= 10}

    def add_pem(self, name: str, pem: str) -> None:
        """A private key: each of its lines, and its bytes."""
        lines = [line for line in pem.splitlines() if line and "-----" not in line]
        self.add(name, base64.b64decode("".join(lines)))
        self._spelt[name] |= {line.encode() for line in lines[:-1]}

    def within(self, seen: bytes, *but: str) -> list[str]:
        return [name for name, spelt in self._spelt.items() if name not in but and any(one in seen for one in spelt)]


class Eyes:
    """Looks at command line and environment of every process that is started, again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.looks = 0
        self._before = set(Path("/proc").iterdir())  # they know no canary
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.is_set():
            self.looks += 1
            for process in set(Path("/proc").iterdir()) - self._before:
                if not process.name.isdigit():
                    continue
                for name in ("cmdline", "environ"):
                    try:
                        self.seen.add((process / name).read_bytes())
                    except OSError:
                        continue
            self._end.wait(0.05)

    def close(self) -> bytes:
        self._end.set()
        self._thread.join()
        return b"\n".join(self.seen)


class Cloud:
    """Signs what a claim asks for, and keeps every message that the broker has seen."""

    def __init__(self, port: int, authority: Authority) -> None:
        self.authority, self.messages, self.count = authority, [], 0
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="cloud")
        self.client.on_message = self._hear
        self._provision = PROVISION.format(template="t")
        listens = threading.Event()
        self.client.on_subscribe = lambda *_: listens.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe([("#", 1), (CREATE_FROM_CSR, 1), (self._provision, 1)])
        self.client.loop_start()
        assert listens.wait(10)

    messages: list[bytes]

    def _hear(self, client: Any, _userdata: Any, message: Any) -> None:
        self.messages.append(message.topic.encode() + b" " + message.payload)
        answer: dict[str, Any] = {}
        if message.topic == CREATE_FROM_CSR:
            request = json.loads(message.payload)["certificateSigningRequest"]
            self.count += 1
            pem = self.authority.sign_request(request, f"signed-{self.count}").read_text()
            answer = {"certificateId": "0" * 64, "certificatePem": pem, "certificateOwnershipToken": "t"}
        elif message.topic == self._provision:
            answer = {"thingName": "hub-canary"}
        if answer:
            client.publish(f"{message.topic}/accepted", json.dumps(answer), 1)

    def close(self) -> bytes:
        self.client.disconnect()
        self.client.loop_stop()
        return b"\n".join(self.messages)


class House:
    """The daemon and the command line, and all that they have ever said."""

    def __init__(self, folder: Path, ports: tuple[int, int], authority: Authority, store: str) -> None:
        self.folder, self.config, self.log = folder, folder / "agent.toml", folder / "agent.log"
        self.said: list[bytes] = []
        for name, text in (("password", PASSWORD), ("est", EST), ("pin", PIN), ("seal", SEAL)):
            self.secret(name, text)
        certificate, key = authority.issue("claim")
        self.claim_key = key.read_text()
        where = {"port": ports[0], "plain": ports[1], "ca": authority.ca, "claim": certificate, "claim_key": key}
        text = CONFIG.format(folder=folder, store=store, **where)
        self.config.write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        return path

    def run(self, *bug: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", AGENT, *bug, "run", "-c", str(self.config)]
            self.process = subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=log, stderr=log)
        return self.process

    def agent(self, *words: str | Path, heard: Callable[[bytes], bytes] = lambda out: out) -> tuple[int, bytes]:
        """Run to the end. `heard`: what of its output is to be searched. Its own words are the test's: only what it starts tells more."""
        command = [sys.executable, "-c", AGENT, *map(str, words), "-c", str(self.config)]
        done = forked.run(command, cwd=self.folder, env=self._environment, capture_output=True, timeout=60, check=False)
        self.said += [heard(done.stdout), done.stderr]
        return done.returncode, done.stdout + done.stderr

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def everything(self) -> bytes:
        return b"\n".join([*self.said, self.log.read_bytes()])

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
