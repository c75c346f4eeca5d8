"""The driver as OTA Upgrade server for simulated devices, at the wire: what loads, what does not, and what goes wrong on the way."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from zigbee_ota_rig import IMAGE_TYPE, MANUFACTURER, NEW, OLD, OtaRig, body, bulb, house, image, key

from agent.clock import SystemClock
from agent.driver import (
    DeviceRefused,
    DeviceUnreachable,
    DriverLost,
    Firmware,
    InvalidParameters,
    NotNow,
    NotSupported,
    UnknownDevice,
    UpdatesFirmware,
)
from agent.model import Action, Command, DeviceId
from drivers.sim.zigbee import network, zcl
from drivers.sim.zigbee import ota as client
from drivers.sim.zigbee.model import Aps
from drivers.zigbee import ota, ota_transfer
from drivers.zigbee.ota_book import FirmwareBook, Known
from tests.conformance.driver_contract import Watched
from tests.firmware_rig import nobody, updater

INFO = Firmware(MANUFACTURER, IMAGE_TYPE, OLD)
LONG = image(body(2500))
KINDS: dict[str, dict[str, Any]] = {
    "pages": {"page": 400},
    "small blocks": {"block": 17},
    "a period of its own": {"period": 1},
    "lost blocks": {"lose": 0.15, "retry": 0.1},
    "lost blocks in pages": {"lose": 0.15, "page": 300, "retry": 0.1},
    "sleeps": {"profile": "contact", "poll": 0.3},
}


async def test_whatever_the_manner_of_a_device_it_gets_the_image(tmp_path: Path) -> None:
    """Losses are drawn with a seed; what is lost is asked for again, and only that."""
    devices = [bulb(name, number, hardware=3, **kind) for number, (name, kind) in enumerate(KINDS.items(), 1)]
    async with house(tmp_path, *devices, update_interval=0.002) as (rig, _, driver):
        content = image(body(800), hardware=(1, 3))
        file, told = rig.file(b"wrapped" + content + b"padded"), list[tuple[int, int]]()
        for number in range(1, len(KINDS) + 1):
            assert await driver.firmware(key(number)) == (Firmware(MANUFACTURER, IMAGE_TYPE, OLD, hardware=3),)
        sent = octets_sent(rig)
        updates = [driver.update_firmware(key(n), file, progress=lambda *p: told.append(p)) for n in (2, 3, 4, 5, 6)]
        await asyncio.gather(driver.update_firmware(key(1), file, progress=nobody), *updates)
        assert [rig.version(name) for name in KINDS] == [NEW] * len(KINDS)
        again = {name: sent[rig.node(name).nwk] - len(content) for name in KINDS}
        print(f"bytes sent twice (seed 1): {again}")
        assert all(value == 0 for name, value in again.items() if "lost" not in name)
        assert rig.node("a period of its own").ota.period == 2
        assert (told[0], told[-1]) == ((17, len(content)), (len(content), len(content)))
        assert await driver.firmware(key()) == (Firmware(MANUFACTURER, IMAGE_TYPE, NEW, hardware=3),)
        await driver.update_firmware(key(), file, progress=nobody)  # it runs already: nothing is sent
        assert rig.node("pages").ota.received == len(content)


async def test_what_must_not_be_sent_is_not_and_who_says_no_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ota, "QUERY_TIME", 0.2)
    monkeypatch.setattr(client, "PATIENCE", 1000)
    wrong = {
        "maker": image(manufacturer=MANUFACTURER + 1),
        "type": image(image_type=IMAGE_TYPE + 1),
        "hardware": image(hardware=(4, 9)),
        "destination": image(destination=0x00124B00010001FF),
        "no image": body(3000),
        "cut short": image()[:-1],
    }
    plain = {"name": "takes none", "profile": "dimmable-bulb", "ieee": key(5)}
    bad = (bulb("invalid", 2, verdict=client.INVALID_IMAGE), bulb("back", 3, falls_back=True))
    bad = (*bad, bulb("silent", 4, dies_at=0.5), bulb("deaf", 6, lose=1.0, retry=0.01))
    async with house(tmp_path, bulb(hardware=3), *bad, plain, stick="ezsp", update_patience=1.5) as (
        rig,
        watched,
        driver,
    ):
        await _refusals(rig, watched, driver, wrong)
        with pytest.raises(DeviceRefused, match="INVALID_IMAGE"):
            await driver.update_firmware(key(2), rig.file(image()), progress=nobody)
        with pytest.raises(DeviceRefused, match="still runs version 0x0000000A"):
            await driver.update_firmware(key(3), rig.file(image()), progress=nobody)
        with pytest.raises(DeviceUnreachable, match=r"it took \d+ of 562 bytes"):
            await driver.update_firmware(key(4), rig.file(image()), progress=nobody)
        with pytest.raises(DeviceRefused, match="again and again"):
            await driver.update_firmware(key(6), rig.file(image()), progress=nobody)
        book = FirmwareBook(rig.state_dir / "firmware.json")
        known = [Known(MANUFACTURER, IMAGE_TYPE, OLD), Known(MANUFACTURER, IMAGE_TYPE, OLD, loading=NEW)]
        assert [book.get(key(number)) for number in (3, 4)] == known
        assert [rig.version(name) for name in ("invalid", "back", "silent")] == [OLD] * 3
        with pytest.raises(NotSupported):
            await driver.firmware(key(5))


async def _refusals(rig: OtaRig, watched: Watched, driver: UpdatesFirmware, wrong: dict[str, bytes]) -> None:
    for name, content in wrong.items():
        with pytest.raises(InvalidParameters):
            await driver.update_firmware(key(), rig.file(content, name), progress=nobody)
    with pytest.raises(InvalidParameters, match="cannot be read"):
        await driver.update_firmware(key(), rig.folder / "nothing", progress=nobody)
    with pytest.raises(InvalidParameters, match="target"):
        await driver.update_firmware(key(), rig.file(image()), target=1, progress=nobody)
    with pytest.raises(UnknownDevice):
        await driver.firmware("no-such-device")
    for name in ("maker", "type", "hardware"):  # what is known says so; what a device asks is judged as well
        watched.driver.session.updates.forget(key())  # type: ignore[attr-defined]
        with pytest.raises(InvalidParameters, match="other devices"):
            await driver.update_firmware(key(), rig.file(wrong[name]), progress=nobody)
    assert rig.node().ota.received == 0


async def test_meanwhile_commands_go_through_and_who_asks_unasked_hears_that_there_is_none(tmp_path: Path) -> None:
    async with house(tmp_path, bulb(), bulb("other", 2), stick="ezsp") as (rig, watched, driver):
        other, heard = rig.node("other").ota, on_the_air(rig, "other")
        update = asyncio.ensure_future(driver.update_firmware(key(), rig.file(LONG), progress=nobody))
        await until(lambda: rig.node().ota.received > 500)
        for number, name in ((1, "On"), (2, "On"), (1, "Off"), (2, "Off")):
            deadline = SystemClock().now().mono + 5.0
            action = Action("1", "matter.OnOff@1.4", name)
            outcome = await watched.driver.execute(Command("t", DeviceId("zigbee", key(number)), (action,), deadline))
            assert outcome.succeeded
        with pytest.raises(NotNow, match="being updated"):
            await watched.driver.interview(key())
        other.query()
        rig.simulation.pump()
        await until(lambda: (client.QUERY_RSP, client.NO_IMAGE) in heard)
        other.doing, other.loading, other.size = client.Doing.LOADING, NEW, len(LONG)
        other._ask()
        rig.simulation.pump()
        await until(lambda: (client.BLOCK_RSP, client.ABORT) in heard)
        await _talk_nonsense(rig)
        assert not update.done()
        await update
        assert (rig.version(), rig.version("other"), other.received) == (NEW, OLD, 0)


async def _talk_nonsense(rig: OtaRig) -> None:
    """In the middle of its download the device asks for what there is not, and then goes on."""
    loading, heard = rig.node().ota, on_the_air(rig, "bulb")
    loading._settle(client.Doing.NOTHING)
    identity = loading._identity(NEW)
    for command, more in ((client.BLOCK, b"\xff" * 5), (client.BLOCK, bytes(5)), (client.PAGE, b"\xff" * 9)):
        heard.clear()
        loading._send(command, b"\0" + identity + more)
        rig.simulation.pump()
        await until(lambda: (client.BLOCK_RSP, zcl.MALFORMED) in heard, what=f"{command}: {more!r}")
    loading._send(0x77, b"\0")
    loading._send(client.BLOCK, b"\0" + loading._identity(NEW + 1) + bytes(4) + b"\x32")
    rig.simulation.pump()
    await until(lambda: (client.BLOCK_RSP, client.ABORT) in heard)
    loading.doing = client.Doing.LOADING
    loading._ask()
    rig.simulation.pump()


async def test_who_only_asks_and_takes_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ota_transfer, "MOST_VAIN", 10)
    async with house(tmp_path, bulb(hardware=3), stick="ezsp") as (rig, _, driver):
        for offered in (_asks_anew, _wants_another):
            monkeypatch.setattr(client.Client, "_offered", offered)
            with pytest.raises(DeviceRefused, match="again and again: 11 requests, and 0 bytes"):
                await driver.update_firmware(key(), rig.file(image()), progress=nobody)
        assert rig.version() == OLD


def _asks_anew(loading: client.Client, _body: bytes) -> None:
    loading._settle(client.Doing.NOTHING)
    loading.query()


def _wants_another(loading: client.Client, _body: bytes) -> None:
    """What it had begun to load once."""
    loading._settle(client.Doing.NOTHING)
    loading._send(client.BLOCK, b"\0" + loading._identity(NEW + 1) + bytes(4) + b"\x32")


def octets_sent(rig: OtaRig) -> Counter[int]:
    """Octets of images that the hub sends from now on, by short address; those that get lost count."""
    sent: Counter[int] = Counter()

    def overheard(aps: Aps) -> None:
        if aps.cluster == client.CLUSTER and aps.src == 0 and aps.data[0] & 1 and aps.data[2] == client.BLOCK_RSP:
            sent[aps.dst] += aps.data[16] if aps.data[3] == client.SUCCESS else 0

    rig.simulation.network.overheard = overheard
    return sent


def on_the_air(rig: OtaRig, name: str) -> list[tuple[int, int]]:
    """Command and first octet of what the hub sends to a device's OTA client, as it goes."""
    heard: list[tuple[int, int]] = []

    def overheard(aps: Aps) -> None:
        if aps.dst == rig.node(name).nwk and aps.cluster == client.CLUSTER and aps.data[0] & 1:
            heard.append((aps.data[2], aps.data[3]))

    rig.simulation.network.overheard = overheard
    return heard


