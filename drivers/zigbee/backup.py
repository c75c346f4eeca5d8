"""Network backups in the open coordinator format, before the network changes and on demand.

Each is one of the radio's secrets, since the network key is in it; the newest `backups` are kept. `agent backup` gives one out, readable by
zigpy, Zigbee2MQTT and others.
"""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zigpy.backups

from agent.driver import DriverError, InvalidParameters
from agent.errors import HubError
from agent.secret_store import Secrets
from drivers.zigbee.radio import Link
from drivers.zigbee.requests import Requests

log = logging.getLogger(__name__)

READ_TIMEOUT = 60.0  # seconds; a full key table on a slow stick is a few hundred requests
RESTORE_TIMEOUT = 120.0
PREFIX = "network-"
FRESH = 60.0  # seconds for which a backup is as good as new: several changes in a row need only one


class Backups:
    """The backups of one link. `now` is monotonic seconds, `wall` seconds since 1970."""

    def __init__(self, link: Link, requests: Requests, secrets: Secrets, keep: int) -> None:
        self._link = link
        self._requests = requests
        self._secrets = secrets
        self._keep = keep
        self._last = float("-inf")

    async def take(self, now: float, wall: float) -> bytes:
        """Read the network from the stick, keep it, return it. Raises DriverError."""
        manager = self._link.app.backups
        backup = await self._requests.ask(lambda: manager.create_backup(load_devices=True), limit=READ_TIMEOUT)
        document = json.dumps(backup.as_open_coordinator_json(), indent=2).encode()
        self._store(document, wall)
        self._last = now
        return document

    async def before_change(self, now: float, wall: float) -> None:
        """A backup before the network changes; a failure is told and does not stop the change."""
        if now - self._last < FRESH:
            return
        try:
            await self.take(now, wall)
        except DriverError as error:
            log.warning("no backup before the change of the network: %s", error)

    async def restore(self, document: bytes) -> None:
        """Write a backup to the stick. Raises InvalidParameters for a document that is none, DriverError for the rest."""
        backup = parse(document)
        # The frame counter goes ahead of what devices have seen, or they would drop every frame as a replay.
        await self._requests.ask(
            lambda: self._link.app.backups.restore_backup(backup, counter_increment=10_000),
            limit=RESTORE_TIMEOUT,
            repeatable=False,
        )

    def _store(self, document: bytes, wall: float) -> None:
        stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%S%fZ")
        try:
            self._secrets.put(f"{PREFIX}{stamp}", document)
            kept = [name for name in self._secrets.names() if name.startswith(PREFIX)]
            for old in kept[: -self._keep]:
                self._secrets.delete(old)
        except HubError as error:
            raise DriverError(f"the backup cannot be kept: {error}", remedy=error.remedy) from error


def move_in(folder: Path, secrets: Secrets) -> None:
    """Take over the backups that an older version has left in clear in `folder`; what cannot be moved is told and stays."""
    try:
        for path in sorted(folder.glob("network-*.json")):
            secrets.put(path.stem, path.read_bytes())
            path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    except (OSError, HubError) as error:
        log.warning("network backups stay in clear in %s: %s", folder, error)


def parse(document: bytes) -> Any:
    """A complete network backup. Raises InvalidParameters."""
    try:
        content = json.loads(document)
        backup = zigpy.backups.NetworkBackup.from_dict(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidParameters(f"not a network backup in the open coordinator format: {error!r}") from error
    if not backup.is_complete():
        raise InvalidParameters("the network backup is incomplete: it lacks keys or addresses")
    return backup
