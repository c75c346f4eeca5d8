"""Serves one simulated stick on a pty or a TCP port, in real time, with a control socket. I/O only; the sticks themselves are pure.

The pty survives a hub that closes and opens it again; `unplug` makes it vanish, and brings it back under the same link or another.
"""

import asyncio
import contextlib
import json
import os
import termios
import tty
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

from agent import files
from drivers.sim.control_socket import ControlSocket
from drivers.sim.faults import Faults
from drivers.sim.requests import ControlError, real, truth, whole
from drivers.sim.script import Script

Json = dict[str, Any]

SAVE_EVERY = 1.0  # seconds; a power cut of the simulated stick may cost this much of its devices' values
READ = 65536


class FrontEnd(Protocol):
    """A stick's serial protocol: bytes in, wire frames out. Pure; this module brings bytes and time."""

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the host, in any pieces. Garbage is counted, never raised."""

    def poll(self, now: float) -> list[bytes]:
        """Drain what is due at `now`: complete frames for the host, in order."""

    def next_deadline(self) -> float | None:
        """When poll() has work again; None = only after receive()."""

    def reset(self, now: float) -> None:
        """The stick restarts by itself (power, crash): volatile state goes, the host hears a reset indication."""


class Simulation(ABC):
    """One running stick. A kind of radio says in a subclass what it keeps, and what its control socket can do."""

    def __init__(self, front_end: FrontEnd, link: Path | None, state: Path | None, faults: Faults) -> None:
        self.port = ""
        self.control_path: Path | None = None
        self._socket: ControlSocket | None = None
        self.plugged = False
        self.unplugs = 0
        self._front_end, self._link, self._state, self._faults = front_end, link, state, faults
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._saver: asyncio.TimerHandle | None = None
        self._replug: asyncio.TimerHandle | None = None
        self._master = self._slave = -1
        self._writer: asyncio.StreamWriter | None = None
        self._servers: list[asyncio.Server] = []
        self._out = b""
        self._mute_until = 0.0
        self._tcp = False
        self._saved = ""

    async def open(self, tcp: bool) -> None:  # noqa: FBT001  a pty or a port
        """Take up the saved state and be there for the hub."""
        if self._state is not None and self._state.exists():
            self.load(json.loads(self._state.read_text(encoding="utf-8")), self._loop.time())
        self._tcp = tcp
        if tcp:
            server = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
            self._servers.append(server)
            self.port = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._plug()
        if self._link is not None:
            self._socket = ControlSocket(self._link, self.control)
            await self._socket.open()
            self.control_path = self._socket.path
        self._save_later()

    # ---- what a kind of radio adds ----------------------------------------------------------------------------------

    @abstractmethod
    def load(self, saved: Json, now: float) -> None:
        """Take up what `save` gave."""

    @abstractmethod
    def save(self) -> Json:
        """What survives a power cut."""

    @abstractmethod
    def perform(self, request: Json, now: float) -> Json:
        """An operation on the network or its devices. Raises ControlError."""

    @abstractmethod
    def fault(self, kind: str, count: int, now: float) -> None:
        """The next `count` things of a sort go wrong. Raises ControlError."""

    # ---- life -------------------------------------------------------------------------------------------------------

    def play(self, scripts: list[Script]) -> None:
        """Let devices do by themselves what their scripts say."""
        for script in scripts:
            script.start(self._loop.time())
        self.pump()

    async def close(self) -> None:
        """Unplug for good, and keep the state."""
        self._unplug()
        for server in self._servers:
            server.close()
        for timer in (self._timer, self._saver, self._replug):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            self._socket.close()
        self._save()

    # ---- control ----------------------------------------------------------------------------------------------------

    async def control(self, request: Json) -> Json:
        """One request of a test or a person: the stick's own, or the network's. Raises ControlError, ConfigError."""
        operation = {
            "unplug": self._unplug_for,
            "reset": self._reset,
            "fault": self._fault,
            "faults": self._set_faults,
            "mute": self._mute,
        }.get(str(request.get("op")))
        if operation is None or (request.get("op") == "mute" and request.get("device")):
            answer = self.perform(request, self._loop.time())
        else:
            operation(request)
            answer = {"ok": True}
        self.pump()
        return answer

    def _unplug_for(self, request: Json) -> None:
        """The stick is away for some seconds; with `new_path` it comes back under another name, as a real one does."""
        seconds, elsewhere = real(request, "seconds", 1.0), truth(request, "new_path", default=False)
        self._plugged_in("unplugged already")
        self._unplug()
        if elsewhere and self._link is not None:
            self._link = self._link.with_name(self._link.name.split("~")[0] + f"~{self.unplugs}")
        self._replug = self._loop.call_later(seconds, self._plug)

    def _reset(self, _request: Json) -> None:
        """The stick restarts by itself."""
        self._plugged_in("unplugged: it restarts when it is plugged in")
        self._front_end.reset(self._loop.time())

    def _fault(self, request: Json) -> None:
        """The next `count` things of a sort end in `kind`."""
        self.fault(str(request.get("kind")), whole(request, "count", 1), self._loop.time())

    def _set_faults(self, request: Json) -> None:
        """Faults at the wire from now on, by a text of faults.py."""
        self._faults = Faults.parse(str(request.get("spec", "")), whole(request, "seed", 1, 1 << 62))

    def _mute(self, request: Json) -> None:
        """A stick that hangs: it neither hears nor says anything for some seconds. 0 seconds end it."""
        self._mute_until = self._loop.time() + real(request, "seconds", 10.0)

    def _plugged_in(self, otherwise: str) -> None:
        if not self.plugged:
            raise ControlError(f"the stick is {otherwise}")

    # ---- the wire ---------------------------------------------------------------------------------------------------

    def _plug(self) -> None:
        if self.plugged:
            return
        self.plugged = True
        if not self._tcp and self._link is not None:
            self._open_pty(self._link)
        self._front_end.reset(self._loop.time())
        self.pump()

    def _open_pty(self, link: Path) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        self.port = str(link)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._slave))
        self._loop.add_reader(self._master, self._readable)

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
        if not self.plugged:
            writer.close()
            return
        if self._writer is not None:
            self._writer.close()  # the newest host has the line
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
        self.pump()

    def pump(self) -> None:
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
            self._timer = self._loop.call_at(max(due, now + 0.0005), self.pump)

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
        text = json.dumps(self.save())
        if text != self._saved:
            self._saved = text
            files.write_atomic(self._state, text.encode())
