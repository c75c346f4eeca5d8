"""nRF Cloud by CoAP without a network: the forms of messages and state, what is told of the hub, and messages that the cloud refuses."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cbor2
import pytest
from conftest import until
from hypothesis import given
from hypothesis import strategies as st
from link_rig import Rig
from nrf_link_rig import ABOUT

from agent.cloud.lane import LinkPolicy
from agent.cloud.nrf import NrfCloud, encoded
from agent.cloud.nrf_calls import NrfCalls
from agent.cloud.nrf_calls_link import NrfCallsLink, packs
from agent.cloud.nrf_coap import NrfCoap
from agent.cloud.nrf_pairing import Conversation
from agent.cloud.rest_answer import Answer, RestError, UnavailableError, UnusableError
from agent.coap.exchange import CBOR, JSON, Ask
from agent.requests import Kind
from agent.sim.nrf import coap as standin
from agent.wire import nrf_coap
from agent.wire.nrf import JsonObject, StateChange

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
POSITIONS = st.dictionaries(st.sampled_from(sorted(nrf_coap.POSITION)), NUMBERS | st.none(), max_size=4)
MESSAGES = st.fixed_dictionaries(
    {"appId": st.text(max_size=5), "data": st.text(max_size=5) | NUMBERS | POSITIONS | VALUES},
    optional={
        "messageType": st.sampled_from(["DATA", "CMD"]),
        "ts": st.integers(0, 2**53) | st.floats(),
        "device": st.text(max_size=3),
    },
)


# ---- forms ----------------------------------------------------------------------------------------------------------


@given(MESSAGES)
def test_a_message_in_cbor_says_all_of_it_or_is_none(message: dict[str, Any]) -> None:
    """The stand-in's reader was written apart from this writer, by the same description."""
    made = nrf_coap.message(message)
    if made is None:
        assert (
            not isinstance(message["data"], str)
            or message.get("messageType") == "CMD"
            or "device" in message
            or isinstance(message.get("ts"), float)
        )
    else:
        assert standin._from_cbor(made) == {**message, "messageType": "DATA"}


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_a_state_in_cbor_is_the_json_that_it_stands_for(state: dict[str, Any]) -> None:
    assert nrf_coap.state(cbor2.dumps(state)) == state


@given(st.binary(max_size=60) | st.builds(cbor2.dumps, VALUES | st.datetimes().map(str) | st.binary() | st.floats()))
def test_any_bytes_are_a_state_or_a_typed_error(body: bytes) -> None:
    try:
        found = nrf_coap.state(body)
    except nrf_coap.NotCborError:
        return
    assert isinstance(found, dict)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "body", [b"", b"\xa1\x61a\xf9\x7c\x00", b"\xa1\x61a\x41b", b"\xa1\x01\x02", b"\x80", b"\x81" * 5000, b"\xc0\x60"]
)
def test_what_json_has_no_form_for_is_no_state(body: bytes) -> None:
    with pytest.raises(nrf_coap.NotCborError):
        nrf_coap.state(body)


@given(st.lists(st.integers(0, 40)), st.integers(2, 100))
def test_packs_keep_the_order_and_the_room(sizes: list[int], room: int) -> None:
    bodies: list[dict[str, Any]] = [{"d": "x" * size} for size in sizes]
    made = list(packs(bodies, room))
    assert [body for pack in made for body in pack] == bodies
    for number, pack in enumerate(made, 1):
        after = made[number] if number < len(made) else None
        size = len(json.dumps(pack, separators=(",", ":")))
        assert size <= room or len(pack) == 1
        assert after is None or size + len(encoded(after[0])) + 1 > room - 1, "a pack is as full as it can be"


# ---- state ----------------------------------------------------------------------------------------------------------


class Service:
    """`delta` is what a GET finds; `patched` what was sent."""

    def __init__(self) -> None:
        self.delta: Any = {}
        self.asked: list[Ask] = []
        self.broken = False

    async def call(self, ask: Ask, *, retry: bool | None = None) -> Answer:
        self.asked.append(ask)
        if self.broken:
            raise UnavailableError("away", status=503)
        if ask.method != "GET":
            assert retry
            return Answer(204, {}, b"")
        body = self.delta if isinstance(self.delta, bytes) else json.dumps(self.delta).encode() if self.delta else b""
        return Answer(205, {"content-format": str(ask.accept)}, body)

    def said(self) -> list[Any]:
        """What was asked for since the last time: a query, or a section with its content."""
        made = [
            dict(ask.query) if ask.method == "GET" else (ask.path.rpartition("/")[2], json.loads(ask.body))
            for ask in self.asked
        ]
        self.asked.clear()
        return made


def wanted(hub: str, taken_back: JsonObject | None = None) -> Any:
    def answer(_desired: JsonObject) -> StateChange:
        return StateChange(reported={"hub": {"status": hub, "reason": None}}, desired=taken_back)

    return answer


