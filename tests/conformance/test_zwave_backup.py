"""Backups of our driver from the memory of simulated sticks: proved, kept before changes, and restored."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from console_rig import Daemon, in_thread

from agent import backup
from agent.driver import DriverLost, InvalidParameters, NotSupported
from agent.home import RadioRecord
from agent.model import DeviceFound, Discovery, JoinWindow
from agent.settings import RadioSettings, Settings
from agent.settings.model import HubSettings
from agent.supervise import Pulse
from drivers.sim.zwave.nvm import Memory
from drivers.zwave.backup import FORMAT, PREFIX
from drivers.zwave.life import NetworkBusy
from drivers.zwave.nvm import NvmTrouble
from drivers.zwave.security import dsk, qr
from tests.conformance.driver_contract import Watched, command, joined, running
from tests.conformance.zwave_sim_rig import SimRig, hasten


@pytest.fixture(params=["800"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimRig]:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, request.param)
    await rig.start()
    yield rig
    await rig.close()


def kept(rig: SimRig) -> list[dict[str, Any]]:
    names = (name for name in rig.secrets.names() if name.startswith(PREFIX))
    return [json.loads(rig.secrets.get(name) or b"") for name in names]


async def ended(watched: Watched) -> str:
    with pytest.raises(DriverLost) as lost:
        await watched.task
    return str(lost.value)


@pytest.mark.parametrize("rig", ["500", "800"], indirect=True)
async def test_a_restored_network_has_its_nodes_and_keys_again(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        found = await joined(rig, watched)
        await watched.driver.stop_discovery()
        document = await watched.driver.backup()
        await watched.driver.reset()
        await ended(watched)
    told = json.loads(document)
    assert (told["home_id"], told["nodes"], told["proof"]) == ("C0FFEE01", [1, 2], "its node list")
    async with running(rig.driver()) as watched:
        assert not [event for event in watched.events if isinstance(event, DeviceFound)]
        await watched.driver.restore(document)
        assert "restored" in await ended(watched)
    async with running(rig.driver()) as watched:
        again = await watched.wait(DeviceFound)
        assert again.device == found.device
        assert again.device.secure
        assert (await watched.driver.execute(command(rig, rig.good))).succeeded


async def expect(rig: SimRig, watched: Watched, device: str) -> None:
    """Put a SmartStart device on the list."""
    code = qr.compose(0x03, dsk.from_text(await rig.label(device)), [])
    await watched.driver.discover(Discovery("d1", "ZWAVE", 60, code))
    await watched.driver.stop_discovery()


async def test_devices_that_are_expected_are_in_the_backup_and_join_after_it_was_restored(rig: SimRig) -> None:
    rig.settings["backups"] = 9
    async with running(rig.driver()) as watched:
        await expect(rig, watched, "smart")
        await watched.driver.discover(Discovery("d2", "ZWAVE", 60))
        await watched.driver.stop_discovery()
        taken = [[entry["dsk"] for entry in one["smart_start"]] for one in kept(rig)]
        assert taken == [[], [await rig.label("smart")]], "a new list is a new backup"
        document = await watched.driver.backup()
        for wrong in ({}, [1], [{"dsk": "1"}], [{"dsk": await rig.label("smart"), "keys": "all"}]):
            with pytest.raises(InvalidParameters, match="SmartStart"):
                await watched.driver.restore(json.dumps({**json.loads(document), "smart_start": wrong}).encode())
        await watched.driver.reset()
        await ended(watched)
    async with running(rig.driver()) as watched:
        await expect(rig, watched, "dimmer")  # of the network that is given up for the backup's
        await watched.driver.restore(document)
        await ended(watched)
    async with running(rig.driver()) as watched:
        (entry,) = watched.driver._running._network.provisioning.told()  # type: ignore[attr-defined]
        assert entry["dsk"] == await rig.label("smart")
        await rig.join("smart")
        assert (await watched.wait(DeviceFound, timeout=60)).expected
        older = {name: value for name, value in json.loads(document).items() if name != "smart_start"}
        await watched.driver.restore(json.dumps(older).encode())
        await ended(watched)
    async with running(rig.driver()) as watched:
        assert watched.driver._running._network.provisioning.told() == []  # type: ignore[attr-defined]


async def test_there_is_a_backup_before_each_change_unless_nothing_has_changed(rig: SimRig) -> None:
    rig.settings["backups"] = 2
    async with running(rig.driver()) as watched:
        for _ in range(2):
            await watched.driver.discover(Discovery("d1", "ZWAVE", 60))
            await watched.driver.stop_discovery()
        assert [one["nodes"] for one in kept(rig)] == [[1]]
        await joined(rig, watched)
        await watched.driver.stop_discovery()
    async with running(rig.driver()) as watched:
        for _ in range(2):
            await watched.driver.discover(Discovery("d1", "ZWAVE", 60))
            await watched.driver.stop_discovery()
        assert [one["nodes"] for one in kept(rig)] == [[1], [1, 2]]
        await watched.driver.backup()
        assert [one["nodes"] for one in kept(rig)] == [[1, 2], [1, 2]]
        await watched.driver.discover(Discovery("d1", "ZWAVE", 60))
        await watched.wait(JoinWindow, lambda e: e.seconds > 0)
        with pytest.raises(NetworkBusy) as busy:
            await watched.driver.backup()
        assert busy.value.remedy


async def test_what_does_not_fit_the_stick_is_refused(rig: SimRig) -> None:
    async with running(rig.driver()) as watched:
        document = json.loads(await watched.driver.backup())
        other = {**document, "firmware": {**document["firmware"], "version": "Z-Wave 7.17"}}
        with pytest.raises(NotSupported, match="their memories differ") as refused:
            await watched.driver.restore(json.dumps(other).encode())
        assert "Z-Wave JS UI" in refused.value.remedy
        image = bytearray(base64.b64decode(document["nvm"]))
        image[21] ^= 0xFF
        for change in (
            {"nvm": base64.b64encode(image).decode()},
            {"nvm": "?"},
            {"nodes": [1, 9]},
            {"keys": {"S0": "00"}},
            {"records": [{}]},
            {"version": 2},
        ):
            with pytest.raises(InvalidParameters):
                await watched.driver.restore(json.dumps({**document, **change}).encode())
        assert watched.driver._running  # type: ignore[attr-defined]


async def test_a_stick_that_misreads_or_loses_its_memory_is_found_out(
    rig: SimRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Memory.read

    def misread(memory: Memory, offset: int, size: int) -> bytes:
        data = bytearray(read(memory, offset, size))
        place = 0x2000 + 4 - offset
        if 0 <= place < len(data):
            data[place] ^= 0x20
        return bytes(data)

    async with running(rig.driver()) as watched:
        document = await watched.driver.backup()
        monkeypatch.setattr(Memory, "read", misread)
        with pytest.raises(NvmTrouble, match="damaged"):
            await watched.driver.backup()
        with pytest.raises(NvmTrouble, match="did not keep"):
            await watched.driver.restore(document)
        monkeypatch.undo()
        assert rig.simulation.network.radio_on
        await watched.driver.restore(document)
        await ended(watched)


async def test_a_700_with_short_offsets_restarts_after_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, "800")
    await rig.start()
    stick = rig.simulation.stick
    functions = tuple(name for name in stick.profile.functions if name != "NvmOperationExtended")
    stick.profile = replace(stick.profile, functions=functions, firmware=(7, 21, 3))
    stick.functions.discard(0x3D)
    try:
        async with running(rig.driver()) as watched:
            controller = watched.driver._running._network.controller  # type: ignore[attr-defined]
            resets = 0

            async def counted(reset: Any = controller.soft_reset) -> None:
                nonlocal resets
                resets += 1
                await reset()

            controller.soft_reset = counted
            document = json.loads(await watched.driver.backup())
            assert resets == 1
            assert document["firmware"]["protocol"] == [7, 21, 3]
            assert stick.context.wide  # set anew after the restart
            await watched.driver.restore(json.dumps(document).encode())
            await ended(watched)
    finally:
        await rig.close()


async def test_agent_backup_takes_the_memory_of_the_stick_and_gives_it_back(rig: SimRig, tmp_path: Path) -> None:
    """What the command does, against the hub's control socket."""
    settings = Settings(hub=HubSettings(state_dir=tmp_path / "hub"), radios={rig.radio: RadioSettings(kind="zwave")})
    settings.hub.state_dir.mkdir()
    async with asyncio.TaskGroup() as group:
        daemon = Daemon(settings.hub.state_dir, group)
        runtime = daemon.runtime
        runtime.hub.radios = {rig.radio: RadioRecord(rig.radio, "zwave", ("ZWAVE",))}
        runtime.pulses[rig.radio] = Pulse(60.0)
        await daemon.server.start()
        life = asyncio.create_task(runtime.radio_life(rig.radio, rig.driver))
        await runtime.driver_up(rig.radio)
        file = tmp_path / "backup"
        taken = await in_thread(backup.take, settings, daemon.client, file, None)
        network = backup.load(file, None).radios[rig.radio].network
        assert (taken.without, network["format"], network["home_id"]) == ({}, FORMAT, "C0FFEE01")
        assert network["smart_start"] == []
        await in_thread(backup.write_networks, daemon.client, taken.whole, file, rig.radio)
        with pytest.raises(DriverLost, match="restored"):
            await life
        await daemon.server.stop()
        daemon.supervisor.cancel_all()
    await daemon.store.close()


async def test_a_stick_without_a_readable_memory_joins_devices_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch)
    rig = SimRig(tmp_path, "500", backups=1)
    await rig.start()
    for number in (0x29, 0x2A, 0x2B, 0x2C, 0x2D):
        rig.simulation.stick.functions.discard(number)
    try:
        async with running(rig.driver()) as watched:
            with pytest.raises(NotSupported):
                await watched.driver.backup()
            async with asyncio.timeout(10):
                await watched.driver.discover(Discovery("d1", "ZWAVE", 60))
            assert kept(rig) == []
    finally:
        await rig.close()
