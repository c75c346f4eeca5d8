"""What a single value may be: durations, sizes, hosts, ids, topic prefixes, file names. PURE.

Each function takes what was given and returns what is meant, or raises PydanticCustomError with reason and remedy.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import ValidationInfo

from agent.settings.secret import CREDENTIAL, invalid, resolve

MAX_CLIENT_ID = 128  # bytes, AWS IoT Core
MAX_TOPIC_PREFIX = 48  # bytes; with a hub id of 128 and /lifecycle/<id of 64> a topic stays within AWS IoT Core's 256
MAX_PREFIX_SLASHES = 4  # of the 7 that AWS IoT Core allows; north/{hub}/lifecycle/{id} needs three
NRF_CLOUD_REST, NRF_CLOUD_COAP = "https://api.nrfcloud.com/v1", "coaps://coap.nrfcloud.com:5684"
MAX_HOST = 253  # RFC 1035, without the final dot

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "ms": 0.001}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h|d)", re.ASCII)
_SIZES = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
_SIZE = re.compile(r"(\d{1,12}) ?(B|kB|KiB|MB|MiB|GB|GiB)", re.ASCII)
_HUB_ID = re.compile(r"[0-9A-Za-z:_-]{1,128}", re.ASCII)
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,31}", re.ASCII)
_HOST_LABEL = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?", re.ASCII)
_PRODUCT_CODE = re.compile(r"\d{12,13}", re.ASCII)
_TEMPLATE = re.compile(r"[0-9A-Za-z_-]{1,36}", re.ASCII)
_COAP_PORTS = {"coaps": 5684, "coap": 5683}  # RFC 7252, 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def product_code(given: str) -> str:
    """Empty, a UPC of 12 digits or an EAN of 13."""
    if given and not _PRODUCT_CODE.fullmatch(given):
        raise invalid(f"{given[:32]!r} is no product code", "write the 12 digits of a UPC or the 13 of an EAN")
    return given


def template(given: str) -> str:
    """Empty, or a name as AWS IoT allows it."""
    if given and not _TEMPLATE.fullmatch(given):
        raise invalid(f"{given[:64]!r} is no name of a provisioning profile", "write 1 to 36 of 0-9 A-Z a-z _ -")
    return given


def cron(given: str) -> str:
    """Empty, or a cron line of five fields."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  few hubs have one

    try:
        if given:
            CronSim(given, datetime.now(UTC))
    except CronSimError as error:
        raise invalid(f"{given[:64]!r} is no cron line: {error}", 'write five fields, such as "0 2 * * *"') from None
    return given


def zone(given: str) -> str:
    """A time zone of this system."""
    try:
        ZoneInfo(given)
    except (OSError, ValueError):
        raise invalid(f"{given[:64]!r} is no time zone here", 'write one such as "Europe/Berlin", or "UTC"') from None
    return given


def seconds(given: Any) -> Any:
    """A duration as text ("1.5s", "15m", "7d") to seconds; a number is seconds already."""
    if not isinstance(given, str):
        return given
    match = _DURATION.fullmatch(given)
    if match is None:
        raise invalid(
            f"{given[:32]!r} is not a duration",
            'write seconds as a number, or a text such as "30s", "15m", "12h", "7d"',
        )
    return float(match[1]) * _UNITS[match[2]]


def size(given: Any) -> Any:
    """A size as text ("64MiB") to bytes; a number is bytes already."""
    if not isinstance(given, str):
        return given
    match = _SIZE.fullmatch(given)
    if match is None:
        raise invalid(
            f"{given[:32]!r} is not a size", 'write bytes as a number, or a text such as "128KiB", "64MiB", "1GiB"'
        )
    return int(match[1]) * _SIZES[match[2]]


def lower(given: Any) -> Any:
    return given.lower() if isinstance(given, str) else given


def absolute(given: Any) -> Any:
    """An absolute path from text."""
    if isinstance(given, Path):
        return given
    if not isinstance(given, str):
        raise invalid("must be a text", "write an absolute path in quotes")
    if not given.startswith("/") or "\0" in given:
        raise invalid("must be an absolute path", "begin it with /")
    return Path(given)


