"""The control socket as any program of this machine meets it: raw bytes in, whole HTTP answers out."""

import asyncio
import json
import logging
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forked
import h11
import pytest
from conftest import examples, until, until_async
from daemon import ask
from hypothesis import example, given
from hypothesis import strategies as st

from agent import control
from agent.client import Client
from agent.control import MAX_BODY, SOCKET, ApiError, Call, ControlServer, parse_body
from agent.errors import HubError, PermissionDeniedError, StorageError, TryAgainError

GET = b"GET /echo HTTP/1.1\r\nhost: hub\r\n\r\n"


@dataclass
class Api:
    """Answers by path; remembers what a stream that never ends saw."""

    calls: list[Call] = field(default_factory=list)
    started: int = 0
    ended: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, call: Call) -> control.Answer:
        self.calls.append(call)
        match call.path:
            case ("three",):
                return self.three()
            case ("endless",):
                return self.endless()
            case ("later",):
                await self.gate.wait()
                return self.endless()
            case ("flood",):
                return self.flood()
            case ("bug",):
                raise ZeroDivisionError
            case ("late-bug",):
                return self.late_bug()
            case ("full",):
                raise StorageError("the disk is full", remedy="make room")
            case ("teapot",):
                raise ApiError(418, "a teapot", remedy="coffee", allow=("BREW",))
        return {"method": call.method, "path": list(call.path), "body": call.body}

    async def three(self) -> AsyncGenerator[dict[str, Any]]:
        for number in range(3):
            yield {"n": number, "done": number == 2}

    async def endless(self) -> AsyncGenerator[dict[str, Any]]:
        self.started += 1
        try:
            yield {"n": 0}
            await asyncio.Event().wait()
        finally:
            self.ended += 1

    async def flood(self) -> AsyncGenerator[dict[str, Any]]:
        self.started += 1
        try:
            while True:
                yield {"filler": "x" * 65536}
        finally:
            self.ended += 1

    async def late_bug(self) -> AsyncGenerator[dict[str, Any]]:
        yield {"n": 0}
        raise ZeroDivisionError


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def server(tmp_path: Path, api: Api) -> AsyncIterator[ControlServer]:
    made = ControlServer(tmp_path, api, patience=5.0)
    await made.start()
    yield made
    await made.stop()


