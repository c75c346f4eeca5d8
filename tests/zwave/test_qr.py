"""DSKs and QR codes as people and scanners give them."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zwave.security import dsk
from drivers.zwave.security.classes import SecurityClass, SecurityError, classes, mask
from drivers.zwave.security.qr import compose, parse

KEY = bytes(range(0x10, 0x20))
TEXT = "04113-04627-05141-05655-06169-06683-07197-07711"
TLVS = [(0, "0409700256"), (1, "00001000020000300260"), (2, "05"), (3, "00" + "00001" * 8), (4, "3")]


def test_a_printed_dsk() -> None:
    assert dsk.to_text(KEY) == TEXT
    for text in (
        TEXT,
        f" {TEXT} ",
        TEXT.replace("-", ""),
        f"zws2dsk:{TEXT}",
        f"ZWS2DSK:{TEXT}",
        TEXT.replace("-", " "),
    ):
        assert dsk.from_text(text) == KEY
    for wrong in ("", TEXT[:-1], TEXT + "1", TEXT.replace("04113", "65536"), TEXT.replace("0", "O")):
        with pytest.raises(SecurityError):
            dsk.from_text(wrong)


def test_a_pin() -> None:
    assert dsk.pin("04113") == KEY[:2]
    for wrong in ("4113", "65536", "0411a", "041130"):
        with pytest.raises(SecurityError):
            dsk.pin(wrong)


def test_the_home_ids_of_smart_start() -> None:
    assert dsk.nwi_home_id(KEY).hex() == "d8191a1a"
    assert dsk.auth_home_id(KEY).hex() == "1c1d1e1f"


def test_a_whole_code() -> None:
    code = parse(compose(0x87, KEY, TLVS))
    assert code.smart_start
    assert (code.keys, code.dsk) == (0x87, KEY)
    assert (code.generic, code.specific, code.installer_icon) == (16, 1, 256)
    assert (code.manufacturer, code.product_type, code.product, code.version) == (1, 2, 3, (1, 4))
    assert code.max_inclusion_interval == 640
    assert code.uuid == b"\0\1" * 8
    assert code.protocols == 3
    assert not parse(compose(1, KEY, [], smart_start=False)).smart_start


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_around_the_code_does_not_matter(before: str, after: str) -> None:
    assert parse(before + " " + compose(3, KEY, TLVS) + after).dsk == KEY


def test_junk_that_labels_add() -> None:
    text = compose(3, KEY, TLVS[:2])
    for noisy in (text + ".9999", text + "9999", text + "90", "90" + text, "\n".join((text[:30], text[30:]))):
        assert parse(noisy).product == 3


@given(st.integers(9, 80), st.integers(1, 9))
def test_a_changed_digit_is_noticed(place: int, by: int) -> None:
    digits = list(compose(3, KEY, TLVS[:2]))
    digits[place] = str((int(digits[place]) + by) % 10)
    with pytest.raises(SecurityError):
        parse("".join(digits))


@given(st.one_of(st.text(), st.from_regex(r"90[0-9]{50,120}", fullmatch=True)))
def test_any_text_raises_only_the_typed_error(text: str) -> None:
    with pytest.raises(SecurityError):
        parse(text)


def test_what_is_unknown_is_kept_unless_it_is_critical() -> None:
    assert parse(compose(1, KEY, [(9, "123")])).unknown == {9: "123"}
    assert parse(compose(1, KEY, [(3, "0012")])).unknown == {3: "0012"}
    with pytest.raises(SecurityError, match="type 10"):
        parse(critical(10))


def critical(kind: int) -> str:
    plain = compose(1, KEY, [(kind, "1")])
    body = plain[9:-5] + f"{kind << 1 | 1:02d}" + plain[-3:]
    checksum = int.from_bytes(hashlib.sha1(body.encode()).digest()[:2], "big")  # noqa: S324
    return f"9001{checksum:05d}{body}"


def test_key_masks() -> None:
    assert classes(0x87)[0] is SecurityClass.S2_ACCESS_CONTROL
    assert mask(classes(0x87)) == 0x87
    assert classes(0xFF, long_range=True) == (SecurityClass.S2_ACCESS_CONTROL_LR, SecurityClass.S2_AUTHENTICATED_LR)
    assert SecurityClass.TEMPORARY.bit == 0
