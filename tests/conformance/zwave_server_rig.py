"""The Z-Wave driver on @zwave-js/server, which runs on zwave-js, which runs on a simulated stick. See driver_contract.Rig."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from conformance.zwavejs_host import Host, stick
from conftest import free_port, until, until_async

from agent.clock import SystemClock
from agent.driver import Driver, DriverContext
from agent.model import Action
from agent.secret_store import FileSecrets
from drivers.sim.zwave.server import Simulation
from drivers.zwave.server import ServerDriver
from drivers.zwave.settings import ZwaveSettings
from tests.conformance.zwave_sim_rig import DEVICES, ON_OFF

IDLE = (0, 4)  # InclusionState


class Server:
    """@zwave-js/server on a stick; it can be killed, and started again on the same port."""

    def __init__(self, folder: Path, simulation: Simulation) -> None:
        self.simulation = simulation
        self.port = free_port()
        self._folder = folder
        self._host: Host | None = None

    @property
    def host(self) -> Host:
        assert self._host is not None
        return self._host

    async def start(self) -> None:
        self._host = await Host.on(self.simulation, self._folder)
        await self.listen()

    async def kill(self) -> None:
        if self._host is not None:
            await self._host.call("die")
            await self._host.close()
            self._host = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        await self.host.call("listen", port=self.port)

    async def close(self) -> None:
        await self.host.call("close")

    async def control(self, op: str, device: str = "", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.simulation.control({"op": op, "device": device, **more})
        return answer

    async def clear(self) -> None:
        """Take off the network what a test let join."""
        await until_async(lambda: self.host.call("state"), lambda state: state in IDLE)
        await self.host.call("unprovision")
        for device in self.simulation.network.nodes.values():
            await self.control("power", device.name, on=True)
            if device.id:
                await self.host.call("exclude")
                await self.control("pair", device.name)
                await until(lambda device=device: not device.id)  # type: ignore[misc]
                await until_async(lambda: self.host.call("state"), lambda state: state in IDLE)
            else:
                await self.control("pair", device.name, on=False)
        await until_async(lambda: self.host.call("controller"), lambda found: found["nodes"] == [found["own"]])


@asynccontextmanager
async def server(folder: Path, devices: list[dict[str, Any]] | None = None) -> AsyncIterator[Server]:
    """A server on a stick with devices that may join."""
    async with stick(folder, {"stick": "800", "devices": DEVICES if devices is None else devices}) as simulation:
        found = Server(folder / "zwavejs", simulation)
        try:
            await found.start()
            yield found
        finally:
            await found.kill()


class Pressed(ServerDriver):
    """A driver with somebody at the switch who presses its button when it is to be removed."""

    def __init__(self, context: DriverContext, rig: "ServerRig") -> None:
        super().__init__(context)
        self._rig = rig

    async def remove(self, key: str, *, force: bool) -> None:
        if not force and key == self._rig.key:
            await self._rig.join()
        await super().remove(key, force=force)


class ServerRig:
    """A hub of its own at the server; the switch joins."""

    radio = "zwave"
    kind = "ZWAVE"
    good = Action("0", ON_OFF, "On")
    proof = ("0", ON_OFF, "OnOff", True)
    bad = Action("0", ON_OFF, "OnWithTimedOff", {"OnOffControl": 0, "OnTime": "long", "OffWaitTime": 0})

    def __init__(self, folder: Path, at: Server, **settings: Any) -> None:
        self.server = at
        self.state_dir = folder / "state"
        self.secrets = FileSecrets(self.state_dir / "secrets")
        self.settings = {"port": at.url, **settings}
        self._key = "0"

    @property
    def key(self) -> str:
        """The switch has another node id each time it joins; when it has left, the one that it had."""
        number = self.server.simulation.network.nodes["plug"].id
        if number:
            self._key = str(number)
        return self._key

    def driver(self) -> Driver:
        settings = ZwaveSettings.model_validate(self.settings)
        return Pressed(DriverContext(self.radio, settings, self.state_dir, SystemClock(), self.secrets), self)

    async def label(self, device: str) -> str:
        """The DSK on a device's label."""
        return next(one["dsk"] for one in (await self.server.control("list"))["devices"] if one["name"] == device)

    async def join(self, device: str = "plug") -> None:
        await self.server.control("pair", device)

    async def change(self) -> tuple[str, str, str, Any]:
        await self.server.control("set", "plug", name="on_off", value=False)
        return ("0", ON_OFF, "OnOff", False)

    async def silence(self, silent: bool) -> None:  # noqa: FBT001
        await self.server.control("power", "plug", on=not silent)

    async def unplug(self) -> None:
        await self.server.close()

    async def plug(self) -> None:
        await self.server.listen()
