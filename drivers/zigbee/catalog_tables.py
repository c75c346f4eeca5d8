"""Zigbee clusters and the capabilities that they become. PURE: one table, and the scalings that it names.

Units are those of the Matter 1.4 cluster. ZCL values that mean "unknown" become None. `Timer`, which lists of supported devices name for
valves, is left out: no public schema or cluster says what it is; OnOff.OnTime (OnWithTimedOff) does the job on a valve.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from drivers.zigbee.catalog_types import Act, Attr, Attributes, ClusterMap, Decode, Reporting, ZigbeeEndpoint

# IAS zone types (ZCL 8.2.2.2.1.1)
CONTACT, FIRE, CARBON_MONOXIDE = 0x0015, 0x0028, 0x002B
IAS_ZONE, ZONE_TYPE, ZONE_STATUS = 0x0500, 0x0001, 0x0002
METERING, ELECTRICAL, POWER = 0x0702, 0x0B04, 0x0001

# Read once at the interview: without them the values of the cluster cannot be scaled or named.
NEEDS: tuple[tuple[int, int], ...] = (
    (IAS_ZONE, ZONE_TYPE),
    *((ELECTRICAL, attribute) for attribute in range(0x0600, 0x0606)),
    (METERING, 0x0301),
    (METERING, 0x0302),
)

UNIT_PPM, UNIT_MICROGRAMS = 0, 4


def _plain(name: str, unknown: int | None = None, cast: Callable[[Any], Any] = int) -> Decode:
    def decode(raw: Any, _known: Attributes) -> dict[str, Any]:
        return {name: None if raw is None or raw == unknown else cast(raw)}

    return decode


def _attr(
    identifier: int,
    name: str,
    *,
    unknown: int | None = None,
    cast: Callable[[Any], Any] = int,
    write: Callable[[Any], Any] | None = None,
) -> Attr:
    return Attr(identifier, (name,), _plain(name, unknown, cast), write)


def _whole(value: Any) -> Any:
    return value


def _nullable(none: int) -> Callable[[Any], Any]:
    return lambda value: none if value is None else value


def _scaled(name: str, multiplier: tuple[int, int], divisor: tuple[int, int], factor: int, unknown: int) -> Decode:
    """`raw * multiplier / divisor * factor`, rounded; the device's own multiplier and divisor, 1 where it has none."""

    def decode(raw: Any, known: Attributes) -> dict[str, Any]:
        if raw is None or raw == unknown:
            return {name: None}
        return {name: round(int(raw) * (known.get(multiplier) or 1) * factor / (known.get(divisor) or 1))}

    return decode


def _energy(name: str) -> Decode:
    def decode(raw: Any, known: Attributes) -> dict[str, Any]:
        kwh = int(raw) * (known.get((METERING, 0x0301)) or 1) / (known.get((METERING, 0x0302)) or 1)
        return {name: {"energy": round(kwh * 1_000_000)}}

    return decode


def _fraction(name: str, factor: float, unit: int) -> Decode:
    def decode(raw: Any, _known: Attributes) -> dict[str, Any]:
        good = raw is not None and math.isfinite(raw)
        return {name: round(float(raw) * factor, 6) if good else None, "MeasurementUnit": unit}

    return decode


def _lift(raw: Any, _known: Attributes) -> dict[str, Any]:
    value = int(raw) if raw is not None and raw <= 100 else None  # noqa: PLR2004  percent; 0xFF is unknown
    whole = None if value is None else value * 100
    return {"CurrentPositionLiftPercentage": value, "CurrentPositionLiftPercent100ths": whole}


def _tilt(raw: Any, _known: Attributes) -> dict[str, Any]:
    value = int(raw) if raw is not None and raw <= 100 else None  # noqa: PLR2004  percent; 0xFF is unknown
    whole = None if value is None else value * 100
    return {"CurrentPositionTiltPercentage": value, "CurrentPositionTiltPercent100ths": whole}


def _battery(raw: Any, _known: Attributes) -> dict[str, Any]:
    if raw is None or raw == 0xFF:  # noqa: PLR2004  ZCL: unknown
        return {"BatPercentRemaining": None}
    level = 2 if raw < 20 else 1 if raw < 40 else 0  # noqa: PLR2004  critical under 10 %, warning under 20 %
    return {"BatPercentRemaining": min(int(raw), 200), "BatChargeLevel": level}


def _zone_bit(status: int) -> bool:
    return bool(status & 0x0003)  # Alarm1 or Alarm2


