"""What a gateway of nRF Cloud tells of GATT and adverts: trees of services that fit a message, and adverts as octets."""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.nrf_gateway import dialect_of
from agent.cloud.nrf_gateway_values import MOST_ATTRIBUTES, MOST_VALUES, is_beacon, octets, places, scan_result, tree
from agent.wire import nrf_gateway as wire

ADDRESS = "AA:BB:CC:DD:EE:FF"
NORDIC = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
JS, LTE = dialect_of("gateway", "hub-1"), dialect_of("lte", "hub-1")


@dataclass(frozen=True)
class Desc:
    uuid: str


@dataclass(frozen=True)
class Char:
    uuid: str
    handle: int
    flags: frozenset[str] = frozenset({"read"})
    descriptors: tuple[Desc, ...] = ()


@dataclass(frozen=True)
class Serv:
    uuid: str
    characteristics: tuple[Char, ...]


@dataclass(frozen=True)
class Heard:
    address: str = ADDRESS
    rssi: int = -50
    name: str = ""
    manufacturer: dict[int, bytes] = field(default_factory=dict)
    service_data: dict[str, bytes] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    address_type: str = "public"


def full(number: str) -> str:
    return f"0000{number}-0000-1000-8000-00805f9b34fb"


def test_services_become_a_tree_in_which_2902_is_always_there_where_something_notifies() -> None:
    flags = frozenset(
        {"read", "notify", "write-without-response", "authenticated-signed-writes", "extended-properties"}
    )
    level = Char(full("2a19"), 3, flags, (Desc(full("2901")),))
    found = places((Serv(full("180f"), (level, Char(full("2a19"), 9))), Serv(NORDIC, (Char(NORDIC, 12),))))
    assert [place.characteristic.handle for place in found] == [3, 12], "the first of two of one name"
    values = {("180F", "2A19"): b"\x5a", ("180F", "2A19", "2901"): b"l", ("180F", "2A19", "2902"): b"\x01\x00"}
    made = {name: node.wire() for name, node in tree(found, values, JS).items()}
    assert made["180F"] == {
        "uuid": "180F",
        "characteristics": {
            "2A19": {
                "uuid": "2A19",
                "path": "180F/2A19",
                "value": [90],
                "properties": {
                    "read": True,
                    "notify": True,
                    "writeWithoutResponse": True,
                    "authorizedSignedWrite": True,
                },
                "descriptors": {
                    "2901": {"uuid": "2901", "path": "180F/2A19/2901", "value": [108]},
                    "2902": {"uuid": "2902", "path": "180F/2A19/2902", "value": [1, 0]},
                },
            }
        },
    }
    (plain,) = made[NORDIC.replace("-", "").upper()]["characteristics"].values()
    assert (plain["value"], plain["descriptors"]) == ([], {})
    (zero,) = tree(found, {}, LTE)["180F"].wire()["characteristics"].values()
    assert zero["value"] == [0]


def test_a_tree_has_an_end_and_fits_a_message() -> None:
    flags = frozenset(("read", "write", "notify", "indicate", "write-without-response"))
    for descriptors in ((), (Desc(NORDIC.replace("6e", "7e")),)):
        many = tuple(
            Char(f"{number:08x}-b5a3-f393-e0a9-e50e24dcca9e", number, flags, descriptors) for number in range(400)
        )
        found = places((Serv(NORDIC, many),))
        made = tree(found, {place.path: b"\xff" * 512 for place in found}, JS)
        (service,) = made.values()
        values = [len(one.value) for one in service.characteristics.values()]
        assert (len(values), sum(values)) == (MOST_ATTRIBUTES // (2 + len(descriptors)), MOST_VALUES)
        whole = wire.Discovered(device=JS.peer(ADDRESS, "public", connected=True), services=made)
        assert len(json.dumps(JS.envelope(whole.wire(), "2023-11-14T22:13:20.500Z", 1))) < 131_072


def test_an_advert_is_told_as_the_octets_that_it_may_have_been() -> None:
    beacon = Heard(name="ab", manufacturer={0x4C: b"\x02\x15"}, services=(full("180f"), NORDIC))
    data = octets(beacon)
    assert data == bytes.fromhex("03096162 03030f18") + b"\x11\x07" + bytes.fromhex(NORDIC.replace("-", ""))[
        ::-1
    ] + bytes.fromhex("05ff4c000215")
    result = scan_result(beacon, JS).wire()
    assert (result["advertisementData"], result["serviceUUIDs"][0]) == (list(data), "180F")
    assert scan_result(beacon, LTE).wire() == {
        "deviceType": "BLE",
        "name": "ab",
        "rssi": -50,
        "address": {"address": ADDRESS},
    }
    assert [is_beacon(one) for one in (beacon, Heard(), Heard(service_data={full("feaa"): b""}))] == [True, False, True]


@given(
    st.text(max_size=8),
    st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=300), max_size=3),
    st.dictionaries(st.sampled_from([full("fcd2"), NORDIC]), st.binary(max_size=40)),
)
def test_any_advert_is_a_row_of_whole_structures(name: str, manufacturer: Any, service_data: Any) -> None:
    data = octets(Heard(name=name, manufacturer=manufacturer, service_data=service_data))
    while data:
        assert 1 <= data[0] < len(data)
        data = data[data[0] + 1 :]
