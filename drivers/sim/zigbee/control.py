"""What a test or a person does to simulated devices, by a control socket or a script. PURE.

One JSON object in (`{"op": "press", "device": "hall remote"}`), one out; README.md lists the operations.
An operation reads its request first, and has an act to do when nothing is wrong with it.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from drivers.sim.requests import ControlError, real, truth, whole
from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.control_values import attribute_of, fit, node_of
from drivers.sim.zigbee.model import PROFILE_HOME, JoinKind, Json, ieee_text
from drivers.sim.zigbee.node import Node

if TYPE_CHECKING:
    from drivers.sim.zigbee.network import Network

Act = Callable[[float], Json]  # does it at a time, and tells what came of it. Raises ControlError

ZONE, TEMPERATURE = 0x0500, 0x0402
MEASURED = frozenset({0x0400, 0x0402, 0x0403, 0x0404, 0x0405, 0x040D, 0x042A})  # clusters with a minimum and a maximum
# What real devices and stacks answer: ZCL FAILURE, ZDP TABLE_FULL, ZCL INSUFFICIENT_SPACE.
FAILURES = {"command": 0x01, "bind": 0x8C, "configure": 0x89}
LAST_ADDRESS = 0xFFF7  # of a device (Zigbee 3.6.5)
BUTTONS = {1: (0x0006, 0x01, b""), 2: (0x0006, 0x00, b""), 3: (0x0006, 0x02, b""), 4: (0x0005, 0x05, b"\x00\x00\x01")}
HOLDS = {1: (0x0008, 0x01, b"\x00\x32"), 2: (0x0008, 0x01, b"\x01\x32")}  # Move up and down, 50 a second
STOP = (0x0008, 0x03, b"")
PRESSES = ("single", "double", "hold", "release", "long")  # long: a hold, and its release a second later


def prepare(network: "Network", request: Mapping[str, Any]) -> Act:
    """The act of a request. Raises ControlError when it can never be done."""
    operation = _OPERATIONS.get(str(request.get("op")))
    if operation is None:
        known = ", ".join(sorted({*_OPERATIONS, *STICK_OPERATIONS}))
        raise ControlError(f"no operation {request.get('op')!r}; there are {known}")
    return operation(network, request)


def perform(network: "Network", request: Json, now: float) -> Json:
    """Do one request. Raises ControlError."""
    return prepare(network, request)(now)


# ---- what devices measure and say ---------------------------------------------------------------------------------------


def _list(network: "Network", _request: Mapping[str, Any]) -> Act:
    return lambda _now: {"devices": [_describe(node) for node in network.nodes.values()]}


def _describe(node: Node) -> Json:
    state = {
        f"{endpoint}/0x{cluster:04x}/0x{attribute:04x}": cell[1]
        for (endpoint, cluster), table in node.tables.items()
        for attribute, cell in table.items()
    }
    return {
        "name": node.name,
        "ieee": ieee_text(node.ieee),
        "nwk": node.nwk,
        "profile": node.profile_name,
        "joined": node.joined,
        "powered": node.powered,
        "reporting": len(node.reporting),
        "bindings": len(node.bindings),
        "state": state,
        "firmware": _firmware(node),
    }


def _firmware(node: Node) -> Json | None:
    client = node.ota
    if client is None:
        return None
    return {"version": client.firmware.version, "doing": client.doing, "has": len(client.have), "of": client.size}


def _set(network: "Network", request: Mapping[str, Any]) -> Act:
    """Another value; with `report` it is sent whatever the reporting rules say."""
    node = node_of(network, request)
    place = endpoint, cluster, attribute = attribute_of(node, request)
    if "value" not in request:
        raise ControlError("no value")
    cell = node.tables[(endpoint, cluster)][attribute]
    value, at_once = fit(cell[0], request["value"]), truth(request, "report", default=False)

    def act(now: float) -> Json:
        if at_once:
            cell[1] = value
            _say(network, node, endpoint, cluster, node.report(endpoint, cluster, (attribute,)), now)
        else:
            network.at(now, lambda _: node.set(*place, value))
        return {"ok": True}

    return act


def _number_cell(node: Node, request: Mapping[str, Any]) -> tuple[tuple[int, int, int], list[Any]]:
    """The place of an attribute that is a number, and its cell."""
    place = endpoint, cluster, attribute = attribute_of(node, request)
    cell = node.tables[(endpoint, cluster)][attribute]
    if cell[0] not in zcl.ANALOG:
        raise ControlError(f"attribute 0x{cluster:04x}/0x{attribute:04x} is no measured number")
    return place, cell


def _rounded(kind: int, value: float) -> Any:
    return fit(kind, value if kind == zcl.FLOAT else round(value))


def _drift(network: "Network", request: Mapping[str, Any]) -> Act:
    """A random step of at most `by`, within the sensor's range."""
    node, by = node_of(network, request), real(request, "by", most=1e9)
    place, cell = _number_cell(node, request)
    table = node.tables[place[:2]]
    ranged = place[1] in MEASURED and place[2] == 0

    def act(now: float) -> Json:
        value = cell[1] + network.rng.uniform(-1.0, 1.0) * by
        if ranged:
            value = min(max(value, table[0x0001][1]), table[0x0002][1])
        value = _rounded(cell[0], value)
        network.at(now, lambda _: node.set(*place, value))
        return {"value": value}

    return act


