"""An image that an applier keeps on this hub's disk until it has gone where it belongs. For worker threads; raises StorageError."""

import hashlib
import os
from pathlib import Path

from agent.files import disk_trouble, sync_folder
from agent.ota.appliers.contract import ApplierError, Image, Progress
from agent.ota.manifest import Component

BLOCK = 1 << 16


def keep(path: Path, image: Image, progress: Progress) -> None:
    """Whole or not at all."""
    with disk_trouble():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new, done = path.with_name("new"), 0
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            while block := image.file.read(BLOCK):
                file.write(block)
                done += len(block)
                progress(done)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(path.parent)


def whole(path: Path, component: Component) -> bool:
    """Whether it is there as it was signed."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == component.files[0].sha256
    except OSError:
        return False


def one_file(component: Component) -> None:
    """Raises ApplierError for a component of several."""
    if len(component.files) != 1:
        text = f"{component.name} has {len(component.files)} files, and one is taken"
        raise ApplierError("bad-image", text, remedy="sign a component for each image")
