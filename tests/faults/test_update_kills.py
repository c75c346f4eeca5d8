"""kill -9 at random instants over whole updates: never a half-active version, and exactly one final status, which is the truth."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from agent.ota.plan import State

SHORT, PER_CYCLE = 300, 100  # kills; CYCLES=100 of `make faults` are 10,000
COVERED, ENOUGH = 10_000, 10  # kills; from so many on, no state is hit less often than this
WAY = [state for state in State if state not in {State.REJECTED, State.CANCELED, State.TIMED_OUT}]


@pytest.mark.timeout(3600)
def test_an_update_lives_through_kills_at_any_instant() -> None:
    cycles = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "0"))
    kills = cycles * PER_CYCLE or SHORT
    seed = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1 << 20)
    script = Path(__file__).parent / "update_kills.py"
    called = [sys.executable, str(script), "--kills", str(kills), "--seed", str(seed)]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    print(done.stdout or f"seed {seed}")
    assert done.returncode == 0, f"HUB_AGENT_FAULT_SEED={seed}\n{done.stderr[-4000:]}"
    told = json.loads(done.stdout)
    assert told["kills"] >= kills
    if kills >= COVERED:
        assert not {state: told["killed in"].get(state, 0) for state in WAY if told["killed in"].get(state, 0) < ENOUGH}
    ends = told["ends"]
    assert {"good SUCCEEDED", "crashing FAILED", "unwell FAILED", "corrupt FAILED"} <= set(ends)
    assert not {"crashing SUCCEEDED", "unwell SUCCEEDED", "corrupt SUCCEEDED"} & set(ends)