def _ramp(network: "Network", request: Mapping[str, Any]) -> Act:
    """Straight from the value that it has to the value `to`, a step a second, within `seconds`."""
    node, seconds = node_of(network, request), real(request, "seconds")
    place, cell = _number_cell(node, request)
    to = fit(cell[0], request.get("to"))
    steps = max(1, math.ceil(seconds))

    def act(now: float) -> Json:
        first = cell[1]

        def step(number: int, due: float) -> None:
            node.set(*place, _rounded(cell[0], first + (to - first) * number / steps))
            if number < steps:
                network.at(due + seconds / steps, partial(step, number + 1))

        network.at(now + seconds / steps, partial(step, 1))
        return {"steps": steps}

    return act


def _zone(network: "Network", request: Mapping[str, Any]) -> Act:
    """IAS zone status change: the attribute, and the notification to the enrolled controller."""
    node, status = node_of(network, request), whole(request, "status")
    endpoint = next((place for place, cluster in node.tables if cluster == ZONE), None)
    if endpoint is None:
        raise ControlError(f"{node.name} is no IAS zone")

    def act(now: float) -> Json:
        node.tables[(endpoint, ZONE)][0x0002][1] = status
        payload = zcl.u16(status) + b"\x00" + bytes([node.get(endpoint, ZONE, 0x0011)]) + zcl.u16(0)
        frame = zcl.Frame(zcl.CLUSTER_SPECIFIC | zcl.FROM_SERVER, node.next_sequence(), 0x00, payload)
        if node.get(endpoint, ZONE, 0x0010) == network.ieee:
            _say(network, node, endpoint, ZONE, frame.pack(), now)
        return {"enrolled": node.get(endpoint, ZONE, 0x0000) == 1}

    return act


def _press(network: "Network", request: Mapping[str, Any]) -> Act:
    """A press is a command of the button; a held one moves the level, and stops it when it is let go."""
    node, button, kind = node_of(network, request), whole(request, "button", 1, 0xFF), request.get("kind", "single")
    if kind not in PRESSES:
        raise ControlError(f"no kind of press {kind!r}; there are {', '.join(PRESSES)}")
    buttons = BUTTONS if kind in ("single", "double") else HOLDS
    if button not in buttons:
        raise ControlError(f"no button {button} for {kind}; there are {', '.join(map(str, buttons))}")
    pressed = buttons[button]
    commands = {
        "single": [(0.0, pressed)],
        "double": [(0.0, pressed), (0.3, pressed)],
        "hold": [(0.0, pressed)],
        "release": [(0.0, STOP)],
        "long": [(0.0, pressed), (1.0, STOP)],
    }[kind]
    endpoint = next((part.endpoint for part in node.profile.parts if pressed[0] in part.outputs), None)
    if endpoint is None:
        raise ControlError(f"{node.name} has no such button")

    def act(now: float) -> Json:
        for after, (cluster, command, payload) in commands:
            frame = zcl.Frame(zcl.CLUSTER_SPECIFIC | zcl.NO_DEFAULT, node.next_sequence(), command, payload)
            network.at(now + after, partial(_say, network, node, endpoint, cluster, frame.pack()))
        return {"ok": True}

    return act


def _say(network: "Network", node: Node, endpoint: int, cluster: int, data: bytes, _now: float) -> None:
    network.incoming(node, endpoint, 1, PROFILE_HOME, cluster, data)


# ---- where devices are --------------------------------------------------------------------------------------------------


def _pair(network: "Network", request: Mapping[str, Any]) -> Act:
    node = node_of(network, request)

    def act(now: float) -> Json:
        node.pairing = True
        network.joining.invite(now)
        return {"joined": node.joined}

    return act


def _leave(network: "Network", request: Mapping[str, Any]) -> Act:
    node, rejoin = node_of(network, request), truth(request, "rejoin", default=False)

    def act(_now: float) -> Json:
        if not node.joined:
            raise ControlError(f"{node.name} has not joined")
        network.joining.depart(node, rejoin=rejoin)
        return {"ok": True}

    return act


def _rejoin(network: "Network", request: Mapping[str, Any]) -> Act:
    """The device comes back, under another short address (`nwk`, or any free one)."""
    node, wanted = node_of(network, request), whole(request, "nwk", 0, LAST_ADDRESS)

    def act(now: float) -> Json:
        if not network.running:
            raise ControlError("there is no network")
        if wanted and network.ieee_of(wanted) not in (None, node.ieee):
            raise ControlError(f"another device has the address 0x{wanted:04x}")
        network.joining.enter(node, wanted or network.joining.free_address(), JoinKind.SECURED_REJOIN, now)
        return {"nwk": node.nwk}

    return act


