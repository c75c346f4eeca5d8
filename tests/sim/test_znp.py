"""The Z-Stack front end as a host at the other end of the line sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.zigbee.model import Delivery
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.znp import CAPABILITIES, Znp
from drivers.sim.zigbee.znp_tables import AF, APP, AREQ, REQUESTS, SREQ, SRSP, SYS, Parser, Status, frame

IEEE = 0x00124B00_01020304
PING = frame(SREQ, SYS, 0x01)
PONG = frame(SRSP, SYS, 0x01, CAPABILITIES.to_bytes(2, "little"))


def ask(stick: Znp, subsystem: int, command: int, payload: bytes = b"", now: float = 1.0) -> tuple[bytes, list[bytes]]:
    """The payload of the answer, and the indications that came with it."""
    stick.receive(frame(SREQ, subsystem, command, payload), now)
    answer, *others = stick.poll(now)
    assert answer[2:4] == bytes([SRSP | subsystem, command])
    return answer[4:-1], others


def formed() -> Znp:
    stick = Znp(Network(IEEE, seed=1))
    assert ask(stick, APP, 0x05, b"\x04")[0] == b"\x00"
    return stick


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 255), st.binary(max_size=250)), max_size=5), st.data())
def test_frames_come_back_however_the_line_cuts_them(wanted: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    line = b"".join(frame(SREQ, *parts) for parts in wanted)
    parser, found = Parser(), []
    while line:
        cut = data.draw(st.integers(1, len(line)))
        found += parser.feed(line[:cut])
        line = line[cut:]
    assert found == [(SREQ | subsystem, command, payload) for subsystem, command, payload in wanted]
    assert (parser.bad_bytes, parser.bad_frames) == (0, 0)


@given(st.binary(max_size=300))
def test_garbage_does_not_stop_the_stick(garbage: bytes) -> None:
    stick = Znp(Network(IEEE, seed=1))
    stick.receive(garbage, 1.0)
    stick.receive(bytes(260), 1.0)  # the end of whatever the garbage began
    stick.receive(PING, 1.0)
    assert stick.poll(1.0)[-1] == PONG


@given(st.sampled_from(sorted(REQUESTS)), st.binary(max_size=60))
def test_any_request_with_any_payload_has_one_answer(place: tuple[int, int], payload: bytes) -> None:
    for stick in (Znp(Network(IEEE, seed=1)), formed()):
        stick.receive(frame(SREQ, *place, payload), 2.0)
        kinds = [answer[2] & 0xE0 for answer in stick.poll(2.0)]
        assert kinds[:1] == [SRSP]
        assert kinds.count(SRSP) == 1


def test_an_unknown_command_gets_an_rpc_error_and_is_counted() -> None:
    stick = Znp(Network(IEEE, seed=1))
    stick.receive(frame(SREQ, SYS, 0x7E), 1.0)
    assert stick.poll(1.0) == [frame(SRSP, 0, 0, bytes([2, SREQ | SYS, 0x7E]))]
    assert stick.counters.unknown == {"0x01/0x7E": 1}


def test_an_item_is_made_written_read_and_deleted() -> None:
    stick = Znp(Network(IEEE, seed=1))
    assert ask(stick, SYS, 0x13, b"\x60\x00")[0] == b"\x00\x00"
    assert ask(stick, SYS, 0x07, b"\x60\x00\x02\x00\x01\x55")[0] == bytes([Status.ITEM_UNINIT])
    assert ask(stick, SYS, 0x1D, b"\x60\x00\x01\x00\x01\x00\x66")[0] == b"\x00"
    assert ask(stick, SYS, 0x1C, b"\x60\x00\x00\x00")[0] == b"\x00\x02\x55\x66"
    assert ask(stick, SYS, 0x12, b"\x60\x00\x01\x00")[0] == bytes([Status.BAD_LENGTH])
    assert ask(stick, SYS, 0x12, b"\x60\x00\x02\x00")[0] == b"\x00"
    assert ask(stick, SYS, 0x1C, b"\x60\x00\x00\x00")[0] == bytes([Status.INVALID_PARAMETER, 0])


def test_the_network_comes_back_after_a_power_cut() -> None:
    stick = formed()
    network, memory = stick.network.snapshot(), stick.snapshot()
    other = Znp(Network(IEEE, seed=2))
    other.network.restore(network, 1.0)
    other.restore(memory)
    other.receive(frame(AREQ, SYS, 0x00, b"\x00"), 1.0)
    assert other.poll(1.0)[0][2:4] == bytes([AREQ | SYS, 0x80])
    assert ask(other, APP, 0x05, b"\x04")[0] == b"\x00"
    assert other.network.params == stick.network.params


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Delivery.NO_ACK, Status.NO_ACK), (Delivery.EXPIRED, Status.EXPIRED), (Delivery.NO_ROUTE, Status.NO_ROUTE)],
)
def test_an_armed_fault_is_the_confirm_of_the_next_message_only(kind: Delivery, status: Status) -> None:
    stick = formed()
    stick.fault(kind.value, 1.0)
    message = b"\x00\x00\x00\x00\x02\x00\x09\x00\x1e\x03\x01\x00\x00"  # Node_Desc_req to the coordinator itself
    answer, indications = ask(stick, AF, 0x01, message)
    assert answer == b"\x00"
    assert frame(AREQ, AF, 0x80, bytes([status, 0, 9])) in indications
    _answer, indications = ask(stick, AF, 0x01, message)
    assert frame(AREQ, AF, 0x80, bytes([Status.SUCCESS, 0, 9])) in indications
