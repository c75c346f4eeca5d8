"""What a test or a person does to simulated Z-Wave nodes, by the control socket or a script. PURE.

One JSON object in (`{"op": "press", "device": "hall remote", "button": 2}`), one out; README.md lists the operations. An operation reads
its request first, and has an act to do when nothing is wrong with it.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from drivers.sim.requests import ControlError, real, truth, whole
from drivers.sim.zwave import behave_sensors, label
from drivers.sim.zwave.control_values import Setting, node_of, place_of, setting_of
from drivers.sim.zwave.node import Node
from drivers.sim.zwave.profiles import S0
from drivers.zwave.commands.sensors import KeyAttribute
from drivers.zwave.function_tables import TransmitStatus
from drivers.zwave.security import dsk as dsks

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Stick

Json = dict[str, Any]
Act = Callable[[float], Json]  # does it at a time, and tells what came of it. Raises ControlError

PRESSES = {
    "single": (KeyAttribute.PRESSED,),
    "double": (KeyAttribute.PRESSED_2,),
    "triple": (KeyAttribute.PRESSED_3,),
    "hold": (KeyAttribute.HELD_DOWN,),
    "release": (KeyAttribute.RELEASED,),
    "long": (KeyAttribute.HELD_DOWN, KeyAttribute.RELEASED),  # a hold, and its release a second later
}
LONG = 1.0  # seconds
STATUSES = {"no_ack": TransmitStatus.NO_ACK, "fail": TransmitStatus.FAIL, "no_route": TransmitStatus.NO_ROUTE}
# busy: a transmission does not start; silent: a request has no response; nak, can: the host's frames are refused; deaf: they are lost;
# ack: they are acknowledged with a damaged byte
FAULTS = (*STATUSES, "busy", "silent", "nak", "can", "deaf", "ack", "inclusion")


def prepare(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """The act of a request. Raises ControlError when it can never be done."""
    operation = _OPERATIONS.get(str(request.get("op")))
    if operation is None:
        known = ", ".join(sorted({*_OPERATIONS, *STICK_OPERATIONS}))
        raise ControlError(f"no operation {request.get('op')!r}; there are {known}")
    return operation(stick, request)


def perform(stick: "Stick", request: Mapping[str, Any], now: float) -> Json:
    """Do one request. Raises ControlError."""
    return prepare(stick, request)(now)


def arm(stick: "Stick", kind: str, count: int) -> None:
    """The next `count` things of a sort go wrong. Raises ControlError."""
    if kind in STATUSES:
        stick.faults["status"] += [STATUSES[kind]] * count
    elif kind in stick.faults:
        stick.faults[kind] += [0] * count
    elif kind in stick.link.storms:
        stick.link.storms[kind] += count
    elif kind == "inclusion":
        stick.inclusion.failing += count
    else:
        raise ControlError(f"no fault {kind!r}; there are {', '.join(FAULTS)}")


# ---- what is known ------------------------------------------------------------------------------------------------------


def _list(stick: "Stick", _request: Mapping[str, Any]) -> Act:
    return lambda _now: {"devices": [_describe(node) for node in stick.network.nodes.values()]}


def _describe(node: Node) -> Json:
    text = dsks.to_text(node.dsk)
    return {
        **node.describe(),
        "dsk": text,
        "pin": text[: dsks.DIGITS],
        "qr": label.code(node) if node.profile.keys & ~S0 else "",
    }


def _truth(stick: "Stick", _request: Mapping[str, Any]) -> Act:
    """Everything about the stick and its network that a test may compare with what a hub believes."""

    def act(_now: float) -> Json:
        network, link = stick.network, stick.link
        nodes = {str(node.id): node.name for node in network.members()}
        own = {
            "home_id": network.home_id.hex(),
            "own": network.own,
            "sis": network.sis,
            "failed": sorted(network.failed),
        }
        radio = {
            "radio_on": network.radio_on,
            "jammed": network.jammed,
            "wide": stick.context.wide,
            "region": int(stick.region),
        }
        session = stick.inclusion.session
        adding = {
            "session": session.kind.value if session else None,
            "listening": stick.inclusion.listening,
            **stick.inclusion.asked,
        }
        counters = {"frames_in": link.frames_in, "frames_out": link.frames_out, "given_up": link.given_up}
        return {**own, **radio, "nodes": nodes, "adding": adding, "counters": counters, "unknown": dict(stick.unknown)}

    return act


# ---- what devices measure and say ---------------------------------------------------------------------------------------


def _set(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Somebody operates the device, or what it measures changes; it reports."""
    node = node_of(stick.network, request)
    place = place_of(node, request)
    setting = setting_of(place, request)
    if "value" not in request:
        raise ControlError("no value")
    change = setting.change(place, request["value"])

    def act(now: float) -> Json:
        change(now)
        return {"ok": True}

    return act


