"""Z-Wave command classes and the capabilities that they become. PURE: one table; the scalings that it names are in its neighbours.

The capabilities of the twelve device types that AWS lists are exactly those; a battery, a tamper switch or a blinking light, which most
nodes have beside their purpose, are endpoints of their own, so that they change no list.
"""

from collections.abc import Callable

from drivers.zwave import catalog_alarms as alarms
from drivers.zwave import catalog_climate as climate
from drivers.zwave import catalog_covers as covers
from drivers.zwave import catalog_locks as locks
from drivers.zwave import catalog_sensors as sensors
from drivers.zwave import catalog_switches as switches
from drivers.zwave.catalog_covers import LIFT, TILT
from drivers.zwave.catalog_types import Act, Row, Update, ZWaveEndpoint, nothing
from drivers.zwave.commands.access import DoorLockMode
from drivers.zwave.commands.switches import Level

REMOTES = frozenset(
    {0x01, 0x12, 0x18}
)  # generic device classes of remote controllers, remote switches and wall controllers


def _is_remote(endpoint: ZWaveEndpoint) -> bool:
    acts = {switches.BINARY, switches.MULTILEVEL, sensors.CENTRAL_SCENE} & endpoint.classes.keys()
    return endpoint.generic in REMOTES and not acts


def _sends_scenes(endpoint: ZWaveEndpoint) -> bool:
    sends = sensors.SCENE_CONTROLLER in endpoint.classes or sensors.SCENE_ACTIVATION in endpoint.controlled
    return sends and sensors.CENTRAL_SCENE not in endpoint.classes


def _speaks_basic_alone(endpoint: ZWaveEndpoint) -> bool:
    """An actuator of which nothing better than Basic is known."""
    better = APPLICATIONS & endpoint.classes.keys()
    return switches.BASIC in endpoint.classes and endpoint.generic in switches.ACTUATORS and not better


def _has_setpoint(kind: int) -> Callable[[ZWaveEndpoint], bool]:
    return lambda endpoint: kind in climate.setpoints(endpoint)


def _measures(row: sensors.Measured) -> Callable[[ZWaveEndpoint], bool]:
    """An electric meter says better what a sensor of power says."""
    return lambda endpoint: (
        sensors.measures(row)(endpoint) and not (row.part == "power" and sensors.is_electric(endpoint))
    )


def _meters(row: sensors.Metered, names: tuple[str, ...]) -> Callable[[ZWaveEndpoint], bool]:
    return lambda endpoint: sensors.meters(row)(endpoint) and sensors.metered_properties(row, endpoint) == names


def _is_thermostat(endpoint: ZWaveEndpoint) -> bool:
    return bool({climate.MODE, climate.SETPOINT} & endpoint.classes.keys())


def _is_dimmer(endpoint: ZWaveEndpoint) -> bool:
    return not switches.is_motor(endpoint) and switches.COVERING not in endpoint.classes


def _is_switch(endpoint: ZWaveEndpoint) -> bool:
    """A dimmer's Binary Switch is its Multilevel Switch, with less to say."""
    return switches.MULTILEVEL not in endpoint.classes and not switches.is_siren(endpoint)


def _is_simple_siren(endpoint: ZWaveEndpoint) -> bool:
    return switches.is_siren(endpoint) and not {switches.SOUND, switches.MULTILEVEL} & endpoint.classes.keys()


def _update(name: str, act: Act) -> tuple[Update, ...]:
    return (Update((name,), act),)


_on_binary, _off_binary = switches.switch("Binary Switch", Level.ON), switches.switch("Binary Switch", 0)
_on_basic = switches.switch("Basic", Level.ON, supervised=False)
_off_basic = switches.switch("Basic", 0, supervised=False)
_lock, _unlock = locks.operate(DoorLockMode.SECURED), locks.operate(DoorLockMode.UNSECURED)
_old_lock, _old_unlock = locks.old_operate(1), locks.old_operate(0)

