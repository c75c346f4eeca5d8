"""Power cuts that drop, tear and reorder what was not synced, on a file system of our own; and that they notice a removed fsync."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faults.power_controls import BLIND, DATABASE, FILES, FOLDERS, NORMAL, WAL

CYCLES = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "0"))
PER_CYCLE = {"rot": 20}  # cuts; all others 100, so that CYCLES=100 of `make faults` are 10,000 of each
SHORT = {"store": 200, "files": 100, "certificates": 200, "downloads": 60, "updates": 60, "rot": 8}
ENOUGH = 4_000  # cuts within which a control is noticed; most are within 20

# What is removed on purpose. A sync that another one in the same folder covers goes together with that.
CONTROLS = [
    *(("store", control) for control in (NORMAL, WAL, DATABASE, FOLDERS, "make_folder")),
    *(("files", control) for control in (FILES, FOLDERS, "write_atomic file", "write_atomic folder", "make_folder")),
    *(("certificates", control) for control in (FILES, FOLDERS, "write_atomic folder", "make_folder", "key removal")),
    *(("downloads", control) for control in (FILES, FOLDERS, "read-back file", "image folder", "make_folder")),
    *(("updates", control) for control in (NORMAL, FILES, FOLDERS, "unpack file", "unpack folder", "make_folder")),
    ("updates", "slot marks + floor"),
    ("rot", BLIND),
]
LAUNCHER = "launcher folder + launcher select + launcher fall back + slot marks + floor"
if CYCLES:
    CONTROLS += [("updates", control) for control in ("launcher file", "slot folder", LAUNCHER)]


def cut(scenario: str, cuts: int, control: str = "") -> dict[str, Any]:
    """One run, in a process of its own: it forks, which a process with threads should not."""
    seed = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1 << 20)
    script = Path(__file__).parent / "power_cuts.py"
    called = [sys.executable, str(script), scenario, "--cuts", str(cuts), "--seed", str(seed), "--control", control]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    print(done.stdout or f"seed {seed}")
    assert done.stdout, f"HUB_AGENT_FAULT_SEED={seed}\n{done.stderr[-4000:]}"
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("scenario", SHORT)
def test_nothing_that_was_promised_is_lost_in_a_power_cut(scenario: str) -> None:
    told = cut(scenario, CYCLES * PER_CYCLE.get(scenario, 100) or SHORT[scenario])
    assert not told["lost"], f"HUB_AGENT_FAULT_SEED={told['seed']}: {told['lost']}"
    kinds = {f"{way} {what}" for way in ("dropped", "kept", "torn", "reordered") for what in ("writes", "names")}
    assert not CYCLES or kinds <= set(told["unsynced"]), "not every kind of loss was tried"
    if scenario == "rot" and CYCLES:
        assert {"rotten sectors", "unreadable sectors"} <= set(told["unsynced"])
    if scenario in {"updates", "rot"} and told["cuts"] >= SHORT["updates"]:
        assert {"good SUCCEEDED", "crashing FAILED", "unwell FAILED", "corrupt FAILED"} <= set(told["ends"])
        assert not {"crashing SUCCEEDED", "unwell SUCCEEDED", "corrupt SUCCEEDED"} & set(told["ends"])


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("scenario", "control"), CONTROLS)
def test_a_removed_sync_is_noticed(scenario: str, control: str) -> None:
    for _ in range(10 if CYCLES else 1):
        told = cut(scenario, ENOUGH, control)
        assert told["lost"], f"HUB_AGENT_FAULT_SEED={told['seed']}: nobody notices {control} in {told['cuts']} cuts"
