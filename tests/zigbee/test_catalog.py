"""The Zigbee catalogue: the published device types, scalings, and what becomes of commands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action
from drivers.sim.zigbee.profiles import PROFILES
from drivers.told import Happened, Values
from drivers.zigbee.catalog import NodeMap, ZclCommand, ZclRead, ZclWrite, ZigbeeEndpoint, ZigbeeNode
from drivers.zigbee.catalog_tables import CLUSTERS

PUBLISHED = {  # supported Zigbee device types of managed integrations; Timer is left out, see catalog_tables
    "color-bulb": {"OnOff", "LevelControl", "ColorControl"},
    "plug": {"OnOff", "ElectricalPowerMeasurement", "ElectricalEnergyMeasurement"},
    "switch": {"OnOff"},
    "led-strip": {"OnOff", "LevelControl", "ColorControl"},
    "water-valve": {"OnOff"},
    "radiator-valve": {"Thermostat", "OnOff"},
    "thermostat": {"Thermostat", "FanControl", "OnOff"},
    "garage-door": {"WindowCovering", "OnOff", "LevelControl"},
    "smoke-alarm": {"BooleanState", "OnOff", "TemperatureMeasurement", "SmokeCOAlarm"},
    "motion": {"BooleanState"},
    "occupancy": {"BooleanState", "OccupancySensing"},
    "contact": {"BooleanState"},
    "leak": {"BooleanState"},
    "vibration": {"BooleanState"},
    "climate": {"TemperatureMeasurement", "RelativeHumidityMeasurement"},
    "remote": {"Switch", "PowerSource"},
    "lock": {"DoorLock"},
}


def node_map(profile: str) -> NodeMap:
    made = PROFILES[profile]
    endpoints = tuple(
        ZigbeeEndpoint(
            part.endpoint,
            0x0104,
            part.device_type,
            frozenset({0x0000, *part.inputs}),
            frozenset(part.outputs),
            {(c, a): value for c, table in part.inputs.items() for a, (_, value) in table.items()},
        )
        for part in made.parts
    )
    return NodeMap(ZigbeeNode("00:01", 1, made.manufacturer, made.model, endpoints, made.battery, made.sleepy))


@pytest.mark.parametrize("profile", PUBLISHED)
def test_every_published_device_type_has_its_capabilities(profile: str) -> None:
    (endpoint,) = node_map(profile).endpoints
    names = {capability.id.partition(".")[2].partition("@")[0] for capability in endpoint.capabilities}
    assert names >= PUBLISHED[profile]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_a_device_offers_is_in_the_documents(profile: str) -> None:
    for endpoint in node_map(profile).endpoints:
        for capability in endpoint.capabilities:
            schema = capabilities.load(capability.id)
            assert set(capability.properties) <= set(schema.properties)
            assert set(capability.actions) <= set(schema.actions)
            assert set(capability.events) <= set(schema.events)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_first_value_of_a_device_fits_its_document(profile: str) -> None:
    mapped = node_map(profile)
    for part in PROFILES[profile].parts:
        for cluster, table in part.inputs.items():
            for attribute, (_, raw) in table.items():
                for values in mapped.report(part.endpoint, cluster, attribute, raw):
                    capabilities.validate_report(values.capability, values.properties)


@given(row=st.sampled_from(CLUSTERS), raw=st.integers(-0x8000, 0xFFFF))
def test_no_number_of_a_device_breaks_a_scaling(row: Any, raw: int) -> None:
    for attr in row.attributes:
        decoded = attr.decode(raw, {})
        assert decoded is None or set(decoded) <= {*attr.properties, "MeasurementUnit"}


@pytest.mark.parametrize(
    ("profile", "cluster", "attribute", "raw", "expected"),
    [
        ("climate", 0x0402, 0, 2150, {"MeasuredValue": 2150}),
        ("climate", 0x0402, 0, -0x8000, {"MeasuredValue": None}),
        ("climate", 0x0405, 0, 0xFFFF, {"MeasuredValue": None}),
        ("plug", 0x0B04, 0x050B, 275, {"ActivePower": 27500}),
        ("plug", 0x0B04, 0x0505, 2301, {"RMSVoltage": 230100}),
        ("plug", 0x0702, 0x0000, 12345, {"CumulativeEnergyImported": {"energy": 12_345_000}}),
        ("air-quality", 0x040D, 0, 0.0005, {"MeasuredValue": 500.0, "MeasurementUnit": 0}),
        ("air-quality", 0x042A, 0, float("nan"), {"MeasuredValue": None, "MeasurementUnit": 4}),
        ("remote", 0x0001, 0x0021, 200, {"BatPercentRemaining": 200, "BatChargeLevel": 0}),
        ("garage-door", 0x0102, 8, 40, {"CurrentPositionLiftPercentage": 40, "CurrentPositionLiftPercent100ths": 4000}),
        ("contact", 0x0500, 2, 1, {"StateValue": False}),
        ("leak", 0x0500, 2, 1, {"StateValue": True}),
    ],
)
def test_values_are_scaled_to_matter(profile: str, cluster: int, attribute: int, raw: Any, expected: Any) -> None:
    (values,) = node_map(profile).report(1, cluster, attribute, raw)
    assert values.properties == expected


def test_a_zone_change_is_state_and_event() -> None:
    found = node_map("smoke-alarm").command(1, 0x0500, 0x00, [1, 0, 0, 0])
    events = [h.event for h in found if isinstance(h, Happened)]
    assert events == ["StateChange", "SmokeAlarm"]
    for heard in found:
        if isinstance(heard, Values):
            capabilities.validate_report(heard.capability, heard.properties)
        else:
            capabilities.validate_event(heard.capability, heard.event, heard.fields)


def test_buttons_press_hold_and_release() -> None:
    remote = node_map("remote")
    assert [h.event for h in remote.command(1, 0x0006, 0x02, []) if isinstance(h, Happened)] == [
        "InitialPress",
        "ShortRelease",
    ]
    held = remote.command(1, 0x0008, 0x01, [1, 50])
    assert next(h.fields for h in held if isinstance(h, Happened)) == {"NewPosition": 2}
    (released,) = remote.command(1, 0x0008, 0x03, [])
    assert isinstance(released, Happened)
    assert released.fields == {"PreviousPosition": 2}
    assert remote.command(1, 0x0008, 0x03, []) == ()


def test_actions_become_zcl() -> None:
    bulb = node_map("color-bulb")
    assert bulb.translate(Action("1", "matter.OnOff@1.4", "On")) == (ZclCommand(1, 6, 1, (), (0,)),)
    level = Action("1", "matter.LevelControl@1.4", "UpdateState", {"CurrentLevel": 12})
    assert bulb.translate(level) == (ZclCommand(1, 8, 4, (12, 0xFFFF), (0,)),)
    mixed = Action("1", "matter.OnOff@1.4", "UpdateState", {"OnTime": 5, "OnOff": False})
    assert bulb.translate(mixed) == (ZclWrite(1, 6, {0x4001: 5}), ZclCommand(1, 6, 0, (), (0,)))
    read = Action("1", "matter.OnOff@1.4", "ReadState", {"propertiesToRead": ["OnOff"]})
    assert bulb.translate(read) == (ZclRead(1, 6, (0,)),)
    cover = Action("1", "matter.WindowCovering@1.4", "GoToLiftPercentage", {"LiftPercent100thsValue": 2550})
    assert node_map("garage-door").translate(cover)[0] == ZclCommand(1, 0x0102, 5, (26,), (8,))


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (Action("9", "matter.OnOff@1.4", "On"), UnknownDevice),
        (Action("1", "matter.DoorLock@1.4", "LockDoor"), UnknownDevice),
        (Action("1", "matter.OnOff@1.4", "Explode"), InvalidParameters),
        (Action("1", "matter.ColorControl@1.4", "UpdateState", {"CurrentX": 5}), InvalidParameters),
        (Action("1", "matter.TemperatureMeasurement@1.4", "UpdateState", {"MeasuredValue": 5}), UnknownDevice),
    ],
)
def test_what_cannot_be_done_is_a_typed_error(action: Action, error: type[Exception]) -> None:
    with pytest.raises(error):
        node_map("color-bulb").translate(action)


def test_nothing_is_silently_left_out_of_an_update() -> None:
    schema_only = Action(
        "1", "matter.ElectricalPowerMeasurement@1.4", "ReadState", {"propertiesToRead": ["ActivePower"]}
    )
    assert node_map("plug").translate(schema_only) == (ZclRead(1, 0x0B04, (0x050B,)),)
    assert NotSupported.code == 501
