"""A log record as fields, and fields as a journal datagram, a JSON line or a console line. PURE.

Everything that leaves here is redacted and bounded. Journal: systemd's "Native Journal Protocol"; field names as in
systemd.journal-fields(7).
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from agent.clock import iso
from agent.redact import redact

IDENTIFIER = "hub-agent"
MAX_TEXT = 32_768  # characters of one field: a datagram must fit into the socket's buffer (about 200 KB)
MAX_EXTRAS = 32
MAX_NAME = 64  # bytes, systemd.journal-fields(7)
_CUT_BEFORE_REDACTION = 8 * MAX_TEXT

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_PRIORITY = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # syslog(3)
_DEBUG_PRIORITY = 7
_NOT_IN_NAME = re.compile(r"[^A-Z0-9_]")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOURS = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_RESET = "\x1b[0m"
_BARE_VALUE = re.compile(r"[^\s\"=]+")
_FORMATTER = logging.Formatter()


@dataclass(frozen=True, slots=True)
class Line:
    """One log line, redacted; `extras` are JSON values."""

    wall: float
    level: int
    logger: str
    message: str
    exception: str = ""
    file: str = ""
    number: int = 0
    function: str = ""
    extras: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def line(record: logging.LogRecord) -> Line:
    """A record as a Line. Arguments that do not fit the template are shown beside it."""
    extras = [(name, value) for name, value in record.__dict__.items() if name not in _STANDARD][:MAX_EXTRAS]
    return Line(
        wall=record.created,
        level=record.levelno,
        logger=record.name,
        message=text(message(record)),
        exception=text(_exception(record)),
        file=record.pathname,
        number=record.lineno,
        function=record.funcName or "",
        extras={redact(name): _value(name, value) for name, value in extras},
    )


def message(record: logging.LogRecord) -> str:
    """The message of a record, not yet redacted."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError):
        return f"{record.msg!s} {record.args!r}"


def text(given: str) -> str:
    """Redacted and cut to MAX_TEXT, in this order: half a secret is one too."""
    clean = redact(given[:_CUT_BEFORE_REDACTION])
    return clean if len(clean) <= MAX_TEXT else f"{clean[:MAX_TEXT]}... ({len(given)} characters)"


def journal(entry: Line) -> bytes:
    """The datagram for /run/systemd/journal/socket."""
    fields = {
        "MESSAGE": "\n".join(part for part in (entry.message, entry.exception) if part),
        "PRIORITY": str(next((priority for level, priority in _PRIORITY if entry.level >= level), _DEBUG_PRIORITY)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "LOGGER": entry.logger,
        "CODE_FILE": entry.file,
        "CODE_LINE": str(entry.number),
        "CODE_FUNC": entry.function,
    }
    for name, value in entry.extras.items():
        fields.setdefault(_field_name(name, fields), value if isinstance(value, str) else _json(value))
    return b"".join(_field(name, value) for name, value in fields.items() if value)


def json_line(entry: Line) -> str:
    """One JSON object: time, level, logger, message, exception, and the extras by their names."""
    fields: dict[str, Any] = {
        "time": iso(entry.wall),
        "level": logging.getLevelName(entry.level).lower(),
        "logger": entry.logger,
        "message": entry.message,
    }
    if entry.exception:
        fields["exception"] = entry.exception
    for name, value in entry.extras.items():
        fields[f"extra_{name}" if name in fields else name] = value
    return _json(fields) + "\n"


def console_line(entry: Line, *, colour: bool) -> str:
    """Time, level, logger, message and extras for people; control characters of others do not reach the terminal."""
    level = f"{logging.getLevelName(entry.level):<8}"
    start = _COLOURS.get(entry.level, "") if colour else ""
    extras = "".join(f" {name}={_plain(value)}" for name, value in entry.extras.items())
    head = f"{iso(entry.wall)} {start}{level}{_RESET if start else ''} {printable(entry.logger)}: "
    body = printable(entry.message + extras).replace("\n", "\n    ")
    tail = "".join(f"    {printable(one)}\n" for one in entry.exception.split("\n") if one)
    return f"{head}{body}\n{tail}"


def _exception(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[1] is not None:
        parts.append(_FORMATTER.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _value(name: str, value: Any) -> Any:
    """A JSON value; the name counts too, since network_key=... says what it is."""
    if value is None or isinstance(value, bool | int | float):
        return value
    given = value.hex() if isinstance(value, bytes | bytearray) else value if isinstance(value, str) else _json(value)
    return text(f"{name}={given}").removeprefix(f"{name}=")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, default=str, skipkeys=True)


def _field_name(name: str, taken: Mapping[str, str]) -> str:
    clean = _NOT_IN_NAME.sub("_", name.upper()).strip("_")[: MAX_NAME - len("EXTRA_")]
    return f"EXTRA_{clean}" if clean in taken or not clean[:1].isalpha() else clean


def _field(name: str, value: str) -> bytes:
    content = value.encode("utf-8", "backslashreplace")
    if b"\n" in content:
        return name.encode() + b"\n" + len(content).to_bytes(8, "little") + content + b"\n"
    return name.encode() + b"=" + content + b"\n"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and _BARE_VALUE.fullmatch(value) else _json(value)


def printable(given: str) -> str:
    """Control characters of others as escapes; line ends stay."""
    return _CONTROL.sub(_escape, given)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
