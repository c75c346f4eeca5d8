"""What is known of each node and must outlive a restart. PURE, but for load and save.

One small file a node, so that a step of one interview writes no other.

`NodeRecord.learned` keeps reports as they came, by endpoint and by the request that brought them: whoever reads them decodes them with the
version of then, and a table that grows reads old interviews too.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.files import sync_folder, write_atomic
from drivers.zwave.catalog import ZWaveEndpoint, ZWaveNode, learnt
from drivers.zwave.codec import Command, Raw, decode
from drivers.zwave.layout import LayoutError
from drivers.zwave.security.classes import SecurityClass

VERSION = 1
MULTI_CHANNEL, SUPERVISION, WAKE_UP = 0x60, 0x6C, 0x84
PLUS_INFO = "Z-Wave Plus Info Report"


@dataclass(slots=True)
class EndpointRecord:
    """One endpoint; 0 is the node itself.

    `classes` are supported, with their version (0: not known yet); `secure` those that are supported with the node's highest key.
    """

    generic: int = 0
    specific: int = 0
    classes: dict[int, int] = field(default_factory=dict)
    secure: list[int] = field(default_factory=list)
    controlled: list[int] = field(default_factory=list)  # what it sends to others
    learned: dict[str, list[str]] = field(default_factory=dict)  # request as hex -> reports as hex

    def versions(self) -> dict[int, int]:
        """Its classes; version 1 where it is not known."""
        return {number: max(1, version) for number, version in self.classes.items()}

    def answers(self) -> list[Command | Raw]:
        """What it reported; without what cannot be read."""
        found = []
        for reports in self.learned.values():
            for report in reports:
                with suppress(LayoutError, ValueError):
                    found.append(decode(bytes.fromhex(report)))
        return found

    def answer(self, name: str) -> Mapping[str, Any]:
        """The values of the first report of that name; empty where there is none."""
        found = (one.values for one in self.answers() if isinstance(one, Command) and one.name == name)
        return next(found, {})


@dataclass(slots=True)
class NodeRecord:
    """One node. `security`: names of the granted classes, None while that is not known. `done`: finished stages of its interview."""

    id: int
    node_id: str
    listening: bool = True
    frequent: bool = False  # listens for a beam every 250 or 1000 ms (FLiRS)
    routing: bool = False
    controller: bool = False
    basic: int = 0
    security: list[str] | None = None
    endpoints: dict[int, EndpointRecord] = field(default_factory=lambda: {0: EndpointRecord()})
    manufacturer: int | None = None
    product_type: int | None = None
    product: int | None = None
    firmware: str = ""
    wake_up_interval: int | None = None  # seconds
    quarantine: str = (
        ""  # why it is in the stick's network and yet not used: it failed to get its keys, or was given up
    )
    dsk: str = ""  # as on its label, where its keys were given with it
    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # what it did not answer; asked again by a new interview only

    @property
    def root(self) -> EndpointRecord:
        return self.endpoints[0]

    @property
    def sleepy(self) -> bool:
        """It hears nothing until it wakes up by itself."""
        return not self.listening and not self.frequent

    @property
    def granted(self) -> tuple[SecurityClass, ...]:
        """Granted classes, the most trusted first."""
        return tuple(sorted((SecurityClass[name] for name in self.security or ()), key=lambda one: -one.value))

    @property
    def highest(self) -> SecurityClass | None:
        """The class that its secure commands must come with."""
        return next(iter(self.granted), None)

    def endpoint(self, index: int) -> EndpointRecord:
        """The record of an endpoint, made where it is new."""
        return self.endpoints.setdefault(index, EndpointRecord())

    def version(self, command_class: int, index: int = 0) -> int:
        """The version of a class; 1 where it is supported and the version is not known, 0 where it is not supported."""
        found = self.endpoints.get(index, EndpointRecord()).classes.get(command_class)
        return 0 if found is None else max(1, found)

    def is_secure(self, command_class: int, index: int = 0) -> bool:
        """The class is supported with the node's highest key, so nothing of it counts that comes with less."""
        endpoint = self.endpoints.get(index)
        return endpoint is not None and command_class in endpoint.secure


