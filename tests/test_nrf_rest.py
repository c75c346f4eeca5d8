"""nRF Cloud's client against a raw server with faults: what it repeats, what it gives up, and what it never sends."""

import base64
import contextlib
import json
import logging
import time
import traceback
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nrf_client_rig import Device
from pydantic import ValidationError
from raw_http import Asked, RawHttp, Write, answer
from rest_rig import Pauses, cut, endless, silent

from agent.clock import ESTIMATED
from agent.cloud.nrf_calls import MessageTooLargeError, difference
from agent.cloud.nrf_rest import ConflictError, NrfRest
from agent.cloud.rest import Policy, RestError, UnavailableError, UnusableError
from agent.cloud.rest_answer import Answer, failure
from agent.errors import HubError, TryAgainError, UsageError
from agent.wire.nrf import Assistance, Fix, FotaStatus, JobDocument, StateChange, Surroundings, WiFi
from agent.wire.nrf import Device as Shown

SHOWN = answer(200, b'{"id":"hub-1","state":{"reported":{"a":1},"version":3},"$meta":{"version":"7"}}')
TAKEN = answer(202)
NOBODY = answer(401, b'{"code":40100,"message":"Access denied"}')


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "store", "hub-1")


def expiry(asked: Asked) -> float:
    body = asked.headers["authorization"].removeprefix("Bearer ").split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])


def add(_found: Shown) -> StateChange:
    return StateChange(reported={"b": 2})


# ---- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-7200, 7200])
async def test_a_refusal_with_another_time_is_signed_again_once(device: Device, skew: int) -> None:
    refused = answer(401, b"", f"Date: {formatdate(time.time() + skew, usegmt=True)}")
    async with RawHttp(refused, SHOWN) as server, device.rest(server.url) as rest:
        assert (await NrfRest(rest, "hub-1").device()).id == "hub-1"
    first, second = server.asked
    assert expiry(second) - expiry(first) == pytest.approx(skew, abs=5)


async def test_without_a_time_one_request_goes_without_a_token_to_be_told_it(device: Device) -> None:
    device.watch.quality, device.watch.skew = ESTIMATED, -1e9
    refused = answer(401, b"", f"Date: {formatdate(time.time(), usegmt=True)}")
    async with RawHttp(refused, SHOWN, SHOWN) as server, device.rest(server.url) as rest:
        await NrfRest(rest, "hub-1").device()
        await NrfRest(rest, "hub-1").device()
    assert "authorization" not in server.asked[0].headers
    assert [expiry(asked) for asked in server.asked[1:]] == [pytest.approx(time.time() + 600, abs=5)] * 2


async def test_a_service_that_tells_no_time_gets_no_token(device: Device) -> None:
    device.watch.quality = ESTIMATED
    async with RawHttp(NOBODY) as server, device.rest(server.url) as rest:
        for _ in range(2):
            with pytest.raises(TryAgainError, match="not trusted"):
                await NrfRest(rest, "hub-1").device()
    assert ["authorization" in asked.headers for asked in server.asked] == [False, False]


async def test_the_time_of_another_host_is_not_learnt(device: Device) -> None:
    date = f"Date: {formatdate(time.time() + 7200, usegmt=True)}"
    async with RawHttp(answer(401, b"", date)) as other, RawHttp(SHOWN) as server, device.rest(server.url) as rest:
        server.script = [answer(302, b"", f"Location: {other.url}/x"), SHOWN]
        with pytest.raises(RestError, match="401"):
            await rest.call("GET", "/", foreign=True)
        await NrfRest(rest, "hub-1").device()
    assert len(other.asked) == 1
    assert expiry(server.asked[1]) == pytest.approx(time.time() + 600, abs=5)


