"""The folder of one task of bulk certificates: what was asked for, and what came."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import ConfigError, UsageError
from agent.files import locked, make_folder, sync_folder, write_atomic
from agent.identity.bulk_archive import Pair, file_names

TASK, DEVICES, INDEX = "task.json", "devices", "devices.json"
_NEEDED = ("device", "certificateId", "certificate", "key")
SCRATCH, LOCK = ".fetch", ".lock"


@dataclass(frozen=True, slots=True)
class Task:
    """A task as its folder keeps it. `supplier` is empty for the default authority."""

    id: str
    url: str
    supplier: str
    quantity: int


class TaskFolder:
    """The folder of one task: `task.json`, and `devices/` once it was fetched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / TASK
        self.devices = folder / DEVICES

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Hold the folder, made with mode 0700, for a new task. Raises UsageError when it has one already, OSError."""
        make_folder(self.folder)
        with locked(self.folder / LOCK):
            if self._path.exists():
                remedy = "`agent certs bulk fetch` goes on with it; or name another --folder"
                raise UsageError("there is a task in this folder already", place=str(self._path), remedy=remedy)
            yield

    def keep(self, task: Task) -> None:
        told = {"task": task.id, "url": task.url, "supplier": task.supplier, "quantity": task.quantity}
        write_atomic(self._path, json.dumps(told).encode())

    def task(self) -> Task:
        """Raises UsageError without a task, ConfigError for one that cannot be read."""
        try:
            told = json.loads(self._path.read_bytes())
            return Task(str(told["task"]), str(told["url"]), str(told["supplier"]), int(told["quantity"]))
        except OSError:
            remedy = "`agent certs bulk create` makes one"
            raise UsageError("there is no task in this folder", place=str(self._path), remedy=remedy) from None
        except (ValueError, KeyError, TypeError) as error:
            remedy = "restore it, or create another task in another folder"
            raise ConfigError(f"it cannot be read: {error!r}", place=str(self._path), remedy=remedy) from None

    def lay_out(self, found: list[Pair]) -> list[dict[str, Any]]:
        """Write `devices/<device>.pem`, `.key` (both 0600) and their index, all of them or none. Raises OSError."""
        names, told = file_names(found), []
        made, old = self.folder / f".{DEVICES}.new", self.folder / f".{DEVICES}.old"
        self.sweep()
        made.mkdir(mode=0o700)
        for pair in found:
            write_atomic(made / f"{names[pair.id]}.pem", pair.certificate)
            write_atomic(made / f"{names[pair.id]}.key", pair.key)
            told.append(_told(pair, names[pair.id]))
        write_atomic(made / INDEX, json.dumps(told, indent=1).encode())
        if self.devices.exists():
            self.devices.replace(old)
        made.replace(self.devices)
        sync_folder(self.folder)
        self.sweep()
        return told

    def sweep(self) -> None:
        """Take away what a run that was killed has left: it holds keys."""
        for name in (SCRATCH, f".{DEVICES}.new", f".{DEVICES}.old"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def index(self) -> list[dict[str, Any]]:
        """What `lay_out` told. Raises UsageError before a fetch, ConfigError."""
        path, again = self.devices / INDEX, "`agent certs bulk fetch --again`"
        try:
            told = [dict(entry) for entry in json.loads(path.read_bytes())]
        except OSError:
            raise UsageError("nothing was fetched yet", place=str(path), remedy="`agent certs bulk fetch`") from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"it cannot be read: {error}", place=str(path), remedy=again) from None
        if not all(isinstance(entry.get(name), str) for entry in told for name in _NEEDED):
            raise ConfigError("an entry is not whole", place=str(path), remedy=again)
        return told


def _told(pair: Pair, name: str) -> dict[str, Any]:
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(pair.expires))
    return {
        "device": pair.device,
        "certificateId": pair.id,
        "fingerprint": pair.fingerprint,
        "named": pair.source,
        "expires": expires,
        "certificate": f"{name}.pem",
        "key": f"{name}.key",
    }
