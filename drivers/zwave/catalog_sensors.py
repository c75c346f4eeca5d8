"""Rows of what is measured: Multilevel Sensor, Meter, Battery, and the scenes of buttons. PURE."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.zwave import catalog_scales as scale
from drivers.zwave.catalog_types import Event, Place, Read, Said, ZWaveEndpoint, ZWaveGet
from drivers.zwave.codec import Command
from drivers.zwave.commands.sensors import EXTENDED_SCALE, KeyAttribute, meter_scale

SENSOR, METER, BATTERY, CENTRAL_SCENE = 0x31, 0x32, 0x80, 0x5B
SCENE_ACTIVATION, SCENE_CONTROLLER = 0x2B, 0x2D
ELECTRIC = 0x01  # type of Meter
PPM, MICROGRAMS, BECQUEREL = 0, 4, 7  # MeasurementUnit

Scaling = Callable[[float], Any]


# ---- Multilevel Sensor --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """What one type of Multilevel Sensor fills. `scales`: scale -> scaling, the preferred first."""

    type: int
    part: str
    capability: str
    kind: str
    scales: Mapping[int, Scaling]
    property: str = "MeasuredValue"
    unit: int | None = None  # MeasurementUnit of a concentration


_TEMPERATURE: Mapping[int, Scaling] = {0: scale.linear(100), 1: scale.linear(500 / 9, -16000 / 9)}  # °C, °F -> 0.01 °C
_PRESSURE: Mapping[int, Scaling] = {0: scale.linear(10), 1: scale.linear(33.8639)}  # kPa, inHg -> 0.1 kPa
_PSI: Mapping[int, Scaling] = {0: scale.linear(10), 1: scale.linear(68.9476)}  # kPa, psi -> 0.1 kPa
_EXACT: Mapping[int, Scaling] = {0: scale.exact}
_MILLI: Mapping[int, Scaling] = {0: scale.linear(1000), 1: scale.linear(1)}  # V, mV and A, mA -> mV and mA


def _temperature(kind: int, part: str) -> Measured:
    return Measured(kind, part, "TemperatureMeasurement", "Temperature Sensor", _TEMPERATURE)


def _pressure(kind: int, part: str, scales: Mapping[int, Scaling] = _PRESSURE) -> Measured:
    return Measured(kind, part, "PressureMeasurement", "Pressure Sensor", scales)


def _air(kind: int, part: str, what: str, scales: Mapping[int, Scaling], unit: int) -> Measured:
    return Measured(kind, part, f"{what}ConcentrationMeasurement", "Air Quality Sensor", scales, unit=unit)


def _electric(kind: int, name: str, scales: Mapping[int, Scaling]) -> Measured:
    return Measured(kind, "power", "ElectricalPowerMeasurement", "Electrical Sensor", scales, name)


MEASURED = (
    _temperature(0x01, "air"),
    _temperature(0x40, "outside"),
    _temperature(0x17, "water"),
    _temperature(0x18, "soil"),
    _temperature(0x3E, "boiler"),
    _temperature(0x3F, "hotWater"),
    _temperature(0x41, "exhaust"),
    _temperature(0x48, "returnAir"),
    _temperature(0x49, "supplyAir"),
    _temperature(0x4A, "condenser"),
    _temperature(0x4B, "evaporator"),
    _temperature(0x4C, "liquidLine"),
    _temperature(0x4D, "dischargeLine"),
    _temperature(0x50, "defrost"),
    _temperature(0x0B, "dewPoint"),
    Measured(0x05, "air", "RelativeHumidityMeasurement", "Humidity Sensor", {0: scale.linear(100)}),
    Measured(0x29, "soil", "RelativeHumidityMeasurement", "Humidity Sensor", {0: scale.linear(100)}),
    Measured(0x03, "light", "IlluminanceMeasurement", "Light Sensor", {1: scale.illuminance}),
    _pressure(0x09, "air"),
    _pressure(0x08, "atmosphere"),
    _pressure(0x39, "water", {0: scale.linear(10)}),
    _pressure(0x4E, "suction", _PSI),
    _pressure(0x4F, "discharge", _PSI),
    Measured(0x38, "water", "FlowMeasurement", "Flow Sensor", {0: scale.linear(0.01)}),  # l/h -> 0.1 m³/h
    Measured(
        0x12, "air", "FlowMeasurement", "Flow Sensor", {0: scale.linear(10), 1: scale.linear(16.99011)}
    ),  # m³/h, cfm
    _air(0x11, "air", "CarbonDioxide", _EXACT, PPM),
    _air(0x28, "air", "CarbonMonoxide", {1: scale.exact}, PPM),
    _air(0x27, "air", "TotalVolatileOrganicCompounds", {1: scale.exact}, PPM),
    _air(0x56, "air", "Pm1", _EXACT, MICROGRAMS),
    _air(0x23, "air", "Pm25", {1: scale.exact}, MICROGRAMS),
    _air(0x3B, "air", "Pm10", {1: scale.exact}, MICROGRAMS),
    _air(0x51, "air", "Ozone", _EXACT, MICROGRAMS),
    _air(0x53, "air", "NitrogenDioxide", _EXACT, MICROGRAMS),
    _air(0x25, "air", "Radon", {0: scale.exact, 1: lambda value: scale.exact(value * 37)}, BECQUEREL),  # Bq/m³, pCi/l
    _electric(0x04, "ActivePower", {0: scale.linear(1000)}),
    _electric(0x0F, "RMSVoltage", _MILLI),
    _electric(0x10, "RMSCurrent", _MILLI),
    _electric(0x20, "Frequency", {0: scale.linear(1000), 1: scale.linear(1_000_000)}),
)
LOCAL = Measured(0x01, "thermostat", "Thermostat", "Thermostat", _TEMPERATURE, "LocalTemperature")


def scales_of(endpoint: ZWaveEndpoint, kind: int) -> frozenset[int] | None:
    """The scales of a sensor type, empty where the device has not said; None where it has no such sensor."""
    return (endpoint.facts.sensors or {}).get(kind)


def measures(row: Measured) -> Callable[[ZWaveEndpoint], bool]:
    def when(endpoint: ZWaveEndpoint) -> bool:
        scales = scales_of(endpoint, row.type)
        return scales is not None and (not scales or any(number in row.scales for number in scales))

    return when


def measure_gets(row: Measured) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    """Versions before 5 have one sensor, and choose the scale themselves."""

    def made(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
        scales = scales_of(endpoint, row.type) or frozenset()
        wanted = next((number for number in row.scales if number in scales), next(iter(row.scales)))
        values = {"type": row.type, "scale": wanted} if endpoint.version(SENSOR) > 4 else {}  # noqa: PLR2004
        get = Command("Multilevel Sensor Get", values)
        return (ZWaveGet(endpoint.id, get, "Multilevel Sensor Report", {"type": row.type}, properties(row)),)

    return made


def properties(row: Measured) -> tuple[str, ...]:
    return (row.property,) if row.unit is None else (row.property, "MeasurementUnit")


def measured(row: Measured) -> Read:
    def read(command: Command, _place: Place) -> Sequence[Said]:
        if command["type"] != row.type or command["scale"] not in row.scales:
            return ()
        said = {row.property: row.scales[command["scale"]](command["value"].value)}
        return (said if row.unit is None else {**said, "MeasurementUnit": row.unit},)

    return read


# ---- Meter ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Metered:
    """What one scale of an electric meter fills, by its rate type: consumed, produced ("" where it has no place)."""

    scale: int
    capability: str
    consumed: str
    produced: str
    factor: float


PRODUCED = 2  # rate type
METERED = (
    Metered(
        0, "ElectricalEnergyMeasurement", "CumulativeEnergyImported", "CumulativeEnergyExported", 1e6
    ),  # kWh -> mWh
    Metered(2, "ElectricalPowerMeasurement", "ActivePower", "ActivePower", 1000),  # W -> mW, negative where produced
    Metered(4, "ElectricalPowerMeasurement", "RMSVoltage", "", 1000),
    Metered(5, "ElectricalPowerMeasurement", "RMSCurrent", "", 1000),
    Metered(6, "ElectricalPowerMeasurement", "PowerFactor", "", 10_000),  # -> 0.01 %
)


def _rates(endpoint: ZWaveEndpoint) -> tuple[bool, bool]:
    """Whether the meter counts what is consumed, and what is produced."""
    rates = 0 if endpoint.facts.meter is None else endpoint.facts.meter.rate_types
    return rates != PRODUCED, bool(rates & PRODUCED)


def metered_properties(row: Metered, endpoint: ZWaveEndpoint) -> tuple[str, ...]:
    consumed, produced = _rates(endpoint)
    return tuple(
        dict.fromkeys(name for name, has in ((row.consumed, consumed), (row.produced, produced)) if has and name)
    )


def is_electric(endpoint: ZWaveEndpoint) -> bool:
    """Whether it has an electric meter: those of gas and water have no cluster."""
    return endpoint.facts.meter is not None and endpoint.facts.meter.type == ELECTRIC


def meters(row: Metered) -> Callable[[ZWaveEndpoint], bool]:
    def when(endpoint: ZWaveEndpoint) -> bool:
        meter = endpoint.facts.meter
        fits = meter is not None and is_electric(endpoint) and row.scale in meter.scales
        return fits and bool(metered_properties(row, endpoint))

    return when


def meter_gets(row: Metered) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    def made(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
        version, fills = endpoint.version(METER), metered_properties(row, endpoint)
        if version == 1:
            return (ZWaveGet(endpoint.id, Command("Meter Get"), "Meter Report", {}, fills),)
        match = {"type": ELECTRIC, "scale": row.scale}
        rates = (1, 2) if all(_rates(endpoint)) else (0,)
        return tuple(
            ZWaveGet(
                endpoint.id,
                Command("Meter Get", {"rate_type": rate, "scale": row.scale}),
                "Meter Report",
                {**match, "rate_type": rate} if rate else match,
                (row.produced if rate == PRODUCED else row.consumed,) if rate else fills,
            )
            for rate in rates
            if rate != PRODUCED or row.produced
        )

    return made


def metered(row: Metered) -> Read:
    def read(command: Command, place: Place) -> Sequence[Said]:
        if command["type"] != ELECTRIC or meter_scale(dict(command.values)) != row.scale:
            return ()
        produced = command["rate_type"] == PRODUCED
        name = row.produced if produced else row.consumed
        if name not in metered_properties(row, place.endpoint):
            return ()
        value = round(command["value"].value * row.factor)
        if row.capability == "ElectricalEnergyMeasurement":
            return ({name: {"energy": value}},)
        return ({name: -value if produced else value},)

    return read


if any(row.scale >= EXTENDED_SCALE for row in METERED):
    raise AssertionError("scales from 7 on need a second byte in the Get")


# ---- Battery ----------------------------------------------------------------------------------------------------------------------


LOW = 0xFF
WARNING, CRITICAL = 20, 10  # percent
POWER_MANAGEMENT = 0x08  # type of Notification
BATTERY_EVENTS = {0x0A: 1, 0x0B: 2, 0x0E: 1, 0x0F: 2}  # replace or charge, soon or now -> BatChargeLevel


def battery_gets(*fills: str) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    return lambda endpoint: (ZWaveGet(endpoint.id, Command("Battery Get"), "Battery Report", {}, fills),)


def charge(raw: int) -> int:
    """BatChargeLevel: 0 well, 1 warning, 2 critical; "low" is a warning, for the device gives no number. Raises ValueError."""
    if raw == LOW:
        return 1
    return 2 if scale.percent(raw) < CRITICAL else 1 if raw < WARNING else 0


def battery_level(command: Command, _place: Place) -> Sequence[Said]:
    return ({"CurrentLevel": None if command["level"] == LOW else scale.percent_level(command["level"])},)


def battery(command: Command, _place: Place) -> Sequence[Said]:
    raw = command["level"]
    return ({"BatPercentRemaining": None if raw == LOW else scale.percent(raw) * 2, "BatChargeLevel": charge(raw)},)


def battery_warned(command: Command, _place: Place) -> Sequence[Said]:
    if command.get("type") != POWER_MANAGEMENT or command["event"] not in BATTERY_EVENTS:
        return ()
    return ({"BatChargeLevel": BATTERY_EVENTS[command["event"]]},)


# ---- buttons ------------------------------------------------------------------------------------------------------------------------


BUTTON_EVENTS = ("InitialPress", "LongPress", "ShortRelease", "LongRelease", "MultiPressComplete")
MOST_POSITIONS = 255
ON_BUTTON, OFF_BUTTON = 1, 2  # positions of a remote that speaks Basic
_PRESSES = {KeyAttribute(key): key - 1 for key in range(KeyAttribute.PRESSED_2, KeyAttribute.PRESSED_5 + 1)}


def press(position: int) -> Sequence[Said]:
    return (
        Event("InitialPress", {"NewPosition": position}),
        Event("ShortRelease", {"PreviousPosition": position}),
    )


def hold(position: int, place: Place) -> Sequence[Said]:
    """A button that is held says so again and again: the first time counts."""
    if place.memory.get("held") == position:
        return ()
    place.memory["held"] = position
    return (Event("InitialPress", {"NewPosition": position}), Event("LongPress", {"NewPosition": position}))


def scene(command: Command, place: Place) -> Sequence[Said]:
    """The scene is the position; a repeated frame has the sequence number of the first."""
    number, position, key = command["sequence"], command["scene"], command["key"]
    if place.memory.get("sequence") == number:
        return ()
    place.memory["sequence"] = number
    if key == KeyAttribute.HELD_DOWN:
        return hold(position, place)
    place.memory.pop("held", None)
    if key == KeyAttribute.RELEASED:
        return (Event("LongRelease", {"PreviousPosition": position}),)
    if key == KeyAttribute.PRESSED:
        return press(position)
    if key not in _PRESSES:
        raise ValueError(f"key attribute {key}")
    fields = {"PreviousPosition": position, "TotalNumberOfPressesCounted": _PRESSES[key]}
    return (Event("MultiPressComplete", fields),)


def scene_constants(endpoint: ZWaveEndpoint) -> dict[str, Any]:
    """As many positions as there are scenes, and "nothing pressed"."""
    scenes = len(endpoint.facts.scenes or {})
    return {"NumberOfPositions": min(scenes + 1, MOST_POSITIONS)} if scenes else {}


def activated(command: Command, _place: Place) -> Sequence[Said]:
    """Scene Activation Set: scene 0 is none."""
    return press(command["scene"]) if command["scene"] else ()


def remote_set(command: Command, _place: Place) -> Sequence[Said]:
    """What a remote would set is which button was pressed; it says nothing of any state."""
    return press(ON_BUTTON if command["target_value"] else OFF_BUTTON)


def remote_start(command: Command, place: Place) -> Sequence[Said]:
    if command["direction"] > 1:
        raise ValueError(f"direction {command['direction']}")
    return hold(OFF_BUTTON if command["direction"] else ON_BUTTON, place)


def remote_stop(_command: Command, place: Place) -> Sequence[Said]:
    held = place.memory.pop("held", None)
    return () if held is None else (Event("LongRelease", {"PreviousPosition": held}),)
