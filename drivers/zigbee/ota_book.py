"""Which firmware each device has told of, and which update is half way: the file firmware.json of a radio's state folder.

A file of its own, as an agent that is older than it must still be able to read nodes.json after a roll-back. What it holds can be asked
again: a damaged one is begun anew.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.files import write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """What a device says of itself in Query Next Image Request (ZCL 8, 11.13.4). `loading`: the version that it has begun to load."""

    manufacturer: int
    image_type: int
    version: int
    hardware: int | None = None
    loading: int | None = None


class FirmwareBook:
    """By EUI64."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._devices = _read(path)

    def get(self, key: str) -> Known | None:
        return self._devices.get(key)

    def put(self, key: str, known: Known) -> None:
        """What was told."""
        before = self._devices.get(key)
        if known.hardware is None and before is not None:
            known = replace(known, hardware=before.hardware)  # only the query has it, and only of some devices
        self._keep(key, known)

    def loads(self, key: str, version: int | None) -> None:
        """An update has begun, or None: it is over."""
        before = self._devices.get(key)
        if before is not None:
            self._keep(key, replace(before, loading=version))

    def forget(self, key: str) -> None:
        if self._devices.pop(key, None) is not None:
            self._save()

    def _keep(self, key: str, known: Known) -> None:
        if self._devices.get(key) != known:
            self._devices[key] = known
            self._save()

    def _save(self) -> None:
        """Without it the device is asked again after the next start, which is no reason to stop now."""
        content = {key: asdict(known) for key, known in sorted(self._devices.items())}
        try:
            write_atomic(self._path, json.dumps(content, indent=1).encode())
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)


def _read(path: Path) -> dict[str, Known]:
    try:
        content: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        return {key: Known(**values) for key, values in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read, so every device is asked again: %s", path, error)
        return {}
