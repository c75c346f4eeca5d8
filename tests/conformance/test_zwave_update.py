"""New firmware for nodes: our driver on simulated sticks, with security and without, asleep, interrupted, and refused."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import until

from agent.driver import DeviceRefused, DeviceUnreachable, InvalidParameters, NotNow, NotSupported
from agent.model import DeviceAwake, DeviceFound
from drivers.sim.zwave import behave_firmware
from drivers.sim.zwave import network as air
from drivers.sim.zwave.network import Network
from drivers.sim.zwave.node import Node
from drivers.zwave import update
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.firmware import image_checksum
from drivers.zwave.keys import CLASSES, network_keys
from drivers.zwave.messages import Messages, Received
from drivers.zwave.settings import ZwaveSettings
from tests.conformance.driver_contract import running
from tests.conformance.zwave_sim_rig import SimRig, hasten

IMAGE = bytes(range(256)) * 2
NEW = 0x010500
PLAIN, SECURE, SLEEPY, NEITHER = "2", "3", "4", "5"
CLASSES_OF = {0x25: 1, 0x7A: 8, 0x86: 3}


@pytest.fixture(params=["800"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    monkeypatch.setattr(update, "RESTART", 0.0)
    monkeypatch.setattr(update, "PAUSE", 0.0)
    monkeypatch.setattr(behave_firmware, "RESTART", 0)
    rig = SimRig(tmp_path, request.param)
    rig.devices = [
        {"name": "plain", "profile": "switch", "node": 2},
        {"name": "secure", "profile": "switch", "node": 3},
        {"name": "sleepy", "profile": "motion-sensor", "node": 4},
        {"name": "neither", "profile": "old-switch", "node": 5},
    ]
    about = {"manufacturer": 0x0086, "product_type": 1, "product": 2, "firmware": "1.4"}
    rig.interviewed(2, CLASSES_OF, **about)
    rig.interviewed(3, {**CLASSES_OF, 0x9F: 1, 0x6C: 1}, security=["S2_AUTHENTICATED"], **about)
    rig.secure(3, list(CLASSES_OF))
    rig.interviewed(4, {**CLASSES_OF, 0x84: 2}, listening=False, **about)
    rig.interviewed(5, {0x25: 1})
    await rig.start()
    keys = network_keys(rig.secrets, ZwaveSettings(), lambda size: bytes([7]) * size)
    node(rig, "secure").guard.restore({one.name: keys[one].hex() for one in CLASSES if one.name == "S2_AUTHENTICATED"})
    yield rig
    await rig.close()


def node(rig: SimRig, name: str) -> Node:
    return rig.simulation.network.nodes[name]


async def give(
    driver: ZwaveDriver,
    key: str,
    content: bytes = IMAGE,
    *,
    target: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """As the engine of updates gives it: in a file."""
    path = driver._context.state_dir / f"image-{key}"
    path.write_bytes(content)
    await driver.update_firmware(key, path, target=target, progress=progress)


async def runs(driver: ZwaveDriver, key: str) -> int:
    (found,) = await driver.firmware(key)
    return found.version


def driver_of(rig: SimRig) -> ZwaveDriver:
    driver = rig.driver()
    assert isinstance(driver, ZwaveDriver)
    return driver


@pytest.mark.parametrize("rig", ["500", "800"], indirect=True)
async def test_a_node_pulls_its_firmware_and_runs_it(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    if rig.stick == "800":  # a node that is away for a second, and says so
        monkeypatch.setattr(behave_firmware, "RESTART", 1)
    driver = driver_of(rig)
    done: list[tuple[int, int]] = []
    async with running(driver) as watched:
        before = len(watched.events)
        updating = asyncio.create_task(give(driver, PLAIN, progress=lambda *step: done.append(step)))
        await until(lambda: done)
        with pytest.raises(NotNow):
            await give(driver, SECURE)
        await updating
        assert await runs(driver, PLAIN) == NEW
        assert done[-1] == (len(IMAGE), len(IMAGE))
        assert done == sorted(done)
        assert node(rig, "plain").root.values["firmware.crc"] == image_checksum(IMAGE)
        found = await watched.wait(DeviceFound, lambda e: e.device.firmware == "1.5", after=before)
        assert found.device.id.key == PLAIN


@pytest.mark.parametrize("rig", ["500", "800"], indirect=True)
async def test_firmware_is_sealed_for_a_node_with_keys(rig: SimRig, tmp_path: Path) -> None:
    driver, path = driver_of(rig), tmp_path / "image.bin"
    path.write_bytes(IMAGE)
    async with running(driver):
        await driver.update_firmware(SECURE, path, progress=lambda *_: None)
        assert await runs(driver, SECURE) == NEW
    assert node(rig, "secure").root.values["firmware.crc"] == image_checksum(IMAGE)
    assert not node(rig, "secure").refused


async def test_a_sleeping_node_gets_it_when_it_wakes_up(rig: SimRig) -> None:
    driver = driver_of(rig)
    async with running(driver) as watched:
        with pytest.raises(NotNow):
            await give(driver, SLEEPY)
        assert node(rig, "sleepy").transfer is None
        before = len(watched.events)
        await rig.control("wake", "sleepy")
        await watched.wait(DeviceAwake, lambda e: e.id.key == SLEEPY, after=before)
        await give(driver, SLEEPY)
        assert await runs(driver, SLEEPY) == NEW


async def test_what_was_interrupted_goes_on_where_it_stopped(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "GET_TIMEOUT", 0.3)
    driver, plain = driver_of(rig), node(rig, "plain")
    done: list[int] = []
    async with running(driver):
        updating = asyncio.create_task(give(driver, PLAIN, progress=lambda now, _: done.append(now)))
        await until(lambda: len(done) > 4)
        await rig.control("mute", "plain", seconds=0.5)
        with pytest.raises(DeviceUnreachable) as gone:
            await updating
        assert "goes on where it stopped" in gone.value.remedy
        kept = plain.transfer
        assert kept is not None
        received = len(kept.fragments)
        await until(lambda: plain.mute_until < asyncio.get_running_loop().time())
        done.clear()
        await give(driver, PLAIN, progress=lambda now, _: done.append(now))
        assert await runs(driver, PLAIN) == NEW
        assert min(done) > received * 30
        assert plain.root.values["firmware.crc"] == image_checksum(IMAGE)


async def test_it_is_activated_when_it_is_wanted(rig: SimRig) -> None:
    driver = driver_of(rig)
    async with running(driver):
        network = driver._running._network
        record = network.nodes[2].record
        wanted = update.FirmwareUpdate(network.messages, record, IMAGE, 0, lambda *_: None, delay=True)
        assert await wanted.run() == 0.0
        await until(lambda: node(rig, "plain").firmware == (1, 5))


async def test_what_cannot_be_is_refused(rig: SimRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = driver_of(rig)
    async with running(driver):
        with pytest.raises(NotSupported):
            await give(driver, NEITHER)
        for content, target in ((b"", 0), (IMAGE, 1)):
            with pytest.raises(InvalidParameters):
                await give(driver, PLAIN, content, target=target)
        with pytest.raises(InvalidParameters, match="cannot be read"):
            await driver.update_firmware(PLAIN, tmp_path / "nothing", progress=lambda *_: None)
        monkeypatch.setattr(behave_firmware, "VALID", 0x06)
        with pytest.raises(DeviceRefused, match="battery is low") as low:
            await give(driver, PLAIN)
        assert low.value.remedy
        monkeypatch.undo()
        monkeypatch.setattr(update, "image_checksum", lambda _: 0x1234)
        with pytest.raises(DeviceRefused, match="checksum is wrong"):
            await give(driver, PLAIN)
        assert node(rig, "plain").firmware == (1, 4)


async def test_lost_frames_cost_time_and_nothing_else(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behave_firmware, "GET_TIMEOUT", 0.3)
    monkeypatch.setattr(air, "UNACKNOWLEDGED", 0.05)
    monkeypatch.setattr(update, "LAST_TIMEOUT", 0.5)
    frames = itertools.count()
    driver = driver_of(rig)
    async with running(driver):
        driver._running._network.nodes[2].record.firmware = "1.4"
        monkeypatch.setattr(Network, "_lost", lambda _: next(frames) % 7 == 6)
        await give(driver, PLAIN, IMAGE[:600])
        assert await runs(driver, PLAIN) == NEW
        assert node(rig, "plain").root.values["firmware.crc"] == image_checksum(IMAGE[:600])


@pytest.mark.parametrize("lost", ["Request Report", "Status Report"])
async def test_an_answer_that_is_lost_is_done_without(rig: SimRig, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    monkeypatch.setattr(update, "LAST_TIMEOUT", 0.3)
    deliver = Messages._deliver

    def lose(messages: Messages, received: Received) -> None:
        if getattr(received.command, "name", "") != f"{update.NAME} {lost}":
            deliver(messages, received)

    monkeypatch.setattr(Messages, "_deliver", lose)
    driver = driver_of(rig)
    async with running(driver):
        driver._running._network.nodes[2].record.firmware = "1.4"
        await give(driver, PLAIN, IMAGE[:200])
        assert await runs(driver, PLAIN) == NEW


async def test_a_node_that_asks_for_the_same_without_end_is_given_up(
    rig: SimRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = behave_firmware._pull

    def forgets(place: Any, transfer: behave_firmware.Transfer, now: float) -> None:
        transfer.fragments.clear()
        pull(place, transfer, now)

    monkeypatch.setattr(behave_firmware, "_pull", forgets)
    driver = driver_of(rig)
    async with running(driver):
        with pytest.raises(DeviceRefused, match="again and again") as refused:
            await give(driver, PLAIN)
        assert refused.value.remedy
        assert node(rig, "plain").firmware == (1, 4)
