"""scripts/setup.sh without root: it says once which packages to install, and stops."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "dirname", "sort", "tr", "sha256sum", "cut", "cat")


def run(path: Path, purpose: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / "setup.sh"), purpose, str(tmp_path / "venv")]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False, timeout=30)


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def named(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The packages that a person is told to install."""
    assert result.returncode == 77
    lines = [line for line in result.stderr.splitlines() if "apt-get install" in line]
    assert len(lines) == 1, result.stderr
    return lines[0].split("--no-install-recommends")[1].split()


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with nothing but what every Debian has, for somebody who is not root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder / "id", "echo 1000")
    for tool in TOOLS:
        found = next(Path(part) / tool for part in ("/usr/bin", "/bin") if (Path(part) / tool).exists())
        (folder / tool).symlink_to(found)
    return folder


@pytest.mark.parametrize(
    ("purpose", "wanted", "unwanted"),
    [
        ("demo", ("python3-venv", "dbus-daemon"), ("mosquitto-clients", "nodejs", "npm")),
        ("test", ("mosquitto-clients", "python3-venv", "nodejs", "npm"), ()),
    ],
)
def test_without_root_the_packages_are_named_once_and_nothing_is_done(
    bare_path: Path, tmp_path: Path, purpose: str, wanted: tuple[str, ...], unwanted: tuple[str, ...]
) -> None:
    packages = named(run(bare_path, purpose, tmp_path))
    assert set(wanted) <= set(packages)
    assert not set(unwanted) & set(packages)
    assert len(packages) == len(set(packages)), "each package once"
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("purpose", "libraries", "missing"),
    [("test", "", True), ("test", "libatomic.so.1 (libc6,x86-64) => /lib/libatomic.so.1", False), ("demo", "", False)],
)
def test_a_library_that_is_not_there_is_named_too(
    bare_path: Path, tmp_path: Path, purpose: str, libraries: str, *, missing: bool
) -> None:
    program(bare_path / "ldconfig", f"echo '{libraries}'")
    assert ("libatomic1" in named(run(bare_path, purpose, tmp_path))) is missing
