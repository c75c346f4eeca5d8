"""Commands that act and tell, as zwave-js calls them and as ours: rows of test_zwavejs_commands.

A row: zwave-js class, its options (which are also the fields that it reads), our command, our values.
"""

from typing import Any

from conformance.zwavejs_rig import hexed

from drivers.zwave.layout_values import Scaled

Row = tuple[str, dict[str, Any], str, dict[str, Any]]


def seconds(number: int) -> dict[str, Any]:
    return {"$duration": number, "unit": "seconds"}


FIVE = {"duration": seconds(5)}
MINUTES = {"duration": {"$duration": 3, "unit": "minutes"}}
CELSIUS = Scaled(215, 1, 2)

ACTING: list[Row] = [
    ("BasicCCSet", {"targetValue": 99}, "Basic Set", {"target_value": 99}),
    (
        "BasicCCReport",
        {"currentValue": 10, "targetValue": 20, **FIVE},
        "Basic Report",
        {"current_value": 10, "target_value": 20, "duration": 5},
    ),
    ("BinarySwitchCCSet", {"targetValue": True, **FIVE}, "Binary Switch Set", {"target_value": 255, "duration": 5}),
    (
        "BinarySwitchCCReport",
        {"currentValue": False, "targetValue": True, **MINUTES},
        "Binary Switch Report",
        {"current_value": 0, "target_value": 255, "duration": 180},
    ),
    (
        "MultilevelSwitchCCSet",
        {"targetValue": 50, **MINUTES},
        "Multilevel Switch Set",
        {"target_value": 50, "duration": 180},
    ),
    (
        "MultilevelSwitchCCReport",
        {"currentValue": 10, "targetValue": 20, **FIVE},
        "Multilevel Switch Report",
        {"current_value": 10, "target_value": 20, "duration": 5},
    ),
    (
        "MultilevelSwitchCCStartLevelChange",
        {"direction": "down", "ignoreStartLevel": True, "startLevel": 0, **FIVE},
        "Multilevel Switch Start Level Change",
        {"direction": 1, "ignore_start_level": True, "secondary_direction": 0, "start_level": 0, "duration": 5},
    ),
    (
        "MultilevelSwitchCCSupportedReport",
        {"switchType": 2},
        "Multilevel Switch Supported Report",
        {"primary_type": 2},
    ),
    (
        "ColorSwitchCCSupportedReport",
        {"supportedColorComponents": [0, 2, 3, 8]},
        "Color Switch Supported Report",
        {"components": [0, 2, 3, 8]},
    ),
    ("ColorSwitchCCGet", {"colorComponent": 2}, "Color Switch Get", {"component": 2}),
    (
        "ColorSwitchCCReport",
        {"colorComponent": 2, "currentValue": 1, "targetValue": 3, **FIVE},
        "Color Switch Report",
        {"component": 2, "current_value": 1, "target_value": 3, "duration": 5},
    ),
    (
        "ColorSwitchCCSet",
        {"red": 1, "green": 2, "blue": 255, **FIVE},
        "Color Switch Set",
        {
            "colors": [{"component": 2, "value": 1}, {"component": 3, "value": 2}, {"component": 4, "value": 255}],
            "duration": 5,
        },
    ),
    (
        "ColorSwitchCCStartLevelChange",
        {"direction": "down", "ignoreStartLevel": True, "startLevel": 5, "colorComponent": 2, **FIVE},
        "Color Switch Start Level Change",
        {"down": True, "ignore_start_level": True, "component": 2, "start_level": 5, "duration": 5},
    ),
    ("ColorSwitchCCStopLevelChange", {"colorComponent": 2}, "Color Switch Stop Level Change", {"component": 2}),
    (
        "WindowCoveringCCSupportedReport",
        {"supportedParameters": [1, 13, 23]},
        "Window Covering Supported Report",
        {"parameters": [1, 13, 23]},
    ),
    ("WindowCoveringCCGet", {"parameter": 13}, "Window Covering Get", {"parameter": 13}),
    (
        "WindowCoveringCCReport",
        {"parameter": 13, "currentValue": 10, "targetValue": 99, **FIVE},
        "Window Covering Report",
        {"parameter": 13, "current_value": 10, "target_value": 99, "duration": 5},
    ),
    (
        "WindowCoveringCCSet",
        {"targetValues": [{"parameter": 13, "value": 50}, {"parameter": 23, "value": 1}], **FIVE},
        "Window Covering Set",
        {"values": [{"parameter": 13, "value": 50}, {"parameter": 23, "value": 1}], "duration": 5},
    ),
    (
        "WindowCoveringCCStartLevelChange",
        {"parameter": 13, "direction": "down", **FIVE},
        "Window Covering Start Level Change",
        {"down": True, "parameter": 13, "duration": 5},
    ),
    ("WindowCoveringCCStopLevelChange", {"parameter": 13}, "Window Covering Stop Level Change", {"parameter": 13}),
    ("BarrierOperatorCCSet", {"targetState": 255}, "Barrier Operator Set", {"target_value": 255}),
    ("BarrierOperatorCCReport", {"currentState": 252}, "Barrier Operator Report", {"state": 0xFC}),
    (
        "BarrierOperatorCCSignalingCapabilitiesReport",
        {"supportedSubsystemTypes": [1, 2]},
        "Barrier Operator Signal Supported Report",
        {"subsystems": [1, 2]},
    ),
    (
        "BarrierOperatorCCEventSignalingSet",
        {"subsystemType": 1, "subsystemState": 255},
        "Barrier Operator Signal Set",
        {"subsystem": 1, "state": 255},
    ),
    ("BarrierOperatorCCEventSignalingGet", {"subsystemType": 2}, "Barrier Operator Signal Get", {"subsystem": 2}),
    (
        "BarrierOperatorCCEventSignalingReport",
        {"subsystemType": 2, "subsystemState": 0},
        "Barrier Operator Signal Report",
        {"subsystem": 2, "state": 0},
    ),
    ("SoundSwitchCCTonesNumberReport", {"toneCount": 7}, "Sound Switch Tones Number Report", {"tones": 7}),
    ("SoundSwitchCCToneInfoGet", {"toneId": 3}, "Sound Switch Tone Info Get", {"tone": 3}),
    (
        "SoundSwitchCCToneInfoReport",
        {"toneId": 3, "duration": 300, "name": "Chime"},
        "Sound Switch Tone Info Report",
        {"tone": 3, "seconds": 300, "name": "Chime"},
    ),
    (
        "SoundSwitchCCConfigurationSet",
        {"defaultVolume": 40, "defaultToneId": 2},
        "Sound Switch Configuration Set",
        {"volume": 40, "default_tone": 2},
    ),
    (
        "SoundSwitchCCConfigurationReport",
        {"defaultVolume": 40, "defaultToneId": 2},
        "Sound Switch Configuration Report",
        {"volume": 40, "default_tone": 2},
    ),
    ("SoundSwitchCCTonePlaySet", {"toneId": 1, "volume": 9}, "Sound Switch Tone Play Set", {"tone": 1, "volume": 9}),
    (
        "SoundSwitchCCTonePlayReport",
        {"toneId": 1, "volume": 9},
        "Sound Switch Tone Play Report",
        {"tone": 1, "volume": 9},
    ),
    ("IndicatorCCSet", {"value": 255}, "Indicator Set", {"value": 255}),
    (
        "IndicatorCCSet",
        {"values": [{"indicatorId": 0x50, "propertyId": 3, "value": 8}]},
        "Indicator Set",
        {"value": 0, "objects": [{"indicator": 0x50, "property": 3, "value": 8}]},
    ),
    ("IndicatorCCGet", {"indicatorId": 0x50}, "Indicator Get", {"indicator": 0x50}),
    (
        "IndicatorCCReport",
        {"values": [{"indicatorId": 0x50, "propertyId": 3, "value": 8}]},
        "Indicator Report",
        {"value": 0, "objects": [{"indicator": 0x50, "property": 3, "value": 8}]},
    ),
    ("IndicatorCCSupportedGet", {"indicatorId": 0x50}, "Indicator Supported Get", {"indicator": 0x50}),
    (
        "IndicatorCCSupportedReport",
        {"indicatorId": 0x50, "nextIndicatorId": 0, "supportedProperties": [3, 4, 5]},
        "Indicator Supported Report",
        {"indicator": 0x50, "next_indicator": 0, "properties": [3, 4, 5]},
    ),
    ("IndicatorCCDescriptionGet", {"indicatorId": 0x80}, "Indicator Description Get", {"indicator": 0x80}),
    (
        "IndicatorCCDescriptionReport",
        {"indicatorId": 0x80, "description": "Lamp"},
        "Indicator Description Report",
        {"indicator": 0x80, "description": "Lamp"},
    ),
    (
        "SceneActivationCCSet",
        {"sceneId": 7, "dimmingDuration": seconds(5)},
        "Scene Activation Set",
        {"scene": 7, "duration": 5},
    ),
    (
        "SceneActuatorConfigurationCCSet",
        {"sceneId": 7, "dimmingDuration": seconds(5), "level": 99},
        "Scene Actuator Configuration Set",
        {"scene": 7, "duration": 5, "override": True, "level": 99},
    ),
    ("SceneActuatorConfigurationCCGet", {"sceneId": 7}, "Scene Actuator Configuration Get", {"scene": 7}),
    (
        "SceneActuatorConfigurationCCReport",
        {"sceneId": 7, "dimmingDuration": seconds(5), "level": 99},
        "Scene Actuator Configuration Report",
        {"scene": 7, "level": 99, "duration": 5},
    ),
    (
        "SceneControllerConfigurationCCSet",
        {"groupId": 2, "sceneId": 7, "dimmingDuration": seconds(5)},
        "Scene Controller Configuration Set",
        {"group": 2, "scene": 7, "duration": 5},
    ),
    ("SceneControllerConfigurationCCGet", {"groupId": 2}, "Scene Controller Configuration Get", {"group": 2}),
    (
        "SceneControllerConfigurationCCReport",
        {"groupId": 2, "sceneId": 7, "dimmingDuration": seconds(5)},
        "Scene Controller Configuration Report",
        {"group": 2, "scene": 7, "duration": 5},
    ),
    (
        "ApplicationStatusCCBusy",
        {"status": 1, "waitTime": 9},
        "Application Status Busy",
        {"status": 1, "wait_seconds": 9},
    ),
    ("ApplicationStatusCCRejectedRequest", {}, "Application Status Rejected Request", {"status": 0}),
]

