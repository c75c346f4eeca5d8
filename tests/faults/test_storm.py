"""kill -9, broker killed, stick unplugged, bytes corrupted, all in one run under traffic: nothing accepted is lost, nothing is told twice.

`make faults` runs 100 kills; `make test` a short form. HUB_AGENT_FAULT_SEED replays a run.
"""

import itertools
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import Broker, until
from faults.home import STICKS, SimulatedHome
from faults.storm import Storm
from house import House

KILLS = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "2"))
SEED = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
ORDER = {
    "default": ("busy", "starting", "busy", "radio", "broker"),
    "strict": ("broker", "radio", "busy", "busy", "starting"),
}
COMPLAINTS = ("Traceback", "was never awaited", "was never retrieved", "Task was destroyed", "ResourceWarning")


@pytest.fixture(params=["default", "strict"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def storm(durability: str, tmp_path: Path, broker: Broker) -> AsyncIterator[Storm]:
    house = House(tmp_path, broker, durability, SimulatedHome.spec())
    found = f'port = "auto"\ncandidates = ["{tmp_path}/links/{STICKS}"]'
    house.config.write_text(house.config.read_text().replace(f'port = "{tmp_path}/stick"', found))
    home = SimulatedHome(tmp_path, SEED)
    try:
        house.run()
        await house.online()
        await house.join()
        made = Storm(house, home, broker, SEED)
        await made.begin()
        yield made
    finally:
        house.kill()
        house.mqtt.disconnect()
        house.mqtt.loop_stop()
        home.close()


@pytest.mark.timeout(3600)
async def test_a_storm_of_faults_loses_nothing_that_was_accepted(storm: Storm, durability: str) -> None:
    print(f"seed {SEED}")
    for cycle, kind in enumerate(itertools.cycle(ORDER[durability])):
        await storm.kill(kind)
        if cycle % 5 == 0:
            await storm.unplug()
        if cycle % 5 == 1:
            await storm.restart_broker()
        if storm.done["kills"] >= KILLS:
            break
    print(storm.summary(durability, await storm.verdict()))
    assert storm.house.process is not None
    storm.house.process.send_signal(signal.SIGTERM)
    assert storm.house.process.wait(5) == 0, "an orderly stop within 5 s"
    await until(lambda: storm.house.told("HUB_STATUS")[-1]["payload"].get("reason") == "stopped", what="the last word")
    log = (storm.house.folder / "agent.log").read_text()
    assert not [line for line in log.splitlines() if any(word in line for word in COMPLAINTS)], log[-5000:]
