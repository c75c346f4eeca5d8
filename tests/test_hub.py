"""The rules of the hub, as plain calls: event and time in, effects out."""

from dataclasses import replace
from typing import Any

import pytest
from hub_rig import BULB, BULB_ID, DSK, ON_OFF, World, command, of, told

from agent.home import bare
from agent.model import (
    Availability,
    AvailabilityChanged,
    DeviceEvent,
    DeviceFound,
    DeviceJoining,
    DeviceLost,
    JoinWindow,
    RadioDown,
    RadioUp,
    Report,
)
from agent.requests import (
    CloseWindow,
    CommandParked,
    Deprovision,
    Execute,
    ExpectNoMore,
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
    SaveDevice,
    StartDiscovery,
    StateQuery,
    StopDiscovery,
    Tick,
)


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
