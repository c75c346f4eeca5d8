"""scripts/setup.sh without root: it says once which packages to install, and stops."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "dirname", "sort", "tr", "sha256sum", "cut", "cat")


def run(path: Path, purpose: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / "setup.sh"), purpose, str(tmp_path / "venv")]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with nothing but what every Debian has, for somebody who is not root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "id").write_text("#!/bin/sh\necho 1000\n")
    (folder / "id").chmod(0o755)
    for tool in TOOLS:
        found = next(Path(part) / tool for part in ("/usr/bin", "/bin") if (Path(part) / tool).exists())
        (folder / tool).symlink_to(found)
    return folder


@pytest.mark.parametrize(
    ("purpose", "wanted", "unwanted"),
    [
        ("demo", ("python3-venv",), ("mosquitto-clients", "nodejs", "npm")),
        ("test", ("mosquitto-clients", "python3-venv", "nodejs", "npm"), ()),
    ],
)
def test_without_root_the_packages_are_named_once_and_nothing_is_done(
    bare_path: Path, tmp_path: Path, purpose: str, wanted: tuple[str, ...], unwanted: tuple[str, ...]
) -> None:
    result = run(bare_path, purpose, tmp_path)
    assert result.returncode == 77
    lines = [line for line in result.stderr.splitlines() if "apt-get install" in line]
    assert len(lines) == 1, result.stderr
    packages = lines[0].split("--no-install-recommends")[1].split()
    assert set(wanted) <= set(packages)
    assert not set(unwanted) & set(packages)
    assert len(packages) == len(set(packages)), "each package once"
    assert not (tmp_path / "venv").exists()
