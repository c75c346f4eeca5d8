"""Key stores of every kind on one machine: SoftHSM as the token, swtpm behind tpm2-abrmd as the TPM, a made seal."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.settings import Secret, Settings
from agent.settings.model import HubSettings, IdentitySettings

STORES = ("file", "sealed", "pkcs11", "tpm")
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
SEAL = "c2VhbCBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVzIG9yIG1vcmU="
PIN, SO_PIN, TOKEN = "271828", "31415926", "hub"
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(10)


class SoftTpm:
    """A TPM of its own in `folder`: swtpm. `direct` is its TCTI without a resource manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "tpm"
        self.direct = f"swtpm:path={self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        state = self.folder / "state"
        state.mkdir(parents=True, exist_ok=True)
        for path in (self.socket, Path(f"{self.socket}.ctrl")):
            path.unlink(missing_ok=True)
        served = f"type=unixio,path={self.socket}"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear"]
        with (self.folder / "swtpm.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--server", served, "--ctrl", f"{served}.ctrl"], stdout=log, stderr=log
            )
        wait_for(lambda: Path(f"{self.socket}.ctrl").exists() and self.socket.exists(), "swtpm has not started")

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None

    def tool(self, *command: str, flush: bool = True) -> "subprocess.CompletedProcess[bytes]":
        """A command of tpm2-tools; what it loads stays in the TPM unless it is flushed."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.direct}
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, check=False)
        if flush:
            subprocess.run(["tpm2_flushcontext", "-t"], env=environment, capture_output=True, check=False)
        return done

    def lock(self) -> None:
        """One wrong password for a key that counts them, with a limit of one: the TPM locks for a while."""
        self.tool("tpm2_dictionarylockout", "-s", "-n", "1", "-t", "1000", "-l", "1000")
        self.tool("tpm2_createprimary", "-Q", "-C", "o", "-c", "primary")
        self.tool("tpm2_create", "-Q", "-C", "primary", "-p", "right", "-u", "public", "-r", "private", "-G", "ecc")
        self.tool("tpm2_load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key")
        (self.folder / "data").write_bytes(b"x")
        self.tool("tpm2_sign", "-Q", "-c", "key", "-p", "wrong", "-o", "signature", "data")
        assert b"inLockout:                 1" in self.tool("tpm2_getcap", "properties-variable").stdout


@contextmanager
def managed_tpm(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A TPM behind tpm2-abrmd on a bus of its own: its TCTI, and the environment that finds the bus."""
    tpm, bus = SoftTpm(folder), folder / "bus"
    tpm.folder.mkdir(parents=True, exist_ok=True)
    (folder / "bus.conf").write_text(BUS.format(path=bus))
    environment = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"}
    with ExitStack() as stack:
        tpm.start()
        stack.callback(tpm.stop)
        log = stack.enter_context((folder / "manager.log").open("ab"))
        daemon = ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nosyslog"]
        stack.callback(end, subprocess.Popen(daemon, stdout=log, stderr=log))
        wait_for(lambda: bus.exists() and answers(bus), "dbus-daemon has not started")
        manager = ["tpm2-abrmd", "--session", "--allow-root", "--tcti", tpm.direct]
        program = shutil.which("tpm2-abrmd") or "/usr/sbin/tpm2-abrmd"
        served = subprocess.Popen([program, *manager[1:]], env={**os.environ, **environment}, stdout=log, stderr=log)
        stack.callback(end, served)
        ask = ["dbus-send", f"--bus=unix:path={bus}", "--print-reply", "--dest=org.freedesktop.DBus", "/"]
        ask += ["org.freedesktop.DBus.NameHasOwner", "string:com.intel.tss2.Tabrmd"]
        wait_for(
            lambda: b"true" in subprocess.run(ask, capture_output=True, check=False).stdout,
            "tpm2-abrmd has not started",
        )
        yield "tabrmd:bus_type=session", environment


def soft_token(folder: Path, *labels: str) -> dict[str, str]:
    """SoftHSM with tokens of these labels in `folder`: the environment that finds it. The library reads it when it is first loaded."""
    (folder / "tokens").mkdir(parents=True)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(config)}
    for label in labels:
        make_token(label, environment)
    return environment


def make_token(label: str, environment: dict[str, str]) -> None:
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN]
    subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)


@dataclass
class Place:
    """One store: its settings, and the environment of a process that uses it."""

    store: str
    state: Path
    told: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def settings(self, **other: Any) -> Settings:
        told = {"store": self.store, **self.told, **other}
        return Settings(hub=HubSettings(state_dir=self.state), identity=IdentitySettings(**told))

    def config(self, folder: Path) -> str:
        """The same for a file: secrets stand in files of their own."""
        lines = [f'store = "{self.store}"']
        for name, value in self.told.items():
            text = value
            if isinstance(value, Secret):
                path = folder / f"{name}.secret"
                path.touch(mode=0o600)
                path.write_text(value.reveal())
                text = f"file:{path}"
            lines.append(f'{name} = "{text}"')
        return "[identity]\n" + "\n".join(lines) + "\n"

    def files(self) -> list[Path]:
        """What is below the state folder."""
        return sorted(path for path in self.state.rglob("*") if path.is_file())

    def run(self, code: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Python code in a process of its own."""
        root = Path(__file__).parent.parent
        found = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}", **self.environment, **environment}
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=found, capture_output=True, text=True, timeout=90, check=False)


@contextmanager
def places(folder: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """What the settings and the environment of each store are; their devices run until the end."""
    with managed_tpm(folder / "tpm") as (tcti, bus):
        token = soft_token(folder / "softhsm", TOKEN, "other")
        yield {
            "file": {},
            "sealed": {"told": {"seal": Secret(SEAL)}},
            "pkcs11": {
                "told": {"pkcs11_module": str(SOFTHSM), "pkcs11_token": TOKEN, "pin": Secret(PIN)},
                "environment": token,
            },
            "tpm": {"told": {"tpm_tcti": tcti}, "environment": bus},
        }
