"""What the stand-in cloud remembers: JSON records of named kinds in one SQLite file. Pages and look-ups take the same time at any size."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id));
CREATE INDEX IF NOT EXISTS record_kind ON record (kind, seq);
"""


class Records:
    """Records by kind and id, in the order of their making. `indexed` are the members that `page` and `find` may filter by."""

    def __init__(self, path: Path | None, indexed: tuple[str, ...]) -> None:
        if path:
            path.touch(mode=0o600)  # answers that are kept for their ClientToken may hold a claim's key
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(
            "PRAGMA synchronous=NORMAL"
        )  # it stands in for a cloud: a crash of the process loses nothing
        self._database.executescript(_SCHEMA)
        for member in indexed:
            column = f"kind, json_extract(body, '$.{member}'), seq"
            self._database.execute(f"CREATE INDEX IF NOT EXISTS record_{member} ON record ({column})")
        self._indexed = frozenset(indexed)
        self._depth = 0
        self._changes: dict[str, int] = {}

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; may be nested."""
        if self._depth == 0:
            self._database.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                self._database.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            self._database.execute("COMMIT")

    def put(self, kind: str, identifier: str, body: Mapping[str, Any]) -> None:
        """Make or replace; a replaced record keeps its place in the order."""
        self._changed(kind)
        text = json.dumps(body, separators=(",", ":"))
        self._database.execute(
            "INSERT INTO record (kind, id, body) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, identifier, text),
        )

    def get(self, kind: str, identifier: str) -> Record | None:
        row = self._database.execute("SELECT body FROM record WHERE kind = ? AND id = ?", (kind, identifier)).fetchone()
        return None if row is None else json.loads(row[0])

    def delete(self, kind: str, identifier: str) -> bool:
        """False when there was none."""
        self._changed(kind)
        done = self._database.execute("DELETE FROM record WHERE kind = ? AND id = ?", (kind, identifier))
        return done.rowcount > 0

    def page(self, kind: str, limit: int, after: int = 0, **where: Any) -> tuple[list[Record], int]:
        """Up to `limit` records after place `after`, and the place of the last one when there may be more, else 0."""
        unknown = where.keys() - self._indexed
        if unknown:
            raise KeyError(f"no index for {sorted(unknown)}")
        conditions = "".join(f" AND json_extract(body, '$.{member}') = ?" for member in where)
        rows = self._database.execute(
            f"SELECT seq, body FROM record WHERE kind = ?{conditions} AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608  members are ours
            (kind, *where.values(), after, limit + 1),
        ).fetchall()
        more = rows[limit - 1][0] if len(rows) > limit else 0
        return [json.loads(body) for _, body in rows[:limit]], more

    def all(self, kind: str, **where: Any) -> Iterator[Record]:
        """Every record of a kind, a page at a time."""
        after = 0
        while True:
            found, after = self.page(kind, 500, after, **where)
            yield from found
            if not after:
                return

    def find(self, kind: str, **where: Any) -> Record | None:
        """The oldest record with these members."""
        found, _ = self.page(kind, 1, **where)
        return found[0] if found else None

    def changes(self, kind: str) -> int:
        """A number that is another one once records of this kind may have changed."""
        return self._changes.get(kind, 0)

    def _changed(self, kind: str) -> None:
        self._changes[kind] = self._changes.get(kind, 0) + 1

    def count(self, kind: str) -> int:
        return int(self._database.execute("SELECT count(*) FROM record WHERE kind = ?", (kind,)).fetchone()[0])
