"""What switches, lamps, covers, barriers, sirens and indicators do with their commands (SDS13781). PURE.

Values: switch (0, 255), level (0..99), color/<component>, barrier (0..100), signal/<subsystem>, tone, volume, default_tone.
"""

from functools import partial
from typing import Any

from drivers.sim.zwave.place import Behaviour, Place, Result
from drivers.zwave.codec import Command
from drivers.zwave.commands.switches import BarrierState, ColorComponent, Level

TOP = 99
_WIDE_OPEN = 100
_IDENTIFY, _ON_OFF_PERIOD, _CYCLES, _ON_TIME = 0x50, 0x03, 0x04, 0x05
_DEFAULT = "default"
_STEPLESS = {0: 0, 1: TOP}


def _duration(place: Place, command: Command, share: float = 1.0) -> float:
    """Seconds that a Set asks for; the device's own travel time by default."""
    wanted = command.get("duration", _DEFAULT)
    return place.part.travel * share if wanted in (_DEFAULT, None) else float(wanted)


# ---- Basic, Binary Switch -----------------------------------------------------------------------------------------------


def binary_report(place: Place, now: float) -> Command:
    value = place.value("switch", now)
    target = {"target_value": place.target("switch"), "duration": place.left("switch", now)}
    return Command("Binary Switch Report", {"current_value": value, **target})


def binary_get(place: Place, _: Command, now: float) -> Result:
    return [binary_report(place, now)]


def binary_set(place: Place, command: Command, now: float) -> Result:
    value = command["target_value"]
    if TOP < value < Level.ON:
        return False
    return place.move("switch", Level.ON if value else 0, _duration(place, command), now, partial(_switched, place))


def _switched(place: Place, now: float) -> None:
    place.report(binary_report(place, now), now)
    if "meter/2" in place.values:
        watts = place.values["load"] if place.values["switch"] else 0.0
        place.values["meter/2"] = watts
        place.values["meter/5"] = round(watts / place.values["meter/4"], 3)


def basic_get(place: Place, _: Command, now: float) -> Result:
    key = next((key for key in ("switch", "level", "lock", "tone") if key in place.values), None)
    if key is None:
        return None
    value = place.value(key, now)
    return [
        Command(
            "Basic Report",
            {"current_value": value, "target_value": place.target(key), "duration": place.left(key, now)},
        )
    ]


def basic_set(place: Place, command: Command, now: float) -> Result:
    for number, behaviour in ((0x25, binary_set), (0x26, level_set), (0x79, tone_set)):
        if number in place.classes:
            return behaviour(place, command, now)
    return None


# ---- Multilevel Switch --------------------------------------------------------------------------------------------------


def level_report(place: Place, now: float) -> Command:
    target = {"target_value": place.target("level"), "duration": place.left("level", now)}
    return Command("Multilevel Switch Report", {"current_value": place.value("level", now), **target})


def level_get(place: Place, _: Command, now: float) -> Result:
    return [level_report(place, now)]


def level_set(place: Place, command: Command, now: float) -> Result:
    value = command["target_value"]
    if TOP < value < Level.ON:
        return False
    wanted = value if value <= TOP else place.values.get("last_level") or TOP
    return _level_to(place, wanted, _duration(place, command), now)


def _level_to(place: Place, wanted: int, seconds: float, now: float) -> Result:
    if wanted:
        place.values["last_level"] = wanted
    return place.move("level", wanted, seconds, now, lambda then: place.report(level_report(place, then), then))


def level_start(place: Place, command: Command, now: float) -> Result:
    target = _STEPLESS[int(command["direction"] == 0)]
    if not command.get("ignore_start_level", False) and command["start_level"] <= TOP:
        place.stop("level", now)
        place.values["level"] = command["start_level"]
    seconds = _duration(place, command) or 2.0
    place.move("level", target, seconds, now, lambda then: place.report(level_report(place, then), then))
    return True


def level_stop(place: Place, _: Command, now: float) -> Result:
    place.stop("level", now)
    place.report(level_report(place, now), now)
    return True


def level_supported(place: Place, _: Command, _now: float) -> Result:
    kinds = {"primary_type": place.part.switch_type, "secondary_type": 0}
    return [Command("Multilevel Switch Supported Report", kinds)]


# ---- Color Switch -------------------------------------------------------------------------------------------------------


def _colors(place: Place) -> list[int]:
    return sorted(int(key.partition("/")[2]) for key in place.values if key.startswith("color/"))


def color_report(place: Place, component: int, now: float) -> Command:
    key = f"color/{component}"
    values = {
        "current_value": place.value(key, now),
        "target_value": place.target(key),
        "duration": place.left(key, now),
    }
    return Command("Color Switch Report", {"component": component, **values})


def color_supported(place: Place, _: Command, _now: float) -> Result:
    return [Command("Color Switch Supported Report", {"components": _colors(place)})]


