"""The firmware of the stick itself: Silicon Labs' EZSP, which knows a way into the Gecko bootloader (UG100, launchStandaloneBootloader)."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from bellows.exception import EzspError

from agent.driver import DeviceRefused, DriverError, Firmware, NotSupported
from agent.model import JsonValue
from drivers import stick_update
from drivers.zigbee.backup import parse
from drivers.zigbee.radio import Link

NORMAL_MODE = 1
SUCCESS = 0
SHORT = 16  # digits of a hash: enough to tell keys apart, and nothing of the key


class StickFirmware:
    """See agent.driver.UpdatesStick; `folder` is the radio's."""

    def __init__(self, link: Link, folder: Path) -> None:
        self._link, self._folder = link, folder

    def firmware(self) -> Firmware:
        info = self._link.app.state.node_info
        found = re.match(r"(\d+)\.(\d+)\.(\d+)\.(\d+)", info.version or "") if self._link.radio == "ezsp" else None
        if found is None or not info.manufacturer or not info.model:
            text = "the stick does not say what it is and runs, or has no bootloader that the hub knows"
            raise NotSupported(text, remedy="update it with its maker's tool")
        major, minor, patch, special = map(int, found.groups())
        return Firmware(info.manufacturer, info.model, major << 24 | minor << 16 | patch << 8 | special)

    def held(self, document: bytes) -> Mapping[str, JsonValue]:
        """The network in a backup that was just taken, its key as a hash. Raises InvalidParameters, DriverError."""
        network = parse(document).network_info
        now = self._link.app.state.network_info
        facts = [
            (one.extended_pan_id, one.pan_id, one.channel, bytes(one.network_key.key.serialize()))
            for one in (network, now)
        ]
        if facts[0] != facts[1]:
            raise DriverError("the backup is of another network than the stick is in", remedy="take another backup")
        known = {*network.children, *network.nwk_addresses, *(key.partner_ieee for key in network.key_table)}
        return {
            "extendedPanId": str(network.extended_pan_id),
            "panId": f"{network.pan_id:04X}",
            "channel": int(network.channel),
            "key": hashlib.sha256(facts[0][3]).hexdigest()[:SHORT],
            "coordinator": str(self._link.app.state.node_info.ieee),
            "devices": sorted(str(ieee) for ieee in known),
        }

    async def update(self, image: bytes) -> None:
        """Raises NotSupported, StorageError, DriverError."""
        self.firmware()
        stick_update.begin(self._folder, image, self._link.port)
        self._link.own_reset = True
        try:
            # bellows has no method of its own for it.
            (status, *_) = await self._link.app._ezsp.launchStandaloneBootloader(mode=NORMAL_MODE)  # noqa: SLF001
        except (EzspError, TimeoutError) as error:
            raise DriverError(f"the stick does not go into its bootloader: {error!r}") from error
        if int(status) != SUCCESS:
            raise DeviceRefused(f"the stick has no bootloader that can be started ({status!r})")
        self._link.lose("the stick is in its bootloader and gets new firmware")
