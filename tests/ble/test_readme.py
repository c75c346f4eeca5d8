"""What the README tells people to type for Bluetooth devices runs as it is written; only folders, ports and times are those of the test."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import free_port, until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.conformance


def lines() -> list[str]:
    """The commands of the section."""
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## Bluetooth\n")
    (block,) = re.findall(r"```sh\n(.*?)```", re.split(r"\n## ", rest)[0], re.DOTALL)
    return [line.partition("  #")[0] for line in block.splitlines() if not line.startswith(("#", "export"))]


@contextmanager
def served(line: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    words = line.split()
    command = [sys.executable, "-m", "agent.cli", *words[1:]] if words[0] == "agent" else words
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


async def test_the_section_runs_as_written(tmp_path: Path) -> None:
    port = str(free_port())
    environment = {
        **os.environ,
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "HUB_AGENT__HUB__STATE_DIR": str(tmp_path / "hub"),
        "HUB_AGENT__HUB__RUNTIME_DIR": str(tmp_path / "run"),
        "HUB_AGENT__UPLINKS__MAIN__PORT": port,
    }
    (tmp_path / "hub").mkdir()
    simulate, broker, hub, *asked = lines()
    with ExitStack() as servers:
        simulated = servers.enter_context(served(simulate.replace("/tmp/home", f"{tmp_path}/home"), environment))
        assert simulated.stdout is not None
        environment["HUB_AGENT__RADIOS__BLE__BUS"] = json.loads(simulated.stdout.readline())["port"]
        servers.enter_context(served(broker.replace("1884", port), environment))
        servers.enter_context(served(hub, environment))
        await until((tmp_path / "run" / "control.sock").exists, 20)
        said = []
        for line in asked:
            words = line.replace("--duration 10", "--duration 2").split()
            command = [sys.executable, "-m", "agent.cli", *words[1:]]
            done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            said.append(done.stdout)
    assert len(said) == 4
    for number, found in enumerate((("01", "06", "08", "09"), ("02",), ("07",))):
        assert all(f"A4:C1:38:00:00:{last}" in said[number] for last in found), said[number]