LOCKS = (
    Row(locks.DOOR_LOCK, "DoorLock", "lock", "Door Lock", ("LockState",), {"Door Lock Operation Report": locks.lock_told},
        locks.lock_gets, actions={"LockDoor": _lock, "UnlockDoor": _unlock},
        updates=_update("LockState", locks.update_state(_lock, _unlock))),
    Row(locks.DOOR_LOCK, "DoorLock", "lock", "Door Lock", ("DoorState",), {"Door Lock Operation Report": locks.door_told},
        locks.lock_gets, locks.has_door),
    Row(locks.DOOR_LOCK, "DoorLock", "lock", "Door Lock", ("AutoRelockTime",),
        {"Door Lock Configuration Report": locks.relock_told}, locks.relock_gets, locks.can_relock,
        updates=_update("AutoRelockTime", locks.set_relock)),
    Row(locks.LOCK, "DoorLock", "lock", "Door Lock", ("LockState",), {"Lock Report": locks.old_told}, locks.old_gets,
        lambda endpoint: locks.DOOR_LOCK not in endpoint.classes,
        actions={"LockDoor": _old_lock, "UnlockDoor": _old_unlock},
        updates=_update("LockState", locks.update_state(_old_lock, _old_unlock))),
    Row(locks.USER_CODE, "DoorLock", "lock", "Door Lock", ("OperatingMode",), {"User Code Keypad Mode Report": locks.keypad_told},
        locks.keypad_gets, lambda endpoint: locks.DOOR_LOCK in endpoint.classes and locks.has_keypad_modes(endpoint),
        updates=_update("OperatingMode", locks.set_keypad)),
    Row(alarms.NOTIFICATION, "DoorLock", "lock", "Door Lock", (), {"Notification Report": locks.operated}, nothing,
        lambda endpoint: bool({locks.DOOR_LOCK, locks.LOCK} & endpoint.classes.keys()), events=("LockOperation", "DoorLockAlarm")),
)  # fmt: skip

CLIMATE = (
    Row(climate.MODE, "Thermostat", "thermostat", "Thermostat", ("SystemMode",), {"Thermostat Mode Report": climate.mode_told},
        climate.mode_gets, updates=_update("SystemMode", climate.set_mode), constants=climate.mode_constants),
    *(Row(climate.SETPOINT, "Thermostat", "thermostat", "Thermostat", (name,),
          {"Thermostat Setpoint Report": climate.setpoint_told(kind)}, climate.setpoint_gets(kind),
          _has_setpoint(kind),
          actions={"SetpointRaiseLower": climate.raise_lower}, updates=_update(name, climate.set_setpoint(kind)),
          constants=climate.mode_constants)
      for kind, name in climate.SETPOINTS.items()),
    Row(climate.OPERATING, "Thermostat", "thermostat", "Thermostat", ("ThermostatRunningState",),
        {"Thermostat Operating State Report": climate.state_told}, climate.state_gets, _is_thermostat),
    Row(sensors.SENSOR, "Thermostat", "thermostat", "Thermostat", ("LocalTemperature",),
        {"Multilevel Sensor Report": sensors.measured(sensors.LOCAL)}, sensors.measure_gets(sensors.LOCAL),
        lambda endpoint: _is_thermostat(endpoint) and sensors.measures(sensors.LOCAL)(endpoint)),
    Row(climate.FAN, "FanControl", "fan", "Fan", ("FanMode",), {"Thermostat Fan Mode Report": climate.fan_told}, climate.fan_gets,
        updates=_update("FanMode", climate.set_fan), constants=climate.fan_constants),
)  # fmt: skip

BARRIERS = (
    Row(switches.BARRIER, "OnOff", "barrier", "Garage Door Opener", ("OnOff",),
        {"Barrier Operator Report": switches.one_of(switches.barrier, "OnOff")}, switches.barrier_get,
        actions=switches.on_off(switches.open_barrier, switches.close_barrier),
        updates=switches.on_off_update(switches.open_barrier, switches.close_barrier)),
    Row(switches.BARRIER, "LevelControl", "barrier", "Garage Door Opener", ("CurrentLevel",),
        {"Barrier Operator Report": switches.one_of(switches.barrier, "CurrentLevel")}, switches.barrier_get,
        actions=switches.levels(switches.operate), updates=switches.level_update(switches.operate)),
)  # fmt: skip

