"""Serves one simulated Zigbee stick on a pty or a TCP port, in real time, with a control socket. I/O only.

The pty survives a hub that closes and opens it again; `unplug` makes it vanish, and brings it back under the same link or another.
"""

import asyncio
import contextlib
import json
import os
import termios
import tty
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent import files
from agent.errors import ConfigError
from drivers.sim import home
from drivers.sim.capture import Capture
from drivers.sim.faults import Faults
from drivers.sim.zigbee import air
from drivers.sim.zigbee.control import ControlError
from drivers.sim.zigbee.ezsp import Ezsp
from drivers.sim.zigbee.install_code import link_key
from drivers.sim.zigbee.model import Aps, FrontEnd, Json, parse_ieee
from drivers.sim.zigbee.network import Network
from drivers.sim.zigbee.node import Node
from drivers.sim.zigbee.profiles import PROFILES
from drivers.sim.zigbee.script import Script
from drivers.sim.zigbee.znp import Znp

SAVE_EVERY = 1.0  # seconds; a power cut of the simulated stick may cost this much of its devices' values
READ = 65536


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
    network = Network(parse_ieee(str(spec.get("ieee", "00:12:4b:00:00:00:aa:01"))), seed=seed)
    scripts = [script for device in home.devices(name, spec, PROFILES) if (script := _add(network, device))]
    simulation = Simulation(network, _front_end(name, spec, network), link, state, Faults.parse(faults, seed))
    await simulation.open(spec.get("port", "pty") == "tcp" or link is None)
    simulation.play(scripts)
    if capture is not None:
        simulation.record(capture)
    return simulation


def _add(network: Network, device: home.DeviceSpec) -> Script | None:
    """Put a device into the house; its script, if it has one. Raises ConfigError."""
    key = link_key(bytes.fromhex(device.install_code)) if device.install_code else b""
    node = Node(device.ieee, device.name, device.profile, device.pairing, key, device.poll)
    network.add(node)
    try:
        return Script(network, node, device.script, repeat=device.repeat) if device.script else None
    except (ControlError, KeyError) as error:
        text = f"the script cannot be played: {error}"
        raise ConfigError(text, place=device.place, remedy="see config/examples/home.toml") from error


STICKS: dict[str, Callable[[Network], FrontEnd]] = {"ezsp": Ezsp, "znp": Znp}


def _front_end(name: str, spec: Mapping[str, Any], network: Network) -> FrontEnd:
    stick = str(spec.get("stick", "ezsp"))
    if stick not in STICKS:
        known = ", ".join(f'"{kind}"' for kind in STICKS)
        raise ConfigError(f"no simulated stick {stick!r}", place=f"radios.{name}.stick", remedy=f"known: {known}")
    return STICKS[stick](network)


