"""Log lines for the cloud: kept in a small local store of JSON-lines files, uploaded from time to time, durable once flushed.

Members, defaults and limits: AWS IoT managed integrations, "Hub logging" and RuntimeLogConfigurations of its API. Lines are redacted like
every log line. The store is always below the hub's own state folder: a cloud does not choose where a hub writes.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent.files import make_folder, sync_folder
from agent.log import exclusive
from agent.log_format import json_line, line
from agent.requests import ApplyLogs
from agent.supervise import Supervisor

ACTIVE = "hub.log"
LARGEST, SMALLEST = 120_000, 4096  # bytes of a file: it travels as one message of at most 128 KiB
FILES = 8
BUFFER = 8192  # bytes
_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING, "ERROR": logging.ERROR}
_NEVER = logging.CRITICAL + 1


@dataclass(frozen=True, slots=True)
class LogWishes:
    """RuntimeLogConfigurations as numbers; what is not given has the documented default."""

    level: int = logging.WARNING
    flush_level: int = _NEVER
    files: int = FILES
    bytes: int = LARGEST
    upload: bool = False
    period: float = 300.0  # seconds
    delete: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "LogWishes":
        return cls(
            level=_LEVELS[given.get("LogLevel", "WARN")],
            flush_level=_LEVELS.get(given.get("LogFlushLevel", ""), _NEVER),
            files=given.get("LocalStoreFileRotationMaxFiles", FILES),
            bytes=min(max(given.get("LocalStoreFileRotationMaxBytes", LARGEST), SMALLEST), LARGEST),
            upload=given.get("UploadLog", False),
            period=60.0 * given.get("UploadPeriodMinutes", 5),
            delete=given.get("DeleteLocalStoreAfterUpload", True),
        )


class UploadedLogs:
    """Applies wishes: one store at a time, flushed and, if wished, uploaded once in each period."""

    def __init__(
        self,
        folder: Path,
        attach: Callable[[logging.Handler], Callable[[], None]],
        send: Callable[[list[Any], Callable[[], None]], None],
        supervisor: Supervisor,
    ) -> None:
        self._folder, self._attach, self._send, self._supervisor = folder, attach, send, supervisor
        self._current: RuntimeLogs | None = None
        self._wishes = LogWishes()

    def apply(self, effect: ApplyLogs) -> None:
        """From now on as wished; an empty wish ends the store. What an uploading store holds is uploaded first."""
        if self._current is not None:
            if self._wishes.upload:
                self._current.upload()
            self._current.close()
            self._current = None
        if effect.wishes:
            self._wishes = LogWishes.of(effect.wishes)
            self._current = RuntimeLogs(self._folder, self._wishes, self._send)
            self._current.detach = self._attach(self._current)
            self._supervisor.spawn("runtime logs", self._look_after(self._current))

    async def _look_after(self, store: "RuntimeLogs") -> None:
        while store is self._current:
            await asyncio.sleep(self._wishes.period)
            if store is self._current and self._wishes.upload:
                store.upload()
            elif store is self._current:
                store.flush()


class RuntimeLogs(logging.Handler):
    """The store in `folder`. `send(lines, done)` has lines brought to the cloud and calls `done` once they are durable."""

    def __init__(self, folder: Path, wishes: LogWishes, send: Callable[[list[Any], Callable[[], None]], None]) -> None:
        super().__init__(wishes.level)
        make_folder(folder)
        self._folder, self._wishes, self._send = folder, wishes, send
        self._buffer = ""
        self.lost = 0
        self.detach: Callable[[], None] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._buffer += json_line(line(record))
        except Exception:  # noqa: BLE001  a log line never stops the hub, whatever its arguments do when they are shown
            self.lost += 1
        if record.levelno >= self._wishes.flush_level or len(self._buffer) > BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what is held back; a disk that takes nothing costs these lines only."""
        with exclusive(self):
            text, self._buffer = self._buffer, ""
            active = self._folder / ACTIVE
            try:
                if text:
                    if active.exists() and active.stat().st_size + len(text.encode()) > self._wishes.bytes:
                        self._rotate()
                    with active.open("a", encoding="utf-8") as file:
                        file.write(text)
            except OSError:
                self.lost += text.count("\n")

    def close(self) -> None:
        """Write what is held back, and leave logging."""
        self.flush()
        self.detach()
        super().close()

    def upload(self) -> None:
        """Send every finished file; each leaves its place once the outbox has it."""
        self.flush()
        try:
            with exclusive(self):
                if (self._folder / ACTIVE).exists():
                    self._rotate()
            for path in self._finished():
                self._send(self._lines(path), partial(self._sent, path))
        except OSError:
            self.lost += 1  # the disk is in trouble, and the store says so: these lines are tried again

    def _lines(self, path: Path) -> list[Any]:
        """A file's lines; one that a power cut has torn is lost."""
        lines = []
        for text in path.read_bytes().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                self.lost += 1
        return lines

    def _sent(self, path: Path) -> None:
        try:
            if self._wishes.delete:
                path.unlink(missing_ok=True)
            elif path.exists():
                path.rename(path.with_name(f"{path.name}.uploaded.{int(time.time())}"))
            sync_folder(self._folder)
        except OSError:
            self.lost += 1  # it may be uploaded twice

    def _finished(self) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"{ACTIVE}.*") if path.name.count(".") == 2)  # noqa: PLR2004  not uploaded

    def _rotate(self) -> None:
        (self._folder / ACTIVE).rename(self._folder / f"{ACTIVE}.{time.time_ns():020d}")
        for path in sorted(self._folder.glob(f"{ACTIVE}.*"))[: -self._wishes.files]:
            path.unlink()
