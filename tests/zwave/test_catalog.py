"""The Z-Wave catalogue: the published device types, what else nodes have, and what is where."""

import pytest
from zwave.catalog_rig import (
    BULB,
    LOCK,
    SETPOINTS,
    SPECTRUM,
    act,
    alarm,
    endpoint,
    events,
    heard,
    node,
    offered,
    one,
    sensor,
    told,
)

from agent import capabilities
from agent.driver import InvalidParameters, NotSupported, UnknownDevice
from drivers.told import Values
from drivers.zwave.catalog import NodeMap, ZWaveGet, ZWaveNode, ZWaveSet, supersedes
from drivers.zwave.catalog_alarms import SENSES
from drivers.zwave.catalog_tables import ROWS, SILENT
from drivers.zwave.codec import Command, Raw, encode

METER = told("Meter Supported Report", reset=True, rate_types=1, type=1, scales=0b0110101)
INFRASTRUCTURE = dict.fromkeys(
    (0x20, 0x55, 0x59, 0x5A, 0x5E, 0x6C, 0x70, 0x72, 0x73, 0x7A, 0x85, 0x86, 0x8E, 0x98, 0x9F), 1
)

# The twelve Z-Wave types that managed integrations lists, as nodes; beside each, its capabilities exactly.
PUBLISHED: dict[str, tuple[NodeMap, list[str]]] = {
    "bulb": (BULB, ["OnOff", "LevelControl"]),
    "plug": (one({**INFRASTRUCTURE, 0x25: 2}, (0x10, 0x01)), ["OnOff"]),
    "garage door": (one({**INFRASTRUCTURE, 0x66: 1}, (0x40, 0x07)), ["OnOff", "LevelControl"]),
    "energy meter": (
        one({**INFRASTRUCTURE, 0x32: 5}, (0x31, 0), [METER]),
        ["ElectricalEnergyMeasurement", "ElectricalPowerMeasurement"],
    ),
    "siren": (one({**INFRASTRUCTURE, 0x79: 2}, (0x10, 0x05)), ["LevelControl"]),
    "siren with a switch alone": (one({**INFRASTRUCTURE, 0x25: 1}, (0x10, 0x05)), ["LevelControl"]),
    "siren by its icon": (node(endpoint({0x25: 1}, (0x10, 0x01), installer_icon=0x0F00)), ["LevelControl"]),
    "motion": (one({**INFRASTRUCTURE, 0x71: 8}, (0x07, 1), alarm(n7=[8])), ["BooleanState"]),
    "door or window": (one({**INFRASTRUCTURE, 0x71: 8}, (0x07, 1), alarm(n6=[22, 23])), ["BooleanState"]),
    "leak": (one({**INFRASTRUCTURE, 0x71: 8}, (0x07, 1), alarm(n5=[2])), ["BooleanState"]),
    "temperature": (one({**INFRASTRUCTURE, 0x31: 11}, (0x21, 1), sensor(1, 0, 1)), ["TemperatureMeasurement"]),
    "carbon monoxide": (one({**INFRASTRUCTURE, 0x71: 8}, (0x07, 1), alarm(n2=[2])), ["SmokeCOAlarm"]),
    "smoke": (one({**INFRASTRUCTURE, 0x71: 8}, (0x07, 1), alarm(n1=[2, 3])), ["SmokeCOAlarm"]),
    "motion by an old class": (
        one({0x30: 2}, (0x20, 1), [told("Binary Sensor Supported Report", types=[12])]),
        ["BooleanState"],
    ),
    "smoke by an old class": (
        one({0x30: 2}, (0x20, 1), [told("Binary Sensor Supported Report", types=[2])]),
        ["SmokeCOAlarm"],
    ),
    "leak by the oldest class": (
        one({0x9C: 1}, (0xA1, 0), [told("Alarm Sensor Supported Report", types=[5])]),
        ["BooleanState"],
    ),
    "a sensor that does not say of what": (one({0x30: 1}, (0x20, 1)), ["BooleanState"]),
    "a sensor that speaks Basic": (one({0x20: 1}, (0x20, 1)), ["BooleanState"]),
    "a sensor that lists nothing": (one({}, (0x20, 1)), ["BooleanState"]),
    "a switch that speaks Basic": (one({0x20: 1}, (0x10, 1)), ["OnOff"]),
}
BESIDE: dict[str, tuple[NodeMap, list[str]]] = {
    "colour bulb": (one({0x26: 4, 0x33: 3}, (0x11, 2), SPECTRUM), ["OnOff", "LevelControl", "ColorControl"]),
    "lock": (one({0x62: 4, 0x63: 2, 0x71: 8}, (0x40, 3), LOCK), ["DoorLock"]),
    "old lock": (one({0x76: 1}, (0x40, 1)), ["DoorLock"]),
    "thermostat": (
        one({0x40: 3, 0x43: 3, 0x42: 1, 0x44: 3, 0x31: 5}, (0x08, 6), SETPOINTS),
        ["Thermostat", "FanControl", "TemperatureMeasurement"],
    ),
    "shutter": (one({0x26: 4}, (0x11, 0x06)), ["WindowCovering"]),
    "shutter by its icon": (node(endpoint({0x26: 4}, (0x11, 0x00), installer_icon=0x1900)), ["WindowCovering"]),
    "blind": (
        one({0x6A: 1, 0x26: 4}, (0x11, 0x06), [told("Window Covering Supported Report", parameters=[13, 23])]),
        ["WindowCovering"],
    ),
    "remote": (one({0x5B: 3}, (0x18, 1), [told("Central Scene Supported Report", scenes=4)]), ["Switch"]),
    "remote that lists what it controls": (
        node(endpoint({0x86: 1}, (0x18, 1), controlled=frozenset({0x20, 0x25, 0x26, 0x33}))),
        ["Switch"],
    ),
    "remote that sends scenes": (node(endpoint({0x86: 1}, (0x01, 1), controlled=frozenset({0x2B}))), ["Switch"]),
    "old remote": (one({0x20: 1, 0x2D: 1}, (0x01, 1)), ["Switch"]),
    "remote that speaks Basic": (one({0x20: 1}, (0x12, 1)), ["Switch"]),
    "humidity": (one({0x31: 5}, (0x21, 1), sensor(5, 0)), ["RelativeHumidityMeasurement"]),
    "illuminance": (one({0x31: 5}, (0x21, 1), sensor(3, 0, 1)), ["IlluminanceMeasurement"]),
    "pressure": (one({0x31: 5}, (0x21, 1), sensor(9, 0)), ["PressureMeasurement"]),
    "flow": (one({0x31: 5}, (0x21, 1), sensor(0x38, 0)), ["FlowMeasurement"]),
    "CO2": (one({0x31: 5}, (0x21, 1), sensor(0x11, 0)), ["CarbonDioxideConcentrationMeasurement"]),
    "PM2.5": (one({0x31: 7}, (0x21, 1), sensor(0x23, 1)), ["Pm25ConcentrationMeasurement"]),
    "radon": (one({0x31: 7}, (0x21, 1), sensor(0x25, 0)), ["RadonConcentrationMeasurement"]),
}