class Simulation:
    """One running stick."""

    def __init__(
        self, network: Network, front_end: FrontEnd, link: Path | None, state: Path | None, faults: Faults
    ) -> None:
        self.network = network
        self.port = ""
        self.control_path: Path | None = None
        self.plugged = False
        self.unplugs = 0
        self._front_end, self._link, self._state, self._faults = front_end, link, state, faults
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._saver: asyncio.TimerHandle | None = None
        self._master = self._slave = -1
        self._writer: asyncio.StreamWriter | None = None
        self._servers: list[asyncio.Server] = []
        self._out = b""
        self._capture: Capture | None = None
        self._mute_until = 0.0
        self._saved = ""

    async def open(self, tcp: bool) -> None:  # noqa: FBT001  a pty or a port
        """Take up the saved state and be there for the hub."""
        if self._state is not None and self._state.exists():
            saved = json.loads(self._state.read_text(encoding="utf-8"))
            self.network.restore(saved["network"], self._loop.time())
            self._front_end.restore(saved["stick"])
        if tcp:
            server = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
            self._servers.append(server)
            self.port = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.plugged = True
        else:
            self._plug()
        if self._link is not None:
            self.control_path = self._link.with_name(self._link.name + ".control")
            self.control_path.unlink(missing_ok=True)
            self._servers.append(await asyncio.start_unix_server(self._serve_control, self.control_path))
        self._save_later()

    def record(self, path: Path) -> None:
        """Write every message on the air to a capture file."""
        file = self._capture = Capture(path, air.LINKTYPE)

        def overheard(aps: Aps) -> None:
            pan_id = self.network.params.pan_id if self.network.params is not None else 0xFFFF
            file.write(air.frame(aps, pan_id, file.frames))

        self.network.overheard = overheard

    def play(self, scripts: list[Script]) -> None:
        """Let devices do by themselves what their scripts say."""
        for script in scripts:
            script.start(self._loop.time())
        self._pump()

    async def close(self) -> None:
        """Unplug for good, and keep the state."""
        self._unplug()
        if self._capture is not None:
            self._capture.close()
        for server in self._servers:
            server.close()
        for timer in (self._timer, self._saver):
            if timer is not None:
                timer.cancel()
        if self.control_path is not None:
            self.control_path.unlink(missing_ok=True)
        self._save()

    # ---- control ----------------------------------------------------------------------------------------------------

    async def control(self, request: Json) -> Json:
        """One request of a test or a person; `unplug`, `mute`, `reset` and `faults` are the stick's, the rest is the network's."""
        if request.get("op") == "unplug":
            self._unplug()
            if request.get("new_path") and self._link is not None:
                self._link = self._link.with_name(self._link.name.split("~")[0] + f"~{self.unplugs}")
            self._loop.call_later(float(request.get("seconds", 1.0)), self._plug)
            return {"ok": True}
        if request.get("op") == "faults":
            self._faults = Faults.parse(str(request.get("spec", "")), int(request.get("seed", 1)))
            return {"ok": True}
        if request.get("op") == "mute":  # a stick that hangs: it neither hears nor says anything
            self._mute_until = self._loop.time() + float(request.get("seconds", 10.0))
            return {"ok": True}
        if request.get("op") == "reset":
            self._front_end.reset(self._loop.time())
            self._pump()
            return {"ok": True}
        answer = self.network.control(request, self._loop.time())
        self._pump()
        return answer

    async def _serve_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    answer = await self.control(json.loads(line))
                except (ControlError, ValueError) as error:
                    answer = {"error": str(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    # ---- the wire ---------------------------------------------------------------------------------------------------

    def _plug(self) -> None:
        if self._link is None or self.plugged:
            return
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        self.port = str(self._link)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(self._slave))
        self._loop.add_reader(self._master, self._readable)
        self.plugged = True
        self._front_end.reset(self._loop.time())
        self._pump()

    def _unplug(self) -> None:
        self.unplugs += 1
        self.plugged = False
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._master >= 0:
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            os.close(self._slave)
            os.close(self._master)
            self._master = self._slave = -1
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        self._out = b""

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ):
                self._take(data)
        writer.close()
        if self._writer is writer:
            self._writer = None

    def _readable(self) -> None:
        try:
            data = os.read(self._master, READ)
        except BlockingIOError:
            return
        except OSError:
            return  # nobody has the port open
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self._loop.time() < self._mute_until:
            return
        for piece in self._faults.spoil(data):
            self._front_end.receive(piece, self._loop.time())
        self._pump()

    def _pump(self) -> None:
        """Drain the stick and sleep until it has something to say again."""
        now = self._loop.time()
        for frame in self._front_end.poll(now):
            for piece in self._faults.spoil(frame):
                delay = self._faults.delay(len(piece), now)
                if delay > 0:
                    self._loop.call_later(delay, self._send, piece)
                else:
                    self._send(piece)
        due = self._front_end.next_deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(max(due, now + 0.0005), self._pump)

    def _send(self, data: bytes) -> None:
        if self._loop.time() < self._mute_until:
            return
        if self._writer is not None:
            self._writer.write(data)
        elif self._master >= 0:
            self._out += data
            self._writable()

    def _writable(self) -> None:
        if self._master < 0:
            return
        try:
            written = os.write(self._master, self._out)
        except BlockingIOError:
            written = 0
        except OSError:
            written = len(self._out)  # nobody listens: a real stick talks to the air as well
        self._out = self._out[written:]
        if self._out:
            self._loop.add_writer(self._master, self._writable)
        else:
            self._loop.remove_writer(self._master)

    # ---- state ------------------------------------------------------------------------------------------------------

    def _save_later(self) -> None:
        self._save()
        self._saver = self._loop.call_later(SAVE_EVERY, self._save_later)

    def _save(self) -> None:
        if self._state is None:
            return
        text = json.dumps({"network": self.network.snapshot(), "stick": self._front_end.snapshot()})
        if text != self._saved:
            self._saved = text
            files.write_atomic(self._state, text.encode())


__all__ = ["Simulation", "start"]
