"""The Bluetooth part of a home file: adapters and peripherals. PURE.

[radios.ble]
kind = "ble"
adapters = ["hci0", "hci1"]     # all of them hear everything
passive = true                  # advertisement monitors, as bluetoothd has with --experimental

[[radios.ble.devices]]
name = "hall button"
profile = "bthome-button"
address = "A4:C1:38:00:00:02"
bindkey = "231d39c1d7cc1ab1aee224cd096db932"

[[radios.ble.devices]]
name = "porch lamp"
profile = "dfu-lamp"            # takes firmware over the air, as smp-lamp does
firmware = { version = "1.0.0", moves = true, restart = 0.3 }   # moves: its boot loader is at the next address
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.errors import ConfigError
from drivers.sim import home
from drivers.sim.ble.adapter import Adapter
from drivers.sim.ble.firmware import APPLICATION, BOOTLOADER
from drivers.sim.ble.peripheral import Peripheral
from drivers.sim.ble.profiles import PROFILES

RADIO_KEYS = frozenset({"kind", "adapters", "passive", "temporary", "latency", "devices"})
DEVICE_KEYS = frozenset(
    {
        "name",
        "profile",
        "address",
        "interval",
        "rssi",
        "bindkey",
        "passkey",
        "pairing",
        "count",
        "values",
        "script",
        "repeat",
        "firmware",
    }
)
FIRMWARE_KEYS = frozenset({"version", "moves", "restart"})
ADDRESS = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")
DEFAULT_KEY = "231d39c1d7cc1ab1aee224cd096db932"  # the one of BTHome's documentation


@dataclass(frozen=True, slots=True)
class Spec:
    """One radio of the home file."""

    adapters: list[Adapter]
    temporary: float
    latency: float
    peripherals: list[Peripheral] = field(default_factory=list)
    scripts: list[tuple[Peripheral, tuple[Mapping[str, Any], ...], bool, str]] = field(default_factory=list)


def read(radio: str, spec: Mapping[str, Any]) -> Spec:
    """Raises ConfigError with place and remedy."""
    place = f"radios.{radio}"
    home.known(spec, RADIO_KEYS, place)
    names = spec.get("adapters", ["hci0"])
    if not isinstance(names, list) or not names or not all(re.fullmatch(r"hci[0-9]", str(one)) for one in names):
        raise ConfigError(f"adapters cannot be {names!r}", place=place, remedy='for example adapters = ["hci0"]')
    passive = home.truth(spec, "passive", place, default=True)
    adapters = [Adapter(name, f"00:1A:7D:DA:71:{at:02X}", passive=passive) for at, name in enumerate(names)]
    temporary = home.number(spec, "temporary", 30.0, 0.1, home.DAY, place)
    made = Spec(adapters, temporary, home.number(spec, "latency", 0.01, 0.0, 60.0, place))
    for entry, peripheral in _peripherals(radio, spec):
        made.peripherals.append(peripheral)
        steps = home.script(entry.values, entry.place)
        if steps and peripheral.role != BOOTLOADER:
            repeat = home.truth(entry.values, "repeat", entry.place, default=False)
            made.scripts.append((peripheral, steps, repeat, entry.place))
    return made


def _peripherals(radio: str, spec: Mapping[str, Any]) -> Iterator[tuple[home.Entry, Peripheral]]:
    used: set[str] = set()
    for entry in home.entries(radio, spec, PROFILES, DEVICE_KEYS):
        for made in _with_bootloader(entry, _peripheral(entry)):
            if made.address in used:
                remedy = "give each device an address of its own"
                raise ConfigError("the address is taken", place=entry.place, remedy=remedy)
            used.add(made.address)
            yield entry, made


def _with_bootloader(entry: home.Entry, made: Peripheral) -> Iterator[Peripheral]:
    """A device, and its boot loader where that has an address of its own: the next one."""
    told, place = entry.values.get("firmware", {}), f"{entry.place}.firmware"
    if told and made.updates is None:
        remedy = "take the profile smp-lamp or dfu-lamp"
        raise ConfigError(f"a {made.kind} takes no firmware", place=entry.place, remedy=remedy)
    home.known(told, FIRMWARE_KEYS, place)
    made.restart = home.number(told, "restart", made.restart, 0.0, 600.0, place)
    if home.truth(told, "moves", place, default=False):
        made.role = APPLICATION
        yield replace(
            made,
            name=f"{made.name} boot loader",
            address=_address(made.address, 1, place),
            role=BOOTLOADER,
            pairing=True,
            faults={},
        )
    yield made


def _peripheral(entry: home.Entry) -> Peripheral:
    values, place = entry.values, entry.place
    own = values.get("values", {})
    if not isinstance(own, dict) or set(own) - set(PROFILES[values["profile"]].values):
        known = ", ".join(PROFILES[values["profile"]].values) or "none"
        raise ConfigError(f"values cannot be {own!r}", place=place, remedy=f"known: {known}")
    return Peripheral(
        entry.name,
        _address(values.get("address", f"A4:C1:38:00:{entry.number:02X}:00"), entry.copy, place),
        values["profile"],
        home.number(values, "interval", 0.5, 0.01, home.DAY, place),
        int(home.number(values, "rssi", -60, -127, 20, place, whole=True)),
        bytes.fromhex(_matching(values, "bindkey", DEFAULT_KEY, r"[0-9a-fA-F]{32}", "32 hex digits", place)),
        int(key) if (key := _matching(values, "passkey", "", r"([0-9]{6})?", "6 digits", place)) else None,
        home.truth(values, "pairing", place, default=True),
        values=dict(own) | _version(values, place),
    )


def _version(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    told = values.get("firmware", {})
    if not isinstance(told, dict):
        raise ConfigError(
            f"firmware cannot be {told!r}", place=place, remedy='for example firmware = { version = "1.0.0" }'
        )
    version = _matching(told, "version", "", r"([0-9]+(\.[0-9]+){2,3})?", "a version like 1.0.0", f"{place}.firmware")
    return {"firmware": version} if version else {}


def _address(value: Any, copy: int, place: str) -> str:
    text = str(value).upper()
    if not ADDRESS.fullmatch(text):
        remedy = 'for example "A4:C1:38:00:00:01"'
        raise ConfigError(f"address is no Bluetooth address: {value!r}", place=place, remedy=remedy)
    digits = f"{(int(text.replace(':', ''), 16) + copy) & 0xFFFFFFFFFFFF:012X}"
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _matching(values: Mapping[str, Any], key: str, default: str, pattern: str, form: str, place: str) -> str:
    value = values.get(key, default)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ConfigError(f"{key} cannot be {value!r}", place=place, remedy=f"write {form} in quotation marks")
    return value