def _ramp(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Straight from the value that it has to the value `to`, a step a second, within `seconds`."""
    node, seconds = node_of(stick.network, request), real(request, "seconds")
    place = place_of(node, request)
    setting = setting_of(place, request)
    to = real(request, "to", most=1e9)
    key = _measured(setting, place)
    steps = max(1, math.ceil(seconds))

    def act(now: float) -> Json:
        first = float(place.values[key])

        def step(number: int, due: float) -> None:
            setting.change(place, first + (to - first) * number / steps)(due)
            if number < steps:
                stick.network.timers.at(due + seconds / steps, partial(step, number + 1))

        stick.network.timers.at(now + seconds / steps, partial(step, 1))
        return {"steps": steps}

    return act


def _drift(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """A random step of at most `by`."""
    node, by = node_of(stick.network, request), real(request, "by", most=1e9)
    place = place_of(node, request)
    setting = setting_of(place, request)
    key = _measured(setting, place)

    def act(now: float) -> Json:
        value = float(place.values[key]) + stick.network.rng.uniform(-1.0, 1.0) * by
        setting.change(place, value)(now)
        return {"value": value}

    return act


def _measured(setting: Setting, place: Any) -> str:
    if not isinstance(place.values.get(setting.key), float):
        raise ControlError(f"{setting.key} is no measured number")
    return setting.key


def _press(stick: "Stick", request: Mapping[str, Any]) -> Act:
    node, button, kind = (
        node_of(stick.network, request),
        whole(request, "button", 1, 0xFF),
        request.get("kind", "single"),
    )
    if kind not in PRESSES:
        raise ControlError(f"no kind of press {kind!r}; there are {', '.join(PRESSES)}")
    if not 0 < button <= node.root.part.scenes:
        raise ControlError(f"{node.name} has no button {button}")

    def act(now: float) -> Json:
        for at, key in enumerate(PRESSES[kind]):

            def say(then: float, key: KeyAttribute = key) -> None:
                node.root.report(behave_sensors.scene_notification(node.root, button, key), then)

            stick.network.timers.at(now + at * LONG, say)
        return {"ok": True}

    return act


# ---- where devices are --------------------------------------------------------------------------------------------------


def _pair(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Its button is pressed: it lets itself be added, or removed."""
    node, on = node_of(stick.network, request), truth(request, "on", default=True)

    def act(now: float) -> Json:
        node.learning = on
        node.stay_awake(now)
        if on:
            stick.inclusion.invite(now)
        return {"joined": bool(node.id)}

    return act


def _move(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Out of reach, and back: as `power`, but batteries stay where they are."""
    node, away = node_of(stick.network, request), truth(request, "away", default=True)

    def act(_now: float) -> Json:
        node.powered = not away
        return {"reachable": not away}

    return act


def _power(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Without power nonces are lost; a device that is powered again synchronises anew."""
    node, on = node_of(stick.network, request), truth(request, "on")

    def act(now: float) -> Json:
        if on and not node.powered:
            node.guard.restart()
            node.plan_wake_up(now)
        node.powered = on
        return {"powered": on}

    return act


def _leave(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """It is set back to what it left the factory as, and tells its lifeline."""
    node = node_of(stick.network, request)

    def act(now: float) -> Json:
        if not node.id:
            raise ControlError(f"{node.name} is in no network")
        node.reset_locally(now)
        return {"ok": True}

    return act


def _sleep(stick: "Stick", request: Mapping[str, Any]) -> Act:
    node = node_of(stick.network, request)

    def act(now: float) -> Json:
        node.awake_until = now
        return {"awake": node.awake(now)}

    return act


def _wake(stick: "Stick", request: Mapping[str, Any]) -> Act:
    node = node_of(stick.network, request)

    def act(now: float) -> Json:
        node.wake(now)
        return {"awake": node.awake(now)}

    return act


# ---- what goes wrong ----------------------------------------------------------------------------------------------------


def _mute(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """A device that hangs: its radio acknowledges, and it neither does nor says anything. 0 seconds end it."""
    node, seconds = node_of(stick.network, request), real(request, "seconds", 10.0)

    def act(now: float) -> Json:
        node.mute_until = now + seconds
        return {"ok": True}

    return act


def _fail(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """The next `count` Sets are refused."""
    node, count = node_of(stick.network, request), whole(request, "count", 1)

    def act(_now: float) -> Json:
        node.fails = count
        return {"ok": True}

    return act


def _jam(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Something else takes the channel: nothing can be sent."""
    on = truth(request, "on", default=True)

    def act(_now: float) -> Json:
        stick.network.jammed = on
        return {"jammed": on}

    return act


def _air(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """The probability that a frame on the air is lost in spite of its retries."""
    lost = real(request, "lost", 0.0, 1.0)

    def act(_now: float) -> Json:
        stick.network.lossy = lost
        return {"lost": lost}

    return act


def _bootloader(stick: "Stick", _request: Mapping[str, Any]) -> Act:
    def act(_now: float) -> Json:
        stick.enter_bootloader()
        return {"ok": True}

    return act


def _raw(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Any bytes of a node, as they are."""
    node = node_of(stick.network, request)
    try:
        data = bytes.fromhex(str(request.get("data", "")))
    except ValueError as error:
        raise ControlError(f"data is no hex: {error}") from error

    def act(now: float) -> Json:
        node.emit(data, now)
        return {"ok": True}

    return act


# ---- traffic ------------------------------------------------------------------------------------------------------------


def _load(stick: "Stick", request: Mapping[str, Any]) -> Act:
    """Temperature reports at `rate` a second in all, `count` of them, with values that grow by 0.1 for each device.

    When each frame left (CLOCK_MONOTONIC, seconds) is what the operation `sent` answers.
    """
    names, rate = request.get("devices"), real(request, "rate", most=1e6)
    count, first = whole(request, "count", most=10**9), real(request, "first", 0.0, 1000.0)
    if not rate or not count or not isinstance(names, list | None):
        raise ControlError("rate and count are more than 0, devices is a list of names")
    network = stick.network

    def act(now: float) -> Json:
        able = [node for node in network.members() if "sensor/1" in node.root.values]
        nodes = [node for node in able if names is None or node.name in names]
        if not nodes:
            raise ControlError("no joined device measures temperature")
        network.sent = []

        def send(number: int, due: float) -> None:
            network.sent.append(network.polled_at)
            place = nodes[number % len(nodes)].root
            place.values["sensor/1"] = round(first + number // len(nodes) / 10, 1)
            place.report(behave_sensors.sensor_report(place, 1), due)
            if number + 1 < count:
                network.timers.at(now + (number + 1) / rate, partial(send, number + 1))

        network.timers.at(now, partial(send, 0))
        return {"devices": [node.name for node in nodes], "count": count}

    return act


def _sent(stick: "Stick", _request: Mapping[str, Any]) -> Act:
    return lambda _now: {"times": stick.network.sent}


STICK_OPERATIONS = ("unplug", "mute", "reset", "fault", "faults")  # serving.py does them; mute without a device
_OPERATIONS: dict[str, Callable[["Stick", Mapping[str, Any]], Act]] = {
    "list": _list,
    "truth": _truth,
    "set": _set,
    "ramp": _ramp,
    "drift": _drift,
    "press": _press,
    "pair": _pair,
    "move": _move,
    "power": _power,
    "leave": _leave,
    "sleep": _sleep,
    "wake": _wake,
    "mute": _mute,
    "fail": _fail,
    "jam": _jam,
    "air": _air,
    "bootloader": _bootloader,
    "raw": _raw,
    "load": _load,
    "sent": _sent,
}