COVERS = (
    Row(switches.MULTILEVEL, "WindowCovering", "cover", "Window Covering", covers.properties(LIFT),
        {"Multilevel Switch Report": covers.motor_moved, "Basic Report": covers.motor_moved}, covers.motor_gets,
        lambda endpoint: switches.is_motor(endpoint) and covers.covering(endpoint, LIFT) is None,
        actions=covers.MOTOR_ACTIONS, updates=covers.MOTOR_UPDATES, constants=covers.motor_constants),
    *(Row(switches.COVERING, "WindowCovering", "cover", "Window Covering", covers.properties(what),
          {"Window Covering Report": covers.moved(what)}, covers.gets(what), covers.has(what, position=True),
          actions=covers.actions(what, position=True), updates=_update(covers.properties(what)[2], covers.go(what)),
          constants=covers.constants)
      for what in (LIFT, TILT)),
    *(Row(switches.COVERING, "WindowCovering", "cover", "Window Covering", (), {}, nothing, covers.has(what, position=False),
          actions=covers.actions(what, position=False), constants=covers.constants)
      for what in (LIFT, TILT)),
)  # fmt: skip

SWITCHES = (
    Row(switches.SOUND, "LevelControl", "siren", "Siren", ("CurrentLevel",),
        {"Sound Switch Tone Play Report": switches.tone, "Sound Switch Configuration Report": switches.volume_told},
        switches.tone_gets, actions=switches.levels(switches.sound), updates=switches.level_update(switches.sound)),
    Row(switches.BINARY, "LevelControl", "siren", "Siren", ("CurrentLevel",),
        {"Binary Switch Report": switches.alarmed, "Basic Report": switches.alarmed}, switches.alarm_get, _is_simple_siren,
        actions=switches.levels(switches.alarm), updates=switches.level_update(switches.alarm)),
    Row(switches.MULTILEVEL, "OnOff", "dimmer", "Dimmable Light", ("OnOff",),
        {"Multilevel Switch Report": switches.switched("OnOff"), "Basic Report": switches.switched("OnOff")},
        switches.dimmed_get, _is_dimmer, actions=switches.on_off(switches.light_up, switches.darken),
        updates=switches.on_off_update(switches.light_up, switches.darken)),
    Row(switches.MULTILEVEL, "LevelControl", "dimmer", "Dimmable Light", ("CurrentLevel", "RemainingTime"),
        {"Multilevel Switch Report": switches.dimmed, "Basic Report": switches.dimmed}, switches.dimmed_get, _is_dimmer,
        actions=switches.LEVEL_ACTIONS, updates=switches.level_update(switches.dim)),
    Row(switches.COLOR, "ColorControl", "color", "Extended Color Light",
        ("CurrentHue", "CurrentSaturation", "CurrentX", "CurrentY", "ColorMode", "EnhancedColorMode"),
        {"Color Switch Report": switches.colored}, switches.color_gets, switches.has_rgb,
        actions={"MoveToHue": switches.paint_hue, "MoveToSaturation": switches.paint_hue,
                 "MoveToHueAndSaturation": switches.paint_hue, "MoveToColor": switches.paint_point},
        updates=(Update(("CurrentHue", "CurrentSaturation"), switches.paint_hue),
                 Update(("CurrentX", "CurrentY"), switches.paint_point, together=True)),
        constants=switches.color_constants),
    Row(switches.COLOR, "ColorControl", "color", "Color Temperature Light",
        ("ColorTemperatureMireds", "ColorMode", "EnhancedColorMode"),
        {"Color Switch Report": switches.colored}, switches.color_gets,
        switches.has_whites, actions={"MoveToColorTemperature": switches.paint_white},
        updates=_update("ColorTemperatureMireds", switches.paint_white), constants=switches.color_constants),
    Row(switches.BINARY, "OnOff", "switch", "On/Off Switch", ("OnOff",),
        {"Binary Switch Report": switches.switched("OnOff"), "Basic Report": switches.switched("OnOff")},
        switches.getter("Binary Switch", "OnOff"), _is_switch, actions=switches.on_off(_on_binary, _off_binary),
        updates=switches.on_off_update(_on_binary, _off_binary)),
    Row(switches.BASIC, "OnOff", "basic", "On/Off Switch", ("OnOff",), {"Basic Report": switches.switched("OnOff")},
        switches.getter("Basic", "OnOff"), _speaks_basic_alone, actions=switches.on_off(_on_basic, _off_basic),
        updates=switches.on_off_update(_on_basic, _off_basic)),
)  # fmt: skip

