"""IPSO objects to capabilities and back: plain calls, no network."""

from typing import Any

import pytest

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action
from drivers.coap.catalog import DeviceMap, Flip, Read, Write, learned, path_of, resolve, sampled
from drivers.coap.catalog_tables import BY_GAS, BY_UNIT, OBJECTS
from drivers.coap.catalog_types import CoapDevice
from drivers.coap.linkformat import parse
from drivers.coap.values import Raw, Reading, Value
from drivers.told import Values

T, ON_OFF, LEVEL = "matter.TemperatureMeasurement@1.4", "matter.OnOff@1.4", "matter.LevelControl@1.4"


def device(links: str, **units: str) -> DeviceMap:
    return DeviceMap(CoapDevice(parse(links.encode()), {path.replace("_", "/"): unit for path, unit in units.items()}))


def test_every_row_names_what_its_capability_has() -> None:
    rows = [*OBJECTS, *BY_GAS.values()]
    points = [point for row in rows for point in row.points] + [point for _, _, point in BY_UNIT.values()]
    for point in points:
        schema = capabilities.load(f"matter.{point.capability}@1.4")
        assert set(point.properties) <= set(schema.properties)
        assert all(schema.properties[name].mutable for name in point.writes)
    for row in rows:
        for name, actions in row.actions.items():
            assert set(actions) <= set(capabilities.load(f"matter.{name}@1.4").actions)


@pytest.mark.parametrize(
    ("path", "value", "unit", "capability", "properties"),
    [
        ("/3303/0/5700", 21.5, "", "TemperatureMeasurement", {"MeasuredValue": 2150}),
        ("/3303/0/5700", 70.7, "F", "TemperatureMeasurement", {"MeasuredValue": 2150}),
        ("/3303/0/5700", 294.65, "K", "TemperatureMeasurement", {"MeasuredValue": 2150}),
        ("/3303/0/5700", 21.5, "°C", "TemperatureMeasurement", {"MeasuredValue": 2150}),
        ("/3304/0/5700", 45.5, "%RH", "RelativeHumidityMeasurement", {"MeasuredValue": 4550}),
        ("/3301/0/5700", 100.0, "lx", "IlluminanceMeasurement", {"MeasuredValue": 20001}),
        ("/3301/0/5700", 0.0, "lx", "IlluminanceMeasurement", {"MeasuredValue": 0}),
        ("/3302/0/5500", True, "", "OccupancySensing", {"Occupancy": 1}),
        ("/3200/0/5500", 1.0, "", "BooleanState", {"StateValue": True}),
        ("/3305/0/5800", 12.5, "W", "ElectricalPowerMeasurement", {"ActivePower": 12500}),
        ("/3305/0/5805", 2.0, "Wh", "ElectricalEnergyMeasurement", {"CumulativeEnergyImported": {"energy": 2000}}),
        ("/3331/0/5805", 3600.0, "J", "ElectricalEnergyMeasurement", {"CumulativeEnergyImported": {"energy": 1000}}),
        ("/3308/0/5900", 20.5, "", "Thermostat", {"OccupiedHeatingSetpoint": 2050}),
        ("/3311/0/5850", True, "", "OnOff", {"OnOff": True}),
        ("/3311/0/5851", 50.0, "", "LevelControl", {"CurrentLevel": 127}),
        ("/3315/0/5700", 101325.0, "Pa", "PressureMeasurement", {"MeasuredValue": 1013}),
        ("/3315/0/5700", 1013.25, "hPa", "PressureMeasurement", {"MeasuredValue": 1013}),
        ("/3316/0/5700", 230.0, "V", "ElectricalPowerMeasurement", {"RMSVoltage": 230000}),
        ("/3317/0/5700", 0.5, "A", "ElectricalPowerMeasurement", {"RMSCurrent": 500}),
        ("/3347/0/5500", True, "", "Switch", {"CurrentPosition": 1, "NumberOfPositions": 2}),
        ("/3/0/9", 55.0, "", "PowerSource", {"BatPercentRemaining": 110, "BatChargeLevel": 0}),
    ],
)
def test_a_value_becomes_a_property(
    path: str, value: Value, unit: str, capability: str, properties: dict[str, Any]
) -> None:
    (told,) = device(f"<{path}>;obs").report(path, [Reading(value, "", unit)])
    assert (told.capability, told.properties) == (f"matter.{capability}@1.4", properties)


def test_a_unit_of_the_object_and_a_gas() -> None:
    assert device("</3303/0/5700>", _3303_0_5701="F").report("/3303/0/5700", [Reading(212.0)])[0].properties == {
        "MeasuredValue": 10000
    }
    (told,) = device("</3325/0/5700>", _3325_0_5750="CO2").report("/3325/0/5700", [Reading(417.0)])
    assert told.capability == "matter.CarbonDioxideConcentrationMeasurement@1.4"
    assert device("</3325/0/5700>").unmapped == ("/3325/0/5700",)


@pytest.mark.parametrize("value", [1e300, "warm", float(2**63)])
def test_nonsense_is_no_report(value: Value) -> None:
    with pytest.raises(ValueError):
        device("</3303/0/5700>").report("/3303/0/5700", [Reading(value)])