async def test_a_refusal_is_not_fought(device: Device) -> None:
    pauses = Pauses()
    async with RawHttp(NOBODY) as server, device.rest(server.url, pauses) as rest:
        with pytest.raises(RestError, match="Access denied"):
            await NrfRest(rest, "hub-1").device()
    assert (len(server.asked), pauses.waited) == (2, [])


async def test_the_time_of_every_answer_is_learnt_and_that_of_a_cache_is_not(device: Device) -> None:
    date = f"Date: {formatdate(time.time() + 3600, usegmt=True)}"
    cached = SHOWN.replace(b"\r\n\r\n", f"\r\n{date}\r\nAge: 9\r\n\r\n".encode(), 1)
    fresh = SHOWN.replace(b"\r\n\r\n", f"\r\n{date}\r\n\r\n".encode(), 1)
    async with RawHttp(cached, fresh, SHOWN) as server, device.rest(server.url) as rest:
        for _ in range(3):
            await NrfRest(rest, "hub-1").device()
    first, second, third = map(expiry, server.asked)
    assert (second - first, third - second) == (pytest.approx(0, abs=5), pytest.approx(3600, abs=5))


async def test_no_token_goes_to_another_host(device: Device) -> None:
    async with (
        RawHttp(SHOWN) as other,
        RawHttp(answer(302, b"", f"Location: {other.url}/x")) as server,
        device.rest(server.url) as rest,
    ):
        with pytest.raises(UnusableError, match="another host"):
            await NrfRest(rest, "hub-1").device()
    assert not other.asked


@pytest.mark.parametrize("status", [200, 400, 401, 403, 422, 429, 503])
async def test_no_token_and_no_key_is_in_a_log_line_or_an_error(
    device: Device, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="")
    tokens: set[str] = set()

    async def echo(asked: Asked, writer: Write) -> None:
        token = asked.headers["authorization"]
        tokens.add(token.removeprefix("Bearer "))
        writer.write(
            answer(status, json.dumps({"message": token, "errors": {token: [token]}}).encode(), f"X-Echo: {token}")
        )
        await writer.drain()

    async with RawHttp(echo) as server, device.rest(server.url) as rest:
        nrf = NrfRest(rest, "hub-1")
        with pytest.raises(HubError) as told:
            await nrf.device()
        with pytest.raises(HubError) as later:
            await nrf.ground_fix(Surroundings.model_validate({"lte": [{"mcc": 1, "mnc": 1, "eci": 1, "tac": 1}]}))
    shown = caplog.text
    for error in (told.value, later.value):
        shown += "".join(traceback.format_exception(error)) + repr(vars(error)) + error.advice
    key = "".join(path.read_text() for path in (tmp_path / "store").iterdir())
    assert tokens
    for secret in (*tokens, *(token.rpartition(".")[2] for token in tokens), *key.splitlines()[1:-1]):
        assert secret not in shown


# ---- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", [answer(429, b"", "Retry-After: 1"), answer(500), answer(502, b"<html>"), answer(503), cut, b""]
)
async def test_what_may_pass_passes(device: Device, step: Any) -> None:
    async with RawHttp(step, SHOWN) as server, device.rest(server.url) as rest:
        assert (await NrfRest(rest, "hub-1").device()).state.reported == {"a": 1}
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "step",
    [
        answer(204),
        answer(200, b"<html>a hotel's page</html>", "Content-Type: text/html"),
        answer(200, b'{"id":7}'),
        answer(200, b"[]"),
        answer(200, b"{}", "X-Long: " + "a" * 100_000),
        answer(302, b"", "Location: /v1/loop"),
        endless(b"HTTP/1.1 200 X\r\n\r\n", b"x" * 65536),
    ],
)
async def test_what_is_no_answer_is_told_at_once(device: Device, step: Any) -> None:
    pauses = Pauses()
    async with RawHttp(step) as server, device.rest(server.url, pauses) as rest:
        with pytest.raises(UnusableError):
            await NrfRest(rest, "hub-1").device()
    assert not pauses.waited


