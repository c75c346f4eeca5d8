"""The Z-Wave catalogue: the scale of every property at both ends, and what "unknown" becomes."""

from typing import Any

import pytest
from zwave.catalog_rig import LOCK, SETPOINTS, SPECTRUM, alarm, events, heard, number, one, sensor, told

from drivers.zwave.catalog import NodeMap
from drivers.zwave.catalog_alarms import SENSES
from drivers.zwave.catalog_sensors import MEASURED
from drivers.zwave.codec import Command
from drivers.zwave.commands.sensor_tables import SENSOR_TYPES

LAMP = one({0x26: 4, 0x20: 2, 0x33: 3}, (0x11, 2), SPECTRUM)
GARAGE = one({0x66: 1}, (0x40, 7))
SIREN = one({0x79: 2}, (0x10, 5))
SHUTTER = one({0x26: 4}, (0x11, 6))
BLIND = one({0x6A: 1}, (0x11, 6), [told("Window Covering Supported Report", parameters=[13, 23])])
HEATER = one({0x40: 3, 0x43: 3, 0x42: 1, 0x44: 3, 0x31: 5}, (0x08, 6), SETPOINTS)
DOOR = one({0x62: 4, 0x63: 2, 0x71: 8}, (0x40, 3), LOCK)
OLD_DOOR = one({0x76: 1}, (0x40, 1))
CELL = one({0x80: 3})
SWITCH, SIMPLE_SIREN = one({0x25: 2, 0x20: 1}), one({0x25: 2}, (0x10, 5))
METER = one({0x32: 6}, (0x31, 1), [told("Meter Supported Report", reset=True, rate_types=3, type=1, scales=0b1110101)])

