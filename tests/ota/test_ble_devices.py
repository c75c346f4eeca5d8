"""A signed release on its way into simulated Bluetooth devices: canary, one at a time, batteries, and one device alone."""

from pathlib import Path
from typing import Any

import pytest
from conftest import until
from device_rig import Fleet
from ota_machine import KEY

from agent.ota.engine import Engine
from agent.ota.plan import State
from agent.ota.verifier import LOCAL
from drivers.ble import dfu_update, smp_update
from drivers.sim.ble import gatt_calls
from tests.ble_rig import device
from tests.ble_update_rig import DFU_MODEL, MAKER, MODEL, NEW, NEW_VERSION, application, body, house, mcuboot, package
from tests.stick_home import StickHome

LAMPS = [f"A4:C1:38:00:02:0{number}" for number in (1, 2, 3)]
LAMP = {"firmware": {"restart": 0.1}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (gatt_calls, "SUPERVISION", 0.02),
        (dfu_update, "LOOK", 0.02),
        (smp_update, "LOOK", 0.05),
    ):
        monkeypatch.setattr(module, name, seconds)


def release(hub: Fleet, content: bytes, model: str = MODEL, number: int = 7) -> dict[str, Any]:
    device = {"manufacturer": MAKER, "products": [model]}
    changes = {"kind": "ble", "device": device, "file_version": NEW}
    return hub.release(number, content, **changes)


async def test_a_release_goes_to_one_lamp_after_the_other_and_to_an_empty_one_when_it_is_charged(
    tmp_path: Path,
) -> None:
    lamps = [device(f"lamp {at}", "smp-lamp", key, **LAMP) for at, key in enumerate(LAMPS)]
    lamps[1]["values"] = {"battery": 12}
    async with house(tmp_path, *LAMPS, devices=lamps) as (rig, watched, _):
        home, image = StickHome("ble"), mcuboot(body(900))
        hub = Fleet(tmp_path / "hub", home)
        begun: list[str] = []
        for key in LAMPS:
            _note(rig.updated(key), key, begun)

        async def work(engine: Engine) -> None:
            await engine.offer(LOCAL, "1", 1, release(hub, image))
            await until(lambda: [rig.updated(key).version for key in LAMPS].count(NEW_VERSION) == 2, 10.0)
            assert rig.updated(LAMPS[1]).received == 0, "with 12 % in its battery it is not begun"
            await rig.control("set", "lamp 1", name="battery", value=90)
            await until(lambda: engine.tasks[KEY].over, 10.0)

        with home.with_driver(watched):
            await hub.life(work)
        assert hub.task.state == State.SUCCEEDED, hub.task
        assert begun == [LAMPS[0], LAMPS[2], LAMPS[1]], "one at a time, none begun before another was done"
        assert {rig.updated(key).received for key in LAMPS} == {len(image)}


def _note(server: Any, key: str, begun: list[str]) -> None:
    """Whose turn it is."""
    serve = server.heard

    def heard(uuid: str, data: bytes, spoilt: str) -> Any:
        if server.step(uuid, data) == "smp-upload" and begun[-1:] != [key]:
            begun.append(key)
        return serve(uuid, data, spoilt)

    server.heard = heard


async def test_an_image_that_the_canary_refuses_goes_to_no_other_lamp(tmp_path: Path) -> None:
    lamps = [device(f"lamp {at}", "dfu-lamp", key, **LAMP) for at, key in enumerate(LAMPS)]
    async with house(tmp_path, *LAMPS, devices=lamps) as (rig, watched, _):
        for key in LAMPS:
            rig.spoil(key, "dfu-validate", "bad_hash")
        home = StickHome("ble")
        hub = Fleet(tmp_path / "hub", home)
        with home.with_driver(watched):
            task = await hub.to_the_end(release(hub, package(application(size=200)), DFU_MODEL), start=False)
        assert (task.state, task.code) == (State.FAILED, "campaign-stopped")
        assert "checksum is wrong" in task.detail
        assert [rig.updated(key).received > 0 for key in LAMPS].count(True) == 1


async def test_a_job_for_one_device_is_for_no_other(tmp_path: Path) -> None:
    lamps = [device(f"lamp {at}", "smp-lamp", key, **LAMP) for at, key in enumerate(LAMPS)]
    async with house(tmp_path, *LAMPS, devices=lamps) as (rig, watched, _):
        home = StickHome("ble")
        hub = Fleet(tmp_path / "hub", home)
        document = release(hub, mcuboot(body(300)))
        wanted = {
            "1": ({**document, "device": LAMPS[1]}, State.SUCCEEDED, ""),
            "2": ({**document, "device": "ble." + LAMPS[1].replace(":", "")}, State.SUCCEEDED, ""),  # runs it already
            "3": ({**document, "device": "11:22:33:44:55:66"}, State.REJECTED, "no-device"),
            "4": ({**release(hub, mcuboot(body(300)), "X-1", 8), "device": LAMPS[0]}, State.REJECTED, "wrong-device"),
        }

        async def work(engine: Engine) -> None:
            for job, (told, state, code) in wanted.items():
                task = await engine.offer(LOCAL, job, 1, told)
                await until(lambda key=task.key: engine.tasks[key].over, 10.0)  # type: ignore[misc]
                done = engine.tasks[task.key]
                assert (done.state, done.code) == (state, code), done

        with home.with_driver(watched):
            await hub.life(work)
        assert [rig.updated(key).version for key in LAMPS] == ["1.0.0", NEW_VERSION, "1.0.0"]
