"""Advertisement formats: the examples of their public pages, and any bytes at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import capabilities
from drivers.ble import beacons, bthome, formats
from drivers.ble.adverts import Advert, Said, full, short
from drivers.ble.bthome_key import opener
from drivers.ble.bthome_table import OBJECTS, Binary, Measured, Number
from drivers.sim.ble import payloads
from tests.conftest import examples

ADDRESS = "54:48:E6:8F:80:A5"
KEY = bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932")
SEALED = bytes.fromhex("41a47266c95f730011223378237214")  # bthome.io/encryption
RAWV2 = "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F"
RAWV2_MOST = "057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F"
RAWV2_LEAST = "058001000000008001800180010000000000CBB8334C884F"
RAWV2_NONE = "058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF"


def bthome_advert(data: bytes) -> Advert:
    return Advert(ADDRESS, service_data={full(bthome.SERVICE): data})


def values(said: Said | None) -> dict[str, Any]:
    """capability name -> its properties; endpoint for numbers."""
    assert said is not None
    return {
        v.endpoint if v.capability.startswith("hub.") else v.capability.split(".")[1].split("@")[0]: dict(v.properties)
        for v in said.values
    }


def fits(said: Said | None) -> None:
    """What is said fits the documents of its capabilities."""
    for one in said.values if said is not None else ():
        capabilities.validate_report(one.capability, one.properties)
        assert one.endpoint.isalnum()
        assert len(one.endpoint) <= 64
    for event in said.happened if said is not None else ():
        capabilities.validate_event(event.capability, event.event, event.fields)


@pytest.mark.parametrize(
    ("objects", "name", "properties"),
    [  # the examples of bthome.io/format
        ("02CA09", "TemperatureMeasurement", {"MeasuredValue": 2506}),
        ("451101", "TemperatureMeasurement", {"MeasuredValue": 2730}),
        ("57EA", "TemperatureMeasurement", {"MeasuredValue": -2200}),
        ("58EA", "TemperatureMeasurement", {"MeasuredValue": -770}),
        ("03BF13", "RelativeHumidityMeasurement", {"MeasuredValue": 5055}),
        ("2E23", "RelativeHumidityMeasurement", {"MeasuredValue": 3500}),
        ("04138A01", "PressureMeasurement", {"MeasuredValue": 1009}),
        ("05138A14", "IlluminanceMeasurement", {"MeasuredValue": 41292}),
        ("0161", "PowerSource", {"BatPercentRemaining": 194, "BatChargeLevel": 0}),
        ("1501", "PowerSource", {"BatChargeLevel": 1}),
        ("0B021B00", "ElectricalPowerMeasurement", {"ActivePower": 69_140}),
        ("5C02FBFFFF", "ElectricalPowerMeasurement", {"ActivePower": -12_780}),
        ("0C020C", "ElectricalPowerMeasurement", {"RMSVoltage": 3074}),
        ("4A020C", "ElectricalPowerMeasurement", {"RMSVoltage": 307_400}),
        ("434E34", "ElectricalPowerMeasurement", {"RMSCurrent": 13_390}),
        ("0A138A14", "ElectricalEnergyMeasurement", {"CumulativeEnergyImported": {"energy": 1_346_067_000}}),
        ("4D12138A14", "ElectricalEnergyMeasurement", {"CumulativeEnergyImported": {"energy": 344_593_170_000}}),
        ("0D120C", "Pm25ConcentrationMeasurement", {"MeasuredValue": 3090, "MeasurementUnit": 4}),
        ("0E021C", "Pm10ConcentrationMeasurement", {"MeasuredValue": 7170, "MeasurementUnit": 4}),
        ("12E204", "CarbonDioxideConcentrationMeasurement", {"MeasuredValue": 1250, "MeasurementUnit": 0}),
        ("49DC87", "FlowMeasurement", {"MeasuredValue": 348}),
        ("3E2A2C0960", "count", {"MeasuredValue": 1_611_213_866, "Quantity": "count", "Unit": ""}),
        ("08CA06", "dewPoint", {"MeasuredValue": 17.38, "Quantity": "dewPoint", "Unit": "°C"}),
        ("3F020C", "rotation", {"MeasuredValue": 307.4, "Quantity": "rotation", "Unit": "°"}),
        ("4632", "uvIndex", {"MeasuredValue": 5.0, "Quantity": "uvIndex", "Unit": ""}),
        ("4E87562A01", "volume", {"MeasuredValue": 19551.879, "Quantity": "volume", "Unit": "l"}),
        ("1A01", "BooleanState", {"StateValue": False}),
        ("1C01", "BooleanState", {"StateValue": True}),
        ("2101", "OccupancySensing", {"Occupancy": 1}),
        ("2901", "SmokeCOAlarm", {"ExpressedState": 1, "SmokeState": 2}),
    ],
)
def test_bthome_objects_are_those_of_the_documentation(objects: str, name: str, properties: dict[str, Any]) -> None:
    said = bthome.parse(bthome_advert(bytes.fromhex("40" + objects)))
    fits(said)
    assert values(said)[name] == properties


def test_the_encrypted_example_of_the_documentation_opens() -> None:
    said = bthome.parse(bthome_advert(SEALED), opener(KEY, ADDRESS))
    assert values(said)["TemperatureMeasurement"] == {"MeasuredValue": 2506}
    assert values(said)["RelativeHumidityMeasurement"] == {"MeasuredValue": 5055}
    assert said is not None
    assert said.counter == int.from_bytes(bytes.fromhex("00112233"), "little")


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_an_encrypted_advert_with_a_changed_octet_says_nothing(place: int, change: int) -> None:
    data = bytearray(SEALED)
    data[place] ^= change
    try:
        said = bthome.parse(bthome_advert(bytes(data)), opener(KEY, ADDRESS))
    except bthome.LockedError:
        return
    assert said is None or place == 0  # the version, or the bit that says "encrypted", which the driver then refuses
    assert said is None or said.counter is None


def test_another_key_another_address_and_no_key_open_nothing() -> None:
    for decrypt in (opener(bytes(16), ADDRESS), opener(KEY, "54:48:E6:8F:80:A6"), None):
        with pytest.raises(bthome.LockedError):
            bthome.parse(bthome_advert(SEALED), decrypt)


@pytest.mark.parametrize(
    ("event", "names"),
    [
        ("00", []),
        ("01", ["InitialPress", "ShortRelease"]),
        ("02", ["InitialPress", "ShortRelease", "MultiPressComplete"]),
        ("04", ["InitialPress", "LongPress", "LongRelease"]),
        ("80", ["InitialPress", "LongPress"]),
        ("81", ["LongRelease"]),
        ("FE", []),
    ],
)
def test_a_button_says_the_sequence_of_matter(event: str, names: list[str]) -> None:
    said = bthome.parse(bthome_advert(bytes.fromhex(f"443A{event}")))
    fits(said)
    assert said is not None
    assert [one.event for one in said.happened] == names


def test_several_of_a_kind_are_several_endpoints() -> None:
    said = bthome.parse(bthome_advert(bytes.fromhex("40 02CA09 02CB09 0960 0961 3A01 3A02 3C0103".replace(" ", ""))))
    fits(said)
    assert said is not None
    assert [v.endpoint for v in said.values] == ["1", "2", "count", "count2", "button1", "button2", "dimmer"]
    assert [e.endpoint for e in said.happened if e.event == "MultiPressComplete"] == ["button2", "dimmer"]


def test_an_object_of_a_later_version_ends_the_packet_and_keeps_what_came_before() -> None:
    said = bthome.parse(bthome_advert(bytes.fromhex("4000070161FE0102CA09")))
    assert list(values(said)) == ["PowerSource"]
    assert said is not None
    assert said.packet == 7


def test_every_object_has_a_size_and_scales_all_of_its_values() -> None:
    for kind, row in OBJECTS.items():
        size = 1 if isinstance(row, Binary) else row.size
        for raw in (b"\x00", b"\x7f", b"\x80", b"\xff"):
            data = raw * size if size is not None else b"\x01" + raw * 2
            said = bthome.parse(bthome_advert(b"\x40" + bytes((kind,)) + data))
            fits(said)
            assert said is not None
            assert bool(said.values) is isinstance(row, Measured | Number | Binary) or kind in (0x3A, 0x3C)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [  # docs.ruuvi.com, data format 5, test vectors
        (RAWV2, (2430, 5349, 1000, 2977, 66, 0.004, -0.004, 1.036)),
        (RAWV2_MOST, (16384, None, 1155, 3646, 254, 32.767, 32.767, 32.767)),
        (RAWV2_LEAST, (-16384, 0, 500, 1600, 0, -32.767, -32.767, -32.767)),
        (RAWV2_NONE, (None,) * 8),
    ],
)
def test_ruuvi_is_as_its_maker_says(data: str, wanted: tuple[float | None, ...]) -> None:
    said = beacons.ruuvi(Advert("CB:B8:33:4C:88:4F", manufacturer={0x0499: bytes.fromhex(data)}))
    fits(said)
    found = values(said)
    assert found["TemperatureMeasurement"]["MeasuredValue"] == wanted[0]
    assert found["RelativeHumidityMeasurement"]["MeasuredValue"] == wanted[1]
    assert found["PressureMeasurement"]["MeasuredValue"] == wanted[2]
    assert found["PowerSource"]["BatVoltage"] == wanted[3]
    assert found["movements"]["MeasuredValue"] == wanted[4]
    assert [found[f"acceleration{axis}"]["MeasuredValue"] for axis in "XYZ"] == list(wanted[5:])


def test_eddystone_frames() -> None:
    def parse(data: str) -> Said | None:
        return beacons.eddystone(Advert(ADDRESS, service_data={full(0xFEAA): bytes.fromhex(data)}))

    told = values(parse("20000BB815C00000002A00000064"))  # eddystone-tlm: 3,000 mV, 21.75 °C, 42 adverts, 10 s
    assert told["PowerSource"] == {"BatVoltage": 3000}
    assert told["TemperatureMeasurement"] == {"MeasuredValue": 2175}
    assert told["advertisements"]["MeasuredValue"] == 42
    assert told["uptime"]["MeasuredValue"] == 10.0
    assert values(parse("200000008000000000010000000A"))["TemperatureMeasurement"] == {"MeasuredValue": None}
    url = parse("10EB00676F6F676C6507")
    assert url is not None
    assert url.unmapped == ("Eddystone-URL http://www.google.com",)
    assert values(parse("2001" + "00" * 16)) == {"OccupancySensing": {"Occupancy": 1}}  # encrypted telemetry
    assert parse("70") is None


def test_an_ibeacon_is_present() -> None:
    data = bytes.fromhex("0215F7826DA64FA24E988024BC5B71E0893E00010002C5")
    said = beacons.ibeacon(Advert(ADDRESS, manufacturer={0x004C: data}))
    assert values(said) == {"OccupancySensing": {"Occupancy": 1}}
    assert said is not None
    assert said.unmapped == ("iBeacon f7826da6-4fa2-4e98-8024-bc5b71e0893e 1 2",)
    assert beacons.ibeacon(Advert(ADDRESS, manufacturer={0x004C: data[:-1]})) is None


BYTES = st.binary(max_size=60)


@examples(4)
@given(
    st.dictionaries(st.sampled_from([0x0499, 0x004C, 0xFFFF]), BYTES | BYTES.map(lambda b: b"\x05" + b), max_size=2),
    st.dictionaries(
        st.sampled_from([full(0xFCD2), full(0xFEAA), "nonsense"]),
        BYTES | BYTES.map(lambda b: b"\x40" + b) | BYTES.map(lambda b: b"\x20\x00" + b),
        max_size=3,
    ),
)
def test_any_advertisement_is_nothing_or_fits_its_documents(
    manufacturer: dict[int, bytes], services: dict[str, bytes]
) -> None:
    advert = Advert(ADDRESS, manufacturer=manufacturer, service_data=services)
    try:
        fits(formats.parse(advert, opener(KEY, ADDRESS)))
    except bthome.LockedError:
        assert bthome.is_encrypted(services[full(0xFCD2)])


@given(st.integers(0, 2**32 - 1), st.binary(max_size=20))
def test_what_the_simulator_seals_the_driver_opens(counter: int, objects: bytes) -> None:
    payload = payloads.sealed_bthome(objects, ADDRESS, KEY, counter)
    data = payload.service_data[full(bthome.SERVICE)]
    assert opener(KEY, ADDRESS)(data) == b"\x41" + objects
    assert bthome.counter_of(data) == counter


@given(st.text("0123456789abcdefABCDEF-xß", max_size=40))
def test_a_uuid_is_short_or_not(text: str) -> None:
    assert short(text) is None or full(short(text) or 0) == text.lower()
    assert short(full(0x180F).upper()) == 0x180F
