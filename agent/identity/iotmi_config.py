"""`iotmi_config.json`, the configuration file of AWS's hub SDK: what it may hold, and its text with another `rw`. PURE.

Source: AWS IoT managed integrations, "Hub SDK: onboard your hub". `ro` is the operator's, `rw` that of whoever provisions the hub. The
page on the certificate handler and the one on offboarding spell the endpoint in two other ways; all three are read.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from agent.errors import ConfigError
from agent.settings import values
from agent.settings.problems import explain
from agent.settings.secret import invalid

SECURE_STORAGE = "SECURE_STORAGE"  # in place of a path: the SDK's certificate handler has it
PROVISIONED, NOT_PROVISIONED = "PROVISIONED", "NOT_PROVISIONED"
ENDPOINTS = ("endpoint_url", "iot_endpoint_url", "sh_endpoint_url")
UPDATED = "last_updated_epoch_time"
LARGEST = 1_048_576  # characters
OWN = ("iot_provisioning_state", "client_id", "managed_thing_id", "iot_permanent_cert_path", "iot_permanent_pk_path")

_SPACE = re.compile(r"[ \t\r\n]*")
_OBJECT = ("must be an object", "write it in braces: { }")
_SHAPES = {"model_type": _OBJECT, "model_attributes_type": _OBJECT, "dict_type": _OBJECT}


class IotmiConfigError(ConfigError):
    """The file cannot be used; `problems` has one error for each JSON path, such as `ro.UPC`."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="allow", hide_input_in_errors=True)


def _serial(given: str) -> str:
    if not given.isprintable():
        raise invalid("has a character that cannot be printed", "write it as CreateManagedThing has it")
    return given


def _place(given: str) -> str:
    """An absolute path, or the word for the SDK's secure storage."""
    return given if given == SECURE_STORAGE else str(values.absolute(given))


def _optional_place(given: str) -> str:
    return _place(given) if given else given


Place = Annotated[str, AfterValidator(_place)]
OptionalPlace = Annotated[str, AfterValidator(_optional_place)]


class Operator(_Part):
    """`ro`. Exactly one of UPC and EAN: managed integrations takes "SN:…;UPC:…" or "SN:…;EAN:…", never both."""

    iot_provisioning_method: Literal["FLEET_PROVISIONING"] = "FLEET_PROVISIONING"
    iot_claim_cert_path: Place
    iot_claim_pk_path: Place
    fp_template_name: Annotated[str, Field(min_length=1), AfterValidator(values.template)]
    endpoint_url: Annotated[str, AfterValidator(values.host)] = Field(validation_alias=AliasChoices(*ENDPOINTS))
    SN: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_serial)]
    UPC: str = Field("", pattern=r"^([0-9]{12})?$")
    EAN: str = Field("", pattern=r"^([0-9]{13})?$")
    mqtt_keep_alive_interval: int = Field(300, ge=30, le=1200)  # seconds

    @model_validator(mode="before")
    @classmethod
    def _one_endpoint(cls, given: Any) -> Any:
        told = [given[name] for name in ENDPOINTS if name in given] if isinstance(given, dict) else []
        if any(value != told[0] for value in told):
            raise invalid("the endpoint is given twice, and differently", f"keep {ENDPOINTS[0]} only")
        return given

    @model_validator(mode="after")
    def _together(self) -> "Operator":
        if bool(self.UPC) == bool(self.EAN):
            reason = "UPC and EAN are both given" if self.UPC else "UPC is missing, and EAN too"
            raise invalid(reason, "give the one that CreateManagedThing was given")
        if (self.iot_claim_cert_path == SECURE_STORAGE) != (self.iot_claim_pk_path == SECURE_STORAGE):
            raise invalid(f"{SECURE_STORAGE} for one half of the claim only", "write it for both, or two paths")
        return self


class Provisioned(_Part):
    """`rw`."""

    iot_provisioning_state: Literal["NOT_PROVISIONED", "PROVISIONED"]
    client_id: str = ""
    managed_thing_id: str = ""
    iot_permanent_cert_path: OptionalPlace = ""
    iot_permanent_pk_path: OptionalPlace = ""

    @property
    def hidden(self) -> bool:
        """Whether the pair of a hub that is provisioned is where only the SDK's certificate handler can read it."""
        return self.iot_provisioning_state == PROVISIONED and self.iot_permanent_pk_path == SECURE_STORAGE

    @model_validator(mode="after")
    def _whole(self) -> "Provisioned":
        if self.iot_provisioning_state != PROVISIONED:
            return self
        missing = [name for name in OWN if not getattr(self, name)]
        if missing:
            reason = f"{PROVISIONED}, but {', '.join(missing)} is missing"
            raise invalid(reason, f'write "{NOT_PROVISIONED}" to have the hub provisioned, or restore the file')
        if (self.iot_permanent_cert_path == SECURE_STORAGE) != (self.iot_permanent_pk_path == SECURE_STORAGE):
            raise invalid(f"{SECURE_STORAGE} for one half of the certificate only", "write two paths")
        return self


