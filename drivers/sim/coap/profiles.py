"""What the simulated devices are: their resources, how these look in each content format, and what follows when one is written. PURE.

Paths are those of IPSO objects (OMA LwM2M registry); "shed" is a device that follows no such layout and says its units in SenML alone.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.sim.requests import ControlError

TEXT, LINK_FORMAT, SENML_JSON, SENML_CBOR = 0, 40, 110, 112
Value = bool | float | str


@dataclass(slots=True)
class Resource:
    """One resource. `formats` in the order of the device's liking: the first is what it answers unasked."""

    value: Value
    unit: str = ""
    formats: tuple[int, ...] = (TEXT,)
    observable: bool = False
    writable: bool = False
    least: float = float("-inf")
    most: float = float("inf")
    attributes: str = ""  # of its link, as written
    name: str = ""  # a name of the device's own in its SenML records


@dataclass(frozen=True, slots=True)
class Profile:
    """A sort of device; `follow(values)` gives what changes when something was written, `late` is how long it thinks (seconds).

    `updates`: it has the Firmware Update object, and a restart takes so long (seconds); 0: it takes no firmware.
    """

    make: Callable[[], dict[str, Resource]]
    follow: Callable[[Mapping[str, Value]], Mapping[str, Value]] = field(default=lambda _: {})
    late: float = 0.0
    updates: float = 0.0


def link(path: str, resource: Resource) -> str:
    """A resource's entry in /.well-known/core (RFC 6690)."""
    formats = " ".join(map(str, resource.formats))
    marks = f';ct="{formats}"' if len(resource.formats) > 1 else f";ct={formats}"
    return f"<{path}>{resource.attributes}{marks}{';obs' if resource.observable else ''}"


def content(path: str, resource: Resource, content_format: int) -> bytes:
    """The value of a resource in one of its formats."""
    value = resource.value
    if content_format == TEXT:
        return (
            str(int(value)) if isinstance(value, bool) else value if isinstance(value, str) else f"{value:g}"
        ).encode()
    label = "vb" if isinstance(value, bool) else "vs" if isinstance(value, str) else "v"
    record: dict[str, Any] = {"n": resource.name or path, label: value}
    if resource.unit:
        record["u"] = resource.unit
    if content_format == SENML_JSON:
        return json.dumps([record]).encode()
    return _cbor({0: record["n"], **({1: resource.unit} if resource.unit else {}), _CBOR[label]: value})


_CBOR = {"v": 2, "vs": 3, "vb": 4}


def _cbor(record: Mapping[int, Value]) -> bytes:
    """A pack of one record (RFC 8428, 6), for which a few lines do."""
    parts = [b"\x81", bytes([0xA0 | len(record)])]
    for label, value in record.items():
        parts.append(bytes([label]))
        if isinstance(value, bool):
            parts.append(b"\xf5" if value else b"\xf4")
        elif isinstance(value, str):
            text = value.encode()
            parts += [bytes([0x60 | len(text)]) if len(text) < 24 else bytes([0x78, len(text)]), text]  # noqa: PLR2004  length in the head
        else:
            parts.append(_double(value))
    return b"".join(parts)


def _double(value: float) -> bytes:
    return b"\xfb" + struct.pack(">d", value)


def parse(resource: Resource, payload: bytes, content_format: int) -> Value:
    """What a PUT means. Raises ControlError for what the resource cannot be."""
    try:
        if content_format == SENML_JSON:
            (record,) = json.loads(payload)
            given: Any = next(record[label] for label in ("v", "vb", "vs") if label in record)
        elif content_format == TEXT:
            given = payload.decode()
        else:
            raise ControlError(f"content format {content_format} cannot be written")
        return fit(resource, given)
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise ControlError(f"this is no value: {error}") from None


