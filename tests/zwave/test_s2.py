"""Security 2 between two of our ends: losses, repetitions, reordering, crossing, other keys, groups, Long Range."""

import contextlib
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.zwave.security.classes import SecurityClass, SecurityError
from drivers.zwave.security.s2 import DuplicateError, NoSpanError, Opened, Resync, Security2
from drivers.zwave.security.s2_frames import Extension, decode_extensions, encode_extensions, parse

HOME = bytes.fromhex("c0ffee01")
ACCESS = SecurityClass.S2_ACCESS_CONTROL
UNAUTHENTICATED = SecurityClass.S2_UNAUTHENTICATED
KEYS = {ACCESS: b"A" * 16, UNAUTHENTICATED: b"U" * 16}
PAYLOAD = bytes.fromhex("2001ff")


def end(own: int, peers: Iterable[int], granted: Iterable[SecurityClass] = (ACCESS,)) -> Security2:
    made = Security2(own, HOME, random.Random(own).randbytes)
    for one, key in KEYS.items():
        made.add_key(one, key)
    for peer in peers:
        made.grant(peer, granted)
    return made


def pair(node: int = 2) -> tuple[Security2, Security2]:
    """A hub and a node whose SPAN is established."""
    hub, lock = end(1, [node]), end(node, [1])
    synchronise(hub, lock)
    return hub, lock


def synchronise(sender: Security2, receiver: Security2) -> None:
    sender.receive_nonce_report(receiver.own, receiver.receive_nonce_get(sender.own, sender.nonce_get(receiver.own)))
    read(receiver, sender.own, sender.seal(receiver.own, PAYLOAD, 0.0))


def read(receiver: Security2, peer: int, data: bytes, now: float = 0.0) -> bytes:
    opened = receiver.open(peer, data, now)
    assert isinstance(opened, Opened)
    return opened.payload


def test_nothing_is_sent_before_a_nonce() -> None:
    hub = end(1, [2])
    with pytest.raises(NoSpanError):
        hub.seal(2, PAYLOAD, 0.0)


def test_both_directions_share_one_generator() -> None:
    hub, lock = pair()
    for number in range(20):
        assert read(lock, 1, hub.seal(2, bytes((0x20, number)), 0.0), 9.0) == bytes((0x20, number))
        assert read(hub, 2, lock.seal(1, bytes((0x21, number)), 9.0), 9.0) == bytes((0x21, number))


def test_long_range_ids() -> None:
    hub, lock = pair(300)
    assert read(lock, 1, hub.seal(300, PAYLOAD, 0.0)) == PAYLOAD


def test_a_repeated_message_is_dropped_and_an_older_one_is_not_read() -> None:
    hub, lock = pair()
    old, new = hub.seal(2, PAYLOAD, 0.0), hub.seal(2, PAYLOAD, 0.0)
    assert read(lock, 1, new) == PAYLOAD
    with pytest.raises(DuplicateError):
        lock.open(1, new, 0.0)
    assert isinstance(lock.open(1, old, 0.0), Resync), "its nonce is past"


def test_a_nonce_get_is_answered_once() -> None:
    hub, lock = pair()
    get = hub.nonce_get(2)
    report = lock.receive_nonce_get(1, get)
    with pytest.raises(DuplicateError):
        lock.receive_nonce_get(1, get)
    assert hub.receive_nonce_report(2, report).sos
    with pytest.raises(DuplicateError):
        hub.receive_nonce_report(2, report)


def test_a_nonce_get_that_comes_late_again_is_dropped_and_hides_no_message() -> None:
    hub, lock = end(1, [2]), end(2, [1])
    get = hub.nonce_get(2)
    hub.receive_nonce_report(2, lock.receive_nonce_get(1, get))
    assert read(lock, 1, hub.seal(2, PAYLOAD, 0.0)) == PAYLOAD
    with pytest.raises(DuplicateError):
        lock.receive_nonce_get(1, get)
    sealed = hub.seal(2, PAYLOAD, 0.0)
    forged = bytes((0x9F, 0x02, sealed[2], 0x00))
    lock.receive_nonce_report(1, forged)
    assert read(lock, 1, sealed) == PAYLOAD


def test_after_a_resync_the_message_is_read() -> None:
    hub, lock = pair()
    for _ in range(5):
        hub.seal(2, PAYLOAD, 0.0)
    lost = lock.open(1, hub.seal(2, PAYLOAD, 0.0), 0.0)
    assert isinstance(lost, Resync)
    assert hub.receive_nonce_report(2, lost.answer).sos
    assert read(lock, 1, hub.seal(2, PAYLOAD, 0.0)) == PAYLOAD


