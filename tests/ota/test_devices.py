"""Campaigns by the engine, over drivers without a radio: canary, shares, the stop rule, sleepers, batteries, restarts, radios that go."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from device_rig import IMAGE, NEW, OLD, QUICK, FakeHome, FakeRadio, Fleet, Gadget, radio
from ota_machine import KEY
from ota_rig import bulb, file, permission
from power_cut import PowerCut, cutting

from agent.driver import DriverLost
from agent.ota.appliers.rollout import Terms
from agent.ota.campaign import Counts, may_begin
from agent.ota.engine import Engine
from agent.ota.plan import State, Task
from agent.ota.verifier import LOCAL


def fleet(folder: Path, *radios: FakeRadio, terms: Terms = QUICK, **home: Any) -> Fleet:
    return Fleet(folder, FakeHome(*radios, **home), terms)


async def outcome(hub: Fleet, **changes: Any) -> Task:
    return await hub.to_the_end(hub.release(**changes), start=False)


async def test_every_device_that_it_is_for_gets_the_image_once(tmp_path: Path) -> None:
    others = {
        "other product": Gadget(product=1),
        "other hardware": Gadget(hardware=9),
        "tells none": Gadget(hardware=None),
        "newer": Gadget(version=NEW + 1),
        "too old": Gadget(version=OLD - 1),
        "has it": Gadget(version=NEW),
    }
    air = radio(12, **others)
    task = await outcome(fleet(tmp_path, air))
    assert (task.state, task.done, task.was) == (State.SUCCEEDED, ("bulb",), "12 devices with 10")
    assert air.order == [f"d{number:02}" for number in range(12)]
    assert air.most_at_once == 1
    assert {name: air.gadgets[name].sent for name in others} == dict.fromkeys(others, 0)
    assert all(air.gadgets[name].version == NEW for name in air.order)
    assert not (tmp_path / "state" / "ota" / "devices" / "zigbee").exists()


async def test_how_many_run_it_is_told_and_how_many_did_not_say_what_they_run(tmp_path: Path) -> None:
    air = radio(2, dumb=Gadget(manner="silent"))
    hub = fleet(tmp_path, air)
    task = await outcome(hub)
    assert (task.state, task.detail) == (
        State.SUCCEEDED,
        "7.0 is installed; bulb: 2 of 2 devices run it, 1 did not say what they run",
    )
    assert air.order == ["d00", "d01"]


async def test_a_bad_image_stops_at_the_first_of_fifty_devices(tmp_path: Path) -> None:
    air = radio(50)
    air.gadgets["d00"].manner = "refuses"
    hub = fleet(tmp_path, air)
    task = await outcome(hub)
    assert (task.state, task.code) == (State.FAILED, "campaign-stopped")
    assert "0 of 50 devices run it, 1 failed" in task.detail
    assert "zigbee/d00: the device does not take the image (INVALID_IMAGE)" in task.detail
    assert "old version" not in task.detail
    assert air.order == ["d00"]
    assert sum(gadget.sent for gadget in air.gadgets.values()) == 0


async def test_a_few_failures_are_let_pass_and_told_more_stop_it(tmp_path: Path) -> None:
    air = radio(50)
    for name in ("d03", "d07"):
        air.gadgets[name].manner = "refuses"
    task = await outcome(fleet(tmp_path / "few", air))
    assert (task.state, task.code) == (State.FAILED, "incomplete")
    assert "48 of 50 devices run it, 2 failed" in task.detail
    air = radio(50)
    for name in ("d03", "d07", "d11", "d12"):
        air.gadgets[name].manner = "refuses"
    task = await outcome(fleet(tmp_path / "more", air))
    assert (task.state, task.code) == (State.FAILED, "campaign-stopped")
    assert "9 of 50 devices run it, 3 failed" in task.detail
    assert air.order == [f"d{number:02}" for number in range(12)]


def test_each_step_waits_for_the_one_before() -> None:
    begun = [(done, may_begin(Counts(50, done, 0, 0), under_way)) for done, under_way in ((0, 0), (0, 1), (1, 0))]
    assert begun == [(0, True), (0, False), (1, True)]
    assert [may_begin(Counts(50, 1, 0, 0), under_way) for under_way in (4, 5)] == [True, False]
    assert may_begin(Counts(50, 5, 1, 0), 30)


async def test_two_radios_work_side_by_side_once_the_canary_is_well(tmp_path: Path) -> None:
    one, two = radio(20, "one"), radio(20, "two")
    together = []

    async def begun(_key: str) -> None:
        together.append((one.at_once, two.at_once))

    one.begun = two.begun = begun
    assert (await outcome(fleet(tmp_path, one, two))).state == State.SUCCEEDED
    assert sum(together[0]) == 1
    assert (one.most_at_once, two.most_at_once) == (1, 1)
    assert (1, 1) in together
    assert len(one.order) + len(two.order) == 40


async def test_mains_first_and_who_sleeps_or_is_low_waits_for_its_time(tmp_path: Path) -> None:
    air = radio(2, asleep=Gadget(manner="sleeps", battery=True), low=Gadget(battery=True, charge=29.0))
    hub = fleet(tmp_path, air)

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await until(lambda: air.order == ["d00", "d01", "asleep"])
        await until(lambda: engine.tasks[KEY].detail == "2 of 4 devices run it")
        assert engine.tasks[KEY].percent == 50
        air.gadgets["asleep"].manner = "well"
        hub.home.wake("zigbee", "asleep")
        await until(lambda: air.order[3:] == ["asleep"])
        air.gadgets["low"].charge = 30.0
        await until(lambda: engine.tasks[KEY].over)

    await hub.life(work)
    assert hub.task.state == State.SUCCEEDED
    assert air.order == ["d00", "d01", "asleep", "asleep", "low"]


async def test_who_is_not_reached_in_time_has_missed_it_and_is_named(tmp_path: Path) -> None:
    air = radio(3, asleep=Gadget(manner="sleeps"), off=Gadget(manner="away"), low=Gadget(battery=True, charge=5.0))
    terms = Terms(deadline=0.3, retry=60.0, again=0.01, look=0.05)
    task = await outcome(fleet(tmp_path, air, terms=terms))
    assert (task.state, task.code) == (State.FAILED, "incomplete")
    assert "3 of 6 devices run it, 3 not reached" in task.detail
    assert "zigbee/low: its battery is at 5 %" in task.detail
    air.gadgets |= {name: Gadget() for name in ("asleep", "off", "low")}
    again = Fleet(tmp_path / "again", FakeHome(air))
    assert (await outcome(again)).state == State.SUCCEEDED
    assert [air.gadgets[name].sent for name in sorted(air.gadgets)] == [1] * 6


async def test_one_that_breaks_off_is_tried_again_so_often_and_no_more(tmp_path: Path) -> None:
    air = radio(1, shaky=Gadget(manner="breaks off", breaks=2))
    assert (await outcome(fleet(tmp_path / "shaky", air))).state == State.SUCCEEDED
    assert air.order == ["d00", "shaky", "shaky", "shaky"]
    air = radio(0, broken=Gadget(manner="breaks off"))
    task = await outcome(fleet(tmp_path / "broken", air))
    assert (task.code, air.order) == ("campaign-stopped", ["broken"] * 3)


async def test_what_a_device_runs_is_read_back(tmp_path: Path) -> None:
    task = await outcome(fleet(tmp_path, radio(0, liar=Gadget(manner="lies"))))
    assert (task.state, task.code) == (State.FAILED, "campaign-stopped")
    assert "it runs [10], and the release says 20" in task.detail


async def test_a_hub_that_restarts_goes_on_with_the_devices_that_are_left(tmp_path: Path) -> None:
    air = radio(12)
    hub = fleet(tmp_path, air)
    document = hub.release()
    for stop in (0, 3, 3, 3, 3, 7):  # more often than an activation may fail
        reached = asyncio.Event()

        async def begun(key: str, stop: int = stop, reached: asyncio.Event = reached) -> None:
            if key == f"d{stop:02}":
                reached.set()
                await asyncio.Event().wait()

        async def work(engine: Engine, reached: asyncio.Event = reached) -> None:
            await engine.offer(LOCAL, "1", 1, document)
            await reached.wait()

        air.begun = begun
        await hub.life(work)
        assert hub.task.state == State.ACTIVATING
    air.begun = None
    assert (await hub.to_the_end(document, start=False)).state == State.SUCCEEDED
    assert [gadget.sent for gadget in air.gadgets.values()] == [1] * 12
    assert hub.task.tries == 0


async def test_a_radio_that_goes_is_waited_for(tmp_path: Path) -> None:
    air = radio(3)
    hub = fleet(tmp_path, air)
    air.up = False

    async def begun(key: str) -> None:
        if key == "d01" and air.order.count(key) == 1:
            air.up = False
            raise DriverLost("the stick is gone")

    air.begun = begun

    async def work(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, hub.release())
        await until(lambda: "away" in engine.tasks[KEY].detail)
        assert engine.tasks[KEY].state == State.CHECKED
        air.up = True
        await until(lambda: air.order == ["d00", "d01"] and not air.at_once)
        hub.home.plug("zigbee")
        await until(lambda: engine.tasks[KEY].over)

    await hub.life(work)
    assert hub.task.state == State.SUCCEEDED
    assert air.order == ["d00", "d01", "d01", "d02"]


async def test_a_device_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    air = radio(3)
    hub = fleet(tmp_path, air)

    async def begun(_key: str) -> None:
        air.gadgets.pop("d02", None)

    air.begun = begun
    task = await outcome(hub)
    assert task.state == State.SUCCEEDED
    assert air.order == ["d00", "d01"]


async def test_without_such_a_radio_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert (await outcome(fleet(tmp_path / "none"))).state == State.SUCCEEDED
    task = await outcome(fleet(tmp_path / "unable", radio(1), updates=False))
    assert (task.state, task.code) == (State.REJECTED, "no-applier")
    assert "the zigbee driver updates no devices" in task.detail


@pytest.mark.parametrize(("devices", "back"), [(["zb.d00"], ["d00"]), (["*"], ["d00", "d01"])])
async def test_only_a_permission_lets_a_device_go_back(tmp_path: Path, devices: list[str], back: list[str]) -> None:
    air = radio(2)
    hub = fleet(tmp_path, air)
    assert (await outcome(hub)).state == State.SUCCEEDED
    older = bulb(files=[file("bulb.ota", IMAGE)], requires=[], file_version=15, version="1.3")
    document = hub.offer_files(5, images={"bulb.ota": IMAGE}, components=[older], release="5.0")
    allowed = {**document, "permission": permission(devices=devices).decode()}
    air.order.clear()
    air.gives = 15

    async def work(engine: Engine) -> None:
        for job, what in (("2", document), ("3", allowed)):
            await engine.offer(LOCAL, job, 1, what)
            await until(lambda job=job: engine.tasks[f"{LOCAL}/{job}/1"].over)  # type: ignore[misc]

    await hub.life(work)
    assert hub.journal is not None
    ends = [hub.journal.tasks[f"{LOCAL}/{job}/1"] for job in ("2", "3")]
    assert [(end.state, end.code) for end in ends] == [(State.REJECTED, "rollback"), (State.SUCCEEDED, "")]
    assert air.order == back


async def _cut(folder: Path, at: int) -> tuple[Fleet, FakeRadio, int]:
    """A campaign with the power cut at a point; what is done by the processes after it."""
    air = radio(3)
    hub = fleet(folder, air)
    document = hub.release()
    with cutting(at) as cuts, suppress(PowerCut, BaseExceptionGroup):
        await hub.to_the_end(document, start=False)
    if at:
        await hub.to_the_end(document, start=False)
    return hub, air, cuts.seen


async def test_a_power_cut_at_any_point_of_a_campaign_ends_with_every_device_updated(tmp_path: Path) -> None:
    _, _, points = await _cut(tmp_path / "whole", 0)
    every = 1 if os.environ.get("HUB_AGENT_FAULT_CYCLES") else 5
    for at in range(1, points + 1, every):
        hub, air, _ = await _cut(tmp_path / str(at), at)
        assert hub.task.state == State.SUCCEEDED, (at, hub.task)
        assert [gadget.version for gadget in air.gadgets.values()] == [NEW] * 3
        assert [gadget.sent for gadget in air.gadgets.values()] == [1] * 3
    print(f"power cuts in a campaign: every {every} of {points} points")
    assert points