def test_a_foreign_layout_is_known_by_its_units() -> None:
    found = device('</sensors/t>;rt="temperature-c";obs,</x>;rt=y', _sensors_t="Cel")
    assert found.report("/sensors/t", [Reading(1.0, "outside", "Cel")]) == (
        Values("sensorsxt", T, {"MeasuredValue": 100}),
    )
    assert found.unmapped == ("/x y",)
    (link,) = parse(b"</sensors/t>")
    assert learned("/sensors/t", link, [Reading(1.0, "outside", "Cel")]).units == {"/sensors/t": "Cel"}
    assert learned("/sensors/t", link, [Reading(1.0, "a", "Cel"), Reading(2.0, "b", "lx")]).units == {}
    (generic,) = device("</3300/4/5700>;obs", _3300_4_5701="lx").endpoints
    assert [c.id for c in generic.capabilities] == ["matter.IlluminanceMeasurement@1.4"]


def test_a_resource_type_names_the_object_too() -> None:
    found = device('</lamp>;rt="urn:oma:lwm2m:ext:3311",</lamp/5850>')
    assert found.endpoints == ()  # it was not looked into yet
    links = parse(b'</lamp>;rt="urn:oma:lwm2m:ext:3311";obs')
    told = learned("/lamp", links[0], [Reading(True, "5850"), Reading(30.0, "5851")])
    seen = DeviceMap(CoapDevice(links, seen=told.seen))
    assert [w.path for w in seen.watched] == ["/lamp"]
    assert {v.capability for v in seen.report("/lamp", [Reading(True, "5850"), Reading(30.0, "5851")])} == {
        ON_OFF,
        LEVEL,
    }


def test_an_instance_is_read_whole_where_it_is_listed_alone() -> None:
    links = parse(b"</3303/0>;obs;ct=11542")
    seen = learned("/3303/0", links[0], [Raw(b"\x41\xac\0\0", "5700"), Raw(b"Cel", "5701")])
    found = DeviceMap(CoapDevice(links, seen.units, seen.facts, seen.seen))
    assert seen.units == {"/3303/0/5701": "Cel"}
    assert found.report("/3303/0", [Raw(b"\x41\xac\0\0", "5700")])[0].properties == {"MeasuredValue": 2150}


def test_a_pack_of_several_resources_fills_each() -> None:
    found = device("</3303/0/5700>,</3303/1/5700>")
    assert found.report("/3303/0/5700", [Reading(1.0, "/3303/0/5700"), Reading(2.0, "/3303/0/5601")])[0].properties == {
        "MeasuredValue": 100
    }
    assert len(found.endpoints) == 2
    assert len({endpoint.id for endpoint in found.endpoints}) == 2


def test_actions_become_writes() -> None:
    lamp = device("</3311/0/5850>;obs,</3311/0/5851>;obs")
    endpoint = lamp.endpoints[0].id
    assert lamp.translate(Action(endpoint, ON_OFF, "On")) == (Write("/3311/0/5850", True),)
    assert lamp.translate(Action(endpoint, ON_OFF, "Toggle")) == (Flip("/3311/0/5850"),)
    parameters = {"Level": 254, "TransitionTime": None, "OptionsMask": 0, "OptionsOverride": 0}
    known = capabilities.load(LEVEL).actions["MoveToLevelWithOnOff"]
    asked = Action(endpoint, LEVEL, "MoveToLevelWithOnOff", {k: v for k, v in parameters.items() if k in known})
    assert lamp.translate(asked) == (Write("/3311/0/5851", 100.0), Write("/3311/0/5850", True))
    assert lamp.translate(Action(endpoint, ON_OFF, "UpdateState", {"OnOff": False})) == (Write("/3311/0/5850", False),)
    assert lamp.translate(Action(endpoint, ON_OFF, "ReadState")) == (Read("/3311/0/5850"),)
    heating = device('</3308/0/5900>;ct="110"')
    update = Action("3308x0", "matter.Thermostat@1.4", "UpdateState", {"OccupiedHeatingSetpoint": 2150})
    assert heating.translate(update) == (Write("/3308/0/5900", 21.5, 110),)


def test_what_a_device_cannot_do_is_not_offered() -> None:
    switch = device("</3312/0/5850>")
    (only,) = switch.endpoints[0].capabilities
    assert (only.id, only.actions) == (ON_OFF, ("On", "Off", "Toggle"))
    with pytest.raises(UnknownDevice):
        switch.translate(Action("3312x0", LEVEL, "MoveToLevel", {"Level": 1}))
    with pytest.raises(NotSupported):
        switch.translate(Action("3312x0", ON_OFF, "UpdateState", {"OnTime": 5}))
    with pytest.raises(NotSupported):
        switch.translate(Action("3312x0", ON_OFF, "OffWithEffect", {"EffectIdentifier": 0, "EffectVariant": 0}))
    with pytest.raises(InvalidParameters):
        switch.translate(Action("3312x0", ON_OFF, "UpdateState", {"OnOff": "yes"}))


def test_paths() -> None:
    assert path_of("coap://[fd00::1]/3303/0/5700") == "/3303/0/5700"
    assert [path_of(t) for t in ("http://x/y", "//x/y", "/a?b=c", "a/b")] == [None, None, None, None]
    assert resolve("/3303/0", "5700") == "/3303/0/5700"
    assert resolve("/3303/0/5700", "/3303/0/5700") == "/3303/0/5700"
    links = parse(b"</.well-known/core>,</>,</3303/0/5700>,</3303/0/5701>,</3/0/0>,</time>")
    assert [path for path, _ in sampled(links)] == ["/3303/0/5701", "/3/0/0", "/time"]