def color_get(place: Place, command: Command, now: float) -> Result:
    return [color_report(place, command["component"], now)] if command["component"] in _colors(place) else None


def color_set(place: Place, command: Command, now: float) -> Result:
    colors = {int(entry["component"]): entry["value"] for entry in command["colors"]}
    if not colors.keys() <= set(_colors(place)):
        return False
    seconds = _duration(place, command)
    for component, value in colors.items():
        place.move(f"color/{component}", value, seconds, now, partial(_colored, place, component))
    return seconds if seconds > 0 else True


def _colored(place: Place, component: int, now: float) -> None:
    place.report(color_report(place, component, now), now)


def color_start(place: Place, command: Command, now: float) -> Result:
    component = command["component"]
    if component not in _colors(place):
        return False
    target = 0 if command["down"] else Level.ON
    place.move(f"color/{component}", target, _duration(place, command) or 2.0, now, partial(_colored, place, component))
    return True


def color_stop(place: Place, command: Command, now: float) -> Result:
    if command["component"] not in _colors(place):
        return False
    place.stop(f"color/{command['component']}", now)
    _colored(place, command["component"], now)
    return True


# ---- Window Covering: the same motor as the Multilevel Switch ------------------------------------------------------------


def covering_report(place: Place, now: float) -> Command:
    values = {"current_value": place.value("level", now), "target_value": place.target("level")}
    left = {"parameter": place.part.covering, "duration": place.left("level", now)}
    return Command("Window Covering Report", {**values, **left})


def covering_supported(place: Place, _: Command, _now: float) -> Result:
    return [Command("Window Covering Supported Report", {"parameters": [place.part.covering]})]


def covering_get(place: Place, command: Command, now: float) -> Result:
    return [covering_report(place, now)] if command["parameter"] == place.part.covering else None


def covering_set(place: Place, command: Command, now: float) -> Result:
    wanted = [entry["value"] for entry in command["values"] if entry["parameter"] == place.part.covering]
    if not wanted or wanted[0] > TOP:
        return False
    share = abs(wanted[0] - place.value("level", now)) / TOP
    return place.move("level", wanted[0], _duration(place, command, share), now, partial(_covered, place))


def _covered(place: Place, now: float) -> None:
    place.report(covering_report(place, now), now)
    place.report(level_report(place, now), now)


def covering_start(place: Place, command: Command, now: float) -> Result:
    if command["parameter"] != place.part.covering:
        return False
    place.move("level", 0 if command["down"] else TOP, _duration(place, command), now, partial(_covered, place))
    return True


def covering_stop(place: Place, command: Command, now: float) -> Result:
    if command["parameter"] != place.part.covering:
        return False
    place.stop("level", now)
    _covered(place, now)
    return True


# ---- Barrier Operator ---------------------------------------------------------------------------------------------------


def barrier_report(place: Place, now: float) -> Command:
    value, target = place.value("barrier", now), place.target("barrier")
    moving = BarrierState.OPENING if target > value else BarrierState.CLOSING
    at_rest = {0: BarrierState.CLOSED, _WIDE_OPEN: BarrierState.OPEN}.get(value, value)
    return Command("Barrier Operator Report", {"state": at_rest if value == target else moving})


def barrier_get(place: Place, _: Command, now: float) -> Result:
    return [barrier_report(place, now)]


def barrier_set(place: Place, command: Command, now: float) -> Result:
    if command["target_value"] not in (BarrierState.CLOSED, BarrierState.OPEN):
        return False
    target = _WIDE_OPEN if command["target_value"] else 0
    result = place.move(
        "barrier", target, place.part.travel, now, lambda then: place.report(barrier_report(place, then), then)
    )
    if result is not True:
        place.report(barrier_report(place, now), now)
    return result


def signal_supported(place: Place, _: Command, _now: float) -> Result:
    kinds = [int(key.partition("/")[2]) for key in place.values if key.startswith("signal/")]
    return [Command("Barrier Operator Signal Supported Report", {"subsystems": kinds})]


def signal_get(place: Place, command: Command, _now: float) -> Result:
    state = place.values.get(f"signal/{command['subsystem']}")
    values = {"subsystem": command["subsystem"], "state": state}
    return None if state is None else [Command("Barrier Operator Signal Report", values)]


def signal_set(place: Place, command: Command, _now: float) -> Result:
    key = f"signal/{command['subsystem']}"
    if key not in place.values or command["state"] not in (0, Level.ON):
        return False
    place.values[key] = command["state"]
    return True


# ---- Sound Switch -------------------------------------------------------------------------------------------------------


def tones_number(place: Place, _: Command, _now: float) -> Result:
    return [Command("Sound Switch Tones Number Report", {"tones": len(place.part.tones)})]


def tone_info(place: Place, command: Command, _now: float) -> Result:
    tones = dict(enumerate(place.part.tones, 1))
    name, seconds = tones.get(command["tone"], ("", 0))
    return [Command("Sound Switch Tone Info Report", {"tone": command["tone"], "seconds": seconds, "name": name})]