@pytest.mark.parametrize("name", [*PUBLISHED, *BESIDE])
def test_every_type_has_its_capabilities_and_no_other(name: str) -> None:
    made, wanted = {**PUBLISHED, **BESIDE}[name]
    assert offered(made) == {"0": wanted}
    assert made.unmapped == ()


def test_a_battery_is_a_level_and_a_power_source_and_changes_no_other_list() -> None:
    made = one({**INFRASTRUCTURE, 0x80: 1, 0x84: 2, 0x71: 8}, (0x07, 1), alarm(n6=[22, 23], n7=[3]))
    assert offered(made) == {
        "0": ["BooleanState"],
        "0tamper": ["BooleanState"],
        "0battery": ["LevelControl", "PowerSource"],
    }
    assert [found.device_types for found in made.endpoints][2] == ("Battery",)


def test_the_first_sense_has_the_endpoint_and_others_have_their_own() -> None:
    kinds = told("Multilevel Sensor Supported Report", types=[1, 0x17])
    made = one({0x71: 8, 0x31: 11}, (0x07, 1), [*alarm(n5=[2], n7=[3, 8], n6=[22, 23]), kinds])
    assert offered(made) == {
        "0": ["BooleanState", "TemperatureMeasurement"],
        "0leak": ["BooleanState"],
        "0motion": ["BooleanState"],
        "0tamper": ["BooleanState"],
        "0water": ["TemperatureMeasurement"],
    }
    assert made.endpoints[0].device_types == ("Contact Sensor", "Temperature Sensor")