def zone_state(status: int, zone_type: int) -> dict[str, Any]:
    """BooleanState of an IAS zone: true is contact for a contact sensor (Matter), alarm for every other."""
    alarm = _zone_bit(status)
    return {"StateValue": not alarm if zone_type == CONTACT else alarm}


def zone_alarm(status: int, zone_type: int) -> dict[str, Any]:
    """SmokeCOAlarm of an IAS zone."""
    severity = 2 if _zone_bit(status) else 0
    battery = 1 if status & 0x0008 else 0
    test = bool(status & 0x0100)
    name = "SmokeState" if zone_type == FIRE else "COState"
    expressed = (1 if zone_type == FIRE else 2) if severity else 4 if test else 3 if battery else 0
    return {
        "ExpressedState": expressed,
        name: severity,
        "BatteryAlert": battery,
        "TestInProgress": test,
        "HardwareFaultAlert": bool(status & 0x0040),
    }


def _zone_type(endpoint: ZigbeeEndpoint) -> int:
    return int(endpoint.attributes.get((IAS_ZONE, ZONE_TYPE), 0) or 0)


def _is_alarm(endpoint: ZigbeeEndpoint) -> bool:
    return _zone_type(endpoint) in (FIRE, CARBON_MONOXIDE)


def _level_arguments(parameters: Mapping[str, Any]) -> tuple[int, int]:
    return parameters["Level"], _transition(parameters)


def _transition(parameters: Mapping[str, Any]) -> int:
    value = parameters.get("TransitionTime")
    return 0xFFFF if value is None else value  # 0xFFFF: the device's own time, or at once


def _levels(offset: int) -> dict[str, Act]:
    suffix = "WithOnOff" if offset else ""
    return {
        f"MoveToLevel{suffix}": Act(0x00 + offset, _level_arguments, (0x0000,)),
        f"Move{suffix}": Act(0x01 + offset, lambda p: (p["MoveMode"], 0xFF if p.get("Rate") is None else p["Rate"])),
        f"Step{suffix}": Act(0x02 + offset, lambda p: (p["StepMode"], p["StepSize"], _transition(p)), (0x0000,)),
        f"Stop{suffix}": Act(0x03 + offset, confirm=(0x0000,)),
    }


def _percent(name: str) -> Callable[[Mapping[str, Any]], tuple[int]]:
    return lambda parameters: (round(parameters[name] / 100),)


