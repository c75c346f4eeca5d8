"""The Zigbee driver on a simulated stick, as the tests of the driver use it."""

from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.driver import Driver, DriverContext
from agent.model import Action
from agent.secret_store import FileSecrets, Secrets
from drivers.sim.zigbee.server import Simulation, start
from drivers.zigbee.driver import INFO
from drivers.zigbee.settings import ZigbeeSettings

PLUG, SENSOR, STRANGER = "00:12:4b:00:01:00:00:01", "00:12:4b:00:01:00:00:02", "00:12:4b:00:01:00:00:03"
CODED = "00:12:4b:00:01:00:00:04"
INSTALL_CODE = "83FED3407A939723A5C639B26916D505C3B5"
DEVICES: list[dict[str, Any]] = [
    {"name": "plug", "profile": "plug", "ieee": PLUG, "pairing": False},
    {"name": "sensor", "profile": "climate", "ieee": SENSOR, "pairing": False},
    {"name": "stranger", "profile": "plug", "ieee": STRANGER, "pairing": False},
    {"name": "coded", "profile": "plug", "ieee": CODED, "pairing": False, "install_code": INSTALL_CODE},
]
ON_OFF = "matter.OnOff@1.4"


class ZigbeeRig:
    """One simulated stick with a plug, a sleepy sensor and a stranger behind it; a driver for it. See driver_contract.Rig."""

    radio = "zigbee"
    kind = "ZIGBEE"
    key = PLUG
    good = Action("1", ON_OFF, "On")
    proof = ("1", ON_OFF, "OnOff", True)
    bad = Action("1", ON_OFF, "OnWithTimedOff", {"OnOffControl": 0, "OnTime": "long", "OffWaitTime": 0})

    def __init__(self, folder: Path, stick: str, **settings: Any) -> None:
        self.folder = folder
        self.stick = stick
        self.state_dir = folder / "state"
        self.store: Secrets | None = None  # another than files below the state folder
        self.settings = {"port": str(folder / "zb"), "radio": stick, **settings}
        self._simulation: Simulation | None = None

    @property
    def simulation(self) -> Simulation:
        assert self._simulation is not None
        return self._simulation

    async def start(self) -> None:
        spec = {"kind": "zigbee", "stick": self.stick, "ieee": "00:12:4b:00:00:00:aa:01", "devices": DEVICES}
        state = self.folder / "sim.json"
        self._simulation = await start("zigbee", spec, link=self.folder / "zb", state=state, faults="", seed=1)

    async def close(self) -> None:
        await self.simulation.close()

    @property
    def secrets(self) -> Secrets:
        return self.store or FileSecrets(self.state_dir / "secrets")

    def driver(self) -> Driver:
        settings = ZigbeeSettings.model_validate(self.settings)
        return INFO.open(DriverContext(self.radio, settings, self.state_dir, SystemClock(), self.secrets))

    async def control(self, op: str, device: str = "", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.simulation.control({"op": op, "device": device, **more})
        return answer

    async def join(self) -> None:
        await self.control("pair", "plug")

    async def change(self) -> tuple[str, str, str, Any]:
        await self.control("set", "plug", cluster=6, attribute=0, value=False, report=True)
        return ("1", ON_OFF, "OnOff", False)

    async def silence(self, silent: bool) -> None:  # noqa: FBT001
        await self.control("power", "plug", on=not silent)

    async def unplug(self) -> None:
        self.simulation._unplug()

    async def plug(self) -> None:
        self.simulation._plug()
