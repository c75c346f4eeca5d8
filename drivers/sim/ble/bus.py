"""A dbus-daemon of our own, and the simulated BlueZ on it. I/O only; what BlueZ says is in world."""

import asyncio
import contextlib
import select
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbus_fast import BusType, DBusError, Message, MessageType, NameFlag, RequestNameReply, Variant, unpack_variants
from dbus_fast.aio import MessageBus

from agent.errors import HubError
from drivers.sim.ble.objects import Added, AskAgent, Call, Changed, Property, Refusal, Removed, Saying

BLUEZ, ROOT = "org.bluez", "/"
DBUS, DBUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
OBJECTS, PROPERTIES = "org.freedesktop.DBus.ObjectManager", "org.freedesktop.DBus.Properties"
MONITOR = "org.bluez.AdvertisementMonitor1"
AGENT = "org.bluez.Agent1"
FULL_PAUSE = 0.002  # seconds until a socket that was full is looked at again
LONGEST_PATH = 100  # octets of a socket's name (108 with its end, less what the daemon adds)
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true"/><allow receive_type="method_call"/><allow receive_type="signal"/>
    <allow receive_requested_reply="true"/>
  </policy>
  <limit name="max_connections_per_user">256</limit>
  <limit name="max_outgoing_bytes">134217728</limit>
