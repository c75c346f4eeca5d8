"""Zigbee devices that take firmware, behind a simulated stick, and files for them."""

import random
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.driver import UpdatesFirmware
from agent.model import DeviceFound, Discovery, RadioUp
from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.server import start
from tests.conformance.driver_contract import JOIN, START, Watched, running
from tests.conformance.zigbee_rig import ZigbeeRig
from tests.firmware_rig import updater

MANUFACTURER, IMAGE_TYPE, OLD, NEW = 4476, 8454, 10, 20
QUICK = {"manufacturer": MANUFACTURER, "image_type": IMAGE_TYPE, "version": OLD, "retry": 0.25, "restart": 0.05}


def body(size: int = 500, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def element(tag: int, data: bytes) -> bytes:
    return struct.pack("<HI", tag, len(data)) + data


def image(
    content: bytes = b"",
    *,
    version: int = NEW,
    manufacturer: int = MANUFACTURER,
    image_type: int = IMAGE_TYPE,
    hardware: tuple[int, int] | None = None,
    security: int | None = None,
    destination: int | None = None,
    elements: bytes | None = None,
) -> bytes:
    """A file as the ZCL has it, with one sub-element of `content`."""
    optional, control = b"", 0
    if security is not None:
        optional, control = optional + struct.pack("<B", security), control | 1
    if destination is not None:
        optional, control = optional + struct.pack("<Q", destination), control | 2
    if hardware is not None:
        optional, control = optional + struct.pack("<HH", *hardware), control | 4
    rest = element(0, content or body()) if elements is None else elements
    length = 56 + len(optional)
    fixed = struct.pack("<IHHHHHIH", 0x0BEEF11E, 0x0100, length, control, manufacturer, image_type, version, 2)
    return fixed + b"simulated".ljust(32, b"\0") + struct.pack("<I", length + len(rest)) + optional + rest


def bulb(name: str = "bulb", number: int = 1, **firmware: Any) -> dict[str, Any]:
    """A mains device that takes firmware; `profile` and `poll` make it another one."""
    more = {key: firmware.pop(key) for key in ("profile", "poll", "count") if key in firmware}
    ieee = f"00:12:4b:00:01:00:01:{number:02x}"
    return {"name": name, "profile": "dimmable-bulb", "ieee": ieee, **more, "firmware": {**QUICK, **firmware}}


def key(number: int = 1) -> str:
    return f"00:12:4b:00:01:00:01:{number:02x}"


class OtaRig(ZigbeeRig):
    """`devices` join as soon as the window opens."""

    def __init__(self, folder: Path, devices: Sequence[dict[str, Any]], stick: str = "znp", **settings: Any) -> None:
        super().__init__(folder, stick, **{"update_interval": 0.0, "update_patience": 5.0, **settings})
        self.devices = list(devices)

    async def start(self) -> None:
        spec = {"kind": "zigbee", "stick": self.stick, "ieee": "00:12:4b:00:00:00:aa:01", "devices": self.devices}
        state = self.folder / "sim.json"
        self._simulation = await start("zigbee", spec, link=self.folder / "zb", state=state, faults="", seed=1)

    @property
    def count(self) -> int:
        return sum(device.get("count", 1) for device in self.devices)

    def node(self, name: str = "bulb") -> Node:
        found = self.simulation.network.named(name)
        assert found is not None
        return found

    def version(self, name: str = "bulb") -> int:
        client = self.node(name).ota
        assert client is not None
        return client.firmware.version

    def file(self, content: bytes, name: str = "it.ota") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Watched]:
        async with running(self.driver()) as watched:
            yield watched

    async def start_driver(self) -> Watched:
        """A driver that is up; whoever asked for it stops it."""
        watched = Watched(self.driver())
        await watched.wait(RadioUp, timeout=START)
        return watched

    async def join_all(self, watched: Watched) -> None:
        await watched.driver.discover(Discovery("d1", self.kind, 60))
        for node in self.simulation.network.nodes.values():
            await self.control("pair", node.name)
        found: set[str] = set()

        def new(event: DeviceFound) -> bool:
            found.add(event.device.id.key)
            return len(found) == self.count

        await watched.wait(DeviceFound, new, timeout=JOIN)
        await watched.driver.stop_discovery()


@asynccontextmanager
async def house(
    folder: Path, *devices: dict[str, Any], stick: str = "znp", **settings: Any
) -> AsyncIterator[tuple[OtaRig, Watched, UpdatesFirmware]]:
    """A simulated stick, its devices joined, and the driver running."""
    rig = OtaRig(folder, devices, stick, **settings)
    await rig.start()
    try:
        async with rig.up() as watched:
            await rig.join_all(watched)
            yield rig, watched, updater(watched)
    finally:
        await rig.close()
