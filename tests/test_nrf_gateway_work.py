"""A gateway's work within its bounds: how many are connected and in whose turn, what waits, and what is shed, on a radio made of Python."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import examples, until
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import SystemClock
from agent.cloud.channel import Channel
from agent.cloud.mqtt import Inbound
from agent.cloud.nrf_gateway import Name, dialect_of
from agent.cloud.nrf_pairing import Pairing
from agent.driver import DeviceUnreachable, DriverLost
from agent.gateway.connections import MOST_CONNECTED, Timing
from agent.gateway.gateway import Gateway
from agent.gateway.outlet import MOST_OPEN, Outlet
from agent.gateway.peers import MOST_WAITING
from agent.gateway.scans import MOST_FOUND, TOGETHER
from agent.gatt import Advert, Filter, Service
from agent.supervise import Supervisor
from agent.wire.nrf_gateway import ScanResults
from tests.test_nrf_gateway import JSON
from tests.test_nrf_gateway_values import Char, Heard, Serv, full

PAIRING = Pairing("hub-1", "prod/t/")
DELTA = {"gateway": "prod/t/hub-1/shadow/update/delta", "lte": "hub-1/shadow/update/delta/trim"}
OPERATIONS = {"gateway": "prod/t/gateways/hub-1/c2g", "lte": "prod/t/m/d/hub-1/c2d/r"}
PEERS = [f"C0:00:00:00:00:{number:02X}" for number in range(12)]
LEVEL = Char(full("2a19"), 3)


class Radio:
    """Who is `wanted` is connected at once, unless it is `deaf`; a read of who is `hung` ends with its connection."""

    def __init__(self, places: int = 32) -> None:
        self.places = places
        self.wanted: list[str] = []  # in their order, repetitions included
        self.linked: list[str] = []
        self.deaf: set[str] = set()
        self.away: set[str] = set()
        self.hung: set[str] = set()
        self.air: list[Heard] = []
        self.lost = False
        self._told: list[Callable[[str, bool], None]] = []

    def check(self) -> None:
        if self.lost:
            raise DriverLost("gone")

    async def scan(
        self, _seconds: float, heard: Callable[[Advert], None], only: Filter | None = None, **_active: bool
    ) -> None:
        self.check()
        for advert in self.air:
            if (only or Filter()).admits(advert):
                heard(advert)

    def watch(self, told: Callable[[str, bool], None]) -> Callable[[], None]:
        self._told.append(told)
        return lambda: self._told.remove(told)

    def want(self, address: str) -> None:
        self.wanted.append(address)
        if address not in self.deaf:
            self.linked.append(address)
            for told in self._told:
                told(address, True)

    async def disconnect(self, address: str) -> None:
        if address in self.linked:
            self.drop(address)

    def drop(self, address: str) -> None:
        self.linked.remove(address)
        for told in self._told:
            told(address, False)

    def connected(self) -> tuple[str, ...]:
        return tuple(self.linked)

    def silent_for(self, address: str) -> float:
        return math.inf if address in self.away else 0.0

    def rssi(self, address: str) -> int:
        return -len(address)

    def address_type(self, address: str) -> str:
        return "random" if address.startswith("C0") else ""

    async def services(self, _address: str) -> tuple[Service, ...]:
        self.check()
        return (Serv(full("180f"), (LEVEL,)),)

    async def read(self, address: str, characteristic: int) -> bytes:
        if address in self.hung:
            await asyncio.Event().wait()
        if address not in self.linked:
            raise DeviceUnreachable("gone")
        return bytes((characteristic,))

    async def write(self, address: str, characteristic: int, data: bytes) -> None:
        raise AssertionError((address, characteristic, data))

    async def subscribe(self, address: str, characteristic: int, told: Callable[[bytes], None]) -> None:
        raise AssertionError((address, characteristic, told))

    async def unsubscribe(self, address: str, characteristic: int, told: Callable[[bytes], None]) -> None:
        raise AssertionError((address, characteristic, told))

    async def read_descriptor(self, address: str, characteristic: int, descriptor: str) -> bytes:
        raise AssertionError((address, characteristic, descriptor))

    async def write_descriptor(self, address: str, characteristic: int, descriptor: str, data: bytes) -> None:
        raise AssertionError((address, characteristic, descriptor, data))


class Line(Channel):
    """A channel whose connection keeps what is published."""

    def __init__(self) -> None:
        super().__init__("test")
        self.sent: list[tuple[str, Any]] = []
        self.open = True

    @property
    def up(self) -> bool:
        return self.open

    def publish(self, topic: str, payload: bytes) -> None:
        self.sent.append((topic, json.loads(payload or b"null")))


class Bench:
    """A gateway with all that it needs. `said`: its events; `written`: what the disk has yet to say of them."""

    def __init__(self, dialect: Name, radio: Radio, timing: Timing) -> None:
        self.dialect, self.radio = dialect, radio
        self.line, self.count = Line(), Counter[str]()
        self.said: list[dict[str, Any]] = []
        self.written: list[Callable[[], None]] = []
        self.busy: set[str] = set()
        wire = dialect_of(dialect, "hub-1")
        self.outlet = Outlet(wire, self.line, self._publish, SystemClock(), lambda what: self.count.update((what,)))
        self.group = asyncio.TaskGroup()
        self.supervisor = Supervisor(self.group)
        self.gateway = Gateway(wire, self.line, self.outlet, self._radio, self.supervisor.spawn, timing)
        self.gateway.firmware = self

    def updates(self, address: str) -> bool:
        return address in self.busy

    def connected(self, address: str) -> None:
        self.count[f"firmware asked for {address}"] += 1

    async def _radio(self) -> Radio:
        return self.radio

    def _publish(self, _device: str, body: dict[str, Any], written: Callable[[], None]) -> None:
        self.said.append(body["event"])
        self.written.append(written)

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.said if one["type"] == kind]

    def tell(self, topic: str, body: Any) -> None:
        """As the cloud does."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        inbound = Inbound(topic, payload, retained=False, acknowledge=lambda: None)
        assert self.gateway.hear(inbound) or self.line.hear(inbound) or self.dialect == "lte"

    def want(self, *addresses: str) -> None:
        self.tell(DELTA[self.dialect], {"state": {"desiredConnections": list(addresses)}})

    def operate(self, operation: dict[str, Any], **more: Any) -> None:
        self.tell(OPERATIONS[self.dialect], {"type": "operation", "id": "1", "operation": operation, **more})


