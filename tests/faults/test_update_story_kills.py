"""kill -9 of the real daemon at random instants over whole updates: the cloud hears exactly one end of each job, which is what runs.

`make faults` only: CYCLES=100 are 100 kills. HUB_AGENT_FAULT_SEED replays a run's choices.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import until, until_async
from faults.bad_builds import FINAL, SpiedCloud
from standin_rig import Cloud
from update_rig import CRASHES, Hub, no_uplink, running

pytestmark = [pytest.mark.faults, pytest.mark.conformance]

KILLS = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "0"))
SEED = int(os.environ.get("HUB_AGENT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 20)
LONGEST = 5.0  # seconds of a life before it is killed; a start takes one, a trial one more
END = 120.0  # seconds for what is left alone
GOOD, CRASHING, UNWELL = "good", "crashing", "unwell"


class SpiedHub(Hub):
    """A hub whose cloud writes down what it hears of jobs."""

    cloud_kind: ClassVar[type[Cloud]] = SpiedCloud

    @property
    def spied(self) -> SpiedCloud:
        assert isinstance(self.cloud, SpiedCloud)
        return self.cloud

    def made(self, version: str, replaced: Mapping[str, str]) -> str:
        return self.task({"manifestUrl": self.publish(version, replaced)})

    async def runs(self) -> str:
        """The version that is on line and has told the end of everything."""
        told = await self.status()
        heard = told["version"] and all(task["heard"] for task in await self.updates())
        return str(told["version"]) if heard and told["uplinks"]["main"]["status"] == "online" else ""


class Killer:
    """Ends the daemon at random instants, and counts where the cloud last knew the update to be."""

    def __init__(self, hub: SpiedHub, rng: random.Random) -> None:
        self.hub, self.rng = hub, rng
        self.kills: Counter[str] = Counter()

    async def kill(self, task: str) -> None:
        await asyncio.sleep(self.rng.triangular(0.0, LONGEST, LONGEST / 3))
        process = self.hub.service.process
        if process is not None and process.poll() is None:
            process.kill()
            heard = self.hub.spied.heard(task)
            self.kills[heard[-1]["details"].get("state", "?") if heard else "unheard"] += 1

    async def over(self, task: str) -> str:
        """The job's end, once it has been killed some times more."""
        for _ in range(self.rng.randint(2, 9)):
            if not self.hub.spied.ends(task):
                await self.kill(task)
        await until(lambda: self.hub.spied.ends(task), END, "the end of the job")
        if self.rng.random() < 1 / 3:  # what was told, or was about to be noted as told, is not told twice
            await self.kill(task)
        await until_async(self.hub.runs, bool, END)
        (end,) = self.hub.spied.ends(task)
        assert self.hub.spied.heard(task)[-1]["asked"] in FINAL
        assert self.hub.execution(task)["Status"] == end["asked"]
        return str(end["asked"])


@pytest.mark.skipif(not KILLS, reason="many whole updates: make faults")
@pytest.mark.timeout(7200)
async def test_the_cloud_hears_one_end_of_each_job_and_it_is_what_runs(tmp_path: Path) -> None:
    rng, ends, again = random.Random(SEED), Counter[str](), 0
    print(f"seed {SEED}")
    builds: dict[str, Mapping[str, str]] = {GOOD: {}, CRASHING: CRASHES, UNWELL: no_uplink()}
    async with running(tmp_path, kind=SpiedHub) as hub:
        assert isinstance(hub, SpiedHub)
        killer, number = Killer(hub, rng), 0
        while killer.kills.total() < KILLS:
            number += 1
            before, version = (await hub.status())["version"], f"1.{number}.0"
            kind = rng.choices((GOOD, CRASHING, UNWELL), (3, 1, 1))[0]
            task = await asyncio.to_thread(hub.made, version, builds[kind])
            end = await killer.over(task)
            runs = await hub.runs()
            assert runs == (version if end == "SUCCEEDED" else before), f"seed {SEED}: {kind} {end}, and {runs} runs"
            assert kind == GOOD or end != "SUCCEEDED"
            ends[f"{kind} {end}"] += 1
            again += sum(not line["taken"] for line in hub.spied.heard(task))
    kills = dict(killer.kills.most_common())
    print(
        f"{killer.kills.total()} kills in {number} updates: {kills}; ends {dict(ends.most_common())}; {again} refused updates"
    )
