import errno
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.zigbee import probe


@pytest.fixture
def port() -> Iterator[str]:
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_each_port_is_found_once_by_its_first_name(tmp_path: Path, port: str) -> None:
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-Stick").symlink_to(port)
    (by_id / "usb-Gone").symlink_to("/dev/pts/no-such-port")
    (tmp_path / "file").write_text("no port")
    assert probe.candidates([f"{by_id}/*", f"{tmp_path}/file", port]) == [str(by_id / "usb-Stick")]
    assert probe.candidates([port, f"{by_id}/*"]) == [port]
    assert probe.candidates([f"{tmp_path}/nothing/*"]) == []


def test_the_process_that_holds_a_port_is_named(port: str) -> None:
    code = f"import os; os.open({port!r}, os.O_RDWR | os.O_NOCTTY); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert [name for name in probe.holders(port) if f"(pid {holder.pid})" in name]
        lost = probe.unusable(port, OSError(errno.EBUSY, "busy"))
        holder.communicate("\n")
    assert f"pid {holder.pid}" in str(lost)
    assert lost.remedy
    assert probe.holders(port) == []


def test_modem_manager_has_its_own_remedy(tmp_path: Path, port: str) -> None:
    process = tmp_path / "77"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "5").symlink_to(port)
    (process / "comm").write_text("ModemManager\n")
    assert probe.holders(port, tmp_path) == ["ModemManager (pid 77)"]
    assert "ModemManager" in probe._release(["ModemManager (pid 77)"])


def test_no_permission_names_the_group(port: str) -> None:
    lost = probe.unusable(port, PermissionError(errno.EACCES, "denied"))
    assert "permission" in str(lost)
    assert lost.remedy.startswith("sudo usermod -aG ")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "x"), "is not there"),
        (TimeoutError(), "nothing answers"),
        (OSError(errno.EIO, "input/output error"), "input/output error"),
        (ValueError(), "ValueError"),
    ],
)
def test_other_reasons_are_said_in_words(error: Exception, words: str) -> None:
    assert words in str(probe.unusable("socket://127.0.0.1:1", error))
