"""Falling back from MQTT 5 to 3.1.1: a proxy before a real mosquitto answers CONNECT as older brokers do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import Broker, until
from link_rig import FAST, Rig, Watcher, pressed, rows

from agent.cloud.mqtt import ProtocolChoice

pytestmark = pytest.mark.conformance

REFUSE_OLD = b"\x20\x02\x00\x01"  # CONNACK of 3.1.1: unacceptable protocol version
REFUSE_NEW = b"\x20\x03\x00\x84\x00"  # CONNACK of 5: unsupported protocol version
HANG_UP = b""


class OldBroker:
    """Passes MQTT 3.1.1 on to `behind`, and answers MQTT 5 with `answer` and the end of the connection."""

    def __init__(self, behind: int, answer: bytes, times: int = 1_000_000) -> None:
        self.levels: list[int] = []
        self.port = 0
        self._behind, self._answer, self._times = behind, answer, times

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(4096)
        level = head[head.index(b"MQTT") + 4]
        self.levels.append(level)
        if level == 5 and self._times > 0:
            self._times -= 1
            writer.write(self._answer)
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        far_writer.write(head)
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.mark.parametrize("answer", [REFUSE_OLD, REFUSE_NEW, HANG_UP], ids=["3.1.1 refusal", "5 refusal", "hang-up"])
async def test_a_broker_without_mqtt_5_is_found_out_and_nothing_is_lost(
    tmp_path: Path, broker: Broker, answer: bytes
) -> None:
    old = OldBroker(broker.port, answer)
    async with old.running():
        watcher = Watcher(broker.port)
        rig = Rig(tmp_path, old.port, FAST)
        await rig.durable(*[rig.event(n) for n in range(20)])
        rig.start()
        await until(lambda: rig.link.connected, what=f"a connection; {rig.link.last_error}")
        await until(lambda: watcher.ready and pressed(watcher) == list(range(20)), what="the events")
        await until(lambda: rows(rig) == 0)
        watcher.client.publish("south/hub-1/setup", b"{}", 1)
        await until(lambda: rig.link.counters["received"] == 1, what="a message of the cloud")
        assert old.levels == ([5, 5, 4] if answer == HANG_UP else [5, 4])
        await rig.stop()
        await rig.store.close()
        watcher.close()


async def test_one_hang_up_of_a_starting_broker_does_not_cost_mqtt_5(tmp_path: Path, broker: Broker) -> None:
    starting = OldBroker(broker.port, HANG_UP, times=1)
    async with starting.running():
        rig = Rig(tmp_path, starting.port, FAST)
        rig.start()
        await until(lambda: rig.link.connected)
        assert starting.levels == [5, 5]
        await rig.stop()
        await rig.store.close()


def test_a_named_refusal_is_for_good_and_a_hang_up_is_not() -> None:
    choice = ProtocolChoice("auto")
    choice.hung_up()
    choice.hung_up()
    assert choice.level == 4
    choice.connected()
    choice.lost()
    assert choice.level == 5
    choice.refused()
    choice.connected()
    choice.lost()
    assert choice.level == 4
    fixed = ProtocolChoice("5")
    for _ in range(3):
        fixed.hung_up()
        fixed.refused()
    assert fixed.level == 5
