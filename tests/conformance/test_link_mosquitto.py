"""The uplink against a real mosquitto, watched by a paho client of its own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import Broker, free_port, until
from link_rig import MakeRig, Rig, Watcher, live_through_a_kill, pressed, rows

from agent import records
from agent.cloud.lane import LinkPolicy
from agent.cloud.link import HISTORY
from agent.cloud.mqtt import MqttLost
from agent.requests import LANE_DIALOGUE, LANE_STATE, CommandRequest, RejectedCommand

pytestmark = pytest.mark.conformance


@pytest.fixture
async def rig(make_rig: MakeRig, broker: Broker) -> Rig:
    return make_rig(broker.port)


@pytest.fixture
async def watcher(broker: Broker) -> AsyncIterator[Watcher]:
    made = Watcher(broker.port)
    await until(lambda: made.ready, what="the watcher's subscription")
    yield made
    made.close()


async def test_durable_messages_leave_the_disk_when_the_broker_has_them(rig: Rig, watcher: Watcher) -> None:
    rig.start()
    await rig.durable(*[rig.event(n) for n in range(50)])
    await until(lambda: len(watcher.of("DEVICE_EVENT")) == 50)
    await until(lambda: rows(rig) == 0, what="an empty outbox")
    ids = [body["messageId"] for body in watcher.of("DEVICE_EVENT")]
    assert len(set(ids)) == 50
    assert {len(identifier) for identifier in ids} == {32}


async def test_state_is_delivered_without_touching_the_disk(
    make_rig: MakeRig, broker: Broker, watcher: Watcher
) -> None:
    rig = make_rig(broker.port, LinkPolicy(publishes_per_second=0, spool_after=60.0))  # no PUBACK is that late
    rig.start()
    await until(lambda: rig.link.connected)
    before = rig.store.stats.rows
    for number in range(200):
        rig.link.offer_live(rig.state(number))
    await until(lambda: watcher.values() == list(range(200)), what="200 values in order")
    await until(lambda: not rig.link.waiting)
    assert rig.store.stats.rows == before


async def test_state_on_its_way_to_the_disk_at_the_connect_is_told_first(rig: Rig, watcher: Watcher) -> None:
    for number in range(50):
        rig.link.offer_live(rig.state(number))
    rig.start()
    await until(lambda: rig.link.connected)
    for number in range(50, 100):
        rig.link.offer_live(rig.state(number))
    await until(lambda: watcher.values() == list(range(100)), what="100 values in order")
    await until(lambda: rows(rig) == 0)


async def test_state_of_an_outage_is_spooled_and_told_in_order(rig: Rig, watcher: Watcher) -> None:
    for number in range(100):
        rig.link.offer_live(rig.state(number))
    await until(lambda: rig.store.stats.backlog[("main", LANE_STATE)] == 100, what="the spool")
    assert rig.store.stats.commits <= 2, "a group, not a commit for each report"
    rig.start()
    await until(lambda: watcher.values() == list(range(100)), what="100 values in order")
    await until(lambda: rows(rig) == 0)


async def test_a_broker_killed_in_the_middle_loses_nothing(rig: Rig, broker: Broker, watcher: Watcher) -> None:
    await live_through_a_kill(rig, broker, watcher)
    seen: dict[str, int] = {}
    for body, value in zip(watcher.of("DEVICE_EVENT"), pressed(watcher), strict=True):
        assert seen.setdefault(body["messageId"], value) == value, "an id means one message for ever"


async def test_live_state_goes_ahead_of_a_long_history_and_the_newest_comes_last(
    make_rig: MakeRig, broker: Broker, watcher: Watcher
) -> None:
    rig = make_rig(broker.port, LinkPolicy(publishes_per_second=400, spool_after=5.0))
    history = HISTORY + 200
    await rig.store.submit([records.put_outbox([rig.state(n) for n in range(history)])])
    rig.start()
    await until(lambda: rig.link.connected)
    rig.link.offer_live(rig.state(-1, "dev-2"))
    await rig.durable(rig.event(1))
    await until(lambda: -1 in watcher.values())
    assert len(watcher.values()) < history / 2
    await until(lambda: watcher.of("DEVICE_EVENT"))
    await until(lambda: rig.history_told == 1, 20.0, "the end of the history")
    await until(lambda: sorted(watcher.values())[1:] == list(range(history)), what="the whole history")


async def test_the_pace_is_kept(make_rig: MakeRig, broker: Broker, watcher: Watcher) -> None:
    rig = make_rig(broker.port, LinkPolicy(publishes_per_second=100))
    rig.start()
    await until(lambda: rig.link.connected)
    begin = time.monotonic()
    for number in range(60):
        rig.link.offer_live(rig.state(number))
    await until(lambda: len(watcher.values()) == 60)
    assert time.monotonic() - begin > 0.45


async def test_status_is_retained_and_the_last_will_says_offline(rig: Rig, broker: Broker, watcher: Watcher) -> None:
    rig.start()
    await until(lambda: watcher.of("HUB_STATUS"))
    assert watcher.of("HUB_STATUS")[0]["payload"]["status"] == "online"
    await rig.stop()
    await until(lambda: watcher.of("HUB_STATUS")[-1]["payload"]["status"] == "offline", what="the last will")
    late = Watcher.__new__(Watcher)
    Watcher.__init__(late, broker.port)
    late.client._client_id = b"late"
    await until(lambda: late.messages)
    late.close()


async def test_the_clouds_messages_become_requests_and_nonsense_is_counted(rig: Rig, watcher: Watcher) -> None:
    rig.start()
    await until(lambda: rig.link.connected)
    command = {
        "version": "1.0.0",
        "messageId": "m1",
        "messageType": "COMMAND",
        "managedThingId": "thing-1",
        "traceId": "trace-1",
        "payload": {
            "Endpoints": [
                {"endpointId": "1", "capabilities": [{"id": "matter.OnOff@1.4", "actions": [{"name": "On"}]}]}
            ]
        },
    }
    publish = watcher.client.publish
    publish("south/hub-1/control", json.dumps(command), 1)
    publish("south/hub-1/control", json.dumps({**command, "payload": {}, "traceId": "trace-2"}), 1)
    for nonsense in (b"\xff\xfe", b"[]", b"{}", b'{"version":"1","messageId":"x","messageType":"WHAT"}', b"x" * 140000):
        publish("south/hub-1/setup", nonsense, 1)
    await until(lambda: rig.link.counters["received"] == 7)
    good, bad = rig.requests
    assert isinstance(good, CommandRequest)
    assert (good.trace_id, good.device, good.actions[0].name) == ("trace-1", "thing-1", "On")
    assert isinstance(bad, RejectedCommand)
    assert rig.link.counters["malformed"] == 5


async def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(make_rig: MakeRig, broker_folder: Path) -> None:
    user = "user root" if Path("/proc/self").owner() == "root" else ""
    with Broker(broker_folder, f"{user}\nmax_packet_size 100000") as old:
        rig = make_rig(old.port, LinkPolicy(protocol="3.1.1"))
        rig.start()
        await until(lambda: rig.link.connected)
        await rig.durable(rig.event(1))
        await until(lambda: rows(rig) == 0)


async def test_a_broker_that_acknowledges_nothing_is_left_and_nothing_is_lost(
    make_rig: MakeRig, broker: Broker, watcher: Watcher
) -> None:
    rig = make_rig(broker.port, LinkPolicy(acknowledge_within=0.5))
    rig.start()
    await until(lambda: rig.link.connected and not rig.link.waiting)
    await asyncio.sleep(0.7)
    assert rig.link.connected, "silence is no trouble while nothing is under way"
    broker.freeze()
    await rig.durable(*[rig.event(n) for n in range(5)])
    await until(lambda: "no PUBACK" in rig.link.last_error, what="the broker is left")
    assert not rig.link.stalled(), "that is the broker's trouble, not a part that hangs"
    broker.thaw()
    await until(lambda: set(pressed(watcher)) == set(range(5)), 30.0, "every event")


async def test_no_broker_is_a_typed_error_and_durable_messages_wait(make_rig: MakeRig) -> None:
    rig = make_rig(free_port())
    await rig.durable(rig.event(1))
    with pytest.raises(MqttLost, match="cannot connect"):
        await rig.link.run()
    assert rig.store.stats.backlog[("main", 1)] == 1
    assert rig.outbox.backlog("main", LANE_DIALOGUE) == 0
