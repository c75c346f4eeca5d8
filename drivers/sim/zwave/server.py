"""Builds one simulated Z-Wave stick with its nodes, and serves it. I/O only."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agent.errors import ConfigError
from drivers.sim import home, serving
from drivers.sim.capture import Capture
from drivers.sim.faults import Faults
from drivers.sim.requests import ControlError
from drivers.sim.script import Script
from drivers.sim.zwave import control, house, persistence
from drivers.sim.zwave.stick import Stick

Json = dict[str, Any]
AWAY = 0.3  # seconds that a stick needs to enumerate again
LINKTYPE = 297  # LINKTYPE_ZWAVE_SERIAL: frames of the Serial API


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

    `capture` is a new file for what the stick says to its host and hears of it. Raises ConfigError.
    """
    profile = house.stick(name, spec)
    network, played = house.build(name, spec, seed=seed)
    stick = Stick(network, profile)
    scripts = [_script(stick, device) for device in played]
    file = None if capture is None else Capture(capture, LINKTYPE)
    simulation = Simulation(stick, link, state, Faults.parse(faults, seed), file)
    if home.truth(spec, "reenumerates", f"radios.{name}", default=False):
        stick.vanish = simulation.vanish
    await simulation.open(spec.get("port", "pty") == "tcp" or link is None)
    simulation.play(scripts)
    return simulation


def _script(stick: Stick, device: house.Played) -> Script:
    prepare = partial(control.prepare, stick)
    try:
        return Script(stick.network.timers.at, prepare, device.node.name, device.steps, repeat=device.repeat)
    except ControlError as error:
        text = f"the script cannot be played: {error}"
        raise ConfigError(text, place=device.place, remedy="see config/examples/home.toml") from error


class Simulation(serving.Simulation):
    """One running stick."""

    def __init__(
        self, stick: Stick, link: Path | None, state: Path | None, faults: Faults, capture: Capture | None
    ) -> None:
        super().__init__(stick, link, state, faults)
        self.stick = stick
        self.network = stick.network
        self._capture = capture
        if capture is not None:
            stick.link.overheard = capture.write

    def load(self, saved: Json, now: float) -> None:
        persistence.unpack(self.stick, saved, now)

    def save(self) -> Json:
        return persistence.pack(self.stick)

    def perform(self, request: Json, now: float) -> Json:
        return control.perform(self.stick, request, now)

    def fault(self, kind: str, count: int, now: float) -> None:
        """The next `count` things of a sort go wrong: see control.FAULTS."""
        control.arm(self.stick, kind, count)
        self.network.timers.run(now)

    def vanish(self) -> None:
        """Off the bus for a moment, once what is under way has been said."""
        self._loop.call_soon(self._unplug_for, {"seconds": AWAY})

    async def close(self) -> None:
        await super().close()
        if self._capture is not None:
            self._capture.close()


__all__ = ["Simulation", "start"]
