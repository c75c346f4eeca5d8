"""The firmware of the stick itself: 700 and 800 series, whose Serial API has a way into the Gecko bootloader (function 0x27)."""

from collections.abc import Mapping
from pathlib import Path

from agent.driver import Firmware, NotSupported
from agent.model import JsonValue
from drivers import stick_update
from drivers.zwave import backup
from drivers.zwave.network import Network
from drivers.zwave.nvm_parse import NvmError, parse

BOOT_LOADER = "EnterBootloader"


class StickFirmware:
    """See agent.driver.UpdatesStick; `folder` is the radio's."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._network, self._folder = network, folder

    def firmware(self) -> Firmware:
        facts = self._network.controller.facts
        if not facts.has(BOOT_LOADER):
            remedy = "update it with its maker's tool"
            raise NotSupported("the stick has no way into a bootloader that the hub knows", remedy=remedy)
        major, minor, patch = facts.firmware
        product = facts.product_type << 16 | facts.product
        return Firmware(facts.manufacturer, product, major << 16 | minor << 8 | patch)

    def held(self, document: bytes) -> Mapping[str, JsonValue]:
        """The network in a backup that was just taken. Raises InvalidParameters, NotSupported."""
        try:
            found = parse(backup.read(document).image)
        except (
            NvmError
        ) as error:  # one whose layout is not known was read twice, which proves that it was read, and no more
            remedy = "update the stick with its maker's tool"
            raise NotSupported(f"the backup cannot be looked into: {error}", remedy=remedy) from error
        return {"home": f"{found.home_id:08X}", "node": found.node, "nodes": sorted(found.nodes)}

    async def update(self, image: bytes) -> None:
        """Raises NotSupported, StorageError, DriverError."""
        self.firmware()
        link = self._network.link
        stick_update.begin(self._folder, image, link.name)
        await link.call(BOOT_LOADER)
        link.close("the stick is in its bootloader and gets new firmware")
