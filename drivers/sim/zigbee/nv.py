"""Z-Stack 3.30's NV memory: legacy items, extended tables, and the network that they describe. PURE.

Structures have the alignment of a 32-bit CPU. Sources: Z-Stack Monitor and Test API 1.14, chapter 3.8; the NIB as hosts read it.
"""

import struct
from dataclasses import dataclass, replace

from drivers.sim.zigbee.model import Json, LinkKey, Params
from drivers.sim.zigbee.network import Network

EXTADDR, STARTUP_OPTION, NIB_ITEM, EXTENDED_PAN_ID, USE_EXT_PAN_ID = 0x0001, 0x0003, 0x0021, 0x002D, 0x0047
ACTIVE_KEY, ALTERNATE_KEY, ON_A_NETWORK, LINK_KEY_TABLE = 0x003A, 0x003B, 0x0055, 0x004C
PRECONFIGURED_KEY, NWK_KEY, PAN_ID, CHANNELS, LOGICAL_TYPE, TCLK_SEED = 0x0062, 0x0082, 0x0083, 0x0084, 0x0087, 0x0101
ZSTACK, ADDRESSES, TCLK_TABLE, APS_KEYS, COUNTERS = 1, 0x0001, 0x0004, 0x0006, 0x0007
ROWS = {ADDRESSES: 64, TCLK_TABLE: 32, APS_KEYS: 64, COUNTERS: 12}  # entries of each extended table
EMPTY = {  # a row that nobody uses
    ADDRESSES: bytes.fromhex("0000ffffffffffffffffffff"),
    TCLK_TABLE: bytes(16) + b"\xff\x00\x00\x00",
    APS_KEYS: bytes(24),
    COUNTERS: bytes(12),
}
ASSOCIATED, SECURED = 0x01, 0x02  # address manager users
AUTHENTICATED = 1
ALL_CHANNELS = 0x07FF_F800

_NIB = struct.Struct("<15Bx H 3Bx H Bx H Q H H I 4B I I B Q B 17s 17s 9Bx H H Bx")
_ADDRESS = struct.Struct("<BxHQ")
_COUNTER = struct.Struct("<IQ")
_KEY = struct.Struct("<16sII")
_LINK = struct.Struct("<HHBx")
Place = tuple[int, int, int]  # system, item, sub-item


def pack_nib(params: Params) -> bytes:
    """116 octets (network information base)."""
    first = (0, 5, 2, 20, 15, 13, 8, 20, 0, 3, 7, 1, 5, 0, 0)
    last = (0, 0, 15, 6, 1, 0, 60, 10, 1)
    mask = 1 << params.channel
    return _NIB.pack(
        *first, 7, 2, 13, 30, 0, params.channel, 0, 0, params.pan_id, 8, mask, 15, 15, 3, 0, 1, 1, 0,
        params.ext_pan_id, 1, bytes(17), bytes(17), *last, 0, 0, params.update_id,
    )  # fmt: skip


def _read_nib(nib: bytes) -> tuple[int, int, int, int]:
    """(channel, pan id, extended pan id, update id)."""
    channel, pan, extended = nib[24], int.from_bytes(nib[36:38], "little"), int.from_bytes(nib[57:65], "little")
    return channel, pan, extended, nib[114]


