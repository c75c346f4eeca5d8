"""Every request that install, confirmation and rollback make of the disk, SQLite's among them: a kill at it, or EIO or ENOSPC in its place.

`make faults` tries each, `make test` a few of one kind of update, in each run others. HUB_AGENT_FAULT_SEED replays a run.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from faults.power_points import ENDS, KINDS, WAYS

CYCLES = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "0"))
SPARSE = 300  # `make test` tries every so many-th


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_a_fault_at_any_request_to_the_disk_ends_in_the_truth() -> None:
    seed = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
    chance, every = random.Random(seed), 1 if CYCLES else SPARSE
    kinds, first = KINDS if CYCLES else (chance.choice(KINDS),), chance.randint(1, every)
    script = Path(__file__).parent / "power_points.py"
    called = [sys.executable, str(script), "--every", str(every), "--first", str(first), "--kinds", ",".join(kinds)]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    print(f"seed {seed}: {done.stdout}")
    assert done.stdout, f"HUB_AGENT_FAULT_SEED={seed}\n{done.stderr[-4000:]}"
    told = json.loads(done.stdout)
    assert not told["lost"], f"HUB_AGENT_FAULT_SEED={seed}: {told['lost']}"
    assert set(told["ends"]) <= ENDS
    tried = {f"{kind} {way}": len(range(first, told["points"][kind] + 1, every)) for kind in kinds for way in WAYS}
    assert told["tried"] == tried
    assert min(tried.values()) > 0
