"""Exclusion windows and the network mode, as plain calls of the hub: event and time in, effects out."""

from typing import Any

import pytest
from test_hub import World, of

from agent.exclusion_book import GRACE, MODE_ID, MODE_SECONDS
from agent.home import STARTING, RadioRecord
from agent.model import DeviceId, Exclusion, RadioDown, RadioUp
from agent.requests import (
    CloseWindow,
    OpenExclusion,
    Progress,
    RadioWorkEnded,
    SetNetworkMode,
    StartExclusion,
    StatusChanged,
    StopExclusion,
    Tick,
)

ON, OFF = SetNetworkMode("NETWORK_WIDE_EXCLUSION"), SetNetworkMode("STANDARD")
OURS = DeviceId("zw", "2")
LOCAL = StartExclusion("local-1", "ZWAVE", 60)


@pytest.fixture
def world() -> World:
    made = World(bulb=False)
    made.hub.radios["zw"] = RadioRecord("zw", "zwave", ("ZWAVE",), reason=STARTING, excludes_network_wide=True)
    made(RadioUp("zw", "C0FFEE01"))
    return made


def steps(effects: list[Any]) -> list[dict[str, Any]]:
    return [dict(effect.data) for effect in of(effects, Progress) if effect.what == "exclusion"]


def test_the_mode_opens_a_window_and_is_over_when_that_is_closed(world: World) -> None:
    effects = world(ON)
    assert of(effects, OpenExclusion) == [OpenExclusion("zw", MODE_ID, MODE_SECONDS)]
    assert of(effects, StatusChanged)
    assert not of(world(ON), OpenExclusion), "it goes on"
    world(Exclusion("zw", "open", seconds=MODE_SECONDS))
    world(Exclusion("zw", "found"))
    assert of(world(Exclusion("zw", "left", device=OURS)), StatusChanged)
    world(Exclusion("zw", "left"))
    assert world.hub.exclusions.mode == "NETWORK_WIDE_EXCLUSION"
    ended = world(Exclusion("zw", "closed"))
    assert steps(ended) == [{"id": MODE_ID, "radio": "", "stage": "ended", "own": 1, "foreign": 1}]
    assert of(ended, StatusChanged)
    assert (world.hub.exclusions.mode, world.hub.exclusions.mode_error) == ("STANDARD", {})
    assert world.hub.exclusions.excluded == {"own": 1, "foreign": 1}
    assert of(world(ON), OpenExclusion), "and it can be asked for again"
    assert world.hub.exclusions.excluded == {"own": 0, "foreign": 0}


def test_the_cloud_ends_the_mode(world: World) -> None:
    world(ON)
    world(Exclusion("zw", "open", seconds=MODE_SECONDS))
    assert of(world(OFF), CloseWindow) == [CloseWindow("zw")]
    assert world.hub.exclusions.mode == "STANDARD"
    assert world(Exclusion("zw", "closed")) == [], "which nobody waits for"


def test_the_mode_needs_a_radio_that_knows_it_and_is_there(world: World) -> None:
    world.hub.radios["zw"].excludes_network_wide = False
    assert not of(world(ON), OpenExclusion)
    assert world.hub.exclusions.mode == "STANDARD"
    assert world.hub.exclusions.mode_error["code"] == "501"
    world(OFF)
    assert not world.hub.exclusions.mode_error
    world.hub.radios["zw"].excludes_network_wide = True
    world(RadioDown("zw", "unplugged"))
    world(ON)
    assert world.hub.exclusions.mode_error == {"code": "503", "message": "the radio is away: unplugged"}


def test_a_radio_that_is_starting_is_waited_for(world: World) -> None:
    world.hub.radios["zw"].up, world.hub.radios["zw"].reason = False, STARTING
    assert not of(world(ON), OpenExclusion)
    assert world.hub.exclusions.mode == "NETWORK_WIDE_EXCLUSION"
    assert of(world(RadioUp("zw", "C0FFEE01")), OpenExclusion)


@pytest.mark.parametrize("end", ["window", "radio", "time"])
def test_whatever_ends_the_window_ends_the_mode_with_a_reason_where_nobody_left(world: World, end: str) -> None:
    (opened,) = of(world(ON), OpenExclusion)
    match end:
        case "window":
            world(RadioWorkEnded(opened, "the stick refused RemoveNode", 502))
        case "radio":
            world(RadioDown("zw", "unplugged"))
        case _:
            assert world.hub.next_deadline() == world.mono + MODE_SECONDS + GRACE
            assert of(world(Tick(), after=MODE_SECONDS + GRACE), CloseWindow) == [CloseWindow("zw")]
    codes = {"window": "502", "radio": "503", "time": None}
    assert world.hub.exclusions.mode_error.get("code") == codes[end]
    assert world.hub.exclusions.mode == "STANDARD"


def test_another_request_takes_the_radio_and_the_end_of_the_first_window_is_not_its_own(world: World) -> None:
    world(ON)
    world(Exclusion("zw", "open", seconds=MODE_SECONDS))
    taken = world(LOCAL)
    assert [step["id"] for step in steps(taken)] == [MODE_ID]
    assert world.hub.exclusions.mode == "STANDARD"
    assert steps(world(Exclusion("zw", "closed"))) == []
    assert [step["id"] for step in steps(world(Exclusion("zw", "open", seconds=60)))] == ["local-1"]
    assert of(world(StopExclusion("")), CloseWindow) == [CloseWindow("zw")]
    assert world.hub.exclusions.excluded == {"own": 0, "foreign": 0}, "people's windows are none of the cloud's"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (StartExclusion("x", "BLE", 60), "404"),
        (StartExclusion("x", "ZWAVE", 60, "other"), "404"),
        (StartExclusion("x", "ZIGBEE", 60), "501"),
    ],
)
def test_who_asks_for_what_there_is_not_is_told_so(world: World, request_: StartExclusion, code: str) -> None:
    (step,) = steps(world(request_))
    assert (step["stage"], step["error"]["code"]) == ("ended", code)