@dataclass(slots=True)
class Memory:
    """`items` by legacy number, `tables` by (system, item, sub-item)."""

    network: Network
    items: dict[int, bytes]
    tables: dict[Place, bytes]

    @classmethod
    def blank(cls, network: Network) -> "Memory":
        memory = cls(network, {}, {})
        memory.clear()
        return memory

    def clear(self) -> None:
        """Factory settings."""
        self.items = {
            EXTADDR: self.network.hardware_ieee.to_bytes(8, "little"),
            STARTUP_OPTION: b"\x00",
            **dict.fromkeys((50, 51, 54, 62, 99, LOGICAL_TYPE, 143), b"\x00"),
            0x0030: b"\x1e",
            0x0038: b"\xff",
            NWK_KEY: bytes(24),
            PRECONFIGURED_KEY: bytes(16),
            PAN_ID: b"\xff\xff",
            CHANNELS: ALL_CHANNELS.to_bytes(4, "little"),
            TCLK_SEED: bytes(range(16)),
            LINK_KEY_TABLE: bytes(2 + 6 * ROWS[APS_KEYS]),
        }
        self.tables = {(ZSTACK, item, row): EMPTY[item] for item, rows in ROWS.items() for row in range(rows)}

    def load(self, now: float) -> None:
        """After a restart: the stick is who and where the memory says."""
        if self.items.get(STARTUP_OPTION, b"\x00")[0] & 0x03:
            self.network.leave(now)
            self.network.ieee = self.network.hardware_ieee
            self.clear()
            return
        network = self.network
        own = self.items.setdefault(EXTADDR, network.hardware_ieee.to_bytes(8, "little"))
        network.ieee = int.from_bytes(own, "little")
        nib, key = self.items.get(NIB_ITEM, b""), self.items.get(ACTIVE_KEY, b"")
        if len(nib) != _NIB.size or len(key) < 17 or self.items.get(ON_A_NETWORK) != b"\x01":  # noqa: PLR2004  a key and its number
            return
        channel, pan, extended, update = _read_nib(nib)
        params = network.params or Params(pan, extended, channel, key[1:17])
        network.params = replace(
            params, pan_id=pan, ext_pan_id=extended, channel=channel, update_id=update,
            network_key=key[1:17], key_sequence=key[0],
        )  # fmt: skip
        self._load_tables(extended)

    def _load_tables(self, extended: int) -> None:
        for row in range(ROWS[COUNTERS]):
            counter, owner = _COUNTER.unpack(self.tables.get((ZSTACK, COUNTERS, row), EMPTY[COUNTERS])[:12])
            if owner == extended:
                self.network.frame_counter = max(self.network.frame_counter, counter)
        table = self.items.get(LINK_KEY_TABLE, b"\0\0")
        for at in range(min(int.from_bytes(table[:2], "little"), (len(table) - 2) // 6)):
            address, place, state = _LINK.unpack_from(table, 2 + 6 * at)
            entry, key = self.tables.get((ZSTACK, ADDRESSES, address)), self.tables.get((ZSTACK, APS_KEYS, place))
            if entry and key and state == AUTHENTICATED:
                secret, sent, received = _KEY.unpack(key)
                self.network.link_keys[_ADDRESS.unpack(entry)[2]] = LinkKey(secret, sent, received)

    def store(self) -> None:
        """Write down where the network is, and who is on it."""
        params = self.network.params
        if params is None:
            return
        key = bytes([params.key_sequence]) + params.network_key
        self.items |= {
            NIB_ITEM: pack_nib(params),
            ACTIVE_KEY: key,
            ALTERNATE_KEY: key,
            NWK_KEY: key + bytes(3) + (self.network.frame_counter & 0xFFFF_FFFF).to_bytes(4, "little"),
            ON_A_NETWORK: b"\x01",
            EXTENDED_PAN_ID: params.ext_pan_id.to_bytes(8, "little"),
        }
        counter = self.network.frame_counter & 0xFFFF_FFFF
        self.tables[ZSTACK, COUNTERS, 0] = _COUNTER.pack(counter, params.ext_pan_id)
        self._store_devices()

    def _store_devices(self) -> None:
        ends = {child.ieee for child in self.network.children()}
        links = b""
        for row, (ieee, link) in enumerate(list(self.network.link_keys.items())[: ROWS[ADDRESSES]]):
            nwk = self.network.nwk_of(ieee)
            users = SECURED | (ASSOCIATED if ieee in ends else 0)
            self.tables[ZSTACK, ADDRESSES, row] = _ADDRESS.pack(users, 0xFFFE if nwk is None else nwk, ieee)
            self.tables[ZSTACK, APS_KEYS, row] = _KEY.pack(link.key, link.tx_counter, link.rx_counter)
            links += _LINK.pack(row, row, AUTHENTICATED)
        size = 2 + 6 * ROWS[APS_KEYS]
        self.items[LINK_KEY_TABLE] = ((len(links) // 6).to_bytes(2, "little") + links).ljust(size, b"\0")

    def snapshot(self) -> Json:
        return {
            "items": {str(number): value.hex() for number, value in self.items.items()},
            "tables": [[*place, value.hex()] for place, value in self.tables.items()],
        }

    def restore(self, state: Json) -> None:
        self.items = {int(number): bytes.fromhex(value) for number, value in state["items"].items()}
        self.tables = {(s, i, n): bytes.fromhex(value) for s, i, n, value in state["tables"]}
