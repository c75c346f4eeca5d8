"""Updates of devices beside other tasks: withdrawn in the middle, giving way to the hub and to emergencies, and going on where they were."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from device_rig import IMAGE, NEW, OLD, FakeHome, FakeRadio, Fleet, Terms, radio
from ota_machine import update
from ota_rig import agent, bulb, file, trusted
from power_cut import PowerCut, cutting
from slots_rig import tree

from agent.ota.engine import Engine
from agent.ota.floors import Floors
from agent.ota.plan import State, Task, key_of
from agent.ota.sources.aws_jobs import AwsJobs
from agent.ota.verifier import LOCAL

CAMPAIGN, OTHER = key_of(LOCAL, "1", 1), key_of(LOCAL, "2", 1)
AGENT = ("agent.tar.gz", tree("2.0"))
PATIENT = Terms(deadline=60.0, retry=60.0, again=0.01, look=0.05, radio=1.0, grace=30.0)


class Gate:
    """Stops a radio before one of its devices is updated, until it is opened."""

    def __init__(self, air: FakeRadio, key: str) -> None:
        self.reached, self.opened, self._key = asyncio.Event(), asyncio.Event(), key
        air.begun = self._begun

    async def _begun(self, key: str) -> None:
        if key == self._key:
            self.reached.set()
            await self.opened.wait()


def fleet(folder: Path, *radios: FakeRadio, terms: Terms = PATIENT) -> Fleet:
    return Fleet(folder, FakeHome(*radios), terms)


def ended(hub: Fleet, key: str) -> Task:
    assert hub.journal is not None
    return hub.journal.tasks[key]


async def over(engine: Engine, *keys: str) -> None:
    await until(lambda: all(engine.tasks[key].over for key in keys), 20.0)


async def test_a_campaign_that_is_withdrawn_ends_once_the_device_under_way_is_through(tmp_path: Path) -> None:
    air = radio(5)
    hub, gate = fleet(tmp_path, air), Gate(air, "d01")

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await gate.reached.wait()
        assert await engine.cancel(CAMPAIGN, "operator", "withdrawn by a person")
        assert not await engine.cancel(CAMPAIGN, "operator", "twice")
        assert engine.tasks[CAMPAIGN].state == State.ROLLING_BACK
        gate.opened.set()
        await over(engine, CAMPAIGN)

    await hub.life(work)
    task = ended(hub, CAMPAIGN)
    assert (task.state, task.code, task.told) == (State.CANCELED, "operator", False)
    assert task.detail == "withdrawn by a person; 2 of 5 devices run it"
    assert [gadget.version for gadget in air.gadgets.values()] == [NEW, NEW, OLD, OLD, OLD]
    assert not (tmp_path / "state" / "ota" / "devices" / "zigbee").exists()


class CloudJob:
    """A job that takes every word."""

    id, number = "1", 1

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.ends: list[tuple[str, str]] = []

    async def progress(self, _told: dict[str, str], _timeout: int | None = None) -> None:
        """Heard."""

    async def end(self, status: str, told: dict[str, str]) -> None:
        self.ends.append((status, told["reason"]))


async def test_a_campaign_whose_job_is_withdrawn_by_the_cloud_ends_and_is_told_once(tmp_path: Path) -> None:
    air = radio(5)
    hub, gate = fleet(tmp_path, air), Gate(air, "d01")
    path = Path(hub.release()["path"])
    job = CloudJob({"manifest": path.read_text(), "base": str(path)})
    key = key_of("main", "1", 1)

    async def work(engine: Engine) -> None:
        source = AwsJobs("main", None, engine, asyncio.get_running_loop().time)  # type: ignore[arg-type]  it is asked nothing here
        reports = asyncio.create_task(source.live())
        await source.take(job)  # type: ignore[arg-type]
        await gate.reached.wait()
        source.pending(())
        await until(lambda: engine.tasks[key].state == State.ROLLING_BACK)
        gate.opened.set()
        await until(lambda: engine.tasks[key].told)
        reports.cancel()

    await hub.life(work)
    task = ended(hub, key)
    assert (task.state, task.detail) == (State.CANCELED, "the cloud has withdrawn the job; 2 of 5 devices run it")
    assert len(job.ends) <= 1, "the cloud takes no status any more, unless it was quicker"
    assert air.order == ["d00", "d01"]


async def test_that_it_was_withdrawn_outlives_a_restart(tmp_path: Path) -> None:
    air = radio(5)
    hub, gate = fleet(tmp_path, air), Gate(air, "d01")

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await gate.reached.wait()
        assert await engine.cancel(CAMPAIGN, "timed-out", "the cloud has ended the job", State.TIMED_OUT)

    await hub.life(work)
    assert ended(hub, CAMPAIGN).state == State.ROLLING_BACK
    await hub.life(lambda engine: over(engine, CAMPAIGN))
    task = ended(hub, CAMPAIGN)
    assert (task.state, task.code) == (State.TIMED_OUT, "timed-out")
    assert task.detail == "the cloud has ended the job; 1 of 5 devices run it"
    assert air.order == ["d00", "d01"]


async def test_who_does_not_come_to_its_end_in_time_is_broken_off_and_is_no_failure(tmp_path: Path) -> None:
    air = radio(3)
    hub, gate = fleet(tmp_path, air, terms=Terms(look=0.05, grace=0.05)), Gate(air, "d01")

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await gate.reached.wait()
        await engine.cancel(CAMPAIGN, "operator", "enough")
        await over(engine, CAMPAIGN)

    await hub.life(work)
    assert ended(hub, CAMPAIGN).detail == "enough; 1 of 3 devices run it"
    assert (air.order, air.at_once) == (["d00", "d01"], 0)


async def test_the_hub_is_updated_beside_a_campaign_which_gives_way_and_goes_on(tmp_path: Path) -> None:
    air = radio(6)
    hub, gate = fleet(tmp_path, air), Gate(air, "d02")
    own = hub.offer_files(8, **update(AGENT))

    async def first(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await gate.reached.wait()
        await engine.offer(LOCAL, "2", 1, own)
        await until(lambda: engine.tasks[OTHER].state == State.ACTIVATING)
        assert air.at_once == 1
        gate.opened.set()
        await over(engine, OTHER)

    assert hub.board.start() == "1.0 A"
    assert await hub.life(first)  # it restarts for the new version
    assert air.order == ["d00", "d01", "d02"]
    assert ended(hub, CAMPAIGN).state == State.ACTIVATING
    assert hub.board.start() == "2.0 B"
    seen: list[tuple[str, State]] = []

    async def second(engine: Engine) -> None:
        async def begun(key: str) -> None:
            seen.append((key, engine.tasks[OTHER].state))

        air.begun = begun
        await over(engine, CAMPAIGN, OTHER)

    await hub.life(second)
    assert [ended(hub, key).state for key in (CAMPAIGN, OTHER)] == [State.SUCCEEDED] * 2
    assert [key for key, _ in seen] == ["d03", "d04", "d05"]
    assert {state for _, state in seen} <= {State.CONFIRMED, State.SUCCEEDED}, "no transfer while the hub is on trial"
    assert [gadget.sent for gadget in air.gadgets.values()] == [1] * 6
    floor = Floors(hub.board.folder, "").under(trusted())
    assert (floor.number, floor.installed["agent"]) == (8, "2.0"), (
        "the older release that ended later takes nothing back"
    )


async def test_an_emergency_goes_before_a_campaign_and_its_devices_are_not_put_back_after_it(tmp_path: Path) -> None:
    air = radio(4)
    hub, gate = fleet(tmp_path, air), Gate(air, "d01")
    fixed = bulb(files=[file("bulb.ota", IMAGE)], requires=[], file_version=NEW + 1, version="1.5")
    urgent = {"images": {"bulb.ota": IMAGE}, "components": [fixed], "release": "8.0", "emergency": True}

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await gate.reached.wait()
        await engine.offer(LOCAL, "2", 1, hub.offer_files(8, **urgent))
        await until(lambda: engine.tasks[OTHER].state == State.ACTIVATING)
        assert air.order == ["d00", "d01"]

        async def begun(_key: str) -> None:
            air.gives = NEW + 1 if not engine.tasks[OTHER].over else NEW

        gate.opened.set()
        air.begun = begun
        await over(engine, CAMPAIGN, OTHER)

    await hub.life(work)
    assert [ended(hub, key).state for key in (CAMPAIGN, OTHER)] == [State.SUCCEEDED] * 2
    assert [gadget.version for gadget in air.gadgets.values()] == [NEW + 1] * 4
    assert air.order == ["d00", "d01", "d00", "d01", "d02", "d03"]
    assert air.most_at_once == 1


async def test_the_same_campaign_asked_for_twice_is_done_once(tmp_path: Path) -> None:
    air = radio(3)
    hub, gate = fleet(tmp_path, air), Gate(air, "d01")
    document = hub.release()

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await gate.reached.wait()
        await engine.offer(LOCAL, "2", 1, document)
        await until(lambda: engine.tasks[OTHER].state == State.CHECKED)
        gate.opened.set()
        await over(engine, CAMPAIGN)
        await engine.change(OTHER)
        await over(engine, OTHER)

    await hub.life(work)
    assert [ended(hub, key).state for key in (CAMPAIGN, OTHER)] == [State.SUCCEEDED] * 2
    assert [gadget.sent for gadget in air.gadgets.values()] == [1] * 3


async def test_a_radio_that_is_away_holds_up_its_devices_and_not_the_hub(tmp_path: Path) -> None:
    air = radio(2)
    hub = fleet(tmp_path, air)
    air.up = False
    both: dict[str, Any] = update(AGENT)

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await until(lambda: engine.tasks[CAMPAIGN].state == State.CHECKED)
        await engine.offer(LOCAL, "2", 1, hub.offer_files(8, **both))
        await over(engine, OTHER)

    assert hub.board.start() == "1.0 A"
    assert await hub.life(work)


async def _both(hub: Fleet, documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """A campaign and a hub's own update, over as many processes as it takes."""

    async def work(engine: Engine) -> None:
        for job, document in zip("12", documents, strict=True):
            await engine.offer(LOCAL, job, 1, document)
        await over(engine, CAMPAIGN, OTHER)

    for _ in range(12):
        if hub.board.start() and not await hub.life(work):
            return
    raise AssertionError("not at its end after 12 starts")