@asynccontextmanager
async def bench(dialect: Name = "gateway", radio: Radio | None = None, **timing: float) -> AsyncIterator[Bench]:
    made = Bench(dialect, radio or Radio(), Timing(**{"look": 0.01, "attempt": 0.02, "watch": 60.0, **timing}))
    async with made.group:
        made.gateway.paired(PAIRING)
        made.gateway.up()
        made.supervisor.spawn("gateway", made.gateway.live())
        try:
            yield made
        finally:
            made.supervisor.cancel_all()


# ---- connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("places", "most"), [(32, MOST_CONNECTED), (3, 3)])
async def test_no_more_are_connected_than_the_protocol_and_the_radio_allow(places: int, most: int) -> None:
    async with bench(radio=Radio(places)) as made:
        made.want(*PEERS)
        await until(lambda: len(made.radio.linked) == most)
        made.radio.drop(PEERS[0])
        await until(lambda: PEERS[most] in made.radio.linked, what="the one whose turn it is")
        await until(lambda: len(made.kinds("device_discover_result")) == most + 1)
        assert len(made.radio.linked) == most
        assert made.radio.wanted == PEERS[: most + 1], "one attempt each"


async def test_who_cannot_be_connected_has_its_turn_after_the_others() -> None:
    radio = Radio(2)
    radio.deaf, radio.away = {PEERS[0], PEERS[2]}, {PEERS[4]}
    async with bench(radio=radio) as made:
        made.want(*PEERS[:5])
        made.busy.add(PEERS[3])
        await until(lambda: len(radio.wanted) > 6)
        assert radio.wanted[:5] == [PEERS[0], PEERS[1], PEERS[2], PEERS[0], PEERS[2]]
        assert {PEERS[3], PEERS[4]}.isdisjoint(radio.wanted), "one is being updated, one was not heard"
        status = made.gateway.statuses()
        assert [status[address].status.connected for address in PEERS[:5]] == [False, True, False, False, False]
        errors = made.kinds("error")
        assert [one["device"]["deviceAddress"] for one in errors] == [PEERS[0], PEERS[2]], "once each"
        assert "was not connected within" in errors[0]["error"]["description"]
        made.busy.clear()
        await until(lambda: PEERS[3] in radio.linked)
        await until(
            lambda: made.count[f"firmware asked for {PEERS[3]}"], what="its job, asked for once it is connected"
        )


