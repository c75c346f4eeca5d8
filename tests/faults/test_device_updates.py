"""Firmware into simulated Zigbee devices with all that goes wrong on the way, drawn at random: HUB_AGENT_FAULT_CYCLES transfers, short 5.

Each transfer has a loss of its own, and one accident in its middle: the hub restarts, the stick is unplugged, the device is without power,
or its image comes after one that is for others. Pass: every device ends with its image, none ever has a byte of another, and what is sent
twice is what was lost, or was under way.
"""

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import until
from zigbee_ota_rig import IMAGE_TYPE, OtaRig, body, bulb, image, key

from agent.driver import DriverError, DriverLost, InvalidParameters
from tests.conformance.driver_contract import Watched
from tests.firmware_rig import nobody, updater

pytestmark = pytest.mark.faults

TRANSFERS = int(os.environ.get("HUB_AGENT_FAULT_CYCLES", "5"))
SEED = int(os.environ.get("HUB_AGENT_FAULT_SEED", "18"))
ACCIDENTS = ("none", "hub", "stick", "power", "wrong image")
KINDS = ({}, {"page": 250}, {"profile": "contact", "poll": 0.1}, {"block": 30}, {"period": 0})


class Storm:
    """Transfers one after the other into the devices of one house."""

    def __init__(self, rig: OtaRig) -> None:
        self.rig, self.rng, self.counts = rig, random.Random(SEED), Counter[str]()
        self.watched: Watched | None = None

    async def up(self) -> Watched:
        if self.watched is None or self.watched.task.done():
            if not self.rig.simulation.plugged:
                await self.rig.plug()
            self.watched = await self.rig.start_driver()
        return self.watched

    async def transfer(self, number: int) -> None:
        device = self.rng.randrange(len(KINDS))
        client = self.rig.node(f"d{device}").ota
        assert client is not None
        version, size = 1000 + number, self.rng.randrange(200, 900)
        content = image(body(size, number), version=version)
        client.firmware.lose, client.received = self.rng.choice((0.0, 0.05, 0.2)), 0
        accident = ACCIDENTS[number % len(ACCIDENTS)]
        self.counts[accident] += 1
        if accident == "wrong image":
            wrong = self.rig.file(image(body(size), image_type=IMAGE_TYPE + 1, version=version))
            with pytest.raises(InvalidParameters):
                await updater(await self.up()).update_firmware(key(device + 1), wrong, progress=nobody)
            assert client.received == 0
        file = self.rig.file(content)
        for _ in range(6):
            at = self.rng.randrange(size) if accident in ("hub", "stick", "power") else size * 2
            if await self._try(device, file, at, accident):
                break
            accident = "none"
        assert client.firmware.version == version, (number, SEED)
        self.counts["bytes"] += len(content)
        self.counts["bytes twice"] += client.received - len(content)
        assert client.received - len(content) <= 64 * 3 + client.firmware.page, (number, SEED)

    async def _try(self, device: int, file: Path, at: int, accident: str) -> bool:
        """One call of the driver, with the accident once the device has `at` bytes."""
        watched, node = await self.up(), self.rig.node(f"d{device}")
        client = node.ota
        assert client is not None
        update = asyncio.ensure_future(updater(watched).update_firmware(key(device + 1), file, progress=nobody))
        if accident in ("hub", "stick", "power"):
            await until(lambda: len(client.have) >= at or update.done(), 20.0)
            if accident == "hub":
                await watched.stop()
            elif accident == "stick":
                await self.rig.unplug()
            else:
                self.rig.simulation.network.reboot(node, 0.2)
                self.rig.simulation.pump()
        try:
            async with asyncio.timeout(20):
                await update
        except DriverLost:
            with suppress(DriverLost, asyncio.CancelledError):
                await watched.task
            return False
        except DriverError as error:
            self.counts[type(error).__name__] += 1
            return False
        return True


async def test_every_device_ends_with_its_image_whatever_happens_on_the_way(tmp_path: Path) -> None:
    devices = [bulb(f"d{n}", n + 1, retry=0.1, **kind) for n, kind in enumerate(KINDS)]
    rig = OtaRig(tmp_path, devices, "ezsp", update_interval=0.001, update_patience=3.0)
    await rig.start()
    storm = Storm(rig)
    try:
        await rig.join_all(await storm.up())
        for number in range(TRANSFERS):
            await storm.transfer(number)
    finally:
        if storm.watched is not None:
            await storm.watched.stop()
        await rig.close()
        print(f"transfers of firmware: {TRANSFERS}, seed {SEED}, {dict(storm.counts)}")
