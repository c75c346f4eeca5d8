"""Backups of the network: the stick's memory, and what the hub must know to use it: the network keys, its nodes, the SmartStart list.

A document is one JSON object; `nvm` in it is the raw image, as Z-Wave JS UI takes it too. Each is one of the radio's secrets, since the keys
are in it; the newest `backups` are kept. What is read is proved by the node list in it.
"""

import base64
import binascii
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from agent.driver import DriverError, DriverLost, InvalidParameters, NotSupported
from agent.errors import HubError
from agent.secret_store import Secrets
from drivers.zwave.controller import Controller, Facts
from drivers.zwave.keys import CLASSES, keep_keys
from drivers.zwave.link import CallAborted, StickSilent
from drivers.zwave.nodes import NodeBook, record_of
from drivers.zwave.nvm import NvmTrouble, StickMemory
from drivers.zwave.nvm_parse import NvmError, UnknownLayoutError, parse
from drivers.zwave.provisioning import Entry, ProvisioningList, listed
from drivers.zwave.security.classes import KEY_SIZE, SecurityClass
from drivers.zwave.transmit import Air, Urgency

log = logging.getLogger(__name__)

FORMAT, VERSION = "hub-agent-zwave-network", 1
PREFIX = "network-"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Backup:
    """A document that was read and found whole."""

    image: bytes
    home_id: int
    firmware: Json
    keys: dict[SecurityClass, bytes]
    records: tuple[Json, ...]
    smart_start: tuple[Entry, ...] | None = None  # not in backups of before


class Backups:
    """The backups of one stick. Whoever calls sees to it that no node joins or leaves meanwhile; `wall` is seconds since 1970."""

    def __init__(
        self,
        controller: Controller,
        air: Air,
        book: NodeBook,
        keys: Mapping[SecurityClass, bytes],
        provisioning: ProvisioningList,
        secrets: Secrets,
        keep: int,
    ) -> None:
        self._controller = controller
        self._memory = StickMemory(controller)
        self._air = air
        self._book = book
        self._keys = keys
        self._provisioning = provisioning
        self._secrets = secrets
        self._keep = keep
        self._last: str | None = None  # what the hub knew of the network when the newest one was taken

    async def take(self, wall: float) -> bytes:
        """Read the network from the stick, prove it, keep it, return it. Raises NotSupported, NvmTrouble, DriverError."""
        async with self._air.hold(Urgency.USER):
            image = await self._memory.read()
            proof = await self._proved(image)
        facts, known = self._controller.facts, self._fingerprint()
        document = {
            "format": FORMAT,
            "version": VERSION,
            "taken": datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds"),
            "home_id": facts.identity,
            "node": facts.node,
            "nodes": sorted({*facts.nodes, *facts.long_range_nodes}),
            "firmware": firmware(facts),
            "proof": proof,
            "known": known,
            "keys": {one.name: key.hex() for one, key in self._keys.items()},
            "records": [asdict(record) for record in self._book.nodes.values()],
            "smart_start": self._provisioning.told(),
            "nvm": base64.b64encode(image).decode(),
        }
        text = json.dumps(document, indent=1).encode()
        self._store(text, wall)
        self._last = known
        return text

    async def before_change(self, wall: float) -> bool:
        """A backup, unless the hub has one of all that it knows. Failure is told and stops nothing; raises DriverLost. True: one was taken."""
        if not self._keep or not self._memory.there or self._newest() == self._fingerprint():
            return False
        try:
            await self.take(wall)
        except DriverLost:
            raise
        except DriverError as error:
            log.warning("no backup before the change of the network: %s", error)
        return True

    async def restore(self, backup: Backup) -> None:
        """Write it to the stick, and keep what belongs to it; the stick restarts then, and is to be started anew.

        Raises NotSupported, NvmTrouble, DriverError: the stick goes on with what it has.
        """
        here = firmware(self._controller.facts)
        if backup.firmware != here:
            raise NotSupported(
                f"the backup is of {_told(backup.firmware)}, the stick has {_told(here)}: their memories differ",
                remedy="use a stick with that firmware; Z-Wave JS UI can convert the image that is `nvm` in the backup",
            )
        async with self._air.hold(Urgency.USER):
            await self._memory.write(backup.image)
            try:
                keep_keys(self._secrets, backup.keys)
                self._provisioning.restore(backup.smart_start)
                book = self._book.other(backup.home_id)
                for record in backup.records:
                    book.adopt(record)
            except (OSError, HubError) as error:
                remedy = "free the disk, and restore once more"
                raise DriverError(f"the keys of the backup cannot be kept: {error}", remedy=remedy) from error
            if self._controller.restarts:
                try:
                    await self._controller.soft_reset()
                except (StickSilent, CallAborted) as error:
                    log.warning("the stick does not restart with its new memory: %s", error)

    # ---- what is known ----------------------------------------------------------------------------------------------

    async def _proved(self, image: bytes) -> str:
        """How the image was proved. Raises NvmTrouble."""
        facts = self._controller.facts
        remedy = "try again; if it stays so, the stick's memory is damaged: plug it out and in"
        nodes = sorted(await self._controller.nodes())
        try:
            found = parse(image)
        except UnknownLayoutError as error:
            log.info("a memory of an unknown layout (%s) is read twice", error)
            if await self._memory.read() != image:
                raise NvmTrouble("the stick's memory reads differently each time", remedy=remedy) from None
            return "read twice"
        except NvmError as error:
            raise NvmTrouble(f"the stick's memory is damaged: {error}", remedy=remedy) from error
        if (found.home_id, found.node, sorted(found.nodes)) != (facts.home_id, facts.node, nodes):
            there = f"home {found.home_id:08X}, node {found.node}, nodes {list(found.nodes)}"
            text = f"what was read holds {there}, the stick says {facts.identity}, {facts.node}, {nodes}"
            raise NvmTrouble(text, remedy=remedy)
        return "its node list"

    def _fingerprint(self) -> str:
        """Changes whenever a node joins, leaves, or is another one than before, and when another device is expected."""
        facts = self._controller.facts
        nodes = [
            (one.id, one.security, one.dsk, one.manufacturer, one.product_type, one.product)
            for one in sorted(self._book.nodes.values(), key=lambda one: one.id)
        ]
        listed = sorted({*facts.nodes, *facts.long_range_nodes})
        expected = sorted(entry.dsk for entry in self._provisioning.expected)
        whole = json.dumps([facts.identity, facts.version, listed, nodes, expected])
        return hashlib.sha256(whole.encode()).hexdigest()[:32]

    def _newest(self) -> str:
        if self._last is None:
            try:
                kept = [name for name in self._secrets.names() if name.startswith(PREFIX)]
                content = json.loads(self._secrets.get(kept[-1]) or b"{}") if kept else {}
                self._last = str(content.get("known", ""))
            except (HubError, ValueError, AttributeError) as error:
                log.warning("the newest backup cannot be read: %s", error)
                self._last = ""
        return self._last

    def _store(self, document: bytes, wall: float) -> None:
        if not self._keep:
            return
        stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%S%fZ")
        try:
            self._secrets.put(f"{PREFIX}{stamp}", document)
            kept = [name for name in self._secrets.names() if name.startswith(PREFIX)]
            for old in kept[: -self._keep]:
                self._secrets.delete(old)
        except HubError as error:
            raise DriverError(f"the backup cannot be kept: {error}", remedy=error.remedy) from error


