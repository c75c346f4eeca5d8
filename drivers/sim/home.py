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
script = [{ after = 10, op = "drift", name = "temperature", by = 30 }]
repeat = true
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import ConfigError

LONGEST_STEP = 86_400
DEVICE_KEYS = frozenset({"name", "profile", "ieee", "pairing", "install_code", "poll", "count", "script", "repeat"})


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device of the house. `ieee` is sixteen hex digits, `poll` seconds between the polls of a sleepy device."""

    name: str
    profile: str
    ieee: int
    pairing: bool = True
    install_code: str = ""
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
    if not isinstance(radios, dict) or not radios:
        raise ConfigError("no [radios.<name>] table", place=str(path), remedy="see config/examples/home.toml")
    return radios


def devices(radio: str, spec: Mapping[str, Any], profiles: Mapping[str, Any]) -> Iterator[DeviceSpec]:
    """The devices of one radio, copies included. Raises ConfigError."""
    used: set[int] = set()
    for number, entry in enumerate(spec.get("devices", ())):
        place = f"radios.{radio}.devices[{number}]"
        unknown = sorted(set(entry) - DEVICE_KEYS)
        if unknown:
            raise ConfigError(
                f"unknown key {unknown[0]!r}", place=place, remedy=f"known: {', '.join(sorted(DEVICE_KEYS))}"
            )
        profile = entry.get("profile", "")
        if profile not in profiles:
            known = ", ".join(sorted(profiles))
            raise ConfigError(f"unknown profile {profile!r}", place=place, remedy=f"known: {known}")
        for copy in range(int(entry.get("count", 1))):
            made = _device(entry, profile, number, copy, place)
            if made.ieee in used:
                raise ConfigError("the address is taken", place=place, remedy="give each device an ieee of its own")
            used.add(made.ieee)
            yield made


def _device(entry: Mapping[str, Any], profile: str, number: int, copy: int, place: str) -> DeviceSpec:
    default = f"{0x00124B0100000000 + number * 0x1000:016x}"
    try:
        ieee = int(str(entry.get("ieee", default)).replace(":", ""), 16) + copy
    except ValueError as error:
        raise ConfigError("ieee is no EUI-64", place=place, remedy='for example "00:12:4b:00:00:00:00:01"') from error
    name = str(entry.get("name", profile)) + (f" {copy + 1}" if int(entry.get("count", 1)) > 1 else "")
    return DeviceSpec(
        name,
        profile,
        ieee,
        bool(entry.get("pairing", True)),
        str(entry.get("install_code", "")),
        float(entry.get("poll", 0.5)),
        _script(entry, place),
        bool(entry.get("repeat", False)),
        place,
    )


def _script(entry: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], ...]:
    steps = entry.get("script", ())
    remedy = 'for example script = [{ after = 10, op = "set", name = "temperature", value = 2150 }]'
    for number, step in enumerate(steps if isinstance(steps, list) else [steps] if steps else ()):
        after = step.get("after") if isinstance(step, dict) else None
        if isinstance(after, bool) or not isinstance(after, int | float) or not 0 <= after <= LONGEST_STEP:
            text = f"`after` is a number of seconds from 0 to {LONGEST_STEP}"
            raise ConfigError(text, place=f"{place}.script[{number}]", remedy=remedy)
    return tuple(steps)
