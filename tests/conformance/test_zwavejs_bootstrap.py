"""The link, the functions, the key exchange and S2 traffic together, against the stick and the node that zwave-js simulates."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.zwave.codec import Command, decode, make
from drivers.zwave.functions import decode_callback, decode_response, request
from drivers.zwave.security.classes import MESH_CLASSES, SecurityClass
from drivers.zwave.security.kex import AskGrant, AskPin, Failed, Finished, Includer, Send, UseKey, UseTemporary
from drivers.zwave.security.s2 import NoSpanError, Opened, Security2
from drivers.zwave.session import Done, Outcome, Received, Session, Submit, Unsolicited, Write
from tests.conformance.zwave_mock import mock_server, node

pytestmark = pytest.mark.conformance

HOME = bytes.fromhex("c0ffee01")
KEYS = {one: bytes((number,)) * 16 for one, number in zip(MESH_CLASSES, (0x33, 0x22, 0x11, 9), strict=True)}
NODE = 2
SWITCH = node(
    NODE,
    ("Security 2", 1),
    ("Binary Switch", 2, {"secure": True}),
    security=["S2_AccessControl", "S2_Authenticated", "S2_Unauthenticated"],
)


@dataclass
class Host:
    """Just enough of a driver to have a conversation."""

    writer: asyncio.StreamWriter
    session: Session = field(default_factory=Session)
    open: dict[object, asyncio.Future[Done]] = field(default_factory=dict)
    heard: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def handle(self, event: Any) -> None:
        for effect in self.session.handle(event, asyncio.get_running_loop().time()):
            if isinstance(effect, Write):
                self.writer.write(effect.data)
            elif isinstance(effect, Done):
                self.open.pop(effect.tag).set_result(effect)
            elif isinstance(effect, Unsolicited):
                self.heard.put_nowait(decode_callback(effect.function, effect.payload)["payload"])

    async def read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1024):
            self.handle(Received(data))

    async def call(self, name: str, **values: Any) -> Done:
        tag = object()
        self.open[tag] = asyncio.get_running_loop().create_future()
        answer = self.open[tag]
        self.handle(Submit(tag, request(name, **values)))
        return await asyncio.wait_for(answer, 20)

    async def send(self, data: bytes) -> None:
        done = await self.call("SendData", node=NODE, payload=data, options=0x25)
        assert (done.outcome, done.callback) == (Outcome.DONE, b"\0")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with mock_server(SWITCH) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(mock.port.rpartition(":")[2]))
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = Host(writer)
        reading = asyncio.create_task(made.read(reader))
        yield made
        writer.close()
        await reading


@dataclass
class Inclusion:
    host: Host
    security: Security2
    exchange: Includer
    waiting: list[Send] = field(default_factory=list)
    granted: list[SecurityClass] = field(default_factory=list)
    asking: bool = False
    end: Finished | Failed | None = None

    def act(self, effects: list[Any]) -> None:
        now = asyncio.get_running_loop().time()
        for effect in effects:
            match effect:
                case Send():
                    self.waiting.append(effect)
                case UseTemporary(keys):
                    self.security.set_temporary(NODE, keys)
                case UseKey(one, _):
                    self.granted.append(one)
                    self.security.grant(NODE, [one])
                case AskGrant(requested):
                    self.act(self.exchange.grant(requested, now))
                case AskPin(dsk):  # the mock does not keep the first two bytes back
                    self.act(self.exchange.pin(dsk[:2], now))
                case Finished() | Failed():
                    self.end = effect

    async def flush(self) -> None:
        while self.waiting and not self.asking:
            wanted = self.waiting[0]
            data = wanted.data
            if wanted.security is not None:
                try:
                    data = self.security.seal(NODE, wanted.data, asyncio.get_running_loop().time(), wanted.security)
                except NoSpanError:
                    self.asking = True
                    await self.host.send(self.security.nonce_get(NODE))
                    return
            self.waiting.pop(0)
            await self.host.send(data)

    async def hear(self) -> Command | None:
        """Take the next command of the node; what came encapsulated and is not of the key exchange is given back."""
        data = await asyncio.wait_for(self.host.heard.get(), 15)
        command = decode(data)
        assert isinstance(command, Command)
        now = asyncio.get_running_loop().time()
        found = None
        if command.name == "Security 2 Nonce Get":
            await self.host.send(self.security.receive_nonce_get(NODE, data))
        elif command.name == "Security 2 Nonce Report":
            self.security.receive_nonce_report(NODE, data)
            self.asking = False
        elif command.name == "Security 2 Message Encapsulation":
            opened = self.security.open(NODE, data, now)
            assert isinstance(opened, Opened)
            inner = decode(opened.payload)
            assert isinstance(inner, Command)
            found = inner if self.end else None
            self.act(self.exchange.receive(opened.payload, opened.security_class, now))
        else:
            self.act(self.exchange.receive(data, None, now))
        await self.flush()
        return found


async def test_a_node_is_given_its_keys_and_obeys_them(host: Host) -> None:
    home = decode_response(0x20, (await host.call("GetId")).response or b"")["home_id"]
    security = Security2(1, home, random.Random(7).randbytes)
    for one, key in KEYS.items():
        security.add_key(one, key)
    inclusion = Inclusion(host, security, Includer(random.Random(8).randbytes(32), keys=KEYS))
    inclusion.act(inclusion.exchange.start(asyncio.get_running_loop().time()))
    await inclusion.flush()
    while inclusion.end is None:
        await inclusion.hear()
    assert isinstance(inclusion.end, Finished)
    assert inclusion.end.granted == MESH_CLASSES[:3]

    security.set_temporary(NODE, None)
    security.drop_span(NODE)
    security.grant(NODE, inclusion.granted)
    for payload in (make("Binary Switch Set", target_value=255, duration=0), make("Binary Switch Get")):
        inclusion.waiting.append(Send(payload, MESH_CLASSES[0]))
    await inclusion.flush()
    report = None
    while report is None:
        report = await inclusion.hear()
    assert (report.name, report["current_value"]) == ("Binary Switch Report", 255)
    assert host.session.counters.retransmissions == 0
