"""The engine as a coordinator's stack sees it: joining, messages, reporting, sleep, leaving, persistence."""

import json
from typing import Any

import pytest

from drivers.sim.requests import ControlError
from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.model import (
    PROFILE_HOME,
    PROFILE_ZDO,
    Aps,
    Confirm,
    Delivery,
    DeviceJoined,
    DeviceLeft,
    Effect,
    Incoming,
    JoinKind,
    Params,
)
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.node import Node, Reporting
from drivers.sim.zigbee.zdo import Binding

OWN, PLUG, CLIMATE = 0x00124B00_0000AA01, 0x00124B00_00000001, 0x00124B00_00000002
TEMPERATURE = 0x0402


class House:
    """A network of a plug and a sleepy sensor, and its clock."""

    def __init__(self) -> None:
        self.network = Network(OWN, seed=1)
        self.network.add(Node(PLUG, "plug", "plug"))
        self.network.add(Node(CLIMATE, "climate", "climate"))
        self.now, self.tag = 100.0, 0
        self.network.form(Params(0x1A62, 0x1122334455667788, 15, bytes(range(16))), self.now)

    def run(self, seconds: float) -> list[Effect]:
        """Everything that happens in this time."""
        end, effects = self.now + seconds, self.network.poll(self.now)
        while (due := self.network.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            effects += self.network.poll(self.now)
        self.now = end
        return effects

    def join(self) -> list[Effect]:
        self.network.permit(60, self.now)
        return self.run(5.0)

    def send(self, ieee: int, cluster: int, data: bytes, endpoint: int = 1) -> list[Effect]:
        self.tag += 1
        profile = PROFILE_HOME if endpoint else PROFILE_ZDO
        nwk = self.network.nodes[ieee].nwk
        self.network.send(Aps(0, nwk, endpoint, endpoint, profile, cluster, data), self.tag, self.now)
        return self.run(8.0)

    def control(self, **request: Any) -> dict[str, Any]:
        return self.network.control(request, self.now)


@pytest.fixture
def house() -> House:
    house = House()
    house.join()
    return house


def incoming(effects: list[Effect]) -> list[Aps]:
    return [effect.aps for effect in effects if isinstance(effect, Incoming)]


def frame(*effects: Effect) -> zcl.Frame:
    (aps,) = incoming(list(effects))
    return zcl.parse(aps.data)


def reporting(low: int, high: int, change: int) -> bytes:
    record = b"\x00\x00\x00" + bytes([zcl.S16]) + zcl.u16(low) + zcl.u16(high) + zcl.encode(zcl.S16, change)
    return bytes([0, 7, zcl.CONFIGURE]) + record


def bind(house: House) -> None:
    body = (
        CLIMATE.to_bytes(8, "little") + b"\x01" + zcl.u16(TEMPERATURE) + b"\x03" + OWN.to_bytes(8, "little") + b"\x01"
    )
    (aps,) = incoming(house.send(CLIMATE, 0x0021, b"\x05" + body, endpoint=0))
    assert (aps.cluster, aps.data) == (0x8021, b"\x05\x00")


def test_devices_join_only_while_the_window_is_open() -> None:
    house = House()
    assert house.run(30.0) == []
    effects = house.join()
    joined = [effect for effect in effects if isinstance(effect, DeviceJoined)]
    assert {effect.ieee for effect in joined} == {PLUG, CLIMATE}
    assert {effect.how for effect in joined} == {JoinKind.ASSOCIATION}
    assert [aps.cluster for aps in incoming(effects)] == [0x0013, 0x0013]


def test_without_an_install_code_the_door_stays_shut_when_codes_are_required() -> None:
    house = House()
    house.network.install_code_required = True
    house.network.add_transient_key(PLUG, bytes(16))
    how = {effect.ieee: effect.how for effect in house.join() if isinstance(effect, DeviceJoined)}
    assert how == {PLUG: JoinKind.ASSOCIATION, CLIMATE: JoinKind.DENIED}


def test_a_command_is_done_and_confirmed_once(house: House) -> None:
    effects = house.send(PLUG, 6, b"\x01\x09\x01")
    assert [effect.status for effect in effects if isinstance(effect, Confirm)] == [Delivery.DELIVERED]
    answer = zcl.parse(incoming(effects)[0].data)
    assert (answer.sequence, answer.command, answer.payload) == (9, zcl.DEFAULT_RSP, b"\x01\x00")
    assert house.network.nodes[PLUG].get(1, 6, 0) is True


def test_what_a_device_does_not_know_it_says(house: House) -> None:
    answer = frame(*house.send(PLUG, 6, b"\x00\x01\x00\xee\xee"))
    assert answer.payload == b"\xee\xee" + bytes([zcl.UNSUPPORTED_ATTRIBUTE])
    answer = frame(*house.send(PLUG, 6, b"\x01\x02\x7e"))
    assert (answer.command, answer.payload) == (zcl.DEFAULT_RSP, bytes([0x7E, zcl.UNSUP_CLUSTER_COMMAND]))


def test_reports_keep_minimum_change_and_maximum(house: House) -> None:
    bind(house)
    assert frame(*house.send(CLIMATE, TEMPERATURE, reporting(10, 60, 50))).payload == b"\x00"
    house.run(20.0)
    house.control(op="set", device="climate", cluster=TEMPERATURE, value=2160)
    assert incoming(house.run(1.0)) == [], "a change of 10 is less than 50"
    house.control(op="set", device="climate", cluster=TEMPERATURE, value=2300)
    assert frame(*house.run(1.0)).payload == b"\x00\x00" + bytes([zcl.S16]) + zcl.encode(zcl.S16, 2300)
    house.control(op="set", device="climate", cluster=TEMPERATURE, value=2400)
    assert incoming(house.run(5.0)) == [], "not before ten seconds are over"
    assert len(incoming(house.run(6.0))) == 1
    assert len(incoming(house.run(130.0))) in (2, 3), "and one in sixty seconds when nothing changes"


def test_a_device_without_power_or_awake_time_does_not_get_the_message(house: House) -> None:
    house.control(op="power", device="plug", on=False)
    statuses = [effect.status for effect in house.send(PLUG, 6, b"\x01\x01\x01") if isinstance(effect, Confirm)]
    assert statuses == [Delivery.NO_ACK]
    house.run(60.0)
    house.control(op="sleep", device="climate", every=1e9)
    statuses = [
        effect.status for effect in house.send(CLIMATE, 0, b"\x00\x01\x00\x04\x00") if isinstance(effect, Confirm)
    ]
    assert statuses == [Delivery.EXPIRED]


def test_a_device_that_is_told_to_leave_is_gone(house: House) -> None:
    effects = house.send(PLUG, 0x0034, b"\x01" + PLUG.to_bytes(8, "little") + b"\x00", endpoint=0)
    assert [effect.ieee for effect in effects if isinstance(effect, DeviceLeft)] == [PLUG]
    assert house.network.nwk_of(PLUG) is None


def test_a_snapshot_is_json_and_brings_everything_back(house: House) -> None:
    bind(house)
    house.send(CLIMATE, TEMPERATURE, reporting(0, 60, 50))
    state = json.loads(json.dumps(house.network.snapshot()))
    other = House()
    other.network.restore(state, other.now)
    assert other.network.resume(other.now)
    assert other.network.snapshot() == house.network.snapshot()
    other.control(op="set", device="climate", cluster=TEMPERATURE, value=3000)
    assert len(incoming(other.run(1.0))) == 1


def test_a_load_is_as_many_reports_as_asked_with_growing_values(house: House) -> None:
    house.control(op="load", rate=100, count=50)
    values = [zcl.decode(zcl.S16, zcl.parse(aps.data).payload[3:])[0] for aps in incoming(house.run(0.6))]
    assert values == list(range(50))


@pytest.mark.parametrize(
    "request_", [{"op": "dance"}, {}, {"op": "set", "device": "nobody"}, {"op": "set", "device": "plug"}]
)
def test_a_wrong_request_is_told(house: House, request_: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        house.control(**request_)


def test_told_failures_are_what_the_device_answers_as_often_as_told() -> None:
    house = House()
    house.join()
    house.control(op="fail", device="plug", what="command", status=0x94, count=2)
    answers = [answered(house.send(PLUG, 0x0006, bytes([0x01, n, 0x02]))) for n in range(3)]
    assert [answer[-1] for answer in answers] == [0x94, 0x94, zcl.SUCCESS]
    house.control(op="fail", device="plug", what="bind")
    request = b"\x01" + PLUG.to_bytes(8, "little") + b"\x01\x06\x00\x03" + OWN.to_bytes(8, "little") + b"\x01"
    assert answered(house.send(PLUG, 0x0021, request, endpoint=0))[1] == 0x8C, "TABLE_FULL"
    assert answered(house.send(PLUG, 0x0021, request, endpoint=0))[1] == 0
    with pytest.raises(ControlError, match="no failure"):
        house.control(op="fail", device="plug", what="moon")


def test_a_full_network_turns_devices_away() -> None:
    house = House()
    house.control(op="capacity", table="key", size=1)
    joins = [effect for effect in house.join() if isinstance(effect, DeviceJoined)]
    assert [join.how for join in joins] == [JoinKind.ASSOCIATION, JoinKind.DENIED]


def test_a_leave_with_rejoin_comes_back_with_its_bindings() -> None:
    house = House()
    house.join()
    house.network.nodes[PLUG].bindings.add(Binding(1, 6, OWN, 1))
    effects = house.send(PLUG, 0x0034, b"\x01" + PLUG.to_bytes(8, "little") + b"\x80", endpoint=0)
    left = next(effect for effect in effects if isinstance(effect, DeviceLeft))
    back = next(effect for effect in effects if isinstance(effect, DeviceJoined))
    assert (left.rejoin, back.how) == (True, JoinKind.SECURED_REJOIN)
    assert house.network.nodes[PLUG].bindings


def test_joining_through_one_router_names_it_as_the_parent() -> None:
    house = House()
    house.network.nodes[CLIMATE].pairing = False
    house.join()
    house.network.permit(0, house.now)
    house.network.nodes[CLIMATE].pairing = True
    effects = house.send(PLUG, 0x0036, b"\x01\x3c\x00", endpoint=0)
    joined = next(effect for effect in effects if isinstance(effect, DeviceJoined))
    assert (joined.ieee, joined.parent) == (CLIMATE, house.network.nodes[PLUG].nwk)


def test_the_coordinator_follows_its_own_channel_change() -> None:
    house = House()
    mask = (1 << 20).to_bytes(4, "little")
    update = Aps(0, 0xFFFF, 0, 0, PROFILE_ZDO, 0x0038, b"\x01" + mask + b"\xfe\x00\x00\x00", broadcast=True)
    house.network.send(update, 1, house.now)
    house.run(1.0)
    assert house.network.params is not None
    assert (house.network.params.channel, house.network.params.update_id) == (20, 1)


def answered(effects: list[Effect]) -> bytes:
    """What the device has sent back."""
    return next(effect.aps.data for effect in effects if isinstance(effect, Incoming))


def test_a_report_at_its_longest_interval_comes_whatever_its_time_rounds_to() -> None:
    maximum = 60
    awkward = next(at for at in (n / 10 + 0.01 for n in range(1, 100_000)) if (at + maximum) - at < maximum)
    house = House()
    house.join()
    node = house.network.nodes[CLIMATE]
    node.bindings.add(Binding(1, TEMPERATURE, OWN, 1))
    house.network.now = awkward
    value = node.get(1, TEMPERATURE, 0)
    found = Reporting(node.tables[(1, TEMPERATURE)][0][0], 0, maximum, 1, value, awkward)
    node.reporting[(1, TEMPERATURE, 0)] = found
    house.network._heap.clear()
    node.changed(node, 1, TEMPERATURE, 0)
    due = house.network.next_deadline()
    assert due == awkward + maximum
    house.network._heap[0][2](due)
    assert found.at == due, "reported, not put off to the same instant again"


def test_without_room_for_a_child_the_coordinator_takes_none_and_the_host_hears_nothing() -> None:
    house = House()
    house.control(op="capacity", table="child", size=0)
    assert [join.ieee for join in house.join() if isinstance(join, DeviceJoined)] == [PLUG]
    house.control(op="capacity", table="child", size=1)
    assert [join.ieee for join in house.run(5.0) if isinstance(join, DeviceJoined)] == [CLIMATE]


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "press", "device": "plug"},
        {"op": "press", "device": "remote", "kind": "thrice"},
        {"op": "zone", "device": "plug", "status": 1},
        {"op": "set", "device": "plug", "name": "on_off"},
        {"op": "set", "device": "plug", "name": "on_off", "value": "loud"},
        {"op": "ramp", "device": "climate", "name": "temperature", "to": 10**9, "seconds": 1},
        {"op": "power", "device": "plug", "on": "yes"},
        {"op": "load", "rate": 0, "count": 1},
        {"op": "capacity", "table": "moon", "size": 1},
        {"op": "fly"},
        {},
    ],
)
def test_a_request_that_cannot_be_is_refused_and_changes_nothing(request_: dict[str, Any]) -> None:
    house = House()
    house.network.add(Node(0x00124B00_00000003, "remote", "remote"))
    house.join()
    before = house.network.snapshot()
    with pytest.raises(ControlError):
        house.control(**request_)
    assert house.network.snapshot() == before


def test_a_ramp_ends_at_its_value_and_a_mute_device_says_nothing() -> None:
    house = House()
    house.join()
    node = house.network.nodes[CLIMATE]
    house.control(op="ramp", device="climate", name="temperature", to=3000, seconds=4)
    house.run(2.0)
    assert 2100 < node.get(1, TEMPERATURE, 0) < 3000
    house.run(2.1)
    assert node.get(1, TEMPERATURE, 0) == 3000
    house.control(op="mute", device="climate", seconds=60)
    house.control(op="set", device="climate", name="temperature", value=1000, report=True)
    assert not [effect for effect in house.run(1.0) if isinstance(effect, Incoming)]
