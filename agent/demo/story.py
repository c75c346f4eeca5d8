"""The demo's story: a hub and its home, from an empty account to the last device deleted."""

from pathlib import Path
from typing import Any

from agent import console
from agent.demo import ble, coap, nrf_owner, owner, zwave
from agent.demo.clouds import Clouds
from agent.demo.maker import self_signed
from agent.demo.stage import (
    BLE_LAMP,
    DEVICES,
    NRF_HUB,
    RADIOS,
    Stage,
    StepFailed,
    print_code,
    say,
    status,
    until,
    until_async,
)
from agent.errors import HubError

SERIAL = "DEMO-HUB-0001"
TEMPERATURE = 2345  # hundredths of a degree


async def tell(stage: Stage) -> None:
    say(
        "1. The owner makes a provisioning profile and a hub, wants to be notified, and has the hub in nRF Cloud as well"
    )
    api = await stage.show(owner.connect, stage.told["managed_integrations"])
    await stage.show(owner.ask_for_notifications, api)
    profile = await stage.show(owner.create_profile, api)
    hub = await stage.show(owner.create_hub, api, SERIAL)
    print_code(nrf_owner.call)
    await stage.show(nrf_owner.onboard, stage.nrf_account, NRF_HUB, _installer(stage, profile))
    say("2. The hub starts with its claim certificate, makes a key, and gets its own certificate")
    stage.start_hub()
    await until("the hub ACTIVATED", lambda: status(api, hub) == "ACTIVATED")
    await _online(stage)  # a discovery at a radio that is away fails at once
    say(f"   hub {hub} is ACTIVATED")
    say("3. Devices are discovered, and added")
    things = await _join(stage, api, hub)
    say("4. A report and a button press travel from the radio to the owner")
    climate = things["SIM-CLIMATE"]
    change = {"op": "set", "device": "bedroom climate", "cluster": 0x0402, "value": TEMPERATURE, "report": True}
    await stage.home.control(change)
    warm = lambda: owner.read(api, climate, "MeasuredValue", "Temperature") == TEMPERATURE  # noqa: E731
    await stage.show(owner.read, api, climate, "MeasuredValue", "Temperature")
    await until("23.45 degrees in the thing's state", warm)
    await stage.home.control({"op": "press", "device": "bed remote", "button": 1})
    await until("the button's notification", lambda: stage.notified("DEVICE_EVENT"))
    say("   23.45 degrees and a button press have arrived")
    say("5. A command travels to the bulb, and comes back with its one result")
    bulb = things["SIM-BULB-RGB"]
    await _switch(stage, api, bulb, on=True)
    say("6. Z-Wave beside it: a sensor joins by itself, a lock by its PIN, and a thermostat that sleeps")
    await zwave.tell(stage, api, hub)
    clouds = Clouds(stage, api, hub)
    say("7. Bluetooth: a thermometer that only advertises, and a GATT lamp, on both clouds")
    lamp = await ble.tell(stage, clouds)
    say("8. CoAP: a thermometer that is found, and a lamp whose code holds its key, on both clouds")
    await coap.tell(stage, clouds)
    say("9. Power cut: the hub is killed without warning while devices report")
    await _power_cut(stage, api, hub, things["SIM-PLUG"], lamp)
    say("10. The bulb again, after the restart; then it is deleted")
    await _switch(stage, api, bulb, on=False, quiet=True)
    await stage.show(owner.delete, api, bulb)
    await until("the bulb off its network and out of the account", lambda: status(api, bulb) == "")
    say("   it has left its network, and the account")
    await _close(stage)


def _installer(stage: Stage, profile: dict[str, Any]) -> str:
    """The hub's configuration and certificates, as an installer puts them there; gives the one for nRF Cloud."""
    _keep(stage.folder / "claim", profile["ClaimCertificate"], profile["ClaimCertificatePrivateKey"])
    certificate, key = self_signed(NRF_HUB)
    _keep(stage.folder / "nrf", certificate, key)
    stage.configure(SERIAL, profile["Name"])
    return certificate


