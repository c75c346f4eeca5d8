"""What a test or a person does to simulated devices: press, set, zone, pair, leave, power, rejoin, list, load. PURE.

One JSON object in (`{"op": "press", "device": "hall remote"}`), one out.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.model import PROFILE_HOME, JoinKind, Json, ieee_text
from drivers.sim.zigbee.node import Node

if TYPE_CHECKING:
    from drivers.sim.zigbee.network import Network

TEMPERATURE = 0x0402
# What real devices and stacks answer: ZCL FAILURE, ZDP TABLE_FULL, ZCL INSUFFICIENT_SPACE.
FAILURES = {"command": 0x01, "bind": 0x8C, "configure": 0x89}


class ControlError(ValueError):
    """The request names something that is not there; the text says what."""


NAMES: dict[str, tuple[int, int]] = {  # what people call an attribute -> (cluster, attribute)
    "on_off": (0x0006, 0x0000),
    "level": (0x0008, 0x0000),
    "battery": (0x0001, 0x0021),  # half percents
    "temperature": (0x0402, 0x0000),  # hundredths of a degree
    "humidity": (0x0405, 0x0000),  # hundredths of a percent
    "illuminance": (0x0400, 0x0000),
    "pressure": (0x0403, 0x0000),
    "flow": (0x0404, 0x0000),
    "occupancy": (0x0406, 0x0000),
    "power": (0x0B04, 0x050B),
    "energy": (0x0702, 0x0000),
    "co2": (0x040D, 0x0000),
    "pm25": (0x042A, 0x0000),
}


def check(node: Node, request: Json) -> None:
    """Whether a request can ever be done by `node`. Raises ControlError."""
    operation = request.get("op")
    if operation not in _OPERATIONS:
        raise ControlError(f"no operation {operation!r}; there are {', '.join(sorted(_OPERATIONS))}")
    if operation in ("set", "drift"):
        endpoint, cluster, attribute = _attribute(node, request)
        if attribute not in node.tables.get((endpoint, cluster), {}):
            raise ControlError(f"{node.name} has no attribute 0x{cluster:04x}/0x{attribute:04x}")


def perform(network: "Network", request: Json, now: float) -> Json:
    """Do one request. Raises ControlError."""
    operation = _OPERATIONS.get(str(request.get("op")))
    if operation is None:
        raise ControlError(f"no operation {request.get('op')!r}; there are {', '.join(sorted(_OPERATIONS))}")
    try:
        return operation(network, request, now)
    except (KeyError, TypeError, zcl.ZclError) as error:
        raise ControlError(f"{request.get('op')}: {error}") from error


def _node(network: "Network", request: Json) -> Node:
    node = network.named(str(request.get("device", "")))
    if node is None:
        raise ControlError(f"no device {request.get('device')!r}")
    return node


def _number(value: Any) -> int:
    return int(value, 0) if isinstance(value, str) else int(value)


def _list(network: "Network", _request: Json, _now: float) -> Json:
    return {"devices": [_describe(node) for node in network.nodes.values()]}


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
    }


def _attribute(node: Node, request: Json) -> tuple[int, int, int]:
    """(endpoint, cluster, attribute) of a request, by `name` or by numbers. Raises ControlError, KeyError."""
    endpoint = _number(request.get("endpoint", 1))
    if "name" not in request:
        return endpoint, _number(request["cluster"]), _number(request.get("attribute", 0))
    if request["name"] not in NAMES:
        raise ControlError(f"no attribute {request['name']!r}; there are {', '.join(sorted(NAMES))}")
    cluster, attribute = NAMES[request["name"]]
    if "endpoint" not in request:
        endpoint = next((place for place, number in node.tables if number == cluster), endpoint)
    return endpoint, cluster, attribute


def _set(network: "Network", request: Json, now: float) -> Json:
    node = _node(network, request)
    endpoint, cluster, attribute = _attribute(node, request)
    if request.get("report"):  # whatever the reporting rules say
        node.tables[(endpoint, cluster)][attribute][1] = request["value"]
        data = node.report(endpoint, cluster, (attribute,))
        network.incoming(node, endpoint, 1, PROFILE_HOME, cluster, data)
    else:
        network.at(now, lambda _: node.set(endpoint, cluster, attribute, request["value"]))
    return {"ok": True}


def _drift(network: "Network", request: Json, now: float) -> Json:
    """A random step of at most `by`, within the attribute's minimum and maximum where the cluster has them."""
    node = _node(network, request)
    endpoint, cluster, attribute = _attribute(node, request)
    table = node.tables[(endpoint, cluster)]
    value = table[attribute][1] + network.rng.uniform(-1.0, 1.0) * float(request["by"])
    if attribute == 0 and {0x0001, 0x0002} <= set(table):
        value = min(max(value, table[0x0001][1]), table[0x0002][1])
    value = value if isinstance(table[attribute][1], float) else round(value)
    network.at(now, lambda _: node.set(endpoint, cluster, attribute, value))
    return {"value": value}


