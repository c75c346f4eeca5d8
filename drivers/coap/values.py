"""What a resource's content says: SenML in JSON and CBOR (RFC 8428), OMA TLV, and plain text. PURE: any bytes give values or ContentError."""

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drivers import cbor

TEXT, SENML_JSON, SENML_CBOR, TLV = 0, 110, 112, 11542  # CoAP content formats (IANA)
READABLE = (SENML_CBOR, SENML_JSON, TEXT, TLV)  # the one that we would rather have first
BIGGEST = 64 * 1024  # bytes
MOST = 1000  # records
LONGEST = 256  # characters of a text value or name
VERSION = 10  # of SenML

Value = bool | float | str


class ContentError(ValueError):
    """The content is not what its format says; the text names the reason."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value. `name` is the resolved SenML name ("" where the content has none), `unit` in SenML's words."""

    value: Value
    name: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Raw:
    """A TLV value of the resource `name`: the resource's own type says what the bytes are."""

    data: bytes
    name: str


# SenML labels: JSON's texts and CBOR's integers (RFC 8428, tables 1 and 4)
_JSON_LABELS = ("bver", "bn", "bt", "bu", "bv", "bs", "n", "u", "v", "vs", "vb", "s", "t", "ut", "vd")
_LABELS = dict(zip((-1, -2, -3, -4, -5, -6, 0, 1, 2, 3, 4, 5, 6, 7, 8), _JSON_LABELS, strict=True))
_TEXTS = ("bn", "bu", "n", "u", "vs", "vd")
_NUMBERS = ("bver", "bt", "bv", "bs", "v", "s", "t", "ut")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z:./_-]*|/[0-9A-Za-z:./_-]*")  # RFC 8428, 4.5.1, and a path
_PLAIN = re.compile(r"[+-]?(\d{1,300}(\.\d{0,300})?|\.\d{1,300})([eE][+-]?\d{1,3})?")


def decode(content: bytes, content_format: int | None) -> tuple[Reading | Raw, ...]:
    """The values of a content; a format that was not named is plain text. Raises ContentError."""
    if len(content) > BIGGEST:
        raise ContentError(f"{len(content)} bytes, at most {BIGGEST} are read")
    if content_format in (None, TEXT):
        return (Reading(plain(content)),)
    if content_format == SENML_JSON:
        return tuple(_pack(_json(content)))
    if content_format == SENML_CBOR:
        try:
            return tuple(_pack(cbor.loads(content)))
        except cbor.CborError as error:
            raise ContentError(f"no CBOR: {error}") from None
    if content_format == TLV:
        return tuple(_tlv(content, "", 0))
    raise ContentError(f"content format {content_format} is not known here")


def plain(content: bytes) -> Value:
    """A number where it is one, else a text. Raises ContentError for what is no short UTF-8 text."""
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ContentError(f"no UTF-8 at byte {error.start}") from None
    if _PLAIN.fullmatch(text):
        return _finite(float(text))
    if len(text) > LONGEST or not text.isprintable():
        raise ContentError(f"no text of at most {LONGEST} printable characters")
    return {"true": True, "false": False}.get(text.lower(), text)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ContentError("the number is not finite")
    return number


# ---- SenML ------------------------------------------------------------------------------------------------------------


def _json(content: bytes) -> Any:
    def constant(word: str) -> None:
        raise ContentError(f"{word} is no JSON number")

    try:
        return json.loads(content.decode("utf-8"), parse_constant=constant, parse_int=float)
    except (UnicodeDecodeError, RecursionError) as error:
        raise ContentError(f"no JSON: {error}") from None
    except json.JSONDecodeError as error:
        raise ContentError(f"no JSON: {error}") from None


def _pack(pack: Any) -> Iterator[Reading]:
    """The records of a pack, resolved: base name and base unit hold for those that follow (RFC 8428, 4.6)."""
    if not isinstance(pack, list) or len(pack) > MOST:
        raise ContentError(f"a SenML pack is a list of at most {MOST} records")
    name, unit, base = "", "", 0.0
    for record in pack:
        fields = _fields(record)
        if fields.get("bver", VERSION) > VERSION:
            raise ContentError(f"SenML of version {fields['bver']}, {VERSION} is known")
        name, unit, base = fields.get("bn", name), fields.get("bu", unit), fields.get("bv", base)
        value = _value(fields, base)
        full = name + fields.get("n", "")
        if len(full) > LONGEST or (full and not _NAME.fullmatch(full)):
            raise ContentError(f"{full[:40]!r} is no SenML name")
        if value is not None:
            yield Reading(value, full, fields.get("u", unit))


