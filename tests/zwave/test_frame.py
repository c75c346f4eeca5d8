"""Serial API frames: any split, damage, garbage and slow receptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.frame import MAX_PAYLOAD, RECEPTION_TIMEOUT, Damaged, Data, Decoder, Frame, Signal, Type, encode

DATA = st.builds(Data, st.sampled_from(Type), st.integers(0, 255), st.binary(max_size=MAX_PAYLOAD))
FRAMES = st.lists(st.one_of(DATA, st.sampled_from(Signal)), max_size=6)


@pytest.mark.parametrize(
    ("wire", "frame"),
    [  # frames that the zwave-js driver sends to its stick
        ("01030007fb", Data(Type.REQUEST, 0x07)),
        ("01030002fe", Data(Type.REQUEST, 0x02)),
        ("0104000b01f1", Data(Type.REQUEST, 0x0B, b"\x01")),
        ("01030020dc", Data(Type.REQUEST, 0x20)),
        ("06", Signal.ACK),
        ("15", Signal.NAK),
        ("18", Signal.CAN),
    ],
)
def test_known_frames(wire: str, frame: Frame) -> None:
    assert encode(frame) == bytes.fromhex(wire)
    assert Decoder().feed(bytes.fromhex(wire), 0.0) == [frame]


@given(FRAMES, st.lists(st.integers(1, 40), min_size=1))
def test_any_split_yields_the_same_frames(frames: list[Frame], cuts: list[int]) -> None:
    wire = b"".join(map(encode, frames))
    decoder, found, at = Decoder(), [], 0
    while at < len(wire):
        for cut in cuts:
            found += decoder.feed(wire[at : at + cut], 0.0)
            at += cut
    assert found == frames
    assert not decoder.receiving


@given(DATA, st.binary().map(lambda noise: bytes(b for b in noise if b not in (0x01, 0x06, 0x15, 0x18))))
def test_garbage_between_frames_is_counted(frame: Data, noise: bytes) -> None:
    decoder = Decoder()
    assert decoder.feed(noise + encode(frame) + noise, 0.0) == [frame]
    assert decoder.problems.garbage == 2 * len(noise)


@given(DATA, st.data())
def test_one_flipped_bit_is_never_a_frame(frame: Data, data: st.DataObject) -> None:
    wire = bytearray(encode(frame))
    wire[data.draw(st.integers(2, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert Decoder().feed(bytes(wire), 0.0) == [Damaged()]


def test_a_slow_reception_is_dropped_without_a_nak_and_the_next_frame_is_read() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x01\x20\x00", 10.0) == []
    assert decoder.deadline == 10.0 + RECEPTION_TIMEOUT
    assert not decoder.abort(11.4)
    assert decoder.feed(encode(Data(Type.REQUEST, 0x07)), 11.6) == [Data(Type.REQUEST, 0x07)]
    assert decoder.problems.aborted == 1


def test_an_impossible_length_is_skipped_and_its_byte_is_read_anew() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x01\x01\x03\x00\x07\xfb", 0.0) == [Data(Type.REQUEST, 0x07)]
    assert decoder.problems.length == 1


def test_a_frame_of_unknown_type_is_counted() -> None:
    decoder = Decoder()
    assert decoder.feed(bytes((1, 3, 7, 9, 0xFF ^ 3 ^ 7 ^ 9)), 0.0) == []
    assert decoder.problems.type == 1


def test_a_payload_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="252"):
        encode(Data(Type.REQUEST, 1, bytes(253)))


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_are_survived_in_bounded_memory(chunks: list[bytes]) -> None:
    decoder = Decoder()
    for chunk in chunks:
        decoder.feed(chunk, 0.0)
        assert len(decoder._buffer) <= 255