class IotmiConfig(_Part):
    """The whole file. Keys that are not known are left alone."""

    ro: Operator
    rw: Provisioned


def read(content: bytes, place: str) -> IotmiConfig:
    """The checked content. Raises IotmiConfigError with every problem."""
    try:
        return IotmiConfig.model_validate(parse(content, place)[1])
    except ValidationError as error:
        problems = tuple(_problem(detail, place) for detail in error.errors(include_url=False))
    raise IotmiConfigError(f"{len(problems)} errors" if problems[1:] else "1 error", place=place, problems=problems)


def _problem(detail: ErrorDetails, place: str) -> IotmiConfigError:
    reason, remedy = _SHAPES.get(detail["type"]) or explain(detail, IotmiConfig)
    if detail["type"] == "missing":
        remedy = "add it, as AWS's hub SDK has it"
    if detail["type"] == "string_pattern_mismatch":
        reason, remedy = "has not the digits that it needs", "a UPC has 12 digits, an EAN 13"
    where = ".".join(map(str, detail["loc"]))
    return IotmiConfigError(reason, place=f"{place}: {where}", remedy=remedy)


def parse(content: bytes, place: str) -> tuple[str, dict[str, Any]]:
    """Text and value of a JSON object. Raises IotmiConfigError."""
    remedy = "restore it, or write it as AWS's hub SDK documents it"
    if len(content) > LARGEST:
        raise IotmiConfigError(f"larger than {LARGEST} bytes", place=place, remedy="is it the right file?")
    try:
        text = content.decode()
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        where = f"{place}:{error.lineno}:{error.colno}"
        raise IotmiConfigError(f"no JSON: {error.msg}", place=where, remedy=remedy) from None
    except (ValueError, RecursionError) as error:
        raise IotmiConfigError(f"no JSON: {error}", place=place, remedy=remedy) from None
    if not isinstance(value, dict):
        raise IotmiConfigError("no JSON object", place=place, remedy=remedy)
    return text, value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for name, _ in pairs if [key for key, _ in pairs].count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return made


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


# ---- another rw in the same text ------------------------------------------------------------------------------------------


def with_rw(text: str, own: Mapping[str, str], updated: int | None, *, bare: bool) -> str:
    """The same text, in which `rw` has the members `own` and the time `updated` (seconds since 1970). Every other byte stays.

    `bare`: without other members. Else those that the SDK, or anybody, has put there stay as they are written.
    """
    spans = dict(_members(text, 0))
    held = spans.get("rw")
    before = text[held[0] : held[1]] if held else "{}"
    members = {name: before[begin:end] for name, (begin, end) in _members(before, 0)}
    metadata = _metadata(members.pop("metadata", ""), updated)
    others = {} if bare else {name: raw for name, raw in members.items() if name not in OWN}
    whole = {name: json.dumps(value) for name, value in own.items()} | others | metadata
    rw = _object(whole, "    ", "  ")
    if held:
        return f"{text[: held[0]]}{rw}{text[held[1] :]}"
    end = text.rstrip().rindex("}")
    return f'{text[:end].rstrip()}{", " if spans else ""}\n  "rw": {rw}\n{text[end:]}'


def _metadata(raw: str, updated: int | None) -> dict[str, str]:
    if updated is None:
        return {"metadata": raw} if raw else {}
    members = {name: raw[begin:end] for name, (begin, end) in _members(raw, 0)} if raw.startswith("{") else {}
    return {"metadata": _object(members | {UPDATED: str(updated)})}


def _object(members: Mapping[str, str], indent: str = "", end: str = "") -> str:
    lines = [f"{json.dumps(name)}: {raw}" for name, raw in members.items()]
    if not indent:
        return "{" + ", ".join(lines) + "}"
    return "{\n" + ",\n".join(indent + line for line in lines) + f"\n{end}}}"


def _members(text: str, at: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names of the members of the object at `at`, and where in `text`, which is JSON, their values begin and end."""
    decoder = json.JSONDecoder()
    at = _after(text, text.index("{", at) + 1)
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        begin = _after(text, _after(text, at) + 1)  # past the colon
        _, end = decoder.raw_decode(text, begin)
        yield name, (begin, end)
        at = _after(text, end)
        if text[at] == ",":
            at = _after(text, at + 1)


def _after(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def fresh(operator: Mapping[str, str | int]) -> str:
    """A file that does not exist yet, of a hub that is not provisioned. `operator`: the members of `ro`."""
    whole = {"ro": dict(operator), "rw": {"iot_provisioning_state": NOT_PROVISIONED}}
    return json.dumps(whole, indent=2) + "\n"
