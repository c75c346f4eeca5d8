"""SenML in JSON and CBOR, TLV and plain text: the examples of RFC 8428 and LwM2M, cbor2 as a foreign encoder, and any bytes."""

import json
import math
from contextlib import suppress
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import cbor
from drivers.coap.values import (
    BIGGEST,
    SENML_CBOR,
    SENML_JSON,
    TEXT,
    TLV,
    ContentError,
    Raw,
    Reading,
    decode,
    encode,
    plain,
    typed,
)

NAMES = ("bver", "bn", "bt", "bu", "bv", "bs", "n", "u", "v", "vs", "vb", "s", "t", "ut", "vd")
LABELS = dict(zip(NAMES, (-1, -2, -3, -4, -5, -6, 0, 1, 2, 3, 4, 5, 6, 7, 8), strict=True))
# RFC 8428, 5.1.2 and 5.1.3, and 6 with table 6 for the CBOR
PACK: list[dict[str, Any]] = [
    {
        "bn": "urn:dev:ow:10e2073a0108006:",
        "bt": 1.276020076001e09,
        "bu": "A",
        "bver": 5,
        "n": "voltage",
        "u": "V",
        "v": 120.1,
    },
    {"n": "current", "t": -5, "v": 1.2},
    {"n": "current", "t": -4, "v": 1.3},
]
READ = (
    Reading(120.1, "urn:dev:ow:10e2073a0108006:voltage", "V"),
    Reading(1.2, "urn:dev:ow:10e2073a0108006:current", "A"),
    Reading(1.3, "urn:dev:ow:10e2073a0108006:current", "A"),
)


def as_cbor(pack: list[dict[str, Any]]) -> bytes:
    return cbor2.dumps([{LABELS.get(name, name): value for name, value in record.items()} for record in pack])


def test_the_examples_of_the_rfc_in_both_forms() -> None:
    assert decode(json.dumps(PACK).encode(), SENML_JSON) == READ
    assert decode(as_cbor(PACK), SENML_CBOR) == READ


def test_the_bytes_of_the_rfc() -> None:
    """RFC 8428, section 6, first record's head as printed there; half floats and decimal fractions are numbers too."""
    assert decode(bytes.fromhex("81a200646e616d6502f94900"), SENML_CBOR) == (Reading(10.0, "name"),)
    assert decode(bytes.fromhex("81a102c48221196ab3"), SENML_CBOR) == (Reading(273.15),)


def test_values_of_every_kind() -> None:
    pack = [
        {"vb": True},
        {"n": "a", "vs": "x"},
        {"bv": 20, "n": "b", "v": 1.5},
        {"n": "c", "vd": "AA"},
        {"n": "d", "s": 1},
    ]
    assert decode(json.dumps(pack).encode(), SENML_JSON) == (Reading(True), Reading("x", "a"), Reading(21.5, "b"))


@pytest.mark.parametrize(
    "pack",
    [
        {}, [1], [{"v": "1"}], [{"v": True}], [{"v": 1, "vb": True}], [{"vb": 1}], [{"vs": 1}], [{"n": 1, "v": 1}],
        [{"bver": 11, "v": 1}], [{"n": "a b", "v": 1}], [{"n": "ü", "v": 1}], [{"new_": 1, "v": 1}], [{"n": "x" * 300, "v": 1}],
        [{"vs": "x" * 300}],
    ],
)  # fmt: skip
def test_what_is_no_senml_is_refused(pack: Any) -> None:
    with pytest.raises(ContentError):
        decode(json.dumps(pack).encode(), SENML_JSON)
    if isinstance(pack, list):
        with pytest.raises(ContentError):
            decode(as_cbor(pack) if all(isinstance(r, dict) for r in pack) else cbor2.dumps(pack), SENML_CBOR)


@pytest.mark.parametrize(
    "text",
    [
        b'[{"v":NaN}]',
        b'[{"v":1e999}]',
        b"[" * 5000,
        b"\xff",
        b"",
        b'[{"v":-Infinity}]',
        b'[{"v":' + b"9" * 5000 + b"}]",
    ],
)
def test_json_that_is_none(text: bytes) -> None:
    with pytest.raises(ContentError):
        decode(text, SENML_JSON)


@pytest.mark.parametrize(
    "data",
    ["", "9f", "81", "81a1", "9bffffffffffffffff", "5bffffffffffffffff", "81a102c482", "81a102c4821b7fffffffffffffff01",
     "81a102c24101", "81a102fb7ff0000000000000", "81a102fb7ff8000000000000", "ff", "80ff", "81a2020102", "81a2020102 02".replace(" ", ""),
     "81a1f601", "81818181818181", "a0", "1c", "81a103617f61ff"],
)  # fmt: skip
def test_cbor_that_is_no_senml(data: str) -> None:
    with pytest.raises(ContentError):
        decode(bytes.fromhex(data), SENML_CBOR)


