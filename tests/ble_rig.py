"""The Bluetooth driver on a simulated BlueZ, as the tests of the driver use it: bleak's shipped back end speaks to it over D-Bus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.driver import DriverContext
from agent.model import Action
from agent.secret_store import FileSecrets, Secrets
from drivers.ble.driver import BleDriver
from drivers.ble.settings import BleSettings
from drivers.sim.ble.server import Simulation, start

LAMP, BUTTON, THERMOMETER = "A4:C1:38:00:00:01", "A4:C1:38:00:00:02", "A4:C1:38:00:00:03"
LOCKED, HEART, CLIMATE, RUUVI = "A4:C1:38:00:00:04", "A4:C1:38:00:00:05", "A4:C1:38:00:00:06", "A4:C1:38:00:00:07"
EDDYSTONE, IBEACON = "A4:C1:38:00:00:08", "A4:C1:38:00:00:09"
KEY = "231d39c1d7cc1ab1aee224cd096db932"
ON_OFF = "matter.OnOff@1.4"


def device(name: str, profile: str, address: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "profile": profile, "address": address, "pairing": False, "interval": 0.05, **more}


DEVICES = [
    device("lamp", "gatt-lamp", LAMP),
    device("button", "bthome-button", BUTTON),
    device("thermometer", "bthome-thermometer", THERMOMETER),
    device("locked", "gatt-lamp", LOCKED, passkey="123456"),
    device("strap", "heart-rate", HEART),
    device("climate", "gatt-climate", CLIMATE),
    device("tag", "ruuvi", RUUVI),
    device("url", "eddystone", EDDYSTONE),
    device("beacon", "ibeacon", IBEACON),
]


class BleRig:
    """A simulated BlueZ with one device of each kind around it; a driver for it. See driver_contract.Rig."""

    radio = "ble"
    kind = "BLE"
    key = LAMP
    good = Action("1", ON_OFF, "On")
    proof = ("1", ON_OFF, "OnOff", True)
    bad = Action("1", ON_OFF, "OnWithTimedOff", {"OnOffControl": 0, "OnTime": "long", "OffWaitTime": 0})

    def __init__(self, folder: Path, spec: dict[str, Any] | None = None, **settings: Any) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.spec = {"kind": "ble", "devices": DEVICES, **(spec or {})}
        self.settings = {"report_interval": 0, "backoff": 0.1, "answer_timeout": 2, "connect_timeout": 5, **settings}
        self._simulation: Simulation | None = None

    @property
    def simulation(self) -> Simulation:
        assert self._simulation is not None
        return self._simulation

    async def start(self) -> None:
        state = self.folder / "sim.json"
        self._simulation = await start("ble", self.spec, link=self.folder / "ble", state=state, faults="", seed=1)

    async def close(self) -> None:
        await self.simulation.close()

    @property
    def secrets(self) -> Secrets:
        return FileSecrets(self.state_dir / "secrets")

    def driver(self, *, state: str = "state", **settings: Any) -> BleDriver:
        made = BleSettings.model_validate({"bus": self.simulation.port, **self.settings, **settings})
        return BleDriver(DriverContext(self.radio, made, self.folder / state, SystemClock(), self.secrets))

    async def control(self, op: str, device: str = "", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.simulation.control({"op": op, "device": device, **more})
        return answer

    async def join(self) -> None:
        await self.control("pair", "lamp")

    async def change(self) -> tuple[str, str, str, Any]:
        await self.control("set", "lamp", name="on", value=False)
        return ("1", ON_OFF, "OnOff", False)

    async def silence(self, silent: bool) -> None:  # noqa: FBT001
        await self.control("power", "lamp", on=not silent)

    async def unplug(self) -> None:
        await self.control("adapter", present=False)

    async def plug(self) -> None:
        await self.control("adapter", present=True)


@asynccontextmanager
async def ble_rig(folder: Path, spec: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[BleRig]:
    rig = BleRig(folder, spec, **settings)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.close()
