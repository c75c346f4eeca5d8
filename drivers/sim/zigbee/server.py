"""Builds one simulated Zigbee stick with its devices, and serves it. I/O only."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agent.errors import ConfigError
from drivers.sim import home, serving
from drivers.sim.capture import Capture
from drivers.sim.faults import Faults
from drivers.sim.requests import ControlError
from drivers.sim.script import Script
from drivers.sim.zigbee import air, control, ota
from drivers.sim.zigbee.ezsp import Ezsp
from drivers.sim.zigbee.install_code import link_key
from drivers.sim.zigbee.model import Aps, Delivery, FrontEnd, Json, ieee_text
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.profiles import PROFILES
from drivers.sim.zigbee.znp import Znp


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
    """The stick of `[radios.<name>]`: `link` names its pty (None: a TCP port), `state` the file that it survives in.

    `capture` is a new file for what is on the air. Raises ConfigError.
    """
    network = Network(home.own_ieee(name, spec), seed=seed)
    scripts = [script for device in home.devices(name, spec, PROFILES) if (script := _add(network, device))]
    simulation = Simulation(network, _front_end(name, spec, network), link, state, Faults.parse(faults, seed))
    await simulation.open(spec.get("port", "pty") == "tcp" or link is None)
    simulation.play(scripts)
    if capture is not None:
        simulation.record(capture)
    return simulation


def _add(network: Network, device: home.DeviceSpec) -> Script | None:
    """Put a device into the house; its script, if it has one. Raises ConfigError."""
    key = link_key(device.install_code) if device.install_code else b""
    node = Node(device.ieee, device.name, device.profile, device.pairing, key, device.poll)
    network.add(node)
    if device.firmware is not None:
        network.equip(node, ota.read(device.firmware, device.place))
    try:
        if not device.script:
            return None
        prepare = partial(control.prepare, network)
        return Script(network.at, prepare, ieee_text(node.ieee), device.script, repeat=device.repeat)
    except ControlError as error:
        text = f"the script cannot be played: {error}"
        raise ConfigError(text, place=device.place, remedy="see config/examples/home.toml") from error


STICKS: dict[str, Callable[[Network], FrontEnd]] = {"ezsp": Ezsp, "znp": Znp}


def _front_end(name: str, spec: Mapping[str, Any], network: Network) -> FrontEnd:
    stick = str(spec.get("stick", "ezsp"))
    if stick not in STICKS:
        known = ", ".join(f'"{kind}"' for kind in STICKS)
        raise ConfigError(f"no simulated stick {stick!r}", place=f"radios.{name}.stick", remedy=f"known: {known}")
    return STICKS[stick](network)


class Simulation(serving.Simulation):
    """One running stick over one Network."""

    def __init__(
        self, network: Network, front_end: FrontEnd, link: Path | None, state: Path | None, faults: Faults
    ) -> None:
        super().__init__(front_end, link, state, faults)
        self.network = network
        self._stick = front_end
        self._capture: Capture | None = None

    def load(self, saved: Json, now: float) -> None:
        self.network.restore(saved["network"], now)
        self._stick.restore(saved["stick"])

    def save(self) -> Json:
        return {"network": self.network.snapshot(), "stick": self._stick.snapshot()}

    def perform(self, request: Json, now: float) -> Json:
        return self.network.control(request, now)

    def fault(self, kind: str, count: int, now: float) -> None:
        """The next `count` messages of the hub end in `kind`."""
        known = [delivery.value for delivery in Delivery if delivery is not Delivery.DELIVERED]
        if kind not in known:
            raise ControlError(f"no fault {kind!r}; there are {', '.join(known)}")
        for _ in range(count):
            self._stick.fault(kind, now)

    def record(self, path: Path) -> None:
        """Write every message on the air to a capture file."""
        file = self._capture = Capture(path, air.LINKTYPE)

        def overheard(aps: Aps) -> None:
            pan_id = self.network.params.pan_id if self.network.params is not None else 0xFFFF
            file.write(air.frame(aps, pan_id, file.frames))

        self.network.overheard = overheard

    async def close(self) -> None:
        await super().close()
        if self._capture is not None:
            self._capture.close()


__all__ = ["Simulation", "start"]
