"""BlueZ's object tree, and what it has to say on the bus. PURE.

Properties are pairs of a D-Bus signature and a value; a value of an `a{..v}` holds such pairs itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Property = tuple[str, Any]
Interfaces = dict[str, dict[str, Property]]

ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
MONITORS, AGENTS = "org.bluez.AdvertisementMonitorManager1", "org.bluez.AgentManager1"
SERVICE, CHARACTERISTIC = "org.bluez.GattService1", "org.bluez.GattCharacteristic1"
DESCRIPTOR = "org.bluez.GattDescriptor1"


@dataclass(frozen=True, slots=True)
class Call:
    """A method call; `token` comes back with its answer."""

    token: Any
    sender: str
    path: str
    interface: str
    member: str
    body: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    path: str
    interfaces: Interfaces


@dataclass(frozen=True, slots=True)
class Removed:
    path: str
    interfaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    path: str
    interface: str
    properties: dict[str, Property]


@dataclass(frozen=True, slots=True)
class Answer:
    token: Any
    signature: str = ""
    body: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of BlueZ: `name` without org.bluez.Error where it has no dot."""

    token: Any
    name: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class AskAgent:
    """Ask the default agent for the passkey of a device; the answer goes to World.passkey."""

    token: Any
    sender: str
    agent: str
    device: str


Saying = Added | Removed | Changed | Answer | Refusal | AskAgent


@dataclass(slots=True)
class Tree:
    """The objects, and what is to be said of them, in order."""

    objects: dict[str, Interfaces] = field(default_factory=dict)
    out: list[Saying] = field(default_factory=list)

    def add(self, path: str, interfaces: Interfaces) -> None:
        self.objects[path] = interfaces
        self.out.append(Added(path, {name: dict(properties) for name, properties in interfaces.items()}))

    def remove(self, path: str) -> None:
        """An object and all below it."""
        for found in sorted((one for one in self.objects if one == path or one.startswith(f"{path}/")), reverse=True):
            self.out.append(Removed(found, tuple(self.objects.pop(found))))

    def change(self, path: str, interface: str, properties: Mapping[str, Property]) -> None:
        found = self.objects.get(path, {}).get(interface)
        if found is not None:
            found.update(properties)
            self.out.append(Changed(path, interface, dict(properties)))

    def value(self, path: str, interface: str, name: str) -> Any:
        found = self.objects.get(path, {}).get(interface, {}).get(name)
        return None if found is None else found[1]
