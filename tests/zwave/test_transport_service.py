"""Segments: loss, repetition, reordering, damage, and bounds."""

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.codec import make
from drivers.zwave.transport_service import (
    COMPLETE_TIMEOUT,
    GAP,
    MAX_DATAGRAM,
    MAX_REQUESTS,
    REASSEMBLIES,
    Datagram,
    Done,
    Receiver,
    Send,
    Sender,
    TransportError,
)

DATA = bytes(range(200))


def segments(data: bytes = DATA, session: int = 1, room: int = 46, peer: int = 2) -> list[bytes]:
    return [one.data for one in Sender(peer, data, session, room).start(0.0) if isinstance(one, Send)]


def test_segments_fit_the_frame() -> None:
    assert [len(one) for one in segments()] == [45, 46, 46, 46, 46, 12]
    assert max(len(one) for one in segments(room=20)) == 20


@given(st.permutations(range(1, 6)), st.lists(st.integers(0, 5), max_size=4))
def test_any_order_and_repetitions_after_the_first_segment(order: list[int], again: list[int]) -> None:
    receiver, found = Receiver(), segments()
    effects = receiver.receive(2, found[0], 0.0)
    for number in [*order[:-1], *again, order[-1]]:
        effects += receiver.receive(2, found[number], 0.0)
    assert [one for one in effects if isinstance(one, Datagram)] == [Datagram(2, DATA)]


def test_what_is_missing_is_asked_for_and_then_given_up() -> None:
    receiver, found = Receiver(), segments()
    receiver.receive(2, found[0], 0.0)
    receiver.receive(2, found[2], 0.1)
    assert receiver.deadline == pytest.approx(0.1 + GAP)
    assert receiver.tick(0.5) == []
    wanted = Send(2, make("Transport Service Segment Request", session=1, offset=39))
    for number in range(1, MAX_REQUESTS + 1):
        assert receiver.tick(0.1 + number * GAP + 0.01 * number) == [wanted]
    assert receiver.tick(99.0) == []
    assert receiver.deadline is None


def test_a_request_is_answered_with_that_segment() -> None:
    sender = Sender(2, DATA, 1, 46)
    sender.start(0.0)
    assert sender.receive(make("Transport Service Segment Request", session=1, offset=78), 0.1) == [
        Send(2, segments()[2])
    ]
    assert sender.receive(make("Transport Service Segment Request", session=2, offset=78), 0.1) == []
    assert sender.receive(make("Transport Service Segment Complete", session=1), 0.2) == [Done(2, delivered=True)]
    assert sender.receive(make("Transport Service Segment Complete", session=1), 0.2) == []


def test_a_silent_peer_and_a_busy_one() -> None:
    sender = Sender(2, DATA, 1, 46)
    sender.start(0.0)
    assert sender.tick(COMPLETE_TIMEOUT / 2) == []
    for number in range(1, MAX_REQUESTS + 1):
        assert len(sender.tick(number * COMPLETE_TIMEOUT)) == 6
    assert sender.tick(99.0) == [Done(2, delivered=False)]
    sender = Sender(2, DATA, 1, 46)
    sender.start(0.0)
    assert sender.receive(make("Transport Service Segment Wait", pending=20), 0.0) == []
    assert sender.deadline == 2.0
    assert len(sender.tick(2.0)) == 6


def test_a_lost_complete_is_said_again() -> None:
    receiver, found = Receiver(), segments()
    for one in found:
        receiver.receive(2, one, 0.0)
    assert receiver.receive(2, found[-1], 1.0) == [Send(2, make("Transport Service Segment Complete", session=1))]
    assert receiver.receive(3, found[-1], 1.0) == [Send(3, make("Transport Service Segment Wait", pending=0))]


def test_a_new_session_takes_the_place_of_the_old_one() -> None:
    receiver = Receiver()
    receiver.receive(2, segments(session=1)[0], 0.0)
    effects = [effect for one in segments(b"x" * 50, 2) for effect in receiver.receive(2, one, 0.0)]
    assert effects[-1] == Datagram(2, b"x" * 50)


def test_damaged_segments_are_dropped() -> None:
    receiver, found = Receiver(), segments(b"y" * 30)
    for place in range(len(found[0])):
        damaged = bytearray(found[0])
        damaged[place] ^= 0x10
        assert not any(isinstance(one, Datagram) for one in receiver.receive(2, bytes(damaged), 0.0))
    assert receiver.receive(2, found[0], 0.0)[-1] == Datagram(2, b"y" * 30)


def test_memory_is_bounded() -> None:
    receiver = Receiver()
    first = segments(bytes(MAX_DATAGRAM))[0]
    for peer in range(REASSEMBLIES):
        assert receiver.receive(peer, first, 0.0) == []
    (wait,) = receiver.receive(99, first, 0.0)
    assert isinstance(wait, Send)
    assert len(receiver._open) == REASSEMBLIES


def test_what_cannot_be_sent() -> None:
    for data, session, room in ((b"", 0, 46), (bytes(MAX_DATAGRAM + 1), 0, 46), (b"x", 16, 46), (b"x", 0, 7)):
        with pytest.raises(TransportError):
            Sender(2, data, session, room)


@given(st.binary(min_size=1, max_size=400), st.integers(0, 1 << 30))
def test_a_lossy_air_delivers_or_tells(data: bytes, seed: int) -> None:
    """Both ends with a third of the frames lost: the sender's word is never wrong about a delivery."""
    air = random.Random(seed)
    sender, receiver = Sender(2, data, 3, 46), Receiver()
    got, done, now = [], None, 0.0
    wire = deque(("sender", effect) for effect in sender.start(now))
    for _ in range(3000):
        if wire:
            who, effect = wire.popleft()
            if isinstance(effect, Datagram):
                got.append(effect.data)
            elif isinstance(effect, Done):
                done = effect
            elif air.random() > 1 / 3:
                other, end = ("receiver", receiver) if who == "sender" else ("sender", sender)
                made = receiver.receive(1, effect.data, now) if end is receiver else sender.receive(effect.data, now)
                wire.extend((other, one) for one in made)
            continue
        deadlines = [one for one in (sender.deadline, receiver.deadline) if one is not None]
        if not deadlines:
            break
        now = max(now, min(deadlines))
        wire.extend(("sender", one) for one in sender.tick(now))
        wire.extend(("receiver", one) for one in receiver.tick(now))
    assert done is not None
    assert set(got) <= {data}
    assert got or not done.delivered


@given(st.binary(max_size=50), st.integers(0, 255))
def test_any_bytes_are_survived(body: bytes, head: int) -> None:
    receiver, sender = Receiver(), Sender(2, DATA, 1, 46)
    sender.start(0.0)
    for data in (b"\x55" + bytes((head,)) + body, body):
        receiver.receive(2, data, 0.0)
        sender.receive(data, 0.0)
