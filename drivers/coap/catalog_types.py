"""The words of the CoAP catalogue: a device's resources, a row of the table, and what a translation yields. PURE."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.coap.linkformat import Link
from drivers.coap.values import Value

Decode = Callable[[Value, str], dict[str, Any]]  # value and unit -> properties. Raises ValueError on nonsense
Encode = Callable[[Any], Value]


@dataclass(frozen=True, slots=True)
class CoapDevice:
    """A device as its `/.well-known/core` and one look at its values told it.

    `units`: path of a resource -> the unit that its value or its 5701 named; `facts`: manufacturer, model, serial, firmware; `seen`: the
    resources of those instances that are listed as a whole.
    """

    links: tuple[Link, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()


# ---- what the driver does for a device ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watched:
    """One resource that is observed, or read from time to time; `accept` is the content format to ask for."""

    path: str
    observable: bool
    accept: int | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """PUT a value."""

    path: str
    value: Value
    content_format: int = 0


@dataclass(frozen=True, slots=True)
class Flip:
    """PUT the opposite of what is read: no IPSO object knows a toggle."""

    path: str
    content_format: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    path: str
    accept: int | None = None


Step = Read | Write | Flip


# ---- a row of the table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """One resource of an object, the properties that it fills, and the one that is changed by writing it."""

    resource: int
    capability: str
    properties: tuple[str, ...]
    decode: Decode
    kind: type = float
    writes: Mapping[str, Encode] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Act:
    """One action of a capability: what is written to which resources, in this order; None: the opposite of what is read."""

    writes: Callable[[Mapping[str, Any]], tuple[tuple[int, Value | None], ...]]


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """How one IPSO object becomes capabilities of one endpoint."""

    object: int
    device_type: str
    points: tuple[Point, ...]
    actions: Mapping[str, Mapping[str, Act]] = field(default_factory=dict)  # capability -> action
