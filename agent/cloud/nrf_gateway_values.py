"""What a gateway of nRF Cloud tells of GATT and of adverts: trees of services, attributes by path, results of scans. PURE.

Protocol notes, section 5.3. A path is (service, characteristic[, descriptor]), each a UUID as nRF Cloud has it. Where a service has a
characteristic twice, or a device a service, the first is meant: the protocol has no other name for them.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.cloud.nrf_gateway import GatewayDialect
from agent.gatt import Advert, Characteristic, Service
from agent.wire import nrf_gateway as wire

# The descriptor that turns notifications on: BlueZ keeps it to itself, and does it for us.
CLIENT_CONFIGURATION = "2902"
# Of one tree, so that a message is within AWS IoT Core's 128 KiB: an octet as a number is up to four characters.
MOST_VALUES = 8192  # octets
MOST_ATTRIBUTES = 250  # characteristics and descriptors; those beyond can be used, and are not told
LONGEST_ADVERT = 255  # octets; more is not told
_PROPERTIES = {  # nRF Cloud's word -> BlueZ's
    "read": "read",
    "write": "write",
    "notify": "notify",
    "indicate": "indicate",
    "write_without_response": "write-without-response",
    "authorized_signed_write": "authenticated-signed-writes",
    "broadcast": "broadcast",
}
_APPLE, _IBEACON, _EDDYSTONE = 0x004C, b"\x02\x15", "FEAA"
# AD types (Assigned Numbers, 2.3)
_NAME, _SERVICES_16, _SERVICES_128, _DATA_16, _DATA_128, _MANUFACTURER = 0x09, 0x03, 0x07, 0x16, 0x21, 0xFF

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A characteristic by its path, and its descriptors by theirs: nRF Cloud's UUID -> the whole one."""

    path: Path
    characteristic: Characteristic
    descriptors: Mapping[str, str]


def places(services: tuple[Service, ...]) -> list[Place]:
    """All characteristics, in their order."""
    found: dict[Path, Place] = {}
    for service in services:
        for one in service.characteristics:
            path = (wire.uuid(service.uuid), wire.uuid(one.uuid))
            own = {wire.uuid(descriptor.uuid): descriptor.uuid for descriptor in one.descriptors}
            if one.flags & {"notify", "indicate"}:
                own[CLIENT_CONFIGURATION] = ""
            found.setdefault(path, Place(path, one, own))
    return list(found.values())


def tree(found: list[Place], values: Mapping[Path, bytes], dialect: GatewayDialect) -> wire.Services:
    """Services with their characteristics and descriptors; values that a message has no room for are told empty."""
    room, left = MOST_VALUES, MOST_ATTRIBUTES
    nodes: wire.Services = {}
    for place in found:
        paths = [place.path, *((*place.path, name) for name in place.descriptors)]
        left -= len(paths)
        if left < 0:
            break
        told: dict[Path, bytes] = {}
        for path in paths:
            value = values.get(path, b"")
            told[path] = value if len(value) <= room else b""
            room -= len(told[path])
        own = attribute(place.path, told[place.path], dialect)
        descriptors = {path[2]: attribute(path, told[path], dialect) for path in paths[1:]}
        service = nodes.setdefault(place.path[0], wire.ServiceNode(uuid=place.path[0], characteristics={}))
        service.characteristics[own.uuid] = wire.CharacteristicNode(
            uuid=own.uuid,
            path=own.path,
            value=own.value,
            properties=_properties(place.characteristic),
            descriptors=descriptors,
        )
    return nodes


def attribute(path: Path, value: bytes, dialect: GatewayDialect) -> wire.Attribute:
    return wire.Attribute(uuid=path[-1], path="/".join(path), value=dialect.octets(value))


def _properties(one: Characteristic) -> wire.Properties:
    return wire.Properties(**{name: True for name, flag in _PROPERTIES.items() if flag in one.flags})


# ---- adverts --------------------------------------------------------------------------------------------------------


def is_beacon(advert: Advert) -> bool:
    """An iBeacon, or an Eddystone of any kind."""
    ibeacon = advert.manufacturer.get(_APPLE, b"").startswith(_IBEACON)
    return ibeacon or any(wire.uuid(name) == _EDDYSTONE for name in (*advert.service_data, *advert.services))


def scan_result(advert: Advert, dialect: GatewayDialect) -> wire.ScanResult:
    """The LTE gateway tells neither services nor data."""
    told = wire.ScanResult(
        name=advert.name or None,
        rssi=advert.rssi,
        address=dialect.found(advert.address, advert.address_type),
    )
    if dialect.told_once:
        return told
    services = [wire.uuid(one) for one in advert.services]
    data = octets(advert)
    told_data = list(data) if 0 < len(data) <= LONGEST_ADVERT else None
    return told.model_copy(update={"service_uuids": services or None, "advertisement_data": told_data})


def octets(advert: Advert) -> bytes:
    """An advertisement with this content: BlueZ parses them, and gives nobody the octets that were in the air."""
    return b"".join(
        bytes((len(data) + 1, kind)) + data
        for kind, data in _structures(advert)
        if len(data) < 0xFF  # noqa: PLR2004
    )


def _structures(advert: Advert) -> Iterator[tuple[int, bytes]]:
    """AD structures: type and data (Core Specification Supplement, Part A, 1)."""
    if advert.name:
        yield _NAME, advert.name.encode()
    for kind, size in ((_SERVICES_16, 2), (_SERVICES_128, 16)):
        listed = b"".join(_little(one) for one in advert.services if len(_little(one)) == size)
        if listed:
            yield kind, listed
    for name, data in advert.service_data.items():
        yield (_DATA_16 if len(_little(name)) == 2 else _DATA_128), _little(name) + data  # noqa: PLR2004  octets
    for company, data in advert.manufacturer.items():
        yield _MANUFACTURER, struct.pack("<H", company) + data


def _little(name: str) -> bytes:
    """A UUID as it is in the air."""
    return bytes.fromhex(wire.uuid(name))[::-1]