def test_plain_text() -> None:
    assert [plain(t) for t in (b"21.5", b" -3\n", b"1e2", b".5", b"true", b"Cel", b"")] == [
        21.5,
        -3.0,
        100.0,
        0.5,
        True,
        "Cel",
        "",
    ]
    for bad in (b"\xff", b"a\x00b", b"x" * 300, b"1e999"):
        with pytest.raises(ContentError):
            plain(bad)
    assert plain(b"nan") == "nan"  # a text, and then no number of any capability


def test_tlv() -> None:
    """LwM2M 1.0, 6.4.3.1: the device object as its table 24 has it, in part; and a float resource of our own."""
    device = b"\xc8\x00\x14Open Mobile Alliance\xc8\x01\x16Lightweight M2M Client\xc1\x09d"
    assert decode(device, TLV) == (
        Raw(b"Open Mobile Alliance", "0"),
        Raw(b"Lightweight M2M Client", "1"),
        Raw(b"d", "9"),
    )
    (value,) = decode(bytes.fromhex("e4164441ac0000"), TLV)
    assert isinstance(value, Raw)
    assert (value.name, typed(value, float)) == ("5700", 21.5)
    assert typed(Raw(b"\x01", "5850"), bool) is True
    assert typed(Raw(b"\0\0\1\0", "5501"), int) == 256.0
    assert decode(bytes.fromhex("8606410001410105"), TLV) == (Raw(b"\1", "6"), Raw(b"\5", "6"))


def test_what_is_written() -> None:
    assert [encode(v, TEXT) for v in (True, False, 50.0, 21.25, "on")] == [b"1", b"0", b"50", b"21.25", b"on"]
    assert decode(encode(True, SENML_JSON), SENML_JSON) == (Reading(True),)
    assert decode(encode(21.5, SENML_JSON), SENML_JSON) == (Reading(21.5),)


def test_contents_are_bounded() -> None:
    for kind in (TEXT, SENML_JSON, SENML_CBOR, TLV):
        with pytest.raises(ContentError, match="at most"):
            decode(b"1" * (BIGGEST + 1), kind)
    with pytest.raises(ContentError, match="not known"):
        decode(b"1", 50)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(
    NUMBERS.map(lambda v: {"v": v}),
    st.booleans().map(lambda v: {"vb": v}),
    st.text(max_size=20).map(lambda v: {"vs": v}),
)
RECORDS = st.tuples(st.text("abc09-_.:", max_size=8), VALUES).map(lambda t: {"n": f"a{t[0]}", **t[1]})


@given(st.lists(RECORDS, max_size=8))
@settings(max_examples=100, deadline=None)
def test_json_and_cbor_say_the_same(pack: list[dict[str, Any]]) -> None:
    expected = tuple(Reading(r.get("v", r.get("vb", r.get("vs"))), r["n"]) for r in pack)
    assert decode(json.dumps(pack).encode(), SENML_JSON) == expected
    assert decode(as_cbor(pack), SENML_CBOR) == expected


@given(st.binary(max_size=120), st.sampled_from([None, TEXT, SENML_JSON, SENML_CBOR, TLV]))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_values_or_a_reason(data: bytes, kind: int | None) -> None:
    readings: tuple[Reading | Raw, ...] = ()
    with suppress(ContentError):
        readings = decode(data, kind)
    for reading in readings:
        if isinstance(reading, Reading):
            assert not isinstance(reading.value, float) or math.isfinite(reading.value)
            assert len(reading.name) <= 256
        else:
            for sort in (bool, int, float, str):
                with suppress(ContentError):
                    typed(reading, sort)


PLAIN_CBOR = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), NUMBERS, st.text(max_size=9), st.binary(max_size=9)
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(-9, 9) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(PLAIN_CBOR)
@settings(max_examples=200, deadline=None)
def test_cbor_is_read_as_a_foreign_library_wrote_it(value: Any) -> None:
    whole = cbor2.dumps(value)
    if depth(value) > cbor.DEEPEST:
        with pytest.raises(cbor.CborError, match="too deep"):
            cbor.loads(whole)
    else:
        assert cbor.loads(whole) == value


WRITTEN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.text(max_size=9) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(WRITTEN)
@settings(max_examples=50, deadline=None)
def test_cbor_is_written_as_a_foreign_library_writes_it(value: Any) -> None:
    assert cbor.dumps(value) == cbor2.dumps(value)


@pytest.mark.parametrize(("value", "error"), [(2**64, OverflowError), (-(2**64) - 1, OverflowError), (1.5, TypeError)])
def test_what_is_not_written_in_cbor_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        cbor.dumps([value])


def depth(value: Any) -> int:
    inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + max(map(depth, inner)) if inner else 0


@given(PLAIN_CBOR, st.data())
@settings(max_examples=200, deadline=None)
def test_cut_and_bent_cbor_is_refused_or_read(value: Any, data: st.DataObject) -> None:
    whole = bytearray(cbor2.dumps(value))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    for bad in (bytes(whole), cbor2.dumps(value)[:place]):
        with suppress(cbor.CborError):
            cbor.loads(bad)
