"""ASH: frames on the line, and a link that delivers each payload once and in order whatever the line does."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.zigbee import ash
from drivers.sim.zigbee.ash import AshError, Decoder, Frame, Kind, Link, ResetCode, ResetRequest

NUMBERS = st.integers(0, 7)
PAYLOADS = st.binary(min_size=ash.MIN_DATA, max_size=ash.MAX_DATA)
FRAMES = st.one_of(
    st.builds(Frame, st.just(Kind.DATA), NUMBERS, NUMBERS, retransmitted=st.booleans(), data=PAYLOADS),
    st.builds(Frame, st.sampled_from([Kind.ACK, Kind.NAK]), ack=NUMBERS, not_ready=st.booleans()),
    st.just(Frame(Kind.RST)),
    st.builds(Frame, st.sampled_from([Kind.RSTACK, Kind.ERROR]), data=st.binary(min_size=2, max_size=2)),
)
REQUEST = bytes.fromhex("00 00 00 02")


def data(number: int, ack: int = 0, *, again: bool = False, payload: bytes = REQUEST) -> bytes:
    return ash.encode(Frame(Kind.DATA, number, ack, retransmitted=again, data=payload))


def decoded(frames: list[bytes]) -> list[Frame | AshError]:
    return list(Decoder().feed(b"".join(frames)))


@pytest.mark.parametrize(
    ("line", "frame"),
    [  # the examples of UG101, section 3
        ("C0 38 BC 7E", Frame(Kind.RST)),
        ("C1 02 02 9B 7B 7E", Frame(Kind.RSTACK, data=bytes((2, 2)))),
        ("C2 02 51 A8 BD 7E", Frame(Kind.ERROR, data=bytes((2, 0x51)))),
        ("81 60 59 7E", Frame(Kind.ACK, ack=1)),
        ("A6 34 DC 7E", Frame(Kind.NAK, ack=6)),
        ("AD 85 B7 7E", Frame(Kind.NAK, ack=5, not_ready=True)),
        ("25 42 21 A8 56 A6 09 7E", Frame(Kind.DATA, 2, 5, data=bytes.fromhex("00 00 00 02"))),
    ],
)
def test_published_frames(line: str, frame: Frame) -> None:
    assert ash.encode(frame) == bytes.fromhex(line)
    assert list(Decoder().feed(bytes.fromhex(line))) == [frame]


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(1, 9), min_size=1))
def test_frames_survive_any_cutting(frames: list[Frame], sizes: list[int]) -> None:
    line = b"".join(ash.encode(frame) for frame in frames)
    decoder, got, position, turn = Decoder(), [], 0, 0
    while position < len(line):
        size = sizes[turn % len(sizes)]
        got += decoder.feed(line[position : position + size])
        position, turn = position + size, turn + 1
    assert got == frames
    assert list(Decoder().feed(line)) == frames
    assert [item for byte in line for item in decoder.feed(bytes((byte,)))] == frames


@given(FRAMES)
def test_the_line_holds_reserved_bytes_only_as_flag_and_escape(frame: Frame) -> None:
    body = ash.encode(frame)[:-1]
    assert not set(body) & {ash.FLAG, ash.XON, ash.XOFF, ash.SUBSTITUTE, ash.CANCEL}


@given(FRAMES, st.data())
def test_a_flipped_bit_is_never_taken_for_a_frame(frame: Frame, draw: st.DataObject) -> None:
    line = bytearray(ash.encode(frame))
    line[draw.draw(st.integers(0, len(line) - 2))] ^= 1 << draw.draw(st.integers(0, 7))
    assert frame not in [item for item in Decoder().feed(bytes(line)) if isinstance(item, Frame)]


@given(st.binary(max_size=600), FRAMES)
def test_garbage_is_dropped_up_to_the_next_flag(garbage: bytes, frame: Frame) -> None:
    decoder = Decoder()
    list(decoder.feed(garbage + bytes((ash.FLAG,))))
    assert list(decoder.feed(ash.encode(frame))) == [frame]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_a_link_takes_any_bytes(pieces: list[bytes]) -> None:
    link = Link()
    for index, piece in enumerate(pieces):
        link.receive(piece, index / 10)
        link.poll(index / 10)
    link.receive(b"\x7e", 9.0)
    assert any(isinstance(event, ResetRequest) for event in link.receive(ash.encode(Frame(Kind.RST)), 9.0))


def test_cancel_drops_what_came_before_it_and_a_lost_byte_damages_its_frame() -> None:
    ack = ash.encode(Frame(Kind.ACK, ack=1))
    assert list(Decoder().feed(b"\x12\x34\x1a" + ack)) == [Frame(Kind.ACK, ack=1)]
    assert list(Decoder().feed(b"\x11" + ack[:1] + b"\x13" + ack[1:])) == [Frame(Kind.ACK, ack=1)]
    damaged = list(Decoder().feed(ack[:1] + b"\x18" + ack[1:] + ack))
    assert isinstance(damaged[0], AshError)
    assert damaged[1:] == [Frame(Kind.ACK, ack=1)]


def test_payloads_that_do_not_fit_are_refused() -> None:
    for size in (0, ash.MIN_DATA - 1, ash.MAX_DATA + 1):
        with pytest.raises(ValueError, match="DATA frame holds"):
            ash.encode(Frame(Kind.DATA, data=bytes(size)))


def test_rst_restarts_the_link_and_is_answered_by_rstack() -> None:
    link = Link()
    link.receive(data(0), 0.0)
    events = link.receive(b"\x1a" * 32 + ash.encode(Frame(Kind.RST)) + data(0), 0.0)
    assert isinstance(events[0], ResetRequest)
    assert events[1:] == [REQUEST]
    rstack, *rest = decoded(link.poll(0.0))
    assert rstack == Frame(Kind.RSTACK, data=bytes((2, ResetCode.SOFTWARE)))
    assert rest == []


def test_an_answer_carries_the_acknowledgement() -> None:
    link = Link()
    assert link.receive(data(0), 0.0) == [REQUEST]
    link.send(b"answer")
    assert decoded(link.poll(0.0)) == [Frame(Kind.DATA, 0, 1, data=b"answer")]
    assert link.next_deadline() == ash.T_ACK_INIT


def test_without_an_answer_the_acknowledgement_comes_after_its_delay() -> None:
    link = Link()
    link.receive(data(0), 1.0)
    assert link.poll(1.0) == []
    assert link.next_deadline() == 1.0 + ash.T_ACK_DELAY
    assert decoded(link.poll(1.0 + ash.T_ACK_DELAY)) == [Frame(Kind.ACK, ack=1)]
    assert link.next_deadline() is None


def test_a_repeated_frame_is_acknowledged_at_once_and_not_delivered_again() -> None:
    link = Link()
    link.receive(data(0), 0.0)
    link.poll(1.0)
    assert link.receive(data(0, again=True), 2.0) == []
    assert decoded(link.poll(2.0)) == [Frame(Kind.ACK, ack=1)]


def test_a_gap_and_a_damaged_frame_are_rejected_once() -> None:
    link = Link()
    link.receive(data(1), 0.0)
    link.receive(data(2), 0.0)
    assert decoded(link.poll(0.0)) == [Frame(Kind.NAK, ack=0)]
    assert link.receive(data(0) + data(1), 0.1) == [REQUEST, REQUEST]
    link.poll(1.0)
    broken = bytearray(data(2))
    broken[2] ^= 0x04
    assert link.receive(bytes(broken), 1.0) == []
    assert decoded(link.poll(1.0)) == [Frame(Kind.NAK, ack=2)]
    assert (link.counters.bad_frames, link.counters.naks_sent) == (1, 2)


def test_the_window_bounds_what_is_under_way() -> None:
    link = Link(window=3)
    for index in range(7):
        link.send(bytes((index,)) * 3)
    assert [frame.number for frame in decoded(link.poll(0.0)) if isinstance(frame, Frame)] == [0, 1, 2]
    link.receive(ash.encode(Frame(Kind.ACK, ack=2)), 0.1)
    assert [frame.number for frame in decoded(link.poll(0.1)) if isinstance(frame, Frame)] == [3, 4]


def test_nak_repeats_from_the_gap() -> None:
    link = Link()
    for index in range(3):
        link.send(bytes((index,)) * 3)
    link.poll(0.0)
    link.receive(ash.encode(Frame(Kind.NAK, ack=1)), 0.1)
    again = decoded(link.poll(0.1))
    assert again == [Frame(Kind.DATA, number, 0, retransmitted=True, data=bytes((number,)) * 3) for number in (1, 2)]


def test_an_acknowledgement_of_what_was_never_sent_is_rejected() -> None:
    link = Link()
    link.send(b"one")
    link.poll(0.0)
    link.receive(ash.encode(Frame(Kind.ACK, ack=5)), 0.1)
    assert decoded(link.poll(0.1)) == [Frame(Kind.NAK, ack=0)]


def test_a_silent_host_ends_in_error_until_it_sends_rst() -> None:
    link, sent = Link(), 0
    link.send(b"one")
    now = 0.0
    link.poll(now)
    while link.failed is None:
        deadline = link.next_deadline()
        assert deadline is not None
        now = deadline
        last = decoded(link.poll(now))
        sent += 1
    assert sent == ash.MAX_TIMEOUTS + 1
    error = Frame(Kind.ERROR, data=bytes((2, ResetCode.ACK_TIMEOUTS)))
    assert last == [error]
    link.receive(data(0), now)
    assert decoded(link.poll(now)) == [error]
    link.receive(ash.encode(Frame(Kind.RST)), now)
    link.send(b"two")
    assert [frame.kind for frame in decoded(link.poll(now)) if isinstance(frame, Frame)] == [Kind.RSTACK, Kind.DATA]


def test_a_host_that_is_not_ready_gets_answers_but_no_callbacks_for_a_second() -> None:
    link = Link()
    link.receive(ash.encode(Frame(Kind.ACK, ack=0, not_ready=True)), 5.0)
    link.send(b"callback", callback=True)
    link.send(b"answer")
    assert [frame.data for frame in decoded(link.poll(5.0)) if isinstance(frame, Frame)] == [b"answer"]
    link.receive(ash.encode(Frame(Kind.ACK, ack=1, not_ready=True)), 5.1)
    assert link.poll(5.1) == []
    assert link.next_deadline() == 5.1 + ash.T_NOT_READY
    assert [frame.data for frame in decoded(link.poll(6.2)) if isinstance(frame, Frame)] == [b"callback"]


class Line:
    """Two links and a line that loses, damages and delays, in its own time."""

    def __init__(self, seed: int, loss: float) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.ends = (Link(), Link())
        self.got: tuple[list[bytes], list[bytes]] = ([], [])
        self.flying: list[tuple[float, int, bytes]] = []
        self.now = 0.0

    def step(self) -> None:
        for index, end in enumerate(self.ends):
            for frame in end.poll(self.now):
                spoiled = bytearray(frame)
                chance = self.random.random()
                if chance < self.loss / 2:
                    continue
                if chance < self.loss:
                    spoiled[self.random.randrange(len(spoiled))] ^= 1 << self.random.randrange(8)
                self.flying.append((self.now + 0.005, 1 - index, bytes(spoiled)))
        times = [time for end in self.ends if (time := end.next_deadline()) is not None]
        self.now = max(self.now, min([*times, *(at for at, _to, _frame in self.flying)]))
        due = [item for item in self.flying if item[0] <= self.now]
        self.flying = [item for item in self.flying if item[0] > self.now]
        for _at, to, frame in due:
            self.got[to].extend(event for event in self.ends[to].receive(frame, self.now) if isinstance(event, bytes))


@pytest.mark.parametrize("seed", range(8))
def test_every_payload_arrives_once_and_in_order_over_a_bad_line(seed: int) -> None:
    line = Line(seed, loss=0.15)
    sent = tuple([bytes((index % 256, direction, 7)) * 4 for index in range(60)] for direction in (0, 1))
    for end, payloads in zip(line.ends, sent, strict=True):
        for payload in payloads:
            end.send(payload)
    for _ in range(20_000):
        if line.got == (sent[1], sent[0]):
            break
        line.step()
    assert line.got == (sent[1], sent[0]), f"seed {seed}"
    assert sum(end.counters.retransmissions for end in line.ends) > 0
