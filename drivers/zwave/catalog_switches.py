"""Rows of command classes that act: switches, dimmers, barriers, sirens, coverings, colours, indicators. PURE."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.driver import InvalidParameters, NotSupported
from drivers.zwave import catalog_scales as scale
from drivers.zwave.catalog_types import Act, Place, Read, Said, Update, ZWaveEndpoint, ZWaveGet, ZWaveSet
from drivers.zwave.codec import Command
from drivers.zwave.commands.switches import BarrierState, ColorComponent, Level

BASIC, BINARY, MULTILEVEL, COLOR = 0x20, 0x25, 0x26, 0x33
BARRIER, COVERING, SOUND, INDICATOR = 0x66, 0x6A, 0x79, 0x87
GENERIC_BINARY, GENERIC_MULTILEVEL = 0x10, 0x11
OFF_ON = 0x01  # switch type of a lamp
SIREN = 0x05  # specific device class of GENERIC_BINARY
MOTORS = frozenset({0x03, 0x05, 0x06, 0x07})  # specific classes of GENERIC_MULTILEVEL: multiposition, class A, B, C
SIREN_ICONS, COVER_ICONS = range(0x0F00, 0x1000), range(0x1800, 0x1B00)  # of Z-Wave Plus Info
ACTUATORS = frozenset({0x10, 0x11, 0x13})  # generic classes of what Basic switches

LEVELS = ("MoveToLevel", "Move", "Stop", "MoveToLevelWithOnOff", "MoveWithOnOff", "StopWithOnOff")
STEPS = ("Step", "StepWithOnOff")


def is_siren(endpoint: ZWaveEndpoint) -> bool:
    """Whether the endpoint makes noise: by what it is, not by a switch that it has as a lamp has one."""
    by_class = (endpoint.generic, endpoint.specific) == (GENERIC_BINARY, SIREN)
    return SOUND in endpoint.classes or by_class or endpoint.installer_icon in SIREN_ICONS


def is_motor(endpoint: ZWaveEndpoint) -> bool:
    """Whether a multilevel switch moves something; one that calls its ends off and on is a lamp."""
    by_class = endpoint.generic == GENERIC_MULTILEVEL and endpoint.specific in MOTORS
    return (by_class or endpoint.installer_icon in COVER_ICONS) and endpoint.facts.switch_type != OFF_ON


def getter(name: str, *fills: str, **values: Any) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    return lambda endpoint: (ZWaveGet(endpoint.id, Command(f"{name} Get", values), f"{name} Report", values, fills),)


def timed(endpoint: ZWaveEndpoint, command_class: int, parameters: Mapping[str, Any], since: int) -> dict[str, Any]:
    """The duration of a change, for versions that have one."""
    if endpoint.version(command_class) < since:
        return {}
    return {"duration": scale.seconds(parameters.get("TransitionTime"))}


def wait_of(duration: Any) -> float | None:
    return float(duration) if isinstance(duration, int) else None


# ---- on and off ---------------------------------------------------------------------------------------------------------------------


def switched(name: str) -> Read:
    def read(command: Command, _place: Place) -> Sequence[Said]:
        value = scale.binary(command["current_value"])
        return () if value is None else ({name: value},)

    return read


def switch(name: str, raw: int, *, supervised: bool = True) -> Act:
    def act(_parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        endpoint = place.endpoint
        proves = (Command(f"{name} Report", {"current_value": raw}),) if supervised else ()
        command = Command(f"{name} Set", {"target_value": raw})
        return (ZWaveSet(endpoint.id, command, tuple(getter(name, "OnOff")(endpoint)), 0.0, supervised, proves),)

    return act


def light_up(_parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    """A dimmer goes on at its last level: nothing proves beforehand which one that is."""
    endpoint, gets = place.endpoint, tuple(dimmed_get(place.endpoint))
    return (ZWaveSet(endpoint.id, Command("Multilevel Switch Set", {"target_value": Level.ON}), gets, None),)


def darken(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    return dim({**parameters, "Level": 0}, place)


def toggle(on: Act, off: Act) -> Act:
    def act(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        value = place.last.get("OnOff")
        if value is None:
            raise NotSupported("Z-Wave has no toggle, and the state is not known yet", remedy="read the state first")
        return (off if value else on)(parameters, place)

    return act


def on_off(on: Act, off: Act) -> dict[str, Act]:
    return {"On": on, "Off": off, "Toggle": toggle(on, off)}


def on_off_update(on: Act, off: Act) -> tuple[Update, ...]:
    return (Update(("OnOff",), lambda values, place: (on if values["OnOff"] else off)(values, place)),)


# ---- levels -------------------------------------------------------------------------------------------------------------------------


dimmed_get = getter("Multilevel Switch", "OnOff", "CurrentLevel", "RemainingTime")


def dimmed(command: Command, _place: Place) -> Sequence[Said]:
    values: dict[str, Any] = {"CurrentLevel": scale.level(command["current_value"])}
    remaining = command.get("duration", "default")
    if isinstance(remaining, int):
        values["RemainingTime"] = min(remaining * 10, 0xFFFF)
    return (values,)


def dim(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    endpoint, raw = place.endpoint, scale.raw_level(parameters["Level"])
    duration = timed(endpoint, MULTILEVEL, parameters, since=2)
    command = Command("Multilevel Switch Set", {"target_value": raw, **duration})
    proves = (Command("Multilevel Switch Report", {"current_value": raw}),)
    return (
        ZWaveSet(endpoint.id, command, tuple(dimmed_get(endpoint)), wait_of(duration.get("duration")), proves=proves),
    )


def _move(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    rate, endpoint = parameters.get("Rate"), place.endpoint
    if rate == 0:
        raise InvalidParameters("Rate: 0 moves nothing")
    values: dict[str, Any] = {"direction": parameters["MoveMode"], "ignore_start_level": True, "start_level": 0}
    duration: Any = "default" if rate is None else max(round(scale.MOST / rate), 1)
    if endpoint.version(MULTILEVEL) > 1:
        values["duration"] = duration
    command = Command("Multilevel Switch Start Level Change", values)
    return (ZWaveSet(endpoint.id, command, tuple(dimmed_get(endpoint)), wait_of(duration)),)


def _step(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    now = place.last.get("CurrentLevel")
    if now is None:
        raise NotSupported("Z-Wave has no step, and the level is not known yet", remedy="read the state first")
    step = -parameters["StepSize"] if parameters["StepMode"] else parameters["StepSize"]
    return dim({**parameters, "Level": min(max(now + step, 0), scale.MOST)}, place)


def _stop(_parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    endpoint = place.endpoint
    return (ZWaveSet(endpoint.id, Command("Multilevel Switch Stop Level Change"), tuple(dimmed_get(endpoint)), 0.0),)


def level_update(act: Act) -> tuple[Update, ...]:
    def update(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        if values["CurrentLevel"] is None:
            raise InvalidParameters("CurrentLevel: null is no level")
        return act({"Level": values["CurrentLevel"]}, place)

    return (Update(("CurrentLevel",), update),)


LEVEL_ACTIONS = dict(zip(LEVELS, (dim, _move, _stop) * 2, strict=True)) | dict.fromkeys(STEPS, _step)


# ---- garage doors -------------------------------------------------------------------------------------------------------------------


barrier_get = getter("Barrier Operator", "OnOff", "CurrentLevel")
_MOVING = (BarrierState.CLOSING, BarrierState.STOPPED, BarrierState.OPENING)


def barrier(command: Command, _place: Place) -> Sequence[Said]:
    """On is "not closed": a door that moves or has stopped somewhere lets people in."""
    raw = command["state"]
    if raw in _MOVING:
        return ({"OnOff": True, "CurrentLevel": None},)
    value = scale.level(raw)
    return ({"OnOff": raw != BarrierState.CLOSED, "CurrentLevel": value},)


def one_of(read: Read, name: str) -> Read:
    """One property of a report that fills several capabilities."""

    def picked(command: Command, place: Place) -> Sequence[Said]:
        found = [said for said in read(command, place) if isinstance(said, dict)]
        return tuple({name: said[name]} for said in found if name in said)

    return picked


def operate(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    wanted = parameters["Level"]
    if wanted not in (0, scale.MOST):
        raise InvalidParameters(f"Level: a barrier opens ({scale.MOST}) or closes (0), it stops nowhere else")
    target = BarrierState.OPEN if wanted else BarrierState.CLOSED
    command = Command("Barrier Operator Set", {"target_value": target})
    return (ZWaveSet(place.endpoint.id, command, tuple(barrier_get(place.endpoint)), None),)


def open_barrier(_parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    return operate({"Level": scale.MOST}, place)


def close_barrier(_parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    return operate({"Level": 0}, place)


# ---- sirens -------------------------------------------------------------------------------------------------------------------------


DEFAULT_TONE = 0xFF
tone_get = getter("Sound Switch Tone Play", "CurrentLevel")


def tone(command: Command, place: Place) -> Sequence[Said]:
    """Silence is level 0; while it plays, the level is the volume where the version says it, or the configuration did."""
    if not command["tone"]:
        return ({"CurrentLevel": 0},)
    volume = command.get("volume", place.memory.get("volume"))
    return ({"CurrentLevel": None if volume is None else scale.percent_level(volume)},)


def volume_told(command: Command, place: Place) -> Sequence[Said]:
    place.memory["volume"] = scale.percent(command["volume"])
    return ()


def sound(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    endpoint = place.endpoint
    volume = max(round(parameters["Level"] * 100 / scale.MOST), 1) if parameters["Level"] else 0
    gets, answer = tuple(tone_get(endpoint)), "Sound Switch Tone Play Report"
    if not volume:
        silence = Command("Sound Switch Tone Play Set", {"tone": 0})
        return (ZWaveSet(endpoint.id, silence, gets, proves=(Command(answer, {"tone": 0}),)),)
    values = {"tone": DEFAULT_TONE}
    if endpoint.version(SOUND) > 1:
        command = Command("Sound Switch Tone Play Set", {**values, "volume": volume})
        return (ZWaveSet(endpoint.id, command, gets, proves=(Command(answer, {**values, "volume": volume}),)),)
    configured = {"volume": volume, "default_tone": 0}  # 0: the tone stays what it is
    loud = ZWaveSet(
        endpoint.id,
        Command("Sound Switch Configuration Set", configured),
        tuple(getter("Sound Switch Configuration")(endpoint)),
        proves=(Command("Sound Switch Configuration Report", configured),),
    )
    play = Command("Sound Switch Tone Play Set", values)
    return (loud, ZWaveSet(endpoint.id, play, gets, proves=(Command(answer, values),)))


def tone_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    volume = getter("Sound Switch Configuration")(endpoint) if endpoint.version(SOUND) == 1 else ()
    return (*volume, *tone_get(endpoint))


alarm_get = getter("Binary Switch", "CurrentLevel")


def alarmed(command: Command, _place: Place) -> Sequence[Said]:
    return ({"CurrentLevel": scale.level(command["current_value"])},)


def alarm(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    """A siren with a switch alone is silent or loud."""
    raw, endpoint = Level.ON if parameters["Level"] else 0, place.endpoint
    command = Command("Binary Switch Set", {"target_value": raw})
    proves = (Command("Binary Switch Report", {"current_value": raw}),)
    return (ZWaveSet(endpoint.id, command, tuple(alarm_get(endpoint)), proves=proves),)


def levels(act: Act) -> dict[str, Act]:
    return {"MoveToLevel": act, "MoveToLevelWithOnOff": act}


# ---- identify -----------------------------------------------------------------------------------------------------------------------


_IDENTIFY = (0x50, frozenset({0x03, 0x04, 0x05}))  # indicator "node identify": on/off period, cycles, on time


def identify(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    """Blink once a second; tenths of a second per period, then the number of periods, at most 254."""
    times = min(parameters["IdentifyTime"], 254)
    periods = ((0x03, 10 if times else 0), (0x04, times), (0x05, 5 if times else 0))
    objects = [{"indicator": _IDENTIFY[0], "property": number, "value": value} for number, value in periods]
    command = Command("Indicator Set", {"value": 0, "objects": objects})
    return (ZWaveSet(place.endpoint.id, command),)


def blinks(endpoint: ZWaveEndpoint) -> bool:
    found = endpoint.facts.indicator
    return endpoint.version(INDICATOR) > 2 and found is not None and found >= _IDENTIFY[1]  # noqa: PLR2004


# ---- colours ------------------------------------------------------------------------------------------------------------------------


RGB = (ColorComponent.RED, ColorComponent.GREEN, ColorComponent.BLUE)
WHITES = (ColorComponent.WARM_WHITE, ColorComponent.COLD_WHITE)


def _components(endpoint: ZWaveEndpoint) -> frozenset[int]:
    return endpoint.facts.components or frozenset()


def has_rgb(endpoint: ZWaveEndpoint) -> bool:
    return frozenset(RGB) <= _components(endpoint)


def has_whites(endpoint: ZWaveEndpoint) -> bool:
    return frozenset(WHITES) <= _components(endpoint)


def color_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    fills = ("CurrentHue", "CurrentSaturation", "CurrentX", "CurrentY", "ColorTemperatureMireds", "ColorMode")
    ours = sorted(_components(endpoint) & {*RGB, *WHITES})
    return tuple(get for part in ours for get in getter("Color Switch", *fills, component=part)(endpoint))


def colored(command: Command, place: Place) -> Sequence[Said]:
    """One component comes with each report: a colour is told once all that it needs have been heard."""
    now: dict[int, int] = place.memory.setdefault("color", {})
    part = int(command["component"])
    if part not in _components(place.endpoint):
        return ()
    now[part] = command["current_value"]
    said: dict[str, Any] = {}
    red, green, blue = (now.get(part, 0) for part in RGB)
    coloured = bool(red or green or blue)
    if has_rgb(place.endpoint) and coloured and now.keys() >= set(RGB):
        said["CurrentHue"], said["CurrentSaturation"] = scale.hue_saturation((red, green, blue))
        said["CurrentX"], said["CurrentY"] = scale.xy((red, green, blue))
    warm, cold = (now.get(part, 0) for part in WHITES)
    if has_whites(place.endpoint) and warm + cold and now.keys() >= set(WHITES):
        said["ColorTemperatureMireds"] = scale.mireds(warm, cold)
    if said and now.keys() >= _components(place.endpoint) & {*RGB, *WHITES} and coloured != bool(warm + cold):
        said["ColorMode"] = said["EnhancedColorMode"] = 0 if coloured else 2
    return (said,) if said else ()


def _paint(place: Place, parts: Mapping[int, int], parameters: Mapping[str, Any]) -> Sequence[ZWaveSet]:
    """One command for all LEDs: what the colour does not use goes dark."""
    endpoint = place.endpoint
    wanted = {part: parts.get(part, 0) for part in sorted(_components(endpoint) & {*RGB, *WHITES})}
    duration = timed(endpoint, COLOR, parameters, since=2)
    colors = [{"component": part, "value": value} for part, value in wanted.items()]
    proves = tuple(
        Command("Color Switch Report", {"component": part, "current_value": value}) for part, value in wanted.items()
    )
    command = Command("Color Switch Set", {"colors": colors, **duration})
    return (
        ZWaveSet(endpoint.id, command, tuple(color_gets(endpoint)), wait_of(duration.get("duration")), proves=proves),
    )


def paint_hue(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    hue = parameters.get("Hue", parameters.get("CurrentHue", place.last.get("CurrentHue", 0)))
    kept = place.last.get("CurrentSaturation", scale.MOST)
    saturation = parameters.get("Saturation", parameters.get("CurrentSaturation", kept))
    return _paint(place, dict(zip(RGB, scale.from_hue(hue, saturation), strict=True)), parameters)


def paint_point(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    x, y = (parameters.get(f"Color{axis}", parameters.get(f"Current{axis}", 0)) for axis in "XY")
    return _paint(place, dict(zip(RGB, scale.from_xy(x, y), strict=True)), parameters)


def paint_white(parameters: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    parts = scale.from_mireds(parameters["ColorTemperatureMireds"])
    return _paint(place, dict(zip(WHITES, parts, strict=True)), parameters)


def color_constants(endpoint: ZWaveEndpoint) -> dict[str, Any]:
    found: dict[str, Any] = {"ColorCapabilities": 0x09 * has_rgb(endpoint) | 0x10 * has_whites(endpoint)}
    if has_whites(endpoint):
        found |= {"ColorTempPhysicalMinMireds": scale.COLD, "ColorTempPhysicalMaxMireds": scale.WARM}
    return found
