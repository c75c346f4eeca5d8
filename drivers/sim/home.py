"""The home file of simulated radios (TOML): which sticks, and which devices live behind them.

[radios.zigbee]
kind = "zigbee"
stick = "ezsp"
ieee = "00:12:4b:00:00:00:00:aa"

[[radios.zigbee.devices]]
name = "kitchen bulb"
profile = "color-bulb"
count = 3                    # "kitchen bulb 1" ... with addresses that follow each other

[[radios.zigbee.devices]]
name = "terrace"
profile = "climate"
script = [{ after = 10, op = "drift", name = "temperature", by = 30 }]     # steps of the control socket
repeat = true
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import ConfigError

DAY = 86_400  # seconds
MANY = 10_000  # copies of one device
OWN_IEEE = "00:12:4b:00:00:00:aa:01"
CODE_SIZES = (8, 10, 14, 18)  # octets of an install code with its CRC
RADIO_KEYS = frozenset({"kind", "stick", "ieee", "port", "devices"})
DEVICE_KEYS = frozenset(
    {"name", "profile", "ieee", "pairing", "install_code", "poll", "count", "script", "repeat", "firmware"}
)


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device of the house. `ieee` is sixteen hex digits, `poll` seconds between the polls of a sleepy device."""

    name: str
    profile: str
    ieee: int
    pairing: bool = True
    install_code: bytes = b""  # with its CRC
    poll: float = 0.5
    script: tuple[Mapping[str, Any], ...] = ()  # what it does by itself: steps with `after` (seconds) and an operation
    repeat: bool = False
    place: str = ""  # in the home file
    firmware: Any = None  # a table, read by the radio's simulator; None: it takes no other


@dataclass(frozen=True, slots=True)
class Entry:
    """One device as it is written: its table, the place of it, which table and which copy of it this is, and its name."""

    values: Mapping[str, Any]
    place: str
    number: int
    copy: int
    name: str


def load(path: Path) -> dict[str, Mapping[str, Any]]:
    """The radios of a home file by name. Raises ConfigError with place and remedy."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", place=str(path), remedy="name an existing home file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"no TOML: {error}", place=str(path), remedy="see config/examples/home.toml") from error
    radios = document.get("radios")
    if not isinstance(radios, dict) or not radios or not all(isinstance(spec, dict) for spec in radios.values()):
        raise ConfigError("no [radios.<name>] table", place=str(path), remedy="see config/examples/home.toml")
    return radios


def own_ieee(radio: str, spec: Mapping[str, Any]) -> int:
    """The address of the stick itself. Raises ConfigError, for keys that no radio has as well."""
    place = f"radios.{radio}"
    known(spec, RADIO_KEYS, place)
    return _ieee(spec.get("ieee", OWN_IEEE), place)


def entries(radio: str, spec: Mapping[str, Any], profiles: Mapping[str, Any], keys: frozenset[str]) -> Iterator[Entry]:
    """The devices of one radio as they are written, copies included. Raises ConfigError."""
    listed = spec.get("devices", [])
    if not isinstance(listed, list | tuple):
        raise ConfigError("devices is no list", place=f"radios.{radio}", remedy=f"write [[radios.{radio}.devices]]")
    for at, entry in enumerate(listed):
        place = f"radios.{radio}.devices[{at}]"
        if not isinstance(entry, dict):
            raise ConfigError("this is no table", place=place, remedy='for example { name = "lamp", profile = "plug" }')
        known(entry, keys, place)
        profile = entry.get("profile", "")
        if profile not in profiles:
            names = ", ".join(sorted(profiles))
            raise ConfigError(f"unknown profile {profile!r}", place=place, remedy=f"known: {names}")
        name = text(entry, "name", profile, place)
        count = int(number(entry, "count", 1, 1, MANY, place, whole=True))
        for copy in range(count):
            yield Entry(entry, place, at, copy, name if count == 1 else f"{name} {copy + 1}")


def devices(radio: str, spec: Mapping[str, Any], profiles: Mapping[str, Any]) -> Iterator[DeviceSpec]:
    """The Zigbee devices of one radio, copies included. Raises ConfigError."""
    used: set[int] = set()
    for found in entries(radio, spec, profiles, DEVICE_KEYS):
        made = _device(found)
        if made.ieee in used:
            raise ConfigError("the address is taken", place=found.place, remedy="give each device an ieee of its own")
        used.add(made.ieee)
        yield made


def _device(found: Entry) -> DeviceSpec:
    entry, place = found.values, found.place
    return DeviceSpec(
        found.name,
        str(entry["profile"]),
        _ieee(entry.get("ieee", f"{0x00124B0100000000 + found.number * 0x1000:016x}"), place) + found.copy,
        truth(entry, "pairing", place, default=True),
        _install_code(entry, place),
        number(entry, "poll", 0.5, 0.01, DAY, place),
        script(entry, place),
        truth(entry, "repeat", place, default=False),
        place,
        entry.get("firmware"),
    )


def known(entry: Mapping[str, Any], keys: frozenset[str], place: str) -> None:
    unknown = sorted(set(entry) - keys)
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}", place=place, remedy=f"known: {', '.join(sorted(keys))}")


def _ieee(value: Any, place: str) -> int:
    digits = str(value).replace(":", "")
    try:
        if len(digits) > 16:  # noqa: PLR2004  an EUI-64 has sixteen hex digits
            raise ValueError(digits)
        return int(digits, 16)
    except ValueError as error:
        remedy = 'for example "00:12:4b:00:00:00:00:01"'
        raise ConfigError(f"ieee is no EUI-64: {value!r}", place=place, remedy=remedy) from error


def text(entry: Mapping[str, Any], key: str, default: str, place: str) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} is no text: {value!r}", place=place, remedy="write it in quotation marks")
    return value


def truth(entry: Mapping[str, Any], key: str, place: str, *, default: bool) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is neither true nor false: {value!r}", place=place, remedy=f"write {key} = true")
    return value


def number(
    entry: Mapping[str, Any], key: str, default: float, least: float, most: float, place: str, *, whole: bool = False
) -> float:
    value = entry.get(key, default)
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, int) or not whole)
    if not numeric or not least <= value <= most:
        remedy = f"write a {'whole ' if whole else ''}number from {least:g} to {most:g}"
        raise ConfigError(f"{key} cannot be {value!r}", place=place, remedy=remedy)
    return float(value)


def _install_code(entry: Mapping[str, Any], place: str) -> bytes:
    value = entry.get("install_code", "")
    try:
        code = bytes.fromhex(value)
    except (TypeError, ValueError):
        code = b"?"
    if value and len(code) not in CODE_SIZES:
        remedy = "write 16, 20, 28 or 36 hex digits, the CRC included"
        raise ConfigError(f"install_code is no install code: {value!r}", place=place, remedy=remedy)
    return code


def script(entry: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], ...]:
    steps = entry.get("script", [])
    steps = steps if isinstance(steps, list) else [steps]
    for at, step in enumerate(steps):
        where = f"{place}.script[{at}]"
        if not isinstance(step, dict):
            remedy = 'for example { after = 10, op = "set", name = "temperature", value = 2150 }'
            raise ConfigError(f"a step is a table, not {step!r}", place=where, remedy=remedy)
        number(step, "after", -1, 0, DAY, where)
    return tuple(steps)