ALARMS = (
    *(row for kind, name in alarms.STATES.items() for row in (
        Row(alarms.NOTIFICATION, "SmokeCOAlarm", "alarm", "Smoke CO Alarm", ("ExpressedState", name),
            {"Notification Report": alarms.alarmed(kind)}, alarms.alarmed_gets(kind), alarms.detects(kind),
            events=(alarms.EVENTS[kind], "AllClear")),
        Row(alarms.BINARY_SENSOR, "SmokeCOAlarm", "alarm", "Smoke CO Alarm", ("ExpressedState", name),
            {"Binary Sensor Report": alarms.alarmed_binary(kind)}, alarms.alarmed_binary_gets(kind), alarms.detects_binary(kind),
            events=(alarms.EVENTS[kind], "AllClear")),
        Row(alarms.ALARM_SENSOR, "SmokeCOAlarm", "alarm", "Smoke CO Alarm", ("ExpressedState", name),
            {"Alarm Sensor Report": alarms.alarmed_sensor(kind)}, alarms.alarmed_sensor_gets(kind), alarms.detects_alarm(kind),
            events=(alarms.EVENTS[kind], "AllClear")),
    )),
    Row(alarms.NOTIFICATION, "SmokeCOAlarm", "alarm", "Smoke CO Alarm", ("TestInProgress",), {}, nothing, alarms.detects(alarms.SMOKE)),
    Row(alarms.NOTIFICATION, "SmokeCOAlarm", "alarm", "Smoke CO Alarm", ("HardwareFaultAlert",),
        {"Notification Report": alarms.faulty}, nothing,
        lambda endpoint: alarms.has_faults(endpoint) or alarms.detects(alarms.CO)(endpoint)),
    Row(sensors.BATTERY, "SmokeCOAlarm", "alarm", "Smoke CO Alarm", ("BatteryAlert",), {"Battery Report": alarms.weak},
        sensors.battery_gets("BatteryAlert", "ExpressedState"), alarms.is_alarm, events=("LowBattery",)),
)  # fmt: skip


def _sense_rows(sense: alarms.Sense) -> tuple[Row, ...]:
    common = ("BooleanState", sense.part, sense.kind, () if sense.passing else ("StateValue",))
    ways = (
        (alarms.NOTIFICATION, "Notification Report", alarms.sensed, alarms.sense_gets(sense), alarms.has_notification),
        (alarms.BINARY_SENSOR, "Binary Sensor Report", alarms.binary_sensed,
         alarms.binary_gets(sense.binary, "StateValue"), alarms.has_binary),
        (alarms.ALARM_SENSOR, "Alarm Sensor Report", alarms.alarm_sensed,
         alarms.alarm_gets(sense.alarm, "StateValue"), alarms.has_alarm),
    )  # fmt: skip
    return tuple(
        Row(number, *common, {report: read(sense)}, gets, when(sense), not sense.primary, events=("StateChange",))
        for number, report, read, gets, when in ways
    )


_UNTYPED = ("BooleanState", "general", "Binary Sensor", ("StateValue",))
SENSES = (
    *(row for sense in alarms.SENSES for row in _sense_rows(sense)),
    Row(alarms.BINARY_SENSOR, *_UNTYPED, dict.fromkeys(("Binary Sensor Report", "Basic Set", "Basic Report"), alarms.untyped_sensed),
        alarms.untyped_gets, alarms.untyped, events=("StateChange",)),
    Row(switches.BASIC, *_UNTYPED, dict.fromkeys(("Basic Set", "Basic Report"), alarms.untyped_sensed), alarms.untyped_gets,
        lambda endpoint: alarms.BINARY_SENSOR not in endpoint.classes and alarms.untyped(endpoint), sent=True, events=("StateChange",)),
)  # fmt: skip

MEASUREMENTS = (
    *(Row(sensors.SENSOR, row.capability, row.part, row.kind, sensors.properties(row),
          {"Multilevel Sensor Report": sensors.measured(row)}, sensors.measure_gets(row),
          _measures(row))
      for row in sensors.MEASURED),
    *(Row(sensors.METER, row.capability, "meter", "Electrical Sensor", tuple(name for name in names if name),
          {"Meter Report": sensors.metered(row)}, sensors.meter_gets(row),
          _meters(row, names))
      for row in sensors.METERED
      for names in dict.fromkeys(((row.consumed,), (row.produced,), (row.consumed, row.produced)))
      if all(names) and len(set(names)) == len(names)),
)  # fmt: skip

