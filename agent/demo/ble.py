"""The demo's Bluetooth: a thermometer that only advertises, and a lamp that is connected to."""

from typing import Any

from agent.demo.clouds import Clouds
from agent.demo.stage import BLE_DEVICES, BLE_LAMP, BLE_THERMOMETER, Stage, say

CELLAR = 1125  # hundredths of a degree


async def tell(stage: Stage, clouds: Clouds) -> str:
    """Both of them, on both clouds; the lamp's managed thing."""
    things = await clouds.discover("BLE", len(BLE_DEVICES))
    thermometer, lamp = things["BTHome"], things["S-1"]
    await stage.ble.control({"op": "set", "device": BLE_THERMOMETER, "name": "temperature", "value": CELLAR})
    await clouds.measured(thermometer, CELLAR)
    say("   11.25 degrees, from an advertisement, are in both clouds")

    async def lit() -> bool:
        return bool((await _values(stage))["on"])

    await clouds.switched(lamp, "1", lit)
    say("   the lamp was on by AWS's command, and is off by nRF Cloud's: one result each")
    return lamp


async def _values(stage: Stage) -> dict[str, Any]:
    devices = (await stage.ble.control({"op": "list"}))["devices"]
    return next(dict(one["values"]) for one in devices if one["name"] == BLE_LAMP)
