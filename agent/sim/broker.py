"""The stand-in's broker: mosquitto on loopback, for the gate and the stand-in alone, who share its password."""

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from agent.errors import ConfigError, HubError
from agent.files import write_atomic
from agent.sim.gate.session import Upstream

LOOPBACK = "127.0.0.1"
STARTUP = 10.0  # seconds
PORTS = 3  # that are tried: another may have taken one since the kernel offered it
TAKEN, RUNNING = "Address already in use", b" running"  # its words
MASTER = "stand-in-cloud"

_CONFIG = """\
persistence true
persistence_location {folder}/
autosave_interval 5
{user}
listener {port} 127.0.0.1
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
max_packet_size 149504
max_topic_alias 0
allow_anonymous false
password_file {folder}/passwords
"""


class Mosquitto:
    """A mosquitto process with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.upstream = Upstream(LOOPBACK, free_port(), MASTER, os.urandom(18).hex())
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Write the files, start, and wait until it listens. Raises HubError with its log, ConfigError when it is not installed."""
        binary = installed()
        if binary is None:
            remedy = "apt-get install mosquitto, or use --broker embedded"
            raise ConfigError("there is no mosquitto on this machine", remedy=remedy)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for _ in range(PORTS):
            said = await self._started(binary)
            if TAKEN not in said:
                break
            self.upstream = replace(self.upstream, port=free_port())
        if said:
            raise HubError(f"mosquitto did not start: {said}", place=str(self._folder))

    async def _started(self, binary: str) -> str:
        """What it said when it ended instead, or was too slow; "" once it listens."""
        self._write()
        path = self._folder / "mosquitto.log"
        with path.open("ab") as log:
            begin = log.tell()
            command = _command(binary, self._folder / "mosquitto.conf")
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603, ASYNC220  found on PATH; a fork is short
            self._process = process
        end = time.monotonic() + STARTUP
        while RUNNING not in (said := path.read_bytes()[begin:]):  # who listens at the port may be somebody else
            if process.poll() is not None or time.monotonic() > end:
                await self.stop()
                return said.decode(errors="replace")[-500:] or "it said nothing"
            await asyncio.sleep(0.02)
        return ""

    def _write(self) -> None:
        folder = self._folder
        write_atomic(folder / "passwords", f"{self.upstream.user}:{self.upstream.password}\n".encode())
        tool = shutil.which("mosquitto_passwd", path=f"{os.environ.get('PATH', '')}:/usr/bin") or "mosquitto_passwd"
        subprocess.run([tool, "-U", folder / "passwords"], check=True, capture_output=True)  # noqa: S603  hashes the file in place
        user = f"user {pwd.getpwuid(os.getuid()).pw_name}"  # it would drop to its own, who cannot read the files
        text = _CONFIG.format(folder=folder, port=self.upstream.port, user=user)
        write_atomic(folder / "mosquitto.conf", text.encode())

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.get_running_loop().run_in_executor(None, process.wait)


def installed() -> str | None:
    """Where mosquitto is; Debian's is not on everybody's PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _command(binary: str, config: Path) -> list[str]:
    """It ends with us, also when we are killed: nobody else knows its password. Without util-linux's setpriv it lives on then."""
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), binary, "-c", str(config)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
