"""What the daemon keeps in its store, read by a command beside it or without it, and put there while it does not run."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from agent.errors import StorageError
from agent.hub_settings import TOKEN_SECONDS
from agent.store import NAME, Limits, prepare

T = TypeVar("T")
MAGIC = b"SQLite format 3\0"
DATABASE_ID = "database_id"  # key of meta: made with the database, so that it tells one installation from another

Row = tuple[str, str]


def token_bound(folder: Path) -> int:
    """The longest life of tokens that the cloud has set, in seconds; 0 for none. `folder`: the state folder. Raises StorageError."""
    return int(meta(folder).get(TOKEN_SECONDS) or 0)


def meta(folder: Path) -> dict[str, str]:
    """All of the table `meta`; empty where there is no store yet. Raises StorageError."""
    return dict(_read(folder / NAME, lambda db: db.execute("SELECT key, value FROM meta").fetchall()) or ())


def home(folder: Path) -> tuple[dict[str, str], list[Row], list[Row]]:
    """`meta`, the devices and their states, of one moment. Raises StorageError."""

    def read(database: sqlite3.Connection) -> tuple[dict[str, str], list[Row], list[Row]]:
        database.execute("BEGIN")
        tables = ("SELECT key, value FROM meta", "SELECT id, record FROM devices", "SELECT id, record FROM state")
        found, devices, state = (database.execute(sql).fetchall() for sql in tables)
        known = {name for name, _ in devices}
        return dict(found), devices, [row for row in state if row[0] in known]

    return _read(folder / NAME, read) or ({}, [], [])


def copy(path: Path) -> bytes:
    """A database as it is at one moment, whoever writes to it. Raises StorageError."""

    def read(database: sqlite3.Connection) -> bytes:
        with closing(sqlite3.connect(":memory:")) as whole:
            database.backup(whole)
            return whole.serialize()

    return _read(path, read) or b""


def replace(folder: Path, settings: Mapping[str, str], devices: Iterable[Row], state: Iterable[Row]) -> None:
    """Put other devices, states and settings in the place of those that are there, all or nothing. Raises StorageError.

    What waits for a cloud stays, and so do the ends of commands, which are not carried out twice. Not while the daemon runs.
    """
    path = folder / NAME
    with _trouble(path), closing(sqlite3.connect(path, isolation_level=None)) as database:
        path.chmod(0o600)
        prepare(database, path, Limits())
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM devices")
        database.execute("DELETE FROM state")
        database.executemany("INSERT INTO devices VALUES (?, ?)", devices)
        database.executemany("INSERT INTO state VALUES (?, ?)", state)
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", settings.items())
        database.execute("COMMIT")


def _read(path: Path, query: Callable[[sqlite3.Connection], T]) -> T | None:
    """Nothing is written, and the daemon is not waited for: WAL has readers beside it. None where there is no file."""
    if not path.exists():
        return None
    with _trouble(path), closing(sqlite3.connect(_uri(path), uri=True, isolation_level=None)) as database:
        return query(database)


def _uri(path: Path) -> str:
    return f"file:{quote(str(path))}?mode=ro"


@contextmanager
def _trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        remedy = "run it as the service's user; `agent run` says more of a damaged file"
        raise StorageError(f"the database cannot be read: {error}", place=str(path), remedy=remedy) from error
