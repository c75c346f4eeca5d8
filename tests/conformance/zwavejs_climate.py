"""Commands of heating and humidity, as zwave-js calls them and as ours: rows of test_zwavejs_commands."""

from conformance.zwavejs_commands import CELSIUS, Row
from conformance.zwavejs_rig import hexed

from drivers.zwave.layout_values import Scaled

HEATING: list[Row] = [
    ("ThermostatModeCCSet", {"mode": 1}, "Thermostat Mode Set", {"mode": 1}),
    (
        "ThermostatModeCCSet",
        {"mode": 31, "manufacturerData": hexed("0102")},
        "Thermostat Mode Set",
        {"mode": 31, "manufacturer_data": b"\1\2"},
    ),
    ("ThermostatModeCCReport", {"mode": 2}, "Thermostat Mode Report", {"mode": 2}),
    (
        "ThermostatModeCCSupportedReport",
        {"supportedModes": [0, 1, 2, 11]},
        "Thermostat Mode Supported Report",
        {"modes": [0, 1, 2, 11]},
    ),
    ("ThermostatSetpointCCGet", {"setpointType": 1}, "Thermostat Setpoint Get", {"type": 1}),
    (
        "ThermostatSetpointCCSet",
        {"setpointType": 1, "value": 21.5, "scale": 0},
        "Thermostat Setpoint Set",
        {"type": 1, "scale": 0, "value": CELSIUS},
    ),
    (
        "ThermostatSetpointCCReport",
        {"type": 2, "value": 70, "scale": 1},
        "Thermostat Setpoint Report",
        {"type": 2, "scale": 1, "value": Scaled(70, 0, 1)},
    ),
    (
        "ThermostatSetpointCCSupportedReport",
        {"supportedSetpointTypes": [1, 2, 11]},
        "Thermostat Setpoint Supported Report",
        {"types": [1, 2, 7]},
    ),
    ("ThermostatSetpointCCCapabilitiesGet", {"setpointType": 1}, "Thermostat Setpoint Capabilities Get", {"type": 1}),
    (
        "ThermostatSetpointCCCapabilitiesReport",
        {"type": 1, "minValue": 5, "minValueScale": 0, "maxValue": 35.5, "maxValueScale": 0},
        "Thermostat Setpoint Capabilities Report",
        {"type": 1, "min_scale": 0, "min_value": Scaled(5, 0, 1), "max_scale": 0, "max_value": Scaled(355, 1, 2)},
    ),
    ("ThermostatOperatingStateCCReport", {"state": 1}, "Thermostat Operating State Report", {"state": 1}),
    ("ThermostatFanModeCCSet", {"mode": 3, "off": True}, "Thermostat Fan Mode Set", {"off": True, "mode": 3}),
    ("ThermostatFanModeCCReport", {"mode": 3, "off": True}, "Thermostat Fan Mode Report", {"off": True, "mode": 3}),
    (
        "ThermostatFanModeCCSupportedReport",
        {"supportedModes": [0, 1, 6]},
        "Thermostat Fan Mode Supported Report",
        {"modes": [0, 1, 6]},
    ),
    ("ThermostatFanStateCCReport", {"state": 2}, "Thermostat Fan State Report", {"state": 2}),
    (
        "ThermostatSetbackCCSet",
        {"setbackType": 1, "setbackState": 2.5},
        "Thermostat Setback Set",
        {"type": 1, "state": 25},
    ),
    (
        "ThermostatSetbackCCReport",
        {"setbackType": 2, "setbackState": -3},
        "Thermostat Setback Report",
        {"type": 2, "state": -30},
    ),
    ("HumidityControlModeCCSet", {"mode": 2}, "Humidity Control Mode Set", {"mode": 2}),
    ("HumidityControlModeCCReport", {"mode": 2}, "Humidity Control Mode Report", {"mode": 2}),
    ("HumidityControlOperatingStateCCReport", {"state": 1}, "Humidity Control Operating State Report", {"state": 1}),
    (
        "HumidityControlSetpointCCSet",
        {"setpointType": 1, "value": 45, "scale": 0},
        "Humidity Control Setpoint Set",
        {"type": 1, "scale": 0, "value": Scaled(45, 0, 1)},
    ),
]
