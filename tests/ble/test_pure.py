"""The small machines of the Bluetooth driver by plain calls: repetition, presence, silence, pace, material, book."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.driver import InvalidParameters
from agent.model import Availability, Capability, Device, DeviceId, Endpoint
from drivers.ble.adverts import Advert
from drivers.ble.book import Book, Record, node_id
from drivers.ble.material import Material, parse
from drivers.ble.pace import Pace
from drivers.ble.presence import Presence
from drivers.ble.seen import Seen
from drivers.ble.settings import BleSettings
from drivers.ble.silence import Silence, Step
from drivers.told import Values

A, B = "A4:C1:38:00:00:01", "A4:C1:38:00:00:02"
KEY = "231d39c1d7cc1ab1aee224cd096db932"
TEMPERATURE, STATE = "matter.TemperatureMeasurement@1.4", "matter.BooleanState@1.4"


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=120))
def test_the_table_is_bounded_and_knows_what_is_new(adverts: list[tuple[int, int]]) -> None:
    seen, last = Seen(16), dict[str, int]()
    for turn, (address, said) in enumerate(adverts):
        known = seen.get(str(address)) is not None
        fresh = seen.take(Advert(str(address), manufacturer={1: bytes((said,))}), float(turn))
        assert fresh is not (known and last[str(address)] == said)
        last[str(address)] = said
        assert len(seen) <= 16
    assert seen.adverts == len(adverts)


def test_strength_alone_is_nothing_new() -> None:
    seen = Seen(16)
    assert seen.take(Advert(A, -50, manufacturer={1: b"x"}), 0.0)
    assert not seen.take(Advert(A, -70, manufacturer={1: b"x"}), 1.0)
    found = seen.get(A)
    assert found is not None
    assert (found.at, found.advert.rssi) == (1.0, -70)


def test_who_is_not_heard_is_absent_and_who_is_connected_is_not() -> None:
    presence = Presence(10.0)
    presence.add(A, 0.0)
    presence.add(B, 0.0)
    assert presence.heard(A, 1.0)
    assert not presence.heard(A, 2.0)
    assert presence.heard(B, 2.0, connected=True)
    assert presence.absent(11.9) == []
    assert presence.absent(12.0) == [A]
    assert presence.next_deadline() is None
    assert presence.absent(100.0) == []
    presence.dropped(B, 100.0)
    assert presence.next_deadline() == 110.0
    assert presence.absent(110.0) == [B]
    assert presence.state(B) is Availability.OFFLINE
    assert presence.heard(A, 111.0)


def test_the_ladder_is_climbed_once_and_only_after_something_was_heard() -> None:
    silence = Silence(10.0)
    assert silence.due(1000.0) is None
    silence.heard(1000.0)
    assert [silence.due(t) for t in (1009.9, 1010.0, 1010.1, 1020.0, 1030.0, 1040.0)] == [
        None,
        Step.RESTART_SCAN,
        None,
        Step.POWER_CYCLE,
        Step.GIVE_UP,
        None,
    ]
    silence.heard(1041.0)
    assert silence.due(1051.0) is Step.RESTART_SCAN
    assert Silence(0).next_deadline() is None


def test_measured_values_are_paced_and_states_are_not() -> None:
    pace = Pace(10.0, 900.0)
    told = [pace.take(A, Values("1", TEMPERATURE, {"MeasuredValue": v}), t) for v, t in ((1, 0.0), (2, 1.0), (3, 2.0))]
    assert told == [True, False, False]
    assert pace.next_deadline() == 10.0
    assert pace.due(9.0) == []
    assert pace.due(10.0) == [(A, Values("1", TEMPERATURE, {"MeasuredValue": 3}))]
    assert pace.due(30.0) == []
    assert not pace.take(A, Values("1", TEMPERATURE, {"MeasuredValue": 3}), 40.0)
    assert pace.take(A, Values("1", TEMPERATURE, {"MeasuredValue": 3}), 910.0)
    assert pace.take(A, Values("1", TEMPERATURE, {"MeasuredValue": 3}), 911.0, asked=True)
    assert [pace.take(A, Values("1", STATE, {"StateValue": s}), 1.0) for s in (True, False, True)] == [True] * 3
    pace.forget(A)
    assert pace.last(A) == []


def test_a_value_that_comes_back_before_it_was_told_is_not_told() -> None:
    pace = Pace(10.0, 900.0)
    for value, at in ((1, 0.0), (2, 1.0), (1, 2.0)):
        pace.take(A, Values("1", TEMPERATURE, {"MeasuredValue": value}), at)
    assert pace.due(10.0) == []
    assert pace.next_deadline() is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Material()),
        (KEY, Material(bindkey=bytes.fromhex(KEY))),
        ("000042", Material(passkey=42, bond=True)),
        ("pair", Material(bond=True)),
        (A.lower(), Material(A)),
        (f"{A}={KEY}", Material(A, bindkey=bytes.fromhex(KEY))),
        (f"{A}=123456", Material(A, passkey=123456, bond=True)),
    ],
)
def test_material(text: str, wanted: Material) -> None:
    assert parse(text) == wanted


@given(st.text("0123456789abcdefABCDEF:= xß", max_size=50))
def test_any_material_is_taken_or_refused_without_being_repeated(text: str) -> None:
    try:
        parse(text)
    except InvalidParameters as error:
        assert len(text.strip()) < 8 or text.strip() not in str(error)  # noqa: PT017


def test_a_book_comes_back_as_it_was(tmp_path: Path) -> None:
    book = Book(tmp_path / "devices.json", "ble")
    capability = Capability(TEMPERATURE, "Temperature", "4", ("MeasuredValue",))
    device = Device(DeviceId("ble", A), node_id(A), (Endpoint("1", ("Sensor",), (capability,)),), unmapped=("x",))
    book.devices[A] = Record(device, gatt=True, bonded=True, secret=True, counter=7, digitals={2: 3})
    book.save()
    again = Book(tmp_path / "devices.json", "ble")
    again.load()
    assert again.devices == book.devices


@given(
    st.recursive(
        st.none() | st.integers() | st.sampled_from(["", "x"]),
        lambda s: st.dictionaries(st.sampled_from(["devices", "device", "gatt"]), s),
    )
)
def test_a_damaged_book_is_a_value_error(content: object) -> None:
    book = Book(Path("devices.json"), "ble")
    try:
        book.parse(json.loads(json.dumps(content)))
    except ValueError:
        return


@pytest.mark.parametrize(
    "wrong", [{"adapter": "/dev/ttyUSB0"}, {"services": ["xyz"]}, {"connections": -1}, {"scan": "loud"}, {"port": "x"}]
)
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BleSettings.model_validate(wrong)
    assert BleSettings.model_validate({"services": ["0x181a"]}).services == ["0000181a-0000-1000-8000-00805f9b34fb"]