def test_messages_that_cross_are_both_read_for_half_a_second() -> None:
    hub, lock = pair()
    mine, theirs = hub.seal(2, PAYLOAD, 0.0), lock.seal(1, PAYLOAD, 0.0)
    assert read(lock, 1, mine, 0.4) == PAYLOAD
    assert read(hub, 2, theirs, 0.4) == PAYLOAD
    assert read(lock, 1, hub.seal(2, PAYLOAD, 1.0), 2.0) == PAYLOAD
    late = lock.seal(1, PAYLOAD, 2.0)
    hub.seal(2, PAYLOAD, 2.0)
    assert isinstance(hub.open(2, late, 2.6), Resync)


def test_a_restart_drops_every_span() -> None:
    hub, lock = pair()
    again = end(1, [2])
    resync = again.open(2, lock.seal(1, PAYLOAD, 0.0), 0.0)
    assert isinstance(resync, Resync)
    assert lock.receive_nonce_report(1, resync.answer).sos
    assert read(again, 2, lock.seal(1, PAYLOAD, 0.0)) == PAYLOAD
    hub.forget(2)
    with pytest.raises(NoSpanError):
        hub.seal(2, PAYLOAD, 0.0)


def test_a_class_that_was_not_granted_is_not_read() -> None:
    hub, lock = end(1, [2], [ACCESS]), end(2, [1], [UNAUTHENTICATED])
    lock.receive_nonce_report(1, hub.receive_nonce_get(2, lock.nonce_get(1)))
    assert isinstance(hub.open(2, lock.seal(1, PAYLOAD, 0.0), 0.0), Resync)


def test_another_class_needs_another_span() -> None:
    hub, lock = end(1, [2], [ACCESS, UNAUTHENTICATED]), end(2, [1], [ACCESS, UNAUTHENTICATED])
    synchronise(hub, lock)
    assert hub.current_class(2) is ACCESS
    with pytest.raises(NoSpanError):
        hub.seal(2, PAYLOAD, 0.0, UNAUTHENTICATED)
    hub.receive_nonce_report(2, lock.receive_nonce_get(1, hub.nonce_get(2)))
    opened = lock.open(1, hub.seal(2, PAYLOAD, 0.0, UNAUTHENTICATED), 0.0)
    assert isinstance(opened, Opened)
    assert opened.security_class is UNAUTHENTICATED


def test_other_keys_home_or_nodes_are_not_read() -> None:
    hub, lock = pair()
    sealed = hub.seal(2, PAYLOAD, 0.0)
    for receiver, peer in ((Security2(2, b"\0\0\0\1", lock.entropy, lock.keys, lock._peers), 1), (lock, 3)):
        assert isinstance(receiver.open(peer, sealed, 0.0), Resync)
    stranger = Security2(2, HOME, random.Random(9).randbytes)
    stranger.add_key(ACCESS, b"X" * 16)
    stranger.grant(1, [ACCESS])
    hub.receive_nonce_report(2, stranger.receive_nonce_get(1, hub.nonce_get(2)))
    assert isinstance(stranger.open(1, hub.seal(2, PAYLOAD, 0.0), 0.0), Resync)


def test_groups() -> None:
    hub, lock = pair()
    group = hub.create_group([2, 3], ACCESS)
    assert hub.create_group([3, 2], ACCESS) == group
    with pytest.raises(SecurityError):
        lock.open_multicast(1, hub.seal_multicast(group, PAYLOAD))
    answer = hub.open(2, lock.seal(1, PAYLOAD, 0.0), 1.0)
    assert isinstance(answer, Opened)
    assert answer.out_of_sync, "the lock asks for the state of the group"
    assert read(lock, 1, hub.seal(2, PAYLOAD, 0.0, mpan=group), 1.0) == PAYLOAD
    for _ in range(3):
        assert lock.open_multicast(1, hub.seal_multicast(group, PAYLOAD)).payload == PAYLOAD
        followed = lock.open(1, hub.seal(2, PAYLOAD, 0.0, group=group), 1.0)
        assert isinstance(followed, Opened)
        assert followed.group == group
        hub.advance_group(group)
    for _ in range(4):
        hub.seal_multicast(group, PAYLOAD)
    assert lock.open_multicast(1, hub.seal_multicast(group, PAYLOAD)).payload == PAYLOAD, "four were lost"


