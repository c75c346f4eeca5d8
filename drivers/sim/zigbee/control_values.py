"""What the requests of control.py say: devices, attributes and numbers, each checked before anything is done. PURE."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from drivers.sim.zigbee import zcl
from drivers.sim.zigbee.node import Node

if TYPE_CHECKING:
    from drivers.sim.zigbee.network import Network

LONGEST = 86_400.0  # seconds
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


class ControlError(ValueError):
    """The request names something that is not there; the text says what."""


def whole(request: Mapping[str, Any], key: str, default: Any = None, most: int = 0xFFFF) -> int:
    """A whole number from 0 to `most`, as a number or in text (0x0402). Raises ControlError."""
    value = request.get(key, default)
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise ControlError(f"{key} is a number from 0 to {most}, not {value!r}")
    return number


def real(request: Mapping[str, Any], key: str, default: Any = None, most: float = LONGEST) -> float:
    """A number from 0 to `most`. Raises ControlError."""
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most:
        raise ControlError(f"{key} is a number from 0 to {most:g}, not {value!r}")
    return float(value)


def truth(request: Mapping[str, Any], key: str, *, default: bool | None = None) -> bool:
    """A truth value. Raises ControlError."""
    value = request.get(key, default)
    if not isinstance(value, bool):
        raise ControlError(f"{key} is true or false, not {value!r}")
    return value


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
