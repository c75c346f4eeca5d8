"""The files of an 800-series controller in its NVM3 store, as far as a simulated one has something to say. PURE.

Layouts as the controller SDK 7.23 has them (file system format 5), which zwave-js reads. A file of our own keeps what has no place there.
"""

import json
import zlib
from typing import TYPE_CHECKING, Any

from drivers.sim.zwave import nvm3, persistence
from drivers.sim.zwave.serve_network import protocol_information
from drivers.zwave.function_tables import NODES
from drivers.zwave.functions import BY_NAME, FIRST_LONG_RANGE, encode_response

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Stick

APPLICATION_TYPE, APPLICATION_CLASSES, RADIO = 0x66, 0x67, 0x68
APPLICATION_VERSION = 0x41000
PROTOCOL_VERSION, REPEATERS, CONTROLLER, NODE_LIST = 0x50000, 0x50002, 0x50004, 0x50005
NODE_MASKS = range(0x50006, 0x5000C)  # route locks, SUC updates, virtual nodes, discovery, routes: all empty here
LONG_RANGE_LIST = 0x5000C
NODE_FILES, LONG_RANGE_FILES = 0x50200, 0x50800
OURS = 0x0F000

FORMAT = 5
NODES_PER_FILE, NODE_SIZE = 4, 35
LONG_RANGE_PER_FILE, LONG_RANGE_SIZE = 50, 3
LONG_RANGE_MASK = 128
MOST_CLASSES = 35
_LISTENING, _SPECIFIC, _BEAMING, _FREQUENT = 0x02, 0x04, 0x08, 0x40
_WIDE, _NARROW = 2, 1


def image(stick: "Stick") -> bytes:
    """The whole store."""
    return nvm3.encode(files(stick), stick.profile.nvm)


def files(stick: "Stick") -> dict[int, bytes]:
    """Contents by file id."""
    network = stick.network
    ids = [network.own, *(node.id for node in network.members())]
    version = bytes((*reversed(stick.profile.firmware), FORMAT))
    generic, specific, classes = stick.information
    supported = classes[:MOST_CLASSES]
    power, measured = stick.powers["mesh"]
    radio = bytes((stick.region,)) + _signed(power) + _signed(measured) + b"\0" + _signed(stick.powers["long_range"][0])
    found = {
        APPLICATION_VERSION: version,
        PROTOCOL_VERSION: version,
        APPLICATION_TYPE: bytes((1, generic, specific)),
        APPLICATION_CLASSES: (bytes((len(supported),)) + supported).ljust(1 + MOST_CLASSES, b"\0")
        + bytes(2 * (1 + MOST_CLASSES)),
        RADIO: radio + bytes((_WIDE if stick.context.wide else _NARROW,)),
        REPEATERS: bytes(NODES),
        CONTROLLER: _controller(stick, ids),
        NODE_LIST: _mask([number for number in ids if number < FIRST_LONG_RANGE], 1, NODES),
        LONG_RANGE_LIST: _mask(
            [number for number in ids if number >= FIRST_LONG_RANGE], FIRST_LONG_RANGE, LONG_RANGE_MASK
        ),
        **dict.fromkeys(NODE_MASKS, bytes(NODES)),
        **_node_files(stick, [number for number in ids if number < FIRST_LONG_RANGE]),
        **_long_range_files(stick),
    }
    state = json.dumps(persistence.pack_chip(stick), sort_keys=True)
    return {**found, OURS: zlib.compress(state.encode(), 9)}


def _signed(value: int) -> bytes:
    return value.to_bytes(2, "little", signed=True)


def _mask(numbers: list[int], first: int, size: int) -> bytes:
    out = bytearray(size)
    for number in numbers:
        out[(number - first) // 8] |= 1 << (number - first) % 8
    return bytes(out)


def _controller(stick: "Stick", ids: list[int]) -> bytes:
    network = stick.network
    last_long_range = max((number for number in ids if number >= FIRST_LONG_RANGE), default=0)
    most = max(number for number in ids if number < FIRST_LONG_RANGE)
    words = [part.to_bytes(2, "little") for part in (network.own, network.sis, last_long_range)]
    head = network.home_id + b"".join(words) + bytes((network.last_id, 0))
    configuration = 0x28 if network.sis == network.own else 0x08  # real primary, and SIS where it is
    middle = last_long_range.to_bytes(2, "little") + bytes((most, configuration)) + bytes(2)
    return head + middle + bytes((0, 0, stick.long_range_channel, 0xFF))


def _node_files(stick: "Stick", ids: list[int]) -> dict[int, bytes]:
    found: dict[int, bytearray] = {}
    for number in ids:
        values = protocol_information(stick, number)
        told = encode_response(BY_NAME["GetNodeProtocolInfo"].id, values)
        neighbors = _mask([other for other in stick.network.neighbors(number) if other < FIRST_LONG_RANGE], 1, NODES)
        entry = told[:3] + bytes((values["generic"], values["specific"])) + neighbors + b"\0"
        place, at = divmod(number - 1, NODES_PER_FILE)
        file = found.setdefault(NODE_FILES + place, bytearray(b"\xff" * NODES_PER_FILE * NODE_SIZE))
        file[at * NODE_SIZE : (at + 1) * NODE_SIZE] = entry
    return {key: bytes(file) for key, file in found.items()}


def _long_range_files(stick: "Stick") -> dict[int, bytes]:
    found: dict[int, bytearray] = {}
    for node in stick.network.members():
        if node.id < FIRST_LONG_RANGE:
            continue
        place, at = divmod(node.id - FIRST_LONG_RANGE, LONG_RANGE_PER_FILE)
        flags = _SPECIFIC | _BEAMING | (_LISTENING if node.listening else 0)
        flags |= _FREQUENT if node.profile.power == "beam" else 0
        file = found.setdefault(LONG_RANGE_FILES + place, bytearray(b"\xff" * LONG_RANGE_PER_FILE * LONG_RANGE_SIZE))
        entry = bytes((flags, node.root.part.generic, node.root.part.specific))
        file[at * LONG_RANGE_SIZE : (at + 1) * LONG_RANGE_SIZE] = entry
    return {key: bytes(file) for key, file in found.items()}


def state(data: bytes) -> dict[str, Any] | None:
    """What `files` kept of ours in an image; None for what is none."""
    try:
        found: dict[str, Any] = json.loads(zlib.decompress(nvm3.decode(data)[OURS]))
    except (nvm3.StoreError, KeyError, zlib.error, ValueError):
        return None
    return found
