"""`agent demo --once`: the whole story, with the boto3 and REST code that it runs."""

import inspect
import subprocess
import sys

import pytest

from agent.demo import nrf_owner, owner

pytestmark = pytest.mark.conformance
COMMAND = [sys.executable, "-m", "agent.cli", "demo", "--once"]
SHOWN = (
    *(owner.create_profile, owner.create_hub, owner.discover, owner.add_device, owner.switch, owner.delete),
    *(owner.expect, owner.discover_by_pin, owner.lock, owner.heat),
    *(owner.discover_custom, owner.expect_custom),
    *(nrf_owner.call, nrf_owner.onboard, nrf_owner.temperatures, nrf_owner.switch),
    *(nrf_owner.connect, nrf_owner.write, nrf_owner.read),
)


def test_the_demo_shows_the_story_and_the_code_that_it_ran() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for step in range(1, 11):
        assert f"\n{step}. " in f"\n{done.stdout}"
    for code in SHOWN:
        for line in inspect.getsource(code).splitlines():
            assert line.strip() in done.stdout
    assert "DEVICE_COMMAND" in done.stdout
    for line in (
        "joined by itself",
        "by its PIN",
        "the lock is open",
        "it woke up, and took its setpoint",
        "11.25 degrees, from an advertisement, are in both clouds",
        "on by AWS's command, and is off by nRF Cloud's",
        "nRF Cloud wrote 1 to characteristic 2A56 through the gateway, and read 0 from it",
        "4.5 degrees are in both clouds",
        "not one message to it was in clear",
        "16 devices",
    ):
        assert line in done.stdout
