"""The wheel holds what runs without a checkout."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from agent.errors import install_extra

ROOT = Path(__file__).parent.parent
PROBE = """
import sys; sys.path.insert(0, sys.argv[1])
import agent
from agent import capabilities, init
assert agent.__file__.startswith(sys.argv[1]), agent.__file__
assert len(capabilities.known()) >= 20
assert b"[hub]" in init.first_config()
"""


def wheel_in(folder: Path) -> Path:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    made = subprocess.run(build, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_data_files_are_installed_and_found(tmp_path: Path) -> None:
    wheel = wheel_in(tmp_path)
    place = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(place)
    for needed in (
        "agent/share/config/agent.toml",
        "agent/share/config/examples/home.toml",
        "agent/share/systemd/agent.service",
        "agent/schema/001_first.sql",
        "agent/schema/ota/release.json",
        "agent/share/config/examples/ota/release.toml",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith("tests/")]
    probed = subprocess.run(
        [sys.executable, "-c", PROBE, str(place)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert probed.returncode == 0, probed.stderr


def test_the_remedy_for_a_missing_part_is_what_pip_understands(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index"]
    wheel = wheel_in(tmp_path)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("zigbee", "cloud", "quirks"):
        assert extra in extras, "pip says nothing about one that is not there"
        assert f"'WHEEL[{extra}]'" in install_extra(extra)
        done = subprocess.run([*install, f"{wheel}[{extra}]"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
