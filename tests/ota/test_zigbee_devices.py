"""A signed release on its way into simulated Zigbee devices: engine, applier, driver and radio, as a hub has them but for its processes."""

from pathlib import Path
from typing import Any

import pytest
from conftest import until
from device_rig import Fleet
from ota_machine import KEY
from zigbee_ota_rig import NEW, OLD, OtaRig, body, bulb, house, image

from agent.home import DeviceRecord
from agent.model import Device, DeviceId
from agent.ota.appliers.rollout import Peer, Terms
from agent.ota.engine import Engine
from agent.ota.plan import State
from agent.ota.verifier import LOCAL
from drivers.sim.zigbee import network
from drivers.sim.zigbee.ota import INVALID_IMAGE
from drivers.zigbee import ota_transfer
from tests.stick_home import StickHome


def release(hub: Fleet, content: bytes) -> dict[str, Any]:
    return hub.release(7, content)


async def test_a_signed_release_updates_three_bulbs_and_a_sensor_that_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "PARENT_HOLDS", 0.2)
    monkeypatch.setattr(ota_transfer, "AT_WORK", 0.2)
    sensor = bulb("sensor", 9, profile="contact", poll=0.1, hardware=2)
    async with house(tmp_path, bulb(count=3, hardware=2, lose=0.03), sensor, stick="ezsp") as (rig, watched, _):
        home = StickHome()
        hub = Fleet(tmp_path / "hub", home)
        with home.with_driver(watched):
            await rig.control("sleep", "sensor", every=600)
            content = image(hardware=(1, 3))

            async def work(engine: Engine) -> None:
                await engine.offer(LOCAL, "1", 1, release(hub, content))
                await until(lambda: rig.version("bulb 3") == NEW, 20.0)
                assert rig.version("sensor") == OLD
                await rig.control("sleep", "sensor", every=0.1)
                await rig.control("set", "sensor", name="battery", value=100, report=True)
                await until(lambda: engine.tasks[KEY].over, 20.0)

            await hub.life(work)
        assert hub.task.state == State.SUCCEEDED, hub.task
        assert [rig.version(name) for name in ("bulb 1", "bulb 2", "bulb 3", "sensor")] == [NEW] * 4


async def test_a_hub_that_restarts_in_a_campaign_goes_on_at_the_offset(tmp_path: Path) -> None:
    async with house(tmp_path, bulb(count=2, hardware=2), stick="ezsp", update_interval=0.005) as (rig, watched, _):
        home = StickHome()
        hub = Fleet(tmp_path / "hub", home)
        content, first = image(body(2000), hardware=(1, 3)), rig.node("bulb 1").ota
        document = release(hub, content)

        async def cut(engine: Engine) -> None:
            await engine.offer(LOCAL, "1", 1, document)
            await until(lambda: len(first.have) > 1000)

        with home.with_driver(watched):
            await hub.life(cut)
        await watched.stop()
        assert hub.task.state == State.ACTIVATING
        async with rig.up() as again:
            with home.with_driver(again):
                task = await hub.to_the_end(document, start=False)
        assert task.state == State.SUCCEEDED
        clients = [rig.node(name).ota for name in ("bulb 1", "bulb 2")]
        assert [client.firmware.version for client in clients] == [NEW, NEW]
        again_sent = [client.received - len(content) for client in clients]
        print(f"bytes sent again after the restart: {again_sent}")
        assert max(again_sent) <= 50


async def test_a_transfer_that_is_withdrawn_in_the_middle_leaves_the_device_to_the_next(tmp_path: Path) -> None:
    async with house(tmp_path, bulb(count=2, hardware=2), stick="ezsp", update_interval=0.005) as (rig, watched, _):
        home = StickHome()
        hub = Fleet(tmp_path / "hub", home, Terms(look=0.05, grace=0.0))
        document, first = release(hub, image(body(2000), hardware=(1, 3))), rig.node("bulb 1").ota

        async def work(engine: Engine) -> None:
            await engine.offer(LOCAL, "1", 1, document)
            await until(lambda: len(first.have) > 500)
            assert await engine.cancel(KEY, "operator", "not now")
            await until(lambda: engine.tasks[KEY].over, 20.0)
            assert (engine.tasks[KEY].state, rig.version("bulb 1")) == (State.CANCELED, OLD)
            await engine.offer(LOCAL, "2", 1, document)
            await until(lambda: engine.tasks[f"{LOCAL}/2/1"].over, 20.0)
            assert engine.tasks[f"{LOCAL}/2/1"].state == State.SUCCEEDED

        with home.with_driver(watched):
            await hub.life(work)
        assert [rig.version(name) for name in ("bulb 1", "bulb 2")] == [NEW, NEW]
        assert hub.task.detail == "not now; 0 of 2 devices run it"


async def test_an_image_that_the_canary_refuses_goes_to_none_of_a_dozen(tmp_path: Path) -> None:
    devices = bulb(count=12, hardware=2, verdict=INVALID_IMAGE)
    async with house(tmp_path, devices, stick="ezsp") as (rig, watched, _):
        home = StickHome()
        hub = Fleet(tmp_path / "hub", home)
        with home.with_driver(watched):
            task = await hub.to_the_end(release(hub, image(hardware=(1, 3))), start=False)
        assert (task.state, task.code) == (State.FAILED, "campaign-stopped")
        assert "INVALID_IMAGE" in task.detail
        assert asking(rig) == 1


def asking(rig: OtaRig) -> int:
    """How many devices were sent anything."""
    return sum(node.ota is not None and node.ota.received > 0 for node in rig.simulation.network.nodes.values())


def test_the_home_of_a_hub_knows_the_names_and_batteries_of_its_devices() -> None:
    home = StickHome()
    assert (home.radios("zigbee"), home.radios("zwave"), home.driver("zigbee")) == (["zigbee"], [], None)
    assert home.updates("zigbee")
    assert (home.sticks(), home.stick("zigbee"), home.away("zigbee")) == (["zigbee"], None, True)
    lamp, sensor = (DeviceId("zigbee", key) for key in ("lamp", "sensor"))
    state = {("1", "matter.PowerSource@1.4", "BatPercentRemaining"): (58, 0.0, 0.0)}
    home.known[lamp] = DeviceRecord(Device(lamp, "zb.1+1", (), address="00:01"), managed_thing_id="m-1")
    home.known[sensor] = DeviceRecord(Device(sensor, "zb.1+2", (), battery=True), state=state)
    stranger = DeviceId("zigbee", "stranger")
    home.known[stranger] = DeviceRecord(Device(stranger, "zb.1+3", ()), quarantined=True)
    home.known[DeviceId("other", "x")] = DeviceRecord(Device(DeviceId("other", "x"), "zb.2+2", ()))
    assert home.devices("zigbee") == [
        Peer(lamp, ("zb.1+1", "00:01", "zigbee/lamp", "m-1")),
        Peer(sensor, ("zb.1+2", "zigbee/sensor"), battery=True, charge=29.0),
    ]
