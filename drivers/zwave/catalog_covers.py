"""Rows of what moves: coverings of Multilevel Switch and of Window Covering. PURE."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.driver import InvalidParameters
from drivers.zwave import catalog_scales as scale
from drivers.zwave.catalog_switches import MULTILEVEL
from drivers.zwave.catalog_types import Act, Place, Read, Said, Update, ZWaveEndpoint, ZWaveGet, ZWaveSet
from drivers.zwave.codec import Command

LIFT, TILT = "Lift", "Tilt"
# Parameters of Window Covering with a position, the best first; one less is the same without a position. Outbound bottom and top, inbound
# bottom, top and both, outbound left and right, inbound left, right and both; then the angle of horizontal and of vertical slats.
LIFTS = (13, 15, 17, 19, 21, 1, 3, 5, 7, 9)
TILTS = (23, 11)
ROLLER, TILT_ONLY, LIFT_AND_TILT, UNKNOWN_TYPE = 0x00, 0x07, 0x08, 0xFF  # Type of the cluster


def covering(endpoint: ZWaveEndpoint, what: str) -> int | None:
    """The parameter that lifts or tilts: with a position if the device has one. None where it has neither."""
    found = endpoint.facts.coverings or frozenset()
    known = LIFTS if what == LIFT else TILTS
    ranked = (*known, *(parameter - 1 for parameter in known))
    return next((parameter for parameter in ranked if parameter in found), None)


def positioned(parameter: int | None) -> bool:
    """Whether a parameter of Window Covering has positions: the odd ones have."""
    return parameter is not None and parameter % 2 == 1


def has(what: str, *, position: bool) -> Callable[[ZWaveEndpoint], bool]:
    def when(endpoint: ZWaveEndpoint) -> bool:
        parameter = covering(endpoint, what)
        return parameter is not None and positioned(parameter) is position

    return when


def properties(what: str) -> tuple[str, ...]:
    return (
        f"CurrentPosition{what}Percentage",
        f"CurrentPosition{what}Percent100ths",
        f"TargetPosition{what}Percent100ths",
    )


def _filled(what: str, command: Command, scaling: Callable[[int], int | None]) -> dict[str, Any]:
    value = scaling(command["current_value"])
    percentage, hundredths, target = properties(what)
    said: dict[str, Any] = {percentage: None if value is None else round(value / 100), hundredths: value}
    if "target_value" in command.values:
        said[target] = scaling(command["target_value"])
    return said


def _raw(values: Mapping[str, Any], what: str, scaling: Callable[[int], int]) -> int:
    key, target = f"{what}Percent100thsValue", properties(what)[2]
    wanted = values.get(key, values.get(target))
    if wanted is None:
        raise InvalidParameters(f"{target}: null is no position")
    return scaling(wanted)


# ---- Multilevel Switch ----------------------------------------------------------------------------------------------------


def motor_gets(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
    return (ZWaveGet(endpoint.id, Command("Multilevel Switch Get"), "Multilevel Switch Report", {}, properties(LIFT)),)


def motor_moved(command: Command, _place: Place) -> Sequence[Said]:
    return (_filled(LIFT, command, scale.lift),)


def _drive(raw: int) -> Act:
    return lambda _values, place: _sent(raw, place)


def _sent(raw: int, place: Place) -> Sequence[ZWaveSet]:
    """A motor takes as long as the way is: nothing is proved before it has arrived."""
    command = Command("Multilevel Switch Set", {"target_value": raw})
    return (ZWaveSet(place.endpoint.id, command, tuple(motor_gets(place.endpoint)), None),)


def _drive_to(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    return _sent(_raw(values, LIFT, scale.raw_lift), place)


def _halt(_values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
    gets = tuple(motor_gets(place.endpoint))
    return (ZWaveSet(place.endpoint.id, Command("Multilevel Switch Stop Level Change"), gets),)


MOTOR_ACTIONS: Mapping[str, Act] = {
    "UpOrOpen": _drive(scale.FULL),
    "DownOrClose": _drive(0),
    "StopMotion": _halt,
    "GoToLiftPercentage": _drive_to,
}
MOTOR_UPDATES = (Update((properties(LIFT)[2],), _drive_to),)


def motor_constants(endpoint: ZWaveEndpoint) -> dict[str, Any]:
    return {"Type": UNKNOWN_TYPE} if MULTILEVEL in endpoint.classes else {}


# ---- Window Covering ------------------------------------------------------------------------------------------------------


def _scaling(what: str) -> tuple[Callable[[int], int | None], Callable[[int], int]]:
    return (scale.lift, scale.raw_lift) if what == LIFT else (scale.slats, scale.raw_slats)


def gets(what: str) -> Callable[[ZWaveEndpoint], Sequence[ZWaveGet]]:
    def made(endpoint: ZWaveEndpoint) -> Sequence[ZWaveGet]:
        values = {"parameter": covering(endpoint, what)}
        return (
            ZWaveGet(
                endpoint.id, Command("Window Covering Get", values), "Window Covering Report", values, properties(what)
            ),
        )

    return made


def moved(what: str) -> Read:
    def read(command: Command, place: Place) -> Sequence[Said]:
        if command["parameter"] != covering(place.endpoint, what):
            return ()
        return (_filled(what, command, _scaling(what)[0]),)

    return read


def go(what: str) -> Act:
    def act(values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        return _set(what, _raw(values, what, _scaling(what)[1]), place)

    return act


def _set(what: str, raw: int, place: Place) -> Sequence[ZWaveSet]:
    endpoint = place.endpoint
    values = [{"parameter": covering(endpoint, what), "value": raw}]
    command = Command("Window Covering Set", {"values": values, "duration": "default"})
    return (ZWaveSet(endpoint.id, command, tuple(gets(what)(endpoint)), None),)


def drive(what: str, *, down: bool) -> Act:
    """To the end: a set where there are positions, else a level change that the device ends by itself."""

    def act(_values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        parameter = covering(place.endpoint, what)
        if positioned(parameter):
            opened = scale.FULL if what == LIFT else scale.MIDDLE
            return _set(what, 0 if down else opened, place)
        values = {"down": down, "parameter": parameter, "duration": "default"}
        return (ZWaveSet(place.endpoint.id, Command("Window Covering Start Level Change", values), (), None),)

    return act


def halt(what: str) -> Act:
    def act(_values: Mapping[str, Any], place: Place) -> Sequence[ZWaveSet]:
        parameter = covering(place.endpoint, what)
        command = Command("Window Covering Stop Level Change", {"parameter": parameter})
        confirm = tuple(gets(what)(place.endpoint)) if positioned(parameter) else ()
        return (ZWaveSet(place.endpoint.id, command, confirm),)

    return act


def actions(what: str, *, position: bool) -> dict[str, Act]:
    made = {"UpOrOpen": drive(what, down=False), "DownOrClose": drive(what, down=True), "StopMotion": halt(what)}
    return made | ({f"GoTo{what}Percentage": go(what)} if position else {})


def constants(endpoint: ZWaveEndpoint) -> dict[str, Any]:
    lifts, tilts = (covering(endpoint, what) is not None for what in (LIFT, TILT))
    return {"Type": LIFT_AND_TILT if lifts and tilts else TILT_ONLY if tilts else ROLLER}