def test_groups_are_bounded() -> None:
    _, lock = pair()
    hub = end(1, [2])
    for number in range(40):
        hub.create_group([2, number + 3], ACCESS)
    for number in range(1, 40):
        with pytest.raises(SecurityError):
            lock.open_multicast(1, hub.seal_multicast(number, PAYLOAD))
    assert len(lock._peers[1].groups) <= 16
    for number in range(40, 255):
        hub.create_group([number + 3], ACCESS)
    with pytest.raises(SecurityError, match="in use"):
        hub.create_group([1], ACCESS)


def test_unknown_critical_extensions_discard_the_message() -> None:
    hub, lock = pair()
    state = hub._peers[2].span
    assert state is not None
    for critical, expected in ((False, True), (True, False)):
        sealed = hub._encapsulate(
            state.keys, state.next(), (1, 2), hub._next_sequence(2), [Extension(9, b"x", critical)], [], PAYLOAD
        )
        if expected:
            assert read(lock, 1, sealed) == PAYLOAD
        else:
            with pytest.raises(SecurityError, match="critical"):
                lock.open(1, sealed, 0.0)


def answer(hub: Security2, lock: Security2, now: float) -> None:
    try:
        hub.open(2, lock.seal(1, PAYLOAD, now), now + 1)
    except NoSpanError:
        hub.receive_nonce_report(2, lock.nonce_report(1))


def sealed_at_last(hub: Security2, lock: Security2, payload: bytes, now: float) -> bytes:
    try:
        return hub.seal(2, payload, now)
    except NoSpanError:
        hub.receive_nonce_report(2, lock.receive_nonce_get(1, hub.nonce_get(2)))
        return hub.seal(2, payload, now)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["send", "lose", "repeat", "answer", "swap"]), max_size=30), st.integers(0, 1 << 30))
def test_any_order_of_losses_ends_in_sync(steps: list[str], seed: int) -> None:
    """Whatever the air did, what is read was sent, is read once, and one resync repairs the rest."""
    hub, lock = pair()
    hub.entropy = random.Random(seed).randbytes
    sent: list[bytes] = []
    got: list[bytes] = []
    held: bytes | None = None

    def deliver(data: bytes) -> None:
        try:
            opened = lock.open(1, data, now)
        except DuplicateError:
            return
        if isinstance(opened, Resync):
            hub.receive_nonce_report(2, opened.answer)
        else:
            got.append(opened.payload)

    for number, step in enumerate(steps):
        now = float(number)
        if step == "answer":
            answer(hub, lock, now)
            continue
        payload = bytes((0x20, number))
        sealed = sealed_at_last(hub, lock, payload, now)
        sent.append(payload)
        if step == "swap" and held is None:
            held = sealed
            continue
        if step != "lose":
            deliver(sealed)
        if step == "repeat":
            deliver(sealed)
        if held is not None:
            deliver(held)
            held = None
    assert set(got) <= set(sent)
    assert len(got) == len(set(got))
    now = 1000.0
    hub.receive_nonce_report(2, lock.receive_nonce_get(1, hub.nonce_get(2)))
    assert read(lock, 1, hub.seal(2, b"\x20\xfe", now), now) == b"\x20\xfe"


@given(st.data())
def test_one_changed_bit_is_never_read(data: st.DataObject) -> None:
    hub, lock = pair()
    sealed = bytearray(hub.seal(2, PAYLOAD, 0.0))
    sealed[data.draw(st.integers(2, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(SecurityError):
        assert isinstance(lock.open(1, bytes(sealed), 0.0), Resync)


@given(st.binary(max_size=60))
def test_any_bytes_raise_only_the_typed_error(body: bytes) -> None:
    _, lock = pair()
    for number in (1, 2, 3):
        data = bytes((0x9F, number)) + body
        for receive in (lock.receive_nonce_get, lock.receive_nonce_report, lock.open_multicast):
            with contextlib.suppress(SecurityError):
                receive(1, data)
        with contextlib.suppress(SecurityError):
            lock.open(1, data, 0.0)


@given(
    st.lists(st.builds(Extension, st.integers(0, 63), st.binary(max_size=40), st.booleans()), min_size=1, max_size=5),
    st.binary(),
)
def test_extensions_come_back(extensions: list[Extension], left: bytes) -> None:
    assert decode_extensions(encode_extensions(extensions) + left) == (tuple(extensions), left)


def test_a_body_that_is_too_short() -> None:
    for wrong in (b"", b"\1\0" + bytes(7), b"\1\1" + bytes(8), b"\1\1\x02\x01" + bytes(7), b"\1\1\xff\x01" + bytes(20)):
        with pytest.raises(SecurityError):
            parse(wrong)


def test_keys_are_not_shown() -> None:
    hub, _ = pair()
    assert "AAAA" not in repr(hub)
    assert "keys" not in repr(hub)
