"""The demo's CoAP: a thermometer that is found and observed, and a lamp whose code has the key without which nobody speaks to it."""

from typing import Any
from urllib.parse import urlencode

from agent.demo import owner
from agent.demo.clouds import Clouds
from agent.demo.stage import COAP_LAMP, COAP_THERMOMETER, Stage, StepFailed, say

TEMPERATURE = "/3303/0/5700"  # IPSO: temperature sensor, sensor value
ON_OFF = "/3311/0/5850"  # light control, on/off
SHED = 450  # hundredths of a degree
LIGHT = "3311x0"  # the endpoint of the first light


async def tell(stage: Stage, clouds: Clouds) -> None:
    """Both of them, on both clouds."""
    (thermometer,) = (await clouds.discover("COAP", 1, quiet=True)).values()
    change = {"op": "set", "device": COAP_THERMOMETER, "path": TEMPERATURE, "value": SHED / 100}
    await stage.coap.control(change)
    await clouds.measured(thermometer, SHED, quiet=True)
    say("   4.5 degrees are in both clouds")
    code = f"coap://127%2E0%2E0%2E1:{(await _told(stage, COAP_LAMP))['port']}?{urlencode(stage.oscore)}"
    say(f"   the code of the {COAP_LAMP}: {code}")
    lamp = str(await stage.show(owner.expect_custom, clouds.api, clouds.hub, code))
    await clouds.activated(lamp, COAP_LAMP)

    async def lit() -> bool:
        return bool((await _told(stage, COAP_LAMP))["values"][ON_OFF])

    await clouds.switched(lamp, LIGHT, lit, quiet=True)
    clear = (await _told(stage, COAP_LAMP))["clear"]
    if clear:
        raise StepFailed(f"{clear} messages to the protected lamp were in clear")
    say("   the lamp was switched by both clouds, under OSCORE: not one message to it was in clear")


async def _told(stage: Stage, name: str) -> dict[str, Any]:
    devices = (await stage.coap.control({"op": "list"}))["devices"]
    return next(dict(one) for one in devices if one["name"] == name)