async def test_a_slow_answer_is_left(device: Device) -> None:
    async with RawHttp() as server, device.rest(server.url, policy=Policy(stall=0.05, attempts=2)) as rest:
        server.script = [silent(server, b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{")]
        with pytest.raises(UnavailableError, match="in time"):
            await NrfRest(rest, "hub-1").device()
    assert len(server.asked) == 2


async def test_no_job_is_no_error_and_any_other_refusal_is_one(device: Device) -> None:
    async with RawHttp(answer(404, b'{"code":40499}')) as server, device.rest(server.url) as rest:
        assert await NrfRest(rest, "hub-1").current_job("APP") is None
        server.script = [answer(403, b'{"code":40103,"message":"no"}')]
        with pytest.raises(RestError) as told:
            await NrfRest(rest, "hub-1").current_job()
    assert "onboard" in told.value.remedy
    assert server.asked[0].query == {"firmwareType": "APP"}


# ---- state ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_is_read_again_with_the_newer_version(device: Device, status: int) -> None:
    newer = SHOWN.replace(b'"7"', b'"8"')
    async with (
        RawHttp(SHOWN, answer(status), newer, answer(status), newer, TAKEN) as server,
        device.rest(server.url) as rest,
    ):
        await NrfRest(rest, "hub-1").change_state(add)
    writes = [asked.headers["if-match"] for asked in server.asked if asked.method == "PATCH"]
    assert writes == ["7", "8", "8"]


async def test_a_conflict_that_never_ends_is_given_up(device: Device) -> None:
    async with RawHttp(*[SHOWN, answer(412)] * 9) as server, device.rest(server.url) as rest:
        with pytest.raises(ConflictError):
            await NrfRest(rest, "hub-1").change_state(add)
    assert len(server.asked) == 10


async def test_a_write_whose_answer_was_lost_is_written_again(device: Device) -> None:
    """The first attempt was carried out: the second meets its own change as a conflict, reads it, and has nothing more to do."""
    done = SHOWN.replace(b'{"a":1}', b'{"b":2}').replace(b'"7"', b'"8"')
    async with RawHttp(SHOWN, cut, answer(412), done) as server, device.rest(server.url) as rest:
        found = await NrfRest(rest, "hub-1").report({"b": 2})
    assert [asked.method for asked in server.asked] == ["GET", "PATCH", "PATCH", "GET"]
    assert found.meta.version == "8"


async def test_nothing_is_written_where_nothing_differs(device: Device) -> None:
    async with RawHttp(SHOWN) as server, device.rest(server.url) as rest:
        await NrfRest(rest, "hub-1").report({"a": 1})
        await NrfRest(rest, "hub-1").change_state(lambda _found: None)
    assert {asked.method for asked in server.asked} == {"GET"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merged(into: Any, change: Any) -> Any:
    """As a shadow merges, where null is kept apart."""
    if not isinstance(into, dict) or not isinstance(change, dict):
        return change
    return {**into, **{name: merged(into.get(name), value) for name, value in change.items()}}


def holds(there: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(there, dict):
        return all(holds(there.get(name), value) for name, value in wanted.items())
    return json.dumps(there, sort_keys=True) == json.dumps(wanted, sort_keys=True)


@given(OBJECTS, OBJECTS)
def test_a_difference_is_enough_and_no_more(wanted: Any, found: Any) -> None:
    change = difference(wanted, found)
    assert holds(merged(found, change), wanted)
    assert not difference(wanted, merged(found, change))
    assert bool(change) != holds(found, wanted)


# ---- messages, jobs, location ---------------------------------------------------------------------------------------


async def test_a_message_that_is_too_large_is_not_sent(device: Device) -> None:
    async with RawHttp(TAKEN) as server, device.rest(server.url) as rest:
        nrf = NrfRest(rest, "hub-1")
        with pytest.raises(MessageTooLargeError, match="131072 is the most"):
            await nrf.send({"data": "x" * 131_072})
        with pytest.raises(MessageTooLargeError):
            await nrf.send_binary(bytes(100_000))
        await nrf.send({"data": "x" * 130_000})
    assert len(server.asked) == 1


@pytest.mark.parametrize(("again", "times"), [(False, 1), (True, 3)])
async def test_a_message_is_sent_twice_only_where_that_is_wanted(device: Device, again: Any, times: int) -> None:
    async with RawHttp(cut) as server, device.rest(server.url) as rest:
        with pytest.raises(UnavailableError):
            await NrfRest(rest, "hub-1").send({"a": 1}, again=again)
    assert len(server.asked) == times


async def test_a_report_that_was_lost_on_the_way_back_counts(device: Device) -> None:
    ended = answer(422, b'{"code":42200,"message":"the execution is SUCCEEDED"}')
    async with RawHttp(cut, ended, answer(404)) as server, device.rest(server.url) as rest:
        assert not await NrfRest(rest, "hub-1").tell_job("job-1", FotaStatus.SUCCEEDED)
        server.script = [ended, answer(200, b'{"jobId":"job-1"}')]
        with pytest.raises(RestError, match="the execution is"):
            await NrfRest(rest, "hub-1").tell_job("job-1", FotaStatus.SUCCEEDED)


@pytest.mark.parametrize(
    "ranges",
    [
        ["bytes 0-3/8", "bytes 4-7/9"],
        ["bytes 0-3/8", "bytes 3-6/8"],
        ["bytes 0-9/20"],
        ["bytes 0-3/2"],
        ["bytes 0-3/99999999"],
        ["bytes */8"],
        [""],
    ],
)
async def test_parts_that_do_not_fit_are_no_assistance_data(device: Device, ranges: list[str]) -> None:
    steps = [answer(206, b"abcd", f"Content-Range: {span}") for span in ranges]
    async with RawHttp(*steps) as server, device.rest(server.url) as rest:
        with pytest.raises(UnusableError, match="fit together"):
            await NrfRest(rest, "hub-1").assistance(Assistance())
    assert len(server.asked) == len(ranges)


async def test_assistance_data_that_comes_whole_is_taken(device: Device) -> None:
    async with RawHttp(answer(200, b"abcd")) as server, device.rest(server.url) as rest:
        assert await NrfRest(rest, "hub-1").assistance(Assistance()) == b"abcd"
    assert server.asked[0].headers["range"] == "bytes=0-32767"


@pytest.mark.parametrize("name", ["", ".."])
def test_a_device_needs_a_name(name: str) -> None:
    with pytest.raises(UsageError):
        NrfRest(None, name)  # type: ignore[arg-type]  # it is not got to


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (Surroundings, {}),
        (WiFi, {"accessPoints": [{"macAddress": "00:11:22:33:44:55"}]}),
        (Fix, {"lat": 91, "lon": 0, "uncertainty": 1}),
        (JobDocument, {"firmwareType": "APP", "fileSize": 1, "host": "evil.example/x", "path": "a"}),
        (JobDocument, {"firmwareType": "APP", "fileSize": 1, "host": "user@evil.example", "path": "a"}),
        (JobDocument, {"firmwareType": "APP", "fileSize": 1, "host": "a.example", "path": "a b"}),
        (JobDocument, {"firmwareType": "APP", "fileSize": 0, "host": "a.example", "path": "a"}),
    ],
)
def test_what_the_cloud_would_refuse_is_not_built(model: Any, body: Any) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(body)


@given(
    st.binary(max_size=400) | OBJECTS.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([200, 202, 206, 404, 422]),
)
def test_any_answer_is_a_result_or_a_typed_error(body: bytes, status: int) -> None:
    found = Answer(status, {}, body)
    with contextlib.suppress(HubError):  # anything else fails the test
        if status >= 400:
            raise failure(found)
        found.model(Shown)