def _keep(name: Path, certificate: str, key: str) -> None:
    for suffix, text in ((".pem", certificate), (".key", key)):
        path = name.with_suffix(suffix)
        path.touch(mode=0o600)
        path.write_text(text)


async def _join(stage: Stage, api: Any, hub: str) -> dict[str, str]:
    """Every device as a managed thing, by its model."""
    discovery = await stage.show(owner.discover, api, hub)
    listed: list[dict[str, Any]] = []

    def found() -> bool:
        nonlocal listed
        listed = api.list_discovered_devices(Identifier=discovery)["Items"]
        return len(listed) == len(DEVICES)

    await until(f"{len(DEVICES)} devices discovered", found)
    things: dict[str, str] = {}
    for number, device in enumerate(listed):
        things[device["Model"]] = await stage.show(owner.add_device, api, device, quiet=number > 0)
        say(f"   added: {device['Model']:<16} {', '.join(device['DeviceTypes'])}")
    await until("all of them ACTIVATED", lambda: all(status(api, thing) == "ACTIVATED" for thing in things.values()))
    return things


async def _switch(stage: Stage, api: Any, bulb: str, *, on: bool, quiet: bool = False) -> None:
    trace = await stage.show(owner.switch, api, bulb, "1", "On" if on else "Off", quiet=quiet)
    await stage.succeeded(trace, f"the bulb is {'on' if on else 'off'}")
    await until("the bulb's new state", lambda: owner.read(api, bulb, "OnOff") is on)
    devices = (await stage.home.control({"op": "list"}))["devices"]
    state = next(d for d in devices if d["name"] == "living room bulb")["state"]["1/0x0006/0x0000"]
    if state is not on:
        raise StepFailed(f"the bulb itself is {'on' if state else 'off'}")
    say(f"   the bulb is {'on' if on else 'off'}, one result: succeeded")


async def _power_cut(stage: Stage, api: Any, hub: str, plug: str, lamp: str) -> None:
    before = len(stage.notified("DEVICE_EVENT"))
    for _ in range(5):
        await stage.home.control({"op": "press", "device": "bed remote", "button": 1})
    await until("every press told", lambda: len(stage.notified("DEVICE_EVENT")) >= before + 10)
    stage.power_cut()
    await until("the hub missed", lambda: not api.get_managed_thing_connectivity_data(Identifier=hub)["Connected"])
    await stage.home.control({"op": "set", "device": "desk plug", "cluster": 0x0006, "value": True})
    await stage.ble.control({"op": "set", "device": BLE_LAMP, "name": "on", "value": True})
    stage.start_hub()
    await _online(stage)
    await until("the state of the plug, read anew", lambda: owner.read(api, plug, "OnOff") is True)
    await until("the state of the GATT lamp, connected to anew", lambda: owner.read(api, lamp, "OnOff") is True)
    devices, all_of_them = await stage.ask("devices"), sum(map(len, RADIOS.values()))
    if len(devices) != all_of_them:
        raise StepFailed(f"{all_of_them} devices after the power cut, there are {len(devices)}")
    say(f"   {len(devices)} devices are back, and what changed meanwhile is told")


async def _online(stage: Stage) -> None:
    async def ready() -> bool:
        try:
            told = await stage.ask("status")
        except HubError:
            return False
        parts = [*told["radios"].values(), *told["uplinks"].values()]
        return all(part["status"] == "online" for part in parts)

    await until_async("radios and uplinks online", ready)


async def _close(stage: Stage) -> None:
    console.show_status(await stage.ask("status"))
    console.show_devices(await stage.ask("devices"))
    kinds: dict[str, int] = {}
    for body in stage.all_notified():
        kinds[body["messageType"]] = kinds.get(body["messageType"], 0) + 1
    console.out.print(console.table("The owner was notified", ("of", "times"), sorted(kinds.items())))