TELLING: list[Row] = [
    ("BinarySensorCCGet", {"sensorType": 12}, "Binary Sensor Get", {"type": 12}),
    ("BinarySensorCCReport", {"type": 12, "value": True}, "Binary Sensor Report", {"value": 255, "type": 12}),
    (
        "BinarySensorCCSupportedReport",
        {"supportedSensorTypes": [2, 12]},
        "Binary Sensor Supported Report",
        {"types": [2, 12]},
    ),
    ("MultilevelSensorCCGet", {"sensorType": 1, "scale": 1}, "Multilevel Sensor Get", {"type": 1, "scale": 1}),
    (
        "MultilevelSensorCCReport",
        {"type": 1, "scale": 0, "value": 21.5},
        "Multilevel Sensor Report",
        {"type": 1, "scale": 0, "value": CELSIUS},
    ),
    (
        "MultilevelSensorCCReport",
        {"type": 1, "scale": 1, "value": -4},
        "Multilevel Sensor Report",
        {"type": 1, "scale": 1, "value": Scaled(-4, 0, 1)},
    ),
    (
        "MultilevelSensorCCReport",
        {"type": 3, "scale": 1, "value": 100000.25},
        "Multilevel Sensor Report",
        {"type": 3, "scale": 1, "value": Scaled(10000025, 2, 4)},
    ),
    (
        "MultilevelSensorCCSupportedSensorReport",
        {"supportedSensorTypes": [1, 5, 88]},
        "Multilevel Sensor Supported Report",
        {"types": [1, 5, 88]},
    ),
    ("MultilevelSensorCCGetSupportedScale", {"sensorType": 5}, "Multilevel Sensor Supported Scale Get", {"type": 5}),
    (
        "MultilevelSensorCCSupportedScaleReport",
        {"sensorType": 5, "supportedScales": [0, 1]},
        "Multilevel Sensor Supported Scale Report",
        {"type": 5, "scales": [0, 1]},
    ),
    ("MeterCCGet", {"scale": 2, "rateType": 1}, "Meter Get", {"rate_type": 1, "scale": 2}),
    ("MeterCCGet", {"scale": 8, "rateType": 2}, "Meter Get", {"rate_type": 2, "scale": 7, "scale_2": 1}),
    (
        "MeterCCReport",
        {"type": 1, "scale": 2, "value": 61.5, "rateType": 1, "deltaTime": 60, "previousValue": 60.5},
        "Meter Report",
        {
            "rate_type": 1,
            "type": 1,
            "scale": 2,
            "value": Scaled(615, 1, 2),
            "delta_time": 60,
            "previous_value": Scaled(605, 1, 2),
        },
    ),
    (
        "MeterCCReport",
        {"type": 1, "scale": 6, "value": 0.98, "rateType": 2, "deltaTime": 0},
        "Meter Report",
        {"rate_type": 2, "type": 1, "scale": 6, "value": Scaled(98, 2, 1), "delta_time": 0},
    ),
    (
        "MeterCCSupportedReport",
        {"type": 1, "supportsReset": True, "supportedScales": [0, 2, 5], "supportedRateTypes": [1, 2]},
        "Meter Supported Report",
        {"reset": True, "rate_types": 3, "type": 1, "scales": 0x25},
    ),
    ("MeterCCReset", {}, "Meter Reset", {}),
    (
        "MeterCCReset",
        {"type": 1, "scale": 0, "rateType": 1, "targetValue": 12.5},
        "Meter Reset",
        {"rate_type": 1, "type": 1, "scale": 0, "value": Scaled(125, 1, 1)},
    ),
    (
        "NotificationCCGet",
        {"notificationType": 7, "notificationEvent": 8},
        "Notification Get",
        {"v1_type": 0, "type": 7, "event": 8},
    ),
    (
        "NotificationCCReport",
        {"notificationType": 6, "notificationStatus": 255, "notificationEvent": 66, "eventParameters": hexed("05")},
        "Notification Report",
        {"v1_type": 0, "v1_level": 0, "status": 255, "type": 6, "event": 66, "parameters": b"\x05"},
    ),
    (
        "NotificationCCSet",
        {"notificationType": 7, "notificationStatus": True},
        "Notification Set",
        {"type": 7, "status": 255},
    ),
    (
        "NotificationCCSupportedReport",
        {"supportsV1Alarm": False, "supportedNotificationTypes": [6, 7, 9]},
        "Notification Supported Report",
        {"v1_alarm": False, "types": [6, 7, 9]},
    ),
    ("NotificationCCEventSupportedGet", {"notificationType": 7}, "Notification Event Supported Get", {"type": 7}),
    (
        "NotificationCCEventSupportedReport",
        {"notificationType": 7, "supportedEvents": [3, 8]},
        "Notification Event Supported Report",
        {"type": 7, "events": [3, 8]},
    ),
    (
        "CentralSceneCCSupportedReport",
        {"sceneCount": 2, "supportsSlowRefresh": True},
        "Central Scene Supported Report",
        {"scenes": 2, "slow_refresh": True, "key_bytes": 1, "identical": True, "keys": b"\x07"},
    ),
    (
        "CentralSceneCCNotification",
        {"sequenceNumber": 9, "keyAttribute": 3, "sceneNumber": 4},
        "Central Scene Notification",
        {"sequence": 9, "slow_refresh": False, "key": 3, "scene": 4},
    ),
    (
        "CentralSceneCCConfigurationSet",
        {"slowRefresh": True},
        "Central Scene Configuration Set",
        {"slow_refresh": True},
    ),
    (
        "CentralSceneCCConfigurationReport",
        {"slowRefresh": True},
        "Central Scene Configuration Report",
        {"slow_refresh": True},
    ),
    ("EnergyProductionCCGet", {"parameter": 1}, "Energy Production Get", {"parameter": 1}),
    ("AlarmSensorCCGet", {"sensorType": 5}, "Alarm Sensor Get", {"type": 5}),
    (
        "AlarmSensorCCReport",
        {"sensorType": 5, "state": True, "duration": 300},
        "Alarm Sensor Report",
        {"source": 2, "type": 5, "state": 255, "seconds": 300},
    ),
    (
        "AlarmSensorCCSupportedReport",
        {"supportedSensorTypes": [0, 5]},
        "Alarm Sensor Supported Report",
        {"types": [0, 5]},
    ),
]
