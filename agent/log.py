"""Logging: one handler at the root that folds, redacts and writes, to the journal, as JSON lines or for people.

It never raises and never blocks: what cannot be written at once is counted (`LogSetup.lost`) and told with the next line that can.
Fields come with `extra={...}`. DEBUG is not folded: who asks for it wants to see everything.
"""

import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol, TextIO

from agent.log_fold import Fold, Repeats
from agent.log_format import Line, console_line, journal, json_line, line, message, text
from agent.settings.model import LoggingSettings

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
OWN_LOGGERS = ("agent", "drivers")

_PIPE_BUF = select.PIPE_BUF  # a pipe that poll calls writable takes this much without blocking
_MAX_HELD = 1024  # characters kept of a line that was folded


class Output(Protocol):
    """Where lines go. `write` returns False when the line was not taken."""

    def write(self, entry: Line) -> bool: ...

    def close(self) -> None: ...


class JournalOutput:
    """systemd's journal, natively."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def write(self, entry: Line) -> bool:
        try:
            self._socket.sendto(journal(entry), self._path)
        except OSError:  # journald restarts, or is behind (EAGAIN)
            return False
        return True

    def close(self) -> None:
        self._socket.close()


class StreamOutput:
    """A text stream; nothing is written while its reader does not read."""

    def __init__(self, stream: TextIO, render: Callable[[Line], str]) -> None:
        self._stream = stream
        self._render = render
        self._descriptor = _descriptor(stream)

    def write(self, entry: Line) -> bool:
        given = self._render(entry)
        if self._descriptor is None:
            self._stream.write(given)
            return True
        content = given.encode("utf-8", "backslashreplace")
        while content:
            if not _writable(self._descriptor):
                return False
            try:
                content = content[os.write(self._descriptor, content[:_PIPE_BUF]) :]
            except OSError:
                return False
        return True

    def close(self) -> None:
        """The stream belongs to the caller."""


@contextmanager
def exclusive(handler: logging.Handler) -> Iterator[None]:
    """The lock that logging itself takes around `emit`."""
    handler.acquire()
    try:
        yield
    finally:
        handler.release()


class LogHandler(logging.Handler):
    """Folds, then hands lines to an Output. `clock` is monotonic; `start_timer(delay, action)` returns what cancels it."""

    def __init__(
        self,
        output: Output,
        fold: Fold,
        *,
        clock: Callable[[], float] = time.monotonic,
        start_timer: Callable[[float, Callable[[], None]], Callable[[], None]] | None = None,
    ) -> None:
        super().__init__()
        self.lost = 0
        self._told = 0
        self._output = output
        self._fold = fold
        self._clock = clock
        self._start_timer = start_timer or _start_timer
        self._cancel_timer: Callable[[], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._emit(record)
        except Exception:  # noqa: BLE001  a log line never stops the hub, whatever its arguments do when they are shown
            self.lost += 1

    def close(self) -> None:
        """Show what was held back; the output is closed."""
        with exclusive(self):
            if self._cancel_timer:
                self._cancel_timer()
                self._cancel_timer = None
            for repeats in self._fold.flush():
                self._write(_repeated(repeats, self._clock()))
            self._output.close()
        super().close()

    def _emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        self._show_due(now)
        if record.levelno <= logging.DEBUG:
            self._write(line(record))
            return
        key = (record.name, record.levelno, str(record.msg)[:_MAX_HELD])
        if self._fold.admit(key, now):
            self._write(line(record))
            return
        self._fold.hold(key, text(message(record))[:_MAX_HELD])
        self._arm(now)

    def _write(self, entry: Line) -> None:
        if not self._output.write(entry):
            self.lost += 1
        elif self.lost > self._told:
            missed, self._told = self.lost - self._told, self.lost
            note = Line(
                entry.wall, logging.WARNING, __name__, f"{missed:,} log lines were lost", extras={"lost": missed}
            )
            if not self._output.write(note):
                self._told -= missed

    def _show_due(self, now: float) -> None:
        for repeats in self._fold.due(now):
            self._write(_repeated(repeats, now))

    def _arm(self, now: float) -> None:
        deadline = self._fold.deadline()
        if self._cancel_timer is None and deadline is not None:
            self._cancel_timer = self._start_timer(max(0.0, deadline - now), self._window_ended)

    def _window_ended(self) -> None:
        with exclusive(self):
            self._cancel_timer = None
            now = self._clock()
            self._show_due(now)
            self._arm(now)


class LogSetup:
    """The installed logging. `close` takes it out again."""

    def __init__(self, handler: LogHandler, levels: Mapping[str, int]) -> None:
        self._handler = handler
        root = logging.getLogger()
        self._handlers = root.handlers[:]
        self._levels = {name: logging.getLogger(name).level for name in levels}
        self._wanted = dict(levels)
        handler.addFilter(self._shows)
        root.handlers[:] = [handler]
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._handler.lost

    def attach(self, handler: logging.Handler) -> Callable[[], None]:
        """Give our own lines to another handler too, from its level on; the call that is returned ends it.

        What is shown here stays as configured: a handler that wants more does not make the journal longer.
        """
        root, own = logging.getLogger(), [logging.getLogger(name) for name in OWN_LOGGERS]
        before = [logger.level for logger in own]
        root.addHandler(handler)
        for logger in own:
            logger.setLevel(min(logger.level, handler.level))

        def detach() -> None:
            root.removeHandler(handler)
            for logger, level in zip(own, before, strict=True):
                logger.setLevel(level)

        return detach

    def _shows(self, record: logging.LogRecord) -> bool:
        """By the configured level of the record's logger or its nearest parent."""
        name = record.name
        while name and name not in self._wanted:
            name = name.rpartition(".")[0]
        return record.levelno >= self._wanted[name]

    def close(self) -> None:
        logging.getLogger().handlers[:] = self._handlers
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._handler.close()


