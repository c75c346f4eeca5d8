"""The rules of the hub, as plain calls: event and time in, effects out."""

from dataclasses import replace
from typing import Any

import pytest

from agent.clock import ESTIMATED, Moment
from agent.home import NOT_IN_THIS_RUN, STARTING, RadioRecord, bare
from agent.hub import Hub
from agent.model import (
    Action,
    Availability,
    AvailabilityChanged,
    Capability,
    Device,
    DeviceAwake,
    DeviceEvent,
    DeviceFound,
    DeviceId,
    DeviceJoining,
    DeviceLost,
    Endpoint,
    JoinWindow,
    Outcome,
    RadioDown,
    RadioUp,
    Report,
)
from agent.requests import (
    LOCAL,
    CloseWindow,
    CommandEnded,
    CommandParked,
    CommandRequest,
    Deprovision,
    Execute,
    ExpectNoMore,
    FinishCommand,
    ForgetDevice,
    Kind,
    Onboard,
    OpenWindow,
    PreAssociate,
    Progress,
    Publish,
    PublishState,
    RadioWorkEnded,
    Refresh,
    Remove,
    SaveCommand,
    SaveDevice,
    StartDiscovery,
    StateQuery,
    StopDiscovery,
    Tick,
)

ON_OFF = "matter.OnOff@1.4"
BULB_ID = DeviceId("zigbee", "00:12:4b:00:00:00:00:01")
BULB = Device(
    BULB_ID,
    "zb.1A62+4A1D",
    (Endpoint("1", ("On/Off Light",), (Capability(ON_OFF, "On/Off", "6", ("OnOff",), ("On", "Off")),)),),
    model="bulb",
    address="00:12:4b:00:00:00:00:01",
)
ON = Action("1", ON_OFF, "On")
DSK = "34028-23669-20938-46346-33746-07431-56821-14553"


class World:
    """A hub and a clock that moves only when told."""

    def __init__(self, onboarding: str = "local", *, bulb: bool = True, up: bool = True) -> None:
        self.hub = Hub("hub-1", onboarding=onboarding, default_ttl=60.0)
        self.hub.radios["zigbee"] = RadioRecord("zigbee", "zigbee", ("ZIGBEE",), reason=STARTING)
        self.mono = 100.0
        self.quality = "trusted"
        if up:
            self(RadioUp("zigbee", "00:aa"))
        if bulb:
            self.discover()
            self(DeviceFound(BULB))

    @property
    def now(self) -> Moment:
        return Moment(1_700_000_000.0 + self.mono, self.mono, "boot", self.quality)

    def __call__(self, event: Any, after: float = 0.0) -> list[Any]:
        self.mono += after
        return self.hub.handle(event, self.now)

    def discover(self, identifier: str = "d1", **more: Any) -> list[Any]:
        """A discovery whose window opens as it was asked for."""
        effects = self(StartDiscovery(identifier, "ZIGBEE", 60, "main", **more))
        for opened in of(effects, OpenWindow):
            self(RadioWorkEnded(opened))
        return effects


def of(effects: list[Any], kind: type[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def told(effects: list[Any], kind: Kind) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, Publish) and effect.kind is kind]


def command(trace: str = "t1", **more: Any) -> CommandRequest:
    return CommandRequest(trace, BULB.node_id, (ON,), "main", **more)


def test_a_found_device_is_discovered_onboarded_and_its_capabilities_told() -> None:
    world = World(bulb=False)
    opened = world.discover()
    assert of(opened, OpenWindow)
    assert told(opened, Kind.DISCOVERY_STATUS)[0].body["status"] == "RUNNING"
    effects = world(DeviceFound(BULB))
    assert of(effects, SaveDevice)
    assert told(effects, Kind.DISCOVERED)[0].body["discovery"] == "d1"
    assert told(effects, Kind.CAPABILITIES)[0].body["nodeId"] == BULB.node_id
    assert world.hub.find(BULB.node_id) is world.hub.find(BULB.address.upper())


