"""What the README tells people to type at a simulated home."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_simulated_device_obeys_the_readmes_line(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (function,) = (line for line in readme.splitlines() if line.startswith("sim() {"))
    (call,) = (line for line in readme.splitlines() if line.startswith("sim '"))
    home = ROOT / "config" / "examples" / "home.toml"
    simulate = [sys.executable, "-m", "agent.cli", "simulate", str(home), "--links", str(tmp_path)]
    with subprocess.Popen(simulate, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            control = json.loads(process.stdout.readline())["control"]
            script = f"{function}\n{call}".replace("/tmp/home/zigbee.control", control)
            told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=30)
        finally:
            process.terminate()
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["ok"] is True
