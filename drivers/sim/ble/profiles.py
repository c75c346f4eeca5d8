"""Kinds of simulated peripherals: what each advertises, and which GATT services it has. PURE."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from drivers.ble.smp import CHARACTERISTIC as SMP_CHARACTERISTIC
from drivers.ble.smp import SERVICE as SMP_SERVICE
from drivers.sim.ble import dfu_target, payloads
from drivers.sim.ble.firmware import APPLICATION
from drivers.sim.ble.payloads import Payload, uuid16

VENDOR_SERVICE, VENDOR_BUFFER = "6e400001-b5a3-f393-e0a9-e50e24dcca9e", "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
PROXIMITY = "f7826da6-4fa2-4e98-8024-bc5b71e0893e"


class Own(Protocol):
    """What a profile reads of the peripheral that it is for."""

    address: str
    name: str
    bindkey: bytes
    values: dict[str, Any]
    sequence: int  # counts what was said newly


Say = Callable[[Own], Payload]
Read = Callable[[Mapping[str, Any]], bytes]
Write = Callable[[dict[str, Any], bytes], None]


@dataclass(frozen=True, slots=True)
class Char:
    """One characteristic. `follows`: values whose change it notifies; `every`: seconds between notifications by itself.

    `serves`: what is written to it is for the part of the device that takes firmware, which also says what is notified.
    """

    uuid: str
    flags: tuple[str, ...]
    read: Read
    write: Write | None = None
    follows: tuple[str, ...] = ()
    every: float = 0.0
    descriptors: tuple[tuple[str, bytes], ...] = ()
    serves: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """`values`: what it starts with; `turns`: payloads that follow each other where it says several things.

    `updates`: how it takes firmware, "smp" or "dfu"; its version is in the value `firmware`.
    """

    say: tuple[Say, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    services: tuple[tuple[str, tuple[Char, ...]], ...] = ()
    updates: str = ""


def _text(number: int, text: str) -> Char:
    return Char(uuid16(number), ("read",), lambda _: text.encode())


def _gatt_advert(*numbers: int) -> tuple[Say, ...]:
    services = tuple(uuid16(number) for number in numbers)
    return (lambda own: Payload(own.name, services=services),)


def _thermometer(own: Own) -> Payload:
    v = own.values
    objects = struct.pack(
        "<BBBBBhBH", 0x00, own.sequence & 0xFF, 0x01, v["battery"], 0x02, v["temperature"], 0x03, v["humidity"]
    )
    return payloads.bthome(objects, own.name)


def _button(own: Own) -> Payload:
    objects = struct.pack("<BBBB", 0x01, own.values["battery"], 0x3A, own.values["button"])
    return payloads.sealed_bthome(objects, own.address, own.bindkey, own.sequence, own.name)


def _ruuvi(own: Own) -> Payload:
    v = own.values
    return payloads.ruuvi(
        v["temperature"] / 100, v["humidity"] / 100, v["pressure"], v["voltage"], own.sequence & 0xFFFF, own.address
    )


def _tlm(own: Own) -> Payload:
    v = own.values
    return payloads.eddystone_tlm(v["voltage"], v["temperature"] / 100, own.sequence, own.sequence * 10)


def _set_lamp(values: dict[str, Any], data: bytes) -> None:
    if data:
        values["on"] = data[0] & 0b11 == 0b01


def _keep_buffer(values: dict[str, Any], data: bytes) -> None:
    values["buffer"] = data.hex()


_BATTERY = (
    uuid16(0x180F),
    (Char(uuid16(0x2A19), ("read", "notify"), lambda v: bytes((v["battery"],)), follows=("battery",)),),
)
_ABOUT = (uuid16(0x180A), (_text(0x2A29, "Simulated"), _text(0x2A24, "S-1"), _text(0x2A26, "1.2.3")))
_LAMP = Char(
    uuid16(0x2A56),
    ("read", "write", "notify"),
    lambda v: b"\x01" if v["on"] else b"\x00",
    _set_lamp,
    ("on",),
    descriptors=((uuid16(0x2909), b"\x01"),),
)
_BUFFER = Char(
    VENDOR_BUFFER,
    ("read", "write", "write-without-response", "notify"),
    lambda v: bytes.fromhex(v["buffer"]),
    _keep_buffer,
    ("buffer",),
    descriptors=((uuid16(0x2901), b"buffer"),),
)
_HEART = Char(uuid16(0x2A37), ("notify",), lambda v: struct.pack("<BB", 0x00, v["rate"]), follows=("rate",), every=0.5)
_CLIMATE = (
    Char(uuid16(0x2A6E), ("read", "notify"), lambda v: struct.pack("<h", v["temperature"]), follows=("temperature",)),
    Char(uuid16(0x2A6F), ("read", "notify"), lambda v: struct.pack("<H", v["humidity"]), follows=("humidity",)),
    Char(uuid16(0x2A6D), ("read",), lambda v: struct.pack("<I", v["pressure"] * 1000)),
)


def _about(model: str) -> tuple[str, tuple[Char, ...]]:
    """Of a device that takes firmware."""
    version = Char(uuid16(0x2A26), ("read",), lambda v: v["firmware"].encode())
    return (uuid16(0x180A), (_text(0x2A29, "Simulated"), _text(0x2A24, model), version))


_SMP = (SMP_SERVICE, (Char(SMP_CHARACTERISTIC, ("write-without-response", "notify"), lambda _: b"", serves=True),))
_DFU = (
    dfu_target.SERVICE,
    (
        Char(dfu_target.CONTROL, ("write", "notify"), lambda _: b"", serves=True),
        Char(dfu_target.PACKET, ("write-without-response",), lambda _: b"", serves=True),
        Char(dfu_target.REVISION, ("read",), lambda v: dfu_target.revision(v["mode"])),
    ),
)
_UPDATED = {"on": False, "battery": 70, "firmware": "1.0.0", "mode": APPLICATION}
BOOT = Profile((lambda _: Payload("DfuTarg", services=(dfu_target.SERVICE,)),), services=(_DFU,))

PROFILES: Mapping[str, Profile] = {
    "bthome-thermometer": Profile((_thermometer,), {"temperature": 2150, "humidity": 4500, "battery": 91}),
    "bthome-button": Profile((_button,), {"battery": 80, "button": 0}),
    "ruuvi": Profile((_ruuvi,), {"temperature": 2430, "humidity": 5349, "pressure": 1000, "voltage": 2977}),
    "eddystone": Profile(
        (
            lambda _: payloads.eddystone_uid(bytes(range(10)), bytes(6)),
            lambda _: payloads.eddystone_url(3, b"example\x07"),
            _tlm,
        ),
        {"voltage": 2900, "temperature": 2200},
    ),
    "ibeacon": Profile((lambda _: payloads.ibeacon(PROXIMITY, 1, 2),)),
    "gatt-lamp": Profile(
        _gatt_advert(0x1815),
        {"on": False, "battery": 70, "buffer": "00"},
        ((uuid16(0x1815), (_LAMP,)), _BATTERY, _ABOUT, (VENDOR_SERVICE, (_BUFFER,))),
    ),
    "smp-lamp": Profile(
        _gatt_advert(0x1815), _UPDATED, ((uuid16(0x1815), (_LAMP,)), _BATTERY, _about("U-1"), _SMP), updates="smp"
    ),
    "dfu-lamp": Profile(
        _gatt_advert(0x1815), _UPDATED, ((uuid16(0x1815), (_LAMP,)), _BATTERY, _about("D-1"), _DFU), updates="dfu"
    ),
    "heart-rate": Profile(
        _gatt_advert(0x180D), {"rate": 61, "battery": 55}, ((uuid16(0x180D), (_HEART,)), _BATTERY, _ABOUT)
    ),
    "gatt-climate": Profile(
        _gatt_advert(0x181A),
        {"temperature": 2100, "humidity": 5000, "pressure": 1013, "battery": 60},
        ((uuid16(0x181A), _CLIMATE), _BATTERY, _ABOUT),
    ),
}
