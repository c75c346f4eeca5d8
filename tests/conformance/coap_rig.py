"""The CoAP driver on simulated devices, as the tests of the driver use it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.driver import Driver, DriverContext
from agent.model import Action, Discovery
from agent.secret_store import FileSecrets
from drivers.coap import session
from drivers.coap.driver import INFO
from drivers.coap.settings import CoapSettings
from drivers.sim.coap.server import Simulation, start

SECRET, PSK = "000102030405060708090a0b0c0d0e0f", "736563726574"
OSCORE = {"secret": SECRET, "sender": "01", "recipient": "02"}
ON_OFF, LEVEL, TEMPERATURE = "matter.OnOff@1.4", "matter.LevelControl@1.4", "matter.TemperatureMeasurement@1.4"
DEVICES: list[dict[str, Any]] = [{"name": "lamp", "profile": "light"}]
FAST = {"ack_timeout": 0.05, "retransmissions": 2, "response_timeout": 0.3}  # seconds; the network is this host


class CoapRig:
    """Simulated devices and a driver for them. See driver_contract.Rig; the first device is the one that joins.

    A network interface cannot be unplugged without root: what the driver sees of the host's interfaces is set instead.
    """

    radio = "coap"
    kind = "COAP"
    good = Action("3311x0", ON_OFF, "On")
    proof = ("3311x0", ON_OFF, "OnOff", True)
    bad = Action("3311x0", LEVEL, "MoveToLevel", {"Level": "high"})

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, devices: list[dict[str, Any]] | None = None, **spec: Any
    ) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.settings: dict[str, Any] = {"interfaces": ["lo"], **FAST}
        self._devices = devices or DEVICES
        self._spec = spec
        self._patch = patch
        self._simulation: Simulation | None = None

    @property
    def simulation(self) -> Simulation:
        assert self._simulation is not None
        return self._simulation

    async def start(self) -> None:
        spec = {"kind": "coap", "devices": self._devices, **self._spec}
        state = self.folder / "sim.json"
        self._simulation = await start("coap", spec, link=self.folder / "coap", state=state, faults="", seed=1)
        self._patch.setattr(session, "LOOK", 0.1)
        self.settings.setdefault(
            "addresses", [self.address(d["name"]) for d in self._devices if "psk" not in d and "secret" not in d]
        )

    def port(self, name: str) -> int:
        return self.simulation.devices[name].port

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.port(name)}"

    @property
    def key(self) -> str:
        return f"127.0.0.1-{self.port(self._devices[0]['name'])}"

    async def close(self) -> None:
        await self.simulation.close()

    def material(self, name: str) -> str:
        """What `--auth` says of a device."""
        spec = next(device for device in self._devices if device["name"] == name)
        if "psk" in spec:
            return f"coaps://{self.address(name)}?identity=hub&psk={spec['psk']}"
        if "secret" in spec:
            keys = "&".join(f"{key}={spec[key]}" for key in ("secret", "sender", "recipient"))
            return f"coap://{self.address(name)}?{keys}"
        return f"coap://{self.address(name)}"

    def driver(self) -> Driver:
        settings = CoapSettings.model_validate(self.settings)
        secrets = FileSecrets(self.state_dir / "secrets")
        return INFO.open(DriverContext(self.radio, settings, self.state_dir, SystemClock(), secrets))

    async def control(self, op: str, device: str = "lamp", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.simulation.control({"op": op, "device": device, **more})
        return answer

    async def join(self) -> None:
        await self.control("power", self._devices[0]["name"], on=True)

    async def change(self) -> tuple[str, str, str, Any]:
        await self.control("set", path="/3311/0/5850", value=False)
        return ("3311x0", ON_OFF, "OnOff", False)

    async def silence(self, silent: bool) -> None:  # noqa: FBT001
        await self.control("power", on=not silent)

    async def unplug(self) -> None:
        self._patch.setattr(session, "missing", lambda interfaces: interfaces)

    async def plug(self) -> None:
        self._patch.setattr(session, "missing", lambda _: [])


class ProtectedRig(CoapRig):
    """The same with a device that has a key: a discovery without material names it, as the contract's tests know none."""

    def driver(self) -> Driver:
        made = super().driver()
        discover = made.discover

        async def named(request: Discovery) -> None:
            name = str(self._devices[0]["name"])
            await discover(request if request.material else replace(request, material=self.material(name)))

        self._patch.setattr(made, "discover", named)
        return made


Made = Callable[..., Awaitable[CoapRig]]  # what the fixture `make` of tests/coap gives
