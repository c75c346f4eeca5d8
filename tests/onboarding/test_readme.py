"""What the README says about onboarding, batches and the vault runs as it is written; only folder and port are those of the test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from standin_rig import Cloud

ROOT = Path(__file__).parent.parent.parent


def script(title: str) -> str:
    """The shell lines of a section."""
    _, _, rest = (ROOT / "README.md").read_text().partition(f"\n## {title}\n")
    found = re.search(r"```sh\n(.*?)```", rest.partition("\n## ")[0], re.DOTALL)
    assert found is not None, title
    return found[1]


@pytest.mark.parametrize(
    ("title", "words"),
    [
        (
            "Devices into nRF Cloud",
            ("fleet.csv: 1 row, good", "1 row, succeeded", "hub-1 is onboarded", "device-1 is forgotten"),
        ),
        ("Certificates in batches", ("3 pairs of certificate and key in", "this hub is hub::a1f1")),
        (
            "Commissioning documents into the vault",
            ("1 file: 1 uploaded now", "1 entry, processing", "jo@example.com"),
        ),
    ],
)
def test_a_section_runs_as_written(cloud: Cloud, tmp_path: Path, title: str, words: tuple[str, ...]) -> None:
    port = re.search(r":(\d+)/", cloud.told["console"])
    assert port is not None
    folders = {"/tmp/cloud/": f"{cloud.folder}/", "/tmp/": f"{tmp_path}/"}
    text = re.sub("/tmp/(cloud/)?", lambda found: folders[found[0]], script(title))
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port[1]}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout, done.stdout + done.stderr
