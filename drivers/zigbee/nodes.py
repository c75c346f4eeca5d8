"""What the driver itself must not forget: the stick's identity and each device's node id. PURE, but for load and save.

zigpy's database knows the devices; a node id is made of the addresses at the first interview and stays when the short address changes.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.files import write_atomic

VERSION = 1


@dataclass(slots=True)
class Remembered:
    """One device: its fixed node id, whether it joined with an install code, whether bindings and reporting are done.

    `polls` are the attributes that it cannot report: endpoint, cluster, attribute.
    """

    node_id: str
    secure: bool = False
    configured: bool = False
    polls: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Stick:
    """The coordinator that was used last: EUI64, and where and how it answered."""

    identity: str = ""
    port: str = ""
    radio: str = ""


class NodeBook:
    """The file nodes.json of a radio's state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stick = Stick()
        self.devices: dict[str, Remembered] = {}

    @classmethod
    def load(cls, path: Path) -> "NodeBook":
        """The book at `path`; an absent one is empty. Raises ValueError for a damaged one."""
        book = cls(path)
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return book
        try:
            book.stick = Stick(**content["stick"])
            book.devices = {key: Remembered(**values) for key, values in content["devices"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {error!r}") from error
        return book

    def save(self) -> None:
        """Write the book, atomically and durably. Raises OSError."""
        devices = {key: asdict(device) for key, device in sorted(self.devices.items())}
        content: dict[str, Any] = {"version": VERSION, "stick": asdict(self.stick), "devices": devices}
        write_atomic(self._path, json.dumps(content, indent=1).encode())

    def device(self, key: str, pan_id: int, nwk: int) -> Remembered:
        """The record of a device, made at its first interview."""
        known = self.devices.get(key)
        if known is None:
            known = Remembered(free_node_id(pan_id, nwk, (d.node_id for d in self.devices.values())))
            self.devices[key] = known
        return known


def free_node_id(pan_id: int, nwk: int, taken: Iterable[str]) -> str:
    """`zb.<PAN>+<NWK>` in upper-case hex; the next free number when another device was once given this address."""
    used = set(taken)
    for step in range(0x10000):
        candidate = f"zb.{pan_id:04X}+{(nwk + step) & 0xFFFF:04X}"
        if candidate not in used:
            return candidate
    raise OverflowError("all 65,536 node ids of this network are taken")


@dataclass(slots=True)
class Strangers:
    """Devices that joined a window that was not meant for them; what they still send is not listened to."""

    expected: str = ""  # the one EUI64 that may join, or "" for anybody
    seen: set[str] = field(default_factory=set)

    def admit(self, key: str, *, known: bool) -> bool:
        """Whether a device that joins now may stay."""
        if known or not self.expected or key == self.expected:
            self.seen.discard(key)
            return True
        self.seen.add(key)
        return False