def test_in_cloud_mode_nothing_but_the_discovery_is_told_before_the_cloud_onboards() -> None:
    world = World("cloud")
    assert not of(world(Report(BULB_ID, "1", ON_OFF, {"OnOff": True})), PublishState)
    effects = world(Onboard(BULB.node_id, "thing-1"))
    assert told(effects, Kind.CAPABILITIES)[0].device == "thing-1"
    assert of(effects, PublishState)[0].values[0][3] is True
    assert world(Onboard(BULB.node_id, "thing-1")) == []


def test_a_device_that_nobody_asked_for_is_quarantined_until_somebody_does() -> None:
    world = World(bulb=False)
    effects = world(DeviceFound(BULB))
    assert not of(effects, Publish)
    assert of(effects, Progress)[0].what == "quarantined"
    refused = world(command())
    assert told(refused, Kind.OUTCOME)[0].body["code"] == 404
    assert not of(world(DeviceFound(BULB, known=True)), Publish), "a restart releases nobody"
    world.discover()
    released = world(DeviceFound(BULB))
    assert told(released, Kind.DISCOVERED)
    assert told(released, Kind.CAPABILITIES)
    assert of(world(command("t2")), Execute)


def test_a_restart_tells_nothing_of_a_device_that_is_as_before() -> None:
    world = World()
    effects = world(DeviceFound(BULB, known=True))
    assert not of(effects, Publish)
    assert of(effects, Refresh)


def test_a_device_that_the_radio_was_told_to_expect_may_join_whenever_it_likes() -> None:
    world = World(bulb=False)
    effects = world(DeviceFound(BULB, expected=True))
    assert told(effects, Kind.DISCOVERED)
    assert not world.hub.devices[BULB_ID].quarantined


def test_a_discovery_waits_for_what_a_person_is_asked() -> None:
    world = World(bulb=False)
    world.discover()
    world(DeviceJoining(BULB_ID, "pin", "the digits of its label", seconds=240), after=59)
    assert not told(world(Tick(), after=240), Kind.DISCOVERY_STATUS)
    assert told(world(Tick(), after=90), Kind.DISCOVERY_STATUS)


def test_a_discovery_ends_when_its_window_has_closed_and_the_last_interview_is_done() -> None:
    world = World(bulb=False)
    world.discover()
    world(DeviceJoining(BULB_ID, "interviewing"))
    assert not told(world(JoinWindow("zigbee", 0)), Kind.DISCOVERY_STATUS)
    ended = told(world(DeviceFound(BULB)), Kind.DISCOVERY_STATUS)
    assert [status.body["status"] for status in ended] == ["RUNNING", "SUCCEEDED"]
    assert ended[-1].body["count"] == 1


def test_the_end_of_a_window_is_not_taken_for_that_of_the_next_one() -> None:
    world = World(bulb=False)
    world.discover()
    ended = world(StartDiscovery("d2", "ZIGBEE", 60, "main"))
    assert [status.body["id"] for status in told(ended, Kind.DISCOVERY_STATUS)] == ["d1", "d2"]
    assert not told(world(JoinWindow("zigbee", 0)), Kind.DISCOVERY_STATUS), "it is of the first one"
    world(JoinWindow("zigbee", 60))
    assert told(world(JoinWindow("zigbee", 0)), Kind.DISCOVERY_STATUS)[0].body["id"] == "d2"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (JoinWindow("zigbee", 0), "TIMED_OUT"),
        (StopDiscovery("d1"), "TIMED_OUT"),
        (RadioDown("zigbee", "unplugged"), "FAILED"),
    ],
)
def test_a_discovery_without_a_device_says_how_it_ended(event: Any, status: str) -> None:
    world = World(bulb=False)
    world.discover()
    assert told(world(event), Kind.DISCOVERY_STATUS)[-1].body["status"] == status
    assert world.hub.rereads.next_deadline() is None