</busconfig>
"""


class Daemon:
    """A dbus-daemon on a socket of its own."""

    def __init__(self, socket: Path) -> None:
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if len(str(socket)) > LONGEST_PATH:  # a socket's name is short; the folders of tests are not
            self._scratch = tempfile.TemporaryDirectory(prefix="hub-agent-bus-")
            socket = Path(self._scratch.name) / "bus"
        self._socket = socket
        self._process: asyncio.subprocess.Process | None = None
        self.address = f"unix:path={socket}"

    async def start(self) -> None:
        """Raises HubError."""
        program = shutil.which("dbus-daemon")
        if program is None:
            raise HubError("dbus-daemon is not installed", remedy="apt-get install dbus-daemon")
        config = self._socket.with_name(self._socket.name + ".conf")
        config.write_text(CONFIG.format(socket=self._socket), encoding="utf-8")
        self._socket.unlink(missing_ok=True)
        with_us = ("setpriv", "--pdeathsig", "TERM")  # also where we are killed
        command = (
            *with_us,
            program,
            f"--config-file={config}",
            "--nofork",
            "--nopidfile",
            "--nosyslog",
            "--print-address",
        )
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        if (
            self._process.stdout is None or not await self._process.stdout.readline()
        ):  # it listens when it has said where
            _, said = await self._process.communicate()
            raise HubError(f"dbus-daemon does not start: {said.decode(errors='replace').strip()}", place=str(config))

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # reads its pipe to the end, so that it is closed
        self._socket.unlink(missing_ok=True)

    async def remove(self) -> None:
        await self.stop()
        self._socket.with_name(self._socket.name + ".conf").unlink(missing_ok=True)
        if self._scratch is not None:
            self._scratch.cleanup()


class Service:
    """org.bluez on a bus. `called`, `exported` and `gone` are told of calls, monitors of clients, and clients that leave."""

    def __init__(
        self,
        address: str,
        objects: Callable[[], dict[str, dict[str, dict[str, Property]]]],
        called: Callable[[Call], None],
        exported: Callable[[str, str, tuple[tuple[int, int, bytes], ...]], None],
        gone: Callable[[str], None],
    ) -> None:
        self._address, self._objects = address, objects
        self._called, self._exported, self._gone = called, exported, gone
        self._bus: MessageBus | None = None
        self._agents: set[asyncio.Task[None]] = set()
        self._queue: deque[Message] = deque()
        self._flushing: asyncio.TimerHandle | None = None
        self.passkey: Callable[[Any, int | None], None] = lambda _token, _passkey: None

    async def start(self) -> None:
        bus = MessageBus(self._address, BusType.SYSTEM)
        await bus.connect()
        bus.add_message_handler(self._heard)
        rules = (
            f"type='signal',sender='{DBUS}',member='NameOwnerChanged'",
            f"type='signal',interface='{OBJECTS}',member='InterfacesAdded'",
        )
        for rule in rules:
            await bus.call(Message(DBUS, DBUS_PATH, DBUS, "AddMatch", signature="s", body=[rule]))
        reply = await bus.request_name(BLUEZ, NameFlag.DO_NOT_QUEUE)
        if reply is not RequestNameReply.PRIMARY_OWNER:
            raise HubError(f"another BlueZ has the bus: {reply.name}", place=self._address)
        self._bus = bus

    async def stop(self) -> None:
        """End as a process that is killed does: without a word."""
        bus, self._bus = self._bus, None
        self._queue.clear()
        if self._flushing is not None:
            self._flushing.cancel()
        for task in self._agents:
            task.cancel()
        if bus is not None:
            bus.disconnect()
            with contextlib.suppress(OSError, EOFError, DBusError):
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    # ---- in ---------------------------------------------------------------------------------------------------------

    def _heard(self, message: Message) -> Message | bool | None:
        if message.message_type is MessageType.SIGNAL:
            self._signal(message)
            return None
        if message.message_type is not MessageType.METHOD_CALL or self._bus is None:
            return None
        if message.member == "GetManagedObjects" and message.path == ROOT:
            found = {path: _variants(interfaces) for path, interfaces in self._objects().items()}
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [found])
        body = tuple(unpack_variants(message.body))
        self._called(
            Call(message, message.sender or "", message.path or "", message.interface or "", message.member or "", body)
        )
        return True

    def _signal(self, message: Message) -> None:
        if message.member == "NameOwnerChanged" and message.body[0].startswith(":") and not message.body[2]:
            self._gone(message.body[0])
        elif message.member == "InterfacesAdded" and MONITOR in message.body[1] and message.sender:
            patterns = message.body[1][MONITOR].get("Patterns")
            found = tuple((start, kind, bytes(octets)) for start, kind, octets in patterns.value) if patterns else ()
            self._exported(message.sender, message.body[0], found)

    # ---- out --------------------------------------------------------------------------------------------------------

    def say(self, sayings: list[Saying]) -> None:
        """Send what BlueZ has to say, in order; nothing is said after its end."""
        for saying in sayings:
            if self._bus is None or not self._bus.connected:
                return
            match saying:
                case Added(path, interfaces):
                    self._emit(ROOT, OBJECTS, "InterfacesAdded", "oa{sa{sv}}", [path, _variants(interfaces)])
                case Removed(path, names):
                    self._emit(ROOT, OBJECTS, "InterfacesRemoved", "oas", [path, list(names)])
                case Changed(path, interface, properties):
                    values = {name: _variant(one) for name, one in properties.items()}
                    self._emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, values, []])
                case Refusal(token, name, text):
                    error = name if "." in name else f"org.bluez.Error.{name}"
                    self._send(Message.new_error(token, error, text))
                case AskAgent():
                    task = asyncio.ensure_future(self._ask(self._bus, saying))
                    self._agents.add(task)
                    task.add_done_callback(self._agents.discard)
                case _:
                    body = [_content(one) for one in saying.body]
                    self._send(Message.new_method_return(saying.token, saying.signature, body))

    def _send(self, message: Message) -> None:
        self._queue.append(message)
        if self._flushing is None:
            self._flush()

    def _flush(self) -> None:
        """dbus_fast gives a connection up whose socket takes nothing for a moment, so nothing is sent before it does."""
        self._flushing = None
        while self._queue and self._bus is not None and self._bus.connected:
            if not _takes(self._bus):
                self._flushing = asyncio.get_running_loop().call_later(FULL_PAUSE, self._flush)
                return
            self._bus.send(self._queue.popleft())

    def _emit(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        self._send(Message.new_signal(path, interface, member, signature, body))

    async def _ask(self, bus: MessageBus, ask: AskAgent) -> None:
        call = Message(ask.sender, ask.agent, AGENT, "RequestPasskey", signature="o", body=[ask.device])
        answer = await bus.call(call)
        good = answer.message_type is MessageType.METHOD_RETURN
        self.passkey(ask.token, int(answer.body[0]) if good else None)


def _takes(bus: MessageBus) -> bool:
    """Whether its socket has room; there is no public way to it."""
    number = bus._fd  # noqa: SLF001
    return number is not None and bool(select.select((), (number,), (), 0)[1])


def _variant(one: Property) -> Variant:
    return Variant(one[0], _content(one[1]) if one[0].startswith("a{") else one[1])


def _content(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _variant(one) for key, one in value.items()}
    return value


def _variants(interfaces: dict[str, dict[str, Property]]) -> dict[str, dict[str, Variant]]:
    return {name: {key: _variant(one) for key, one in properties.items()} for name, properties in interfaces.items()}


__all__ = ["Daemon", "Service"]