BUTTONS = (
    Row(sensors.CENTRAL_SCENE, "Switch", "buttons", "Scene Controller", ("NumberOfPositions",),
        {"Central Scene Notification": sensors.scene}, nothing, events=sensors.BUTTON_EVENTS, constants=sensors.scene_constants),
    Row(sensors.SCENE_ACTIVATION, "Switch", "buttons", "Scene Controller", ("NumberOfPositions",),
        {"Scene Activation Set": sensors.activated}, nothing, _sends_scenes, sent=True, events=("InitialPress", "ShortRelease"),
        constants=lambda _endpoint: {"NumberOfPositions": sensors.MOST_POSITIONS}),
    Row(switches.BASIC, "Switch", "remote", "Remote Control", ("NumberOfPositions",),
        {**dict.fromkeys(("Basic Set", "Binary Switch Set", "Multilevel Switch Set"), sensors.remote_set),
         "Multilevel Switch Start Level Change": sensors.remote_start, "Multilevel Switch Stop Level Change": sensors.remote_stop},
        nothing, lambda endpoint: _is_remote(endpoint) and not _sends_scenes(endpoint), sent=True, events=sensors.BUTTON_EVENTS[:4],
        constants=lambda _endpoint: {"NumberOfPositions": sensors.OFF_BUTTON + 1}),
)  # fmt: skip

EXTRAS = (
    Row(sensors.BATTERY, "LevelControl", "battery", "Battery", ("CurrentLevel",), {"Battery Report": sensors.battery_level},
        sensors.battery_gets("CurrentLevel"), own=True),
    Row(sensors.BATTERY, "PowerSource", "battery", "Battery", ("BatPercentRemaining", "BatChargeLevel"),
        {"Battery Report": sensors.battery}, sensors.battery_gets("BatPercentRemaining", "BatChargeLevel"), own=True),
    Row(alarms.NOTIFICATION, "PowerSource", "battery", "Battery", (), {"Notification Report": sensors.battery_warned}, nothing,
        lambda endpoint: sensors.BATTERY in endpoint.classes
        and alarms.notifies(endpoint, sensors.POWER_MANAGEMENT, frozenset(sensors.BATTERY_EVENTS)), own=True),
    Row(switches.INDICATOR, "Identify", "identify", "Identify", (), {}, nothing, switches.blinks, own=True,
        actions={"Identify": switches.identify}),
)  # fmt: skip

ROWS: tuple[Row, ...] = (
    *LOCKS,
    *CLIMATE,
    *BARRIERS,
    *COVERS,
    *SWITCHES,
    *ALARMS,
    *SENSES,
    *MEASUREMENTS,
    *BUTTONS,
    *EXTRAS,
)
APPLICATIONS = frozenset(row.command_class for row in ROWS) - {
    switches.BASIC, switches.INDICATOR, sensors.BATTERY, sensors.SCENE_ACTIVATION,
}  # fmt: skip

# Classes that are the network's or the driver's own business, not a user's; and those that another class says better.
SILENT = frozenset({
    0x01, 0x04, 0x20, 0x21, 0x22, 0x23, 0x27, 0x34, 0x4D, 0x4F, 0x52, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x5C, 0x5E, 0x5F, 0x60,
    0x61, 0x67, 0x68, 0x69, 0x6C, 0x70, 0x72, 0x73, 0x74, 0x77, 0x78, 0x7A, 0x7B, 0x7C, 0x7D, 0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A,
    0x8B, 0x8E, 0x8F, 0x98, 0x9A, 0x9B, 0x9F, 0xEF, 0xF100,
})  # fmt: skip
COVERED: dict[int, frozenset[int]] = {  # class -> those of which one is enough
    switches.BINARY: frozenset({switches.MULTILEVEL, switches.SOUND}),
    switches.MULTILEVEL: frozenset({switches.COVERING}),
    alarms.BINARY_SENSOR: frozenset({alarms.NOTIFICATION}),
    alarms.ALARM_SENSOR: frozenset({alarms.NOTIFICATION, alarms.BINARY_SENSOR}),
    locks.LOCK: frozenset({locks.DOOR_LOCK}),
    sensors.SCENE_ACTIVATION: frozenset({switches.MULTILEVEL, switches.BINARY}),
    0x2C: frozenset(
        {switches.MULTILEVEL, switches.BINARY}
    ),  # Scene Actuator Configuration: scenes of the device itself
    sensors.SCENE_CONTROLLER: frozenset({sensors.CENTRAL_SCENE, sensors.SCENE_CONTROLLER}),
    0x50: frozenset({switches.COVERING, switches.MULTILEVEL}),
}