CASES: list[tuple[NodeMap, str, dict[str, Any], dict[str, Any]]] = [
    (LAMP, "Multilevel Switch Report", {"current_value": 0}, {"0.OnOff": False, "0.CurrentLevel": 0}),
    (LAMP, "Multilevel Switch Report", {"current_value": 1}, {"0.OnOff": True, "0.CurrentLevel": 3}),
    (LAMP, "Multilevel Switch Report", {"current_value": 99}, {"0.OnOff": True, "0.CurrentLevel": 254}),
    (LAMP, "Multilevel Switch Report", {"current_value": 255}, {"0.OnOff": True, "0.CurrentLevel": 254}),
    (LAMP, "Multilevel Switch Report", {"current_value": 254}, {"0.CurrentLevel": None}),
    (LAMP, "Multilevel Switch Report", {"current_value": 50, "target_value": 99, "duration": 3},
     {"0.OnOff": True, "0.CurrentLevel": 128, "0.RemainingTime": 30}),
    (LAMP, "Basic Report", {"current_value": 99}, {"0.OnOff": True, "0.CurrentLevel": 254}),
    (LAMP, "Basic Set", {"target_value": 99}, {}),
    (LAMP, "Color Switch Report", {"component": 8, "current_value": 1}, {}),
    (SWITCH, "Binary Switch Report", {"current_value": 0}, {"0.OnOff": False}),
    (SWITCH, "Binary Switch Report", {"current_value": 255, "target_value": 0, "duration": 5}, {"0.OnOff": True}),
    (SWITCH, "Binary Switch Report", {"current_value": 254}, {}),
    (SWITCH, "Basic Report", {"current_value": 255}, {"0.OnOff": True}),
    (SIMPLE_SIREN, "Binary Switch Report", {"current_value": 255}, {"0.CurrentLevel": 254}),
    (SIMPLE_SIREN, "Binary Switch Report", {"current_value": 0}, {"0.CurrentLevel": 0}),
    (GARAGE, "Barrier Operator Report", {"state": 0}, {"0.OnOff": False, "0.CurrentLevel": 0}),
    (GARAGE, "Barrier Operator Report", {"state": 255}, {"0.OnOff": True, "0.CurrentLevel": 254}),
    (GARAGE, "Barrier Operator Report", {"state": 1}, {"0.OnOff": True, "0.CurrentLevel": 3}),
    (GARAGE, "Barrier Operator Report", {"state": 0xFC}, {"0.OnOff": True, "0.CurrentLevel": None}),
    (GARAGE, "Barrier Operator Report", {"state": 0xFD}, {"0.OnOff": True, "0.CurrentLevel": None}),
    (GARAGE, "Barrier Operator Report", {"state": 0xFE}, {"0.OnOff": True, "0.CurrentLevel": None}),
    (SIREN, "Sound Switch Tone Play Report", {"tone": 0, "volume": 30}, {"0.CurrentLevel": 0}),
    (SIREN, "Sound Switch Tone Play Report", {"tone": 2, "volume": 100}, {"0.CurrentLevel": 254}),
    (SIREN, "Sound Switch Tone Play Report", {"tone": 2, "volume": 1}, {"0.CurrentLevel": 3}),
    (SIREN, "Sound Switch Tone Play Report", {"tone": 2}, {"0.CurrentLevel": None}),
    (SHUTTER, "Multilevel Switch Report", {"current_value": 99},
     {"0.CurrentPositionLiftPercentage": 0, "0.CurrentPositionLiftPercent100ths": 0}),
    (SHUTTER, "Multilevel Switch Report", {"current_value": 0, "target_value": 99, "duration": None},
     {"0.CurrentPositionLiftPercentage": 100, "0.CurrentPositionLiftPercent100ths": 10000,
      "0.TargetPositionLiftPercent100ths": 0}),
    (SHUTTER, "Multilevel Switch Report", {"current_value": 254},
     {"0.CurrentPositionLiftPercentage": None, "0.CurrentPositionLiftPercent100ths": None}),
    (BLIND, "Window Covering Report", {"parameter": 13, "current_value": 0, "target_value": 0, "duration": 0},
     {"0.CurrentPositionLiftPercentage": 100, "0.CurrentPositionLiftPercent100ths": 10000,
      "0.TargetPositionLiftPercent100ths": 10000}),
    (BLIND, "Window Covering Report", {"parameter": 23, "current_value": 50, "target_value": 99, "duration": 0},
     {"0.CurrentPositionTiltPercentage": 0, "0.CurrentPositionTiltPercent100ths": 0,
      "0.TargetPositionTiltPercent100ths": 10000}),
    (BLIND, "Window Covering Report", {"parameter": 23, "current_value": 0, "target_value": 254, "duration": 0},
     {"0.CurrentPositionTiltPercentage": 100, "0.CurrentPositionTiltPercent100ths": 10000,
      "0.TargetPositionTiltPercent100ths": None}),
    (BLIND, "Window Covering Report", {"parameter": 1, "current_value": 0, "target_value": 0, "duration": 0}, {}),
    *((HEATER, "Thermostat Mode Report", {"mode": mode}, {"0.SystemMode": system})
      for mode, system in ((0, 0), (1, 4), (2, 3), (3, 1), (4, 5), (6, 7), (7, 4), (8, 8), (10, 1), (11, 4), (12, 3))),
    *((HEATER, "Thermostat Mode Report", {"mode": mode}, {}) for mode in (5, 9, 13, 15)),
    *((HEATER, "Thermostat Operating State Report", {"state": state}, {"0.ThermostatRunningState": running})
      for state, running in ((0, 0), (1, 1), (2, 2), (3, 4), (4, 0), (5, 0), (6, 4), (7, 1), (8, 9), (9, 18), (11, 9))),
    (HEATER, "Thermostat Operating State Report", {"state": 15}, {}),
    *((HEATER, "Thermostat Fan Mode Report", {"off": False, "mode": mode}, {"0.FanMode": fan})
      for mode, fan in ((0, 5), (1, 1), (2, 5), (3, 3), (4, 5), (5, 2), (6, 4), (7, 4), (10, 1), (11, 4))),
    (HEATER, "Thermostat Fan Mode Report", {"off": True, "mode": 1}, {"0.FanMode": 0}),
    (HEATER, "Thermostat Fan Mode Report", {"off": False, "mode": 8}, {}),
    (HEATER, "Thermostat Setpoint Report", {"type": 1, "scale": 0, "value": number(-10.5)}, {"0.OccupiedHeatingSetpoint": -1050}),
    (HEATER, "Thermostat Setpoint Report", {"type": 2, "scale": 1, "value": number(212)}, {"0.OccupiedCoolingSetpoint": 10000}),
    (HEATER, "Thermostat Setpoint Report", {"type": 11, "scale": 0, "value": number(17)}, {}),
    (HEATER, "Multilevel Sensor Report", {"type": 1, "scale": 1, "value": number(68)},
     {"0.LocalTemperature": 2000, "0.MeasuredValue": 2000}),
    *((DOOR, "Door Lock Operation Report",
       {"mode": mode, "outside_handles": 0, "inside_handles": 0, "latch_closed": False, "bolt_unlocked": bolt,
        "door_closed": closed, "timeout_minutes": 254, "timeout_seconds": 254},
       {"0.LockState": state, "0.DoorState": int(closed)})
      for mode, bolt, closed, state in (
          (0xFF, False, True, 1), (0xFF, True, True, 0), (0x00, True, False, 2), (0x01, True, False, 2), (0x10, True, True, 2),
          (0x11, True, True, 2), (0x20, True, True, 2), (0x21, True, True, 2), (0xFE, False, False, None))),
    (DOOR, "User Code Keypad Mode Report", {"mode": 2}, {"0.OperatingMode": 2}),
    (DOOR, "User Code Keypad Mode Report", {"mode": 3}, {}),
    (DOOR, "Door Lock Configuration Report", {**LOCK[1].values, "auto_relock_seconds": 65535}, {"0.AutoRelockTime": 65535}),
    (OLD_DOOR, "Lock Report", {"locked": 1}, {"0.LockState": 1}),
    (OLD_DOOR, "Lock Report", {"locked": 0}, {"0.LockState": 2}),
    *((CELL, "Battery Report", {"level": raw},
       {"0battery.CurrentLevel": level, "0battery.BatPercentRemaining": left, "0battery.BatChargeLevel": charge})
      for raw, level, left, charge in (
          (0, 0, 0, 2), (9, 23, 18, 2), (10, 25, 20, 1), (20, 51, 40, 0), (100, 254, 200, 0), (255, None, None, 1))),
    (METER, "Meter Report", {"type": 1, "scale": 0, "rate_type": 1, "value": number(0)}, {"0.CumulativeEnergyImported": {"energy": 0}}),
    (METER, "Meter Report", {"type": 1, "scale": 0, "rate_type": 1, "value": number(2_147_483_647)},
     {"0.CumulativeEnergyImported": {"energy": 2_147_483_647_000_000}}),
    (METER, "Meter Report", {"type": 1, "scale": 0, "rate_type": 2, "value": number(1.234)},
     {"0.CumulativeEnergyExported": {"energy": 1_234_000}}),
    (METER, "Meter Report", {"type": 1, "scale": 2, "rate_type": 0, "value": number(-1.5)}, {"0.ActivePower": -1500}),
    (METER, "Meter Report", {"type": 1, "scale": 2, "rate_type": 2, "value": number(1.5)}, {"0.ActivePower": -1500}),
    (METER, "Meter Report", {"type": 1, "scale": 4, "rate_type": 1, "value": number(230.1)}, {"0.RMSVoltage": 230_100}),
    (METER, "Meter Report", {"type": 1, "scale": 5, "rate_type": 1, "value": number(0.012)}, {"0.RMSCurrent": 12}),
    (METER, "Meter Report", {"type": 1, "scale": 6, "rate_type": 1, "value": number(0.98)}, {"0.PowerFactor": 9800}),
    (METER, "Meter Report", {"type": 1, "scale": 1, "rate_type": 1, "value": number(1)}, {}),
    (METER, "Meter Report", {"type": 2, "scale": 0, "rate_type": 1, "value": number(1)}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("made", "report", "values", "wanted"), CASES)
def test_a_report_fills_its_properties(
    made: NodeMap, report: str, values: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert heard(made, report, **values) == wanted


# type, scale, value -> what the cluster says
MEASUREMENTS = [
    (0x01, 0, -40, -4000), (0x01, 0, 327.67, 32767), (0x01, 1, 32, 0), (0x01, 1, -40, -4000), (0x0B, 0, 7.25, 725),
    (0x05, 0, 0, 0), (0x05, 0, 100, 10000), (0x29, 0, 12.5, 1250), (0x03, 1, 0, 0), (0x03, 1, 1, 1), (0x03, 1, 100_000, 50001),
    (0x03, 1, 10_000_000, 65534), (0x09, 0, 101.3, 1013), (0x08, 1, 29.92, 1013), (0x39, 0, 300, 3000), (0x4E, 1, 14.5, 1000),
    (0x38, 0, 1000, 10), (0x12, 0, 2.5, 25), (0x12, 1, 10, 170), (0x11, 0, 412, 412.0), (0x28, 1, 0.5, 0.5), (0x27, 1, 0.25, 0.25),
    (0x23, 1, 8.5, 8.5), (0x3B, 1, 9, 9.0), (0x56, 0, 3, 3.0), (0x51, 0, 60, 60.0), (0x53, 0, 20, 20.0), (0x25, 0, 300, 300.0),
    (0x25, 1, 4, 148.0), (0x04, 0, 12.5, 12500), (0x0F, 0, 3.1, 3100), (0x0F, 1, 3100, 3100), (0x10, 0, 0.5, 500),
    (0x20, 0, 50, 50_000), (0x20, 1, 2, 2_000_000),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "scale", "value", "wanted"), MEASUREMENTS)
def test_a_sensor_is_scaled_to_the_unit_of_its_cluster(kind: int, scale: int, value: float, wanted: float) -> None:
    made = one({0x31: 11}, (0x21, 1), sensor(kind, scale))
    row = next(row for row in MEASURED if row.type == kind)
    found = heard(made, "Multilevel Sensor Report", type=kind, scale=scale, value=number(value))
    assert found == {f"0.{row.property}": wanted} | ({} if row.unit is None else {"0.MeasurementUnit": row.unit})
    assert type(found[f"0.{row.property}"]) is type(wanted)


def test_every_sensor_that_is_mapped_has_a_case() -> None:
    assert {row.type for row in MEASURED} - {kind for kind, *_ in MEASUREMENTS} == {
        kind for kind, (name, _) in SENSOR_TYPES.items() if name.endswith("temperature") and kind not in (0x01, 0x22)
    } | {0x4F}


def test_a_scale_that_the_cluster_has_no_unit_for_says_nothing() -> None:
    made = one({0x31: 11}, (0x21, 1), [told("Multilevel Sensor Supported Report", types=[3, 5, 0x23])])
    for kind, scale in ((3, 0), (5, 1), (0x23, 0)):
        assert heard(made, "Multilevel Sensor Report", type=kind, scale=scale, value=number(5)) == {}


@pytest.mark.parametrize(
    ("made", "name", "values"),
    [
        (LAMP, "Multilevel Switch Report", {"current_value": 100}),
        (GARAGE, "Barrier Operator Report", {"state": 0xF0}),
        (SIREN, "Sound Switch Tone Play Report", {"tone": 1, "volume": 101}),
        (CELL, "Battery Report", {"level": 101}),
        (OLD_DOOR, "Lock Report", {"locked": 2}),
        (HEATER, "Multilevel Sensor Report", {"type": 1, "scale": 0, "value": number(400)}),
        (HEATER, "Multilevel Sensor Report", {"type": 1, "scale": 0, "value": number(-274)}),
        (METER, "Meter Report", {"type": 1, "scale": 0, "rate_type": 1, "value": number(-1)}),
        (HEATER, "Thermostat Setpoint Report", {"type": 1, "scale": 2, "value": number(1)}),
    ],
)
def test_nonsense_is_an_error_and_no_report(made: NodeMap, name: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        heard(made, name, **values)


# ---- colour ---------------------------------------------------------------------------------------------------------------


def test_a_colour_is_told_once_all_of_it_was_heard() -> None:
    made = NodeMap(LAMP.node)
    said = [
        heard(made, "Color Switch Report", component=part, current_value=raw)
        for part, raw in ((2, 255), (3, 0), (4, 0))
    ]
    assert said[:2] == [{}, {}]
    assert said[2] == {"0.CurrentHue": 0, "0.CurrentSaturation": 254, "0.CurrentX": 41948, "0.CurrentY": 21625}
    assert heard(made, "Color Switch Report", component=0, current_value=0) == said[2]
    assert heard(made, "Color Switch Report", component=1, current_value=0) == {
        **said[2],
        "0.ColorMode": 0,
        "0.EnhancedColorMode": 0,
    }
    for part in (2, 0):
        heard(made, "Color Switch Report", component=part, current_value=0 if part else 255)
    assert heard(made, "Color Switch Report", component=1, current_value=255)["0.ColorTemperatureMireds"] == 261
    assert heard(made, "Color Switch Report", component=1, current_value=0)["0.ColorMode"] == 2


# ---- notifications -----------------------------------------------------------------------------------------------------------


def notification(made: NodeMap, kind: int, event: int, *parameters: int, **more: int) -> dict[str, Any]:
    values = {
        "v1_type": 0,
        "v1_level": 0,
        "status": 0xFF,
        "type": kind,
        "event": event,
        "parameters": bytes(parameters),
    }
    return heard(made, "Notification Report", **{**values, **more})


@pytest.mark.parametrize("sense", [sense for sense in SENSES if sense.type and not sense.passing], ids=lambda s: s.part)
def test_a_state_holds_until_it_is_idle_or_another(sense: Any) -> None:
    made = one({0x71: 8}, (0x07, 1), alarm(**{f"n{sense.type}": sorted(sense.on | sense.off)}))
    place = "0" if sense.primary else f"0{sense.part}"
    active, idle = {f"{place}.StateValue": not sense.closed}, {f"{place}.StateValue": sense.closed}
    for state in sense.on:
        assert notification(made, sense.type, state) == active
        assert notification(made, sense.type, 0xFE) == {}
        assert notification(made, sense.type, 0, 0x3F) == {}, "another state ended"
        assert notification(made, sense.type, 0, state) == (idle if sense.idles else {})
        assert notification(made, sense.type, 0) == (idle if sense.idles else {})
        assert notification(made, sense.type, state, status=0xFE) == {}
    for state in sense.off:
        assert notification(made, sense.type, state) == idle
    assert notification(made, sense.type, 0x3F) == {}


def test_version_1_alarms_have_a_makers_own_numbers_and_say_nothing() -> None:
    made = one({0x71: 8}, (0x07, 1), alarm(n7=[8]))
    assert heard(made, "Notification Report", v1_type=7, v1_level=255) == {}


def test_smoke_is_an_alarm_with_its_events() -> None:
    made = one({0x71: 8, 0x80: 1}, (0x07, 1), alarm(n1=[2, 3], n2=[2, 3], n9=[1]))
    assert notification(made, 1, 0, 2) == {"0.SmokeState": 0}, "of CO nothing is known: no summary"
    assert notification(made, 2, 0) == {"0.COState": 0, "0.ExpressedState": 0}
    assert notification(made, 1, 2) == {"0.SmokeState": 2, "0.ExpressedState": 1}
    assert notification(made, 2, 1) == {"0.COState": 2, "0.ExpressedState": 1}
    assert notification(made, 1, 0, 2) == {"0.SmokeState": 0, "0.ExpressedState": 2}
    assert notification(made, 2, 0, 1) == {"0.COState": 0, "0.ExpressedState": 0}
    assert notification(made, 1, 3) == {"0.TestInProgress": True, "0.ExpressedState": 4}
    assert notification(made, 1, 0, 3) == {"0.TestInProgress": False, "0.ExpressedState": 0}
    assert notification(made, 2, 3, 2) == {"0.HardwareFaultAlert": True, "0.ExpressedState": 5}
    assert notification(made, 2, 3, 1) == {"0.HardwareFaultAlert": False, "0.ExpressedState": 0}
    assert notification(made, 9, 1) == {"0.HardwareFaultAlert": True, "0.ExpressedState": 5}
    low = heard(made, "Battery Report", level=5)
    assert {name: low[name] for name in ("0.BatteryAlert", "0.ExpressedState")} == {
        "0.BatteryAlert": 2,
        "0.ExpressedState": 3,
    }
    values = {"v1_type": 0, "v1_level": 0, "status": 255, "type": 1, "parameters": b""}
    assert events(made, "Notification Report", **values, event=2) == [("SmokeAlarm", {"AlarmSeverityLevel": 2})]
    assert events(made, "Notification Report", **values, event=2) == []
    assert events(made, "Notification Report", **values, event=0) == [("AllClear", {})]


def test_older_classes_tell_the_same() -> None:
    smoke = one({0x30: 2}, (0x20, 1), [told("Binary Sensor Supported Report", types=[2, 10])])
    assert heard(smoke, "Binary Sensor Report", value=255, type=2) == {"0.SmokeState": 2, "0.ExpressedState": 1}
    assert heard(smoke, "Binary Sensor Report", value=255, type=10) == {"0.StateValue": False}, "open is no contact"
    assert heard(smoke, "Binary Sensor Report", value=0, type=10) == {"0.StateValue": True}
    with pytest.raises(ValueError):
        heard(smoke, "Binary Sensor Report", value=7, type=10)
    water = one({0x9C: 1}, (0xA1, 0), [told("Alarm Sensor Supported Report", types=[2, 5])])
    assert heard(water, "Alarm Sensor Report", source=1, type=5, state=255, seconds=0) == {"0.StateValue": True}
    assert heard(water, "Alarm Sensor Report", source=1, type=2, state=0, seconds=0) == {
        "0.COState": 0,
        "0.ExpressedState": 0,
    }
    old = one({0x30: 1, 0x20: 1}, (0x20, 1))
    for name, value in (
        ("Binary Sensor Report", "value"),
        ("Basic Set", "target_value"),
        ("Basic Report", "current_value"),
    ):
        assert heard(old, name, **{value: 255}) == {"0.StateValue": True}
        assert heard(old, name, **{value: 0}) == {"0.StateValue": False}


@pytest.mark.parametrize(("event", "level"), [(0x0A, 1), (0x0B, 2), (0x0E, 1), (0x0F, 2)])
def test_a_battery_can_warn_by_notification(event: int, level: int) -> None:
    made = one({0x71: 8, 0x80: 1}, (0x07, 1), alarm(n8=[10, 11, 14, 15]))
    assert notification(made, 8, event) == {"0battery.BatChargeLevel": level}
    assert notification(made, 8, 0x0C) == {}


def test_what_passes_is_an_event_and_no_state() -> None:
    made = one({0x71: 8}, (0x07, 1), alarm(n7=[5, 6, 9]))
    values = {"v1_type": 0, "v1_level": 0, "status": 255, "type": 7, "parameters": b""}
    for event in (6, 9):
        assert events(made, "Notification Report", **values, event=event) == [("StateChange", {"StateValue": True})]
        assert heard(made, "Notification Report", **values, event=event) == {}
    assert made.refresh() == ()


def test_a_lock_tells_who_turned_it() -> None:
    def said(event: int, parameters: bytes = b"") -> list[tuple[str, dict[str, Any]]]:
        values = {"v1_type": 0, "v1_level": 0, "status": 255, "type": 6, "event": event, "parameters": parameters}
        return events(DOOR, "Notification Report", **values)

    def operation(kind: int, source: int, user: int | None) -> list[tuple[str, dict[str, Any]]]:
        return [("LockOperation", {"LockOperationType": kind, "OperationSource": source, "UserIndex": user})]

    assert said(1) == operation(0, 1, None)
    assert said(4) == operation(1, 7, None)
    assert said(6, bytes.fromhex("630307013132")) == operation(1, 3, 7)
    assert said(5, b"\x04") == operation(0, 3, 4)
    assert said(9) == operation(0, 4, None)
    assert said(11) == [("DoorLockAlarm", {"AlarmCode": 0})]
    assert said(16) == [("DoorLockAlarm", {"AlarmCode": 4})]
    assert notification(DOOR, 6, 7) == {"0.LockState": 0}
    assert notification(DOOR, 6, 2) == {"0.LockState": 2}


# ---- buttons ------------------------------------------------------------------------------------------------------------------


def test_a_button_is_pressed_held_and_released() -> None:
    made = one({0x5B: 3}, (0x18, 1), [told("Central Scene Supported Report", scenes=2)])

    def said(sequence: int, key: int, scene: int = 2) -> list[str]:
        found = events(made, "Central Scene Notification", sequence=sequence, slow_refresh=True, key=key, scene=scene)
        return [f"{name} {list(fields.values())}" for name, fields in found]

    assert said(1, 0) == ["InitialPress [2]", "ShortRelease [2]"]
    assert said(1, 0) == [], "the same frame again"
    assert said(2, 2) == ["InitialPress [2]", "LongPress [2]"]
    assert said(3, 2) == []
    assert said(4, 1) == ["LongRelease [2]"]
    assert said(5, 3) == ["MultiPressComplete [2, 2]"]
    assert said(6, 6, 1) == ["MultiPressComplete [1, 5]"]
    with pytest.raises(ValueError, match="key"):
        said(7, 7)


def test_remotes_that_set_others_are_buttons() -> None:
    made = one({0x20: 1}, (0x12, 1))
    assert [name for name, _ in events(made, "Basic Set", target_value=255)] == ["InitialPress", "ShortRelease"]
    assert events(made, "Basic Set", target_value=0)[0] == ("InitialPress", {"NewPosition": 2})
    up = {"direction": 0, "ignore_start_level": True, "secondary_direction": 0, "start_level": 0}
    assert events(made, "Multilevel Switch Start Level Change", **up)[1] == ("LongPress", {"NewPosition": 1})
    assert events(made, "Multilevel Switch Stop Level Change") == [("LongRelease", {"PreviousPosition": 1})]
    assert events(made, "Multilevel Switch Stop Level Change") == []
    scenes = one({0x20: 1, 0x2D: 1}, (0x01, 1))
    assert events(scenes, "Scene Activation Set", scene=9, duration=0)[0] == ("InitialPress", {"NewPosition": 9})
    assert scenes.heard(0, Command("Scene Activation Set", {"scene": 0})) == ()