def _pin(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return (parameters["PINCode"],) if parameters.get("PINCode") else ()


def _measured(cluster: int, capability: str, unknown: int, change: int, *, longest: int = 900) -> ClusterMap:
    attributes = (
        _attr(0x0000, "MeasuredValue", unknown=unknown),
        _attr(0x0001, "MinMeasuredValue", unknown=unknown),
        _attr(0x0002, "MaxMeasuredValue", unknown=unknown),
    )
    return ClusterMap(cluster, capability, attributes, reports=(Reporting(0x0000, 10, longest, change),))


def _concentration(cluster: int, capability: str, factor: float, unit: int, change: float) -> ClusterMap:
    names = ("MeasuredValue", "MinMeasuredValue", "MaxMeasuredValue")
    attributes = tuple(
        Attr(i, (name, "MeasurementUnit"), _fraction(name, factor, unit)) for i, name in enumerate(names)
    )
    return ClusterMap(cluster, capability, attributes, reports=(Reporting(0x0000, 10, 900, change),))


CLUSTERS: tuple[ClusterMap, ...] = (
    ClusterMap(
        0x0006,
        "OnOff",
        (
            _attr(0x0000, "OnOff", cast=bool),
            _attr(0x4001, "OnTime", write=_whole),
            _attr(0x4002, "OffWaitTime", write=_whole),
            _attr(0x4003, "StartUpOnOff", unknown=0xFF, write=_nullable(0xFF)),
        ),
        {
            "Off": Act(0x00, confirm=(0x0000,)),
            "On": Act(0x01, confirm=(0x0000,)),
            "Toggle": Act(0x02, confirm=(0x0000,)),
            "OffWithEffect": Act(0x40, lambda p: (p["EffectIdentifier"], p["EffectVariant"]), (0x0000,)),
            "OnWithTimedOff": Act(0x42, lambda p: (p["OnOffControl"], p["OnTime"], p["OffWaitTime"]), (0x0000,)),
        },
        {"OnOff": lambda value: (0x01 if value else 0x00, ())},
        (Reporting(0x0000, 0, 900),),
    ),
    ClusterMap(
        0x0008,
        "LevelControl",
        (
            _attr(0x0000, "CurrentLevel", unknown=0xFF),
            _attr(0x0001, "RemainingTime"),
            _attr(0x0010, "OnOffTransitionTime", write=_whole),
            _attr(0x0011, "OnLevel", unknown=0xFF, write=_nullable(0xFF)),
            _attr(0x4000, "StartUpCurrentLevel", unknown=0xFF, write=_nullable(0xFF)),
        ),
        {**_levels(0x00), **_levels(0x04)},
        {"CurrentLevel": lambda value: (0x04, (value or 0, 0xFFFF))},
        (Reporting(0x0000, 1, 900, 1),),
    ),
    ClusterMap(
        0x0300,
        "ColorControl",
        (
            _attr(0x0000, "CurrentHue"),
            _attr(0x0001, "CurrentSaturation"),
            _attr(0x0002, "RemainingTime"),
            _attr(0x0003, "CurrentX"),
            _attr(0x0004, "CurrentY"),
            _attr(0x0007, "ColorTemperatureMireds"),
            _attr(0x0008, "ColorMode"),
            _attr(0x4001, "EnhancedColorMode"),
            _attr(0x400A, "ColorCapabilities"),
            _attr(0x400B, "ColorTempPhysicalMinMireds"),
            _attr(0x400C, "ColorTempPhysicalMaxMireds"),
        ),
        {
            "MoveToHue": Act(0x00, lambda p: (p["Hue"], p.get("Direction", 0), _transition(p)), (0x0000,)),
            "MoveToSaturation": Act(0x03, lambda p: (p["Saturation"], _transition(p)), (0x0001,)),
            "MoveToHueAndSaturation": Act(
                0x06, lambda p: (p["Hue"], p["Saturation"], _transition(p)), (0x0000, 0x0001)
            ),
            "MoveToColor": Act(0x07, lambda p: (p["ColorX"], p["ColorY"], _transition(p)), (0x0003, 0x0004)),
            "MoveToColorTemperature": Act(0x0A, lambda p: (p["ColorTemperatureMireds"], _transition(p)), (0x0007,)),
            "StopMoveStep": Act(0x47, confirm=(0x0000, 0x0001, 0x0003, 0x0004, 0x0007)),
        },
        {
            "CurrentHue": lambda value: (0x00, (value, 0, 0)),
            "CurrentSaturation": lambda value: (0x03, (value, 0)),
            "ColorTemperatureMireds": lambda value: (0x0A, (value, 0)),
        },
        tuple(Reporting(attribute, 1, 900, 1) for attribute in (0x0000, 0x0001, 0x0003, 0x0004, 0x0007)),
    ),
    ClusterMap(
        0x0201,
        "Thermostat",
        (
            _attr(0x0000, "LocalTemperature", unknown=-0x8000),
            _attr(0x0008, "PIHeatingDemand"),
            _attr(0x0011, "OccupiedCoolingSetpoint", write=_whole),
            _attr(0x0012, "OccupiedHeatingSetpoint", write=_whole),
            _attr(0x0015, "MinHeatSetpointLimit", write=_whole),
            _attr(0x0016, "MaxHeatSetpointLimit", write=_whole),
            _attr(0x001B, "ControlSequenceOfOperation", write=_whole),
            _attr(0x001C, "SystemMode", write=_whole),
            _attr(0x0029, "ThermostatRunningState"),
        ),
        {"SetpointRaiseLower": Act(0x00, lambda p: (p["Mode"], p["Amount"]), (0x0011, 0x0012))},
        {},
        (
            Reporting(0x0000, 30, 900, 20),
            Reporting(0x0011, 1, 900, 10),
            Reporting(0x0012, 1, 900, 10),
            Reporting(0x001C, 1, 900),
        ),
    ),
    ClusterMap(
        0x0202,
        "FanControl",
        (_attr(0x0000, "FanMode", write=_whole), _attr(0x0001, "FanModeSequence")),
        reports=(Reporting(0x0000, 1, 900),),
    ),
    ClusterMap(
        0x0102,
        "WindowCovering",
        (
            _attr(0x0000, "Type"),
            _attr(0x0007, "ConfigStatus"),
            Attr(0x0008, ("CurrentPositionLiftPercentage", "CurrentPositionLiftPercent100ths"), _lift),
            Attr(0x0009, ("CurrentPositionTiltPercentage", "CurrentPositionTiltPercent100ths"), _tilt),
        ),
        {
            "UpOrOpen": Act(0x00, confirm=(0x0008,)),
            "DownOrClose": Act(0x01, confirm=(0x0008,)),
            "StopMotion": Act(0x02, confirm=(0x0008,)),
            "GoToLiftPercentage": Act(0x05, _percent("LiftPercent100thsValue"), (0x0008,)),
            "GoToTiltPercentage": Act(0x08, _percent("TiltPercent100thsValue"), (0x0009,)),
        },
        {
            "TargetPositionLiftPercent100ths": lambda value: (0x05, (round((value or 0) / 100),)),
            "TargetPositionTiltPercent100ths": lambda value: (0x08, (round((value or 0) / 100),)),
        },
        (Reporting(0x0008, 1, 900, 1), Reporting(0x0009, 1, 900, 1)),
    ),
    ClusterMap(
        0x0101,
        "DoorLock",
        (
            _attr(0x0000, "LockState", unknown=0xFF),
            _attr(0x0001, "LockType"),
            _attr(0x0002, "ActuatorEnabled", cast=bool),
            _attr(0x0003, "DoorState", unknown=0xFF),
            _attr(0x0023, "AutoRelockTime", write=_whole),
            _attr(0x0025, "OperatingMode", write=_whole),
        ),
        {
            "LockDoor": Act(0x00, _pin, (0x0000,)),
            "UnlockDoor": Act(0x01, _pin, (0x0000,)),
            "UnlockWithTimeout": Act(0x03, lambda p: (p["Timeout"], *_pin(p)), (0x0000,)),
        },
        {"LockState": lambda value: (0x00 if value == 1 else 0x01, ())},
        (Reporting(0x0000, 0, 3600),),
        events=("LockOperation", "DoorLockAlarm"),
    ),
    ClusterMap(
        IAS_ZONE,
        "BooleanState",
        (
            Attr(
                ZONE_STATUS, ("StateValue",), lambda raw, known: zone_state(raw, known.get((IAS_ZONE, ZONE_TYPE)) or 0)
            ),
        ),
        reports=(Reporting(ZONE_STATUS, 0, 3600),),
        enrol=True,
        events=("StateChange",),
    ),
    ClusterMap(
        IAS_ZONE,
        "SmokeCOAlarm",
        (
            Attr(
                ZONE_STATUS,
                ("ExpressedState", "SmokeState", "COState", "BatteryAlert", "TestInProgress", "HardwareFaultAlert"),
                lambda raw, known: zone_alarm(raw, known.get((IAS_ZONE, ZONE_TYPE)) or 0),
            ),
        ),
        when=_is_alarm,
        events=("SmokeAlarm", "COAlarm", "AllClear", "LowBattery"),
    ),
    ClusterMap(
        0x0406,
        "OccupancySensing",
        (_attr(0x0000, "Occupancy", cast=lambda raw: int(raw) & 1), _attr(0x0001, "OccupancySensorType")),
        reports=(Reporting(0x0000, 0, 900),),
    ),
    ClusterMap(
        0x0406,
        "BooleanState",
        (Attr(0x0000, ("StateValue",), lambda raw, _known: {"StateValue": bool(int(raw) & 1)}),),
        when=lambda endpoint: IAS_ZONE not in endpoint.in_clusters,
    ),
    _measured(0x0402, "TemperatureMeasurement", -0x8000, 20),
    _measured(0x0405, "RelativeHumidityMeasurement", 0xFFFF, 100),
    _measured(0x0400, "IlluminanceMeasurement", 0xFFFF, 500),
    _measured(0x0403, "PressureMeasurement", -0x8000, 1),
    _measured(0x0404, "FlowMeasurement", 0xFFFF, 1),
    _concentration(0x042A, "Pm25ConcentrationMeasurement", 1.0, UNIT_MICROGRAMS, 1.0),
    _concentration(0x040D, "CarbonDioxideConcentrationMeasurement", 1_000_000.0, UNIT_PPM, 0.00002),
    ClusterMap(
        ELECTRICAL,
        "ElectricalPowerMeasurement",
        tuple(
            Attr(identifier, (name,), _scaled(name, (ELECTRICAL, base), (ELECTRICAL, base + 1), 1000, unknown))
            for identifier, name, base, unknown in (
                (0x0505, "RMSVoltage", 0x0600, 0xFFFF),
                (0x0508, "RMSCurrent", 0x0602, 0xFFFF),
                (0x050B, "ActivePower", 0x0604, -0x8000),
            )
        ),
        reports=(Reporting(0x0505, 30, 900, 10), Reporting(0x0508, 10, 900, 10), Reporting(0x050B, 10, 900, 10)),
    ),
    ClusterMap(
        METERING,
        "ElectricalEnergyMeasurement",
        (Attr(0x0000, ("CumulativeEnergyImported",), _energy("CumulativeEnergyImported")),),
        reports=(Reporting(0x0000, 30, 900, 1),),
    ),
    ClusterMap(
        METERING,
        "ElectricalPowerMeasurement",
        (
            Attr(
                0x0400,
                ("ActivePower",),
                _scaled("ActivePower", (METERING, 0x0301), (METERING, 0x0302), 1_000_000, -0x800000),
            ),
        ),
        reports=(Reporting(0x0400, 10, 900, 1),),
        when=lambda endpoint: ELECTRICAL not in endpoint.in_clusters,
    ),
    ClusterMap(
        POWER,
        "PowerSource",
        (
            Attr(
                0x0020,
                ("BatVoltage",),
                lambda raw, _known: {"BatVoltage": None if raw in (None, 0, 0xFF) else int(raw) * 100},
            ),
            Attr(0x0021, ("BatPercentRemaining", "BatChargeLevel"), _battery),
        ),
        reports=(Reporting(0x0020, 3600, 43200, 1), Reporting(0x0021, 3600, 43200, 2)),
    ),
    ClusterMap(
        0x0003,
        "Identify",
        (_attr(0x0000, "IdentifyTime", write=_whole),),
        {
            "Identify": Act(0x00, lambda p: (p["IdentifyTime"],)),
            "TriggerEffect": Act(0x40, lambda p: (p["EffectIdentifier"], p["EffectVariant"])),
        },
    ),
)

# Buttons: (client cluster, command) -> (position, kind). Positions: 1 on or up, 2 off or down, 3 toggle, 4 scene.
PRESS, HOLD, RELEASE = "press", "hold", "release"
BUTTONS: Mapping[tuple[int, int], tuple[int, str]] = {
    (0x0006, 0x01): (1, PRESS),
    (0x0006, 0x00): (2, PRESS),
    (0x0006, 0x40): (2, PRESS),
    (0x0006, 0x02): (3, PRESS),
    (0x0005, 0x05): (4, PRESS),
    (0x0008, 0x01): (0, HOLD),  # position by the direction, the first argument
    (0x0008, 0x05): (0, HOLD),
    (0x0008, 0x02): (0, PRESS),
    (0x0008, 0x06): (0, PRESS),
    (0x0008, 0x03): (0, RELEASE),
    (0x0008, 0x07): (0, RELEASE),
}
BUTTON_CLUSTERS = frozenset(cluster for cluster, _ in BUTTONS)
POSITIONS = 4

# Clusters that are the network's own business, not a user's.
SILENT = frozenset({0x0000, 0x0004, 0x0005, 0x0007, 0x000A, 0x0019, 0x0020, 0x0021, 0x1000})

# Device ids of the Home Automation and Zigbee 3.0 profile, in the words of the lists that clouds publish.
DEVICE_TYPES: Mapping[int, str] = {
    0x0000: "On/Off Switch",
    0x0001: "Level Control Switch",
    0x0002: "On/Off Output",
    0x0006: "Remote Control",
    0x0009: "Mains Power Outlet",
    0x000A: "Door Lock",
    0x000C: "Simple Sensor",
    0x0051: "Smart Plug",
    0x0100: "On/Off Light",
    0x0101: "Dimmable Light",
    0x0102: "Color Dimmable Light",
    0x0103: "On/Off Light Switch",
    0x0104: "Dimmer Switch",
    0x0105: "Color Dimmer Switch",
    0x0106: "Light Sensor",
    0x0107: "Occupancy Sensor",
    0x010A: "On/Off Plug-in Unit",
    0x010B: "Dimmable Plug-in Unit",
    0x010C: "Color Temperature Light",
    0x010D: "Extended Color Light",
    0x0202: "Window Covering",
    0x0301: "Thermostat",
    0x0302: "Temperature Sensor",
    0x0303: "Pump",
    0x0305: "Pressure Sensor",
    0x0306: "Flow Sensor",
    0x0307: "Fan",
    0x0402: "IAS Zone",
    0x0820: "Scene Controller",
    0x0830: "Non-color Scene Controller",
}
