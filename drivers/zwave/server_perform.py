"""What the hub asks of a network behind a zwave-js-server. Each method of the contract, by its name."""

import asyncio
import base64
import binascii
import json
from typing import Any

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, InvalidParameters, NotNow, UnknownDevice
from agent.driver import execute_each as each
from agent.model import Action, Command, DeviceLost, Discovery, JsonValue, Outcome
from drivers.told import Values
from drivers.zwave.catalog import ZWaveGet, ZWaveSet
from drivers.zwave.server_commands import request
from drivers.zwave.server_home import Home
from drivers.zwave.server_joining import Joining
from drivers.zwave.server_json import Json, Malformed, StickRestarts, done, whole
from drivers.zwave.server_nodes import ServerNode
from drivers.zwave.server_values import told

ARRIVAL = 10.0  # seconds until one is asked that was to say when it has arrived, and did not
MEMORY = 600.0  # seconds that the memory of a stick may take: the slowest are read at 20 bytes a frame
RESTART = 60.0  # seconds for a stick that starts anew
BACKUP = "zwave-js-server-nvm"


class Contract:
    """The driver's contract on one server."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._joining = Joining(home)
        self._written, self._ends = (
            0,
            False,
        )  # bytes of a backup in the stick's memory; whether those under way are the last
        home.watchers.append(self._heard)

    # ---- commands -------------------------------------------------------------------------------------------------------

    async def execute(self, command: Command) -> Outcome:
        """Raises NotNow for a device that sleeps: nothing was sent. DriverLost."""
        home = self._home
        home.check()

        async def perform(action: Action) -> dict[str, JsonValue]:
            node = home.node(command.device.key)
            assert node.map is not None  # noqa: S101  else there is no such device
            steps = node.map.translate(action)
            home.awake(node)
            values: dict[str, JsonValue] = {}
            for step in steps:
                if isinstance(step, ZWaveGet):
                    values.update(await self._ask(node, action, step))
                else:
                    await self._do(node, step)
            return values

        return await each(command, perform, home.now)

    async def _ask(self, node: ServerNode, action: Action, step: ZWaveGet) -> dict[str, JsonValue]:
        which = await self._home.poll(node, step)
        wanted = action.parameters.get("propertiesToRead") or ["*"]
        values: dict[str, JsonValue] = {}
        try:
            commands = told(node.store, which)
            said = [one for command in commands for one in self._read(node, which.endpoint, command)]
        except ValueError as error:
            raise DeviceRefused(f"the device answered nonsense: {error}") from error
        for one in said:
            if isinstance(one, Values) and (one.endpoint, one.capability) == (action.endpoint, action.capability):
                values.update({name: v for name, v in one.properties.items() if "*" in wanted or name in wanted})
        return values

    def _read(self, node: ServerNode, endpoint: int, command: Any) -> tuple[Any, ...]:
        return () if node.map is None else node.map.heard(endpoint, command, asked=True)

    async def _do(self, node: ServerNode, step: ZWaveSet) -> None:
        call = request(step)
        try:
            result = await self._home.socket.call(call.command, nodeId=node.id, **call.arguments)
        except DeviceUnreachable as error:
            if node.sleepy:
                raise NotNow(f"the device sleeps ({error})") from error
            raise
        confirmed = done(result)
        if call.checked:
            return
        if confirmed and step.proves:
            self._home.speaker.prove(node, step.endpoint, step.proves)
        elif step.confirm:
            waits = confirmed is False or step.seconds is None
            self._home.soon(self._confirm(node, step, ARRIVAL if waits else step.seconds or 0.0), "read back")

    async def _confirm(self, node: ServerNode, step: ZWaveSet, seconds: float) -> None:
        """Ask what the command did, once it can have been done."""
        await asyncio.sleep(seconds)
        if not node.asleep:
            for get in step.confirm:
                await self._home.poll(node, get)

    # ---- nodes ------------------------------------------------------------------------------------------------------------

    async def refresh(self, key: str) -> None:
        """Raises UnknownDevice, NotNow, DeviceUnreachable, DriverLost."""
        node = self._home.node(key)
        self._home.check()
        await self._home.refresh(node)

    async def interview(self, key: str) -> None:
        """Raises UnknownDevice, NotNow, DeviceUnreachable, DriverLost."""
        node = self._home.node(key)
        self._home.check()
        await self._home.interview(node)

    # ---- the network ------------------------------------------------------------------------------------------------------

    async def discover(self, request_: Discovery) -> None:
        """Raises InvalidParameters, DriverError."""
        self._home.check()
        await self._joining.open(request_.duration, request_.material)

    async def stop_discovery(self) -> None:
        await self._joining.close()

    async def remove(self, key: str, *, force: bool) -> None:
        """Wait for the device's button; with `force`, take it off without the device. Raises UnknownDevice, DriverError."""
        home = self._home
        home.check()
        number = int(key) if key.isdecimal() and key.isascii() and len(key) < 6 else -1  # noqa: PLR2004
        if not home.has(number):
            if not force:
                raise UnknownDevice(f"the radio has no device {key}")
            home.sink(DeviceLost(home.speaker.id(number), "the radio did not know it"))
            return
        if not force:
            await self._joining.exclude(number, home.settings.exclusion_timeout)
            return
        try:
            await self._joining.remove_failed(number)
        except DriverError as error:
            home.check()
            home.give_up(number, f"removed by force; the server still has it: {error}")

    async def reset(self) -> None:
        """Leave the network, and forget it: the server's other users lose it too. Raises DriverError, DriverLost."""
        home = self._home
        home.check()
        await self._joining.close()
        await home.socket.call("driver.hard_reset")
        home.forget()
        await asyncio.wait({home.socket.lost}, timeout=RESTART)  # the server says when its stick is there again
        home.socket.close("the network was left; the server's stick has formed another")

    async def backup(self) -> bytes:
        """The memory of the server's stick. Raises NotSupported, DriverError."""
        home = self._home
        home.check()
        answer = await home.socket.call("controller.backup_nvm_raw", limit=MEMORY)
        image = answer.get("nvmData")
        if not isinstance(image, str) or not image:
            raise DeviceRefused("the server returned no memory image")
        nodes = sorted(home.nodes)
        document = {"kind": BACKUP, "version": 1, "home_id": home.identity, "nodes": nodes, "nvm": image}
        return json.dumps(document).encode()

    async def restore(self, document: bytes) -> None:
        """Write a backup to the server's stick. Raises InvalidParameters, DriverError; the run ends afterwards."""
        home = self._home
        home.check()
        image = _image(document)
        await self._joining.close()
        self._written, self._ends = 0, False
        try:
            await home.socket.call("controller.restore_nvm", limit=MEMORY, nvmData=image)
        except StickRestarts:
            if not self._ends:  # else zwave-js restarts its stick with what was written, and ends its own task with it
                raise
        await asyncio.wait({home.socket.lost}, timeout=RESTART)
        home.socket.close("a backup was restored; the next start takes the network up anew")

    def _heard(self, name: str, event: Json) -> None:
        """How far a restoration is: told before each piece, not after the last one."""
        if name == "nvm restore progress":
            now, total = whole(event.get("bytesWritten"), "bytesWritten"), whole(event.get("total"), "total")
            self._ends = now > 0 and 2 * now - self._written >= total
            self._written = now


def _image(document: bytes) -> str:
    """The image in a backup. Raises InvalidParameters."""
    try:
        content = json.loads(document)
        if not isinstance(content, dict) or content.get("kind") != BACKUP or content.get("version") != 1:
            raise Malformed("it is no backup of a zwave-js-server's stick")
        image = str(content["nvm"])
        if not base64.b64decode(image, validate=True):
            raise Malformed("it is empty")
    except (ValueError, KeyError, binascii.Error) as error:
        raise InvalidParameters(f"the document cannot be restored: {error}") from error
    return image
