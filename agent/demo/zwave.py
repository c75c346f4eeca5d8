"""The demo's Z-Wave: SmartStart, a lock that joins by its PIN, a device that sleeps, and commands that nobody else can give."""

from typing import Any

from agent.demo import owner
from agent.demo.stage import LOCK, SENSOR, THERMOSTAT, Stage, StepFailed, say, status, until, until_async

ATTIC = 17.5  # degrees
SETPOINT = 2350  # hundredths of a degree
UNLOCKED = 2  # of DoorLock.LockState


async def tell(stage: Stage, api: Any, hub: str) -> None:
    """The three of them, in the network and used."""
    labels = {one["name"]: one for one in (await stage.zwave.control({"op": "list"}))["devices"]}
    await _smart_start(stage, api, hub, labels[SENSOR]["qr"])
    lock = await _join(stage, api, hub, LOCK, labels[LOCK]["pin"])
    await stage.succeeded(await stage.show(owner.lock, api, lock, "UnlockDoor"), "the lock is open")
    await until("the lock's new state", lambda: owner.read(api, lock, "LockState") == UNLOCKED)
    say("   the lock is open, by a command under its own key; nobody without it is heard by the lock")
    thermostat = await _join(stage, api, hub, THERMOSTAT, labels[THERMOSTAT]["pin"], quiet=True)
    await _sleeper(stage, api, thermostat)


async def _smart_start(stage: Stage, api: Any, hub: str, code: str) -> None:
    """The code on the box is enough: nobody presses anything."""
    sensor = await stage.show(owner.expect, api, hub, code)
    await _open(stage)
    await stage.zwave.control({"op": "pair", "device": SENSOR})  # powered for the first time
    await until("the sensor ACTIVATED", lambda: status(api, sensor) == "ACTIVATED")
    await stage.zwave.control({"op": "set", "device": SENSOR, "name": "temperature", "value": ATTIC})
    await until("17.5 degrees of the sensor", lambda: owner.read(api, sensor, "MeasuredValue") == ATTIC * 100)
    say("   the sensor has joined by itself, and reports 17.5 degrees")


async def _open(stage: Stage) -> None:
    async def listening() -> bool:
        return bool((await stage.zwave.control({"op": "truth"}))["adding"]["listening"])

    await until_async("the stick waits for SmartStart devices", listening)


async def _join(stage: Stage, api: Any, hub: str, name: str, pin: str, *, quiet: bool = False) -> str:
    """Its button is pressed while the discovery runs; the managed thing."""
    discovery = await stage.show(owner.discover_by_pin, api, hub, pin, quiet=quiet)
    await stage.zwave.control({"op": "pair", "device": name})
    found: list[dict[str, Any]] = []

    def listed() -> bool:
        found[:] = api.list_discovered_devices(Identifier=discovery)["Items"]
        return bool(found)

    await until(f"the {name} discovered", listed)
    thing = str(await stage.show(owner.add_device, api, found[0], quiet=True))
    await until(f"the {name} ACTIVATED", lambda: status(api, thing) == "ACTIVATED")
    say(f"   added: {name:<16} {', '.join(found[0]['DeviceTypes'])}, by its PIN {pin}")
    return thing


async def _sleeper(stage: Stage, api: Any, thermostat: str) -> None:
    """What it is told while it sleeps is done when it wakes up."""
    await until("the thermostat's setpoint", lambda: owner.read(api, thermostat, "OccupiedHeatingSetpoint"))
    await stage.zwave.control({"op": "sleep", "device": THERMOSTAT})
    trace = await stage.show(owner.heat, api, thermostat, SETPOINT)

    async def waits() -> bool:
        return bool((await stage.ask("status"))["openCommands"])

    await until_async("the command waits for the thermostat", waits)
    say("   the thermostat sleeps, the command waits")
    await stage.zwave.control({"op": "wake", "device": THERMOSTAT})
    await stage.succeeded(trace, "the thermostat heats to 23.5 degrees")
    await until("the new setpoint", lambda: owner.read(api, thermostat, "OccupiedHeatingSetpoint") == SETPOINT)
    devices = (await stage.zwave.control({"op": "list"}))["devices"]
    degrees = next(one["state"]["0"]["setpoint/1"] for one in devices if one["name"] == THERMOSTAT)
    if degrees != SETPOINT / 100:
        raise StepFailed(f"the thermostat itself heats to {degrees}")
    say("   it woke up, and took its setpoint")
