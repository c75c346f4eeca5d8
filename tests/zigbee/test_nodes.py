from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.zigbee.nodes import NodeBook, Remembered, Stick, Strangers, free_node_id


def test_a_node_id_outlives_the_short_address(tmp_path: Path) -> None:
    book = NodeBook.load(tmp_path / "nodes.json")
    assert book.device("aa", 0x539D, 0x4A1D).node_id == "zb.539D+4A1D"
    assert book.device("aa", 0x539D, 0x1111).node_id == "zb.539D+4A1D"
    book.device("aa", 0, 0).secure = True
    book.stick = Stick("00:12:4b:00:00:00:00:01", "/dev/ttyUSB0", "znp")
    book.save()
    again = NodeBook.load(tmp_path / "nodes.json")
    assert (again.devices, again.stick) == (book.devices, book.stick)
    assert again.devices["aa"] == Remembered("zb.539D+4A1D", secure=True)


def test_an_address_that_is_given_again_makes_another_node_id(tmp_path: Path) -> None:
    book = NodeBook.load(tmp_path / "nodes.json")
    assert book.device("aa", 0x539D, 0xFFFF).node_id == "zb.539D+FFFF"
    assert book.device("bb", 0x539D, 0xFFFF).node_id == "zb.539D+0000"


@given(st.lists(st.integers(0, 0xFFFF), max_size=40))
def test_node_ids_are_never_given_twice(addresses: list[int]) -> None:
    taken: list[str] = []
    for address in addresses:
        taken.append(free_node_id(0x1234, address, taken))
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "{}", '{"stick": {}, "devices": {"aa": {"x": 1}}}', '{"stick": 1, "devices": 2}']
)
def test_a_damaged_book_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(damage)
    with pytest.raises(ValueError):
        NodeBook.load(path)


def test_a_window_for_one_device_admits_it_and_those_that_are_known() -> None:
    strangers = Strangers()
    assert strangers.admit("aa", known=False)
    strangers.expected = "bb"
    assert strangers.admit("bb", known=False)
    assert strangers.admit("cc", known=True)
    assert not strangers.admit("dd", known=False)
    assert strangers.seen == {"dd"}
