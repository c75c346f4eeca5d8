"""Logging as others see it: datagrams at a journal socket, JSON lines, console lines; folded, redacted, never in the way."""

import io
import json
import logging
import os
import pty
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.log import JournalOutput, LogHandler, LogSetup, StreamOutput, setup, under_journal
from agent.log_fold import Fold
from agent.log_format import MAX_TEXT, Line, console_line, journal, json_line, line
from agent.settings import LoggingSettings

Fields = dict[str, str]


def parse_journal(datagram: bytes) -> Fields:
    """By systemd's "Native Journal Protocol": KEY=value, or KEY, a 64-bit little-endian length and the value, each with a newline."""
    fields: Fields = {}
    while datagram:
        head, _, rest = datagram.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest.startswith(b"\n")
            rest = rest[1:]
        key = name.decode("ascii")
        assert key not in fields
        assert 0 < len(key) <= 64
        assert key[0].isalpha()
        assert set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
        fields[key] = value.decode("utf-8")
        datagram = rest
    return fields


def record(message: str, *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    return logging.getLogger("agent.test").makeRecord(
        "agent.test", level, "/src/agent/test.py", 12, message, args, None, "function", extra
    )


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.settimeout(5)
        yield server


class Logs:
    """Logging that was set up onto a text, with a clock and a timer in our hands."""

    def __init__(self, after: int = 2) -> None:
        self.stream = io.StringIO()
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.cancelled = 0
        output = StreamOutput(self.stream, json_line)
        self.handler = LogHandler(
            output, Fold(after=after, window=60), clock=lambda: self.now, start_timer=self._start_timer
        )

    def _start_timer(self, delay: float, action: Callable[[], None]) -> Callable[[], None]:
        self.timers.append((self.now + delay, action))
        return self._cancel

    def _cancel(self) -> None:
        self.cancelled += 1

    def send(self, message: str, *args: object, level: int = logging.INFO, **extra: object) -> None:
        self.handler.handle(record(message, *args, level=level, **extra))

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(row) for row in self.stream.getvalue().splitlines()]

    def messages(self) -> list[object]:
        return [row["message"] for row in self.lines()]


# ---- journal -----------------------------------------------------------------------------------------------------------------


def test_the_journal_gets_fields(journald: socket.socket, tmp_path: Path) -> None:
    logs = setup(LoggingSettings(format="journald"), {}, journal_socket=tmp_path / "socket")
    try:
        logging.getLogger("agent.hub").warning(
            "device %s joined\nlate", "zb/1", extra={"device": "zb/1", "endpoints": [1, 2]}
        )
    finally:
        logs.close()
    fields = parse_journal(journald.recv(65536))
    assert fields.pop("CODE_LINE").isdigit()
    assert fields.pop("CODE_FILE") == __file__
    assert fields == {
        "MESSAGE": "device zb/1 joined\nlate",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "hub-agent",
        "LOGGER": "agent.hub",
        "CODE_FUNC": "test_the_journal_gets_fields",
        "DEVICE": "zb/1",
        "ENDPOINTS": "[1, 2]",
    }


def test_an_exception_is_part_of_the_message(journald: socket.socket, tmp_path: Path) -> None:
    logs = setup(LoggingSettings(format="journald"), {}, journal_socket=tmp_path / "socket")
    try:
        int("x")
    except ValueError:
        logging.getLogger("agent").exception("no number")
    finally:
        logs.close()
    fields = parse_journal(journald.recv(65536))
    assert fields["MESSAGE"].startswith("no number\nTraceback (most recent call last):")
    assert fields["MESSAGE"].endswith("ValueError: invalid literal for int() with base 10: 'x'")
    assert fields["PRIORITY"] == "3"


@pytest.mark.parametrize(
    ("level", "priority"), [(10, "7"), (15, "7"), (20, "6"), (30, "4"), (40, "3"), (50, "2"), (60, "2")]
)
def test_priorities(level: int, priority: str) -> None:
    assert parse_journal(journal(line(record("x", level=level))))["PRIORITY"] == priority


@given(
    message=st.text(max_size=200),
    extras=st.dictionaries(
        st.text(max_size=80), st.one_of(st.text(), st.binary(), st.none(), st.floats(), st.lists(st.text()))
    ),
)
def test_any_record_is_a_datagram_a_json_line_and_a_console_line(message: str, extras: dict[str, object]) -> None:
    given_record = record("%s", message)
    given_record.__dict__.update({name: value for name, value in extras.items() if name not in given_record.__dict__})
    entry = line(given_record)
    fields = parse_journal(journal(entry))
    assert fields["SYSLOG_IDENTIFIER"] == "hub-agent"
    if message.isascii() and message.isalpha() and message.islower():
        assert fields["MESSAGE"] == message
    row = json_line(entry)
    assert row.count("\n") == 1
    assert json.loads(row)["logger"] == "agent.test"
    shown = console_line(entry, colour=False)
    assert all(char == "\n" or char.isprintable() or char.isspace() or ord(char) > 0x9F for char in shown)
    assert "\x1b" not in shown
    shown.encode()


