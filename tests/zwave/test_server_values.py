"""Values of zwave-js as reports, and steps of the catalogue as its requests."""

import re
from pathlib import Path
from typing import Any

import pytest
from zwave.server_rig import everything, inner, node, value

from agent.driver import DeviceRefused, DeviceUnreachable, DriverLost, InvalidParameters, NotSupported, UnknownDevice
from agent.model import Action
from drivers.told import Happened, Values
from drivers.zwave.catalog import NodeMap, ZWaveGet, ZWaveSet
from drivers.zwave.codec import Command
from drivers.zwave.server_commands import INVOKE, SET, SETS, Call, request, value_of
from drivers.zwave.server_facts import ValueId, interviewed, stored
from drivers.zwave.server_json import OLDEST, StickBusy, done, negotiated, refusal
from drivers.zwave.server_values import everything as all_of
from drivers.zwave.server_values import happened, notified, told

DRIVERS = Path(__file__).parent.parent.parent / "drivers" / "zwave"
NOT_FOR_NODES = {"Scene Activation Set"}  # what nodes send


def reported(classes: dict[int, int], values: list[Any], learnt: dict[int, Any], device: tuple[int, int]) -> Any:
    """What a node's whole state says: capability -> properties."""
    state, dump = node(classes, values, learnt, device)
    made, said = NodeMap(interviewed(state, dump)), {}
    for place, command in all_of(stored(state)):
        for one in made.heard(place, command, asked=True):
            if isinstance(one, Values):
                said.setdefault(one.capability.removeprefix("matter.").removesuffix("@1.4"), {}).update(one.properties)
    return said


def test_values_become_properties() -> None:
    dimmer = [value(0x26, "currentValue", 50), value(0x26, "duration", {"value": 2, "unit": "minutes"})]
    assert reported({0x26: 4}, dimmer, {}, (0x11, 1)) == {
        "OnOff": {"OnOff": True},
        "LevelControl": {"CurrentLevel": 128, "RemainingTime": 1200},
    }
    lock = [value(0x62, "currentMode", 255), value(0x62, "boltStatus", "unlocked"), value(0x62, "doorStatus", "open")]
    knows = {0x62: [inner("doorSupported", True), inner("boltSupported", True), inner("autoRelockSupported", False)]}
    assert reported({0x62: 4}, lock, knows, (0x40, 3)) == {"DoorLock": {"LockState": 0, "DoorState": 0}}
    barrier = [value(0x66, "currentState", 253), value(0x66, "position", 50)]
    said = reported({0x66: 1}, barrier, {}, (0x40, 7))
    assert said == {"OnOff": {"OnOff": True}, "LevelControl": {"CurrentLevel": 128}}
    low = [value(0x80, "level", 0), value(0x80, "isLow", True)]
    assert reported({0x80: 1}, low, {}, (0x40, 3))["PowerSource"] == {"BatPercentRemaining": None, "BatChargeLevel": 1}
    warm = [value(0x43, "setpoint", 70, 1, unit="°F", min=41, max=95)]
    assert reported({0x43: 3}, warm, {0x43: [inner("supportedSetpointTypes", [1])]}, (0x08, 6)) == {
        "Thermostat": {"OccupiedHeatingSetpoint": 2111}
    }
    unknown = [value(0x25, "currentValue", None), value(0x31, "Air temperature", None)]
    assert reported({0x25: 1, 0x31: 11}, unknown, {}, (0x10, 1)) == {}


def test_a_state_of_a_notification_holds_until_it_is_idle() -> None:
    state, dump = everything()
    made, store = NodeMap(interviewed(state, dump)), stored(state)
    which = ValueId(0, 0x71, "Home Security", "Motion sensor status")

    def said(now: int, before: int) -> list[Any]:
        store.values[which] = now
        return [one for command in told(store, which, before=before) for one in made.heard(0, command)]

    motion = [one for one in said(8, 0) if isinstance(one, Values)]
    assert motion[0].properties == {"StateValue": True}
    idle = said(0, 8)
    assert [one.properties for one in idle if isinstance(one, Values)] == [{"StateValue": False}]
    assert [one.event for one in idle if isinstance(one, Happened)] == ["StateChange"]
    simple = ValueId(0, 0x71, "Access Control", "Door state (simple)")
    store.values[simple], store.about[simple] = 22, {"ccSpecific": {"notificationType": 6}}
    assert told(store, simple) == ()
    store.values[door := ValueId(0, 0x71, "Access Control", "Door state")] = 22 << 8 | 1
    store.about[door] = {"ccSpecific": {"notificationType": 6}}
    assert [command["event"] for command in told(store, door)] == [22]


def test_what_passes_is_an_event() -> None:
    press = happened(ValueId(0, 0x5B, "scene", "002"), 3, 300)
    assert press == (Command("Central Scene Notification", {"sequence": 44, "scene": 2, "key": 3}),)
    assert happened(ValueId(0, 0x2B, "sceneId"), 7, 1)[0].values == {"scene": 7}
    assert happened(ValueId(0, 0x20, "event"), 255, 1)[0].values == {"target_value": 255}
    assert happened(ValueId(0, 0x25, "currentValue"), 1, 1) == ()
    unlocked = notified(0x71, {"type": 6, "event": 6, "parameters": {"userId": 3}})[0]
    assert (unlocked["event"], unlocked["parameters"]) == (6, b"\x03")
    raw = notified(0x71, {"type": 6, "event": 6, "parameters": {"type": "Buffer", "data": [99, 3, 1]}})[0]
    assert raw["parameters"] == b"\x63\x03\x01"
    assert notified(0x26, {"eventType": 4, "direction": "down"})[0].values == {"direction": 1}
    assert notified(0x26, {"eventType": 5})[0].name == "Multilevel Switch Stop Level Change"
    assert notified(0x6F, {"eventType": 5}) == ()