def setup(
    settings: LoggingSettings,
    env: Mapping[str, str],
    stream: TextIO | None = None,
    *,
    journal_socket: Path = JOURNAL_SOCKET,
) -> LogSetup:
    """Install logging for the process. `stream` (standard error) is where lines go that are not for the journal."""
    stream = stream or sys.stderr
    handler = LogHandler(
        _output(settings.format, env, stream, journal_socket),
        Fold(after=settings.fold_after, window=settings.fold_window),
    )
    own = _number(settings.level)
    levels = {"": max(own, logging.WARNING), **dict.fromkeys(OWN_LOGGERS, own)}
    levels |= {name: _number(level) for name, level in settings.levels.items()}
    return LogSetup(handler, levels)


def under_journal(env: Mapping[str, str], stream: TextIO) -> bool:
    """Whether `stream` is connected to the journal: $JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    descriptor = _descriptor(stream)
    if descriptor is None or "JOURNAL_STREAM" not in env:
        return False
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return env["JOURNAL_STREAM"] == f"{status.st_dev}:{status.st_ino}"


def _output(
    wanted: Literal["auto", "journald", "json", "console"], env: Mapping[str, str], stream: TextIO, journal_socket: Path
) -> Output:
    # Asked for a journal where there is none, lines on standard error are better than lines that are lost.
    if journal_socket.exists() if wanted == "journald" else wanted == "auto" and under_journal(env, stream):
        return JournalOutput(journal_socket)
    tty = stream.isatty()
    if wanted == "console" or (wanted != "json" and tty):
        colour = tty and not env.get("NO_COLOR")
        return StreamOutput(stream, lambda entry: console_line(entry, colour=colour))
    return StreamOutput(stream, json_line)


def _repeated(repeats: Repeats, now: float) -> Line:
    logger, level, _template = repeats.key
    times = f"{repeats.count:,} times" if repeats.count > 1 else "once"
    told = f"{repeats.message} (repeated {times} in {now - repeats.start:.0f} s)"
    return Line(time.time(), level, logger, told, extras={"repeated": repeats.count})


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # a StringIO, or closed
        return None


def _writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def _start_timer(delay: float, action: Callable[[], None]) -> Callable[[], None]:
    timer = threading.Timer(delay, action)
    timer.daemon = True
    timer.name = "log-window"
    timer.start()
    return timer.cancel
