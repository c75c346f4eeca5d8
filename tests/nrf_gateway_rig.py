"""A hub that is a gateway of the stand-in's nRF Cloud, on a simulated BlueZ: bleak's own back end speaks to it, real MQTT to the cloud."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

from ble_rig import DEVICES, IBEACON, LAMP, BleRig, ble_rig
from conftest import until
from nrf_link_rig import NrfHub, onboarded
from nrf_mqtt_rig import state
from nrf_rig import ask
from standin_rig import Cloud

from agent import records
from agent.cloud.nrf_gateway import Name, dialect_of
from agent.driver import DriverLost
from agent.gateway.connections import Timing
from agent.gateway.gateway import Gateway
from agent.gateway.outlet import Outlet
from agent.gatt import RawGatt
from agent.model import RadioUp
from agent.requests import Kind
from agent.supervise import Supervisor
from drivers.ble.driver import BleDriver

QUICK = Timing(look=0.05, attempt=5.0, watch=3600.0, listen=0.1)
_numbers = count(1)


LAMP_ON_AIR = [{**one, "pairing": True} for one in DEVICES if one["address"] in (LAMP, IBEACON)]


@asynccontextmanager
async def gateway_hub(folder: Path, cloud: Cloud, dialect: Name, timing: Timing = QUICK) -> AsyncIterator["GatewayHub"]:
    """With a lamp and a beacon around it."""
    async with ble_rig(folder, {"devices": LAMP_ON_AIR}) as ble, GatewayHub(folder, cloud, dialect, ble, timing) as hub:
        yield hub


class GatewayHub:
    """`hub`: the uplink; `ble`: the air around it; `gateway`: what is tried."""

    def __init__(self, folder: Path, cloud: Cloud, dialect: Name, ble: BleRig, timing: Timing) -> None:
        self.name, self.cloud, self.ble = f"{dialect}-gateway-{next(_numbers)}", cloud, ble
        wire = dialect_of(dialect, self.name)
        (folder / "hub").mkdir()
        files = onboarded(cloud, folder, self.name, "test-gateway")
        self.hub = NrfHub(folder / "hub", cloud, self.name, files, wire)
        session, channel = self.hub.session, self.hub.channel
        self.count = session.counters
        outlet = Outlet(wire, channel, self._publish, self.hub.clock, self._counted)
        self._group = asyncio.TaskGroup()
        self._supervisor = Supervisor(self._group)
        self._driver: BleDriver | None = None
        self._up = asyncio.Event()
        self.gateway = Gateway(wire, channel, outlet, self._radio, self._supervisor.spawn, timing)
        session.taps.append(self.gateway.hear)
        session.on_paired.append(self.gateway.paired)
        channel.on_up.append(self.gateway.up)
        self._wishes = 0
        take = self.gateway.desire

        def desire(addresses: tuple[str, ...]) -> None:
            self._wishes += 1
            take(addresses)

        self.gateway.shadow.on_connections = desire

    def _counted(self, what: str) -> None:
        self.hub.session.counters[what] += 1

    def _publish(self, device: str, body: dict[str, Any], written: Callable[[], None]) -> None:
        message = self.hub.message(Kind.GATEWAY, body, device)

        def done(_future: object) -> None:
            written()
            self.hub.link.offer(message)

        self.hub.store.submit([records.put_outbox([message])]).add_done_callback(done)

    async def _radio(self) -> RawGatt:
        await self._up.wait()
        assert self._driver is not None
        return self._driver.gatt

    async def _live(self) -> None:
        """The radio, over its lives."""
        while True:
            self._driver = self.ble.driver()
            try:
                await self._driver.run(lambda event: self._up.set() if isinstance(event, RadioUp) else None)
            except DriverLost:
                self._up.clear()
                await asyncio.sleep(0.05)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._supervisor.spawn("radio", self._live())
        self._supervisor.spawn("gateway", self.gateway.live())
        self.hub.start()
        await until(lambda: self._wishes, what="the pairing, and the first word of the shadow")
        await asyncio.wait_for(self._up.wait(), 10)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._supervisor.cancel_all()
        await self.hub.stop()
        await self.hub.store.close()
        await self._group.__aexit__(*error)

    # ---- what the account does and sees -----------------------------------------------------------------------------

    def ask(self, method: str, path: str, **options: Any) -> Any:
        return ask(self.cloud, method, f"/devices/{path}", **options)

    def want(self, *addresses: Any) -> None:
        desired = {"desired": {"desiredConnections": list(addresses)}}
        assert self.ask("PATCH", f"{self.name}/state", json=desired).status == 202

    def events(self, kind: str = "", address: str = "") -> list[dict[str, Any]]:
        """The oldest first."""
        found = [one["event"] for one in self.ask("GET", f"{self.name}/events").json()["items"]][::-1]
        mine = [one for one in found if not kind or one["type"] == kind]
        return [one for one in mine if not address or address in str(one.get("device", {}))]

    async def told(self, kind: str, number: int = 1, address: str = "") -> dict[str, Any]:
        """The n-th event of a kind."""
        await until(lambda: len(self.events(kind, address)) >= number, 15.0, f"{kind} {number}")
        return self.events(kind, address)[number - 1]

    def report(self, reported: dict[str, Any]) -> None:
        assert self.ask("PATCH", f"{self.name}/state", json={"reported": reported}).status == 202

    def connected(self) -> tuple[str, ...]:
        """As the radio has it."""
        assert self._driver is not None
        return self._driver.gatt.connected()

    def heard(self, *addresses: str) -> bool:
        assert self._driver is not None
        return all(self._driver.gatt.silent_for(one) < 60 for one in addresses)

    def wanted(self) -> list[str]:
        return list(self.gateway.statuses())

    def backlog(self) -> int:
        return sum(self.hub.store.stats.backlog.values())

    def reported(self) -> dict[str, Any]:
        return dict(state(self.cloud, self.name)["reported"])

    def status(self, address: str) -> Any:
        return self.reported().get("statusConnections", {}).get(address)

    async def linked(self, address: str) -> None:
        """It is wanted, connected and discovered."""
        assert self.ask("PUT", f"{self.name}/{address}").status == 204
        await self.told("device_discover_result", address=address)
