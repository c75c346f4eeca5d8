"""Wheels of this checkout under other versions, whole or broken, and the service that starts the agent from its slots."""

import io
import subprocess
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


class Service:
    """What systemd does: starts the launcher again after a failure, and not after an orderly end. `starts` are exit codes so far."""

    def __init__(self, launch: Path, config: Path, log: Path) -> None:
        self._command = [str(launch), "run", "-c", str(config)]
        self._log = log
        self.ends: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Look after it: call again and again."""
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self.ends.append(code)
            self.process = None
            if code in (Exit.OK, Exit.CONFIG):
                return
        if not self.ends or self.ends[-1] not in (Exit.OK, Exit.CONFIG):
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(15)
