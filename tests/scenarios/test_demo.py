"""`agent demo --once`: the whole story, with the boto3 code that it runs."""

import inspect
import subprocess
import sys

import pytest

from agent.demo import owner

pytestmark = pytest.mark.conformance
COMMAND = [sys.executable, "-m", "agent.cli", "demo", "--once"]


def test_the_demo_shows_the_story_and_the_code_that_it_ran() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in range(1, 9):
        assert f"\n{step}. " in f"\n{done.stdout}"
    zigbee = (owner.create_profile, owner.create_hub, owner.discover, owner.add_device, owner.switch, owner.delete)
    for code in (*zigbee, owner.expect, owner.discover_by_pin, owner.lock, owner.heat):
        for line in inspect.getsource(code).splitlines():
            assert line.strip() in done.stdout
    assert "DEVICE_COMMAND" in done.stdout
    for line in (
        "joined by itself",
        "by its PIN",
        "the lock is open",
        "it woke up, and took its setpoint",
        "12 devices",
    ):
        assert line in done.stdout