def test_a_discovery_of_a_radio_that_is_not_there_fails_at_once() -> None:
    world = World(bulb=False)
    failed = world(StartDiscovery("d2", "ZWAVE", 60, "main"))
    assert told(failed, Kind.DISCOVERY_STATUS)[0].body["error"]["code"] == "404"
    world(RadioDown("zigbee", "unplugged"))
    assert told(world.discover("d3"), Kind.DISCOVERY_STATUS)[0].body["error"]["code"] == "503"


def test_a_discovery_waits_for_a_radio_that_is_starting() -> None:
    world = World(bulb=False, up=False)
    assert of(world.discover("d4"), OpenWindow) == []
    assert [opened.discovery.id for opened in of(world(RadioUp("zigbee", "00:11")), OpenWindow)] == ["d4"]


@pytest.mark.parametrize(
    "event", [RadioDown("zigbee", "no stick"), StopDiscovery("d5"), StartDiscovery("d6", "ZIGBEE", 60, "main")]
)
def test_a_discovery_that_has_waited_in_vain_fails(event: Any) -> None:
    world = World(bulb=False, up=False)
    world.discover("d5")
    ended = told(world(event), Kind.DISCOVERY_STATUS)[0].body
    assert (ended["id"], ended["status"], ended["error"]["code"]) == ("d5", "FAILED", "503")


def test_bad_material_fails_the_discovery_with_the_drivers_words() -> None:
    world = World(bulb=False)
    opened = of(world.discover(), OpenWindow)[0]
    ended = world(RadioWorkEnded(opened, "CRC of the install code is wrong", 400))
    assert told(ended, Kind.DISCOVERY_STATUS)[0].body["error"] == {
        "code": "400",
        "message": "CRC of the install code is wrong",
    }


@pytest.mark.parametrize(
    ("material", "address"),
    [
        ("Z:00124B0000000001$I:83FED3407A939723A5C639B26916D505C3B5", BULB.address),
        ("90" + "0112345" + "003" + DSK.replace("-", "") + "0010", DSK),
        ("a4:c1:38:00:00:07=123456", "A4:C1:38:00:00:07"),
        ("coap://192.0.2.1:15683?secret=00&sender=01&recipient=02", "192.0.2.1:15683"),
        ("coap://192%2E0%2E2%2E1", "192.0.2.1:5683"),
        ("coaps://[2001:DB8::1]?identity=hub&psk=00", "[2001:db8::1]:5684"),
    ],
    ids=["zigbee", "zwave", "ble", "coap", "dots", "coaps"],
)
def test_a_pre_associated_device_gets_the_managed_thing_id_that_was_meant_for_it(material: str, address: str) -> None:
    world = World("cloud", bulb=False)
    world(PreAssociate("thing-9", StartDiscovery("p1", "ZIGBEE", 60, "main", material)))
    world(JoinWindow("zigbee", 0))
    effects = world(DeviceFound(replace(BULB, address=address)))
    assert told(effects, Kind.CAPABILITIES)[0].device == "thing-9"
    assert world.hub.expected == {}


@pytest.mark.parametrize(
    "material", ["coap://:1", "coap://h:port", "http://192.0.2.1", "coap://[::1", "A4:C1:38:00:00:071"]
)
def test_a_code_that_names_no_device_is_refused(material: str) -> None:
    world = World("cloud", bulb=False)
    effects = world(PreAssociate("thing-9", StartDiscovery("p1", "COAP", 60, "main", material)))
    assert told(effects, Kind.DISCOVERY_STATUS)[0].body["error"]["code"] == "400"
    assert world.hub.expected == {}


def test_a_host_is_not_taken_for_one_whose_port_continues_its_address() -> None:
    world = World("cloud", bulb=False)
    world(PreAssociate("thing-9", StartDiscovery("p1", "ZIGBEE", 60, "main", "coap://192.0.2.1:15683")))
    assert not told(world(DeviceFound(replace(BULB, address="192.0.2.11:5683"))), Kind.CAPABILITIES)


