"""The reader of Zigbee OTA files: limits, and whatever else a file may hold."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from zigbee_ota_rig import body, element, image

from drivers.zigbee import ota_image
from drivers.zigbee.ota_image import CANDIDATES, ELEMENTS, MAGIC, ImageError, parse

PLAIN = image(hardware=(1, 3))


@given(st.binary(max_size=400))
@example(MAGIC)
@example(MAGIC * 40)
def test_any_bytes_are_an_image_or_an_image_error(data: bytes) -> None:
    try:
        found = parse(data)
    except ImageError:
        return
    assert found.data in data


@given(st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), min_size=1, max_size=8), st.data())
def test_a_damaged_image_is_read_within_its_bounds_or_refused(
    damage: list[tuple[int, int]], more: st.DataObject
) -> None:
    data = bytearray(PLAIN)
    for at, value in damage:
        data[at] = value
    cut = bytes(data[: more.draw(st.integers(0, len(data)))])
    try:
        found = parse(cut)
    except ImageError:
        return
    assert len(found.data) == found.header.size <= len(cut)
    assert sum(len(part.data) for part in found.elements) <= found.header.size - found.header.length


def test_what_a_hardware_range_lets_in() -> None:
    header = parse(PLAIN).header
    assert [header.suits(version) for version in (0, 1, 3, 4, None)] == [False, True, True, False, True]
    assert parse(image()).header.suits(7)


def test_a_file_is_read_in_bounded_time() -> None:
    """Neither places nor elements are tried without end."""
    hidden = MAGIC * CANDIDATES + PLAIN
    with pytest.raises(ImageError, match="no Zigbee OTA image, at 0"):
        parse(hidden)
    with pytest.raises(ImageError, match="more than"):
        parse(image(elements=element(0, b"") * (ELEMENTS + 1)))
    assert len(parse(image(elements=element(0, b"") * ELEMENTS)).elements) == ELEMENTS


def test_a_file_that_is_too_large_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ota_image, "LARGEST", len(PLAIN) - 1)
    with pytest.raises(ImageError, match="too many"):
        parse(PLAIN)


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (4, struct.pack("<H", 0x0200), "header version"),
        (6, struct.pack("<H", 59), "does not hold what it names"),
        (6, struct.pack("<H", 0xFFFF), "does not hold what it names"),
        (52, struct.pack("<I", 0xFFFFFFFF), "are announced"),
        (60, struct.pack("<H", 0xF000), "goes beyond the end"),
    ],
)
def test_a_header_that_lies_is_refused_with_the_reason(at: int, value: bytes, reason: str) -> None:
    broken = PLAIN[:at] + value + PLAIN[at + len(value) :]
    with pytest.raises(ImageError, match=reason):
        parse(broken, "it.ota")


def test_a_maker_may_make_its_header_longer() -> None:
    """zigpy and herdsman trust the length that the header tells, too."""
    longer = bytearray(image(body(64)))
    longer[6:8], longer[52:56] = struct.pack("<H", 60), struct.pack("<I", len(longer) + 4)
    data = bytes(longer[:56]) + b"more" + bytes(longer[56:])
    assert parse(data).elements[0].data == body(64)