def test_a_meter_of_gas_hides_no_sensor_of_power() -> None:
    gas, electric = (told("Meter Supported Report", reset=False, rate_types=0, type=kind, scales=5) for kind in (2, 1))
    power = sensor(4, 0)
    assert offered(one({0x31: 5, 0x32: 3}, (0x21, 1), [gas, *power])) == {"0": ["ElectricalPowerMeasurement"]}
    made = one({0x31: 5, 0x32: 3}, (0x21, 1), [electric, *power])
    assert offered(made) == {"0": ["ElectricalEnergyMeasurement", "ElectricalPowerMeasurement"]}
    assert [get.command.name for get in made.refresh()] == ["Meter Get", "Meter Get"]


def test_every_capability_names_what_its_document_has() -> None:
    for row in ROWS:
        schema = capabilities.load(f"matter.{row.capability}@1.4")
        assert set(row.properties) <= set(schema.properties)
        assert set(row.actions) <= set(schema.actions)
        assert set(row.events) <= set(schema.events)
        for update in row.updates:
            assert all(schema.properties[name].mutable for name in update.names)


def test_endpoints_of_multi_channel_are_devices_of_their_own() -> None:
    strip = node(
        endpoint({0x25: 1, 0x60: 4, 0x32: 3}, (0x10, 1), [METER]),
        endpoint({0x25: 1}, (0x10, 1), id=1),
        endpoint({0x25: 1}, (0x10, 1), id=2),
    )
    assert offered(strip) == {
        "0": ["ElectricalEnergyMeasurement", "ElectricalPowerMeasurement"],
        "1": ["OnOff"],
        "2": ["OnOff"],
    }
    assert heard(strip, "Binary Switch Report", 2, current_value=255) == {"2.OnOff": True}
    assert heard(strip, "Binary Switch Report", 0, current_value=255) == {}, "one of two: nobody knows which"


def test_a_report_without_an_endpoint_belongs_to_the_only_one_that_can_have_sent_it() -> None:
    made = node(endpoint({0x25: 1, 0x60: 3}), endpoint({0x25: 1}, id=1))
    assert heard(made, "Binary Switch Report", 0, current_value=0) == {"1.OnOff": False}


def test_what_is_silent_is_no_users_business() -> None:
    assert SILENT & {row.command_class for row in ROWS if not row.sent} == {0x20, 0x87}, (
        "Basic; the indicator that identifies"
    )


def test_senses_differ_in_what_is_true_and_what_ends_them() -> None:
    def parts(name: str, *, value: bool) -> set[str]:
        return {sense.part for sense in SENSES if getattr(sense, name) is value}

    assert parts("closed", value=True) == {"contact", "handle"}, "true is closed, as Matter has it"
    assert parts("passing", value=True) == {"glass", "moved", "impact"}
    assert parts("idles", value=False) == {"contact", "handle", "mainsLost"}
    assert parts("primary", value=False) == {
        "intrusion", "handle", "tamper", "cover", "moved", "impact", "mainsLost", "overload", "auxiliary",
    }  # fmt: skip


def test_what_no_capability_covers_is_listed_in_words() -> None:
    answers = [
        *sensor(0x1B, 0),
        *alarm(n12=[1]),
        told("Meter Supported Report", reset=False, rate_types=0, type=2, scales=1),
    ]
    made = one({**INFRASTRUCTURE, 0x31: 5, 0x71: 8, 0x32: 3, 0x63: 1, 0x6F: 1, 0xA3: 1}, (0x07, 1), answers)
    assert made.unmapped == (
        "endpoint 0: User Code",
        "endpoint 0: Entry Control",
        "endpoint 0: command class 0xA3",
        "endpoint 0: Multilevel Sensor ultraviolet",
        "endpoint 0: Meter gas in m³",
        "endpoint 0: Notification appliance",
    )


# ---- refresh, polls, queues -------------------------------------------------------------------------------------------------


