"""What the daemon keeps in its store, read by a command beside it or without it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from agent.errors import StorageError
from agent.hub_settings import TOKEN_SECONDS
from agent.store import NAME


def token_bound(folder: Path) -> int:
    """The longest life of tokens that the cloud has set, in seconds; 0 for none. `folder`: the state folder. Raises StorageError."""
    return int(_meta(folder / NAME, TOKEN_SECONDS) or 0)


def _meta(path: Path, key: str) -> str:
    """A value of the table `meta`, "" where there is none. Nothing is written, and the daemon is not waited for: WAL has readers beside it."""
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    except sqlite3.Error as error:
        remedy = "run it as the service's user; `agent run` says more of a damaged file"
        raise StorageError(f"the database cannot be read: {error}", place=str(path), remedy=remedy) from error
    return str(row[0]) if row else ""
