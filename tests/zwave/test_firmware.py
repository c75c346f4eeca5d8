"""Fragments of a firmware image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.codec import CodecError, make
from drivers.zwave.firmware import Fragment, encode, image_checksum, parse

FRAGMENTS = st.builds(Fragment, st.integers(1, 0x7FFF), st.booleans(), st.binary(max_size=60))


@given(FRAGMENTS, st.integers(1, 8))
def test_fragments_come_back(fragment: Fragment, version: int) -> None:
    assert parse(encode(fragment, version), version) == fragment


@given(FRAGMENTS, st.data())
def test_a_changed_bit_is_noticed(fragment: Fragment, data: st.DataObject) -> None:
    report = bytearray(encode(fragment, 2))
    report[data.draw(st.integers(2, len(report) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CodecError):
        parse(bytes(report), 2)


def test_other_commands_are_no_fragments() -> None:
    for wrong in (make("Basic Get"), b"\x7a\x06", b"", b"\x7a\x06\x00\x01\x02"):
        with pytest.raises(CodecError):
            parse(wrong, 2)


def test_the_checksum_of_an_image() -> None:
    assert image_checksum(b"123456789") == 0xE5CC