def test_each_command_of_the_catalogue_has_a_request_and_each_get_a_value() -> None:
    source = "".join(path.read_text() for path in DRIVERS.glob("catalog_*.py") if path.name != "catalog_facts.py")
    names = set(re.findall(r'Command\("([A-Z][A-Za-z ]* (?:Set|Change))"', source)) - NOT_FOR_NODES
    assert names <= SETS.keys()
    store = stored(everything()[0])
    fields = {"type": 1, "scale": 0, "event": 8, "component": 2, "parameter": 13}
    wanted = {"Notification Get": {"type": 7, "event": 8}, "Binary Sensor Get": {"type": 12}}
    gets = set(re.findall(r'Command\("([A-Z][A-Za-z ]* Get)"', source)) - {"Alarm Sensor Get"}
    for name in gets:
        found = value_of(ZWaveGet(0, Command(name, wanted.get(name, fields)), "", {}), store)
        assert found is not None, name
        assert found.command_class == Command(name).command_class
    assert value_of(ZWaveGet(0, Command("Meter Get", {"scale": 5}), "", {}), store) is None


def asked(
    number: int, act: Action, learnt: dict[int, Any] | None = None, values: list[Any] | None = None
) -> list[Call]:
    state, dump = node({number: 4}, values or [], learnt or {}, (0x11, 1))
    return [request(step) for step in NodeMap(interviewed(state, dump)).translate(act) if isinstance(step, ZWaveSet)]


def test_requests() -> None:
    dim = Action("0", "matter.LevelControl@1.4", "MoveToLevel", {"Level": 128, "TransitionTime": 30})
    target = {"commandClass": 0x26, "endpoint": 0, "property": "targetValue"}
    wanted = {"valueId": target, "value": 50, "options": {"transitionDuration": "3s"}}
    assert asked(0x26, dim) == [Call(SET, wanted, checked=True)]
    move = Action("0", "matter.LevelControl@1.4", "Move", {"MoveMode": 1, "Rate": 99})
    (moved,) = asked(0x26, move)
    assert (moved.command, moved.arguments["methodName"]) == (INVOKE, "startLevelChange")
    assert moved.arguments["args"][0]["direction"] == "down"
    heat = Action("0", "matter.Thermostat@1.4", "UpdateState", {"OccupiedHeatingSetpoint": 2150})
    knows = {0x43: [inner("supportedSetpointTypes", [1])]}
    (warmed,) = asked(0x43, heat, knows, [value(0x43, "setpoint", 20, 1, unit="°C")])
    assert warmed.arguments["args"] == [1, 21.5, 0]
    with pytest.raises(NotSupported):
        request(ZWaveSet(0, Command("Clock Set")))


def test_an_endpoint_repeats_at_the_root() -> None:
    state, dump = node({0x32: 5}, [], {})
    other = {**state["endpoints"][0], "index": 1}
    state["endpoints"].append(other)
    inside = [inner("type", 1), inner("supportedScales", [0]), inner("supportedRateTypes", [1])]
    dump["endpoints"] = {"1": {"commandClasses": {"Meter": {"values": inside}}}}
    made = NodeMap(interviewed(state, dump))
    assert [one.id for one in made.endpoints] == ["1"]
    assert made.unmapped == ()


def test_results_and_refusals_mean_what_they_say() -> None:
    assert done({"result": {"status": 255}}) is True
    assert done({"result": {"status": 1}}) is False
    assert done({"response": None}) is None
    with pytest.raises(InvalidParameters, match="too warm"):
        done({"result": {"status": 5, "message": "too warm"}})
    with pytest.raises(DeviceRefused):
        done({"response": {"status": 2}})
    for name, kind in {
        "Controller_CallbackNOK": DeviceUnreachable,
        "Controller_Jammed": StickBusy,
        "Argument_Invalid": InvalidParameters,
        "RemoveFailedNode_NodeOK": DeviceRefused,
        "Driver_Failed": DriverLost,
    }.items():
        error = refusal({"errorCode": "zwave_error", "zwaveErrorCodeName": name, "zwaveErrorMessage": "why\nwhere"})
        assert type(error) is kind
        assert str(error).startswith("why")
        assert "where" not in str(error)
    assert isinstance(refusal({"errorCode": "node_not_found"}), UnknownDevice)


def test_schemas_are_negotiated() -> None:
    def speaks(least: int, most: int) -> dict[str, Any]:
        return {"type": "version", "minSchemaVersion": least, "maxSchemaVersion": most, "serverVersion": "9"}

    assert negotiated(speaks(0, 44)) == 44
    assert negotiated(speaks(0, 60)) == 50
    with pytest.raises(DriverLost, match=r"0 to 39.*needs 40") as old:
        negotiated(speaks(0, OLDEST - 1))
    assert "Z-Wave JS UI" in old.value.remedy
    with pytest.raises(DriverLost, match="51 to 60") as new:
        negotiated(speaks(51, 60))
    assert "hub-agent" in new.value.remedy