def test_large_records_are_cut_and_still_fit_a_datagram(journald: socket.socket, tmp_path: Path) -> None:
    output = JournalOutput(tmp_path / "socket")
    assert output.write(line(record("x" * 10_000_000, big="y" * 10_000_000)))
    fields = parse_journal(journald.recv(1_000_000))
    assert len(fields["MESSAGE"]) < MAX_TEXT + 100
    assert fields["MESSAGE"].endswith("(10000000 characters)")
    output.close()


def test_a_journal_that_is_behind_or_away_is_counted(journald: socket.socket, tmp_path: Path) -> None:
    logs = LogHandler(JournalOutput(tmp_path / "socket"), Fold(after=100_000, window=60))
    sent = 0
    while logs.lost < 3:  # nobody reads: the socket's queue is full after a few
        logs.handle(record("number %d", sent))
        sent += 1
        assert sent < 100_000
    taken = [parse_journal(journald.recv(65536))["MESSAGE"] for _ in range(sent - 3)]
    assert taken == [f"number {number}" for number in range(sent - 3)]
    logs.handle(record("again"))
    assert parse_journal(journald.recv(65536))["MESSAGE"] == "again"
    note = parse_journal(journald.recv(65536))
    assert (note["MESSAGE"], note["LOST"], note["PRIORITY"]) == ("3 log lines were lost", "3", "4")
    (tmp_path / "socket").unlink()
    logs.handle(record("away"))
    assert logs.lost == 4
    logs.close()


def test_under_journal_compares_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as one, (tmp_path / "b").open("w") as other:
        status = os.fstat(one.fileno())
        env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert under_journal(env, one)
        assert not under_journal(env, other)
        assert not under_journal({}, one)
        assert not under_journal({"JOURNAL_STREAM": "nonsense"}, one)
    assert not under_journal(env, one)
    assert not under_journal(env, io.StringIO())


# ---- choice of format --------------------------------------------------------------------------------------------------------


def test_auto_takes_the_journal_when_standard_error_goes_there(journald: socket.socket, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stream:
        status = os.fstat(stream.fileno())
        env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        logs = setup(LoggingSettings(), env, stream, journal_socket=tmp_path / "socket")
        logging.getLogger("drivers.zigbee").info("hello")
        logs.close()
    assert parse_journal(journald.recv(65536))["MESSAGE"] == "hello"
    assert (tmp_path / "stderr").read_text() == ""


def terminal_output(settings: LoggingSettings, env: dict[str, str]) -> str:
    main, side = pty.openpty()
    with os.fdopen(side, "w") as stream:
        logs = setup(settings, env, stream)
        logging.getLogger("agent").error("hello", extra={"device": "zb 1", "count": 3})
        logs.close()
        text = os.read(main, 4096).decode()
    os.close(main)
    return text


def test_auto_takes_the_console_on_a_terminal_with_colour() -> None:
    text = terminal_output(LoggingSettings(), {})
    assert "\x1b[31mERROR" in text
    assert text.rstrip().endswith('agent: hello device="zb 1" count=3')
    assert "\x1b" not in terminal_output(LoggingSettings(), {"NO_COLOR": "1"})
    assert json.loads(terminal_output(LoggingSettings(format="json"), {}))["message"] == "hello"


def test_auto_takes_json_elsewhere_and_console_has_no_colour_there(tmp_path: Path) -> None:
    for settings in (LoggingSettings(), LoggingSettings(format="console")):
        with (tmp_path / settings.format).open("w") as stream:
            logs = setup(settings, {}, stream)
            logging.getLogger("agent").error("hello")
            logs.close()
    entry = json.loads((tmp_path / "auto").read_text())
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "agent", "hello")
    assert entry["time"].endswith("Z")
    text = (tmp_path / "console").read_text()
    assert "ERROR    agent: hello\n" in text
    assert "\x1b" not in text


def test_a_journal_that_does_not_exist_is_replaced(tmp_path: Path) -> None:
    stream = io.StringIO()
    logs = setup(LoggingSettings(format="journald"), {}, stream, journal_socket=tmp_path / "missing")
    logging.getLogger("agent").info("hello")
    logs.close()
    assert json.loads(stream.getvalue())["message"] == "hello"


def test_extras_do_not_overwrite_what_a_line_is_made_of() -> None:
    entry = line(record("text", time="t", logger="g", priority="p", code_file="c", **{"1st": 1, "": 2}))
    fields = json.loads(json_line(entry))
    assert (fields["message"], fields["extra_time"], fields["extra_logger"]) == ("text", "t", "g")
    journal_fields = parse_journal(journal(entry))
    assert (journal_fields["PRIORITY"], journal_fields["EXTRA_PRIORITY"]) == ("6", "p")
    assert (journal_fields["EXTRA_CODE_FILE"], journal_fields["EXTRA_1ST"]) == ("c", "1")


