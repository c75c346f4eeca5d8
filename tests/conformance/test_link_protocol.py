"""Brokers that refuse: MQTT 5 (a proxy before a real mosquitto answers CONNECT as older brokers do), topics, a second client."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import forked
import paho.mqtt.client as paho
import pytest
from conftest import Broker, until, until_async
from daemon import ask
from link_rig import MakeRig, Watcher, pressed, rows
from paho.mqtt.enums import CallbackAPIVersion

from agent.client import Client
from agent.cloud.lane import LinkPolicy
from agent.cloud.mqtt import ProtocolChoice
from agent.errors import HubError

pytestmark = pytest.mark.conformance

REFUSE_OLD = b"\x20\x02\x00\x01"  # CONNACK of 3.1.1: unacceptable protocol version
REFUSE_NEW = b"\x20\x03\x00\x84\x00"  # CONNACK of 5: unsupported protocol version
HANG_UP = b""


class OldBroker:
    """Passes MQTT 3.1.1 on to `behind`, and answers MQTT 5 with `answer` and the end of the connection."""

    def __init__(self, behind: int, answer: bytes, times: int = 1_000_000) -> None:
        self.levels: list[int] = []
        self.times: list[float] = []  # of each CONNECT
        self._hub: asyncio.StreamWriter | None = None
        self.port = 0
        self._behind, self._answer, self._times = behind, answer, times

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(4096)
        level = head[head.index(b"MQTT") + 4]
        self.levels.append(level)
        self.times.append(time.monotonic())
        if level == 5 and self._times > 0:
            self._times -= 1
            writer.write(self._answer)
            writer.close()
            return
        self._hub = writer
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        far_writer.write(head)
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))

    def end(self, last_words: bytes) -> None:
        """End the connection that is open."""
        assert self._hub is not None
        self._hub.write(last_words)
        self._hub.close()

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


class BareDaemon:
    """The daemon as users run it, without radios, in a `with` block; `uplink` is the TOML of its one uplink."""

    def __init__(self, folder: Path, uplink: str) -> None:
        self.client = Client(folder / "run")
        self.log = folder / "agent.log"
        config = folder / "agent.toml"
        hub = f'[hub]\nid = "hub-1"\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
        config.write_text(f"{hub}[uplinks.main]\n{uplink}\n")
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "agent.cli", "run", "-c", str(config)]
            self.process = forked.Popen(command, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()

    async def uplink(self) -> dict[str, Any]:
        try:
            uplink: dict[str, Any] = (await ask(self.client, "status"))["uplinks"]["main"]
        except HubError:
            return {"status": "starting", "reason": ""}
        return uplink

    async def online(self) -> None:
        await until_async(self.uplink, lambda uplink: uplink["status"] == "online", 20.0)

    async def away(self, words: str) -> None:
        """Away for a reason that holds `words`."""
        await until_async(self.uplink, lambda uplink: uplink["status"] == "away" and words in uplink["reason"], 20.0)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.mark.parametrize("answer", [REFUSE_OLD, REFUSE_NEW, HANG_UP], ids=["3.1.1 refusal", "5 refusal", "hang-up"])
async def test_a_broker_without_mqtt_5_is_found_out_and_nothing_is_lost(
    make_rig: MakeRig, broker: Broker, answer: bytes
) -> None:
    old = OldBroker(broker.port, answer)
    async with old.running():
        watcher = Watcher(broker.port)
        rig = make_rig(old.port)
        await rig.durable(*[rig.event(n) for n in range(20)])
        rig.start()
        await until(lambda: rig.link.connected, what=f"a connection; {rig.link.last_error}")
        await until(lambda: watcher.ready and pressed(watcher) == list(range(20)), what="the events")
        await until(lambda: rows(rig) == 0)
        watcher.client.publish("south/hub-1/setup", b"{}", 1)
        await until(lambda: rig.link.counters["received"] == 1, what="a message of the cloud")
        assert old.levels == ([5, 5, 4] if answer == HANG_UP else [5, 4])
        watcher.close()


async def test_one_hang_up_of_a_starting_broker_does_not_cost_mqtt_5(make_rig: MakeRig, broker: Broker) -> None:
    starting = OldBroker(broker.port, HANG_UP, times=1)
    async with starting.running():
        rig = make_rig(starting.port)
        rig.start()
        await until(lambda: rig.link.connected)
        assert starting.levels == [5, 5]


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


# ---- topics -----------------------------------------------------------------------------------------------------------


class StrictBroker(Broker):
    """mosquitto with its dynamic security plugin, which answers SUBSCRIBE and PUBLISH as it is told."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        self._security = folder / "dynamic-security.json"
        user = "user root" if Path("/proc/self").owner() == "root" else ""
        options = f"{user}\nplugin {plugin}\nplugin_opt_config_file {self._security}"
        super().__init__(folder, options)

    def allow(self, *, subscribe: bool, publish: bool = True) -> None:
        access = {
            "publishClientSend": publish,
            "publishClientReceive": True,
            "subscribe": subscribe,
            "unsubscribe": True,
        }
        self._security.write_text(json.dumps({"defaultACLAccess": access, "clients": [], "groups": [], "roles": []}))
        self.stop()
        self.start()


