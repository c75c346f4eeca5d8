"""The host's link: retransmission by the specification, responses, callbacks, aborts."""

from typing import Any

import pytest

from drivers.zwave.frame import Data, Signal, Type, encode
from drivers.zwave.session import (
    ACK_TIMEOUT,
    CALLBACK_IDS,
    QUEUE,
    Abort,
    Done,
    Effect,
    Lost,
    Outcome,
    Progress,
    Received,
    Request,
    Session,
    Submit,
    Tick,
    Unsolicited,
    Write,
)

ACK = encode(Signal.ACK)
NAK = encode(Signal.NAK)
CAN = encode(Signal.CAN)
QUERY = Request(0x15)
SEND = Request(0x13, b"\x02\x01\x00\x25\x00", callback_at=4, transmits=True, accepted=lambda p: p == b"\x01")
ADD = Request(0x4A, b"\xc1\x00", responds=False, callback_at=1, final=lambda p: p[:1] in (b"\x05", b"\x07"))


def req(function: int, payload: bytes = b"") -> bytes:
    return encode(Data(Type.REQUEST, function, payload))


def res(function: int, payload: bytes = b"") -> bytes:
    return encode(Data(Type.RESPONSE, function, payload))


class Line:
    """A session and its clock."""

    def __init__(self) -> None:
        self.session = Session()
        self.now = 0.0

    def __call__(self, event: Any, at: float | None = None) -> list[Effect]:
        self.now = self.now if at is None else at
        return self.session.handle(event, self.now)

    def tick(self) -> list[Effect]:
        assert self.session.deadline is not None
        return self(Tick(), self.session.deadline)

    def sent(self, request: Request, tag: object = "a") -> None:
        assert any(isinstance(effect, Write) for effect in self(Submit(tag, request)))


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_query(line: Line) -> None:
    assert line(Submit("a", QUERY)) == [Write(req(0x15))]
    assert line(Received(ACK)) == []
    assert line(Received(res(0x15, b"Z-Wave"))) == [Write(ACK), Done("a", Outcome.DONE, b"Z-Wave")]
    assert line.session.idle
    assert line.session.deadline is None


@pytest.mark.parametrize("signal", [NAK, CAN])
def test_a_refused_frame_is_sent_again_after_100_1100_and_2100_ms(line: Line, signal: bytes) -> None:
    line.sent(QUERY)
    for wait in (0.1, 1.1, 2.1):
        assert line(Received(signal)) == []
        assert line.session.deadline == pytest.approx(line.now + wait)
        assert line.tick() == [Write(req(0x15))]
    assert line(Received(signal)) == [Done("a", Outcome.NO_ACK)]


def test_a_missing_ack_counts_as_a_nak_and_its_wait_is_subtracted(line: Line) -> None:
    line.sent(QUERY)
    times = []
    while not any(isinstance(effect, Done) for effect in line.tick()):
        times.append(line.now)
    assert times == pytest.approx([1.6, 3.2, 4.8, 5.3])
    assert line.now == pytest.approx(5.3 + ACK_TIMEOUT)
    assert line.session.counters.ack_timeouts == 4


def test_after_a_can_the_incoming_frame_is_processed_first(line: Line) -> None:
    line.sent(QUERY)
    incoming = req(0x04, b"\x00\x02\x03\x25\x03\xff")
    assert line(Received(CAN + incoming[:4])) == []
    assert line(Tick(), 0.5) == []
    assert line.session.deadline == pytest.approx(1.5)
    assert line(Received(incoming[4:])) == [
        Write(ACK),
        Unsolicited(0x04, b"\x00\x02\x03\x25\x03\xff"),
        Write(req(0x15)),
    ]


def test_a_frame_with_a_wrong_checksum_is_answered_by_nak(line: Line) -> None:
    wire = bytearray(req(0x04, b"\x00"))
    wire[-1] ^= 1
    assert line(Received(bytes(wire))) == [Write(NAK)]


def test_a_response_stands_for_its_lost_ack(line: Line) -> None:
    line.sent(QUERY)
    assert line(Received(res(0x15))) == [Write(ACK), Done("a", Outcome.DONE, b"")]


def test_a_response_of_another_command_is_not_ours(line: Line) -> None:
    line.sent(QUERY)
    assert line(Received(ACK + res(0x07))) == [Write(ACK)]
    assert line.session.counters.stray_responses == 1
    assert line.tick() == [Done("a", Outcome.NO_RESPONSE)]