def firmware(facts: Facts) -> Json:
    """What must be equal for an image to fit: the library, and its version as exactly as the stick tells it."""
    return {"version": facts.version, "library": facts.library, "protocol": list(facts.firmware)}


def _told(told: Json) -> str:
    protocol = f", protocol {'.'.join(map(str, told['protocol']))}" if any(told["protocol"]) else ""
    return f"{told['version']} (library {told['library']}{protocol})"


def read(document: bytes) -> Backup:
    """A backup of ours, its image looked into. Raises InvalidParameters."""
    remedy = "give a document that a backup of a Z-Wave radio has written"
    try:
        content = json.loads(document)
        if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (FORMAT, VERSION):
            raise InvalidParameters(f"not a Z-Wave network backup of version {VERSION}", remedy=remedy)
        image = base64.b64decode(content["nvm"], validate=True)
        home_id = int(content["home_id"], 16)
        told = content["firmware"]
        version = {"version": str(told["version"]), "library": int(told["library"])}
        keys: dict[SecurityClass, bytes] = {
            one: bytes.fromhex(content["keys"][one.name]) for one in CLASSES if one.name in content["keys"]
        }
        records = tuple(content["records"])
        for record in records:
            record_of(record)
        firmware = {**version, "protocol": [int(n) for n in told["protocol"]]}
        smart_start = listed(content["smart_start"]) if "smart_start" in content else None
        backup = Backup(image, home_id, firmware, keys, records, smart_start)
        nodes = [int(number) for number in content["nodes"]]
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise InvalidParameters(f"not a Z-Wave network backup: {error!r}", remedy=remedy) from error
    if any(len(key) != KEY_SIZE for key in keys.values()):
        raise InvalidParameters("a network key of the backup has a wrong size", remedy=remedy)
    _agrees(backup, nodes)
    return backup


def _agrees(backup: Backup, nodes: list[int]) -> None:
    remedy = "use another backup: this one was changed after it was written"
    try:
        found = parse(backup.image)
    except UnknownLayoutError:
        return  # it was read twice instead
    except NvmError as error:
        raise InvalidParameters(f"the image in the backup is damaged: {error}", remedy=remedy) from error
    if (found.home_id, sorted(found.nodes)) != (backup.home_id, sorted(nodes)):
        raise InvalidParameters("the image in the backup is of another network than the backup says", remedy=remedy)