async def raw(folder: Path, *chunks: bytes, end: bool = False) -> bytes:
    """Everything that the server says to these bytes, up to its end of the connection."""
    reader, writer = await asyncio.open_unix_connection(folder / SOCKET)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        if end:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def parse(answer: bytes, method: bytes = b"GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of one whole answer; anything before or after it is a failure."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method=method, target="/", headers=[("host", "hub"), ("content-length", "0")]))
    http.send(h11.EndOfMessage())
    http.receive_data(answer)
    http.receive_data(b"")
    response = http.next_event()
    assert isinstance(response, h11.Response), answer
    body = b""
    while isinstance(event := http.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert http.trailing_data[0] == b""
    return response.status_code, dict(response.headers), body


def post(path: str, body: bytes) -> bytes:
    return f"POST /{path} HTTP/1.1\r\nhost: hub\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def refusal(folder: Path, *chunks: bytes) -> tuple[int, str]:
    status, _, body = parse(await raw(folder, *chunks))
    return status, json.loads(body)["error"]


# ---- good requests ----------------------------------------------------------------------------------------------------


async def test_a_question_is_answered_whole_byte_by_byte_and_with_a_tail(tmp_path: Path, server: ControlServer) -> None:
    request = post("echo/a%20b%2Fc/%C3%A9?x=1", '{"k": ["é", null]}'.encode())
    for chunks in ([request], [request[i : i + 1] for i in range(len(request))], [request + b"\x00garbage"]):
        status, headers, body = parse(await raw(tmp_path, *chunks))
        assert (status, headers[b"content-type"]) == (200, b"application/json")
        assert json.loads(body) == {"method": "POST", "path": ["echo", "a b/c", "é"], "body": {"k": ["é", None]}}


async def test_a_client_that_closes_its_sending_half_is_still_answered(tmp_path: Path, server: ControlServer) -> None:
    assert parse(await raw(tmp_path, GET, end=True))[0] == 200


async def test_a_stream_is_one_json_object_a_line(tmp_path: Path, server: ControlServer) -> None:
    _, headers, body = parse(await raw(tmp_path, post("three", b"")))
    assert headers[b"content-type"] == b"application/x-ndjson"
    assert [json.loads(line) for line in body.splitlines()] == [{"n": n, "done": n == 2} for n in range(3)]


async def test_http_1_0_and_head_get_what_they_understand(tmp_path: Path, server: ControlServer) -> None:
    old = await raw(tmp_path, b"GET /echo HTTP/1.0\r\n\r\n")
    assert b"chunked" not in old.lower()
    assert parse(old)[0] == 200
    assert parse(await raw(tmp_path, b"HEAD /echo HTTP/1.1\r\nhost: hub\r\n\r\n"), b"HEAD")[::2] == (200, b"")


async def test_pipelined_requests_get_one_answer_and_the_end(tmp_path: Path, server: ControlServer, api: Api) -> None:
    assert parse(await raw(tmp_path, GET * 3))[0] == 200
    assert len(api.calls) == 1


async def test_a_hundred_clients_at_once_get_each_its_own_answer(tmp_path: Path, server: ControlServer) -> None:
    answers = await asyncio.gather(*[raw(tmp_path, post(f"echo/{n}", b"")) for n in range(100)])
    assert [json.loads(parse(answer)[2])["path"] for answer in answers] == [["echo", str(n)] for n in range(100)]


# ---- bad ones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status", "words"),
    [
        (b"what\r\n\r\n", 400, "no HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "no HTTP request"),
        (b"GET /echo HTTP/1.1\r\n\r\n", 400, "no HTTP request"),  # 1.1 without a host
        (b"GET http://[/ HTTP/1.1\r\nhost: hub\r\n\r\n", 400, "no path"),
        (b"GET / HTTP/1.1\r\nhost: hub\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400, "no HTTP request"),
        (b"POST / HTTP/1.1\r\nhost: hub\r\ntransfer-encoding: gzip\r\n\r\n", 501, "no HTTP request"),
        (b"GET / HTTP/1.1\r\nhost: hub\r\nx: " + b"a" * 200_000 + b"\r\n\r\n", 431, "no HTTP request"),
        (post("echo", b"a" * (MAX_BODY + 200_000)), 413, "over 1048576 bytes"),
        (post("echo", b"{"), 400, "no JSON"),
        (post("echo", b"\xff\xfe"), 400, "no JSON"),
        (post("echo", b"[1]"), 400, "no JSON object"),
        (post("echo", b'{"a": NaN}'), 400, "NaN is no number"),
        (post("echo", b"[" * 100_000), 400, "no JSON"),
        (post("echo", b'{"a": "\\ud800"}'), 400, "no JSON"),
        (post("echo", b'{"a": ' + b"9" * 5000 + b"}"), 400, "no JSON"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else None,
)
async def test_what_is_no_request_is_told_why(
    tmp_path: Path, server: ControlServer, api: Api, request_bytes: bytes, status: int, words: str
) -> None:
    got, error = await refusal(tmp_path, request_bytes)
    assert got == status
    assert words in error
    assert not api.calls
    assert parse(await raw(tmp_path, GET))[0] == 200, "the next one is served"


async def test_errors_of_the_api_have_status_words_and_remedy(tmp_path: Path, server: ControlServer) -> None:
    status, headers, body = parse(await raw(tmp_path, post("teapot", b"")))
    assert (status, headers[b"allow"]) == (418, b"BREW")
    assert json.loads(body) == {"error": "a teapot", "remedy": "coffee"}
    status, _, body = parse(await raw(tmp_path, post("full", b"")))
    assert (status, json.loads(body)) == (503, {"error": "the disk is full", "remedy": "make room"})


async def test_a_bug_answers_500_is_logged_and_the_server_goes_on(
    tmp_path: Path, server: ControlServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await refusal(tmp_path, post("bug", b"")))[0] == 500
    assert "ZeroDivisionError" in caplog.text
    cut_off = await raw(tmp_path, post("late-bug", b""))
    assert cut_off.startswith(b"HTTP/1.1 200")
    with pytest.raises(h11.RemoteProtocolError):  # the client can tell that this was not all
        parse(cut_off)
    assert parse(await raw(tmp_path, GET))[0] == 200


async def test_a_slow_client_is_told_and_let_go(tmp_path: Path, api: Api) -> None:
    server = ControlServer(tmp_path, api, patience=0.05)
    await server.start()
    for beginning in (b"", GET[:10], post("echo", b"{}")[:-1]):
        status, error = await refusal(tmp_path, beginning)
        assert (status, "did not arrive" in error) == (408, True)
    assert not api.calls
    await server.stop()


@pytest.mark.parametrize("half", [True, False], ids=["closes its half", "closes"])
async def test_a_client_that_leaves_ends_its_stream(
    tmp_path: Path, server: ControlServer, api: Api, *, half: bool
) -> None:
    reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
    writer.write(post("endless", b""))
    assert b'{"n": 0}' in await reader.readuntil(b"}")
    if half:
        writer.write_eof()
    else:
        writer.close()
    await until(lambda: api.ended == 1, what="the end of the stream that nobody hears")
    writer.close()


async def test_a_client_that_left_before_its_stream_began_costs_nothing(
    tmp_path: Path, server: ControlServer, api: Api
) -> None:
    left = asyncio.ensure_future(raw(tmp_path, post("later", b""), end=True))
    await until(lambda: api.calls)
    assert parse(await raw(tmp_path, GET))[0] == 200, "by now its end has been seen"
    api.gate.set()
    await left
    assert api.started == 0


async def test_a_client_that_does_not_read_ends_its_stream(tmp_path: Path, api: Api) -> None:
    server = ControlServer(tmp_path, api, patience=0.05)
    await server.start()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(tmp_path / SOCKET))
        deaf.sendall(post("flood", b""))
        await until(lambda: api.started == 1 and api.ended == 1, what="the end of the stream that nobody reads")
    await server.stop()


# ---- the socket -------------------------------------------------------------------------------------------------------


async def test_the_socket_is_its_owners_alone_and_goes_with_the_server(tmp_path: Path, server: ControlServer) -> None:
    mode = (tmp_path / SOCKET).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SOCKET]
    await server.stop()
    assert not list(tmp_path.iterdir())


async def test_a_stop_cuts_off_who_still_waits(tmp_path: Path, server: ControlServer, api: Api) -> None:
    streams = [await asyncio.open_unix_connection(tmp_path / SOCKET) for _ in range(3)]
    for _, writer in streams[:2]:
        writer.write(post("endless", b""))
    await until(lambda: api.started == 2)
    await server.stop()
    assert api.ended == 2
    for reader, writer in streams:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


async def test_a_socket_of_a_killed_daemon_is_replaced(tmp_path: Path, api: Api) -> None:
    for name in (SOCKET, "control.new"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / name))
    server = ControlServer(tmp_path, api)
    await server.start()
    assert parse(await raw(tmp_path, GET))[0] == 200
    await server.stop()


async def test_a_second_daemon_is_refused_and_the_first_one_stays(tmp_path: Path, server: ControlServer) -> None:
    second = ControlServer(tmp_path, Api())
    with pytest.raises(TryAgainError, match="another agent") as caught:
        await second.start()
    assert "runtime_dir" in caught.value.remedy
    await second.stop()
    assert parse(await raw(tmp_path, GET))[0] == 200


async def test_a_daemon_that_hangs_is_not_taken_for_dead(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as waiting:
        hung.bind(str(tmp_path / SOCKET))
        hung.listen(0)
        waiting.connect(str(tmp_path / SOCKET))
        with pytest.raises(TryAgainError):
            await ControlServer(tmp_path, Api()).start()


@pytest.mark.parametrize("folder", ["file/run", "long" * 40])
async def test_a_folder_that_cannot_hold_a_socket_is_said(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionDeniedError, match="cannot listen") as caught:
        await ControlServer(tmp_path / folder, Api()).start()
    assert "runtime_dir" in caught.value.remedy


async def test_two_daemons_and_a_kill_9(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[hub]\nid = "hub-1"\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n')
    command = [sys.executable, "-m", "agent.cli", "run", "-c", str(config)]
    client = Client(tmp_path / "run")

    async def up() -> bool:
        try:
            return bool((await ask(client, "status"))["hub"] == "hub-1")
        except HubError:
            return False

    with ExitStack() as processes:

        def start() -> "subprocess.Popen[bytes]":
            process = forked.Popen(command, stderr=subprocess.DEVNULL)
            processes.callback(process.wait)
            processes.callback(process.kill)
            return process

        first = start()
        await until_async(up, bool, 20.0)
        second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert second.returncode == 75
        assert "another agent is running here" in second.stderr
        assert await up(), "the first one is still heard"
        first.kill()
        first.wait()
        assert (tmp_path / "run" / SOCKET).exists()
        third = start()
        await until_async(up, bool, 20.0)
        third.terminate()
        assert third.wait(10) == 0
        assert not (tmp_path / "run" / SOCKET).exists()


# ---- any bytes --------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *[GET, post("echo", b"{}"), post("three", b'{"a": 1}'), b"POST /endless HTTP/1.1\r\n", b"host: hub\r\n", b"\r\n"],
        *[b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n\r\n", b"5\r\n{}   \r\n", b"0\r\n\r\n", b"HEAD * HTTP/1.1\r\n"],
        *[b"CONNECT hub:1 HTTP/1.1\r\n", b"expect: 100-continue\r\n", b"upgrade: h2c\r\nconnection: upgrade\r\n", b"{" * 3],
    ]
)  # fmt: skip


class _Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())


async def _feed(chunks: list[bytes]) -> bytes:
    failures = _Failures()
    logging.getLogger("agent.control").addHandler(failures)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.records.append(str(context)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = ControlServer(folder, Api(), patience=5.0)
        await server.start()
        answer = b""
        with suppress(ConnectionError):  # it may close while we still send
            answer = await raw(folder, *chunks, end=True)
        assert parse(await raw(folder, GET))[0] == 200
        await server.stop()
    logging.getLogger("agent.control").removeHandler(failures)
    assert not failures.records
    return answer


@examples(4)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=8))
@example([b"HEAD / HTTP/1.1\r\nhost: hub\r\ncontent-length: 1\r\n\r\n{"])
@example([b"\r\n\r\n"])
@example([b"CONNECT hub:1 HTTP/1.1\r\nhost: hub\r\n\r\n"])
def test_any_bytes_are_answered_with_http_or_the_end(chunks: list[bytes]) -> None:
    answer = asyncio.run(_feed(chunks))
    if answer:
        version, status = answer.split(b" ", 2)[:2]
        assert version == b"HTTP/1.1"
        assert 200 <= int(status) < 502
        assert int(status) != 500


@given(st.binary(max_size=200))
@example(b'{"a": "\\udfff"}')
@example(b"1e999")
@example(b'{"a": Infinity}')
def test_any_body_is_an_object_that_can_be_written_or_a_refusal(body: bytes) -> None:
    status = 200
    try:
        json.dumps(parse_body(body), ensure_ascii=False).encode()
    except ApiError as error:
        status = error.status
    assert status in (200, 400)


LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
FLAT = LEAF | st.lists(LEAF, max_size=3) | st.dictionaries(st.text(), LEAF, max_size=3)
JSON = FLAT | st.lists(FLAT, max_size=3) | st.dictionaries(st.text(), FLAT, max_size=3)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_every_json_object_is_read_as_it_was_meant(value: dict[str, Any]) -> None:
    assert parse_body(json.dumps(value).encode()) == value
