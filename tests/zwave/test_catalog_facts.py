"""The Z-Wave catalogue: what the interview asks, and what it learns from the answers."""

from dataclasses import replace

import pytest
from zwave.catalog_rig import SETPOINTS, number, sensor, told

from drivers.zwave.catalog import learn, learnt, needs
from drivers.zwave.catalog_facts import NEEDS
from drivers.zwave.codec import Raw, encode

METER = told("Meter Supported Report", reset=True, rate_types=1, type=1, scales=0b0110101)


def test_the_interview_asks_until_everything_can_be_scaled_and_named() -> None:
    classes = {0x31: 11, 0x71: 8, 0x32: 5, 0x43: 3, 0x85: 2, 0x59: 1}
    assert [command.name for command in needs(classes)] == [
        "Multilevel Sensor Supported Get",
        "Meter Supported Get",
        "Thermostat Setpoint Supported Get",
        "Notification Supported Get",
        "Association Groupings Get",
    ]
    facts = learnt([
        told("Multilevel Sensor Supported Report", types=[1, 5]),
        METER,
        told("Thermostat Setpoint Supported Report", types=[1]),
        told("Notification Supported Report", v1_alarm=False, types=[7]),
        told("Association Groupings Report", groups=2),
    ])  # fmt: skip
    asked = needs(classes, facts)
    assert [(command.name, *command.values.values()) for command in asked] == [
        ("Multilevel Sensor Supported Scale Get", 1),
        ("Multilevel Sensor Supported Scale Get", 5),
        ("Thermostat Setpoint Get", 1),
        ("Thermostat Setpoint Capabilities Get", 1),
        ("Notification Event Supported Get", 7),
        ("Association Group Information Name Get", 1),
        ("Association Group Information Name Get", 2),
        ("Association Group Information Command List Get", True, 1),
    ]
    for answer in (
        *sensor(1, 0)[1:],
        *sensor(5, 0)[1:],
        *SETPOINTS[3:4],
        *SETPOINTS[5:6],
        told("Notification Event Supported Report", type=7, events=[8]),
        told("Association Group Information Name Report", group=1, name="Lifeline"),
        told("Association Group Information Name Report", group=2, name="Basic"),
        told("Association Group Information Command List Report", group=1, commands=bytes.fromhex("31057105")),
    ):
        facts = learn(facts, answer)
    assert needs(classes, facts) == ()
    assert facts.lifeline == {(0x31, 5), (0x71, 5)}
    assert facts.group_names == {1: "Lifeline", 2: "Basic"}


def test_every_need_can_be_sent() -> None:
    every = dict.fromkeys(range(0x20, 0xF0), 20)
    assert len({encode(command) for command in needs(every)}) == len(needs(every)) > 15


@pytest.mark.parametrize("asked", sorted(NEEDS))
def test_a_class_is_asked_in_its_own_words(asked: int) -> None:
    facts = learnt([told("Association Groupings Report", groups=1)])
    assert {command.command_class for command in needs({asked: 20}, facts if asked == 0x59 else None)} == {asked}


@pytest.mark.parametrize(
    ("asked", "version", "names"),
    [
        (0x26, 2, []),
        (0x26, 3, ["Multilevel Switch Supported Get"]),
        (0x30, 1, []),
        (0x30, 2, ["Binary Sensor Supported Get"]),
        (0x31, 4, ["Multilevel Sensor Get"]),
        (0x31, 5, ["Multilevel Sensor Supported Get"]),
        (0x62, 3, ["Door Lock Configuration Get"]),
        (0x62, 4, ["Door Lock Capabilities Get", "Door Lock Configuration Get"]),
        (0x63, 1, ["User Code Users Number Get"]),
        (0x63, 2, ["User Code Users Number Get", "User Code Capabilities Get"]),
        (0x87, 2, []),
        (0x87, 3, ["Indicator Supported Get"]),
    ],
)
def test_what_a_version_does_not_have_is_not_asked(asked: int, version: int, names: list[str]) -> None:
    assert [command.name for command in needs({asked: version})] == names


def test_details_are_asked_of_the_versions_that_have_them() -> None:
    types = learnt([told("Notification Supported Report", v1_alarm=False, types=[7])])
    assert needs({0x71: 2}, types) == ()
    assert [command.name for command in needs({0x71: 3}, types)] == ["Notification Event Supported Get"]
    setpoints = learnt([told("Thermostat Setpoint Supported Report", types=[1])])
    assert [command.name for command in needs({0x43: 2}, setpoints)] == ["Thermostat Setpoint Get"]
    assert len(needs({0x43: 3}, setpoints)) == 2


def test_old_versions_are_asked_what_they_have() -> None:
    assert [command.name for command in needs({0x31: 1, 0x32: 1, 0x30: 1, 0x71: 1})] == [
        "Multilevel Sensor Get",
        "Meter Get",
    ]
    facts = learnt([told("Multilevel Sensor Report", type=1, scale=1, value=number(70)),
                    told("Meter Report", rate_type=1, type=1, scale=0, value=number(1))])  # fmt: skip
    assert needs({0x31: 1, 0x32: 1}, facts) == ()
    assert facts.sensors == {1: {1}}


def test_nonsense_teaches_nothing() -> None:
    bad = replace(SETPOINTS[5], values={**SETPOINTS[5].values, "min_scale": 3})
    with pytest.raises(ValueError, match="scale"):
        learn(learnt([]), bad)
    assert learnt([bad, Raw(0x31, 2, b"\x01")]) == learnt([])


def test_answers_may_come_in_any_order() -> None:
    setpoints = [answer for answer in SETPOINTS if "Setpoint" in answer.name]
    assert learnt(setpoints) == learnt(setpoints[::-1])
    assert learnt(sensor(1, 0, 1)) == learnt(sensor(1, 0, 1)[::-1])


def test_a_node_that_claims_everything_does_not_keep_its_interview_busy() -> None:
    lies = learnt([
        told("Multilevel Sensor Supported Report", types=[*range(1, 400)]),
        told("Notification Supported Report", v1_alarm=False, types=[*range(248)]),
        told("Thermostat Setpoint Supported Report", types=[*range(200)]),
        told("Association Groupings Report", groups=255),
        told("Central Scene Supported Report", scenes=255),
    ])  # fmt: skip
    asked = needs({0x31: 11, 0x71: 8, 0x43: 3, 0x59: 3, 0x5B: 3}, lies)
    assert all(encode(command) for command in asked)
    assert len(asked) < 200