def test_a_device_that_has_joined_before_its_code_was_scanned_is_onboarded_at_once() -> None:
    world = World("cloud")
    material = "Z:00124B0000000001$I:83FED3407A939723A5C639B26916D505C3B5"
    effects = world(PreAssociate("thing-9", StartDiscovery("p1", "ZIGBEE", 60, "main", material)))
    assert told(effects, Kind.CAPABILITIES)[0].device == "thing-9"
    assert not of(effects, OpenWindow)
    assert world.hub.expected == {}
    again = world(PreAssociate("thing-9", StartDiscovery("p2", "ZIGBEE", 60, "main", material)))
    assert again == effects  # a cloud that says it twice is told twice


def test_a_code_with_a_key_has_a_device_that_joined_in_clear_join_anew() -> None:
    world = World("cloud")
    lamp = replace(BULB, address="192.0.2.1:5683", secure=False)
    world(DeviceFound(lamp))
    effects = world(PreAssociate("thing-9", StartDiscovery("p1", "ZIGBEE", 60, "main", "coap://192.0.2.1")))
    assert told(effects, Kind.CAPABILITIES)[0].device == "thing-9", "there is no key in this one"
    world = World("cloud")
    world(DeviceFound(lamp))
    code = StartDiscovery("p1", "COAP", 60, "main", "coap://192.0.2.1?secret=00&sender=01&recipient=02")
    world.hub.radios["zigbee"].kinds += ("COAP",)
    effects = world(PreAssociate("thing-9", code))
    assert of(effects, OpenWindow)
    assert not told(effects, Kind.CAPABILITIES)
    effects = world(DeviceFound(replace(lamp, secure=True)))
    assert told(effects, Kind.CAPABILITIES)[0].device == "thing-9"
    assert world.hub.expected == {}


def test_a_device_that_nobody_has_onboarded_is_offered_to_the_next_discovery() -> None:
    world = World("cloud")
    world(StartDiscovery("d2", "ZIGBEE", 60, "main"))
    (offered,) = told(world(DeviceFound(BULB)), Kind.DISCOVERED)
    assert offered.body["discovery"] == "d2"
    world(Onboard(BULB.node_id, "thing-1"))
    assert not told(world(DeviceFound(BULB)), Kind.DISCOVERED)


def test_reports_are_told_once_and_never_before_they_were_heard() -> None:
    world = World()
    first = of(world(Report(BULB_ID, "1", ON_OFF, {"OnOff": True})), PublishState)[0]
    assert first.values == (("1", ON_OFF, "OnOff", True, world.now.wall),)
    world.hub.devices[BULB_ID].stale = False
    assert world(Report(BULB_ID, "1", ON_OFF, {"OnOff": True}), 0.5) == []
    later = of(world(Report(BULB_ID, "1", ON_OFF, {"OnOff": True}), 30.0), PublishState)[0]
    assert later.values[0][4] == first.values[0][4], "an unchanged value keeps the time of its change"


@pytest.mark.parametrize("properties", [{"OnOff": 7}, {"Nonsense": True}, {"OnOff": None}])
def test_a_report_that_does_not_fit_its_document_is_counted_and_dropped(properties: dict[str, Any]) -> None:
    world = World()
    assert not of(world(Report(BULB_ID, "1", ON_OFF, properties)), PublishState)
    assert world.hub.counters["invalid_reports"] == 1


def test_an_event_is_told() -> None:
    world = World()
    effects = world(DeviceEvent(BULB_ID, "1", "matter.Switch@1.4", "InitialPress", {"NewPosition": 1}))
    assert told(effects, Kind.EVENT)[0].body["event"] == "InitialPress"


def test_a_state_query_tells_all_of_it_and_reads_anew() -> None:
    world = World()
    world(Report(BULB_ID, "1", ON_OFF, {"OnOff": False}))
    effects = world(StateQuery(BULB.node_id, refresh=True))
    assert of(effects, Refresh)
    assert of(effects, PublishState)[0].values[0][2:4] == ("OnOff", False)


# ---- commands ---------------------------------------------------------------------------------------------------------


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


# ---- leaving ----------------------------------------------------------------------------------------------------------