async def test_a_device_that_is_updated_is_left_alone() -> None:
    async with bench() as made:
        made.want(PEERS[0])
        await until(lambda: made.kinds("device_discover_result"))
        made.busy.add(PEERS[0])
        made.operate({"type": "device_discover", "deviceAddress": PEERS[0]})
        await until(lambda: made.kinds("error"))
        assert "new firmware" in made.kinds("error")[0]["error"]["description"]


async def test_a_device_that_hangs_keeps_nobody_waiting_and_its_queue_has_an_end() -> None:
    async with bench() as made:
        made.want(*PEERS[:2])
        await until(lambda: len(made.kinds("device_discover_result")) == 2)
        made.radio.hung.add(PEERS[0])
        place = {"serviceUUID": "180F", "characteristicUUID": "2A19"}
        for _ in range(MOST_WAITING + 3):
            made.operate({"type": "device_characteristic_value_read", "deviceAddress": PEERS[0], **place})
        made.operate({"type": "device_characteristic_value_read", "deviceAddress": PEERS[1], **place})
        await until(lambda: made.kinds("device_characteristic_value_changed"))
        assert made.kinds("device_characteristic_value_changed")[0]["device"]["id"] == PEERS[1]
        assert [one["error"]["code"] for one in made.kinds("error")] == [429] * 3
        made.operate({"type": "delete_yourself"})
        await until(lambda: not made.radio.linked, what="all of them let go, also the one that hangs")
        assert made.gateway.statuses() == {}


async def test_the_radio_s_word_on_what_is_connected_reaches_the_shadow() -> None:
    def connections() -> list[Any]:
        reports = [body["state"]["reported"] for topic, body in made.line.sent if topic.endswith("/shadow/update")]
        return [one["statusConnections"] for one in reports if "statusConnections" in one]

    async with bench() as made:
        assert made.line.sent[0] == (
            "prod/t/hub-1/shadow/update",
            {"state": {"reported": {"device": {"serviceInfo": {"fota_v2_ble": True}}}}},
        )
        assert made.line.sent[1] == ("prod/t/hub-1/shadow/get", None)
        whole = {"desired": {"desiredConnections": [PEERS[0]]}, "reported": {"statusConnections": {"OLD": {}}}}
        made.tell("prod/t/hub-1/shadow/get/accepted", {"state": whole, "version": 3})
        await until(lambda: made.kinds("device_discover_result"))
        assert connections()[0]["OLD"] is None
        assert [one[PEERS[0]]["status"] for one in connections()] == [
            {"connected": False, "connecting": False},
            {"connected": False, "connecting": True},
            {"connected": True, "connecting": False},
        ]
        made.radio.lost = True
        await until(lambda: made.kinds("device_disconnect"), what="the radio's end")
        assert connections()[-1][PEERS[0]]["status"]["connected"] is False


async def test_an_lte_gateway_clears_the_shadow_and_asks_by_a_transform() -> None:
    async with bench("lte") as made:
        cleared = {"desiredConnections": None, "statusConnections": None}
        assert made.line.sent[0] == ("hub-1/shadow/update", {"state": {"reported": cleared}})
        question = {"t": "state.desired.desiredConnections", "l": 1024}
        assert made.line.sent[-1] == ("hub-1/shadow/get/tf", question)
        answers = "hub-1/shadow/get/accepted/tf"
        pairing = Inbound(answers, b'{"tf":{"pairing":{}}}', retained=False, acknowledge=lambda: None)
        assert not made.gateway.hear(pairing), "another question's"
        made.tell(answers, {"tf": [{"id": PEERS[0]}]})
        await until(lambda: made.kinds("device_discover_result"))
        again = Inbound(answers, b'{"tf":[]}', retained=False, acknowledge=lambda: None)
        assert not made.gateway.hear(again), "nobody has asked"
        made.tell("hub-1/shadow/update/delta/trim/err", {"err": 41300})
        assert made.line.sent[-1] == ("hub-1/shadow/get/tf", question), (
            "a delta that is too large for nRF Cloud to tell"
        )
        made.tell(answers, {"err": 41300, "position": 0, "message": "large"})
        assert list(made.gateway.statuses()) == [PEERS[0]]
        assert made.count["gateway_malformed"] == 1


