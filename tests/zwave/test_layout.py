"""The engine of declared layouts, by layouts of its own."""

import pytest

from drivers.zwave.layout import (
    Array,
    Bits,
    Bytes,
    Context,
    Layout,
    LayoutError,
    Node,
    Since,
    Switch,
    When,
    i8,
    rest,
    u8,
    u16,
    u24,
)
from drivers.zwave.layout_values import Joined, Mask, Present, SizedInt, Sub, Text

WIDE = Context(wide=True)


def test_numbers_and_node_ids() -> None:
    layout = Layout(u8("a"), i8("b"), u24("c"), Node("node"))
    assert layout.encode({"a": 1, "b": -2, "c": 3, "node": 4}).hex() == "01fe00000304"
    assert layout.encode({"a": 1, "b": -2, "c": 3, "node": 260}, WIDE).hex() == "01fe0000030104"
    assert layout.decode(bytes.fromhex("01fe0000030104"), WIDE) == ({"a": 1, "b": -2, "c": 3, "node": 260}, b"")
    with pytest.raises(LayoutError, match="node"):
        layout.encode({"a": 1, "b": -2, "c": 3, "node": 260})


def test_lengths_are_computed_and_hidden() -> None:
    layout = Layout(Bits("flag:1 _size:7"), Bytes("data", "_size"), rest("rest"))
    assert layout.encode({"flag": True, "data": b"ab", "rest": b"c"}).hex() == "82616263"
    assert layout.decode(bytes.fromhex("82616263")) == ({"flag": True, "data": b"ab", "rest": b"c"}, b"")
    with pytest.raises(LayoutError, match="_size"):
        layout.encode({"flag": 0, "data": bytes(128), "rest": b""})
    with pytest.raises(LayoutError, match="data: 2 bytes expected, 1 left"):
        layout.decode(bytes.fromhex("8261"))


def test_lists_see_what_came_before() -> None:
    layout = Layout(u8("size"), u8("_count"), Array("values", SizedInt("", "size"), count="_count"))
    assert layout.encode({"size": 2, "values": [1, -1]}).hex() == "02020001ffff"
    assert layout.decode(bytes.fromhex("02020001ffff"))[0]["values"] == [1, -1]
    nested = Layout(u8("_count"), Array("items", u8("_size"), Text("name", "_size"), count="_count"))
    data = nested.encode({"items": [{"name": "a"}, {"name": "bcd"}]})
    assert data.hex() == "02016103626364"
    assert nested.decode(data)[0] == {"items": [{"name": "a"}, {"name": "bcd"}]}
    with pytest.raises(LayoutError, match="2 expected, not 1"):
        Layout(Array("x", u8(""), count=2)).encode({"x": [1]})


def test_an_empty_element_does_not_loop_for_ever() -> None:
    assert Layout(Array("x", Bytes("", 0))).decode(b"abc") == ({"x": []}, b"abc")


def test_optional_ends() -> None:
    layout = Layout(u8("a"), Since(2, u16("b")), Since(3, u8("c")))
    assert layout.decode(b"\1") == ({"a": 1}, b"")
    assert layout.decode(b"\1\2") == ({"a": 1}, b"\2")
    assert layout.decode(b"\1\0\2\3\4") == ({"a": 1, "b": 2, "c": 3}, b"\4")
    assert layout.encode({"a": 1, "b": 2, "c": 3}, Context(version=2)) == b"\1\0\2"
    with pytest.raises(LayoutError, match="c needs b before it"):
        layout.encode({"a": 1, "c": 3})


def test_masks() -> None:
    layout = Layout(u8("_size"), Mask("numbers", "_size", first=1))
    assert layout.encode({"numbers": [1, 9, 24]}).hex() == "03010180"
    assert layout.decode(bytes.fromhex("03010180"))[0] == {"numbers": [1, 9, 24]}
    assert layout.encode({"numbers": []}).hex() == "00"
    with pytest.raises(LayoutError, match="start at 1"):
        layout.encode({"numbers": [0]})
    with pytest.raises(LayoutError, match="2 bytes expected, not 3"):
        Layout(Mask("numbers", 2)).encode({"numbers": [20]})


def test_conditions_variants_and_split_numbers() -> None:
    layout = Layout(
        Bits("_high:1 _more:1 _low:2 kind:4"),
        Joined("scale", ("_high", 1), ("_low", 2)),
        Present("_more", "extra"),
        When(lambda values: values["_more"], u8("extra")),
        Switch("kind", {1: u8("x"), 2: Sub("inner", u8("y"))}),
    )
    for values, data in (
        ({"kind": 1, "scale": 5, "x": 7}, "9107"),
        ({"kind": 1, "scale": 2, "extra": 9, "x": 7}, "610907"),
        ({"kind": 2, "scale": 0, "inner": {"y": 7}}, "0207"),
        ({"kind": 3, "scale": 0, "data": b"\7\7"}, "030707"),
    ):
        assert layout.encode(values).hex() == data
        assert layout.decode(bytes.fromhex(data)) == (values, b"")
    with pytest.raises(LayoutError, match="too large"):
        layout.encode({"kind": 1, "scale": 8, "x": 7})


def test_text_survives_whatever_it_was() -> None:
    layout = Layout(Text("name", None))
    assert layout.encode(layout.decode(b"\xff\xfe ok")[0]) == b"\xff\xfe ok"
    assert Layout(Text("name", 4)).encode({"name": "ab"}) == b"ab\0\0"
    assert Layout(Text("name", 4)).decode(b"ab\0\0")[0] == {"name": "ab"}
    with pytest.raises(LayoutError):
        Layout(Text("name", 2)).encode({"name": "abc"})


def test_a_table_with_half_a_byte_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Bits("a:3")
