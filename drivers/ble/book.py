"""What the driver must not forget: the devices that were adopted. PURE, but for load and save.

Bindkeys are among the hub's secrets; the keys of bonds are in BlueZ's own store (/var/lib/bluetooth), which alone can use them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.files import write_atomic
from agent.model import Capability, Device, DeviceId, Endpoint

VERSION = 1


def node_id(address: str) -> str:
    """The name of a device towards the clouds: AWS takes no colons there (NodeId of the API: `[a-zA-Z0-9=_.,@+/-]+`)."""
    return f"ble.{address.replace(':', '')}"


@dataclass(slots=True)
class Record:
    """One device. `gatt`: it is connected to; `secret`: its adverts are encrypted, and those up to `counter` were heard before.

    `firmware`: the version of each image that it takes over the air, as it said last.
    """

    device: Device
    gatt: bool = False
    bonded: bool = False
    secret: bool = False
    counter: int = -1
    digitals: dict[int, int] = field(default_factory=dict)  # handle -> how many
    firmware: dict[int, int] = field(default_factory=dict)  # image -> version


class Book:
    """The file devices.json of a radio's state folder."""

    def __init__(self, path: Path, radio: str) -> None:
        self._path = path
        self._radio = radio
        self.devices: dict[str, Record] = {}

    def load(self) -> None:
        """Read it; an absent one is empty. Raises OSError, ValueError."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        self.devices = self.parse(json.loads(content))

    def parse(self, content: Any) -> dict[str, Record]:
        """The devices of a document. Raises ValueError."""
        try:
            return {key: self._record(key, entry) for key, entry in content["devices"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self._path} is damaged: {error!r}") from error

    def _record(self, key: str, entry: Mapping[str, Any]) -> Record:
        values = {**entry["device"], "id": DeviceId(self._radio, key), "endpoints": _endpoints(entry["device"])}
        values["node_id"] = node_id(key)
        values["unmapped"] = tuple(values["unmapped"])
        digitals, firmware = _numbers(entry["digitals"]), _numbers(entry.get("firmware", {}))
        known = (entry["gatt"], entry["bonded"], entry["secret"], entry["counter"])
        return Record(Device(**values), *known, digitals, firmware)

    def document(self) -> dict[str, Any]:
        devices = {key: asdict(record) for key, record in sorted(self.devices.items())}
        return {"version": VERSION, "devices": devices}

    def save(self) -> None:
        """Write it, atomically and durably. Raises OSError."""
        write_atomic(self._path, json.dumps(self.document(), indent=1).encode())


def _numbers(entry: Mapping[str, Any]) -> dict[int, int]:
    return {int(name): int(number) for name, number in entry.items()}


def _endpoints(device: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(one["id"], tuple(one["device_types"]), tuple(_capability(c) for c in one["capabilities"]))
        for one in device["endpoints"]
    )


def _capability(entry: Mapping[str, Any]) -> Capability:
    lists = {name: tuple(entry[name]) for name in ("properties", "actions", "events")}
    return Capability(entry["id"], entry["name"], entry["version"], **lists)
