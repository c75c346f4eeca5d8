"""The database's schema: numbered SQL files, forward only, each in one transaction.

A file that only adds tables begins with ADDS and says IF NOT EXISTS: it runs at every start and raises no version, so that the agent before
it, which runs again when an update is taken back, still opens the database.
"""

import sqlite3
from importlib import resources
from pathlib import Path

from agent.errors import StorageError

ADDS = "-- Adds"


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Run the schema files that this database has not seen. Raises StorageError when it is newer than this agent."""
    scripts = sorted(
        (int(file.name.split("_")[0]), file)
        for file in resources.files("agent.schema").iterdir()
        if file.name.endswith(".sql")
    )
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > scripts[-1][0]:
        text = f"the database has schema {found}, this agent knows up to {scripts[-1][0]}"
        raise StorageError(text, place=str(path), remedy="start the newer agent that wrote it, or move the file away")
    for number, file in scripts:
        script = file.read_text(encoding="utf-8")
        if script.startswith(ADDS):
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")
        elif number > found:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
