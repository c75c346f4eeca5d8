"""The stand-in's broker: mosquitto on loopback, with TLS and client certificates for devices, and a password for the stand-in itself.

A device may use its own topics only: the access list is written from the certificates that are active, by their common name.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from agent.errors import ConfigError, HubError
from agent.files import write_atomic
from agent.sim.authority import Authority

LOOPBACK = "127.0.0.1"
STARTUP = 10.0  # seconds
MASTER = "stand-in-cloud"  # the broker's user name of the stand-in itself

_TOPICS = (
    "topic write north/{thing}/#",
    "topic read south/{thing}/#",
    "topic readwrite $aws/things/{thing}/#",
)
_CLAIM = (
    "topic readwrite $aws/certificates/create/#",
    "topic readwrite $aws/certificates/create-from-csr/#",
    "topic readwrite $aws/provisioning-templates/{thing}/provision/#",
)
_CONFIG = """\
per_listener_settings true
persistence true
persistence_location {folder}/
autosave_interval 5
{user}
listener {port} 127.0.0.1
max_packet_size 149504
cafile {folder}/devices-ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
acl_file {folder}/acl
listener {inner} 127.0.0.1
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl
"""


class Mosquitto:
    """A mosquitto process with its files in `folder`. `port` is for devices (mTLS), `inner` for the stand-in (password)."""

    def __init__(self, folder: Path, authority: Authority, *, port: int = 0) -> None:
        self._folder = folder
        self._authority = authority
        self.port, self.inner = port or _free_port(), _free_port()
        self.password = os.urandom(18).hex()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Write the files, start, and wait until it listens. Raises HubError with its log, ConfigError when it is not installed."""
        binary = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if binary is None:
            remedy = "apt-get install mosquitto, or name a broker of yours with --mqtt HOST:PORT"
            raise ConfigError("there is no mosquitto on this machine", remedy=remedy)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write()
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([binary, "-c", self._folder / "mosquitto.conf"], stdout=log, stderr=log)  # noqa: S603, ASYNC220  found on PATH; a fork is short
        end = time.monotonic() + STARTUP
        while not (_listens(self.port) and _listens(self.inner)):
            if self._process.poll() is not None or time.monotonic() > end:
                await self.stop()
                tail = (self._folder / "mosquitto.log").read_text(encoding="utf-8", errors="replace")[-500:]
                raise HubError(f"mosquitto did not start: {tail}", place=str(self._folder))
            await asyncio.sleep(0.02)

    def _write(self) -> None:
        folder = self._folder
        certificate, key = self._authority.issue_with_key("localhost", hosts=("localhost", LOOPBACK))
        write_atomic(folder / "server.pem", certificate.encode())
        write_atomic(folder / "server.key", key.encode())
        write_atomic(folder / "devices-ca.pem", self._authority.certificate_path.read_bytes())
        if not (folder / "acl").exists():
            self.allow({}, {})
        write_atomic(folder / "passwords", f"{MASTER}:{self.password}\n".encode())
        tool = shutil.which("mosquitto_passwd", path=f"{os.environ.get('PATH', '')}:/usr/bin") or "mosquitto_passwd"
        subprocess.run([tool, "-U", folder / "passwords"], check=True, capture_output=True)  # noqa: S603  hashes the file in place
        user = f"user {pwd.getpwuid(os.getuid()).pw_name}"  # it would drop to its own, who cannot read the keys
        text = _CONFIG.format(folder=folder, port=self.port, inner=self.inner, user=user)
        write_atomic(folder / "mosquitto.conf", text.encode())

    def allow(self, devices: Mapping[str, str], claims: Mapping[str, str]) -> None:
        """The active certificates: common name to thing, and common name of a claim certificate to profile name."""
        lines = [f"user {MASTER}", "topic readwrite #", "topic readwrite $aws/#"]
        for table, rules in ((devices, _TOPICS), (claims, _CLAIM)):
            for name, thing in table.items():
                lines += [f"user {name}", *(rule.format(thing=thing) for rule in rules)]
        write_atomic(self._folder / "acl", "\n".join([*lines, ""]).encode())
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.get_running_loop().run_in_executor(None, process.wait)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