def _power(network: "Network", request: Mapping[str, Any]) -> Act:
    node, on = node_of(network, request), truth(request, "on")

    def act(_now: float) -> Json:
        node.powered = on
        return {"powered": on}

    return act


def _sleep(network: "Network", request: Mapping[str, Any]) -> Act:
    """How often a sleepy device polls from now on."""
    node, every = node_of(network, request), real(request, "every", most=1e9)

    def act(_now: float) -> Json:
        node.poll_every = every
        network.doze(node)
        return {"ok": True}

    return act


# ---- what goes wrong ----------------------------------------------------------------------------------------------------


def _mute(network: "Network", request: Mapping[str, Any]) -> Act:
    """A device that hangs: its radio acknowledges, and it neither does nor says anything. 0 seconds end it."""
    node, seconds = node_of(network, request), real(request, "seconds", 10.0)

    def act(now: float) -> Json:
        node.mute_until = now + seconds
        return {"ok": True}

    return act


def _fail(network: "Network", request: Mapping[str, Any]) -> Act:
    """The next `count` requests of a sort are answered with `status`: commands, bindings, or report configurations."""
    node, sort = node_of(network, request), str(request.get("what", "command"))
    if sort not in FAILURES:
        raise ControlError(f"no failure {sort!r}; there are {', '.join(FAILURES)}")
    status, count = whole(request, "status", FAILURES[sort], 0xFF), whole(request, "count", 1)

    def act(_now: float) -> Json:
        node.failures[sort] = (status, count)
        return {"status": status}

    return act


def _capacity(network: "Network", request: Mapping[str, Any]) -> Act:
    """How many entries a table of the coordinator has room for: child, neighbour, or key."""
    table, size = str(request.get("table")), whole(request, "size")
    joining = network.joining
    if table not in joining.capacity:
        raise ControlError(f"no table {table!r}; there are {', '.join(joining.capacity)}")

    def act(now: float) -> Json:
        joining.capacity[table] = size
        joining.invite(now)
        return {"used": joining.used(table)}

    return act


# ---- traffic ------------------------------------------------------------------------------------------------------------


def _load(network: "Network", request: Mapping[str, Any]) -> Act:
    """Temperature reports at `rate` a second in all, `count` of them, with values that grow by one for each device.

    When each frame left (CLOCK_MONOTONIC, seconds) is what the operation `sent` answers.
    """
    names, rate = request.get("devices"), real(request, "rate", most=1e6)
    count, first = whole(request, "count", most=10**9), fit(zcl.S16, request.get("first", 0))
    if not rate or not count or not isinstance(names, list | None):
        raise ControlError("rate and count are more than 0, devices is a list of names")

    def act(now: float) -> Json:
        able = [n for n in network.nodes.values() if n.joined and (1, TEMPERATURE) in n.tables]
        nodes = [n for n in able if names is None or n.name in names]
        if not nodes:
            raise ControlError("no joined device measures temperature")
        fit(zcl.S16, first + (count - 1) // len(nodes))
        network.sent_times = []

        def send(number: int, due: float) -> None:
            network.sent_times.append(network.polled_at)
            node = nodes[number % len(nodes)]
            node.tables[(1, TEMPERATURE)][0x0000][1] = first + number // len(nodes)
            _say(network, node, 1, TEMPERATURE, node.report(1, TEMPERATURE, (0x0000,)), due)
            if number + 1 < count:
                network.at(now + (number + 1) / rate, partial(send, number + 1))

        network.at(now, partial(send, 0))
        return {"devices": [node.name for node in nodes], "count": count}

    return act


def _sent(network: "Network", _request: Mapping[str, Any]) -> Act:
    return lambda _now: {"times": network.sent_times}


def _network(network: "Network", _request: Mapping[str, Any]) -> Act:
    """The stick's network, its key included: it is no secret of anybody's."""
    return lambda _now: {
        "network": None
        if network.params is None
        else {
            "panId": f"{network.params.pan_id:04X}",
            "extendedPanId": f"{network.params.ext_pan_id:016X}",
            "channel": network.params.channel,
            "key": network.params.network_key.hex(),
        }
    }


STICK_OPERATIONS = ("unplug", "mute", "reset", "fault", "faults")  # serving.py does them; mute without a device
_OPERATIONS: dict[str, Callable[["Network", Mapping[str, Any]], Act]] = {
    "list": _list,
    "set": _set,
    "drift": _drift,
    "ramp": _ramp,
    "zone": _zone,
    "press": _press,
    "pair": _pair,
    "leave": _leave,
    "rejoin": _rejoin,
    "power": _power,
    "sleep": _sleep,
    "mute": _mute,
    "fail": _fail,
    "capacity": _capacity,
    "load": _load,
    "sent": _sent,
    "network": _network,
}
