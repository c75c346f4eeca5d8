"""Asks zwave-js, as its lock file pins it."""

import atexit
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent / "zwavejs"


def installed() -> None:
    """zwave-js by its lock file; `make test` has installed it already."""
    if not all((HERE / "node_modules" / name).exists() for name in ("zwave-js", "@zwave-js/server")):
        npm = shutil.which("npm")
        assert npm is not None, "install node and npm (Debian: apt install npm)"
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE, check=True)


def serving(*command: str, ports: int = 1) -> list[int]:
    """Start a server that runs as long as this process, and return the ports that it prints first, in order of their lines' text."""
    installed()
    process = subprocess.Popen(
        ["node", *command], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    atexit.register(_stop, process)
    assert process.stdout is not None
    found: dict[bytes, int] = {}
    said = b""
    while len(found) < ports:
        line = process.stdout.readline()
        said += line
        assert line, f"zwave-js ended: {said.decode()}"
        if match := re.match(rb"(.+) on tcp://127.0.0.1:(\d+)", line):
            found[match[1]] = int(match[2])
    threading.Thread(target=process.stdout.read, daemon=True).start()  # else it would wait for a reader one day
    return [found[name] for name in sorted(found)]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """It ends with its input."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


class ZWaveJs:
    """A running zwave-js that keeps the state of a conversation."""

    def __init__(self) -> None:
        installed()
        self.process = subprocess.Popen(
            ["node", "kat.cjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=30)

    def ask(self, questions: list[dict[str, Any]]) -> list[Any]:
        """One answer for each question; {"$error": reason} where zwave-js refuses."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(questions) + "\n")
        self.process.stdin.flush()
        answers: list[Any] = json.loads(self.process.stdout.readline())
        assert len(answers) == len(questions)
        return answers

    def __call__(self, op: str, **arguments: Any) -> Any:
        return self.ask([{"op": op, **arguments}])[0]


def ask(questions: list[dict[str, Any]]) -> list[Any]:
    """The answers of a zwave-js that ends then."""
    with ZWaveJs() as foreign:
        return foreign.ask(questions)


def hexed(data: bytes | str) -> dict[str, str]:
    """Bytes as the script reads and prints them."""
    return {"$hex": data if isinstance(data, str) else data.hex()}
