"""Slots with small builds of an agent that say who they are, and the launcher that starts them."""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ota_rig import agent, file

from agent.ota import launcher
from agent.ota.appliers.contract import Image
from agent.ota.appliers.slots import Slots, prepare
from agent.ota.manifest import Component

SAYS = 'import os\nprint("{version}", os.environ["HUB_AGENT_SLOT"])\n'
CRASHES = 'raise ImportError("no such thing")\n'


def tree(version: str, text: str = SAYS, more: Mapping[str, bytes] | None = None, *, compressed: bool = True) -> bytes:
    """A tar of a build."""
    return tar_of(
        {"agent/__init__.py": b"", "agent/cli.py": text.format(version=version).encode(), **(more or {})},
        compressed=compressed,
    )


def tar_of(files: Mapping[str, bytes], *, compressed: bool = True) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz" if compressed else "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def wheel(version: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("agent/__init__.py", "")
        archive.writestr("agent/cli.py", SAYS.format(version=version))
    return made.getvalue()


def component(version: str, *images: tuple[str, bytes]) -> Component:
    return Component.model_validate(agent(version, files=[file(name, content) for name, content in images]))


def opened(*images: tuple[str, bytes]) -> list[Image]:
    return [
        Image(name, io.BytesIO(content), len(content), hashlib.sha256(content).hexdigest()) for name, content in images
    ]


class Board:
    """A hub's slots; `start` does what the service does, and names what ran."""

    def __init__(self, folder: Path) -> None:
        site = folder / "installed"
        (site / "agent").mkdir(parents=True)
        (site / "agent" / "__init__.py").touch()
        (site / "agent" / "cli.py").write_text(SAYS.format(version="1.0"))
        self.folder = folder / "slots"
        self.launch = prepare(self.folder, site, "1.0")
        self.running = "A"

    def start(self) -> str:
        """What the service's start comes to, by the launcher's own choice: "<version> <slot>", or "" for a build that fails."""
        slot = launcher.selected(self.folder)
        text = (self.folder / slot / "site" / "agent" / "cli.py").read_text()
        if text == CRASHES:
            return ""
        self.running = slot
        return f"{text.split(chr(34))[1]} {slot}"

    def really_start(self, command: str = "run") -> str:
        """The same with the launcher as a process, which becomes the build."""
        done = subprocess.run([self.launch, command], capture_output=True, text=True, check=False, timeout=20)
        said = done.stdout.strip()
        if said:
            self.running = said.split()[1]
        return said

    @property
    def slots(self) -> Slots:
        """The applier of the process that was started last."""
        return Slots(self.folder, self.running)
