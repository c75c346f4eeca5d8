"""The Z-Wave catalogue: every action to its bytes, and what a device reports after a write."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zwave.catalog_rig import LOCK, SETPOINTS, SPECTRUM, act, alarm, heard, number, one, sensor, sent, told, written

from agent.driver import NotSupported
from drivers.zwave.catalog import NodeMap, ZWaveSet
from drivers.zwave.catalog_scales import COLD, WARM, from_hue, from_xy, hue_saturation, xy
from drivers.zwave.codec import decode, encode

LAMP = one({0x26: 4, 0x20: 2, 0x33: 3}, (0x11, 2), SPECTRUM)
OLD_LAMP = one({0x26: 1}, (0x11, 1))
SWITCH = one({0x25: 1}, (0x10, 1))
BASIC = one({0x20: 1}, (0x10, 1))
GARAGE = one({0x66: 1}, (0x40, 7))
SIREN = one({0x79: 2}, (0x10, 5))
OLD_SIREN = one({0x79: 1}, (0x10, 5))
SIMPLE_SIREN = one({0x25: 2}, (0x10, 5))
SHUTTER = one({0x26: 4}, (0x11, 6))
BLIND = one({0x6A: 1}, (0x11, 6), [told("Window Covering Supported Report", parameters=[13, 23])])
BLIND_WITHOUT_POSITION = one({0x6A: 1}, (0x11, 6), [told("Window Covering Supported Report", parameters=[12])])
HEATER = one({0x40: 3, 0x43: 3, 0x42: 1, 0x44: 3, 0x31: 5}, (0x08, 6), SETPOINTS)
DOOR = one({0x62: 4, 0x63: 2, 0x71: 8}, (0x40, 3), LOCK)
OLD_DOOR = one({0x76: 1}, (0x40, 1))
BLINKS = told("Indicator Supported Report", indicator=0x50, next_indicator=0, properties=[3, 4, 5])
BLINKING = one({0x87: 3}, (0x10, 1), [BLINKS])

ACTIONS: list[tuple[NodeMap, str, str, dict[str, Any], list[str]]] = [
    (SWITCH, "OnOff", "On", {}, ["2501ff"]),
    (SWITCH, "OnOff", "Off", {}, ["250100"]),
    (BASIC, "OnOff", "On", {}, ["2001ff"]),
    (BASIC, "OnOff", "Off", {}, ["200100"]),
    (LAMP, "OnOff", "On", {}, ["2601ff"]),
    (LAMP, "OnOff", "Off", {}, ["260100ff"]),
    (OLD_LAMP, "OnOff", "Off", {}, ["260100"]),
    (LAMP, "LevelControl", "MoveToLevel", {"Level": 0}, ["260100ff"]),
    (LAMP, "LevelControl", "MoveToLevel", {"Level": 1}, ["260101ff"]),
    (LAMP, "LevelControl", "MoveToLevelWithOnOff", {"Level": 254, "TransitionTime": 0}, ["26016300"]),
    (LAMP, "LevelControl", "MoveToLevel", {"Level": 128, "TransitionTime": 1}, ["26013201"]),
    (LAMP, "LevelControl", "MoveToLevel", {"Level": 128, "TransitionTime": 50}, ["26013205"]),
    (LAMP, "LevelControl", "MoveToLevel", {"Level": 128, "TransitionTime": 65535}, ["260132ec"]),
    (OLD_LAMP, "LevelControl", "MoveToLevel", {"Level": 128, "TransitionTime": 50}, ["260132"]),
    (LAMP, "LevelControl", "Move", {"MoveMode": 0}, ["26042000ff"]),
    (LAMP, "LevelControl", "MoveWithOnOff", {"MoveMode": 1, "Rate": 127}, ["2604600002"]),
    (OLD_LAMP, "LevelControl", "Move", {"MoveMode": 1, "Rate": None}, ["26046000"]),
    (LAMP, "LevelControl", "Stop", {}, ["2605"]),
    (LAMP, "LevelControl", "StopWithOnOff", {}, ["2605"]),
    (LAMP, "ColorControl", "MoveToHueAndSaturation", {"Hue": 0, "Saturation": 254},
     ["3305050000010002ff03000400ff"]),
    (LAMP, "ColorControl", "MoveToHue", {"Hue": 85, "TransitionTime": 20}, ["33050500000100020003ff040202"]),
    (LAMP, "ColorControl", "MoveToSaturation", {"Saturation": 0}, ["3305050000010002ff03ff04ffff"]),
    (LAMP, "ColorControl", "MoveToColor", {"ColorX": 41948, "ColorY": 21625}, ["3305050000010002ff03000400ff"]),
    (LAMP, "ColorControl", "MoveToColorTemperature", {"ColorTemperatureMireds": 153}, ["330505000001ff020003000400ff"]),
    (LAMP, "ColorControl", "MoveToColorTemperature", {"ColorTemperatureMireds": 500}, ["33050500ff0100020003000400ff"]),
    (GARAGE, "OnOff", "On", {}, ["6601ff"]),
    (GARAGE, "OnOff", "Off", {}, ["660100"]),
    (GARAGE, "LevelControl", "MoveToLevel", {"Level": 254}, ["6601ff"]),
    (GARAGE, "LevelControl", "MoveToLevelWithOnOff", {"Level": 0}, ["660100"]),
    (SIREN, "LevelControl", "MoveToLevel", {"Level": 127}, ["7908ff32"]),
    (SIREN, "LevelControl", "MoveToLevel", {"Level": 0}, ["790800"]),
    (OLD_SIREN, "LevelControl", "MoveToLevel", {"Level": 254}, ["79056400", "7908ff"]),
    (SIMPLE_SIREN, "LevelControl", "MoveToLevel", {"Level": 1}, ["2501ff"]),
    (SIMPLE_SIREN, "LevelControl", "MoveToLevelWithOnOff", {"Level": 0}, ["250100"]),
    (SHUTTER, "WindowCovering", "UpOrOpen", {}, ["260163"]),
    (SHUTTER, "WindowCovering", "DownOrClose", {}, ["260100"]),
    (SHUTTER, "WindowCovering", "StopMotion", {}, ["2605"]),
    (SHUTTER, "WindowCovering", "GoToLiftPercentage", {"LiftPercent100thsValue": 2500}, ["26014a"]),
    (BLIND, "WindowCovering", "UpOrOpen", {}, ["6a05010d63ff"]),
    (BLIND, "WindowCovering", "DownOrClose", {}, ["6a05010d00ff"]),
    (BLIND, "WindowCovering", "StopMotion", {}, ["6a070d"]),
    (BLIND, "WindowCovering", "GoToLiftPercentage", {"LiftPercent100thsValue": 10000}, ["6a05010d00ff"]),
    (BLIND, "WindowCovering", "GoToTiltPercentage", {"TiltPercent100thsValue": 0}, ["6a05011732ff"]),
    (BLIND_WITHOUT_POSITION, "WindowCovering", "UpOrOpen", {}, ["6a06000cff"]),
    (BLIND_WITHOUT_POSITION, "WindowCovering", "DownOrClose", {}, ["6a06400cff"]),
    (BLIND_WITHOUT_POSITION, "WindowCovering", "StopMotion", {}, ["6a070c"]),
    (DOOR, "DoorLock", "LockDoor", {}, ["6201ff"]),
    (DOOR, "DoorLock", "UnlockDoor", {}, ["620100"]),
    (DOOR, "DoorLock", "UpdateState", {"LockState": 2}, ["620100"]),
    (DOOR, "DoorLock", "UpdateState", {"AutoRelockTime": 60, "OperatingMode": 1}, ["62040110fefe003c000000", "630801"]),
    (OLD_DOOR, "DoorLock", "LockDoor", {}, ["760101"]),
    (OLD_DOOR, "DoorLock", "UnlockDoor", {}, ["760100"]),
    (HEATER, "Thermostat", "UpdateState", {"SystemMode": 4}, ["400101"]),
    (HEATER, "Thermostat", "UpdateState", {"SystemMode": 0}, ["400100"]),
    (HEATER, "Thermostat", "UpdateState", {"OccupiedHeatingSetpoint": 2150}, ["4301012200d7"]),
    (HEATER, "Thermostat", "UpdateState", {"OccupiedCoolingSetpoint": 2400}, ["430102094b"]),
    (HEATER, "FanControl", "UpdateState", {"FanMode": 5}, ["440100"]),
    (HEATER, "FanControl", "UpdateState", {"FanMode": 0}, ["440180"]),
    (BLINKING, "Identify", "Identify", {"IdentifyTime": 3}, ["8701000350030a500403500505"]),
]  # fmt: skip


@pytest.mark.parametrize(("made", "capability", "name", "parameters", "wanted"), ACTIONS)
def test_an_action_is_these_bytes(
    made: NodeMap, capability: str, name: str, parameters: dict[str, Any], wanted: list[str]
) -> None:
    place = "0identify" if capability == "Identify" else "0"
    fresh = NodeMap(made.node)
    assert sent(fresh, capability, name, place, **parameters) == wanted


def test_every_action_that_a_node_offers_has_a_case() -> None:
    relative = {"Toggle", "Step", "StepWithOnOff", "SetpointRaiseLower"}  # by the last value, below
    cases = {(capability, name) for _, capability, name, _, _ in ACTIONS}
    for made, *_ in ACTIONS:
        for found in made.endpoints:
            for capability in found.capabilities:
                missing = {name for name in capability.actions if (capability.id[7:-4], name) not in cases}
                assert missing <= relative


def test_what_is_relative_goes_from_the_last_value_heard() -> None:
    made = NodeMap(LAMP.node)
    heard(made, "Multilevel Switch Report", current_value=50)
    assert sent(made, "OnOff", "Toggle") == ["260100ff"]
    assert sent(made, "LevelControl", "Step", StepMode=0, StepSize=26) == ["26013cff"]
    assert sent(made, "LevelControl", "StepWithOnOff", StepMode=1, StepSize=255) == ["260100ff"]
    heard(made, "Multilevel Switch Report", current_value=0)
    assert sent(made, "OnOff", "Toggle") == ["2601ff"]
    made = NodeMap(HEATER.node)
    for kind, scale, value in ((1, 0, 21.5), (2, 1, 75)):
        heard(made, "Thermostat Setpoint Report", type=kind, scale=scale, value=value)
    assert sent(made, "Thermostat", "SetpointRaiseLower", Mode=0, Amount=-5) == ["4301012200d2"]
    assert sent(made, "Thermostat", "SetpointRaiseLower", Mode=1, Amount=10) == ["430102094d"]
    assert sent(made, "Thermostat", "SetpointRaiseLower", Mode=2, Amount=10) == ["4301012200e1", "430102094d"]


def test_old_versions_are_sent_what_they_know() -> None:
    for version, last in ((1, ""), (2, "05")):
        made = one({0x33: version}, (0x11, 2), SPECTRUM)
        white = {"ColorTemperatureMireds": COLD, "TransitionTime": 50}
        assert sent(made, "ColorControl", "MoveToColorTemperature", **white) == [f"330505000001ff020003000400{last}"]


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        (SIREN, ["7909"]),
        (OLD_SIREN, ["7906", "7909"]),
        (BLIND, ["6a030d", "6a0317"]),
        (BLIND_WITHOUT_POSITION, []),
        (DOOR, ["6202", "6205", "6309"]),
        (GARAGE, ["6602"]),
        (LAMP, ["2602", "330300", "330301", "330302", "330303", "330304"]),
        (one({0x32: 4}, (0x31, 1), [told("Meter Supported Report", reset=True, rate_types=3, type=1, scales=5)]),
         ["320140", "320180", "320150", "320190"]),
        (one({0x32: 4}, (0x31, 1), [told("Meter Supported Report", reset=True, rate_types=1, type=1, scales=5)]), ["320100", "320110"]),
        (one({0x32: 4}, (0x31, 1), [told("Meter Supported Report", reset=True, rate_types=2, type=1, scales=17)]), ["320100"]),
        (one({0x32: 1}, (0x31, 1), [told("Meter Report", rate_type=0, type=1, scale=0, value=number(5))]), ["3201"]),
        (one({0x71: 8}, (0x07, 1), alarm(n6=[22, 23], n1=[2])), ["7104000102", "7104000616"]),
        (one({0x30: 2}, (0x20, 1), [told("Binary Sensor Supported Report", types=[12])]), ["30020c"]),
        (one({0x9C: 1}, (0xA1, 1), [told("Alarm Sensor Supported Report", types=[5])]), ["9c0105"]),
        (one({0x31: 11}, (0x21, 1), sensor(3, 1)), ["31040308"]),
    ],
)  # fmt: skip
def test_the_whole_state_is_asked_with_these_bytes(made: NodeMap, asked: list[str]) -> None:
    assert [encode(get.command).hex() for get in made.refresh()] == asked


def test_a_covering_says_what_it_is() -> None:
    types = {13: 0, 23: 7, 11: 7}
    for parameter, kind in types.items():
        made = one({0x6A: 1}, (0x11, 6), [told("Window Covering Supported Report", parameters=[parameter])])
        assert made.constants[0].properties == {"Type": kind}
    assert BLIND.constants[0].properties == {"Type": 8}
    assert SHUTTER.constants[0].properties == {"Type": 255}


def test_numbers_stay_within_their_bytes() -> None:
    assert sent(BLINKING, "Identify", "Identify", "0identify", IdentifyTime=65535) == ["8701000350030a5004fe500505"]
    assert sent(DOOR, "DoorLock", "UpdateState", AutoRelockTime=65535)[0].endswith("ffff000000")
    with pytest.raises(NotSupported, match="65535"):
        act(DOOR, "DoorLock", "UpdateState", AutoRelockTime=65536)


def test_a_lock_keeps_the_configuration_that_it_was_heard_with() -> None:
    made = NodeMap(DOOR.node)
    heard(made, "Door Lock Configuration Report", **{**LOCK[1].values, "twist_assist": True})
    assert sent(made, "DoorLock", "UpdateState", AutoRelockTime=0) == ["62040110fefe0000000001"]


def test_travel_and_fades_are_waited_for() -> None:
    def seconds(made: NodeMap, capability: str, name: str, **parameters: Any) -> float | None:
        step = act(made, capability, name, **parameters)[0]
        assert isinstance(step, ZWaveSet)
        return step.seconds

    assert seconds(LAMP, "LevelControl", "MoveToLevel", Level=1, TransitionTime=50) == 5
    assert seconds(LAMP, "LevelControl", "MoveToLevel", Level=1) is None
    assert seconds(LAMP, "LevelControl", "Move", MoveMode=0, Rate=254) == 1
    assert seconds(SWITCH, "OnOff", "On") == 0
    for made, capability, name in (
        (GARAGE, "OnOff", "On"),
        (SHUTTER, "WindowCovering", "UpOrOpen"),
        (BLIND, "WindowCovering", "UpOrOpen"),
        (DOOR, "DoorLock", "LockDoor"),
    ):
        assert seconds(made, capability, name) is None
        step = act(made, capability, name)[0]
        assert isinstance(step, ZWaveSet)
        assert step.proves == (), "what is on its way is proved by nothing"
        assert step.supervised
    basic = act(BASIC, "OnOff", "On")[0]
    assert isinstance(basic, ZWaveSet)
    assert (basic.supervised, basic.proves) == (False, ())


# ---- write, then the report that a device sends ---------------------------------------------------------------------------


@given(st.booleans())
def test_a_switch_reports_what_was_written(on: bool) -> None:  # noqa: FBT001
    assert written(SWITCH, "OnOff", OnOff=on) == {"0.OnOff": on}


@given(st.integers(0, 254))
def test_a_level_comes_back_within_its_99_steps(level: int) -> None:
    found = written(NodeMap(LAMP.node), "LevelControl", CurrentLevel=level)
    assert abs(found["0.CurrentLevel"] - level) <= 254 / 99 / 2 + 1
    assert found["0.OnOff"] is (level > 0)
    again = written(LAMP, "LevelControl", CurrentLevel=found["0.CurrentLevel"])
    assert again["0.CurrentLevel"] == found["0.CurrentLevel"], "a device's own level is exact"


@given(st.integers(0, 254))
def test_a_volume_comes_back_within_a_percent(level: int) -> None:
    for made in (SIREN, OLD_SIREN):
        found = written(NodeMap(made.node), "LevelControl", CurrentLevel=level)
        assert abs(found["0.CurrentLevel"] - level) <= 2.54


@given(st.integers(0, 10_000))
def test_a_position_comes_back_within_its_steps(value: int) -> None:
    for made, what, steps in ((SHUTTER, "Lift", 99), (BLIND, "Lift", 99), (BLIND, "Tilt", 50)):
        [step] = act(made, "WindowCovering", f"GoTo{what}Percentage", **{f"{what}Percent100thsValue": value})
        command = decode(encode(step.command))
        values = command.values["values"][0] if made is BLIND else {"value": command.values["target_value"]}  # type: ignore[union-attr]
        raw = values.pop("value")
        report = (
            ("Window Covering Report", {"target_value": raw, "duration": 0})
            if made is BLIND
            else ("Multilevel Switch Report", {})
        )
        found = heard(made, report[0], current_value=raw, **report[1], **values)
        assert abs(found[f"0.CurrentPosition{what}Percent100ths"] - value) <= 10_000 / steps / 2 + 1


@given(st.integers(0, 254), st.integers(0, 254))
def test_a_colour_comes_back(hue: int, saturation: int) -> None:
    found = written(NodeMap(LAMP.node), "ColorControl", CurrentHue=hue, CurrentSaturation=saturation)
    assert found["0.CurrentSaturation"] == saturation
    turn = abs(found["0.CurrentHue"] - hue)
    assert min(turn, 254 - turn) <= 254 / 6 / max(saturation, 1) + 1 or saturation == 0
    assert found["0.ColorMode"] == 0


@given(st.permutations([0, 1, 2]), st.integers(0, 255), st.integers(0, 255))
def test_a_point_comes_back_within_what_eight_bits_show(order: list[int], some: int, other: int) -> None:
    parts = (255, some, other)
    colour = (parts[order[0]], parts[order[1]], parts[order[2]])
    again = from_xy(*xy(colour))
    assert max(abs(a - b) for a, b in zip(again, colour, strict=True)) <= 8
    assert from_hue(*hue_saturation(colour))[colour.index(255)] >= 250


@given(st.integers(COLD, WARM))
def test_a_colour_temperature_comes_back(mireds: int) -> None:
    found = written(NodeMap(LAMP.node), "ColorControl", ColorTemperatureMireds=mireds)
    assert found == {"0.ColorTemperatureMireds": mireds, "0.ColorMode": 2, "0.EnhancedColorMode": 2}


@given(st.integers(500, 3000), st.integers(-2000, 4000))
def test_a_setpoint_comes_back_with_the_decimals_of_the_device(heat: int, cool: int) -> None:
    found = written(HEATER, "Thermostat", OccupiedHeatingSetpoint=heat, OccupiedCoolingSetpoint=cool)
    assert abs(found["0.OccupiedHeatingSetpoint"] - heat) <= 5, "tenths of a degree Celsius"
    assert abs(found["0.OccupiedCoolingSetpoint"] - cool) <= 28, "whole degrees Fahrenheit"


@given(st.sampled_from([0, 1, 3, 4, 7]), st.sampled_from([0, 1, 3, 5]))
def test_modes_come_back(system: int, fan: int) -> None:
    assert written(HEATER, "Thermostat", SystemMode=system) == {"0.SystemMode": system}
    assert written(HEATER, "FanControl", FanMode=fan) == {"0.FanMode": fan}


@given(st.integers(0, 65535), st.sampled_from([0, 1, 2]))
def test_what_a_lock_is_set_to_comes_back(relock: int, mode: int) -> None:
    found = written(NodeMap(DOOR.node), "DoorLock", AutoRelockTime=relock, OperatingMode=mode)
    assert found == {"0.AutoRelockTime": relock, "0.OperatingMode": mode}
