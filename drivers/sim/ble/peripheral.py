"""One simulated peripheral: its values, its GATT server, and what goes wrong with it. PURE."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.sim.ble.dfu_target import DfuTarget
from drivers.sim.ble.firmware import BOOTLOADER, SPOILS, Firmware
from drivers.sim.ble.payloads import Payload
from drivers.sim.ble.profiles import BOOT, PROFILES, Char, Profile
from drivers.sim.ble.smp_server import SmpServer
from drivers.sim.requests import ControlError

UPDATE_STEPS = (
    *("smp-state", "smp-upload", "smp-mark", "smp-reset"),
    *("dfu-jump", "dfu-start", "dfu-init", "dfu-receive", "dfu-packet", "dfu-validate", "dfu-activate"),
)
STEPS = ("connect", "services", "pair", "read", "write", "notify", "descriptor", *UPDATE_STEPS)
KINDS = ("vanish", "hang", "fail", "in_progress", "slow", *SPOILS)
MAKES: Mapping[str, Callable[[str], Firmware]] = {"smp": SmpServer, "dfu": DfuTarget}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong once: `seconds` is how long it is away (vanish) or late (slow)."""

    kind: str
    seconds: float = 1.0


@dataclass(slots=True)
class Attribute:
    """A characteristic or descriptor, by its handle."""

    uuid: str
    handle: int
    char: Char
    service: int
    descriptor: bytes | None = None  # the value, where this is a descriptor
    of: int = 0  # the characteristic that a descriptor belongs to


@dataclass(slots=True)
class Peripheral:
    """`passkey`: what it wants for a bond, without which nothing of it can be read or written.

    `updates`: what takes firmware in it. A device whose boot loader has an address of its own is two of these, each with its `role`.
    """

    name: str
    address: str
    kind: str
    interval: float = 0.5
    rssi: int = -60
    bindkey: bytes = b""
    passkey: int | None = None
    pairing: bool = True  # it advertises
    powered: bool = True
    values: dict[str, Any] = field(default_factory=dict)
    sequence: int = 1
    bonded: bool = False
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    turn: int = 0
    hung: bool = False
    updates: Firmware | None = None
    role: str = ""
    restart: float = 0.3  # seconds that a restart takes

    def __post_init__(self) -> None:
        self.values = {**PROFILES[self.kind].values, **self.values}
        make = MAKES.get(PROFILES[self.kind].updates)
        if make is not None and self.updates is None:
            self.updates = make(self.values["firmware"])
        self.settle()

    @property
    def profile(self) -> Profile:
        return BOOT if self.updates is not None and self.updates.mode == BOOTLOADER else PROFILES[self.kind]

    def settle(self) -> None:
        """What follows from the mode that its firmware is in, at a start."""
        if self.updates is not None:
            self.values |= {"firmware": self.updates.version, "mode": self.updates.mode}
            self.powered = self.role in ("", self.updates.mode)

    @property
    def has_gatt(self) -> bool:
        return bool(self.profile.services)

    def payload(self) -> Payload:
        """What it says next."""
        says = self.profile.say
        self.turn = (self.turn + 1) % len(says)
        return says[self.turn](self)

    def set(self, name: str, value: Any) -> None:
        """Another value, of the type that it has. Raises ControlError."""
        if name not in self.values:
            raise ControlError(
                f"{self.name} has no value {name!r}; there are {', '.join(sorted(self.values)) or 'none'}"
            )
        if type(value) is not type(self.values[name]):
            raise ControlError(f"{name} is of the type {type(self.values[name]).__name__}, not {value!r}")
        self.values[name] = value
        self.sequence += 1

    def attributes(self) -> list[Attribute]:
        """Its GATT server: services at 0x0001, 0x0101, ..., each with characteristics and descriptors behind it."""
        found = []
        for place, (_, chars) in enumerate(self.profile.services):
            service = place * 0x100 + 1
            handle = service
            for char in chars:
                handle += 1
                of = handle
                found.append(Attribute(char.uuid, handle, char, service))
                for uuid, value in char.descriptors:
                    handle += 1
                    found.append(Attribute(uuid, handle, char, service, value, of))
        return found

    def fault(self, step: str) -> Fault | None:
        """What goes wrong with this step; each fault happens once."""
        waiting = self.faults.get(step)
        return waiting.popleft() if waiting else None
