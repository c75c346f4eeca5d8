"""The CoAP client of services against a server whose every datagram the test writes: plain CoAP on loopback, where anybody could answer."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import ACK, CON, RST
from certificates import Authority
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from nrf_client_rig import Device
from nrf_coap_rig import QUICK, RawCoap, Step, client, reply, silent, tokens
from pydantic_core import PydanticCustomError
from rest_rig import Pauses

from agent.clock import Moment
from agent.cloud import coap as module
from agent.cloud.coap import Coap, Send
from agent.cloud.nrf_coap import Login
from agent.cloud.rest import RestError, UnavailableError, UnusableError
from agent.coap import exchange
from agent.coap.dtls import DtlsEndedError, Session, verified, verifying
from agent.coap.exchange import JSON, TEXT, Ask
from agent.errors import HubError, UsageError
from agent.settings.values import Place, coap_place

GET, POST = (
    Ask("GET", "/state", {"delta": "false"}, accept=JSON),
    Ask("POST", "/msg/d2c", body=b"1", content_format=JSON),
)


def good(request: Message) -> bytes:
    return reply(request, "2.05", b"good", content_format=TEXT)


async def asked(server: RawCoap, ask: Ask = GET, *, retry: bool | None = None, **more: Any) -> bytes:
    async with client(server.url, **more) as coap:
        return (await coap.call(ask, retry=retry)).body


# ---- answers that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "false",
    [
        lambda request: reply(request, "2.05", b"false", token=b"12345678"),
        lambda request: reply(request, "2.05", b"false", token=b""),
        lambda request: reply(request, "2.05", b"false", mid=request.mid ^ 1),
        lambda request: Message(code=Code.EMPTY, _mtype=RST, _mid=request.mid ^ 1).encode(),
        lambda request: Message(code=Code.GET, _mtype=CON, _mid=request.mid, _token=request.token).encode(),
        lambda _: b"",
        lambda _: b"\x00",
    ],
    ids=["token", "no token", "message id", "reset of another", "a request", "empty", "short"],
)
async def test_what_answers_no_request_changes_nothing(false: Callable[[Message], bytes]) -> None:
    async with RawCoap(lambda request: [false(request), good(request)]) as server:
        assert await asked(server) == b"good"
    assert len(server.asked) == 1


async def test_an_answer_from_another_address_is_not_heard() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))

        def spoofed(request: Message) -> bytes:
            stranger.sendto(reply(request, "2.05", b"false"), server.froms[-1])
            return good(request)

        async with RawCoap(spoofed) as server:
            assert await asked(server) == b"good"


async def test_tokens_are_drawn_and_long() -> None:
    async with RawCoap(good) as server, client(server.url) as coap:
        for _ in range(20):
            await coap.call(GET)
    found = {request.token for request in server.asked}
    assert len(found) == 20
    assert {len(token) for token in found} == {8}
    numbers = sorted(int.from_bytes(token) for token in found)
    assert min(b - a for a, b in pairwise(numbers)) > 1 << 32, "no count"


# ---- sessions -------------------------------------------------------------------------------------------------------


async def test_a_message_without_answer_is_repeated_and_then_given_up() -> None:
    async with RawCoap(silent, silent, good) as server:
        assert await asked(server, limits=QUICK) == b"good"
        server.steps = [silent]
        with pytest.raises(UnavailableError) as told:
            await asked(server, limits=QUICK)
    assert told.value.sent
    assert "UDP" in told.value.remedy
    assert len({request.mid for request in server.asked[:3]}) == 1


@pytest.mark.parametrize(("ask", "retry", "again"), [(GET, None, True), (POST, True, True), (POST, None, False)])
async def test_a_session_that_does_not_answer_any_more_is_made_anew(ask: Ask, retry: bool | None, again: bool) -> None:  # noqa: FBT001
    async with RawCoap(good) as server, client(server.url, limits=QUICK) as coap:
        await coap.call(GET)
        lost = server.froms[0]
        server.steps = [lambda request: None if server.froms[-1] == lost else good(request)]
        if again:
            assert (await coap.call(ask, retry=retry)).body == b"good"
            assert server.froms[-1] != lost
        else:
            with pytest.raises(UnavailableError):
                await coap.call(ask, retry=retry)
        assert coap.sessions == 1 + again


async def test_an_idle_session_is_given_up_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HASTY", 0)
    shift = [0.0]

    class Late:
        def now(self) -> Moment:
            return Moment(1e9, asyncio.get_running_loop().time() + shift[0], "boot")

    async with RawCoap(good) as server, client(server.url, limits=QUICK) as coap:
        coap._clock = Late()
        await coap.call(GET)
        shift[0] = 60.0
        lost, first = server.froms[0], len(server.asked)
        server.steps = [lambda request: None if server.froms[-1] == lost else good(request)]
        await coap.call(GET)
    assert server.froms[first:].count(lost) == 1, "no repetition in the old session"


async def test_a_reset_or_a_closed_port_is_an_error() -> None:
    async with RawCoap(
        lambda request: bytes(Message(code=Code.EMPTY, _mtype=RST, _mid=request.mid).encode())
    ) as server:
        with pytest.raises(UnavailableError, match="reset"):
            await asked(server)
        url = server.url
    async with client(url, limits=QUICK) as coap:
        with pytest.raises(UnavailableError):
            await coap.call(GET)
    with pytest.raises(UsageError):
        await coap.call(GET)
    async with client("coaps://no-such-host.invalid") as nowhere:
        with pytest.raises(UnavailableError, match="looked up") as told:
            await nowhere.call(GET)
        assert not told.value.sent


# ---- logins ---------------------------------------------------------------------------------------------------------


async def test_each_session_is_entered_and_again_when_its_login_has_ended(tmp_path: Path) -> None:
    logins: list[Message] = []
    device = Device(tmp_path, "hub-1")

    def service(request: Message) -> bytes:
        if request.opt.uri_path == ("auth", "jwt"):
            logins.append(request)
            return reply(request, "2.01", max_age=100)
        return good(request) if len(logins) % 2 or len(server.asked) > 4 else reply(request, "4.01")

    signer = tokens(device)
    async with RawCoap(service) as server, client(server.url, enter=Login(signer)) as coap:
        await coap.call(GET)
        logins.append(logins[0])  # it has ended
        await coap.call(GET)
        assert coap.sessions == 1
    assert [request.payload.decode() for request in logins] == [signer.token()] * 3
    assert {request.opt.content_format for request in logins} == {TEXT}


async def test_no_token_is_in_an_error_or_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="")
    signer = tokens(Device(tmp_path, "hub-1"))

    async with RawCoap(lambda request: reply(request, "4.03", request.payload)) as server:
        with pytest.raises(RestError) as told:
            await asked(server, enter=Login(signer))
    assert (told.value.status, len(server.asked)) == (403, 2)
    shown = caplog.text + told.value.advice + repr(vars(told.value))
    for request in server.asked:
        assert request.payload.decode() not in shown
        assert request.payload.decode().rpartition(".")[2] not in shown
    assert "public key" in told.value.remedy


async def test_a_session_that_cannot_be_entered_is_not_used() -> None:
    async def never(_send: Send) -> None:
        raise RestError("no", status=403)

    async with RawCoap(good) as server, client(server.url, enter=never) as coap:
        for _ in range(2):
            with pytest.raises(RestError, match="no"):
                await coap.call(GET)
        assert not server.asked


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "ask", "retry", "times"),
    [
        ("5.03", GET, None, 2),
        ("5.00", POST, True, 2),
        ("5.00", POST, None, 1),
        ("4.29", POST, None, 2),
        ("4.08", POST, True, 2),
        ("4.00", GET, None, 1),
        ("4.04", GET, True, 1),
        ("5.01", GET, None, 1),
    ],
)
async def test_what_may_pass_is_asked_again_later(code: str, ask: Ask, retry: bool | None, times: int) -> None:  # noqa: FBT001
    pauses = Pauses()
    async with RawCoap(lambda request: reply(request, code, b"why", max_age=7), good) as server:
        if times == 1:
            with pytest.raises(RestError, match="why") as told:
                await asked(server, ask, retry=retry, sleep=pauses)
            assert told.value.status == int(code[0]) * 100 + int(code[2:])
        else:
            assert await asked(server, ask, retry=retry, sleep=pauses) == b"good"
            assert (pauses.waited[0] >= 7) == (code in ("5.03", "4.29"))
    assert len(server.asked) == times


# ---- blocks ---------------------------------------------------------------------------------------------------------


async def test_blocks_that_do_not_fit_or_never_end_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MOST_BLOCKS", 20)

    def block(request: Message) -> tuple[int, bool, int]:
        return (request.opt.block2.block_number if request.opt.block2 else 0, True, 0)

    steps: list[Step] = [
        lambda request: reply(request, "2.05", b"x" * 16, block2=block(request)),
        lambda request: reply(request, "2.05", b"x" * 16, block2=block(request), etag=request.token),
        lambda request: reply(request, "2.05", b"x" * 16, block2=(len(server.asked) + 3, True, 0)),
    ]
    for step in steps:
        async with RawCoap(step) as server:
            with pytest.raises(UnusableError, match="blocks"):
                await asked(server)
            assert len(server.asked) <= 20


async def test_an_answer_may_come_apart_from_its_acknowledgement() -> None:
    def apart(request: Message) -> list[bytes]:
        empty = Message(code=Code.EMPTY, _mtype=ACK, _mid=request.mid)
        later = Message(code=Code.CONTENT, payload=b"later", _mtype=CON, _mid=request.mid ^ 9, _token=request.token)
        return [bytes(empty.encode()), bytes(later.encode())]

    async with RawCoap(apart) as server:
        assert await asked(server) == b"later"


junk = st.binary(max_size=60)
tail = st.tuples(st.integers(0, 255), st.integers(0, 3), junk)


@given(before=st.lists(junk, max_size=4), last=st.none() | tail)
@examples(0.6)
def test_any_datagram_is_passed_over_or_a_typed_error(before: list[bytes], last: tuple[int, int, bytes] | None) -> None:
    """Junk before the good answer is passed over; an answer with the right head and anything behind it is one, or an error."""

    def step(request: Message) -> list[bytes]:
        head: list[bytes] = []
        if last is not None:
            code, kind, rest = last
            head = [bytes([0x40 | kind << 4 | 8, code]) + request.mid.to_bytes(2) + request.token + rest]
        return [*before, *head, good(request)]

    async def run() -> bytes:
        async with RawCoap(step) as server:
            return await asked(server, limits=QUICK)

    with contextlib.suppress(HubError):  # anything else fails the test
        body = asyncio.run(run())
        assert last is not None or body == b"good"


record = st.builds(
    lambda kind, version, epoch, body: (
        bytes([kind, 254, version, 0, epoch]) + bytes(6) + len(body).to_bytes(2, "big") + body
    ),
    st.integers(20, 24),
    st.sampled_from([253, 255]),
    st.integers(0, 1),
    junk,
)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(Authority(tmp_path_factory.mktemp("authority")).ca)


@given(datagrams=st.lists(record | junk.filter(bool), max_size=6))
def test_no_datagram_opens_a_session_or_is_more_than_its_end(ca: str, datagrams: list[bytes]) -> None:
    heard: list[bytes] = []
    session = Session(verified("127.0.0.1", verifying(ca)), lambda _: None, heard.append)
    session.start()
    with contextlib.suppress(DtlsEndedError):  # anything else fails the test
        for datagram in datagrams:
            session.take(datagram)
        session.repeat()
    with pytest.raises(DtlsEndedError):
        session.send(b"in a session that is not open")
    assert not session.open
    assert not heard


# ---- where ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("coaps://coap.nrfcloud.com", Place("coap.nrfcloud.com", 5684, secure=True)),
        ("coaps://coap.nrfcloud.com:5685/", Place("coap.nrfcloud.com", 5685, secure=True)),
        ("coaps://[::1]:1", Place("::1", 1, secure=True)),
        ("coap://127.0.0.1", Place("127.0.0.1", 5683, secure=False)),
    ],
)
def test_an_address_of_coap(text: str, place: Place) -> None:
    assert coap_place(text) == place
    assert coap_place(str(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "coap.nrfcloud.com",
        "https://a.example",
        "coaps://",
        "coaps://a:b",
        "coaps://a/b",
        "coaps://u@a",
        "coap://a.example",
    ],
)
def test_what_is_no_address_of_coap(text: str) -> None:
    with pytest.raises(PydanticCustomError) as told:
        coap_place(text)
    assert "coaps://" in str((told.value.context or {})["remedy"])


def test_nothing_goes_elsewhere_in_clear() -> None:
    with pytest.raises(UsageError, match="this machine only"):
        Coap(Place("192.0.2.1", 5683, secure=False), None)  # type: ignore[arg-type]  it is not got to