def _fields(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ContentError("a SenML record is a map")
    fields: dict[str, Any] = {}
    for label, value in record.items():
        name = _LABELS.get(label, label) if isinstance(label, int) else label
        if isinstance(name, str) and name.endswith("_"):
            raise ContentError(f"the pack needs {name!r:.40} to be understood")  # RFC 8428, 4.4
        if name in _TEXTS and not isinstance(value, str):
            raise ContentError(f"{name} is a text, not {value!r:.40}")
        if name in _NUMBERS:
            fields[name] = _number(name, value)
        elif name in _TEXTS or name == "vb":
            fields[name] = value
    return fields


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContentError(f"{name} is a number, not {value!r:.40}")
    try:
        return _finite(float(value))
    except OverflowError:
        raise ContentError(f"{name} is out of range") from None


def _value(fields: Mapping[str, Any], base: float) -> Value | None:
    """The value of a record, None where it has none that is read here (data, or a sum alone)."""
    if sum(name in fields for name in ("v", "vs", "vb", "vd")) > 1:
        raise ContentError("a SenML record has one value")
    if "v" in fields:
        return _finite(float(fields["v"]) + base)
    if "vb" in fields:
        if not isinstance(fields["vb"], bool):
            raise ContentError("vb is true or false")
        return bool(fields["vb"])
    if "vs" in fields:
        text = str(fields["vs"])
        if len(text) > LONGEST:
            raise ContentError(f"a text of {len(text)} characters, at most {LONGEST} are read")
        return text
    return None


# ---- OMA TLV (LwM2M 1.0, 6.4.3) ------------------------------------------------------------------------------------------

_INSTANCE, _RESOURCE_INSTANCE, _MULTIPLE, _RESOURCE = 0b00, 0b01, 0b10, 0b11
_NESTED = 2  # an instance holds resources, a resource its instances


def _tlv(data: bytes, prefix: str, depth: int) -> Iterator[Raw]:
    at, found = 0, 0
    while at < len(data):
        kind, wide = data[at] >> 6, 2 if data[at] & 0x20 else 1
        lengths = (data[at] >> 3) & 0b11
        start = at + 1 + wide + lengths
        identifier = int.from_bytes(data[at + 1 : at + 1 + wide], "big")
        size = int.from_bytes(data[at + 1 + wide : start], "big") if lengths else data[at] & 0b111
        at, found = start + size, found + 1
        if at > len(data) or found > MOST:
            raise ContentError("the TLV ends in the middle of an entry, or has too many")
        name = f"{prefix}/{identifier}" if prefix else str(identifier)
        if kind == _RESOURCE:
            yield Raw(data[start:at], name)
        elif kind == _RESOURCE_INSTANCE:
            yield Raw(data[start:at], prefix or name)
        elif depth < _NESTED:
            inner = "" if kind == _INSTANCE else name  # an instance that is read alone adds nothing to the name
            yield from _tlv(data[start:at], inner, depth + 1)
        else:
            raise ContentError("the TLV is nested too deep")


def typed(raw: Raw, kind: type) -> Value:
    """A TLV value as what its resource is: bool, int, float or str. Raises ContentError."""
    data = raw.data
    if kind is str:
        return str(plain(data))
    if kind is bool and len(data) == 1 and data[0] <= 1:
        return bool(data[0])
    if len(data) in (1, 2) or (kind is int and len(data) in (4, 8)):
        return float(int.from_bytes(data, "big", signed=True))
    if len(data) in (4, 8):  # an integer of this size looks the same: the table says which resources are floats
        return _finite(float(struct.unpack(">f" if len(data) == 4 else ">d", data)[0]))  # noqa: PLR2004  single precision
    raise ContentError(f"{len(data)} bytes are no number")


# ---- what is written ----------------------------------------------------------------------------------------------------


def encode(value: Value, content_format: int) -> bytes:
    """A value to be written, as SenML JSON or as plain text."""
    if content_format == SENML_JSON:
        return json.dumps(
            [{"vb" if isinstance(value, bool) else "vs" if isinstance(value, str) else "v": value}]
        ).encode()
    if isinstance(value, bool):
        return b"1" if value else b"0"
    return (value if isinstance(value, str) else f"{value:.10g}").encode()