async def test_a_sleeping_device_is_as_it_said_last_and_takes_nothing_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "PARENT_HOLDS", 0.3)
    monkeypatch.setattr(ota_transfer, "AT_WORK", 0.3)
    async with house(tmp_path, bulb(profile="contact", poll=0.1), stick="ezsp") as (rig, _, driver):
        assert await driver.firmware(key()) == (INFO,)
        await rig.control("sleep", "bulb", every=600)
        assert await driver.firmware(key()) == (INFO,)
        with pytest.raises(NotNow):
            await driver.update_firmware(key(), rig.file(image()), progress=nobody)
        await rig.control("sleep", "bulb", every=0.1)
        await driver.update_firmware(key(), rig.file(image()), progress=nobody)
        assert rig.version() == NEW


async def test_a_hub_that_restarts_goes_on_where_the_device_was(tmp_path: Path) -> None:
    """The device keeps what it has: while nobody serves it, it is told to wait, and not to throw it away."""
    async with house(tmp_path, bulb(), stick="ezsp", update_interval=0.005) as (rig, watched, driver):
        loading, file = rig.node().ota, rig.file(LONG)
        update = asyncio.ensure_future(driver.update_firmware(key(), file, progress=nobody))
        await until(lambda: len(loading.have) > 1000)
        await watched.stop()
        with pytest.raises(DriverLost):
            await update
        had, heard = len(loading.have), on_the_air(rig, "bulb")
        async with rig.up() as again:
            await until(lambda: (client.BLOCK_RSP, client.WAIT_FOR_DATA) in heard)
            assert (client.BLOCK_RSP, client.ABORT) not in heard
            told: list[int] = []
            update = asyncio.ensure_future(
                updater(again).update_firmware(key(), file, progress=lambda n, _: told.append(n))
            )
            await until(lambda: len(loading.have) > 1700)
            await rig.unplug()
            with pytest.raises(DriverLost):
                await update
            assert told[0] == had + 50
        await rig.plug()
        async with rig.up() as again:
            await updater(again).update_firmware(key(), file, progress=nobody)
        assert rig.version() == NEW
        print(f"bytes sent again after a restart and an unplugged stick: {loading.received - len(LONG)}")
        assert loading.received - len(LONG) <= 100