def test_a_lost_device_is_forgotten_told_and_its_commands_end() -> None:
    world = World()
    world(command())
    world(CommandParked("t1", "asleep"))
    effects = world(DeviceLost(BULB_ID, "left"))
    assert of(effects, ForgetDevice)
    assert told(effects, Kind.LIFECYCLE)[0].body["status"] == "DELETED"
    assert told(effects, Kind.OUTCOME)[0].body["code"] == 410
    assert world.hub.find(BULB.node_id) is None


def test_deprovisioning_removes_and_a_failure_is_told() -> None:
    world = World()
    work = of(world(Deprovision(BULB.node_id, False, "main")), Remove)[0]
    failed = world(RadioWorkEnded(work, "no answer", 504))
    assert told(failed, Kind.LIFECYCLE)[0].body["status"] == "DELETION_FAILED"
    gone = world(Deprovision("thing-x", False, "main"))
    assert told(gone, Kind.LIFECYCLE)[0].body["status"] == "DELETED"


@pytest.mark.parametrize("error", ["", "the radio zwave is away"])
def test_a_device_that_is_deleted_before_it_came_is_expected_no_more(error: str) -> None:
    world = World(bulb=False)
    world(
        PreAssociate("thing-9", StartDiscovery("p1", "ZIGBEE", 60, "main", f"Z:{BULB.address.replace(':', '')}$I:83FE"))
    )
    (work,) = of(world(Deprovision("thing-9", False, "main")), ExpectNoMore)
    assert (work.address, work.device) == (bare(BULB.address), "thing-9")
    (gone,) = told(world(RadioWorkEnded(work, error, 503 if error else 200)), Kind.LIFECYCLE)
    assert (gone.device, gone.body["status"]) == ("thing-9", "DELETION_FAILED" if error else "DELETED")
    assert bool(world.hub.expected) is bool(error)


def test_availability_is_told_when_it_changes_and_not_at_a_restart() -> None:
    world = World()
    assert not told(world(AvailabilityChanged(BULB_ID, Availability.ONLINE)), Kind.LIFECYCLE)
    offline = told(world(AvailabilityChanged(BULB_ID, Availability.OFFLINE)), Kind.LIFECYCLE)
    assert offline[0].body["eventType"] == "disconnected"
    assert world(AvailabilityChanged(BULB_ID, Availability.OFFLINE)) == []


def test_a_device_that_could_not_be_read_after_a_crash_is_read_once_it_is_heard() -> None:
    world = World()
    world.hub.devices[BULB_ID].stale = True
    world(RadioWorkEnded(Refresh(BULB_ID), "the device cannot be reached", 503))
    assert of(world(AvailabilityChanged(BULB_ID, Availability.ONLINE)), Refresh) == [Refresh(BULB_ID)]
    world(RadioWorkEnded(Refresh(BULB_ID)))
    world(AvailabilityChanged(BULB_ID, Availability.OFFLINE))
    assert not of(world(AvailabilityChanged(BULB_ID, Availability.ONLINE)), Refresh)


def test_a_rediscovery_closes_the_window_that_is_open() -> None:
    world = World()
    world.discover()
    effects = world(StartDiscovery("r1", "ZIGBEE", 60, "main", rediscover=True))
    assert of(effects, CloseWindow) == [CloseWindow("zigbee")]


def test_a_rediscovery_tells_each_device_and_its_end() -> None:
    world = World()
    world(JoinWindow("zigbee", 0))
    effects = world(StartDiscovery("r1", "ZIGBEE", 60, "main", rediscover=True))
    assert [status.body["status"] for status in told(effects, Kind.DISCOVERY_STATUS)] == ["RUNNING"]
    ended = told(world(DeviceFound(BULB)), Kind.DISCOVERY_STATUS)
    thing = world.hub.devices[BULB.id].managed_thing_id
    assert thing
    assert [(s.device, s.body["status"], s.body["count"]) for s in ended] == [
        (thing, "RUNNING", 1),
        ("", "SUCCEEDED", 0),
    ]
