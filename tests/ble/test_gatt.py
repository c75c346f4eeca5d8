"""GATT values and services: the SIG's forms, and any bytes at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action
from drivers.ble.adverts import full
from drivers.ble.catalog import GattMap
from drivers.ble.gatt import Characteristic, Service
from drivers.ble.gatt_table import ANALOG, DIGITAL, ROWS, digital, sfloat, with_digital
from tests.conftest import examples

ON_OFF, BOOLEAN = "matter.OnOff@1.4", "matter.BooleanState@1.4"


def one(number: int, *flags: str, handle: int = 2) -> Characteristic:
    return Characteristic(full(number), handle, frozenset(flags or ("read", "notify")))


def gatt(*characteristics: Characteristic, service: int = 0x181A, digitals: int = 1) -> GattMap:
    counts = {c.handle: digitals for c in characteristics}
    return GattMap((Service(full(service), 1, characteristics),), counts)


@pytest.mark.parametrize(
    ("number", "data", "properties"),
    [
        (0x2A19, "64", {"BatPercentRemaining": 200, "BatChargeLevel": 0}),
        (0x2A19, "05", {"BatPercentRemaining": 10, "BatChargeLevel": 2}),
        (0x2A19, "FF", {"BatPercentRemaining": None}),
        (0x2A6E, "CA09", {"MeasuredValue": 2506}),
        (0x2A6E, "0080", {"MeasuredValue": None}),
        (0x2A6F, "BF13", {"MeasuredValue": 5055}),
        (0x2A6D, "88750F00", {"MeasuredValue": 1013}),
        (0x2AFB, "10270000", {"MeasuredValue": 20001}),
        (0x2B8C, "9001", {"MeasuredValue": 400.0, "MeasurementUnit": 0}),
        (0x2BD6, "0C80", {"MeasuredValue": 120.0, "MeasurementUnit": 4}),  # 12 x 10^-8 kg/m³
        (0x2BD6, "FF07", {"MeasuredValue": None, "MeasurementUnit": 4}),
        (0x2A37, "0048", {"MeasuredValue": 72, "Quantity": "heartRate", "Unit": "bpm"}),
        (0x2A37, "172C010000", {"MeasuredValue": 300, "Quantity": "heartRate", "Unit": "bpm"}),
        (0x2A76, "07", {"MeasuredValue": 7.0, "Quantity": "uvIndex", "Unit": ""}),
        (ANALOG, "0102", {"MeasuredValue": 513.0, "Quantity": "analog", "Unit": ""}),
    ],
)
def test_values_of_the_sig(number: int, data: str, properties: dict[str, Any]) -> None:
    service = {0x2A37: 0x180D, ANALOG: 0x1815, 0x2A19: 0x180F}.get(number, 0x181A)
    (told,) = gatt(one(number), service=service).report(2, bytes.fromhex(data))
    capabilities.validate_report(told.capability, told.properties)
    assert told.properties == properties


@examples(4)
@given(st.sampled_from([*ROWS, DIGITAL]), st.binary(max_size=12))
def test_any_value_is_nothing_or_fits_its_document(number: int, data: bytes) -> None:
    service = {0x2A37: 0x180D, ANALOG: 0x1815, DIGITAL: 0x1815, 0x2A19: 0x180F}.get(number, 0x181A)
    mapped = gatt(one(number), service=service)
    for told in mapped.report(2, data):
        capabilities.validate_report(told.capability, told.properties)
        (endpoint,) = mapped.endpoints
        assert endpoint.id == told.endpoint
        assert set(told.properties) <= set(endpoint.capabilities[0].properties)


@given(st.integers(0, 0xFFFF))
def test_a_short_float_is_a_number_or_nothing(raw: int) -> None:
    value = sfloat(raw)
    assert value is None or abs(value) <= 2048 * 10**7


@given(st.binary(max_size=4), st.integers(0, 15), st.integers(0, 15), st.booleans())
def test_a_digital_changes_alone(data: bytes, index: int, other: int, state: bool) -> None:  # noqa: FBT001
    written = with_digital(data, index, 16, state)
    assert len(written) == 4
    assert digital(written, index) is state
    if other != index:
        assert digital(written, other) == digital(data.ljust(4, b"\x00"), other)


def test_a_writable_digital_is_a_light_and_one_to_read_is_a_state() -> None:
    lamp = gatt(one(DIGITAL, "read", "write"), service=0x1815, digitals=2)
    assert [(e.id, e.capabilities[0].id) for e in lamp.endpoints] == [("1", ON_OFF), ("2", ON_OFF)]
    contact = gatt(one(DIGITAL, "read"), service=0x1815)
    assert contact.endpoints[0].capabilities[0].id == BOOLEAN
    write = lamp.write(Action("2", ON_OFF, "On"), {2: b"\x01"})
    assert write.change(b"\x01") == b"\x05"
    assert lamp.write(Action("1", ON_OFF, "Toggle"), {2: b"\x01"}).change(b"\x01") == b"\x00"
    assert lamp.write(Action("1", ON_OFF, "UpdateState", {"OnOff": True}), {}).change(b"") == b"\x01"


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (Action("9", ON_OFF, "On"), UnknownDevice),
        (Action("1", ON_OFF, "OnWithTimedOff", {"OnTime": 1}), InvalidParameters),
        (Action("1", ON_OFF, "UpdateState", {"OnTime": 1}), NotSupported),
        (Action("1", ON_OFF, "OffWithEffect", {"EffectIdentifier": 0, "EffectVariant": 0}), NotSupported),
    ],
)
def test_what_a_lamp_cannot_do(action: Action, error: type[Exception]) -> None:
    with pytest.raises(error):
        gatt(one(DIGITAL, "read", "write"), service=0x1815).write(action, {})


def test_several_of_a_kind_and_services_that_nobody_knows() -> None:
    mapped = GattMap(
        (
            Service(full(0x181A), 1, (one(0x2A6E, handle=2), one(0x2A6E, handle=3), one(0x2A76, handle=4))),
            Service("6e400001-b5a3-f393-e0a9-e50e24dcca9e", 9, ()),
            Service(full(0xFE59), 12, ()),
        )
    )
    assert [e.id for e in mapped.endpoints] == ["1", "2", "uvIndex"]
    assert mapped.unmapped == ("service 6e400001-b5a3-f393-e0a9-e50e24dcca9e", "service 0xFE59")
    assert mapped.reads == mapped.notifies == (2, 3, 4)
