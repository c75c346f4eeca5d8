"""Seven builds that are really bad in seven ways: each is rolled back by itself within its limit, and the cloud hears one end, the truth.

Daemon, launcher, watchdog, stand-in cloud and boto3 as they are, and real builds. Trials take their time: `make faults` runs all of them,
`make test` none of these (ota/test_bad_builds.py has the engine's part, scenarios/test_update_story.py two builds).
"""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import until_async
from faults.bad_builds import JUNK, LIMIT, PROMISE, Build, PatientHub, builds
from update_rig import running

from drivers.sim.zigbee.server import start

pytestmark = [pytest.mark.faults, pytest.mark.conformance]

LONG = bool(os.environ.get("HUB_AGENT_FAULT_CYCLES"))
DISK = "96m"
OLD, GOOD = "1.0.0", "2.0.0"
HOME: dict[str, Any] = {
    "kind": "zigbee",
    "stick": "ezsp",
    "ieee": "00:12:4b:00:00:00:ff:01",
    "devices": [{"name": "bulb", "profile": "color-bulb"}],
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk, which holds the hub's state."""
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", state], check=True)
    yield state
    subprocess.run(["umount", state], check=True)


@pytest.fixture
async def hub(tmp_path: Path, disk: Path) -> AsyncIterator[PatientHub]:
    assert disk.is_mount()
    sim = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=1)
    try:
        async with running(tmp_path, kind=PatientHub) as made:
            assert isinstance(made, PatientHub)
            yield made
    finally:
        await sim.close()


async def goes_back(hub: PatientHub, version: str, name: str, build: Build) -> None:
    """The build is tried, and the old version runs again, whole, while the cloud holds why."""
    task = await hub.publishes(version, build.replaced)
    seconds = await hub.carries_out(task)
    await until_async(lambda: hub.well(OLD), bool, 60.0)
    (end,) = hub.spied.ends(task)
    told = end["details"]
    print(
        f"a build that {name}: {end['asked']} ({told['code']}) {seconds:.0f} s after its activation: {told['reason']}"
    )
    assert end["asked"] == hub.execution(task)["Status"] == "FAILED"
    assert told["code"] == build.code
    assert build.reason in told["reason"]
    assert seconds <= LIMIT + PROMISE


@pytest.mark.skipif(not LONG, reason="minutes of trials: make faults")
@pytest.mark.timeout(1800)
async def test_each_bad_build_is_rolled_back_and_the_next_good_one_stays(hub: PatientHub, disk: Path) -> None:
    await until_async(lambda: hub.well(OLD), bool, 60.0)
    made = builds(disk)
    for number, (name, build) in enumerate(made.items(), 1):
        starved = hub.service.starved
        await goes_back(hub, f"1.{number}.0", name, build)
        assert (hub.service.starved > starved) == (name == "hangs")
        assert (disk / JUNK).exists() == ("disk" in name)
        (disk / JUNK).unlink(missing_ok=True)
    task = await hub.publishes(GOOD)
    await hub.carries_out(task)
    await until_async(lambda: hub.well(GOOD), bool, 60.0)
    assert [end["asked"] for end in hub.spied.ends(task)] == ["SUCCEEDED"]
    print(
        f"{len(made)} bad builds rolled back within {LIMIT:.0f} + {PROMISE:.0f} s, one end told of each; a good one has stayed"
    )
