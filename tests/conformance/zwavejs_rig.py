"""Asks zwave-js, as its lock file pins it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "zwavejs"


def installed() -> None:
    """zwave-js by its lock file; `make test` has installed it already."""
    if not (HERE / "node_modules" / "@zwave-js" / "core").exists():
        npm = shutil.which("npm")
        assert npm is not None, "install node and npm (Debian: apt install npm)"
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE, check=True)


def ask(questions: list[dict[str, Any]]) -> list[Any]:
    """One answer for each question; {"$error": reason} where zwave-js refuses."""
    installed()
    result = subprocess.run(
        ["node", "kat.cjs"],
        cwd=HERE,
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    answers: list[Any] = json.loads(result.stdout)
    assert len(answers) == len(questions)
    return answers


def hexed(data: bytes | str) -> dict[str, str]:
    """Bytes as the script reads and prints them."""
    return {"$hex": data if isinstance(data, str) else data.hex()}
