"""The command line: exit codes, and errors that say what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(f'[hub]\nid = "h"\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n')
    return path


def test_a_good_configuration_is_0(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "-c", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_every_mistake_is_told_with_its_line_and_remedy_and_ends_with_78(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with config.open("a") as file:
        file.write('colour = "blue"\n[uplinks.main]\nhost = "example.com"\ntls = false\n')
    assert main(["check-config", "-c", str(config), "--json"]) == 78
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert int(errors[0]["place"].rsplit(":", 1)[1]) == 5
    assert len(errors) >= 2
    assert all(error["reason"] and error["remedy"] for error in errors)
    assert main(["check-config", "-c", str(config)]) == 78
    assert "remedy" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["status"], ["devices"], ["device", "x"], ["discover", "zigbee"], ["remove", "x"]])
def test_without_a_daemon_it_is_69(config: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "-c", str(config)]) == 69
    assert "agent run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["device"],
        ["command", "x", "--endpoint", "1", "--capability", "OnOff", "--action", "On", "--params", "{"],
    ],
)
def test_what_cannot_be_understood_is_64(
    arguments: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = [*arguments, "-c", str(config)] if arguments[:1] == ["command"] else arguments
    assert main(given) == 64
    assert "remedy" in capsys.readouterr().err


def test_init_makes_what_is_missing_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUB_AGENT__HUB__STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HUB_AGENT__HUB__RUNTIME_DIR", str(tmp_path / "run"))
    path = tmp_path / "etc" / "agent.toml"
    assert main(["init", "-c", str(path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["made"]) == 3
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert main(["init", "-c", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == []
    assert main(["check-config", "-c", str(path), "--json"]) == 0
