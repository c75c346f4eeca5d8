"""Builds one simulated BlueZ with its peripherals, and serves it on a bus of its own. I/O only."""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import files
from agent.errors import ConfigError
from drivers.sim.ble import air, house
from drivers.sim.ble.bus import Daemon, Service
from drivers.sim.ble.control import Control
from drivers.sim.ble.gatt_calls import Gatt
from drivers.sim.ble.objects import Call
from drivers.sim.ble.payloads import Payload
from drivers.sim.ble.peripheral import Peripheral
from drivers.sim.ble.world import World
from drivers.sim.capture import Capture
from drivers.sim.control_socket import ControlSocket
from drivers.sim.faults import Faults
from drivers.sim.requests import ControlError, real
from drivers.sim.script import Script

Json = dict[str, Any]


async def start(
    name: str,
    spec: Mapping[str, Any],
    *,
    link: Path | None,
    state: Path | None,
    faults: str,
    seed: int,
    capture: Path | None = None,
) -> "Simulation":
    """The BlueZ of `[radios.<name>]`: `link` names the socket of its bus, `state` the file of bonds and values.

    Of `faults`, lost and dup concern adverts. `capture` is a new file for what is on the air. Raises ConfigError.
    """
    made = house.read(name, spec)
    world = World(made.adapters, seed=seed, temporary=made.temporary, latency=made.latency)
    for peripheral in made.peripherals:
        world.peripherals[peripheral.address] = peripheral
    simulation = Simulation(world, link, state, Faults.parse(faults, seed), capture)
    for peripheral, steps, repeat, place in made.scripts:
        try:
            simulation.scripts.append(
                Script(world.at, simulation.control_of.prepare, peripheral.address, steps, repeat=repeat)
            )
        except ControlError as error:
            text = f"the script cannot be played: {error}"
            raise ConfigError(text, place=place, remedy="see config/examples/ble.toml") from error
    await simulation.open()
    return simulation


class Simulation:
    """One running BlueZ."""

    def __init__(
        self, world: World, link: Path | None, state: Path | None, faults: Faults, capture: Path | None
    ) -> None:
        self.world = world
        self.gatt = Gatt(world)
        self.control_of = Control(world, self.gatt)
        self.scripts: list[Script] = []
        self._loop = asyncio.get_running_loop()
        self._state, self._faults = state, faults
        self._scratch = tempfile.TemporaryDirectory(prefix="hub-agent-ble-") if link is None else None
        socket = link or Path(self._scratch.name if self._scratch is not None else "") / "bus"
        self._daemon = Daemon(socket)
        self._socket = ControlSocket(socket, self.control)
        self._service: Service | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._returns: set[asyncio.Task[None]] = set()
        self._capture = Capture(capture, air.LINKTYPE) if capture is not None else None
        world.lost = lambda: len(self._faults.spoil(b""))
        if self._capture is not None:
            world.overheard = self._record
        self.control_path = self._socket.path

    @property
    def port(self) -> str:
        """The address of the bus: `bus` of the driver's settings."""
        return self._daemon.address

    async def open(self) -> None:
        if self._state is not None and self._state.exists():
            self._load(json.loads(self._state.read_text(encoding="utf-8")))
        await self._daemon.start()
        await self._start_service()
        self.world.start(self._loop.time())
        for script in self.scripts:
            script.start(self._loop.time())
        await self._socket.open()
        self.pump()

    async def close(self) -> None:
        self._socket.close()
        for task in self._returns:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await self.stop_bluetoothd()
        await self._daemon.remove()
        if self._capture is not None:
            self._capture.close()
        self._save()
        if self._scratch is not None:
            self._scratch.cleanup()

    # ---- bluetoothd and the bus -------------------------------------------------------------------------------------

    async def _start_service(self) -> None:
        service = Service(
            self._daemon.address, lambda: self.world.tree.objects, self._called, self.world.monitor, self._gone
        )
        service.passkey = self._passkey
        self.world.tree.out.clear()
        await service.start()
        self._service = service

    async def stop_bluetoothd(self) -> None:
        """Kill bluetoothd."""
        service, self._service = self._service, None
        if service is not None:
            await service.stop()
            self.world.crash()

    async def start_bluetoothd(self) -> None:
        if self._service is None:
            self.world.back()
            await self._start_service()
            self.pump()

    async def stop_bus(self) -> None:
        """The D-Bus daemon is killed, and bluetoothd with it."""
        await self.stop_bluetoothd()
        await self._daemon.stop()

    async def start_bus(self) -> None:
        await self._daemon.start()
        await self.start_bluetoothd()

    def _called(self, call: Call) -> None:
        self.world.call(call, self._loop.time())
        self.pump()

    def _gone(self, client: str) -> None:
        self.world.client_gone(client)

    def _passkey(self, token: Any, passkey: int | None) -> None:
        self.gatt.passkey(token, passkey, self._loop.time())
        self.pump()

    def pump(self) -> None:
        """Do what is due, say what there is to say, and sleep until there is more."""
        now = self._loop.time()
        self.world.poll(now)
        out, self.world.tree.out = self.world.tree.out, []
        if self._service is not None:
            self._service.say(out)
        due = self.world.next_deadline()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(max(due, now + 0.0005), self.pump) if due is not None else None

    # ---- control ----------------------------------------------------------------------------------------------------

    async def control(self, request: Json) -> Json:
        """One request of a test or a person. Raises ControlError."""
        away = {
            "bluetoothd": (self.stop_bluetoothd, self.start_bluetoothd),
            "bus": (self.stop_bus, self.start_bus),
        }.get(str(request.get("op")))
        if away is not None:
            seconds = real(request, "seconds", 1.0)
            stop, begin = away
            await stop()

            async def back() -> None:
                await asyncio.sleep(seconds)
                await begin()

            task = asyncio.ensure_future(back())
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)
            return {"ok": True}
        answer = self.control_of.prepare(request)(self._loop.time())
        self.pump()
        return answer

    def _record(self, address: str, payload: Payload) -> None:
        if self._capture is not None:
            self._capture.write(air.frame(address, payload))

    # ---- state ------------------------------------------------------------------------------------------------------

    def _load(self, saved: Json) -> None:
        for address, kept in saved.items():
            peripheral = self.world.peripherals.get(address)
            if peripheral is not None:
                peripheral.values.update(kept["values"])
                peripheral.sequence, peripheral.bonded = kept["sequence"], kept["bonded"]
                if peripheral.updates is not None and "firmware" in kept:
                    peripheral.updates.load(kept["firmware"])
                    peripheral.settle()

    def _save(self) -> None:
        if self._state is None:
            return
        kept = {one.address: _kept(one) for one in self.world.peripherals.values()}
        files.write_atomic(self._state, json.dumps(kept).encode())


def _kept(one: Peripheral) -> Json:
    kept: Json = {"values": one.values, "sequence": one.sequence, "bonded": one.bonded}
    return kept if one.updates is None else {**kept, "firmware": one.updates.document()}


__all__ = ["Simulation", "start"]
