"""What simulated devices advertise, octet by octet. PURE. Written from the same public pages as the driver's parsers, apart from them.

BTHome v2 (bthome.io/format, /encryption), Ruuvi data format 5, Eddystone's protocol specification, Apple's Proximity Beacon Specification.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

BTHOME, EDDYSTONE = 0xFCD2, 0xFEAA
APPLE, RUUVI = 0x004C, 0x0499
FLAGS, SERVICES_16, NAME, SERVICE_DATA_16, MANUFACTURER = 0x01, 0x03, 0x09, 0x16, 0xFF
GENERAL_LE_ONLY = b"\x06"


def uuid16(number: int) -> str:
    return f"0000{number:04x}-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True)
class Payload:
    """One advertisement. Keys of `service_data` and `services` are whole UUIDs."""

    name: str = ""
    manufacturer: Mapping[int, bytes] = field(default_factory=dict)
    service_data: Mapping[str, bytes] = field(default_factory=dict)
    services: tuple[str, ...] = ()

    def structures(self) -> Iterator[tuple[int, bytes]]:
        """AD type and data, as on the air (Core Specification Supplement, Part A)."""
        yield FLAGS, GENERAL_LE_ONLY
        numbers = [int(uuid[4:8], 16) for uuid in self.services if uuid == uuid16(int(uuid[4:8], 16))]
        if numbers:
            yield SERVICES_16, b"".join(struct.pack("<H", number) for number in numbers)
        for uuid, data in self.service_data.items():
            yield SERVICE_DATA_16, struct.pack("<H", int(uuid[4:8], 16)) + data
        for company, data in self.manufacturer.items():
            yield MANUFACTURER, struct.pack("<H", company) + data
        if self.name:
            yield NAME, self.name.encode()


def bthome(objects: bytes, name: str = "") -> Payload:
    return Payload(name, service_data={uuid16(BTHOME): b"\x40" + objects})


def sealed_bthome(objects: bytes, address: str, key: bytes, counter: int, name: str = "") -> Payload:
    """Encrypted: the nonce is address, UUID, device info and counter."""
    info, count = b"\x41", struct.pack("<I", counter)
    nonce = bytes.fromhex(address.replace(":", "")) + b"\xd2\xfc" + info + count
    text = AESCCM(key, tag_length=4).encrypt(nonce, objects, None)
    return Payload(name, service_data={uuid16(BTHOME): info + text[:-4] + count + text[-4:]})


def ruuvi(
    temperature: float, humidity: float, pressure: float, millivolts: int, sequence: int, address: str
) -> Payload:
    data = struct.pack(
        ">BhHHhhhHBH",
        5,
        round(temperature * 200),
        round(humidity * 400),
        round(pressure * 100) - 50_000,
        4,
        -4,
        1036,
        (millivolts - 1600) << 5 | 22,
        66,
        sequence,
    )
    return Payload(manufacturer={RUUVI: data + bytes.fromhex(address.replace(":", ""))})


def eddystone_uid(namespace: bytes, instance: bytes) -> Payload:
    return _eddystone(struct.pack("Bb", 0x00, -20) + namespace + instance + b"\x00\x00")


def eddystone_url(scheme: int, text: bytes) -> Payload:
    return _eddystone(struct.pack("BbB", 0x10, -20, scheme) + text)


def eddystone_tlm(millivolts: int, celsius: float, count: int, tenths: int) -> Payload:
    return _eddystone(struct.pack(">BBHhII", 0x20, 0, millivolts, round(celsius * 256), count, tenths))


def _eddystone(frame: bytes) -> Payload:
    return Payload(services=(uuid16(EDDYSTONE),), service_data={uuid16(EDDYSTONE): frame})


def ibeacon(proximity: str, major: int, minor: int) -> Payload:
    return Payload(manufacturer={APPLE: b"\x02\x15" + UUID(proximity).bytes + struct.pack(">HHb", major, minor, -59)})
