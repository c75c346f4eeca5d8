"""The NV commands of the MT interface over one Memory. PURE. Methods have the names of znp_tables.REQUESTS."""

from drivers.sim.zigbee.nv import (
    ACTIVE_KEY,
    CHANNELS,
    EXTADDR,
    LINK_KEY_TABLE,
    NIB_ITEM,
    STARTUP_OPTION,
    Memory,
    Place,
)
from drivers.sim.zigbee.znp_tables import Status

FACTORY_CHANNEL = 11
OWNED = frozenset({EXTADDR, NIB_ITEM, ACTIVE_KEY, LINK_KEY_TABLE, STARTUP_OPTION})  # items that a restart reads
PIECE = 244  # octets of a value in one answer


def _status(status: Status) -> bytes:
    return bytes([status])


class Storage:
    """What the host wrote stands until the restart that takes it up: until then the network does not write over it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._written = False

    def save(self) -> None:
        """Bring the memory up to date with the network."""
        if not self._written:
            self.memory.store()

    def restart(self) -> None:
        self._written = False

    def channel(self) -> int:
        """The lowest channel that the host allows."""
        mask = int.from_bytes(self.memory.items.get(CHANNELS, b""), "little")
        return next((number for number in range(11, 27) if mask >> number & 1), FACTORY_CHANNEL)

    def item_length(self, item: int) -> bytes:
        self.save()
        return len(self.memory.items.get(item, b"")).to_bytes(2, "little")

    def item_init(self, item: int, length: int, _size: int, value: bytes) -> bytes:
        if item in self.memory.items:
            return _status(Status.SUCCESS)
        self._written = self._written or item in OWNED
        self.memory.items[item] = value[:length].ljust(length, b"\xff")
        return _status(Status.ITEM_UNINIT)

    def item_read(self, item: int, offset: int) -> bytes:
        if item in OWNED:
            self.save()
        value = self.memory.items.get(item)
        if value is None or offset > len(value):
            return _status(Status.INVALID_PARAMETER) + b"\x00"
        piece = value[offset : offset + PIECE]
        return _status(Status.SUCCESS) + bytes([len(piece)]) + piece

    def item_write(self, item: int, offset: int, size: int, value: bytes) -> bytes:
        old = self.memory.items.get(item)
        if old is None:
            return _status(Status.ITEM_UNINIT)
        if size != len(value) or offset + size > len(old):
            return _status(Status.INVALID_PARAMETER)
        self._written = self._written or item in OWNED
        self.memory.items[item] = old[:offset] + value + old[offset + size :]
        return _status(Status.SUCCESS)

    def item_delete(self, item: int, length: int) -> bytes:
        old = self.memory.items.get(item)
        if old is None:
            return _status(Status.ITEM_UNINIT)
        if len(old) != length:
            return _status(Status.BAD_LENGTH)
        self._written = self._written or item in OWNED
        del self.memory.items[item]
        return _status(Status.SUCCESS)

    def table_length(self, system: int, item: int, row: int) -> bytes:
        self.save()
        return len(self.memory.tables.get((system, item, row), b"")).to_bytes(4, "little")

    def table_create(self, system: int, item: int, row: int, length: int) -> bytes:
        place: Place = (system, item, row)
        if place in self.memory.tables:
            return _status(Status.SUCCESS)
        self._written = True
        self.memory.tables[place] = b"\xff" * min(length, 1024)
        return _status(Status.ITEM_UNINIT)

    def table_read(self, system: int, item: int, row: int, offset: int, length: int) -> bytes:
        value = self.memory.tables.get((system, item, row))
        if value is None or offset > len(value):
            return _status(Status.OPERATION_FAILED) + b"\x00"
        piece = value[offset : offset + min(length, PIECE)]
        return _status(Status.SUCCESS) + bytes([len(piece)]) + piece

    def table_write(self, system: int, item: int, row: int, offset: int, size: int, value: bytes) -> bytes:
        old = self.memory.tables.get((system, item, row))
        if old is None or size != len(value) or offset + size > len(old):
            return _status(Status.OPERATION_FAILED)
        self._written = True
        self.memory.tables[system, item, row] = old[:offset] + value + old[offset + size :]
        return _status(Status.SUCCESS)

    def table_delete(self, system: int, item: int, row: int) -> bytes:
        self._written = True
        gone = self.memory.tables.pop((system, item, row), None)
        return _status(Status.SUCCESS if gone is not None else Status.OPERATION_FAILED)
