"""EZSP: the codec of every declared frame."""

import pytest
from ezsp_host import LAYOUTS, values_of
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.zigbee.ezsp_tables import (
    CALLBACKS,
    COMMANDS,
    Command,
    EzspError,
    EzspStatus,
    Values,
    blank,
    build_callback,
    build_command,
    build_response,
    decode,
    encode,
    parse_command,
)


@given(st.sampled_from(LAYOUTS).flatmap(lambda layout: st.tuples(st.just(layout), values_of(layout))))
def test_every_layout_comes_back_as_it_went(case: tuple[str, Values]) -> None:
    layout, values = case
    data = encode(layout, values)
    assert decode(layout, data) == values
    if not layout.endswith("[]"):
        assert decode(layout, data + b"tail") == values


@given(st.sampled_from(LAYOUTS).flatmap(lambda layout: st.tuples(st.just(layout), values_of(layout))), st.data())
def test_a_cut_frame_is_told_from_a_whole_one(case: tuple[str, Values], draw: st.DataObject) -> None:
    layout, values = case
    data = encode(layout, values)
    if not data or layout.endswith("[]"):
        return
    with pytest.raises(EzspError) as caught:
        decode(layout, data[: draw.draw(st.integers(0, len(data) - 1))])
    assert caught.value.status == EzspStatus.TRUNCATED


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.binary(max_size=60), st.booleans())
def test_both_headers_come_back_as_they_went(sequence: int, frame_id: int, arguments: bytes, extended: bool) -> None:  # noqa: FBT001
    command = Command(sequence, frame_id if extended else frame_id & 0xFC, arguments, extended)
    assert parse_command(build_command(command)) == command
    assert build_response(command, b"xyz")[-3:] == b"xyz"


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_are_marked_asynchronous(name: str) -> None:
    payload = build_callback(name, 9, blank(CALLBACKS[name][1]))
    assert payload[:3] == bytes((9, 0x90, 1))


def test_frame_ids_are_unique() -> None:
    ids = [frame_id for frame_id, *_layouts in (*COMMANDS.values(), *CALLBACKS.values())]
    assert len(set(ids)) == len(ids)
