"""The Z-Wave driver on a simulated stick. See driver_contract.Rig."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.driver import Driver, DriverContext
from agent.model import Action
from agent.secret_store import FileSecrets
from drivers.sim.zwave.server import Simulation, start
from drivers.zwave.driver import ZwaveDriver
from drivers.zwave.keys import network_keys
from drivers.zwave.nodes import NodeBook, NodeRecord, node_id
from drivers.zwave.settings import ZwaveSettings

HOME = 0xC0FFEE01
STAGES = (
    "protocol",
    "information",
    "security",
    "identity",
    "versions",
    "wake up",
    "endpoints",
    "lifeline",
    "abilities",
)
ON_OFF = "matter.OnOff@1.4"
DEVICES: list[dict[str, Any]] = [
    {"name": "plug", "profile": "switch", "pairing": False},
    {"name": "lock", "profile": "lock", "pairing": False},
    {"name": "old lock", "profile": "s0-lock", "pairing": False},
    {"name": "old switch", "profile": "old-switch", "pairing": False},
    {"name": "thermostat", "profile": "thermostat", "pairing": False},
    {"name": "smart", "profile": "smart-start-sensor", "pairing": False},
    {"name": "dimmer", "profile": "dimmer", "pairing": False},
    {"name": "strip", "profile": "power-strip", "pairing": False},
]


HASTE = {  # what a real stick and real air take; none of it is what these tests are about
    "drivers.sim.zwave.stick.START": 0.02,
    "drivers.zwave.controller.RESET_TIMEOUT": 0.1,
    "drivers.sim.zwave.network.UNACKNOWLEDGED": 0.05,
    "drivers.sim.zwave.serve_network.UNACKNOWLEDGED": 0.05,
    "drivers.sim.zwave.network.BEAM": 0.01,
    "drivers.sim.zwave.inclusion.STEP": 0.005,
    "drivers.sim.zwave.inclusion.SETTLE": 0.01,
    "drivers.sim.zwave.inclusion.ANNOUNCE": (0.05, 1.0),
    "drivers.zwave.transmit.JAM_PAUSES": (0.01, 0.02),
    "drivers.sim.zwave.node.LAST_WORD": 0.01,
    "drivers.zwave.network.RESET_GRACE": 0.1,
    "drivers.zwave.secured.NONCE_TIMEOUT": 1.0,
}


def hasten(patch: pytest.MonkeyPatch) -> None:
    """A stick and air that take less time than real ones."""
    for name, value in HASTE.items():
        patch.setattr(name, value)


class Pressed(ZwaveDriver):
    """A driver with somebody at the switch who presses its button when it is to be removed."""

    def __init__(self, context: DriverContext, rig: "SimRig") -> None:
        super().__init__(context)
        self._rig = rig

    async def remove(self, key: str, *, force: bool) -> None:
        if not force and key == self._rig.key:
            await self._rig.control("pair", "plug")
        await super().remove(key, force=force)


class SimRig:
    """One simulated stick with a switch and others behind it; a driver for it."""

    radio = "zwave"
    kind = "ZWAVE"
    key = "2"
    good = Action("0", ON_OFF, "On")
    proof = ("0", ON_OFF, "OnOff", True)
    bad = Action("0", ON_OFF, "OnWithTimedOff", {"OnOffControl": 0, "OnTime": "long", "OffWaitTime": 0})

    def __init__(self, folder: Path, stick: str, **settings: Any) -> None:
        self.folder = folder
        self.stick = stick
        self.devices = DEVICES
        self.state_dir = folder / "state"
        self.secrets = FileSecrets(self.state_dir / "secrets")
        self.settings = {"port": str(folder / "zw"), "backups": 0, **settings}
        self.wanted = False  # whether the hub has commands for every device
        self._simulation: Simulation | None = None

    @property
    def simulation(self) -> Simulation:
        assert self._simulation is not None
        return self._simulation

    def interviewed(self, number: int, classes: dict[int, int], **more: Any) -> None:
        """What an earlier run has kept of a node that was there then."""
        book = NodeBook(self.state_dir / "nodes", HOME)
        record = NodeRecord(number, node_id(HOME, number), **{"security": [], "done": list(STAGES), **more})
        record.root.generic, record.root.specific, record.root.classes = 0x10, 0x01, classes
        book.adopt(asdict(record))
        network_keys(
            self.secrets, ZwaveSettings(), os.urandom
        )  # nodes that are met with new keys are interviewed again

    def secure(self, number: int, classes: list[int]) -> None:
        """These classes of a node count with its highest key only."""
        book = NodeBook(self.state_dir / "nodes", HOME)
        book.load()
        book.nodes[number].root.secure = classes
        book.save(number)

    async def start(self, faults: str = "", seed: int = 1) -> None:
        spec = {"kind": "zwave", "stick": self.stick, "devices": self.devices}
        self._simulation = await start(
            "zwave", spec, link=self.folder / "zw", state=self.folder / "sim.json", faults=faults, seed=seed
        )

    async def close(self) -> None:
        await self.simulation.close()

    def driver(self) -> Driver:
        settings = ZwaveSettings.model_validate(self.settings)
        clock = SystemClock()
        context = DriverContext(self.radio, settings, self.state_dir, clock, self.secrets, lambda _: self.wanted)
        return Pressed(context, self)

    async def control(self, op: str, device: str = "", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.simulation.control({"op": op, "device": device, **more})
        return answer

    async def label(self, device: str) -> str:
        """The DSK on a device's label."""
        return next(one["dsk"] for one in (await self.control("list"))["devices"] if one["name"] == device)

    async def join(self, device: str = "plug") -> None:
        await self.control("pair", device)

    async def change(self) -> tuple[str, str, str, Any]:
        await self.control("set", "plug", name="on_off", value=False)
        return ("0", ON_OFF, "OnOff", False)

    async def silence(self, silent: bool) -> None:  # noqa: FBT001
        await self.control("power", "plug", on=not silent)

    async def unplug(self) -> None:
        self.simulation._unplug()

    async def plug(self) -> None:
        self.simulation._plug()