def _zone(network: "Network", request: Json, _now: float) -> Json:
    """IAS zone status change: the attribute, and the notification to the enrolled controller."""
    node, status = _node(network, request), _number(request["status"])
    node.tables[(1, 0x0500)][0x0002][1] = status
    payload = zcl.u16(status) + b"\x00" + bytes([node.get(1, 0x0500, 0x0011)]) + zcl.u16(0)
    frame = zcl.Frame(zcl.CLUSTER_SPECIFIC | zcl.FROM_SERVER, node.next_sequence(), 0x00, payload)
    if node.get(1, 0x0500, 0x0010) == network.ieee:
        network.incoming(node, 1, 1, PROFILE_HOME, 0x0500, frame.pack())
    return {"enrolled": node.get(1, 0x0500, 0x0000) == 1}


_BUTTONS = {1: (0x0006, 0x01, b""), 2: (0x0006, 0x00, b""), 3: (0x0006, 0x02, b"")}


def _press(network: "Network", request: Json, now: float) -> Json:
    """A short press is a command; a long one moves the level and stops it."""
    node, button = _node(network, request), _number(request.get("button", 1))
    kind = request.get("kind", "short")
    if kind not in ("short", "long"):
        raise ControlError(f"no kind of press {kind!r}; there are short, long")
    commands = [_BUTTONS[button]]
    if kind == "long":
        commands = [(0x0008, 0x01, bytes([button - 1, 50])), (0x0008, 0x03, b"")]
    for place, (cluster, command, payload) in enumerate(commands):
        frame = zcl.Frame(zcl.CLUSTER_SPECIFIC | zcl.NO_DEFAULT, node.next_sequence(), command, payload)
        network.at(now + place, partial(_say, network, node, cluster, frame.pack()))
    return {"ok": True}


def _say(network: "Network", node: Node, cluster: int, data: bytes, _now: float) -> None:
    network.incoming(node, 1, 1, PROFILE_HOME, cluster, data)


def _pair(network: "Network", request: Json, now: float) -> Json:
    node = _node(network, request)
    node.pairing = True
    if network.permit_until is not None and network.permit_until > now:
        network.permit(min(254, max(1, int(network.permit_until - now))), now)
    return {"joined": node.joined}


def _fail(network: "Network", request: Json, _now: float) -> Json:
    """The next `count` requests of a sort are answered with `status`: commands, bindings, or report configurations."""
    node, sort = _node(network, request), str(request.get("what", "command"))
    if sort not in FAILURES:
        raise ControlError(f"no failure {sort!r}; there are {', '.join(FAILURES)}")
    status = _number(request.get("status", FAILURES[sort]))
    node.failures[sort] = (status, _number(request.get("count", 1)))
    return {"status": status}


def _capacity(network: "Network", request: Json, _now: float) -> Json:
    """How many devices the coordinator has room for; more are turned away."""
    network.capacity = _number(request["devices"])
    return {"free": network.capacity - sum(node.joined for node in network.nodes.values())}


def _leave(network: "Network", request: Json, _now: float) -> Json:
    network.depart(_node(network, request))
    return {"ok": True}


def _power(network: "Network", request: Json, _now: float) -> Json:
    node = _node(network, request)
    node.powered = bool(request["on"])
    return {"powered": node.powered}


def _rejoin(network: "Network", request: Json, now: float) -> Json:
    node = _node(network, request)
    network.enter(node, _number(request.get("nwk", node.nwk ^ 0x0101)), JoinKind.SECURED_REJOIN, now)
    return {"nwk": node.nwk}


def _sleep(network: "Network", request: Json, _now: float) -> Json:
    """How often a sleepy device polls from now on."""
    node = _node(network, request)
    node.poll_every = float(request["every"])
    network.doze(node)
    return {"ok": True}


def _load(network: "Network", request: Json, now: float) -> Json:
    """Temperature reports at `rate` a second in all, `count` of them, with values that grow by one for each device.

    When each frame left (CLOCK_MONOTONIC, seconds) is what the operation `sent` answers.
    """
    names = request.get("devices")
    able = [n for n in network.nodes.values() if n.joined and (1, TEMPERATURE) in n.tables]
    nodes = [n for n in able if names is None or n.name in names]
    if not nodes:
        raise ControlError("no joined device measures temperature")
    rate, count, first = float(request["rate"]), int(request["count"]), int(request.get("first", 0))

    network.sent_times = []

    def send(number: int, _due: float) -> None:
        network.sent_times.append(network.polled_at)
        node = nodes[number % len(nodes)]
        node.tables[(1, TEMPERATURE)][0x0000][1] = first + number // len(nodes)
        data = node.report(1, TEMPERATURE, (0x0000,))
        network.incoming(node, 1, 1, PROFILE_HOME, TEMPERATURE, data)
        if number + 1 < count:
            network.at(now + (number + 1) / rate, partial(send, number + 1))

    network.at(now, partial(send, 0))
    return {"devices": [node.name for node in nodes], "count": count}


def _sent(network: "Network", _request: Json, _now: float) -> Json:
    return {"times": network.sent_times}


_OPERATIONS: dict[str, Callable[["Network", Json, float], Json]] = {
    "list": _list,
    "set": _set,
    "drift": _drift,
    "fail": _fail,
    "capacity": _capacity,
    "zone": _zone,
    "press": _press,
    "pair": _pair,
    "leave": _leave,
    "power": _power,
    "rejoin": _rejoin,
    "sleep": _sleep,
    "load": _load,
    "sent": _sent,
}
