import errno
import os
from pathlib import Path

import pytest

from agent import files


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    files.write_atomic(path, b"old")
    files.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "state"
    files.write_atomic(path, b"old")

    def fail(*_arguments: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="input/output"):
        files.write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_is_made_has_a_durable_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    files.make_folder(tmp_path / "state" / "keys")
    assert synced == [tmp_path, tmp_path / "state"]
    assert (tmp_path / "state" / "keys").stat().st_mode & 0o777 == 0o700
    files.make_folder(tmp_path / "state" / "keys")
    assert len(synced) == 2, "one that is there costs nothing"


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "state")


def test_the_ballast_is_really_allocated(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    assert files.reserve(path, 1 << 20)
    assert path.stat().st_blocks * 512 >= 1 << 20
    assert files.reserve(path, 1 << 20)
