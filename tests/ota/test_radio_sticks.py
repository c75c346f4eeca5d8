"""A signed release on its way into the radio sticks themselves, simulated ones: engine, applier, drivers and bootloaders, as a hub has them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from device_rig import Fleet
from gbl_rig import gbl
from ota_rig import file

from agent.driver import DriverError, DriverLost, InvalidParameters, NotSupported, UpdatesStick
from agent.model import DriverEvent, RadioUp
from agent.ota.appliers.radio import Sticks, Terms
from agent.ota.engine import Engine
from agent.ota.plan import State, Task, key_of
from agent.ota.verifier import LOCAL
from agent.store import Store
from drivers import gecko, stick_update
from drivers.sim.gecko import Bootloader
from tests.conformance.zigbee_rig import ZigbeeRig
from tests.conformance.zwave_sim_rig import SimRig, hasten

SIZE = 3000
ZWAVE, ZIGBEE = 7 << 16 | 24 << 8 | 1, 7 << 24 | 5 << 16 | 1 << 8
ONE = pytest.mark.parametrize("hub", ["zwave"], indirect=True)
IDENTITIES = {"zwave": (0, 4 << 16 | 4), "zigbee": ("Silicon Labs", "hub-agent sim")}


class Hub(Fleet):
    """One hub with one radio, whose driver is started again whenever it ends."""

    def __init__(self, folder: Path, rig: Any, new: int) -> None:
        super().__init__(folder, home=self)
        self.rig, self.new, self.kind = rig, new, "radio"
        self.driver: Any = None
        self.listeners: set[Callable[[DriverEvent], None]] = set()
        self.lives: list[str] = []  # why each life of the driver ended

    # ---- agent.ota.appliers.radio.Home ------------------------------------------------------------------------------

    def sticks(self) -> list[str]:
        return [self.rig.radio]

    def stick(self, _radio: str) -> UpdatesStick | None:
        return self.driver if isinstance(self.driver, UpdatesStick) else None

    def away(self, _radio: str) -> bool:
        return self.driver is None

    @contextmanager
    def hear(self, listener: Callable[[DriverEvent], None]) -> Iterator[None]:
        self.listeners.add(listener)
        try:
            yield
        finally:
            self.listeners.discard(listener)

    # ---- the radio --------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            made = self.rig.driver()

            def sink(event: DriverEvent, made: Any = made) -> None:
                if isinstance(event, RadioUp):
                    self.driver = made
                for listener in list(self.listeners):
                    listener(event)

            try:
                await made.run(sink)
            except DriverLost as error:
                self.lives.append(error.message)
            finally:
                self.driver = None
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def radio(self) -> AsyncIterator[None]:
        keeps = asyncio.create_task(self._keep())
        try:
            await until(lambda: self.driver is not None or len(self.lives) > 9, 20.0)
            assert self.driver is not None, self.lives
            yield
        finally:
            keeps.cancel()
            with suppress(asyncio.CancelledError):
                await keeps

    # ---- updates ----------------------------------------------------------------------------------------------------

    def prepare(self, store: Store) -> None:  # noqa: ARG002  the rig's
        self.appliers = {"radio": Sticks(self.state / "ota" / "radio", self, Terms(back=30.0, look=0.05))}

    def firmware(self, content: bytes | None = None, number: int = 7, **changes: Any) -> dict[str, Any]:
        manufacturer, product = IDENTITIES[self.rig.radio]
        image = gbl(bytes(SIZE), version=self.version) if content is None else content
        part = {
            "name": "stick",
            "kind": "radio",
            "version": "2.0",
            "file_version": self.new,
            "files": [file("s.gbl", image)],
        }
        device = {"manufacturer": manufacturer, "products": [product], **changes}
        return self.offer_files(number, images={"s.gbl": image}, components=[{**part, "device": device}], release="2.0")

    @property
    def version(self) -> int:
        """As the bootloader's images have it."""
        return self.new << 8 if self.rig.radio == "zwave" else self.new

    async def update(self, document: dict[str, Any], job: str = "1") -> Task:
        key = key_of(LOCAL, job, 1)

        async def work(engine: Engine) -> None:
            await engine.offer(LOCAL, job, 1, document)
            await until(lambda: engine.tasks[key].over, 40.0)

        await self.life(work)
        assert self.journal is not None
        return self.journal.tasks[key]

    async def runs(self) -> int:
        driver = self.stick("")
        assert driver is not None
        return (await driver.stick()).version