def fit(resource: Resource, given: Any) -> Value:
    """`given` in the type of the resource. Raises ControlError."""
    if isinstance(resource.value, bool):
        if str(given) not in ("0", "1", "True", "False"):
            raise ControlError(f"{given!r} is neither 0 nor 1")
        return str(given) in ("1", "True")
    if isinstance(resource.value, str):
        return str(given)
    try:
        number = float(given)
    except (TypeError, ValueError):
        raise ControlError(f"{given!r} is no number") from None
    if not resource.least <= number <= resource.most:
        raise ControlError(f"{number:g} is not within {resource.least:g} and {resource.most:g}")
    return number


# ---- the devices --------------------------------------------------------------------------------------------------------------


def _sensor(value: float, unit: str, **more: Any) -> Resource:
    return Resource(value, unit, (SENML_CBOR, SENML_JSON, TEXT), observable=True, **more)


def _climate() -> dict[str, Resource]:
    return {
        "/3/0/0": Resource("Tern"),
        "/3/0/1": Resource("Climate One"),
        "/3/0/9": Resource(87.0, observable=True),
        "/3303/0/5700": _sensor(21.5, "Cel", attributes=';rt="urn:oma:lwm2m:ext:3303";if="core.s"'),
        "/3303/0/5701": Resource("Cel"),
        "/3304/0/5700": _sensor(45.0, "%RH", attributes=';rt="urn:oma:lwm2m:ext:3304";if="core.s"'),
    }


def _light() -> dict[str, Resource]:
    return {
        "/3/0/0": Resource("Tern"),
        "/3/0/1": Resource("Lamp"),
        "/3311/0/5850": Resource(False, observable=True, writable=True, attributes=';if="core.a"'),
        "/3311/0/5851": Resource(100.0, observable=True, writable=True, least=0, most=100, attributes=';if="core.a"'),
    }


def _updatable() -> dict[str, Resource]:
    return {
        **_light(),
        "/3/0/3": Resource("1.0.0"),
        "/5/0/0": Resource("", attributes=';rt="oma.lwm2m"'),
        "/5/0/2": Resource(""),
        "/5/0/3": Resource(0.0),
        "/5/0/5": Resource(0.0),
        "/5/0/7": Resource(""),
    }


def _plug() -> dict[str, Resource]:
    return {
        "/3/0/0": Resource("Tern"),
        "/3/0/1": Resource("Plug"),
        "/3312/0/5850": Resource(False, observable=True, writable=True, attributes=';if="core.a"'),
        "/3312/0/5800": Resource(0.0, observable=True),
        "/3312/0/5805": Resource(1234.0, observable=True),
    }


def _plug_follows(values: Mapping[str, Value]) -> Mapping[str, Value]:
    return {"/3312/0/5800": 42.0 if values["/3312/0/5850"] else 0.0}


def _heating() -> dict[str, Resource]:
    return {
        "/3308/0/5900": Resource(20.0, "", (TEXT, SENML_JSON), observable=True, writable=True, least=5, most=30),
        "/3308/0/5701": Resource("Cel"),
    }


def _shed() -> dict[str, Resource]:
    return {
        "/sensors/air": _sensor(3.25, "Cel", name="air", attributes=';title="Shed, north wall"'),
        "/sensors/pressure": Resource(101325.0, "Pa", (SENML_JSON,), name="pressure"),
    }


def _big() -> dict[str, Resource]:
    """A hundred sensors; its list of resources comes in blocks."""
    return {f"/3303/{at}/5700": _sensor(20.0 + at / 10, "Cel") for at in range(100)}


PROFILES: Mapping[str, Profile] = {
    "climate": Profile(_climate),
    "light": Profile(_light),
    "plug": Profile(_plug, _plug_follows),
    "heating": Profile(_heating),
    "shed": Profile(_shed),
    "big": Profile(_big),
    "slow": Profile(_light, late=0.2),
    "updatable": Profile(_updatable, updates=0.3),  # a light that takes firmware
    "directory": Profile(dict),  # a resource directory (RFC 9176) that knows the others
}
