"""What is kept of the devices: where each is, how it is protected, and what its interview told. PURE, but for load and save.

No key is in here: keys are among the radio's secrets.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.files import write_atomic
from drivers.coap.catalog_types import CoapDevice
from drivers.coap.keys import DTLS, OSCORE, Address
from drivers.coap.linkformat import Link

VERSION = 1
FORMAT = "hub-agent coap devices"
_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,63}")


@dataclass(slots=True)
class Record:
    """One device. `protection` is "", dtls or oscore, and never becomes less than it was."""

    key: str
    host: str
    port: int
    protection: str = ""
    links: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)

    def device(self) -> CoapDevice:
        links = tuple(Link(target, {n: tuple(v) for n, v in attributes.items()}) for target, attributes in self.links)
        return CoapDevice(links, self.units, self.facts, frozenset(self.seen))

    def learn(self, device: CoapDevice) -> None:
        """What a new interview told takes the place of what the last one did."""
        self.links = [(link.target, {n: list(v) for n, v in link.attributes.items()}) for link in device.links]
        self.units, self.facts, self.seen = dict(device.units), dict(device.facts), sorted(device.seen)


class Book:
    """The file devices.json of a radio's state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.devices: dict[str, Record] = {}

    @classmethod
    def load(cls, path: Path) -> "Book":
        """The book at `path`; an absent one is empty. Raises OSError, and ValueError for a damaged one."""
        book = cls(path)
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return book
        book.devices = records(content)
        return book

    def save(self) -> None:
        """Write the book, atomically and durably. Raises OSError."""
        write_atomic(self._path, json.dumps(document(self.devices), indent=1).encode())


def document(devices: dict[str, Record]) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "devices": [asdict(record) for record in devices.values()]}


def records(content: Any) -> dict[str, Record]:
    """The devices of a document. Raises ValueError."""
    try:
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError("this is no list of CoAP devices that this version knows")
        found = {entry["key"]: Record(**entry) for entry in content["devices"]}
        for record in found.values():
            record.device()
            if record.protection not in ("", DTLS, OSCORE) or not _PLAIN.fullmatch(record.key):
                raise ValueError(f"the entry {str(record.key)[:64]!r} cannot be used")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the list of CoAP devices is damaged: {error!r}") from error
    return found


def key_for(address: Address, *names: str) -> str:
    """A device's key: the first of its names (endpoint name of a directory, serial number) that it has, else its address."""
    for name in names:
        if name:
            return name if _PLAIN.fullmatch(name) else f"x{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    plain = re.sub(r"[^0-9A-Za-z.]", "-", address.host).strip("-.") or "any"
    return f"{plain}-{address.port}"[:64]