def interviewed(record: NodeRecord) -> ZWaveNode:
    """A node as the catalogue takes it."""
    info = record.root.answer(PLUS_INFO)
    return ZWaveNode(
        record.id,
        tuple(_interviewed(index, endpoint) for index, endpoint in sorted(record.endpoints.items())),
        manufacturer_id=record.manufacturer or 0,
        product_type=record.product_type or 0,
        product_id=record.product or 0,
        role=info.get("role"),
        plus=info.get("plus_version", 0),
        listening=record.listening,
    )


def _interviewed(index: int, endpoint: EndpointRecord) -> ZWaveEndpoint:
    info = endpoint.answer(PLUS_INFO)
    return ZWaveEndpoint(
        index,
        endpoint.versions(),
        endpoint.generic,
        endpoint.specific,
        frozenset(endpoint.controlled),
        info.get("installer_icon", 0),
        info.get("user_icon", 0),
        learnt(endpoint.answers()),
    )


def node_id(home_id: int, number: int) -> str:
    """`zw.<home>+<node>` in upper-case hex."""
    return f"zw.{home_id:08X}+{number:X}"


class NodeBook:
    """The folder of one network: `<home id>/<node>.json`. Another stick in the same port has another folder."""

    def __init__(self, folder: Path, home_id: int) -> None:
        self._folder = folder / f"{home_id:08X}"
        self._home_id = home_id
        self.nodes: dict[int, NodeRecord] = {}

    def load(self) -> list[str]:
        """Read all nodes. Damaged files are left where they are, and named: their nodes are interviewed again. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        damaged = []
        for path in self._paths():
            try:
                record = record_of(json.loads(path.read_bytes()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                damaged.append(f"{path.name}: {error!r}")
                continue
            self.nodes[record.id] = record
        return damaged

    def _paths(self) -> Iterator[Path]:
        yield from sorted(path for path in self._folder.glob("*.json") if path.stem.isdigit())

    def node(self, number: int) -> NodeRecord:
        """The record of a node, made at its first sight."""
        known = self.nodes.get(number)
        if known is None:
            known = self.nodes[number] = NodeRecord(number, node_id(self._home_id, number))
        return known

    def save(self, number: int) -> None:
        """Write one node, atomically and durably. Raises OSError."""
        record = asdict(self.nodes[number])
        write_atomic(self._folder / f"{number}.json", json.dumps({"version": VERSION, **record}, indent=1).encode())

    def other(self, home_id: int) -> "NodeBook":
        """The folder of another network beside this one."""
        return NodeBook(self._folder.parent, home_id)

    def adopt(self, content: Mapping[str, Any]) -> None:
        """Take up a record of a backup, written at once. Raises OSError, and what `record_of` raises."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = record_of(content)
        self.nodes[record.id] = record
        self.save(record.id)

    def forget(self, number: int) -> None:
        """The node left. Raises OSError."""
        if self.nodes.pop(number, None) is not None:
            (self._folder / f"{number}.json").unlink(missing_ok=True)
            sync_folder(self._folder)


def record_of(content: Mapping[str, Any]) -> NodeRecord:
    """A record from its JSON. Raises ValueError, KeyError, TypeError, AttributeError."""
    content = {name: value for name, value in content.items() if name != "version"}
    endpoints = {
        int(index): EndpointRecord(
            **{**values, "classes": {int(number): version for number, version in values["classes"].items()}}
        )
        for index, values in content.pop("endpoints").items()
    }
    record = NodeRecord(**content, endpoints=endpoints)
    if 0 not in endpoints or not isinstance(record.id, int):
        raise ValueError("no root endpoint, or no id")
    _ = record.granted  # raises KeyError for a class that nobody knows
    return record
