"""The codec of SMP and MCUboot's images: what is written reads back, and nothing that comes is taken for more than it is."""

import hashlib
import struct
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.driver import version_number
from drivers.ble import mcuboot, smp
from drivers.ble.mcuboot import ImageError
from drivers.ble.smp import Packet, Reassembly, SmpError
from tests.ble_update_rig import NEW, NEW_VERSION, body
from tests.ble_update_rig import mcuboot as image
from tests.conftest import examples

PACKETS = st.builds(
    Packet,
    st.integers(0, 3),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFF),
    st.integers(0, 0xFF),
    st.fixed_dictionaries({}, optional={"off": st.integers(0, 2**32), "data": st.binary(max_size=40)}),
    st.integers(0, 3),
)


@examples(0.5)
@given(st.lists(PACKETS, max_size=3), st.lists(st.integers(0, 400), max_size=6))
def test_packets_come_back_from_whatever_pieces_they_are_sent_in(packets: list[Packet], cuts: list[int]) -> None:
    stream = b"".join(packet.encoded() for packet in packets)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = Reassembly()
    found = [packet for start, end in pairwise(places) for packet in pieces.feed(stream[start:end])]
    assert found == packets


@examples(4)
@given(st.binary(max_size=60))
def test_any_octets_are_packets_or_refused(data: bytes) -> None:
    with suppress(SmpError):
        packet = smp.decode(data)
        with suppress(SmpError):
            smp.read(smp.Slots, packet)
        assert isinstance(smp.refusal(packet), str)
    with suppress(SmpError):
        Reassembly().feed(data)


def test_a_length_that_nobody_sends_is_refused_before_its_body_comes() -> None:
    with pytest.raises(SmpError, match="65535 octets"):
        Reassembly().feed(struct.pack("!BBHHBB", 1, 0, 0xFFFF, 1, 0, 0))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, ""),
        ({"rc": 0}, ""),
        ({"rc": 8}, "it does not know the command"),
        ({"err": {"group": 1, "rc": 23}}, "this is no MCUboot image"),
        ({"err": {"group": 0, "rc": 10}}, "it is busy"),
        ({"err": {"group": 1, "rc": 999}}, "error 999"),
        ({"err": {"group": 1, "rc": "no"}}, "an error that cannot be read"),
    ],
)
def test_errors_of_both_versions_have_words(body: dict[str, Any], says: str) -> None:
    assert smp.refusal(Packet(smp.WRITE_ANSWER, 1, 1, 0, body)) == says


@examples(2)
@given(st.integers(130, 509), st.integers(33, 4000), st.integers(0, 1))
def test_parts_fit_the_connection_and_make_up_the_image(room: int, size: int, number: int) -> None:
    whole, got, sequence = body(size), b"", 0
    while len(got) < size:
        packet = smp.part(sequence, whole, len(got), room, number, hashlib.sha256(whole).digest())
        assert len(packet.encoded()) <= room
        told = smp.read(smp.Part, smp.decode(packet.encoded()))
        assert told.off == len(got)
        assert (told.len == size and told.image == number) if not got else told.len is None
        got += told.data
    assert got == whole


@pytest.mark.parametrize("room", [20, 60, 90])
def test_a_connection_that_is_too_narrow_is_refused(room: int) -> None:
    with pytest.raises(SmpError, match="too few"):
        smp.part(0, body(), 0, room, 0, bytes(32))


# ---- MCUboot --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0x10, 0x11, 0x12])
def test_an_image_tells_its_version_and_hash(kind: int) -> None:
    told = mcuboot.parse(image(kind=kind))
    assert (told.version, told.number) == (NEW_VERSION, NEW)
    assert image(kind=kind).endswith(told.hash)


@examples(2)
@given(st.data())
def test_an_image_with_any_octet_changed_or_cut_off_is_no_image(data: st.DataObject) -> None:
    whole = image(body(200), header=32)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(changed), whole[:place]):
        with pytest.raises(ImageError):
            mcuboot.parse(wrong)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.2.3", 0x01020003),
        ("v1.2.3", 0x01020003),
        ("1.2.3.4", 0x01020003),
        ("1.2.3+9", 0x01020003),
        ("2.0", 0x02000000),
        ("255.255.65535", 0xFFFFFFFF),
        ("256.0.0", None),
        ("1.0.65536", None),
        ("one", None),
        ("", None),
    ],
)
def test_versions_are_numbers_that_a_release_compares(text: str, number: int | None) -> None:
    assert version_number(text) == number