def test_refresh_asks_each_thing_once() -> None:
    gets = one({0x26: 4, 0x80: 1}, (0x11, 1)).refresh()
    assert [encode(get.command).hex() for get in gets] == ["2602", "8002"]
    assert set(gets[0].fills) == {"OnOff", "CurrentLevel", "RemainingTime"}
    made = BESIDE["thermostat"][0]
    asked = [encode(get.command).hex() for get in made.refresh()]
    assert asked == ["4002", "430201", "430202", "4202", "31040100", "4402"]


@pytest.mark.parametrize(
    ("classes", "asked"), [({0x30: 1}, ["3002"]), ({0x20: 1}, ["2002"]), ({0x30: 1, 0x20: 1}, ["3002"])]
)
def test_a_sensor_of_no_type_is_asked_in_its_best_class(classes: dict[int, int], asked: list[str]) -> None:
    assert [encode(get.command).hex() for get in one(classes, (0x20, 1)).refresh()] == asked


@pytest.mark.parametrize(
    ("modes", "sequence"),
    [([1, 3, 5], 0), ([1, 3], 1), ([0, 1, 3, 5], 2), ([0, 1, 3], 3), ([0, 3], 4), ([3], 5)],
)
def test_a_fan_says_which_modes_it_has(modes: list[int], sequence: int) -> None:
    made = one({0x44: 3}, (0x08, 6), [told("Thermostat Fan Mode Supported Report", modes=modes)])
    assert made.constants[0].properties == {"FanModeSequence": sequence}


def test_only_what_cannot_report_is_polled() -> None:
    lifeline = told("Association Group Information Command List Report", group=1, commands=bytes.fromhex("2503"))
    classes, answers = (
        {0x25: 2, 0x32: 3, 0x59: 1},
        [lifeline, told("Meter Supported Report", reset=False, rate_types=0, type=1, scales=4)],
    )
    assert [(poll.get.command.name, poll.every) for poll in one(classes, (0x10, 1), answers).polls] == [
        ("Meter Get", 1800)
    ]
    assert one({0x25: 1}).polls == ()
    assert [poll.get.command.name for poll in node(endpoint({0x25: 1}), plus=0).polls] == ["Binary Switch Get"]
    assert node(endpoint({0x25: 1}), plus=0, listening=False).polls == ()


def test_the_later_command_replaces_the_earlier_for_the_same_thing_alone() -> None:
    on, off = (act(BULB, "OnOff", name)[0] for name in ("On", "Off"))
    move, stop = act(BULB, "LevelControl", "Move", MoveMode=0)[0], act(BULB, "LevelControl", "Stop")[0]
    assert len({supersedes(step) for step in (on, off, move, stop)}) == 1
    made = BESIDE["thermostat"][0]
    heat, cool = (
        act(made, "Thermostat", "UpdateState", **{f"Occupied{what}Setpoint": 2200})[0]
        for what in ("Heating", "Cooling")
    )
    assert supersedes(heat) != supersedes(cool)
    assert supersedes(heat) == supersedes(act(made, "Thermostat", "UpdateState", OccupiedHeatingSetpoint=1800)[0])
    assert supersedes(made.refresh()[1]) != supersedes(made.refresh()[2])
    lift, tilt = (act(BESIDE["blind"][0], "WindowCovering", f"GoTo{what}Percentage", **{f"{what}Percent100thsValue": 0})[0]
                  for what in ("Lift", "Tilt"))  # fmt: skip
    assert supersedes(lift) != supersedes(tilt)


# ---- translation --------------------------------------------------------------------------------------------------------------


def test_read_state_asks_for_what_was_named() -> None:
    made = BESIDE["thermostat"][0]
    assert [
        encode(step.command).hex() for step in act(made, "Thermostat", "ReadState", propertiesToRead=["SystemMode"])
    ] == ["4002"]
    every = act(made, "Thermostat", "ReadState")
    assert len(every) == 5
    assert all(isinstance(step, ZWaveGet) for step in every)
    assert act(one({0x5B: 1}), "Switch", "ReadState") == ()


