"""The connection to a zwave-js-server: who is refused and with which remedy, and what a bad message costs."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from certificates import Authority
from conftest import until

from agent.clock import SystemClock
from agent.driver import DeviceUnreachable, DriverContext, DriverLost, UnknownDevice
from agent.secret_store import FileSecrets
from drivers.zwave.driver import INFO
from drivers.zwave.server_socket import Socket, connected
from drivers.zwave.settings import ZwaveSettings

VERSION = {"type": "version", "minSchemaVersion": 0, "maxSchemaVersion": 50, "homeId": 1, "serverVersion": "3.10.2"}
STATE = {"controller": {"homeId": 0xC0FFEE01, "ownNodeId": 1}, "nodes": []}

Speak = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def serving(speak: Speak, security: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that says what a test wants."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await speak(socket)
        return socket

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=security)
    await site.start()
    try:
        yield f"{'ws' if security is None else 'wss'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def answer(socket: web.WebSocketResponse, **results: Any) -> None:
    """Introduce itself, and answer requests by their command."""
    await socket.send_json(VERSION)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            asked = json.loads(message.data)
            result = results.get(asked["command"].replace(".", "_"), {})
            found = result if "success" in result else {"success": True, "result": result}
            await socket.send_json({"type": "result", "messageId": asked["messageId"], **found})


async def run(url: str, folder: Path, **settings: Any) -> None:
    checked = ZwaveSettings.model_validate({"port": url, **settings})
    context = DriverContext("zwave", checked, folder, SystemClock(), FileSecrets(folder / "secrets"))
    await INFO.open(context).run(lambda _: None)


@pytest.mark.parametrize(
    ("version", "said", "remedy"),
    [
        ({**VERSION, "maxSchemaVersion": 20}, "needs 40", "update Z-Wave JS UI"),
        ({**VERSION, "minSchemaVersion": 70, "maxSchemaVersion": 90}, "70 to 90", "update hub-agent"),
        ({"type": "hello"}, "no zwave-js-server", "check `port`"),
        ({**VERSION, "maxSchemaVersion": "many"}, "not a whole number", "check `port`"),
    ],
)
async def test_a_server_of_another_kind_is_refused(
    tmp_path: Path, version: dict[str, Any], said: str, remedy: str
) -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        await socket.send_json(version)
        await socket.receive()

    async with serving(speak) as url:
        with pytest.raises(DriverLost, match=said) as refused:
            await run(url, tmp_path)
    assert remedy in refused.value.remedy
    assert refused.value.place


async def test_a_server_that_is_not_ready_and_none_at_all(tmp_path: Path) -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        await socket.close(code=1013, message=b"Driver is not ready")

    async with serving(speak) as url:
        with pytest.raises(DriverLost, match="ready") as refused:
            await run(url, tmp_path)
        assert "driver has started" in refused.value.remedy
    with pytest.raises(DriverLost, match="no zwave-js-server answers") as refused:
        await run(url, tmp_path)
    assert "check `port`" in refused.value.remedy


async def test_a_network_that_is_not_the_configured_one(tmp_path: Path) -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        await answer(socket, start_listening={"state": STATE})

    async with serving(speak) as url:
        with pytest.raises(DriverLost, match="C0FFEE01, not 00000001") as refused:
            await run(url, tmp_path, identity="00000001")
        assert 'identity = "C0FFEE01"' in refused.value.remedy


async def test_tls_is_always_checked(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def speak(socket: web.WebSocketResponse) -> None:
        await answer(socket, start_listening={"state": STATE})

    async with serving(speak, context) as url:
        async with connected(url, str(authority.ca)) as socket:
            assert (await socket.introduce())["nodes"] == []
        with pytest.raises(DriverLost, match="TLS") as refused:
            await run(url, tmp_path, ca=str(stranger.ca))
        assert "set `ca`" in refused.value.remedy
        with pytest.raises(DriverLost, match="the CA cannot be used"):
            await run(url, tmp_path, ca=str(tmp_path / "none.pem"))


async def test_each_request_has_its_answer_and_its_end() -> None:
    refused = {"success": False, "errorCode": "node_not_found", "message": "no node 9"}

    async def speak(socket: web.WebSocketResponse) -> None:
        await answer(socket, start_listening={"state": STATE}, node_get_state=refused, node_ping={"responded": True})

    async with serving(speak) as url, connected(url, "") as socket:
        await socket.introduce()
        assert socket.schema == 50
        reading = asyncio.create_task(socket.read(lambda _: None))
        assert await socket.call("node.ping", nodeId=5) == {"responded": True}
        with pytest.raises(UnknownDevice, match="no node 9"):
            await socket.call("node.get_state", nodeId=9)
        reading.cancel()
        await asyncio.wait({reading})
        with pytest.raises(DriverLost):
            await socket.call("node.ping", nodeId=5)


async def test_a_silent_server_ends_a_request_and_its_end_all_of_them() -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.data == "end":
                return

    async with serving(speak) as url, connected(url, "") as socket:
        reading = asyncio.create_task(socket.read(lambda _: None))
        with pytest.raises(DeviceUnreachable, match="no answer"):
            await socket.call("node.ping", limit=0.05, nodeId=5)
        waiting = asyncio.create_task(socket.call("node.ping", nodeId=5))
        await asyncio.sleep(0)
        await socket._socket.send_str("end")
        with pytest.raises(DriverLost, match="closed the connection"):
            await waiting
        await reading
        assert socket.lost.done()


BAD = (
    "",
    "[]",
    "nonsense",
    "NaN",
    "{}",
    '{"type": "event"}',
    '{"type": "event", "event": []}',
    '{"type": "event", "event": {"a": NaN}}',
    '{"type": 7}',
    '{"n": ' + "9" * 5000 + "}",
    "[" * 100_000,
)


async def test_bad_messages_cost_a_counter_only() -> None:
    heard: list[Any] = []

    async def speak(socket: web.WebSocketResponse) -> None:
        for text in BAD:
            await socket.send_str(text)
        await socket.send_bytes(b"\xff\xfe")
        await socket.send_json({"type": "result", "messageId": "nobody waits", "success": True})
        await socket.send_json({"type": "event", "event": {"source": "driver", "event": "good"}})
        await socket.receive()

    async with serving(speak) as url, connected(url, "") as socket:
        reading = asyncio.create_task(socket.read(heard.append))
        await until(lambda: heard)
        assert socket.malformed == len(BAD) + 1
        assert isinstance(socket, Socket)
        reading.cancel()
        await asyncio.wait({reading})
