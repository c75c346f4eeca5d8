"""Security 0: nonces are used once and expire, two frames belong together, nothing that was changed is read."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.security.classes import SecurityError
from drivers.zwave.security.s0 import NONCE_LIFETIME, OPEN_NONCES, OVERHEAD, S0Keys, Security0, parts

KEYS = S0Keys.of(bytes(range(16)))
PAYLOAD = bytes.fromhex("2001ff")
LONG = bytes(range(40))
ROOM = 46


def ends() -> tuple[Security0, Security0]:
    return Security0(1, KEYS, random.Random(1).randbytes), Security0(2, KEYS, random.Random(2).randbytes)


def nonce(end: Security0, peer: int, now: float = 0.0) -> bytes:
    return end.nonce_report(peer, now)[2:]


def test_one_frame() -> None:
    hub, lock = ends()
    sealed = hub.seal(2, hub.split(2, PAYLOAD, ROOM)[0], nonce(lock, 1))
    assert len(sealed) == len(PAYLOAD) + OVERHEAD
    assert lock.open(1, sealed, 1.0) == PAYLOAD
    with pytest.raises(SecurityError, match="used"):
        lock.open(1, sealed, 1.0)


def test_two_frames() -> None:
    hub, lock = ends()
    first, second = hub.split(2, LONG, ROOM)
    sealed = hub.seal(2, first, nonce(lock, 1))
    assert sealed[1] == 0xC1
    assert len(sealed) == ROOM
    assert lock.open(1, sealed, 1.0) is None
    assert lock.open(1, hub.seal(2, second, nonce(lock, 1)), 1.0) == LONG


def test_a_second_frame_alone_of_another_message_or_too_late_is_refused() -> None:
    hub, lock = ends()
    first, second = hub.split(2, LONG, ROOM)
    with pytest.raises(SecurityError, match="without its first"):
        lock.open(1, hub.seal(2, second, nonce(lock, 1)), 1.0)
    lock.open(1, hub.seal(2, first, nonce(lock, 1)), 1.0)
    _, other = hub.split(2, LONG, ROOM)
    with pytest.raises(SecurityError, match="without its first"):
        lock.open(1, hub.seal(2, other, nonce(lock, 1)), 1.0)
    lock.open(1, hub.seal(2, first, nonce(lock, 1)), 1.0)
    with pytest.raises(SecurityError, match="without its first"):
        lock.open(1, hub.seal(2, second, nonce(lock, 1, 11.0)), 11.5)


def test_three_frames_there_are_not() -> None:
    with pytest.raises(SecurityError, match="two frames"):
        parts(bytes(53), ROOM, 0)
    assert len(parts(bytes(52), ROOM, 0)) == 2


def test_nonces_expire_and_are_bounded() -> None:
    hub, lock = ends()
    old = nonce(lock, 1)
    part = hub.split(2, PAYLOAD, ROOM)[0]
    with pytest.raises(SecurityError, match="too old"):
        lock.open(1, hub.seal(2, part, old), NONCE_LIFETIME)
    first = nonce(lock, 1)
    for _ in range(OPEN_NONCES):
        nonce(lock, 1)
    with pytest.raises(SecurityError, match="unknown"):
        lock.open(1, hub.seal(2, part, first), 0.0)
    assert len(lock._peers[1].issued) == OPEN_NONCES


def test_another_key_another_sender_another_receiver() -> None:
    hub, lock = ends()
    part = hub.split(2, PAYLOAD, ROOM)[0]
    stranger = Security0(1, S0Keys.of(bytes(16)), random.Random(3).randbytes)
    for sender, source in ((stranger, 1), (hub, 3)):
        with pytest.raises(SecurityError):
            lock.open(source, sender.seal(2, part, nonce(lock, source)), 0.0)
    with pytest.raises(SecurityError, match="8 bytes"):
        hub.seal(2, part, b"1")


@given(st.data())
def test_one_changed_bit_is_noticed(data: st.DataObject) -> None:
    hub, lock = ends()
    sealed = bytearray(hub.seal(2, hub.split(2, PAYLOAD, ROOM)[0], nonce(lock, 1)))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SecurityError):
        lock.open(1, bytes(sealed), 0.0)


@given(st.binary(max_size=60))
def test_any_bytes_raise_only_the_typed_error(data: bytes) -> None:
    _, lock = ends()
    with pytest.raises(SecurityError):
        lock.open(1, data, 0.0)
    with pytest.raises(SecurityError):
        lock.open(1, b"\x98\x81" + data, 0.0)


def test_keys_are_not_shown() -> None:
    assert repr(KEYS) == "S0Keys()"
