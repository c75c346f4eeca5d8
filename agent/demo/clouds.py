"""A home on two clouds, for the demo: what both must have heard, and what either one may ask for."""

from collections.abc import Awaitable, Callable
from typing import Any

from agent.demo import nrf_owner, owner
from agent.demo.stage import NRF_HUB, Stage, StepFailed, say, status, until

Itself = Callable[[], Awaitable[bool]]  # whether the light itself is on


class Clouds:
    """The hub in both of them. `api`: boto3's client; `hub`: its managed thing; at nRF Cloud it is the device NRF_HUB."""

    def __init__(self, stage: Stage, api: Any, hub: str) -> None:
        self.stage, self.api, self.hub = stage, api, hub

    async def discover(self, protocol: str, wanted: int, *, quiet: bool = False) -> dict[str, str]:
        """The managed things of the devices that a discovery finds, by their model."""
        discovery = await self.stage.show(owner.discover_custom, self.api, self.hub, protocol, quiet=quiet)
        found: list[dict[str, Any]] = []

        def listed() -> bool:
            found[:] = self.api.list_discovered_devices(Identifier=discovery)["Items"]
            return len(found) == wanted

        await until(f"{wanted} devices of {protocol} discovered", listed)
        things: dict[str, str] = {}
        for one in found:
            things[one["Model"]] = await self.stage.show(owner.add_device, self.api, one, quiet=True)
            say(f"   added: {one['Model']:<16} {', '.join(one['DeviceTypes'])}")
        for model, thing in things.items():
            await self.activated(thing, model)
        return things

    async def activated(self, thing: str, name: str) -> None:
        await until(f"{name} ACTIVATED", lambda: status(self.api, thing) == "ACTIVATED")

    async def measured(self, thing: str, hundredths: int, *, quiet: bool = False) -> None:
        """Wait until a temperature is in both."""
        text = f"{hundredths / 100:g}"
        told = lambda: owner.read(self.api, thing, "MeasuredValue", "Temperature") == hundredths  # noqa: E731
        await until(f"{text} degrees in AWS", told)
        account = self.stage.nrf_account
        await self.stage.show(nrf_owner.temperatures, account, NRF_HUB, thing, quiet=quiet)
        await until(f"{text} degrees in nRF Cloud", lambda: text in nrf_owner.temperatures(account, NRF_HUB, thing))

    async def switched(self, thing: str, endpoint: str, itself: Itself, *, quiet: bool = False) -> None:
        """Switch a light on from the one cloud, and off from the other; each tells its own asker the one result."""
        stage, account = self.stage, self.stage.nrf_account
        trace = await stage.show(owner.switch, self.api, thing, endpoint, "On", quiet=True)
        await stage.succeeded(trace, "the light is on")
        await self._is(thing, itself, on=True)
        trace = f"off-{endpoint}"
        await stage.show(nrf_owner.switch, account, NRF_HUB, trace, thing, endpoint, "Off", quiet=quiet)

        def results() -> list[str]:
            return nrf_owner.results(account, NRF_HUB, trace)

        await until("the result of nRF Cloud's command", results)
        if results() != ["succeeded"]:
            raise StepFailed(f"nRF Cloud's command: one result, succeeded: {results()}")
        await self._is(thing, itself, on=False)

    async def _is(self, thing: str, itself: Itself, *, on: bool) -> None:
        await until(f"the light's OnOff is {on}", lambda: owner.read(self.api, thing, "OnOff") is on)
        if await itself() is not on:
            raise StepFailed(f"the light itself is {'off' if on else 'on'}")
