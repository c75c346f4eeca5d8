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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.errors import ConfigError

DAY = 86_400  # seconds
MANY = 10_000  # copies of one device
OWN_IEEE = "00:12:4b:00:00:00:aa:01"
CODE_SIZES = (8, 10, 14, 18)  # octets of an install code with its CRC
RADIO_KEYS = frozenset({"kind", "stick", "ieee", "port", "devices"})
DEVICE_KEYS = frozenset({"name", "profile", "ieee", "pairing", "install_code", "poll", "count", "script", "repeat"})


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
    _known(spec, RADIO_KEYS, place)
    return _ieee(spec.get("ieee", OWN_IEEE), place)


def devices(radio: str, spec: Mapping[str, Any], profiles: Mapping[str, Any]) -> Iterator[DeviceSpec]:
    """The devices of one radio, copies included. Raises ConfigError."""
    used: set[int] = set()
    entries = spec.get("devices", [])
    if not isinstance(entries, list | tuple):
        raise ConfigError("devices is no list", place=f"radios.{radio}", remedy=f"write [[radios.{radio}.devices]]")
    for number, entry in enumerate(entries):
        place = f"radios.{radio}.devices[{number}]"
        if not isinstance(entry, dict):
            raise ConfigError("this is no table", place=place, remedy='for example { name = "lamp", profile = "plug" }')
        _known(entry, DEVICE_KEYS, place)
        profile = entry.get("profile", "")
        if profile not in profiles:
            known = ", ".join(sorted(profiles))
            raise ConfigError(f"unknown profile {profile!r}", place=place, remedy=f"known: {known}")
        count = _number(entry, "count", 1, 1, MANY, place, whole=True)
        for copy in range(int(count)):
            made = _device(entry, number, place)
            if count > 1:
                made = replace(made, name=f"{made.name} {copy + 1}", ieee=made.ieee + copy)
            if made.ieee in used:
                raise ConfigError("the address is taken", place=place, remedy="give each device an ieee of its own")
            used.add(made.ieee)
            yield made


def _device(entry: Mapping[str, Any], number: int, place: str) -> DeviceSpec:
    profile = str(entry["profile"])
    return DeviceSpec(
        _text(entry, "name", profile, place),
        profile,
        _ieee(entry.get("ieee", f"{0x00124B0100000000 + number * 0x1000:016x}"), place),
        _truth(entry, "pairing", place, default=True),
        _install_code(entry, place),
        _number(entry, "poll", 0.5, 0.01, DAY, place),
        _script(entry, place),
        _truth(entry, "repeat", place, default=False),
        place,
    )


def _known(entry: Mapping[str, Any], keys: frozenset[str], place: str) -> None:
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


def _text(entry: Mapping[str, Any], key: str, default: str, place: str) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} is no text: {value!r}", place=place, remedy="write it in quotation marks")
    return value


def _truth(entry: Mapping[str, Any], key: str, place: str, *, default: bool) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is neither true nor false: {value!r}", place=place, remedy=f"write {key} = true")
    return value


def _number(
    entry: Mapping[str, Any], key: str, default: float, least: float, most: float, place: str, *, whole: bool = False
) -> float:
    value = entry.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, int) or not whole)
    if not number or not least <= value <= most:
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


def _script(entry: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], ...]:
    steps = entry.get("script", [])
    steps = steps if isinstance(steps, list) else [steps]
    for number, step in enumerate(steps):
        where = f"{place}.script[{number}]"
        if not isinstance(step, dict):
            remedy = 'for example { after = 10, op = "set", name = "temperature", value = 2150 }'
            raise ConfigError(f"a step is a table, not {step!r}", place=where, remedy=remedy)
        _number(step, "after", -1, 0, DAY, where)
    return tuple(steps)
