"""`agent demo --once`: the whole story, with the boto3 and REST code that it runs."""

import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import until

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


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo in `folder`, told to end when this ends: who kills it leaves a hub behind."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a name that sockets can have."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


def commands() -> Iterator[bytes]:
    """Those of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            yield path.read_bytes()


async def test_a_demo_that_is_killed_leaves_no_hub_behind(short: Path) -> None:
    with running(short) as process:
        assert process.stdout is not None
        assert any(line.startswith("2. ") for line in process.stdout)
        assert any(str(short).encode() in command for command in commands())
        process.kill()
        await until(lambda: not any(str(short).encode() in command for command in commands()), timeout=30)


def test_a_demo_that_is_told_to_end_leaves_nothing_behind(short: Path) -> None:
    with running(short) as process:
        assert process.stdout is not None
        assert any(line.startswith("2. ") for line in process.stdout)
        process.terminate()
        assert process.wait(30) == 0
    assert list(short.iterdir()) == []
    assert not [command for command in commands() if str(short).encode() in command]


def test_the_demo_shows_the_story_and_the_code_that_it_ran(short: Path) -> None:
    with running(short) as process:
        told, errors = process.communicate(timeout=110)
    assert process.returncode == 0, told + errors
    assert errors == ""
    for step in range(1, 11):
        assert f"\n{step}. " in f"\n{told}"
    for code in SHOWN:
        for line in inspect.getsource(code).splitlines():
            assert line.strip() in told
    assert "DEVICE_COMMAND" in told
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
        assert line in told
