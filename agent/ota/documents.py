"""Signed documents, read so strictly that two readers cannot differ: size, then JSON, then the schema. PURE.

An unknown field of a known schema version is refused: what a hub does not know may be a condition, and a condition that is passed over is
an update on a hub that it was not meant for. A new field therefore comes with a new `schema_version`.
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationError,
    WithJsonSchema,
)

from agent.ota.refusals import MalformedError, TooLargeError, WrongTypeError

DEEPEST, LARGEST_INT = 16, 2**53 - 1  # RFC 8259 section 6: what every reader of JSON agrees on
_LONGEST_INT = len(str(LARGEST_INT)) + 1  # characters
# A text that does not end reaches to the end of the data: a search that began anew at each quote would take minutes.
_TEXT, _BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL), re.compile(rb"[][{}]")
_TIME = r"^[0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z$"
_VERSION = r"^[0-9]{1,9}(\.[0-9]{1,9}){0,3}((a|b|rc)[0-9]{1,9}|-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?(\+[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$"
_PARTS = re.compile(r"([0-9.]+)(?:(a|b|rc)([0-9]+)|-([0-9A-Za-z.-]+))?(?:\+.*)?")

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Strict(False)]  # JSON has arrays only
Count = Annotated[int, Field(ge=0, le=LARGEST_INT)]
Word32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Pattern = Annotated[str, Field(pattern=r"^[ -~]{1,128}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, hex digits")]
KeyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$", description="RFC 7638 thumbprint")]


def _seconds(given: Any) -> int:
    if not isinstance(given, str) or not re.fullmatch(_TIME, given, re.ASCII):
        raise ValueError("a time is YYYY-MM-DDThh:mm:ssZ")
    moment = int(datetime.fromisoformat(given).timestamp())
    if moment < 0:
        raise ValueError("a time is after 1970")
    return moment


def instant(seconds: int) -> str:
    """Seconds since 1970 as `2026-11-23T09:32:36Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}Z"


def _version(given: str) -> str:
    order(given)
    return given


Instant = Annotated[
    int,
    BeforeValidator(_seconds),
    PlainSerializer(instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _TIME, "description": "UTC"}),
]
Version = Annotated[str, Field(max_length=64, pattern=_VERSION), AfterValidator(_version)]


class Part(BaseModel):
    """What all parts of documents have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Document(Part):
    """What is signed. Types and products keep one from being taken for another."""

    type: str
    schema_version: int
    product: Name
    expires: Instant

    def encoded(self) -> bytes:
        """The bytes that are signed: compact JSON with sorted names, defaults left out."""
        told = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


AnyDocument = TypeVar("AnyDocument", bound=Part)


def read(model: type[AnyDocument], data: bytes, most: int, place: str) -> AnyDocument:
    """The document in `data`, of at most `most` bytes. Raises TooLargeError, MalformedError, WrongTypeError."""
    told = strict_json(data, most, place)
    wanted = model.model_fields.get("type")
    if wanted is not None and (kind := (wanted.annotation or Any).__args__[0]) != told.get("type"):
        raise WrongTypeError(f"it is no {kind}", place=place, remedy=f"give a document of the type {kind!r}")
    try:
        return model.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        text = f"{where}: {first['msg']}" if where else first["msg"]
        raise _malformed(text, place, "write it by the schema in agent/schema/ota") from None


def strict_json(data: bytes, most: int, place: str) -> dict[str, Any]:
    """The object in `data`: UTF-8, no member twice, whole numbers up to 2**53 - 1, 16 levels. Raises TooLargeError, MalformedError."""
    if len(data) > most:
        remedy = "ask who made it: such a document is smaller"
        raise TooLargeError(f"{len(data)} bytes, and {most} are allowed", place=place, remedy=remedy)
    _check_depth(data, place)
    try:
        told = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_no_number,
            parse_int=_whole,
        )
        if b"\\u" in data:  # half of a surrogate pair is a text that no UTF-8 holds
            json.dumps(told, ensure_ascii=False).encode()
    except ValueError as error:
        raise _malformed(str(error) if type(error) is ValueError else "no JSON in UTF-8", place) from None
    if not isinstance(told, dict):
        raise _malformed("no JSON object", place)
    return told


def _check_depth(data: bytes, place: str) -> None:
    """Before the parser, whose own limit is the size of the stack."""
    depth = 0
    for found in _BRACKET.finditer(_TEXT.sub(b"", data)):
        depth += 1 if found[0] in b"[{" else -1
        if depth > DEEPEST:
            raise _malformed(f"more than {DEEPEST} levels", place)


def _malformed(text: str, place: str, remedy: str = "fetch it again, or ask who made it") -> MalformedError:
    return MalformedError(text, place=place, remedy=remedy)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:32]} is no whole number")


def _whole(text: str) -> int:
    if len(text) > _LONGEST_INT or abs(number := int(text)) > LARGEST_INT or (number == 0 and text != "0"):
        raise ValueError(f"{text[:32]} is no number that every reader takes alike")
    return number


def order(version: str) -> tuple[Any, ...]:
    """A key that sorts versions: numbers by value, `2.1` as `2.1.0`, `2.1.0-rc.1` and `2.1.0rc1` before `2.1.0`, `+build` without meaning.

    Raises ValueError for a text that is no version.
    """
    found = _PARTS.fullmatch(version) if re.fullmatch(_VERSION, version, re.ASCII) else None
    if found is None:
        raise ValueError(f"{version[:64]!r} is no version")
    numbers = [int(part) for part in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    if found[2]:
        early: tuple[Any, ...] = (_identifier(found[2]), _identifier(found[3]))
    else:
        early = tuple(_identifier(part) for part in re.split(r"[.]", found[4])) if found[4] else ()
    return (tuple(numbers), not early, early)


def _identifier(text: str) -> tuple[bool, int, str]:
    """SemVer 2.0.0, section 11: numbers before words, by value."""
    return (False, int(text), "") if text.isdigit() else (True, 0, text)
