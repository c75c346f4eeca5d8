"""The rules of the hub for commands."""

import pytest
from hub_rig import BULB, BULB_ID, ON, ON_OFF, World, command, of, told

from agent.clock import ESTIMATED
from agent.home import NOT_IN_THIS_RUN
from agent.model import (
    Action,
    Availability,
    DeviceAwake,
    Outcome,
    RadioDown,
    RadioUp,
    Report,
)
from agent.requests import (
    LOCAL,
    CommandEnded,
    CommandParked,
    CommandRequest,
    Execute,
    FinishCommand,
    Kind,
    Progress,
    Publish,
    PublishState,
    RadioWorkEnded,
    Refresh,
    SaveCommand,
    StateQuery,
    Tick,
)


def test_after_an_unclean_stop_only_what_was_heard_since_is_told() -> None:
    world = World()
    record = world.hub.devices[BULB_ID]
    record.stale = True
    record.state[("1", ON_OFF, "OnOff")] = (False, 1.0, NOT_IN_THIS_RUN)
    assert of(world(StateQuery("", refresh=False)), PublishState) == [], (
        "the cloud may know a newer value from the spool"
    )
    world(Report(BULB_ID, "1", ON_OFF, {"OnOff": True}))
    (state,) = of(world(StateQuery("", refresh=False)), PublishState)
    assert state.values[0][3] is True
    record.state[("1", ON_OFF, "OnOff")] = (False, 1.0, NOT_IN_THIS_RUN)
    world(RadioWorkEnded(Refresh(BULB_ID)))
    assert of(world(StateQuery("", refresh=False)), PublishState), "the device has been read"


def test_a_command_is_on_disk_as_started_before_the_radio_hears_of_it_and_ends_once() -> None:
    world = World()
    effects = world(command())
    kinds = [type(effect) for effect in effects]
    assert kinds == [SaveCommand, Execute]
    assert effects[0].status == "started"
    ended = world(CommandEnded(Outcome("t1", ())))
    assert told(ended, Kind.OUTCOME)[0].body["succeeded"] is True
    assert of(ended, FinishCommand)
    assert world(CommandEnded(Outcome("t1", ()))) == []


@pytest.mark.parametrize("finished", [False, True])
def test_a_trace_id_is_carried_out_once(finished: bool) -> None:  # noqa: FBT001
    world = World()
    world(command())
    if finished:
        world(CommandEnded(Outcome("t1", ())))
    again = world(command())
    assert not of(again, Execute)
    assert not of(again, Publish)
    assert world.hub.commands.duplicates == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (command(retained=True), 409),
        (command(expires_at=1_600_000_000.0), 408),
        (CommandRequest("t1", "zb.none", (ON,), "main"), 404),
        (CommandRequest("t1", BULB.node_id, (Action("9", ON_OFF, "On"),), "main"), 404),
        (CommandRequest("t1", BULB.node_id, (Action("1", ON_OFF, "Explode"),), "main"), 400),
        (CommandRequest("t1", BULB.node_id, (Action("1", ON_OFF, "UpdateState", {"OnOff": 3}),), "main"), 400),
    ],
)
def test_what_cannot_be_done_is_refused_with_one_outcome(request_: CommandRequest, code: int) -> None:
    world = World()
    effects = world(request_)
    assert not of(effects, Execute)
    assert [outcome.body["code"] for outcome in told(effects, Kind.OUTCOME)] == [code]
    assert world(request_) == [] or not told(world(request_), Kind.OUTCOME)


def test_before_the_clock_is_set_a_command_lives_no_longer_than_our_own_limit() -> None:
    world = World()
    world.quality = ESTIMATED
    executed = of(world(command(expires_at=1_900_000_000.0)), Execute)[0]
    assert executed.command.deadline == world.mono + 60.0


def test_a_command_for_a_sleeping_device_waits_and_runs_when_it_is_heard() -> None:
    world = World()
    world(command())
    assert of(world(CommandParked("t1", "asleep")), SaveCommand)[0].status == "waiting"
    assert of(world(DeviceAwake(BULB_ID), 10.0), Execute)
    assert told(world(CommandEnded(Outcome("t1", ()))), Kind.OUTCOME)[0].body["succeeded"]


def test_a_command_is_tried_again_when_its_device_woke_up_during_the_try() -> None:
    world = World()
    assert of(world(command()), Execute)
    assert not of(world(DeviceAwake(BULB_ID)), Execute), "it is under way"
    assert of(world(CommandParked("t1", "asleep")), Execute)
    assert not of(world(CommandParked("t1", "asleep")), Execute), "not for ever"
    assert of(world(DeviceAwake(BULB_ID)), Execute)


def test_a_command_waits_for_its_radio_and_ends_at_its_deadline() -> None:
    world = World()
    world(RadioDown("zigbee", "unplugged"))
    assert world.hub.devices[BULB_ID].availability is Availability.RADIO_AWAY
    assert not of(world(command()), Execute)
    assert world.hub.next_deadline() == pytest.approx(world.mono + 60.0)
    ended = told(world(Tick(), 60.1), Kind.OUTCOME)
    assert ended[0].body["code"] == 408
    assert of(world(RadioUp("zigbee", "00:aa")), Execute) == []


def test_commands_of_one_device_run_one_after_the_other() -> None:
    world = World()
    assert of(world(command("t1")), Execute)
    assert not of(world(command("t2")), Execute)
    after = world(CommandEnded(Outcome("t1", ())))
    assert of(after, Execute)[0].command.trace_id == "t2"


def test_after_a_crash_a_started_command_ends_as_interrupted_and_a_waiting_one_goes_on() -> None:
    world = World()
    started, waiting = of(world(command("t1")), SaveCommand)[0], of(world(command("t2")), SaveCommand)[0]
    again = World()
    effects = again.hub.commands.restore(started, again.now)
    outcome = told(effects, Kind.OUTCOME)[0]
    assert (outcome.body["succeeded"], outcome.body["code"]) == (False, 500)
    assert outcome.device == outcome.body["device"] == BULB.node_id, "as the cloud named it"
    assert again.hub.commands.restore(waiting, again.now) == []
    assert of(again(DeviceAwake(BULB_ID)), Execute)[0].command.trace_id == "t2"
    assert not of(again(command("t1")), Execute)


def test_the_outcome_of_a_local_command_goes_to_the_asker_only() -> None:
    world = World()
    effects = world(CommandRequest("t1", "nothing", (ON,), LOCAL))
    assert not told(effects, Kind.OUTCOME)
    assert of(effects, Progress)[0].data["traceId"] == "t1"
