"""Devices that take firmware behind a driver without a radio, as the applier of devices sees them, and releases for them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ota_machine import Machine, Still
from ota_rig import bulb, file

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, DriverLost, Firmware, NotNow, UnknownDevice
from agent.model import DeviceAwake, DeviceId, DriverEvent, RadioUp
from agent.ota.appliers.devices import Devices
from agent.ota.appliers.rollout import Peer, Terms
from agent.ota.campaign_book import CampaignBook
from agent.store import Store

OLD, NEW = 10, 20
QUICK = Terms(deadline=20.0, retry=60.0, again=0.01, look=0.05, radio=1.0)
IMAGE = b"an image that only its maker understands " * 100


@dataclass
class Gadget:
    """`manner` is what becomes of an update: well, refuses, breaks off, sleeps, lies; or silent, which does not say what it runs."""

    version: int = OLD
    manner: str = "well"
    battery: bool = False
    charge: float | None = None
    product: int = 8454
    hardware: int | None = 2
    sent: int = 0  # images
    breaks: int = 99  # times that it breaks off, until it is well


@dataclass
class FakeRadio:
    """A driver of many gadgets; `begun` is told whose turn it is and may wait."""

    name: str
    gadgets: dict[str, Gadget]
    up: bool = True
    order: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    begun: Callable[[str], Any] | None = None
    gives: int = NEW  # version of the image

    async def firmware(self, key: str) -> tuple[Firmware, ...]:
        if not self.up:
            raise DriverLost("the stick is gone")
        gadget = self._gadget(key)
        if gadget.manner == "silent":
            raise NotNow("the device sleeps, and has never said what it runs")
        return (Firmware(4476, gadget.product, gadget.version, hardware=gadget.hardware),)

    async def update_firmware(
        self, key: str, image: Path, *, target: int = 0, progress: Callable[[int, int], None]
    ) -> None:
        gadget = self._gadget(key)
        assert image.read_bytes() == IMAGE
        assert target == 0
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.order.append(key)
            if self.begun is not None:
                await self.begun(key)
            await asyncio.sleep(0)
            self._end(gadget, progress)
        finally:
            self.at_once -= 1

    def _end(self, gadget: Gadget, progress: Callable[[int, int], None]) -> None:
        trouble: dict[str, DriverError] = {
            "refuses": DeviceRefused("the device does not take the image (INVALID_IMAGE)"),
            "sleeps": NotNow("the device sleeps"),
            "away": DeviceUnreachable("the device did not answer"),
        }
        if gadget.manner in trouble:
            raise trouble[gadget.manner]
        progress(1, 2)
        gadget.sent += 1
        if gadget.manner == "breaks off" and gadget.breaks:
            gadget.breaks -= 1
            raise DeviceUnreachable("it took 1 of 2 bytes")
        gadget.version = self.gives if gadget.manner != "lies" else OLD
        progress(2, 2)

    def _gadget(self, key: str) -> Gadget:
        if key not in self.gadgets:
            raise UnknownDevice(f"no device {key}")
        return self.gadgets[key]


class FakeHome:
    def __init__(self, *radios: FakeRadio, kind: str = "zigbee", updates: bool = True) -> None:
        self.all = {radio.name: radio for radio in radios}
        self.kind, self.able = kind, updates
        self.listeners: set[Callable[[DriverEvent], None]] = set()

    def radios(self, kind: str) -> list[str]:
        return list(self.all) if kind == self.kind else []

    def updates(self, _kind: str) -> bool:
        return self.able

    def driver(self, radio: str) -> Any:
        return self.all[radio] if self.all[radio].up else None

    def devices(self, radio: str) -> list[Peer]:
        found = self.all[radio].gadgets.items()
        return [Peer(DeviceId(radio, key), (f"zb.{key}",), one.battery, one.charge) for key, one in found]

    @contextmanager
    def hear(self, listener: Callable[[DriverEvent], None]) -> Iterator[None]:
        self.listeners.add(listener)
        try:
            yield
        finally:
            self.listeners.discard(listener)

    def say(self, event: DriverEvent) -> None:
        for listener in list(self.listeners):
            listener(event)

    def wake(self, radio: str, key: str) -> None:
        self.say(DeviceAwake(DeviceId(radio, key)))

    def plug(self, radio: str) -> None:
        self.all[radio].up = True
        self.say(RadioUp(radio, "a stick"))


class Fleet(Machine):
    """A hub with devices of one kind; each life is a process of its own, on the same database."""

    def __init__(self, folder: Path, home: Any, terms: Terms = QUICK) -> None:
        super().__init__(folder)
        self.home, self.device_terms = home, terms

    def prepare(self, store: Store) -> None:
        folder = self.state / "ota" / "devices"
        kind = self.home.kind
        book = CampaignBook(store, Still(), kind)
        self.appliers = {kind: Devices(kind, folder, book, self.home, self.device_terms)}

    def release(self, number: int = 7, image: bytes = IMAGE, **changes: Any) -> dict[str, Any]:
        made = bulb(**{"files": [file("bulb.ota", image)], "requires": [], "file_version": NEW, **changes})
        return self.offer_files(number, images={"bulb.ota": image}, components=[made], release=f"{number}.0")


def radio(count: int = 0, name: str = "zigbee", **gadgets: Gadget) -> FakeRadio:
    return FakeRadio(name, {**{f"d{number:02}": Gadget() for number in range(count)}, **gadgets})
