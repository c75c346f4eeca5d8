"""Wheels of this checkout under other versions, whole or broken, and the service that starts the agent from its slots."""

import io
import os
import socket
import subprocess
import time
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from agent.errors import Exit

ROOT = Path(__file__).parent.parent


def wheel(version: str, replaced: Mapping[str, str] | None = None) -> bytes:
    """The agent as version `version`; `replaced`: path -> text of files that differ."""
    made = io.BytesIO()
    about = f"hub_agent-{version}.dist-info"
    points = distribution("hub-agent").read_text("entry_points.txt") or ""
    files = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for top in ("agent", "drivers")
        for path in sorted((ROOT / top).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files |= {name: text.encode() for name, text in (replaced or {}).items()}
    files[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: hub-agent\nVersion: {version}\n".encode()
    files[f"{about}/entry_points.txt"] = points.encode()
    files[f"{about}/RECORD"] = b""
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


class Manager:
    """The service manager's end of $NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.address)
        self.heard: list[str] = []
        self.meals: list[float] = []

    def fed(self) -> int:
        """How often the watchdog has been fed so far."""
        try:
            while True:
                self.heard.append(self._socket.recv(4096).decode())
                if "WATCHDOG=1" in self.heard[-1]:
                    self.meals.append(time.monotonic())
        except BlockingIOError:
            return len(self.meals)

    def close(self) -> None:
        self._socket.close()


class Service:
    """What systemd does: starts the launcher again after a failure, and not after an orderly end. `ends` are exit codes so far.

    With `watchdog` (seconds) it kills a process that has fed its watchdog, and does so no more.
    """

    def __init__(self, launch: Path, config: Path, log: Path, watchdog: float = 0.0) -> None:
        self._command = [str(launch), "run", "-c", str(config)]
        self._log, self._watchdog = log, watchdog
        self._manager = Manager(log.parent) if watchdog else None
        self._fed, self._meal = 0, 0.0  # in this life: 0 before the first
        self.ends: list[int] = []
        self.starved = 0
        self.process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Look after it: call again and again."""
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                self._watch(self.process)
                return
            self.ends.append(code)
            self.process = None
            if code in (Exit.OK, Exit.CONFIG):
                return
        if not self.ends or self.ends[-1] not in (Exit.OK, Exit.CONFIG):
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment())

    def _environment(self) -> dict[str, str]:
        if self._manager is None:
            return dict(os.environ)
        self._fed, self._meal = self._manager.fed(), 0.0
        told = {"NOTIFY_SOCKET": self._manager.address, "WATCHDOG_USEC": f"{self._watchdog * 1e6:.0f}"}
        return {**os.environ, **told}

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        if self._manager is None:
            return
        if (fed := self._manager.fed()) > self._fed:
            self._fed, self._meal = fed, time.monotonic()
        elif self._meal and time.monotonic() - self._meal > self._watchdog:
            process.kill()
            process.wait()
            self.starved += 1

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        if self._manager is not None:
            self._manager.close()