async def _cut(folder: Path, at: int) -> tuple[Fleet, FakeRadio, int]:
    air = radio(3)
    hub = fleet(folder, air)
    documents = hub.release(), hub.offer_files(8, **update(AGENT))
    with cutting(at) as cuts, suppress(PowerCut, BaseExceptionGroup):
        await _both(hub, documents)
    if at:
        await _both(hub, documents)
    return hub, air, cuts.seen


async def test_a_power_cut_at_any_point_of_both_ends_with_both_installed_once(tmp_path: Path) -> None:
    _, _, points = await _cut(tmp_path / "whole", 0)
    every = 1 if os.environ.get("HUB_AGENT_FAULT_CYCLES") else 11
    for at in range(1, points + 1, every):
        hub, air, _ = await _cut(tmp_path / str(at), at)
        assert [ended(hub, key).state for key in (CAMPAIGN, OTHER)] == [State.SUCCEEDED] * 2, at
        assert [gadget.sent for gadget in air.gadgets.values()] == [1] * 3, at
        assert hub.board.start() == "2.0 B", at
    print(f"power cuts in a campaign beside an update: every {every} of {points} points")
    assert points


@pytest.mark.parametrize("later", ["no applier", "two images"])
async def test_all_parts_of_a_release_are_judged_before_the_first_is_installed(tmp_path: Path, later: str) -> None:
    hub = fleet(tmp_path, radio(1))
    files = [file("bulb.ota", IMAGE)] if later == "no applier" else [file("bulb.ota", IMAGE), file("more.ota", IMAGE)]
    part = bulb(files=files, requires=[], file_version=NEW, kind="zwave" if later == "no applier" else "zigbee")
    told = update(AGENT)
    told["components"].append(part)
    told["images"] |= {"bulb.ota": IMAGE, "more.ota": IMAGE}
    task = await hub.to_the_end(hub.offer_files(**told))
    assert task.state == State.REJECTED
    assert task.code == ("no-applier" if later == "no applier" else "bad-image")
    assert (task.done, hub.starts) == ((), ["1.0 A"])


async def test_what_is_installed_before_a_later_part_fails_is_told_with_the_failure(tmp_path: Path) -> None:
    air = radio(1)
    air.gadgets["d00"].manner = "refuses"
    hub = fleet(tmp_path, air)
    told = update(AGENT)
    told["components"].append(bulb(files=[file("bulb.ota", IMAGE)], requires=[], file_version=NEW))
    told["images"] |= {"bulb.ota": IMAGE}
    task = await hub.to_the_end(hub.offer_files(**told))
    assert (task.state, task.code, task.done) == (State.FAILED, "campaign-stopped", ("agent",))
    assert task.detail.endswith("; installed before that: agent")
    assert hub.starts == ["1.0 A", "2.0 B"]
    floor = Floors(hub.board.folder, "").under(trusted())
    assert (floor.installed["agent"], floor.epochs["agent"], floor.number) == ("2.0", agent()["security_epoch"], 0)
