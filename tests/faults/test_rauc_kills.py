"""kill -9 of RAUC, of the agent and of both at every step of an update: exactly one final status, equal to what the board then starts."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

SHORT, PER_CYCLE = 4, 10  # kills; CYCLES=100 of `make faults` are 1,000 beside each victim at each point
CYCLES = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "0"))


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_an_update_by_rauc_lives_through_kills_of_either_side() -> None:
    kills = CYCLES * PER_CYCLE or SHORT
    seed = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
    script = Path(__file__).parent / "rauc_kills.py"
    called = [sys.executable, str(script), "--kills", str(kills), "--seed", str(seed), *(["--every"] if CYCLES else [])]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    print(done.stdout or f"seed {seed}")
    assert done.returncode == 0, f"HUB_AGENT_FAULT_SEED={seed}\n{done.stderr[-4000:]}"
    told = json.loads(done.stdout)
    assert sum(told["kills"].values()) >= kills
    assert set(told["ends"]) <= {"good SUCCEEDED", "good FAILED", "unwell FAILED", "dead FAILED"}
    if CYCLES:
        assert set(told["kills"]) == {"agent", "rauc", "both"}
        steps = (
            "install",
            "mark active",
            "mark good",
            "mark bad",
            "note",
            "start",
            "reboot",
            "loader set-",
            "as TRIAL",
        )
        assert not [step for step in steps if not any(step in point for point in told["killed at"])]
