"""Bluetooth devices that take firmware, on a simulated BlueZ, and files for them."""

import binascii
import hashlib
import io
import json
import random
import struct
import zipfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.driver import UpdatesFirmware
from agent.model import DeviceFound, Discovery
from drivers.sim.ble.firmware import Firmware
from drivers.sim.ble.peripheral import Fault, Peripheral
from tests.ble_rig import BleRig, device
from tests.conformance.driver_contract import JOIN, Watched, running
from tests.firmware_rig import updater

SMP, DFU, MOVING, PLAIN = "A4:C1:38:00:01:01", "A4:C1:38:00:01:11", "A4:C1:38:00:01:21", "A4:C1:38:00:01:31"
BOOT = "A4:C1:38:00:01:22"  # the boot loader of MOVING
OLD, NEW = 0x01000000, 0x01020003
NEW_VERSION = "1.2.3"
MAKER, MODEL, DFU_MODEL = "Simulated", "U-1", "D-1"
DEVICES = [
    device("smp", "smp-lamp", SMP, firmware={"restart": 0.1}),
    device("dfu", "dfu-lamp", DFU, firmware={"restart": 0.1}),
    device("moving", "dfu-lamp", MOVING, firmware={"restart": 0.1, "moves": True}),
    device("plain", "gatt-lamp", PLAIN),
]


def body(size: int = 3000, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def mcuboot(content: bytes = b"", version: str = NEW_VERSION, *, header: int = 512, kind: int = 0x10) -> bytes:
    """An image with a trailer of one hash."""
    content = content or body()
    major, minor, revision = map(int, version.split("."))
    told = struct.pack("<IIHHIIBBHI4x", 0x96F3B83D, 0, header, 0, len(content), 0, major, minor, revision, 0)
    whole = told.ljust(header, b"\xff") + content
    name = {0x10: "sha256", 0x11: "sha384", 0x12: "sha512"}[kind]
    digest = hashlib.new(name, whole).digest()
    entry = struct.pack("<HH", kind, len(digest)) + digest
    return whole + struct.pack("<HH", 0x6907, 4 + len(entry)) + entry


def application(version: str = NEW_VERSION, size: int = 900) -> bytes:
    """What the simulated boot loader takes: the version stands in it."""
    return f"version={version};".encode() + body(size)


def init_packet(image: bytes, device_type: int = 0x0052) -> bytes:
    return struct.pack("<HHIHHH", device_type, 0xFFFF, 1, 1, 0xFFFE, binascii.crc_hqx(image, 0xFFFF))


def package(image: bytes = b"", init: bytes | None = None, **changes: Any) -> bytes:
    """A zip file as nrfutil makes it. `changes`: members, None leaves one out."""
    image = image or application()
    manifest = {"manifest": {"application": {"bin_file": "app.bin", "dat_file": "app.dat"}, "dfu_version": 0.5}}
    members: dict[str, bytes | None] = {
        "manifest.json": json.dumps(manifest).encode(),
        "app.bin": image,
        "app.dat": init_packet(image) if init is None else init,
        **changes,
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)
    return file.getvalue()


class UpdateRig(BleRig):
    """`devices` that join in a window."""

    key = SMP

    def __init__(self, folder: Path, devices: list[dict[str, Any]] | None = None, **settings: Any) -> None:
        spec = {"devices": DEVICES if devices is None else devices, "latency": 0.001}
        super().__init__(folder, spec, **{"update_restart": 5, "connect_timeout": 1, **settings})

    def peripheral(self, key: str) -> Peripheral:
        return self.simulation.world.peripherals[key]

    def updated(self, key: str) -> Firmware:
        found = self.peripheral(key).updates
        assert found is not None
        return found

    def spoil(self, key: str, step: str, kind: str = "vanish", seconds: float = 0.1) -> None:
        """The next time, this step goes wrong."""
        self.peripheral(key).faults.setdefault(step, deque()).append(Fault(kind, seconds))

    def file(self, content: bytes, name: str = "it.bin") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    async def join_all(self, watched: Watched, *keys: str) -> None:
        await watched.driver.discover(Discovery("d1", self.kind, 60))
        for key in keys:
            await self.control("pair", key)
            await watched.wait(DeviceFound, lambda found, key=key: found.device.id.key == key, timeout=JOIN)  # type: ignore[misc]
        await watched.driver.stop_discovery()


@asynccontextmanager
async def house(
    folder: Path, *keys: str, devices: list[dict[str, Any]] | None = None, **settings: Any
) -> AsyncIterator[tuple[UpdateRig, Watched, UpdatesFirmware]]:
    """A simulated BlueZ, these devices joined, and the driver running."""
    rig = UpdateRig(folder, devices, **settings)
    await rig.start()
    try:
        async with running(rig.driver()) as watched:
            await rig.join_all(watched, *keys)
            yield rig, watched, updater(watched)
    finally:
        await rig.close()
