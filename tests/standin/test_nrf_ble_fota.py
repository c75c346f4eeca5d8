"""BLE devices behind a hub that nRF Cloud updates: jobs of the stand-in, a simulated BlueZ, releases that lie signed beside the file."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from device_rig import Fleet
from nrf_fota_rig import Updated
from nrf_link_rig import NrfHub, onboarded
from nrf_rig import ask
from ota_rig import bulb, file, release
from standin_rig import Cloud

from agent.cloud.mqtt import Inbound
from agent.cloud.nrf_ble_wire import BleWire
from agent.model import Availability, AvailabilityChanged, DeviceFound, DeviceId
from agent.ota.engine import Engine
from agent.ota.plan import Task, key_of
from agent.ota.sources.nrf_ble_fota import NrfBleFota
from agent.ota.trust import beside
from drivers.ble import smp_update
from drivers.sim.ble import gatt_calls
from tests.ble_update_rig import MAKER, MODEL, NEW, NEW_VERSION, SMP, body, house, mcuboot
from tests.stick_home import StickHome

pytestmark = pytest.mark.conformance
_numbers = count(1)
AWAY = "A4:C1:38:00:01:99"


class Gateway(Updated):
    """One hub that is a gateway. `said`: what it has told of jobs, `asked`: for whom it has asked; `reach`: who is connected."""

    def __init__(self, cloud: Cloud, folder: Path, home: StickHome) -> None:
        super().__init__(cloud, folder, f"ble-fota-{next(_numbers)}")
        self.files = onboarded(cloud, folder, self.name, "gateway")
        self.folder, self.machine = folder / "link", Fleet(folder / "fleet", home)
        self.folder.mkdir()
        self.said: list[list[Any]] = []
        self.asked: list[str] = []
        self.busy: set[tuple[str, bool]] = set()  # whom it has said that it gives firmware
        self.reach = {SMP}
        self.source: NrfBleFota | None = None

    def add(self, address: str) -> None:
        assert ask(self.cloud, "PUT", f"/devices/{self.name}/{address}").status == 204

    def image(self, content: bytes, *, signed: bool = True) -> str:
        """A bundle, and beside it the release of its one image."""
        bundle = self.bundle(content, signed=False)
        device = {"manufacturer": MAKER, "products": [MODEL]}
        made = {"name": "lamp", "kind": "ble", "device": device, "file_version": NEW, "requires": []}
        if signed:
            told = release(7, components=[bulb(**made, files=[file("lamp.bin", content)])])
            Path(beside(str(self.bucket / bundle))).write_bytes(told)
        return bundle

    def job_for(self, address: str, bundle: str) -> str:
        made = ask(self.cloud, "POST", "/fota-jobs", json={"bundleId": bundle, "deviceIds": [address]})
        assert made.status == 201, made.data
        return str(made.json()["jobId"])

    def status_of(self, address: str, job: str) -> str:
        return str(ask(self.cloud, "GET", f"/fota-job-executions/{address}/{job}").json()["status"])

    async def ended(self, address: str, job: str, status: str) -> list[Any]:
        """The last row that was said of a job, once the account has this status and the hub has its acknowledgement."""
        await until(lambda: self.status_of(address, job) == status, 15.0, f"{status} at the account")
        await until(lambda: self.said and self.said[-1][:2] == [address, job] and self.said[-1][2] in (2, 3, 6), 10.0)
        return self.said[-1]

    def told(self, address: str, job: str) -> Task | None:
        assert self.machine.engine is not None
        return self.machine.engine.tasks.get(key_of("main:ble", f"{address}/{job}", 1))

    async def live(self, work: Callable[[NrfHub], Awaitable[object]]) -> None:
        async def both(engine: Engine) -> None:
            hub = NrfHub(self.folder, self.cloud, self.name, self.files)
            wire = BleWire(hub.channel, lambda: self.reach)
            clock = asyncio.get_running_loop().time
            self.source = NrfBleFota("main", wire, engine, clock, lambda radio: radio == "ble")
            hub.session.on_paired.append(wire.paired)
            self._listen(hub)
            hub.start()
            task = asyncio.create_task(self.source.live())
            try:
                await until(lambda: bool(self.asked))
                await work(hub)
            finally:
                assert not task.done(), task.exception()
                task.cancel()
                await hub.stop()
                await hub.store.close()

        await self.machine.life(both)

    def _listen(self, hub: NrfHub) -> None:
        tell = hub.channel.tell

        async def told(topic: str, payload: bytes, timeout: float = 30.0) -> None:
            assert self.source is not None
            self.busy |= {(address, self.source.updates(address)) for address in (SMP, AWAY)}
            await tell(topic, payload, timeout)
            if topic.endswith("jobs/ble/update"):
                self.said.append(json.loads(payload))
            elif topic.endswith("jobs/ble/req"):
                self.asked += json.loads(payload)

        hub.channel.tell = told  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def cloud(shared_cloud: Cloud) -> Cloud:
    return shared_cloud


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatt_calls, "SUPERVISION", 0.02)
    monkeypatch.setattr(smp_update, "LOOK", 0.05)


async def test_jobs_of_ble_devices_are_done_one_at_a_time_and_told_of(cloud: Cloud, tmp_path: Path) -> None:
    home = StickHome("ble")
    fleet = Gateway(cloud, tmp_path, home)
    for address in (SMP, AWAY):
        fleet.add(address)
    unsigned = fleet.job_for(SMP, fleet.image(mcuboot(body(700)), signed=False))

    async def work(hub: NrfHub) -> None:
        row = await fleet.ended(SMP, unsigned, "REJECTED")
        task = fleet.told(SMP, unsigned)
        assert task is not None
        assert (task.code, row[2]) == ("unsigned", 6)
        assert "nobody has signed it" in row[3]

        bundle = fleet.image(mcuboot(body(6000)))
        away, job = fleet.job_for(AWAY, bundle), fleet.job_for(SMP, bundle)
        assert fleet.source is not None
        assert not fleet.source.updates(SMP)
        await fleet.ended(SMP, job, "SUCCEEDED")
        assert not fleet.source.updates(SMP)
        rows = [row for row in fleet.said if row[1] == job]
        _progressed(rows, job)
        assert {(SMP, True), (AWAY, False)} <= fleet.busy
        assert fleet.told(AWAY, away) is None, "it is not connected: its job was passed over"
        assert AWAY not in fleet.asked

        before = len(fleet.said)
        offered(hub, [SMP, job, 0, 2048, "files", "x"])
        offered(hub, [SMP, "of-a-modem", 1, 2048, "files", "x"])
        offered(hub, ["none", "x"])
        await until(lambda: len(fleet.said) > before)
        assert fleet.said[before:] == [
            [SMP, "of-a-modem", 6, "a BLE device of this hub takes no firmware of type MODEM"]
        ]

        fleet.reach.add(AWAY)
        source = fleet.source
        assert source is not None
        source.heard(AvailabilityChanged(DeviceId("zigbee", AWAY), Availability.ONLINE))
        assert AWAY not in fleet.asked
        source.heard(AvailabilityChanged(DeviceId("ble", AWAY), Availability.ONLINE))
        assert "no radio of this hub knows" in (await fleet.ended(AWAY, away, "REJECTED"))[3]
        assert AWAY in fleet.asked

    async with house(tmp_path, SMP) as (rig, watched, _):
        with home.with_driver(watched):
            await fleet.live(work)
        assert rig.updated(SMP).version == NEW_VERSION
        assert [event.device.firmware for event in watched.events if isinstance(event, DeviceFound)][-1] == NEW_VERSION


def _progressed(rows: list[list[Any]], job: str) -> None:
    """`[ADDR, jobId, 7, pct]`, then `[..., 1, pct]`, then `[..., 3, ""]`."""
    assert {(row[0], row[1]) for row in rows} == {(SMP, job)}
    downloading, transferring = ([row[3] for row in rows if row[2] == number] for number in (7, 1))
    assert downloading == sorted(downloading)
    assert downloading[-1] == 100
    assert transferring == sorted(transferring)
    assert len([percent for percent in transferring if 0 < percent < 100]) >= 1
    assert rows[-1] == [SMP, job, 3, ""]
    assert [row[2] for row in rows].count(3) == 1


def offered(hub: NrfHub, row: list[Any]) -> None:
    """As if the cloud had offered it."""
    assert hub.dialect.pairing is not None
    topic = hub.dialect.pairing.jobs("ble/rcv")
    assert hub.channel.hear(Inbound(topic, json.dumps(row).encode(), retained=False, acknowledge=lambda: None))