@examples(1)
@given(
    st.lists(st.tuples(st.integers(0, 4), JSON | st.binary(max_size=20)), max_size=6),
    st.sampled_from(["gateway", "lte"]),
)
def test_any_messages_at_all_end_nothing(messages: list[tuple[int, Any]], dialect: Name) -> None:
    topics = [
        *DELTA.values(),
        "prod/t/hub-1/shadow/get/accepted",
        "hub-1/shadow/get/accepted/tf",
        OPERATIONS[dialect],
    ]

    async def run() -> None:
        async with bench(dialect) as made:
            for number, body in messages:
                payload = body if isinstance(body, bytes) else json.dumps(body).encode()
                inbound = Inbound(topics[number], payload, retained=False, acknowledge=lambda: None)
                if not made.gateway.hear(inbound):
                    made.line.hear(inbound)
            made.want(PEERS[0])
            await until(lambda: PEERS[0] in made.radio.linked, what="a gateway that works")

    asyncio.run(run())


# ---- events ---------------------------------------------------------------------------------------------------------


async def test_events_that_the_disk_does_not_take_have_an_end_and_are_counted() -> None:
    async with bench() as made:
        over = ScanResults(devices=[], timeout=True)
        assert all(made.outlet.say(over) for _ in range(MOST_OPEN))
        assert not made.outlet.say(over)
        assert (len(made.said), made.count["gateway_dropped"]) == (MOST_OPEN, 1)
        made.written.pop()()
        assert made.outlet.say(over)


@pytest.mark.parametrize(("reporting", "sizes"), [("instant", [1] * MOST_FOUND), ("batch", [TOGETHER] * 5)])
async def test_a_scan_has_an_end_of_what_it_tells(reporting: str, sizes: list[int]) -> None:
    radio = Radio()
    radio.air = [Heard(address=f"C0:00:00:00:{n >> 8:02X}:{n & 255:02X}") for n in range(MOST_FOUND + 5)] * 2
    async with bench(radio=radio) as made:
        await until(lambda: made.gateway.ready)
        made.operate({"type": "scan", "scanTimeout": 1, "scanReporting": reporting})
        await until(lambda: any(one["timeout"] for one in made.kinds("scan_result")))
        told = made.kinds("scan_result")
        assert [len(one["devices"]) for one in told] == [*sizes, 0]
        assert [one["timeout"] for one in told] == [False] * len(sizes) + [True]
        assert made.count["gateway_scan_overflow"] == 10


async def test_a_name_that_comes_later_is_told_and_what_was_told_is_not_told_again() -> None:
    radio = Radio()
    radio.air = [Heard(), Heard(rssi=-40), Heard(name="hall"), Heard(), Heard(name="hall", rssi=-90)]
    async with bench(radio=radio) as made:
        await until(lambda: made.gateway.ready)
        made.operate({"type": "scan", "scanTimeout": 1, "filter": {"rssi": -60, "name": None}})
        await until(lambda: any(one["timeout"] for one in made.kinds("scan_result")))
        assert [one.get("name") for event in made.kinds("scan_result") for one in event["devices"]] == [None, "hall"]


async def test_beacons_and_how_devices_are_heard_are_told_each_minute_without_the_outbox() -> None:
    radio = Radio()
    radio.air = [Heard(address=PEERS[1], rssi=-70), Heard(address=PEERS[2], rssi=-70)]
    async with bench(radio=radio, watch=0.02) as made:
        made.tell(DELTA["gateway"], {"state": {"beacons": [PEERS[1]], "desiredConnections": [PEERS[0]]}})

        def hints() -> list[Any]:
            return [body for topic, body in made.line.sent if topic.endswith("/g2c")]

        def heard() -> set[tuple[str, str]]:
            places = [one["address"] for body in hints() for one in body["event"]["devices"]]
            return {(place["address"], place["type"]) for place in places}

        await until(lambda: heard() == {(PEERS[1], "public"), (PEERS[0], "")})
        numbers = [body["messageId"] for body in hints()]
        assert numbers == sorted(set(numbers))
        assert not made.kinds("scan_result")
        made.line.open = False
        sent = len(made.line.sent)
        await until(lambda: made.outlet.hint(ScanResults(devices=[], timeout=False)) is False)
        assert len(made.line.sent) == sent


async def test_a_retained_operation_is_refused() -> None:
    async with bench() as made:
        payload = json.dumps({"type": "operation", "id": "1", "operation": {"type": "scan"}}).encode()
        assert made.line.hear(Inbound(OPERATIONS["gateway"], payload, retained=True, acknowledge=lambda: None))
        assert made.count["gateway_malformed"] == 1
        assert not made.said