def sound_configuration_set(place: Place, command: Command, _now: float) -> Result:
    tone, volume = command["default_tone"], command["volume"]
    if tone > len(place.part.tones) or _WIDE_OPEN < volume < Level.ON:
        return False
    if volume != Level.ON:
        place.values["volume"] = volume
    place.values["default_tone"] = tone or place.values["default_tone"]
    return True


def sound_configuration_get(place: Place, _: Command, _now: float) -> Result:
    values = {key: place.values[key] for key in ("volume", "default_tone")}
    return [Command("Sound Switch Configuration Report", values)]


def tone_report(place: Place, _now: float) -> Command:
    tone = place.values["tone"]
    return Command(
        "Sound Switch Tone Play Report", {"tone": tone, "volume": place.values["tone_volume"] if tone else 0}
    )


def tone_get(place: Place, _: Command, now: float) -> Result:
    return [tone_report(place, now)]


def tone_set(place: Place, command: Command, now: float) -> Result:
    tone = command.get("tone", command.get("target_value", 0))
    tone = place.values["default_tone"] if tone == Level.ON else tone
    if tone > len(place.part.tones):
        return False
    place.values["tone"] = tone
    place.values["tone_volume"] = command.get("volume", 0) or place.values["volume"]
    place.report(tone_report(place, now), now)
    if tone:
        place.node.timers.at(now + place.part.tones[tone - 1][1], partial(_tone_over, place, tone))
    return True


def _tone_over(place: Place, tone: int, now: float) -> None:
    if place.values["tone"] == tone:
        place.values["tone"] = 0
        place.report(tone_report(place, now), now)


# ---- Indicator: every node blinks to be found -----------------------------------------------------------------------------

_PROPERTIES = (_ON_OFF_PERIOD, _CYCLES, _ON_TIME)


def indicator_supported(_place: Place, command: Command, _now: float) -> Result:
    asked = command["indicator"]
    known = asked in (0, _IDENTIFY)
    values: dict[str, Any] = {"indicator": _IDENTIFY if known else 0, "next_indicator": 0}
    return [Command("Indicator Supported Report", {**values, "properties": list(_PROPERTIES) if known else []})]


def indicator_get(place: Place, command: Command, _now: float) -> Result:
    asked = command.get("indicator", _IDENTIFY)
    state = place.values.get("indicator", {})
    objects = [
        {"indicator": _IDENTIFY, "property": number, "value": state.get(str(number), 0)}
        for number in _PROPERTIES
        if asked == _IDENTIFY
    ]
    return [Command("Indicator Report", {"value": 0, "objects": objects})]


def indicator_set(place: Place, command: Command, _now: float) -> Result:
    objects = command.get("objects", [])
    if any(entry["indicator"] != _IDENTIFY or entry["property"] not in _PROPERTIES for entry in objects):
        return False
    place.values["indicator"] = {str(entry["property"]): entry["value"] for entry in objects}
    return True


def scene_activation(place: Place, command: Command, _now: float) -> Result:
    place.values["scene"] = command["scene"]
    return True


BEHAVIOURS: dict[str, Behaviour] = {
    "Basic Get": basic_get,
    "Basic Set": basic_set,
    "Binary Switch Get": binary_get,
    "Binary Switch Set": binary_set,
    "Multilevel Switch Get": level_get,
    "Multilevel Switch Set": level_set,
    "Multilevel Switch Start Level Change": level_start,
    "Multilevel Switch Stop Level Change": level_stop,
    "Multilevel Switch Supported Get": level_supported,
    "Color Switch Supported Get": color_supported,
    "Color Switch Get": color_get,
    "Color Switch Set": color_set,
    "Color Switch Start Level Change": color_start,
    "Color Switch Stop Level Change": color_stop,
    "Window Covering Supported Get": covering_supported,
    "Window Covering Get": covering_get,
    "Window Covering Set": covering_set,
    "Window Covering Start Level Change": covering_start,
    "Window Covering Stop Level Change": covering_stop,
    "Barrier Operator Get": barrier_get,
    "Barrier Operator Set": barrier_set,
    "Barrier Operator Signal Supported Get": signal_supported,
    "Barrier Operator Signal Get": signal_get,
    "Barrier Operator Signal Set": signal_set,
    "Sound Switch Tones Number Get": tones_number,
    "Sound Switch Tone Info Get": tone_info,
    "Sound Switch Configuration Set": sound_configuration_set,
    "Sound Switch Configuration Get": sound_configuration_get,
    "Sound Switch Tone Play Get": tone_get,
    "Sound Switch Tone Play Set": tone_set,
    "Indicator Supported Get": indicator_supported,
    "Indicator Get": indicator_get,
    "Indicator Set": indicator_set,
    "Scene Activation Set": scene_activation,
}
COLORS = {component.name.lower(): component for component in ColorComponent}