async def test_all_is_told_first_and_then_what_differs() -> None:
    service = Service()
    nrf = NrfCoap(service)  # type: ignore[arg-type]  all that is used of it
    pairing = {"pairing": {"state": "paired"}, "nrfcloud_mqtt_topic_prefix": "prod/t/"}
    service.delta = {**pairing, "other": 1}
    await nrf.settle(wanted("online"))
    online = {"hub": {"status": "online", "reason": None}}
    assert service.said() == [{"delta": "false"}, ("reported", {**pairing, **online})]
    service.delta = {}
    await nrf.settle(wanted("online"))
    assert service.said() == [{}]
    await nrf.settle(wanted("offline"))
    assert service.said() == [{}, ("reported", {"hub": {"status": "offline"}})]
    service.delta = pairing  # somebody has made the device anew
    await nrf.settle(wanted("offline"))
    assert service.said() == [{}, ("reported", {**pairing, "hub": {"status": "offline", "reason": None}})]
    service.broken = True
    with pytest.raises(UnavailableError):
        await nrf.settle(wanted("online"))
    service.broken, service.delta = False, {}
    service.said()
    await nrf.settle(wanted("online"))
    assert service.said() == [{"delta": "false"}, ("reported", online)], "what was told is not known any more"


async def test_what_is_taken_back_is_said_once_for_each_wish() -> None:
    service = Service()
    nrf = NrfCoap(service)  # type: ignore[arg-type]  as above
    await nrf.settle(wanted("online"))
    service.said()
    back: JsonObject = {"control": {"logLvl": None}}
    for expected in ([{}, ("desired", back)], [{}]):
        await nrf.settle(wanted("online", back))
        assert service.said() == expected
    await nrf.settle(wanted("online"))
    service.said()
    await nrf.settle(wanted("online", back))
    assert service.said() == [{}, ("desired", back)]


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":NaN}', b'{"a":1e999}', b"\xff", b"[" * 100_000])
async def test_a_state_that_is_no_object_is_told(body: bytes) -> None:
    service = Service()
    service.delta = body
    for cbor in (False, True):
        with pytest.raises(UnusableError):
            await NrfCoap(service).state(cbor=cbor)  # type: ignore[arg-type]  as above
    assert [ask.accept for ask in service.asked] == [JSON, CBOR]


# ---- refusals -------------------------------------------------------------------------------------------------------


class Refusing(NrfCalls):
    """Takes what does not press `bad`; `away` times it is not there, and it refuses the first state."""

    protocol, longest, batch = "CoAP", 1000, 4000

    def __init__(self, bad: int, away: int = 0) -> None:
        self.bad, self.away, self.states = bad, away, 0
        self.got: list[Mapping[str, Any]] = []

    async def settle(self, wanted: Any) -> None:
        wanted({})
        self.states += 1
        if self.states == 1:
            raise RestError("too large", status=413)

    async def send_bulk(self, messages: Sequence[Mapping[str, Any]], *, again: bool = False) -> None:
        assert again
        if self.away:
            self.away -= 1
            raise UnavailableError("away", status=503)
        if any(message["data"] == {"NewPosition": self.bad} for message in messages):
            raise RestError("it is bad", status=422)
        self.got += messages

    async def _current_job(self, query: Mapping[str, str]) -> Answer:
        raise AssertionError(query)

    async def _update_job(self, job: str, update: object) -> None:
        raise AssertionError(job, update)


async def test_a_message_that_is_refused_holds_nothing_up(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 1, LinkPolicy(spool_after=0.3))
    conversation, nrf = Conversation("hub-1", ABOUT), Refusing(bad=7, away=1)
    dialect = NrfCloud("main", conversation)
    link = NrfCallsLink(
        "main",
        nullcontext(),
        nrf,
        rig.link.policy,
        dialect,
        conversation,
        rig.outbox,
        rig.clock,
        place="x",
        interval=9.0,
    )
    rig.link = link  # type: ignore[assignment]  it is offered to like the other
    for number in range(50):
        await rig.durable(rig.event(number))
    await rig.durable(rig.message(Kind.CAPABILITIES, {"large": "x" * 2000}))
    holding = asyncio.create_task(link.hold())
    with pytest.raises(UnavailableError):
        await link.run()
    assert not nrf.got
    running = asyncio.create_task(link.run())
    await until(lambda: not sum(rig.store.stats.backlog.values()), what="an empty outbox")
    assert [one["data"]["NewPosition"] for one in nrf.got] == [number for number in range(50) if number != 7]
    assert (link.counters["refused"], link.counters["oversized"]) == (2, 1)
    link.set_status({"status": "online"})
    await until(lambda: nrf.states > 1, what="the state once more")
    assert not running.done()
    for task in (running, holding):
        task.cancel()
    await asyncio.gather(running, holding, return_exceptions=True)
    await rig.store.close()
