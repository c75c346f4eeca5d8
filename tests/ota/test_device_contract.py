"""The contract of appliers for what keeps what it runs: devices of every kind, and radio sticks."""

import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from device_rig import IMAGE, NEW, OLD, QUICK, FakeHome, radio
from ota_machine import Still
from ota_rig import bulb, file

from agent.driver import DriverLost, Firmware
from agent.model import DriverEvent, JsonValue
from agent.ota.appliers.contract import Applier, Image
from agent.ota.appliers.devices import KINDS, Devices
from agent.ota.appliers.radio import Sticks, Terms
from agent.ota.campaign_book import CampaignBook
from agent.ota.manifest import Component
from agent.ota.plan import Runs
from agent.store import Limits, Store
from tests.ota.applier_contract import check_contract_of_devices


class Place:
    """One component, with an image that lies in `folder` once it is written."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.first = Component.model_validate(bulb(kind=kind, files=[file("it.bin", IMAGE)], file_version=NEW))

    def images(self, _component: Component) -> list[Image]:
        return [Image("it.bin", io.BytesIO(IMAGE), len(IMAGE), hashlib.sha256(IMAGE).hexdigest())]

    def spoil(self) -> None:
        (written,) = self.folder.rglob("image")
        written.write_bytes(IMAGE[:-1])


class DevicePlace(Place):
    """Two devices behind one radio."""

    def __init__(self, folder: Path, kind: str, store: Store) -> None:
        super().__init__(folder / "devices", kind)
        self.air = radio(2)
        self._home, self._book = FakeHome(self.air, kind=kind), CampaignBook(store, Still(), kind)

    @property
    def applier(self) -> Applier:
        return Devices(self.first.kind, self.folder, self._book, self._home, QUICK)

    def received(self) -> int:
        return sum(gadget.sent for gadget in self.air.gadgets.values())

    def meant(self) -> int:
        return len(self.air.gadgets)


class Stick:
    """A driver whose stick has what it was ordered once the driver is started again."""

    version, orders = OLD, 0

    async def stick(self) -> Firmware:
        return Firmware(4476, 8454, self.version, hardware=2)

    async def proved_backup(self) -> Mapping[str, JsonValue]:
        return {"home": "1"}

    async def update_stick(self, image: Path) -> None:
        assert image.read_bytes() == IMAGE
        self.version, self.orders = NEW, self.orders + 1
        raise DriverLost("the stick is in its bootloader")


class StickPlace(Place):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "radio", "radio")
        self._stick = Stick()

    @property
    def applier(self) -> Applier:
        return Sticks(self.folder, self, Terms(back=0.2, look=0.01))

    def sticks(self) -> list[str]:
        return ["it"]

    def stick(self, _radio: str) -> Stick:
        return self._stick

    def away(self, _radio: str) -> bool:
        return False

    @contextmanager
    def hear(self, _listener: Callable[[DriverEvent], None]) -> Iterator[None]:
        yield

    def received(self) -> int:
        return self._stick.orders

    def meant(self) -> int:
        return 1


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[Store]:
    store = Store.open(folder, Limits(ballast=4096))
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_devices(tmp_path: Path, kind: str) -> None:
    async with stored(tmp_path) as store:
        await check_contract_of_devices(DevicePlace(tmp_path, kind, store))


async def test_sticks(tmp_path: Path) -> None:
    await check_contract_of_devices(StickPlace(tmp_path))


async def test_a_damaged_note_is_no_end_of_the_engine(tmp_path: Path) -> None:
    place = StickPlace(tmp_path)
    for text in ("", "{", "[]", '{"digest": "x"}', '{"digest": "x", "networks": 1, "orders": {}}'):
        place.folder.mkdir(exist_ok=True)
        (place.folder / "note.json").write_text(text)
        assert (await place.applier.describe(place.first)).runs == Runs.OLD
    await check_contract_of_devices(place)
