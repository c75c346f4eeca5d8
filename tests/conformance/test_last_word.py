"""A cloud that ends the connection on the last word, before it acknowledges it, as one does that revokes the certificate on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from conftest import Broker, until
from link_rig import MakeRig

pytestmark = pytest.mark.conformance

NOT_AUTHORIZED = b"\x20\x03\x00\x87\x00"  # CONNACK of MQTT 5
SILENCE = b""
WORD = {"status": "offboarded"}


class Turncoat:
    """Passes everything on to a broker up to the last word; after it, the next `refusals` connections get `refusal`."""

    def __init__(self, behind: int, refusal: bytes, refusals: int = 1_000_000) -> None:
        self.port = 0
        self.refused = 0
        self._heard = False
        self._behind, self._refusal, self._refusals = behind, refusal, refusals

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._heard and self.refused < self._refusals:
            await reader.read(4096)
            self.refused += 1
            writer.write(self._refusal)
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        back = asyncio.create_task(_pipe(far_reader, writer))
        while data := await reader.read(65536):
            if not self._heard and b"offboarded" in data:
                self._heard = True
                break
            far_writer.write(data)
        back.cancel()
        for end in (writer, far_writer):
            end.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


@pytest.mark.parametrize("refusal", [NOT_AUTHORIZED, SILENCE], ids=["not authorized", "hangs up"])
async def test_a_cloud_that_shuts_the_hub_out_has_heard_its_last_word(
    make_rig: MakeRig, broker: Broker, refusal: bytes
) -> None:
    cloud = Turncoat(broker.port, refusal)
    async with cloud.running():
        rig = make_rig(cloud.port)
        rig.start()
        await until(lambda: rig.link.connected, what="a connection")
        assert await rig.link.say_last(WORD, 15.0)
        assert cloud.refused == (1 if refusal else 2)


async def test_a_broker_that_restarts_is_told_the_last_word_again(make_rig: MakeRig, broker: Broker) -> None:
    cloud = Turncoat(broker.port, SILENCE, refusals=1)
    async with cloud.running():
        rig = make_rig(cloud.port)
        rig.start()
        await until(lambda: rig.link.connected, what="a connection")
        assert await rig.link.say_last(WORD, 15.0)
        assert rig.link.counters["connects"] == 2


async def test_a_broker_that_is_away_has_not_heard_the_last_word(make_rig: MakeRig, broker: Broker) -> None:
    rig = make_rig(broker.port)
    rig.start()
    await until(lambda: rig.link.connected, what="a connection")
    broker.stop(kill=True)
    assert not await rig.link.say_last(WORD, 1.0)
