"""What the requests of control.py say: devices, attributes and numbers, each checked before anything is done. PURE."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from drivers.sim.requests import ControlError, whole
from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.node import Node

if TYPE_CHECKING:
    from drivers.sim.zigbee.network import Network

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


def node_of(network: "Network", request: Mapping[str, Any]) -> Node:
    node = network.named(str(request.get("device", "")))
    if node is None:
        raise ControlError(f"no device {request.get('device')!r}")
    return node


def attribute_of(node: Node, request: Mapping[str, Any]) -> tuple[int, int, int]:
    """(endpoint, cluster, attribute) of a request, by `name` or by numbers; the node has it."""
    if "name" in request:
        name = str(request["name"])
        if name not in NAMES:
            raise ControlError(f"no attribute {name!r}; there are {', '.join(sorted(NAMES))}")
        cluster, attribute = NAMES[name]
    else:
        cluster, attribute = whole(request, "cluster"), whole(request, "attribute", 0)
    first = next((place for place, number in node.tables if number == cluster), 1)
    endpoint = whole(request, "endpoint", first, 0xFF)
    if attribute not in node.tables.get((endpoint, cluster), {}):
        raise ControlError(f"{node.name} has no attribute 0x{cluster:04x}/0x{attribute:04x} on endpoint {endpoint}")
    return endpoint, cluster, attribute


def fit(kind: int, value: Any) -> Any:
    """The value as the air carries it. Raises ControlError when it is none of this ZCL type."""
    if isinstance(value, float) and kind != zcl.FLOAT and not value.is_integer():
        raise ControlError(f"{value!r} is no value of type 0x{kind:02X}")
    try:
        return zcl.decode(kind, zcl.encode(kind, value))[0]
    except zcl.ZclError as error:
        raise ControlError(str(error)) from error
