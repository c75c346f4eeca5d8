"""Log lines for the cloud: what is kept, where, and when it leaves."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.log import LogSetup, setup
from agent.runtime_logs import ACTIVE, LogWishes, RuntimeLogs
from agent.settings import LoggingSettings

log = logging.getLogger("agent.test")


class Sent:
    """What was given to the outbox; `commit` makes it durable."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self._done: list[Callable[[], None]] = []

    def __call__(self, lines: list[Any], done: Callable[[], None]) -> None:
        self.lines += lines
        self._done.append(done)

    def commit(self) -> None:
        for done in self._done:
            done()


@pytest.fixture
def console() -> Iterator[tuple[LogSetup, io.StringIO]]:
    stream = io.StringIO()
    made = setup(LoggingSettings(level="warning", format="json"), {}, stream)
    yield made, stream
    made.close()


def store(folder: Path, sent: Sent, console: Any, **wishes: Any) -> RuntimeLogs:
    made = RuntimeLogs(folder / "logs", LogWishes.of(wishes), sent)
    made.detach = console[0].attach(made)
    return made


def messages(path: Path) -> list[str]:
    return [json.loads(text)["message"] for text in path.read_text().splitlines()] if path.exists() else []


def test_lines_from_the_wished_level_on_are_kept_and_the_console_stays_as_it_is(tmp_path: Path, console: Any) -> None:
    made = store(tmp_path, Sent(), console, LogLevel="INFO")
    log.debug("not wished")
    log.info("wished")
    log.warning("both")
    logging.getLogger("agent.other").info("wished too")
    made.flush()
    assert messages(tmp_path / "logs" / ACTIVE) == ["wished", "both", "wished too"]
    assert "wished" not in console[1].getvalue()
    assert "both" in console[1].getvalue()
    made.close()
    log.info("after")
    assert messages(tmp_path / "logs" / ACTIVE) == ["wished", "both", "wished too"]
    assert logging.getLogger("agent").level == logging.WARNING


def test_a_line_at_the_flush_level_is_on_disk_at_once(tmp_path: Path, console: Any) -> None:
    made = store(tmp_path, Sent(), console, LogLevel="DEBUG", LogFlushLevel="ERROR")
    log.debug("held back")
    assert messages(tmp_path / "logs" / ACTIVE) == []
    log.error("trouble")
    assert messages(tmp_path / "logs" / ACTIVE) == ["held back", "trouble"]
    made.close()


def test_files_are_turned_over_and_the_oldest_go(tmp_path: Path, console: Any) -> None:
    wishes = {"LocalStoreFileRotationMaxBytes": 5000, "LocalStoreFileRotationMaxFiles": 3}
    made = store(tmp_path, Sent(), console, LogFlushLevel="DEBUG", **wishes)
    for number in range(200):
        log.warning("line %d %s", number, "x" * 100)
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == 4
    assert all(path.stat().st_size <= 5000 for path in files)
    assert messages(tmp_path / "logs" / ACTIVE)[-1].startswith("line 199 ")
    made.close()


@pytest.mark.parametrize("delete", [True, False])
def test_a_file_leaves_its_place_once_its_lines_are_durable(tmp_path: Path, console: Any, delete: bool) -> None:  # noqa: FBT001  a wish
    sent = Sent()
    made = store(tmp_path, sent, console, DeleteLocalStoreAfterUpload=delete)
    log.warning("told %s", "twice? no")
    made.upload()
    assert [line["message"] for line in sent.lines] == ["told twice? no"]
    (kept,) = (tmp_path / "logs").iterdir()
    sent.commit()
    names = [path.name for path in (tmp_path / "logs").iterdir()]
    assert names == [] if delete else names[0].startswith(f"{kept.name}.uploaded.")
    made.upload()
    assert len(sent.lines) == 1
    made.close()


def test_a_line_that_a_power_cut_has_torn_is_lost_and_no_other(tmp_path: Path, console: Any) -> None:
    sent = Sent()
    made = store(tmp_path, sent, console)
    with (tmp_path / "logs" / f"{ACTIVE}.00000000000000000001").open("wb") as file:
        file.write(b'{"message": "whole"}\n{"message": "to\xc3')
    made.upload()
    assert sent.lines == [{"message": "whole"}]
    assert made.lost == 1
    made.close()


def test_an_upload_from_a_disk_in_trouble_is_tried_again(tmp_path: Path, console: Any) -> None:
    sent = Sent()
    made = store(tmp_path, sent, console)
    broken = tmp_path / "logs" / f"{ACTIVE}.00000000000000000001"
    broken.mkdir()  # cannot be read as a file
    made.upload()
    assert made.lost == 1
    broken.rmdir()
    log.warning("later")
    made.upload()
    assert [line["message"] for line in sent.lines] == ["later"]
    made.close()


def test_secrets_are_redacted_and_odd_arguments_cost_nothing(tmp_path: Path, console: Any) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

        __str__ = __repr__

    made = store(tmp_path, Sent(), console, LogFlushLevel="DEBUG")
    log.warning("password=hunter2")
    made.handle(
        log.makeRecord(log.name, logging.WARNING, "", 1, "%s", (Odd(),), None)
    )  # pytest's own handler would raise
    log.warning("after")
    kept = (tmp_path / "logs" / ACTIVE).read_text()
    assert "hunter2" not in kept
    assert "after" in kept
    made.close()


def test_a_disk_that_takes_nothing_costs_these_lines_only(tmp_path: Path, console: Any) -> None:
    made = store(tmp_path, Sent(), console, LogFlushLevel="DEBUG")
    (tmp_path / "logs" / ACTIVE).mkdir()  # cannot be written to
    log.warning("lost")
    assert made.lost == 1
    (tmp_path / "logs" / ACTIVE).rmdir()
    log.warning("kept")
    assert messages(tmp_path / "logs" / ACTIVE) == ["kept"]
    made.close()