def test_a_second_transmission_waits_for_the_callback_and_a_query_does_not(line: Line) -> None:
    line.sent(SEND)
    assert line(Submit("b", SEND)) == []
    assert line(Submit("c", QUERY)) == []
    assert line(Received(ACK + res(0x13, b"\x01"))) == [Write(ACK), Write(req(0x15))]
    assert line(Received(ACK + res(0x15))) == [Write(ACK), Done("c", Outcome.DONE, b"")]
    assert line(Received(req(0x13, b"\x01\x00"))) == [
        Write(ACK),
        Done("a", Outcome.DONE, b"\x01", b"\x00"),
        Write(req(0x13, b"\x02\x01\x00\x25\x02")),
    ]


def test_a_refused_transmission_waits_for_no_callback(line: Line) -> None:
    line.sent(SEND)
    assert line(Received(ACK + res(0x13, b"\x00"))) == [Write(ACK), Done("a", Outcome.REFUSED, b"\x00")]


def test_stages_are_reported_until_the_last_one(line: Line) -> None:
    line.sent(ADD)
    assert line(Received(ACK + req(0x4A, b"\x01\x01\x00\x00"))) == [Write(ACK), Progress("a", b"\x01\x00\x00")]
    assert line(Received(req(0x4A, b"\x07\x02"))) == [Write(ACK)], "another id"
    assert line(Received(req(0x4A, b"\x01\x05\x00"))) == [Write(ACK), Done("a", Outcome.DONE, None, b"\x05\x00")]
    assert line.session.counters.stale_callbacks == 1


def test_open_callback_ids_are_not_given_again(line: Line) -> None:
    for number in range(CALLBACK_IDS):
        line.sent(ADD, number)
        assert line(Received(ACK)) == []
    assert line(Submit("more", ADD)) == [Done("more", Outcome.BUSY)]
    line(Received(req(0x4A, b"\x07\x05")))
    assert line(Submit("more", ADD)) == [Write(req(0x4A, b"\xc1\x07"))]


def test_a_transmission_without_a_callback_is_aborted_before_the_next_one(line: Line) -> None:
    line.sent(SEND)
    line(Received(ACK + res(0x13, b"\x01")))
    line(Submit("b", SEND))
    assert line.tick() == [Write(req(0x16))]
    assert line(Received(ACK)) == []
    assert line(Received(req(0x13, b"\x01\x05")))[:2] == [Write(ACK), Done("a", Outcome.DONE, b"\x01", b"\x05")]


def test_a_chip_that_never_calls_back_ends_with_no_callback(line: Line) -> None:
    line.sent(SEND)
    line(Received(ACK + res(0x13, b"\x01")))
    line.tick()
    line(Received(ACK))
    assert line.tick() == [Done("a", Outcome.NO_CALLBACK, b"\x01")]


def test_abort_at_every_stage(line: Line) -> None:
    line.sent(QUERY)
    line(Submit("queued", SEND))
    assert line(Abort("queued")) == [Done("queued", Outcome.ABORTED)]
    assert line(Abort("a")) == [Done("a", Outcome.ABORTED)]
    assert line(Submit("b", QUERY)) == [], "the place on the link is free only when the chip has answered"
    assert line(Received(ACK + res(0x15))) == [Write(ACK), Write(req(0x15))]
    assert line(Received(ACK + res(0x15)))[-1] == Done("b", Outcome.DONE, b"")
    line.sent(SEND, "c")
    assert line(Abort("c")) == []
    assert line(Received(ACK + res(0x13, b"\x01"))) == [Write(ACK), Write(req(0x16))]
    assert line(Received(ACK + req(0x13, b"\x01\x05")))[-1] == Done("c", Outcome.DONE, b"\x01", b"\x05")
    line.sent(ADD, "d")
    line(Received(ACK))
    assert line(Abort("d")) == [Done("d", Outcome.ABORTED)]


def test_a_lost_line_ends_everything(line: Line) -> None:
    line.sent(SEND)
    line(Received(ACK + res(0x13, b"\x01")))
    line.sent(QUERY, "b")
    line(Submit("c", QUERY))
    assert sorted(effect.tag for effect in line(Lost()) if isinstance(effect, Done)) == ["a", "b", "c"]
    assert line.session.idle


def test_the_queue_is_bounded(line: Line) -> None:
    for number in range(QUEUE + 1):
        line(Submit(number, QUERY))
    assert line(Submit("more", QUERY)) == [Done("more", Outcome.BUSY)]
