"""Devices that may join by themselves (SmartStart), and what is known of a device before it joins.

The list is among the radio's secrets: whoever has a DSK can pretend to be the device's controller.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from agent.driver import InvalidParameters
from agent.secret_store import Secrets
from drivers.zwave.bootstrap import Credentials
from drivers.zwave.security import dsk as dsks
from drivers.zwave.security import qr
from drivers.zwave.security.classes import LONG_RANGE_CLASSES, MESH_CLASSES, SecurityClass, SecurityError

NAME = "smartstart"
PIN_DIGITS = 5
MESH, LONG_RANGE = 0x01, 0x02  # bits of the protocols that a code names
LIMIT = 232  # as many as a network has nodes


@dataclass(frozen=True, slots=True)
class Entry:
    """One device. `keys`: the mask of classes that its code names; `node`: its id once it joined; `protocols`: what it can join by."""

    dsk: str
    keys: int
    node: int | None = None
    protocols: int = MESH

    @property
    def key(self) -> bytes:
        return dsks.from_text(self.dsk)

    def long_range(self, *, preferred: bool) -> bool:
        """It is to join by Long Range: it knows nothing else, or both and that is preferred."""
        return bool(self.protocols & LONG_RANGE) and (preferred or not self.protocols & MESH)

    def credentials(self) -> Credentials:
        """What it may be granted: never more than its code names."""
        return Credentials(self.key, allowed=_named(self.keys))


def _named(mask: int) -> frozenset[SecurityClass]:
    return frozenset(one for one in (*MESH_CLASSES, *LONG_RANGE_CLASSES) if one.bit & mask)


@dataclass(frozen=True, slots=True)
class Material:
    """What a discovery was given. `entry`: a SmartStart device, which joins whenever it is powered."""

    credentials: Credentials
    entry: Entry | None = None


def material(text: str) -> Material:
    """A QR code, a DSK (16 bytes as 40 digits), a PIN (5 digits), or nothing. Raises InvalidParameters."""
    text = text.strip()
    if not text:
        return Material(Credentials())
    try:
        if len(text) == PIN_DIGITS:
            return Material(Credentials(pin=dsks.pin(text)))
        digits = "".join(filter(str.isdigit, text))
        if len(digits) < qr.MIN_DIGITS:
            return Material(Credentials(dsk=dsks.from_text(text)))
        code = qr.parse(text)
    except SecurityError as error:
        raise InvalidParameters(f"neither a Z-Wave QR code nor a DSK nor a PIN: {error}") from error
    entry = Entry(dsks.to_text(code.dsk), code.keys, protocols=code.protocols or MESH)
    return Material(entry.credentials(), entry if code.smart_start else None)


def listed(content: Any) -> tuple[Entry, ...]:
    """A list as `ProvisioningList.told` has written it down. Raises ValueError for what is none."""
    if not isinstance(content, list):
        raise ValueError("no SmartStart list: it is none")  # noqa: TRY004  what is read, not who calls
    try:
        entries = tuple(Entry(**values) for values in content)
        for entry in entries:
            whole = (entry.keys, entry.protocols, 0 if entry.node is None else entry.node)
            if entry.dsk != dsks.to_text(entry.key) or any(type(one) is not int or one < 0 for one in whole):
                raise ValueError("an entry of it is none")
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"no SmartStart list: {error}") from None
    if len(entries) > LIMIT:
        raise ValueError(f"a SmartStart list of {len(entries)} devices")
    return entries


class ProvisioningList:
    """The SmartStart devices of one radio. Raises what `secrets` raises, ValueError where they are damaged."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._entries = {entry.dsk: entry for entry in listed(json.loads(secrets.get(NAME) or b"[]"))}

    def put(self, entry: Entry) -> None:
        """Expect this device; one that had joined may join again. Raises InvalidParameters where the list is full."""
        if len(self._entries) >= LIMIT and entry.dsk not in self._entries:
            raise InvalidParameters(f"the SmartStart list holds {LIMIT} devices")
        self._entries[entry.dsk] = entry
        self._save()

    def joined(self, entry: Entry, node: int) -> None:
        self.put(replace(entry, node=node))

    def left(self, node: int) -> None:
        """A node left: its device is no longer expected, else it would be back at once."""
        kept = {dsk: entry for dsk, entry in self._entries.items() if entry.node != node}
        if len(kept) != len(self._entries):
            self._entries = kept
            self._save()

    def drop(self, dsk: str) -> bool:
        """Expect this device no more; False where it is not expected."""
        if dsk not in [entry.dsk for entry in self.expected]:
            return False
        del self._entries[dsk]
        self._save()
        return True

    def lists(self, node: int) -> bool:
        """Whether this node is a device of the list that joined."""
        return any(entry.node == node for entry in self._entries.values())

    def told(self) -> list[dict[str, Any]]:
        """The whole list, as JSON."""
        return [asdict(entry) for entry in self._entries.values()]

    def restore(self, entries: Iterable[Entry] | None) -> None:
        """A network of another time is back, with its list; None: it is not known, and who had joined is not known either."""
        kept = self.expected if entries is None else entries
        self._entries = {entry.dsk: entry for entry in kept}
        self._save()

    def clear(self) -> None:
        """The network was left."""
        self._entries.clear()
        self._secrets.delete(NAME)

    @property
    def expected(self) -> list[Entry]:
        """Those that have not joined."""
        return [entry for entry in self._entries.values() if entry.node is None]

    def find(self, nwi_home_id: bytes) -> Entry | None:
        """The expected device that announces itself with this home id."""
        return next((entry for entry in self.expected if dsks.nwi_home_id(entry.key) == nwi_home_id), None)

    def _save(self) -> None:
        self._secrets.put(NAME, json.dumps(self.told()).encode())