@pytest.fixture(params=["zwave", "zigbee"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    hasten(monkeypatch)
    monkeypatch.setattr(gecko, "LOOK", 0.1)
    monkeypatch.setattr(gecko, "QUIET", 0.05)
    monkeypatch.setattr(gecko, "STARTS", 0.1)
    zwave = request.param == "zwave"
    rig: Any = SimRig(tmp_path, "800", backups=3) if zwave else ZigbeeRig(tmp_path, "ezsp")
    await rig.start()
    yield Hub(tmp_path / "hub", rig, ZWAVE if zwave else ZIGBEE)
    await rig.close()


def bootloader_of(hub: Hub) -> Bootloader | None:
    """What the stick is in."""
    if hub.rig.radio == "zwave":
        found: Bootloader | None = hub.rig.simulation.stick.bootloader
    else:
        found = hub.rig.simulation._stick.boot.bootloader
    return found


async def test_a_stick_gets_its_firmware_and_its_network_is_what_it_was(hub: Hub) -> None:
    async with hub.radio():
        driver: Any = hub.driver
        before, old = await driver.proved_backup(), await hub.runs()
        task = await hub.update(hub.firmware())
        assert (task.state, task.done, task.detail) == (State.SUCCEEDED, ("stick",), "2.0 is installed")
        assert task.was == f"{hub.rig.radio} has {old}"
        assert await hub.runs() == hub.new
        again: Any = hub.driver
        assert await again.proved_backup() == before
    assert hub.lives == ["the stick is in its bootloader and gets new firmware"]
    assert not (hub.rig.state_dir / stick_update.ORDER).exists()
    assert not (hub.state / "ota" / "radio").exists()


def spoil(monkeypatch: pytest.MonkeyPatch, *, refuses: int = 0, loses: int = 0) -> None:
    """From now on a stick that goes into its bootloader has these troubles there."""

    class Troubled(Bootloader):
        def __init__(self, *, whole: bool = True) -> None:
            super().__init__(whole=whole)
            self.refuses, self.loses = refuses, loses

    for place in ("drivers.sim.zwave.stick", "drivers.sim.zigbee.ezsp_boot"):
        monkeypatch.setattr(f"{place}.Bootloader", Troubled)


async def test_one_that_breaks_off_waits_in_its_bootloader_and_is_tried_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, refuses=stick_update.UPLOADS + 1, loses=2)
    async with hub.radio():
        task = await hub.update(hub.firmware())
        assert task.state == State.SUCCEEDED
        assert await hub.runs() == hub.new
    assert len(hub.lives) == 2
    assert "does not take its firmware" in hub.lives[1]


async def test_a_hub_that_is_switched_off_in_the_middle_goes_on_with_the_stick_first(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, loses=1 << 30)
    document = hub.firmware()

    async def begins(engine: Engine) -> None:
        await engine.offer(LOCAL, "1", 1, document)
        await until(lambda: bootloader_of(hub) is not None, 20.0)

    async with hub.radio():
        await hub.life(begins)
    assert hub.task.state == State.ACTIVATING
    assert (hub.rig.state_dir / stick_update.ORDER).exists()
    bootloader = bootloader_of(hub)
    assert bootloader is not None
    bootloader.loses = 0
    async with hub.radio():
        assert await hub.runs() == hub.new
        assert (await hub.update(document)).state == State.SUCCEEDED


@ONE
async def test_what_is_no_image_or_for_another_stick_or_without_a_proved_backup_is_not_begun(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> None:
        raise DriverError("the memory reads differently twice")

    async with hub.radio():
        damaged = await hub.update(hub.firmware(gbl(bytes(500), version=hub.version, spoilt=1)))
        foreign = await hub.update(hub.firmware(number=8, products=[1]), "2")
        driver: Any = hub.driver
        with pytest.raises(InvalidParameters):
            await driver.update_stick(hub.state)
        monkeypatch.setattr(type(hub.driver), "proved_backup", lambda _driver: fails())
        unproved = await hub.update(hub.firmware(number=9), "3")
    assert (damaged.state, damaged.code) == (State.FAILED, "bad-image")
    assert foreign.state == State.SUCCEEDED, "there is nothing to do"
    assert (unproved.state, unproved.code) == (State.FAILED, "not-proved")
    assert "reads differently twice" in unproved.detail
    assert hub.lives == []


@ONE
async def test_an_image_that_starts_another_version_than_was_signed_is_told(hub: Hub) -> None:
    async with hub.radio():
        image = gbl(bytes(500), version=hub.version + (1 << 8))
        task = await hub.update(hub.firmware(image))
    assert (task.state, task.code) == (State.FAILED, "not-taken")
    assert hub.lives == ["the stick is in its bootloader and gets new firmware"] * 3


@ONE
async def test_another_network_after_the_update_is_no_success(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = iter([{"home": "1", "nodes": [1, 2]}, {"home": "1", "nodes": [1]}])

    async def told() -> Any:
        return next(networks)

    async with hub.radio():
        monkeypatch.setattr(type(hub.driver), "proved_backup", lambda _driver: told())
        task = await hub.update(hub.firmware())
    assert (task.state, task.code) == (State.FAILED, "network-changed")
    assert "another nodes is there" in task.detail


async def test_a_radio_without_a_bootloader_or_backups_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)
    for number, (rig, call) in enumerate(
        [
            (SimRig(tmp_path / "a", "500"), "stick"),
            (SimRig(tmp_path / "b", "800", backups=0), "proved_backup"),
            (ZigbeeRig(tmp_path / "c", "znp"), "stick"),
        ]
    ):
        rig.folder.mkdir()
        await rig.start()  # type: ignore[attr-defined]
        try:
            hub = Hub(tmp_path / f"hub-{number}", rig, 1)
            async with hub.radio():
                with pytest.raises(NotSupported):
                    await getattr(hub.driver, call)()
        finally:
            await rig.close()  # type: ignore[attr-defined]
