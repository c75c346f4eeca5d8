"""zigpy's own network backups, kept among the radio's secrets: they hold the network key, and zigpy would write it into its database in clear.

zigpy takes such a backup when a network is formed, restored or read anew, and writes the newest to a stick that has lost its network.
"""

import json
import logging
from collections.abc import Iterable
from typing import Any

import zigpy.backups

from agent.errors import HubError
from agent.secret_store import Secrets, SecretTroubleError

log = logging.getLogger(__name__)

NAME = "zigpy-networks"


class Networks:
    """The backups as zigpy has them, oldest first, in one secret."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._kept: list[Any] = []

    def load(self) -> list[Any]:
        """What was kept. Raises SecretTroubleError, and what `Secrets.get` does."""
        held = self._secrets.get(NAME)
        self._kept = _parse(held or b"[]")
        return list(self._kept)

    def adopt(self, documents: Iterable[str]) -> list[Any]:
        """Take over what zigpy's database held, each a JSON object; returns all. Raises as `load`, and what `Secrets.put` does."""
        found = _parse(f"[{','.join(documents)}]".encode())
        every = {
            backup.backup_time: backup for backup in (*found, *self._kept)
        }  # the same rows are in tables of several versions
        self._kept = [every[time] for time in sorted(every)]
        self._save()
        return list(self._kept)

    def created(self, backup: Any) -> None:
        """A new one. A store that fails now is told, and does not stop the radio: the network itself is in the stick."""
        self._kept.append(backup)
        try:
            self._save()
        except HubError as error:
            log.warning("the network backup is not kept: %s", error.advice)

    def removed(self, backup: Any) -> None:
        """A newer one takes its place, and `created` follows."""
        self._kept = [kept for kept in self._kept if kept.backup_time != backup.backup_time]

    def _save(self) -> None:
        self._secrets.put(NAME, json.dumps([backup.as_dict() for backup in self._kept]).encode())


def _parse(document: bytes) -> list[Any]:
    try:
        return [zigpy.backups.NetworkBackup.from_dict(one) for one in json.loads(document)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = (
            "restore a backup of the state folder; or delete this secret, and the stick keeps the network that it has"
        )
        raise SecretTroubleError(f"the network backups are damaged: {error!r}", place=NAME, remedy=remedy) from None


async def tables(database: Any) -> list[str]:
    """Those tables of zigpy's database, of all its versions, in which there are backups. Raises sqlite3.Error."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'network\\_backups%' ESCAPE '\\'"
    async with database.execute(query) as cursor:
        names = [str(row[0]) async for row in cursor]
    found = []
    for name in names:
        async with database.execute(f'SELECT count(*) FROM "{name}"') as cursor:  # noqa: S608  a name of the database's own
            if [row[0] async for row in cursor] != [0]:
                found.append(name)
    return found


async def documents(database: Any, names: list[str]) -> list[str]:
    """The backups in these tables, as JSON. Raises sqlite3.Error."""
    found: list[str] = []
    for name in names:
        async with database.execute(f'SELECT backup_json FROM "{name}"') as cursor:  # noqa: S608  as above
            found += [str(row[0]) async for row in cursor]
    return found


async def erase(database: Any, names: list[str]) -> None:
    """Delete the rows, and what they have left in free pages and in the log. Raises sqlite3.Error."""
    await database.execute("PRAGMA secure_delete = on")
    for name in names:
        await database.execute(f'DELETE FROM "{name}"')  # noqa: S608  as above
    await database.commit()
    await database.execute("VACUUM")
    await database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
