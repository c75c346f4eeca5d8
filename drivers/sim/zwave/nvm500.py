"""The memory of a 500-series controller: modules at fixed places (SDK 6.81, static controller), which zwave-js reads. PURE.

A module is its size, its content and a descriptor that names size, kind and version again. What a simulated chip keeps besides stands in
the area that the firmware leaves to its host.
"""

import binascii
import json
import zlib
from typing import TYPE_CHECKING, Any

from drivers.sim.zwave import persistence
from drivers.sim.zwave.serve_network import protocol_information
from drivers.zwave.function_tables import NODES
from drivers.zwave.functions import BY_NAME, encode_response

if TYPE_CHECKING:
    from drivers.sim.zwave.stick import Stick

MOST_NODES = 232
LIBRARY, APPLICATION, HOST_APPLICATION, DESCRIPTOR = 2, 4, 5, 0xFF  # kinds of modules
VALID, REALLY_VALID, ROUTE_CACHE_VALID, MAGIC = 84, 165, 74, 66
NODE_SIZE, ROUTE_SIZE = 5, 5
RESERVED_IN_MASK = 3  # bytes after the masks of repeaters and of discoveries
TIMERS = 10 * 16
UPDATES, UPDATE_SIZE = 64, 22
NO_UPDATE = 254
MOST_CLASSES = 35
CHANNELS = 3
HOST_SIZE = 2048
OURS = b"ZWSIM2"
_SIZE, _CRC = 2, 4
_CONFIGURATION, _SIS = 0x08, 0x20  # real primary; SIS in the network


def image(stick: "Stick") -> bytes:
    """The whole memory."""
    library = _module(LIBRARY, _library(stick), stick.profile.firmware)
    application = _module(APPLICATION, _application(stick), stick.profile.firmware)
    host = _module(HOST_APPLICATION, _host(stick), stick.profile.firmware)
    manufacturer, kind, product = stick.profile.product
    words = b"".join(number.to_bytes(2, "big") for number in (manufacturer, 0, kind, product))
    versions = bytes(stick.profile.firmware[:2])
    about = _module(DESCRIPTOR, words + versions + versions, stick.profile.firmware)
    modules = library + application + host + about + bytes(2)  # a module of no size ends them
    end = len(modules) + 2 - 1
    return (end.to_bytes(2, "big") + modules).ljust(stick.profile.nvm, b"\xff")


def _module(kind: int, content: bytes, version: tuple[int, int, int]) -> bytes:
    size = (len(content) + 7).to_bytes(2, "big")
    return size + content + size + bytes((kind, *version[:2]))


def _library(stick: "Stick") -> bytes:
    network = stick.network
    ids = [network.own, *(node.id for node in network.members())]
    identity = bytes(4) + network.home_id + b"\xff" * 4 + bytes(4) + bytes((network.own, VALID, REALLY_VALID, 0))
    masks = bytes(2 * (NODES + RESERVED_IN_MASK)) + bytes(TIMERS)
    suc = bytes((network.sis,)) + bytes(NODES) + bytes((0,)) + bytes(UPDATES * UPDATE_SIZE)
    suc += bytes((NO_UPDATE,)) * MOST_NODES + bytes((0,)) + bytes(2 * NODES)
    configuration = _CONFIGURATION | (_SIS if network.sis == network.own else 0)
    numbers = bytes((configuration, max(ids), 0))
    routes = _routes(stick) + bytes(MOST_NODES * ROUTE_SIZE) + bytes((ROUTE_CACHE_VALID,)) + bytes(NODES)
    nodes = _nodes(stick, ids) + _neighbors(stick, ids) + bytes((network.last_id,))
    security_key, system_state = bytes(16), b"\0"
    return identity + masks + nodes + suc + numbers + routes + security_key + system_state


def _nodes(stick: "Stick", ids: list[int]) -> bytes:
    table = bytearray(MOST_NODES * NODE_SIZE)
    for number in ids:
        values = protocol_information(stick, number)
        told = encode_response(BY_NAME["GetNodeProtocolInfo"].id, values)[:3]
        entry = told + bytes((values["generic"], values["specific"]))
        table[(number - 1) * NODE_SIZE : number * NODE_SIZE] = entry
    return bytes(table)


def _neighbors(stick: "Stick", ids: list[int]) -> bytes:
    table = bytearray(MOST_NODES * NODES)
    for number in ids:
        for other in stick.network.neighbors(number):
            table[(number - 1) * NODES + (other - 1) // 8] |= 1 << (other - 1) % 8
    return bytes(table)


def _routes(stick: "Stick") -> bytes:
    """Routes that the host has set; the chip keeps them as the last ones that worked."""
    table = bytearray(MOST_NODES * ROUTE_SIZE)
    for number, (repeaters, speed) in stick.priority_routes.items():
        table[(number - 1) * ROUTE_SIZE : number * ROUTE_SIZE] = repeaters[:4].ljust(4, b"\0") + bytes((speed,))
    return bytes(table)


def _application(stick: "Stick") -> bytes:
    classes = stick.information[2][:MOST_CLASSES]
    powers = b"\xff" * CHANNELS * 2
    power_mode = bytes((0, 1)) + bytes(4)
    return bytes((MAGIC, len(classes))) + classes.ljust(MOST_CLASSES, b"\xff") + b"\0" + powers + power_mode


def _host(stick: "Stick") -> bytes:
    """A network that is too large for it is cut off, and then does not restore."""
    packed = zlib.compress(json.dumps(persistence.pack_chip(stick), sort_keys=True).encode(), 9)
    head = OURS + len(packed).to_bytes(_SIZE, "big")
    return (head + packed + binascii.crc32(packed).to_bytes(_CRC, "big"))[:HOST_SIZE].ljust(HOST_SIZE, b"\xff")


def state(data: bytes) -> dict[str, Any] | None:
    """What `image` kept of ours; None for what is none."""
    start = data.find(OURS) + len(OURS)
    size = int.from_bytes(data[start : start + _SIZE], "big")
    packed = data[start + _SIZE : start + _SIZE + size]
    check = data[start + _SIZE + size : start + _SIZE + size + _CRC]
    if start < len(OURS) or binascii.crc32(packed) != int.from_bytes(check, "big"):
        return None
    found: dict[str, Any] = json.loads(zlib.decompress(packed))
    return found
