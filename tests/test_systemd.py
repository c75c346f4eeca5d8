"""The unit and its companions, judged by systemd's own tools."""

import re
import subprocess
from pathlib import Path

import pytest

from agent.errors import Exit
from agent.log_format import IDENTIFIER

SYSTEMD = Path(__file__).parent.parent / "systemd"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_units_exposure_is_at_most_1_5() -> None:
    result = run("systemd-analyze", "security", "--offline=yes", "--threshold=15", str(SYSTEMD / "agent.service"))
    assert result.returncode == 0, result.stdout


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "agent.service"
    text = (SYSTEMD / "agent.service").read_text()
    unit.write_text(text.replace("/opt/hub-agent/bin/agent", str(program)))
    result = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("store", ["sealed", "pkcs11", "tpm"])
def test_the_lines_of_a_key_store_are_good_too(tmp_path: Path, store: str) -> None:
    """Those that a person takes the # from."""
    text = (SYSTEMD / "agent.service").read_text().replace("/opt/hub-agent/bin/agent", "/bin/true")
    begin = text.index(" sealed:") if store == "sealed" else text.index(f"# {store}")
    lines = text[begin:].splitlines()[1:]
    lines = lines[: next(i for i, line in enumerate(lines) if not re.match(r"#\w+=", line))]
    assert lines
    for line in lines:
        text = text.replace(line, line.removeprefix("#"))
    unit = tmp_path / "agent.service"
    unit.write_text(text)
    verified = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = run("systemd-analyze", "security", "--offline=yes", "--threshold=15", str(unit))
    assert judged.returncode == 0, judged.stdout


def test_the_configurations_of_openssl_that_the_unit_names_are_shipped() -> None:
    named = re.findall(r"/etc/hub-agent/(openssl-\S+)", (SYSTEMD / "agent.service").read_text())
    assert sorted(named) == ["openssl-pkcs11.cnf", "openssl-tpm.cnf"]
    assert all((SYSTEMD.parent / "config" / name).is_file() for name in named)


def test_a_hub_that_nobody_watches_comes_back_for_ever_but_not_with_a_wrong_configuration() -> None:
    lines = (SYSTEMD / "agent.service").read_text().splitlines()
    wanted = {"Type=notify", "WatchdogSec=30", "Restart=on-failure", "StartLimitIntervalSec=0"}
    assert wanted | {f"RestartPreventExitStatus={int(Exit.CONFIG)}", "Environment=PYTHONFAULTHANDLER=1"} <= set(lines)


def test_everything_is_in_the_journal_under_one_name() -> None:
    assert f"SyslogIdentifier={IDENTIFIER}" in (SYSTEMD / "agent.service").read_text().splitlines()


def test_the_unit_names_no_file_that_nothing_installs() -> None:
    readme = (SYSTEMD.parent / "README.md").read_text()
    files = re.findall(r"file:(\S+)", (SYSTEMD / "agent.service").read_text())
    assert [file for file in files if file not in readme] == []


def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    made = run("systemd-sysusers", root, str(SYSTEMD / "hub-agent.sysusers.conf"))
    assert made.returncode == 0, made.stderr
    assert "hub-agent" in (tmp_path / "etc/passwd").read_text()
    assert "dialout" in (tmp_path / "etc/group").read_text()
    folders = run("systemd-tmpfiles", root, "--create", str(SYSTEMD / "hub-agent.tmpfiles.conf"))
    assert folders.returncode == 0, folders.stderr
    assert (tmp_path / "etc/hub-agent/conf.d").is_dir()


def test_every_line_of_the_udev_rules_is_whole() -> None:
    rules = [line for line in (SYSTEMD / "60-hub-agent.rules").read_text().splitlines() if line and line[0] != "#"]
    for line in rules:
        for part in line.split(", "):
            key, _, value = part.partition('"')
            assert value.endswith('"'), line
            assert key.endswith(("==", "!=", "+=", "=")), line
    labels = [line for line in rules if line.startswith("LABEL=")]
    assert len(labels) == 1
    assert any("ID_MM_DEVICE_IGNORE" in line for line in rules)
