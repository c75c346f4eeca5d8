"""What a version on trial is asked about its uplink: not whether it is connected, but whether the broker takes what it says."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Broker, until
from link_rig import MakeRig

from agent.updates import _uplink

pytestmark = pytest.mark.conformance
PUBACK = 4
REFUSED, NOT_AUTHORIZED = b"\x40\x04", b"\x87\x00"


async def test_an_uplink_that_is_connected_and_not_acknowledged_is_not_well(make_rig: MakeRig, broker: Broker) -> None:
    manner, published = "deaf", asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, behind = await asyncio.open_connection("127.0.0.1", broker.port)
        try:
            await asyncio.gather(_pass(reader, behind), _answers(far, writer), return_exceptions=True)
        finally:
            writer.close()
            behind.close()

    async def _answers(far: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await far.readexactly(2):  # packets of less than 128 bytes
            packet = head + await far.readexactly(head[1])
            if head[0] >> 4 == PUBACK:
                published.set()
                packet = {"deaf": b"", "refuses": REFUSED + packet[2:4] + NOT_AUTHORIZED}.get(manner, packet)
            writer.write(packet)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    rig = make_rig(server.sockets[0].getsockname()[1])
    runtime: Any = SimpleNamespace(links={"main": rig.link})
    check = _uplink(runtime, "main")
    assert await check() == "it is not connected"
    rig.start()
    await until(lambda: published.is_set() and rig.link.connected)
    assert await check() == "it is connected, and nothing that it sends is taken"
    manner = "refuses"
    rig.link.reconnect()
    await until(lambda: "does not take what is sent: Not authorized" in rig.link.last_error)
    assert await check() != ""
    manner = "takes"
    rig.link.reconnect()
    await until(lambda: rig.link.proved)
    assert await check() == ""
    await rig.stop()
    assert await check() == "it is not connected"
    server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()  # the broker hangs up then as well
