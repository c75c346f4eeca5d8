"""The S2 key exchange: both ends against each other, and every way in which it fails."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.codec import make
from drivers.zwave.commands.transport import KexFailType
from drivers.zwave.security.classes import LONG_RANGE_CLASSES, MESH_CLASSES, SecurityClass
from drivers.zwave.security.kex import (
    STEP_TIMEOUT,
    USER_TIMEOUT,
    AskGrant,
    AskPin,
    Effect,
    Failed,
    Finished,
    Includer,
    Joiner,
    Send,
    State,
    UseKey,
    UseTemporary,
)
from drivers.zwave.security.primitives import public_key

ACCESS, AUTH, UNAUTH, S0 = MESH_CLASSES
TEMPORARY = SecurityClass.TEMPORARY
KEYS = {one: bytes((one.value,)) * 16 for one in SecurityClass if one is not TEMPORARY}
A, B = b"\x41" * 32, b"\x42" * 32
DSK = public_key(B)[:16]


class Exchange:
    """Both ends and a wire on which a test may change what passes."""

    def __init__(
        self, requested: Any = MESH_CLASSES, granted: Any = MESH_CLASSES, *, long_range: bool = False, **more: Any
    ) -> None:
        self.includer = Includer(A, keys=KEYS, long_range=long_range, **more)
        self.joiner = Joiner(B, requested=tuple(requested), long_range=long_range)
        self.granted = tuple(granted)
        self.pin = DSK[:2]
        self.seen: dict[str, list[Effect]] = {"includer": [], "joiner": []}
        self.change: Callable[[str, bytes, Any], tuple[bytes, Any]] = lambda _, data, security: (data, security)

    def run(self) -> None:
        self.joiner.start(0.0)
        waiting = deque(self.made("includer", self.includer.start(0.0)))
        for _ in range(100):
            if not waiting:
                return
            waiting.extend(self.step(*waiting.popleft()))

    def made(self, sender: str, effects: Sequence[Effect]) -> list[tuple[str, Effect]]:
        self.seen[sender].extend(effects)
        return [(sender, effect) for effect in effects]

    def step(self, sender: str, effect: Effect) -> list[tuple[str, Effect]]:
        match effect:
            case Send(data, security):
                data, security = self.change(sender, data, security)
                if self.temporary_differ() and security is TEMPORARY and sender == "joiner":
                    return self.made("includer", self.includer.undecryptable())
                if sender == "includer":
                    return self.made("joiner", self.joiner.receive(data, security, 1.0))
                return self.made("includer", self.includer.receive(data, security, 1.0))
            case AskGrant():
                return self.made("includer", self.includer.grant(self.granted, 1.0))
            case AskPin():
                return self.made("includer", self.includer.pin(self.pin, 1.0))
        return []

    def temporary_differ(self) -> bool:
        found = {
            name: [one.keys for one in effects if isinstance(one, UseTemporary)] for name, effects in self.seen.items()
        }
        return bool(found["includer"] and found["joiner"] and found["includer"] != found["joiner"])

    def end(self, name: str) -> Effect:
        return self.seen[name][-1]

    def fails(self, name: str) -> Failed:
        end = self.end(name)
        assert isinstance(end, Failed), end
        return end


@pytest.mark.parametrize(
    ("requested", "granted", "expected"),
    [
        (MESH_CLASSES, MESH_CLASSES, MESH_CLASSES),
        (MESH_CLASSES, (UNAUTH, S0), (UNAUTH, S0)),
        ((UNAUTH,), MESH_CLASSES, (UNAUTH,)),
        ((ACCESS, S0), (ACCESS,), (ACCESS,)),
    ],
)
def test_keys_are_given_and_verified(requested: Any, granted: Any, expected: Any) -> None:
    exchange = Exchange(requested, granted)
    exchange.run()
    assert exchange.end("includer") == exchange.end("joiner") == Finished(expected, DSK)
    received = [one for one in exchange.seen["joiner"] if isinstance(one, UseKey)]
    assert received == [UseKey(one, KEYS[one]) for one in expected]
    assert not exchange.temporary_differ()
    asked = any(isinstance(one, AskPin) for one in exchange.seen["includer"])
    assert asked == bool({ACCESS, AUTH} & set(expected))


def test_long_range_has_keys_of_its_own() -> None:
    exchange = Exchange(LONG_RANGE_CLASSES, LONG_RANGE_CLASSES, long_range=True)
    exchange.run()
    assert exchange.end("joiner") == Finished(LONG_RANGE_CLASSES, DSK)
    assert {one.key for one in exchange.seen["joiner"] if isinstance(one, UseKey)} == {
        KEYS[one] for one in LONG_RANGE_CLASSES
    }


def test_a_known_dsk_asks_nobody() -> None:
    exchange = Exchange(dsk=DSK)
    exchange.run()
    assert exchange.end("includer") == Finished(MESH_CLASSES, DSK)
    assert not any(isinstance(one, AskPin) for one in exchange.seen["includer"])


def test_the_user_sees_the_dsk_without_its_pin() -> None:
    exchange = Exchange()
    exchange.run()
    (asked,) = [one for one in exchange.seen["includer"] if isinstance(one, AskPin)]
    assert asked.dsk == b"\0\0" + DSK[2:]


def test_a_wrong_pin() -> None:
    exchange = Exchange()
    exchange.pin = b"\0\1"
    exchange.run()
    assert exchange.fails("includer").fail is KexFailType.DECRYPT
    assert exchange.fails("joiner").by_peer


def test_another_dsk_than_the_codes() -> None:
    exchange = Exchange(dsk=bytes(16))
    exchange.run()
    assert exchange.fails("includer").fail is KexFailType.AUTH


def test_no_class_is_granted() -> None:
    exchange = Exchange(granted=())
    exchange.run()
    assert exchange.fails("includer").fail is KexFailType.CANCEL
    assert exchange.fails("joiner") == Failed(KexFailType.CANCEL, by_peer=True, reason="the peer gave up")


def changed(exchange: Exchange, sender: str, prefix: str, data: str | None = None, security: Any = "same") -> None:
    """The next command of `sender` that begins so is another one, or comes with another security."""

    def change(who: str, original: bytes, level: Any) -> tuple[bytes, Any]:
        if who != sender or not original.hex().startswith(prefix):
            return original, level
        return bytes.fromhex(data) if data else original, level if security == "same" else security

    exchange.change = change


@pytest.mark.parametrize(
    ("sender", "prefix", "data", "fail"),
    [
        ("joiner", "9f05", "9f0500010187", KexFailType.KEX_SCHEME),
        ("joiner", "9f05", "9f0500020287", KexFailType.KEX_CURVES),
        ("joiner", "9f05", "9f0500020100", KexFailType.KEX_KEY),
        ("joiner", "9f05", "9f0501020187", KexFailType.KEX_KEY),
        ("joiner", "9f05", "9f0502020187", KexFailType.CANCEL),
        ("includer", "9f06", "9f0600040187", KexFailType.KEX_SCHEME),
        ("includer", "9f06", "9f0600020287", KexFailType.KEX_CURVES),
        ("includer", "9f06", "9f0600020108", KexFailType.KEX_KEY),
        ("includer", "9f06", "9f0602020187", KexFailType.KEX_KEY),
        ("includer", "9f06", "9f0600020100", KexFailType.KEX_KEY),
        ("joiner", "9f08", "9f0800" + "00" * 31, KexFailType.AUTH),
        ("joiner", "9f0601", "9f0601020180", KexFailType.AUTH),
        ("joiner", "9f0601", "9f0603020187", KexFailType.AUTH),
        ("includer", "9f0501", "9f0501020181", KexFailType.AUTH),
        ("joiner", "9f09", "9f0940", KexFailType.KEY_GET),
        ("joiner", "9f09", "9f0907", KexFailType.KEY_GET),
        ("includer", "9f0a", "9f0a01" + "00" * 16, KexFailType.KEY_REPORT),
        ("includer", "9f0c", "9f0c00", KexFailType.KEY_VERIFY),
    ],
)
def test_every_wrong_message_ends_it_on_both_sides(sender: str, prefix: str, data: str, fail: KexFailType) -> None:
    exchange = Exchange()
    changed(exchange, sender, prefix, data)
    exchange.run()
    other = "includer" if sender == "joiner" else "joiner"
    assert exchange.fails(other).fail is fail
    assert not exchange.fails(other).by_peer
    assert exchange.fails(sender) == Failed(fail, by_peer=True, reason="the peer gave up")
    assert exchange.includer.state is exchange.joiner.state is State.ENDED
    assert exchange.includer.deadline is exchange.joiner.deadline is None


@pytest.mark.parametrize(
    ("sender", "prefix", "security", "fail"),
    [
        ("joiner", "9f05", ACCESS, KexFailType.AUTH),
        ("joiner", "9f0601", None, KexFailType.AUTH),
        ("joiner", "9f09", None, KexFailType.AUTH),
        ("joiner", "9f0b", UNAUTH, KexFailType.KEY_VERIFY),
        ("joiner", "9f0b", TEMPORARY, KexFailType.KEY_VERIFY),
        ("includer", "9f0a", None, KexFailType.AUTH),
        ("includer", "9f0c", None, KexFailType.AUTH),
    ],
)
def test_every_message_has_its_security(sender: str, prefix: str, security: Any, fail: KexFailType) -> None:
    exchange = Exchange()
    changed(exchange, sender, prefix, security=security)
    exchange.run()
    other = "includer" if sender == "joiner" else "joiner"
    assert exchange.fails(other).fail is fail


def test_a_key_is_given_again_where_its_report_was_lost() -> None:
    exchange = Exchange((UNAUTH,), (UNAUTH,))
    lost = []

    def change(sender: str, data: bytes, security: Any) -> tuple[bytes, Any]:
        if data[1] == 0x0A and not lost:
            lost.append(data)
            return b"", security
        return data, security

    exchange.change = change
    exchange.run()
    assert exchange.joiner.state is State.KEY_REPORT
    again = exchange.includer.receive(make("Security 2 Network Key Get", key=1), TEMPORARY, 2.0)
    assert again == [Send(lost[0], TEMPORARY)]
    other = exchange.includer.receive(make("Security 2 Network Key Get", key=4), TEMPORARY, 2.0)
    assert isinstance(other[-1], Failed)


def test_steps_of_the_peer_time_out_and_so_do_people() -> None:
    includer = Includer(A, keys=KEYS)
    includer.start(0.0)
    assert includer.deadline == STEP_TIMEOUT
    assert includer.tick(STEP_TIMEOUT - 0.1) == []
    (failed,) = includer.tick(STEP_TIMEOUT)
    assert isinstance(failed, Failed)
    assert failed.fail is None
    includer = Includer(A, keys=KEYS)
    includer.start(0.0)
    includer.receive(make("Security 2 KEX Report", schemes=2, profiles=1, keys=1), None, 1.0)
    assert includer.deadline == 1.0 + USER_TIMEOUT
    assert includer.tick(300.0)[0] == Send(make("Security 2 KEX Fail", type=KexFailType.CANCEL), None)
    assert includer.grant((UNAUTH,), 301.0) == includer.pin(b"12", 301.0) == includer.cancel() == []


def test_a_joiner_repeats_its_echo_while_the_user_looks_for_the_pin() -> None:
    joiner = Joiner(B, requested=(ACCESS,))
    joiner.start(0.0)
    joiner.receive(make("Security 2 KEX Get"), None, 0.0)
    joiner.receive(make("Security 2 KEX Set", schemes=2, profiles=1, keys=4), None, 0.0)
    _, first = joiner.receive(make("Security 2 Public Key Report", including=True, key=public_key(A)), None, 0.0)
    for number in range(1, 24):
        assert joiner.tick(number * STEP_TIMEOUT) == [first]
    (failed,) = joiner.tick(USER_TIMEOUT)
    assert isinstance(failed, Failed)


def test_the_user_cancels() -> None:
    includer = Includer(A, keys=KEYS)
    includer.start(0.0)
    sent, failed = includer.cancel()
    assert sent == Send(make("Security 2 KEX Fail", type=KexFailType.CANCEL), None)
    assert isinstance(failed, Failed)


def test_keys_are_not_shown() -> None:
    exchange = Exchange()
    exchange.run()
    text = repr(exchange.includer) + repr(exchange.joiner) + repr(exchange.seen)
    assert "AAAA" not in text
    assert "BBBB" not in text


@given(
    st.lists(
        st.tuples(st.integers(1, 14), st.binary(max_size=36), st.sampled_from([None, TEMPORARY, ACCESS])), max_size=8
    )
)
def test_any_messages_end_or_change_nothing(messages: list[tuple[int, bytes, SecurityClass | None]]) -> None:
    for end in (Includer(A, keys=KEYS), Joiner(B, requested=MESH_CLASSES)):
        end.start(0.0)
        ends = 0
        for number, body, security in messages:
            effects = end.receive(bytes((0x9F, number)) + body, security, 1.0)
            ends += sum(isinstance(effect, Failed | Finished) for effect in effects)
            assert (end.state is State.ENDED) == bool(ends)
        assert ends <= 1