def test_what_cannot_be_done_is_refused_with_the_reason() -> None:
    with pytest.raises(UnknownDevice):
        act(BULB, "DoorLock", "LockDoor")
    with pytest.raises(UnknownDevice):
        act(BULB, "OnOff", "On", "1")
    with pytest.raises(InvalidParameters):
        act(BULB, "LevelControl", "MoveToLevel", Level=300)
    with pytest.raises(InvalidParameters, match="null"):
        act(BULB, "LevelControl", "UpdateState", CurrentLevel=None)
    with pytest.raises(InvalidParameters, match="Rate"):
        act(BULB, "LevelControl", "Move", MoveMode=0, Rate=0)
    with pytest.raises(NotSupported, match="OffWithEffect"):
        act(BULB, "OnOff", "OffWithEffect", EffectIdentifier=0, EffectVariant=0)
    with pytest.raises(NotSupported, match="OnTime"):
        act(BULB, "OnOff", "UpdateState", OnTime=5)
    with pytest.raises(NotSupported, match="PIN"):
        act(BESIDE["lock"][0], "DoorLock", "UnlockDoor", PINCode="1234")
    with pytest.raises(NotSupported, match="not known yet"):
        act(one({0x25: 1}), "OnOff", "Toggle")
    with pytest.raises(InvalidParameters, match="opens"):
        act(PUBLISHED["garage door"][0], "LevelControl", "MoveToLevel", Level=100)
    with pytest.raises(InvalidParameters, match="together"):
        act(BESIDE["colour bulb"][0], "ColorControl", "UpdateState", CurrentX=1)
    with pytest.raises(InvalidParameters, match="no colour"):
        act(BESIDE["colour bulb"][0], "ColorControl", "MoveToColor", ColorX=65000, ColorY=65000)
    with pytest.raises(InvalidParameters, match=r"5\.0 to 30\.0"):
        act(BESIDE["thermostat"][0], "Thermostat", "UpdateState", OccupiedHeatingSetpoint=3500)
    with pytest.raises(NotSupported, match="SystemMode 8"):
        act(BESIDE["thermostat"][0], "Thermostat", "UpdateState", SystemMode=8)


def test_every_set_says_what_confirms_it() -> None:
    for made, _ in (*PUBLISHED.values(), *BESIDE.values()):
        for found in made.endpoints:
            for capability in found.capabilities:
                for name in {"On", "LockDoor", "DownOrClose", "MoveToLevel"} & set(capability.actions):
                    parameters = {"Level": 254} if name == "MoveToLevel" else {}
                    steps = act(made, capability.id[7:-4], name, found.id, **parameters)
                    assert all(isinstance(step, ZWaveSet) and step.confirm for step in steps)


def test_what_is_not_a_named_command_says_nothing() -> None:
    assert BULB.heard(0, Raw(0x31, 5, b"\x01")) == ()
    assert BULB.heard(9, Command("Multilevel Switch Report", {"current_value": 1})) == ()
    assert BULB.heard(0, Command("Battery Report", {"level": 1})) == ()
    with pytest.raises(ValueError, match="without"):
        BULB.heard(0, Command("Multilevel Switch Report"))


def test_what_the_interview_tells_is_reported_once() -> None:
    assert BESIDE["remote"][0].constants == (Values("0", "matter.Switch@1.4", {"NumberOfPositions": 5}),)
    limits = {"ControlSequenceOfOperation": 4, "MinHeatSetpointLimit": 500, "MaxHeatSetpointLimit": 3000}
    assert BESIDE["thermostat"][0].constants[0].properties == limits
    for made, _ in BESIDE.values():
        for found in made.constants:
            capabilities.validate_report(found.capability, found.properties)


def test_an_answer_tells_no_event_of_what_nobody_knew_before() -> None:
    made = one({0x71: 8}, (0x07, 1), alarm(n6=[22, 23]))
    opened = Command(
        "Notification Report", {"v1_type": 0, "v1_level": 0, "status": 255, "type": 6, "event": 22, "parameters": b""}
    )
    assert len(made.heard(0, opened, asked=True)) == 1
    assert len(made.heard(0, opened, asked=True)) == 1
    closed = {**opened.values, "event": 23}
    assert events(made, "Notification Report", **closed) == [("StateChange", {"StateValue": True})]
    assert len(NodeMap(ZWaveNode(5, made.node.endpoints)).heard(0, opened)) == 2