def file_name(given: str, info: ValidationInfo) -> str:
    """An absolute path, or the path of `credential:NAME`; "" stays."""
    if given.startswith(CREDENTIAL):
        context = info.context or {}
        if not context.get("read_secrets", True):
            return given
        return str(resolve(given, context.get("credentials")))
    return str(absolute(given)) if given else given


def hub_id(given: str) -> str:
    """A name that is a topic level and an AWS IoT thing name."""
    if given and not _HUB_ID.fullmatch(given):
        raise invalid("is not a hub id", "1 to 128 of the characters 0-9 A-Z a-z : _ -")
    return given


def name(given: str) -> str:
    """The name of an uplink or radio; it is a folder and a word of the command line too."""
    if not _NAME.fullmatch(given):
        raise invalid(
            "is not a name for a table", "1 to 32 of the characters 0-9 A-Z a-z _ -, the first a letter or digit"
        )
    return given


def client_id(given: str) -> str:
    if len(given.encode("utf-8", "replace")) > MAX_CLIENT_ID:
        raise invalid(f"is longer than {MAX_CLIENT_ID} bytes", "shorten it, or leave it out: the hub's id is used then")
    if given.startswith("$"):
        raise invalid("begins with $, which brokers reserve", "choose another first character")
    if _CONTROL.search(given):
        raise invalid("contains a control character", "remove it")
    return given


def host(given: str) -> str:
    """A DNS name, an IPv4 or an IPv6 address, without scheme, brackets, port or path."""
    remedy = (
        'write only the name or address, such as "broker.example.com" or "192.168.1.2"; the port has a key of its own'
    )
    try:
        ip_address(given)
    except ValueError:
        labels = given.removesuffix(".").split(".")
        numeric = labels[-1].isdecimal()  # 192.168.1 and 300.1.1.1 are mistyped addresses, not names
        if len(given) > MAX_HOST or numeric or not all(_HOST_LABEL.fullmatch(label) for label in labels):
            raise invalid("is not a host name or address", remedy) from None
    return given


@dataclass(frozen=True, slots=True)
class Place:
    """A service of CoAP; `secure`: by DTLS. `host` is a name or an address without brackets."""

    host: str
    port: int
    secure: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"coap{'s' if self.secure else ''}://{host}:{self.port}"

    @property
    def is_here(self) -> bool:
        return is_loopback(self.host)


def coap_place(given: str) -> Place:
    """coaps://HOST[:PORT]; coap:// for this machine only, where it is a test."""
    remedy = f"write coaps://HOST or coaps://HOST:PORT; nRF Cloud's is {NRF_CLOUD_COAP}"
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise invalid("is no address of CoAP", remedy) from None
    if parts.scheme not in _COAP_PORTS or not parts.hostname or parts.path.strip("/") or parts.query or "@" in given:
        raise invalid("is no address of CoAP", remedy)
    found = Place(host(parts.hostname), port or _COAP_PORTS[parts.scheme], parts.scheme == "coaps")
    if not found.secure and not found.is_here:
        raise invalid(f"without DTLS everyone on the way to {found.host} reads and sends", remedy)
    return found


def topic_prefix(given: str) -> str:
    """The first levels of a topic, so that the longest topic below stays within AWS IoT Core's limits."""
    if any(char in given for char in "+#$") or _CONTROL.search(given):
        raise invalid("contains +, #, $ or a control character", "name plain topic levels")
    if not all(given.split("/")):
        raise invalid("has an empty topic level", "no / at the beginning or end, and not two in a row")
    if given.count("/") > MAX_PREFIX_SLASHES:
        raise invalid(f"has more than {MAX_PREFIX_SLASHES} slashes", "AWS IoT Core allows 7 in a whole topic")
    if len(given.encode("utf-8", "replace")) > MAX_TOPIC_PREFIX:
        raise invalid(f"is longer than {MAX_TOPIC_PREFIX} bytes", "AWS IoT Core allows 256 in a whole topic")
    return given


def is_loopback(where: str) -> bool:
    """Whether a `host` is this machine without asking DNS."""
    try:
        return ip_address(where).is_loopback
    except ValueError:
        return where.removesuffix(".").lower() == "localhost"
