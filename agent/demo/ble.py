"""The demo's Bluetooth: a thermometer that only advertises, and a lamp that is connected to."""

from typing import Any

from agent.demo import nrf_owner, owner
from agent.demo.clouds import Clouds
from agent.demo.stage import BLE_DEVICES, BLE_LAMP, BLE_THERMOMETER, NRF_HUB, Stage, say, until

AUTOMATION_IO, DIGITAL = "1815", "2A56"  # service and characteristic of the lamp
CELLAR = 1125  # hundredths of a degree


async def tell(stage: Stage, clouds: Clouds) -> str:
    """Both of them, on both clouds; the lamp's managed thing."""
    things = await clouds.discover("BLE", len(BLE_DEVICES))
    thermometer, lamp = things["BTHome"], things["S-1"]
    await stage.ble.control({"op": "set", "device": BLE_THERMOMETER, "name": "temperature", "value": CELLAR})
    await clouds.measured(thermometer, CELLAR)
    say("   11.25 degrees, from an advertisement, are in both clouds")

    async def lit() -> bool:
        return bool((await _lamp(stage))["values"]["on"])

    await clouds.switched(lamp, "1", lit)
    say("   the lamp was on by AWS's command, and is off by nRF Cloud's: one result each")
    await _gateway(stage, clouds, lamp, (await _lamp(stage))["address"])
    return lamp


async def _gateway(stage: Stage, clouds: Clouds, lamp: str, address: str) -> None:
    """NRF Cloud's raw GATT: a characteristic written and read, without any idea of lamps."""
    account = stage.nrf_account
    await stage.show(nrf_owner.connect, account, NRF_HUB, address)
    await until("the lamp's services in nRF Cloud", lambda: AUTOMATION_IO in nrf_owner.services(account, address))
    await stage.show(nrf_owner.write, account, address, DIGITAL, [1])
    await until("the lamp on by a write", lambda: owner.read(clouds.api, lamp, "OnOff") is True)
    await stage.ble.control({"op": "set", "device": BLE_LAMP, "name": "on", "value": False})
    await stage.show(nrf_owner.read, account, address, DIGITAL)
    await until("the lamp off by a read", lambda: nrf_owner.read(account, address, DIGITAL) == [0])
    say("   nRF Cloud wrote 1 to characteristic 2A56 through the gateway, and read 0 from it, after a hand at the lamp")


async def _lamp(stage: Stage) -> dict[str, Any]:
    devices = (await stage.ble.control({"op": "list"}))["devices"]
    return next(dict(one) for one in devices if one["name"] == BLE_LAMP)
