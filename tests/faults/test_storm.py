"""kill -9, broker killed, stick unplugged, bytes corrupted, all in one run under traffic: nothing accepted is lost, nothing is told twice.

`make faults` runs 100 kills; `make test` a short form. HUB_AGENT_FAULT_SEED replays a run.
"""

import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import Broker
from faults.storm import CORRUPTION, HOME, Storm
from house import House

from drivers.sim.zigbee.server import start

CYCLES = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "3"))
SEED = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)


@pytest.fixture(params=["default", "strict"])
async def storm(request: pytest.FixtureRequest, tmp_path: Path, broker: Broker) -> AsyncIterator[Storm]:
    house = House(tmp_path, broker, request.param, HOME)
    house.sim = await start("zigbee", HOME, link=tmp_path / "stick", state=None, faults="", seed=SEED)
    house.run()
    await house.online()
    await house.join()
    made = Storm(house, broker, SEED)
    await made.learn()
    await house.sim.control({"op": "faults", "spec": CORRUPTION, "seed": SEED})
    yield made
    assert house.process is not None
    house.process.kill()
    house.process.wait()
    house.mqtt.disconnect()
    house.mqtt.loop_stop()
    await house.sim.close()


@pytest.mark.timeout(3600)
async def test_a_storm_of_faults_loses_nothing_that_was_accepted(storm: Storm) -> None:
    print(f"seed {SEED}")
    for cycle in range(CYCLES):
        await storm.kill()
        if cycle % 5 == 0:
            await storm.unplug()
        if cycle % 5 == 2:
            await storm.restart_broker()
    figures = await storm.verdict()
    print(storm.summary(figures))
    process = storm.house.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    assert process.wait(6) == 0, "an orderly stop within 5 s"
