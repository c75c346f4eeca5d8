"""`agent cloud` that writes down each update of a job which a device asks for: a line each in `<data folder>.jobs`. Run with `python -c`."""

import json
import sys
import time
from pathlib import Path

from agent import cli
from agent.sim.iot.executions import Executions

told = Path(sys.argv[sys.argv.index("--data") + 1]).with_suffix(".jobs")
really, ends = Executions.request, Executions.end


def _write(**line: object) -> None:
    with told.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": time.time(), **line}) + "\n")


def request(self: Executions, thing: str, words: tuple[str, ...], payload: bytes) -> None:
    """Answer it as always; `taken` where the execution has moved on by it."""
    before = self.get(thing, words[0])
    really(self, thing, words, payload)
    after = self.get(thing, words[0])
    if words[-1] == "update" and before is not None and after is not None:
        asked = json.loads(payload)
        taken = after["versionNumber"] > before["versionNumber"]
        _write(job=words[0], asked=asked["status"], details=asked.get("statusDetails", {}), taken=taken)


def end(self: Executions, execution: dict[str, object], status: str) -> None:
    """What the cloud ends by itself."""
    _write(job=execution["jobId"], asked=status, details={}, taken=True)
    ends(self, execution, status)


Executions.request, Executions.end = request, end  # type: ignore[method-assign]
sys.exit(cli.main())