def test_foreign_text_cannot_forge_console_lines() -> None:
    text = console_line(line(record("name \x1b[2J\r%s", "a\n2026-01-01 ERROR", device="x\ny\x9b\u202e")), colour=True)
    assert text.count("\n") == 2
    assert text.split("\n")[1].startswith("    2026-01-01 ERROR")
    assert not {"\x1b[2J", "\r", "\x9b", "\u202e"} & set(text)
    assert "\x1b[2J" not in text


# ---- levels ------------------------------------------------------------------------------------------------------------------


def effective(settings: LoggingSettings) -> tuple[int, ...]:
    logs = setup(settings, {}, io.StringIO())
    levels = tuple(
        logging.getLogger(name).getEffectiveLevel() for name in ("agent.hub", "drivers.zigbee", "zigpy.x", "zigpy")
    )
    logs.close()
    return levels


def test_third_party_loggers_are_quiet_unless_configured() -> None:
    before = logging.getLogger("agent").level, logging.getLogger().level, logging.getLogger().handlers[:]
    assert effective(LoggingSettings(level="debug")) == (10, 10, 30, 30)
    assert effective(LoggingSettings(level="error")) == (40, 40, 40, 40)
    assert effective(LoggingSettings(levels={"zigpy.x": "debug", "agent.hub": "warning"})) == (30, 20, 10, 30)
    assert (logging.getLogger("agent").level, logging.getLogger().level, logging.getLogger().handlers[:]) == before


# ---- folding -----------------------------------------------------------------------------------------------------------------


def test_repeats_are_one_line_when_the_window_ends() -> None:
    logs = Logs()
    for number in range(31_002):
        logs.send("frame lost from %s", number, device=number)
    assert logs.messages() == ["frame lost from 0", "frame lost from 1"]
    ((deadline, action),) = logs.timers  # one timer, and only because something waits
    assert deadline == 160.0
    logs.now = deadline
    action()
    assert logs.lines()[-1]["message"] == "frame lost from 31001 (repeated 31,000 times in 60 s)"
    assert logs.lines()[-1]["repeated"] == 31_000
    assert len(logs.timers) == 1


def test_the_next_record_tells_what_is_due_and_a_timer_is_set_again() -> None:
    logs = Logs()
    for _ in range(3):
        logs.send("again")
    logs.now = 165.0
    logs.send("other")
    assert logs.messages()[2:] == ["again (repeated once in 65 s)", "other"]
    logs.send("again")
    logs.timers[0][1]()
    assert [deadline for deadline, _ in logs.timers] == [160.0, 225.0]
    logs.handler.close()
    assert logs.messages()[4:] == ["again (repeated once in 0 s)"]
    assert logs.cancelled == 1


def test_nothing_to_fold_means_no_timer() -> None:
    logs = Logs()
    for number in range(100):
        logs.send("one", level=logging.DEBUG)
        logs.send(f"template {number}")
    assert logs.timers == []
    assert len(logs.lines()) == 200


def test_the_real_timer_tells_without_another_record() -> None:
    told = threading.Event()

    class Output:
        def write(self, entry: Line) -> bool:
            if "repeated" in entry.extras:
                told.set()
            return True

        def close(self) -> None: ...

    handler = LogHandler(Output(), Fold(after=1, window=0.05))
    for _ in range(3):
        handler.handle(record("again"))
    assert told.wait(10)
    handler.close()


# ---- never in the way --------------------------------------------------------------------------------------------------------


def test_arguments_that_do_not_fit_are_shown_and_those_that_fail_are_counted() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    logs = Logs()
    logs.send("two %s %s", "one")
    logs.send("%d", "text")
    assert logs.messages() == ["two %s %s ('one',)", "%d ('text',)"]
    logs.send("%s", Broken())
    assert logs.handler.lost == 1
    logs.send("fine", odd=object)
    assert logs.messages()[2:] == ["fine", "1 log lines were lost"]


def test_a_pipe_that_nobody_reads_does_not_block() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        logs: LogSetup = setup(LoggingSettings(fold_after=100_000), {}, stream)
        log = logging.getLogger("agent")
        for _ in range(2000):
            log.info("x" * 1000)
        lost = logs.lost
        assert lost > 1000
        while len(os.read(reader, 65536)) == 65536:
            pass
        log.info("back")
        assert logs.lost == lost
        assert f"{lost:,} log lines were lost" in os.read(reader, 65536).decode()
        os.close(reader)
        log.info("the reader is gone")
        assert logs.lost == lost + 1
        logs.close()