@pytest.fixture
def strict(broker_folder: Path) -> Iterator[StrictBroker]:
    plugin = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"))  # comes with the mosquitto package
    made = StrictBroker(broker_folder, plugin)
    made.allow(subscribe=False)
    yield made
    made.stop()


@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
async def test_a_broker_that_refuses_the_topics_is_named_and_tried_again(
    make_rig: MakeRig, strict: StrictBroker, protocol: str
) -> None:
    rig = make_rig(strict.port, LinkPolicy(publishes_per_second=0, protocol=protocol))
    await rig.durable(rig.event(1))
    rig.start()
    await until(lambda: "refused to subscribe" in rig.link.last_error, what="the refusal")
    for words in ("south/hub-1/setup", "south/hub-1/control", "policy"):
        assert words in rig.link.last_error
    assert not rig.link.connected
    assert rows(rig) == 1, "a hub that cannot be reached does not pretend to be there"
    strict.allow(subscribe=True)
    await until(lambda: rows(rig) == 0, what="the event delivered once the topics are allowed")


async def test_what_a_broker_refuses_to_take_is_not_lost(make_rig: MakeRig, strict: StrictBroker) -> None:
    """MQTT 5 has an acknowledgement that refuses: it is none."""
    strict.allow(subscribe=True, publish=False)
    rig = make_rig(strict.port)
    await rig.durable(*[rig.event(number) for number in range(20)])
    rig.start()
    await until(lambda: "Not authorized" in rig.link.last_error, what="the refusal")
    assert "let this client publish" in rig.link.last_error
    assert (rows(rig), rig.link.counters["acknowledged"], rig.link.proved) == (20, 0, False)
    watcher = Watcher(strict.port)
    await until(lambda: watcher.ready, what="the watcher's subscription")
    strict.allow(subscribe=True)
    await until(lambda: rows(rig) == 0, what="the events delivered once the topics are allowed")
    await until(lambda: sorted(set(pressed(watcher))) == list(range(20)), what="all of them at the broker")
    watcher.close()


# ---- a second client --------------------------------------------------------------------------------------------------


async def test_a_second_client_with_the_same_id_is_named_and_fought_at_most_once_a_second(
    tmp_path: Path, broker: Broker
) -> None:
    seen = OldBroker(broker.port, b"", times=0)
    async with seen.running():
        with BareDaemon(tmp_path, f'host = "127.0.0.1"\nport = {seen.port}\ntls = false') as daemon:
            await daemon.online()
            rival = paho.Client(CallbackAPIVersion.VERSION2, client_id="hub-1", reconnect_on_failure=False)
            rival.connect("127.0.0.1", broker.port)  # this mosquitto closes the older connection without a word
            rival.loop_start()
            await daemon.away("another client may have the client id 'hub-1'")
            rival.disconnect()
            rival.loop_stop()
            await daemon.online()
            seen.end(b"\xe0\x02\x8e\x00")  # DISCONNECT of MQTT 5: session taken over
            await daemon.away("another client has the client id 'hub-1'; give each hub its own hub.id")
            await daemon.online()
            first, second, third = seen.times
            assert min(second - first, third - second) > 1.0
            assert daemon.stop() == 0
