"""A whole S2 bootstrap as a driver and a node run it: key exchange over real encapsulation, with nonces and resynchronisation."""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.zwave.codec import Command, decode, make
from drivers.zwave.security.classes import LONG_RANGE_CLASSES, MESH_CLASSES, SecurityClass
from drivers.zwave.security.kex import AskGrant, AskPin, Failed, Finished, Includer, Joiner, Send, UseKey, UseTemporary
from drivers.zwave.security.primitives import public_key
from drivers.zwave.security.s2 import NoSpanError, Opened, Security2

HOME = bytes.fromhex("c0ffee01")
KEYS = {one: bytes((0x60 + one.value,)) * 16 for one in SecurityClass if one is not SecurityClass.TEMPORARY}
PRIVATE = b"\x42" * 32


@dataclass
class End:
    """One end: what it still has to say waits while the peer's nonce is asked for."""

    own: int
    peer: int
    exchange: Includer | Joiner
    security: Security2
    granted: list[SecurityClass] = field(default_factory=list)
    waiting: deque[Send] = field(default_factory=deque)
    asking: bool = False
    ended: Any = None

    def act(self, effects: list[Any], air: deque[tuple[int, bytes]]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self.waiting.append(effect)
                case UseTemporary(keys):
                    self.security.set_temporary(self.peer, keys)
                case UseKey(one, key):
                    self.security.add_key(one, key)
                    self.granted.append(one)
                    self.security.grant(self.peer, self.granted)
                case AskGrant(requested) if isinstance(self.exchange, Includer):
                    self.act(self.exchange.grant(requested, 0.0), air)
                case AskPin() if isinstance(self.exchange, Includer):
                    self.act(self.exchange.pin(public_key(PRIVATE)[:2], 0.0), air)
                case Finished() | Failed():
                    self.ended = effect
        self.flush(air)

    def flush(self, air: deque[tuple[int, bytes]]) -> None:
        while self.waiting and not self.asking:
            wanted = self.waiting[0]
            try:
                data = (
                    wanted.data
                    if wanted.security is None
                    else self.security.seal(self.peer, wanted.data, 0.0, wanted.security)
                )
            except NoSpanError:
                self.asking = True
                data = self.security.nonce_get(self.peer)
            else:
                self.waiting.popleft()
            air.append((self.peer, data))

    def receive(self, data: bytes, air: deque[tuple[int, bytes]]) -> None:
        command = decode(data)
        assert isinstance(command, Command)
        match command.name:
            case "Security 2 Nonce Get":
                air.append((self.peer, self.security.receive_nonce_get(self.peer, data)))
            case "Security 2 Nonce Report":
                self.security.receive_nonce_report(self.peer, data)
                self.asking = False
                self.flush(air)
            case "Security 2 Message Encapsulation":
                opened = self.security.open(self.peer, data, 10.0)
                assert isinstance(opened, Opened)
                self.act(self.exchange.receive(opened.payload, opened.security_class, 0.0), air)
            case _:
                self.act(self.exchange.receive(data, None, 0.0), air)


def bootstrap(node: int, requested: Any, *, long_range: bool = False) -> tuple[End, End]:
    includer = Includer(b"\x41" * 32, keys=KEYS, long_range=long_range)
    joiner = Joiner(PRIVATE, requested=tuple(requested), long_range=long_range)
    ends = {
        1: End(1, node, includer, Security2(1, HOME, random.Random(1).randbytes)),
        node: End(node, 1, joiner, Security2(node, HOME, random.Random(2).randbytes)),
    }
    joiner.start(0.0)
    air: deque[tuple[int, bytes]] = deque()
    ends[1].act(includer.start(0.0), air)
    for _ in range(200):
        if not air:
            break
        destination, data = air.popleft()
        ends[destination].receive(data, air)
    return ends[1], ends[node]


@pytest.mark.parametrize(
    ("node", "requested", "long_range"),
    [(2, MESH_CLASSES, False), (2, (SecurityClass.S2_UNAUTHENTICATED,), False), (300, LONG_RANGE_CLASSES, True)],
)
def test_keys_are_exchanged_over_real_encapsulation(node: int, requested: Any, long_range: bool) -> None:  # noqa: FBT001
    hub, lock = bootstrap(node, requested, long_range=long_range)
    assert hub.ended == lock.ended == Finished(tuple(requested), public_key(PRIVATE)[:16])
    for end in (hub, lock):
        end.security.set_temporary(end.peer, None)
    report = make("Basic Report", current_value=1)
    hub.security.receive_nonce_report(node, lock.security.receive_nonce_get(1, hub.security.nonce_get(node)))
    opened = lock.security.open(1, hub.security.seal(node, report, 0.0), 10.0)
    assert opened == Opened(report, requested[0]), "the most trusted class from now on"
