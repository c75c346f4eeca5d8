"""Simulated nodes are secured by our own pure controller end: S2 with all its keys, wrong PINs, and S0."""

from collections import deque
from typing import Any

import pytest
from sim.zwave_bench import Bench

from drivers.zwave.codec import Command, decode, encode, make
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.security.kex import AskGrant, AskPin, Effect, Failed, Finished, Includer, Send, UseKey, UseTemporary
from drivers.zwave.security.s0 import S0Keys, Security0
from drivers.zwave.security.s2 import NoSpanError, Opened, Resync, Security2

KEYS = {
    SecurityClass.S2_UNAUTHENTICATED: b"\x11" * 16,
    SecurityClass.S2_AUTHENTICATED: b"\x22" * 16,
    SecurityClass.S2_ACCESS_CONTROL: b"\x33" * 16,
}


class Controller:
    """The controller's S2 towards node 2 of a bench."""

    def __init__(self, bench: Bench, pin: bytes) -> None:
        self.bench, self.pin = bench, pin
        self.s2 = Security2(1, bench.network.home_id, bench.network.rng.randbytes)
        for security, key in KEYS.items():
            self.s2.add_key(security, key)
        self.includer = Includer(bench.network.rng.randbytes(32), keys=KEYS)
        self.granted: list[SecurityClass] = []
        self.end: Finished | Failed | None = None
        self.waiting: list[tuple[bytes, SecurityClass]] = []
        self.outbox: deque[bytes] = (
            deque()
        )  # one after the other: what a message changes holds before the next answer is read

    def run(self) -> Finished | Failed | None:
        self.do(self.includer.start(self.bench.now))
        while self.outbox:
            for answer in self.bench.send(2, self.outbox.popleft(), 0.3):
                self.hear(encode(answer), answer)
        return self.end

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(data, None):
                    self.say(data)
                case Send(data, security) if security is not None:
                    self.seal(data, security)
                case AskGrant(requested):
                    self.do(self.includer.grant(requested, self.bench.now))
                case AskPin():
                    self.do(self.includer.pin(self.pin, self.bench.now))
                case UseTemporary(keys):
                    self.s2.set_temporary(2, keys)
                case UseKey(security):
                    self.granted.append(security)
                    self.s2.grant(2, self.granted)
                case Finished() | Failed():
                    self.end = effect

    def seal(self, data: bytes, security: SecurityClass) -> None:
        try:
            self.say(self.s2.seal(2, data, self.bench.now, security))
        except NoSpanError:
            self.waiting.append((data, security))
            self.say(self.s2.nonce_get(2))

    def say(self, data: bytes) -> None:
        self.outbox.append(data)

    def hear(self, data: bytes, command: Any) -> None:
        match command.name if isinstance(command, Command) else "":
            case "Security 2 Nonce Get":
                self.say(self.s2.receive_nonce_get(2, data))
            case "Security 2 Nonce Report":
                self.s2.receive_nonce_report(2, data)
                waiting, self.waiting = self.waiting, []
                for payload, security in waiting:
                    self.seal(payload, security)
            case "Security 2 Message Encapsulation":
                found = self.s2.open(2, data, self.bench.now)
                if isinstance(found, Opened):
                    self.do(self.includer.receive(found.payload, found.security_class, self.bench.now))
                elif isinstance(found, Resync):
                    self.do(self.includer.undecryptable())
                    if self.end is None:
                        self.say(found.answer)
            case _:
                self.do(self.includer.receive(data, None, self.bench.now))


@pytest.mark.parametrize("profile", ["lock", "plug", "keypad"])
def test_every_key_that_is_asked_for_is_given_and_verified(profile: str) -> None:
    bench = Bench(profile)
    node = bench.node(profile)
    controller = Controller(bench, node.dsk[:2])
    end = controller.run()
    assert isinstance(end, Finished)
    assert set(end.granted) == set(node.guard.wanted()) == set(node.guard.keys)
    assert node.guard.joiner is None
    assert not node.guard.failure


def test_a_wrong_pin_gives_no_key() -> None:
    bench = Bench("lock")
    controller = Controller(bench, b"\0\0")
    assert isinstance(controller.run(), Failed)
    assert not bench.node("lock").guard.keys


def test_a_node_that_nobody_secures_gives_up() -> None:
    bench = Bench("lock")
    bench.run(60.0)
    assert bench.node("lock").guard.joiner is None
    assert not bench.send(2, make("Security 2 KEX Get"), 0.5)


def test_an_s0_node_takes_the_key_and_answers_with_it() -> None:
    bench = Bench("s0-lock")
    key = bytes(range(16))
    temporary = Security0(1, S0Keys.of(bytes(16)), bench.network.rng.randbytes)
    (scheme,) = bench.send(2, make("Security 0 Scheme Get", schemes=0), 0.5)
    assert scheme == Command("Security 0 Scheme Report", {"schemes": 0})
    (asked,) = send0(bench, temporary, make("Security 0 Network Key Set", key=key))
    assert asked == Command("Security 0 Nonce Get")
    ours = Security0(1, S0Keys.of(key), bench.network.rng.randbytes)
    (verify,) = bench.send(2, ours.nonce_report(2, bench.now), 0.5)
    payload = ours.open(2, encode(verify), bench.now)
    assert payload is not None
    assert decode(payload) == Command("Security 0 Network Key Verify")
    assert bench.node("s0-lock").guard.snapshot() == {"S0": key.hex()}
    assert not bench.send(2, make("Door Lock Operation Get"), 0.5)
    (again,) = send0(bench, ours, make("Door Lock Operation Get"))
    assert again == Command("Security 0 Nonce Get")


def send0(bench: Bench, s0: Security0, payload: bytes) -> list[Any]:
    """One S0 message to node 2, and what comes of it."""
    (nonce,) = bench.send(2, make("Security 0 Nonce Get"), 0.5)
    assert isinstance(nonce, Command)
    (part,) = s0.split(2, payload, 46)
    return bench.send(2, s0.seal(2, part, nonce["nonce"]), 0.5)


def test_a_controller_with_another_key_is_answered_a_few_times_and_not_for_ever() -> None:
    bench = Bench("plug")
    node = bench.node("plug")
    assert isinstance(Controller(bench, node.dsk[:2]).run(), Finished)
    stranger = Security2(1, bench.network.home_id, bench.network.rng.randbytes)
    stranger.add_key(SecurityClass.S2_AUTHENTICATED, b"\x99" * 16)
    stranger.grant(2, [SecurityClass.S2_AUTHENTICATED])
    bench.do("set", device="plug", name="on_off", value=True)
    before = node.said
    for _ in range(5):
        bench.send(2, stranger.nonce_report(2), 0.5)
    assert node.said <= before + 2
