"""What the hub asks of a running network: commands, windows, removals. Each method of the contract, by its name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

from agent.driver import (
    DeviceRefused,
    DriverError,
    InvalidParameters,
    NotNow,
    NotSupported,
    UnknownDevice,
    execute_each,
)
from agent.model import Action, Command, Discovery, JsonValue, Outcome
from drivers.zwave.catalog import Values, ZWaveGet, ZWaveSet, supersedes
from drivers.zwave.codec import Command as ZwaveCommand
from drivers.zwave.commands.transport import SupervisionStatus
from drivers.zwave.messages import Received
from drivers.zwave.network import Network
from drivers.zwave.node import Node
from drivers.zwave.provisioning import material
from drivers.zwave.supervision import Outcome as Supervised
from drivers.zwave.transmit import Undelivered, Urgency

ARRIVAL = 10.0  # seconds until one is asked that was to say when it has arrived, and did not
REPORT_GRACE = 1.0  # seconds in which a device may report a change by itself


class Contract:
    """The driver's contract on one network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._working: dict[tuple[int, int], ZWaveSet] = {}  # node and session -> what is not done yet
        network.messages.ended = self._ended

    # ---- commands ---------------------------------------------------------------------------------------------------

    async def execute(self, command: Command) -> Outcome:
        """Raises NotNow for a device that sleeps: nothing was sent. DriverLost."""
        network = self._network
        network.check()

        async def perform(action: Action) -> dict[str, JsonValue]:
            node = network.node(command.device.key)
            values: dict[str, JsonValue] = {}
            steps = network.devices.map(node.id).translate(action)
            async with self._attended(node):
                for step in steps:
                    if isinstance(step, ZWaveGet):
                        values.update(await self._ask(node, action, step))
                    elif node.record.sleepy:
                        await self._post(node, step, command.deadline)
                    else:
                        await self._do(node, step)
            return values

        return await execute_each(command, perform, network.now)

    @asynccontextmanager
    async def _attended(self, node: Node) -> AsyncIterator[None]:
        """Something is done with a node: it is awake, and not sent to sleep meanwhile. A sleeper that did not hear is no failure."""
        if not node.awake(self._network.now()):
            raise NotNow("the device sleeps")
        node.busy += 1
        try:
            yield
        except Undelivered as error:
            if node.record.sleepy:
                raise NotNow(f"the device sleeps ({error})") from error
            raise
        finally:
            node.busy -= 1

    async def _ask(self, node: Node, action: Action, step: ZWaveGet) -> dict[str, JsonValue]:
        answer = await self._network.messages.read(node.id, step, urgency=Urgency.USER)
        wanted = action.parameters.get("propertiesToRead") or ["*"]
        values: dict[str, JsonValue] = {}
        try:
            said = self._network.devices.map(node.id).heard(step.endpoint, answer, asked=True)
        except ValueError as error:
            raise DeviceRefused(f"the device answered nonsense: {error}") from error
        for told in said:
            if isinstance(told, Values) and (told.endpoint, told.capability) == (action.endpoint, action.capability):
                values.update({name: v for name, v in told.properties.items() if "*" in wanted or name in wanted})
        return values

    async def _post(self, node: Node, step: ZWaveSet, deadline: float) -> None:
        """Let a set take its turn: of those that came while the device slept, only the last one of a kind is worth its battery."""
        await node.mailbox.put(supersedes(step), lambda: self._do(node, step), deadline)

    async def _do(self, node: Node, step: ZWaveSet) -> None:
        messages = self._network.messages
        request = messages.encode(node.id, step.command, step.endpoint)
        if not step.supervised:
            await messages.send(node.id, request, step.endpoint, urgency=Urgency.USER)
            outcome = None
        else:
            outcome = await messages.set(node.id, request, step.endpoint)
        if outcome is not None and not outcome.final:
            self._working[node.id, outcome.session] = step
        elif outcome is not None and step.proves:
            self._prove(node, step)
        else:
            told = 0.0 if outcome is not None else ARRIVAL  # a device that says that it is done has arrived
            seconds = told if step.seconds is None else step.seconds
            self._network.spawn(self._confirm(node, step, seconds), "read back")

    def _prove(self, node: Node, step: ZWaveSet) -> None:
        for report in step.proves:
            self._network.devices.tell(node.id, step.endpoint, report)

    def _ended(self, number: int, _endpoint: int, outcome: Supervised) -> None:
        """A device is done with what it worked on, or has given it up."""
        node, step = self._network.nodes.get(number), self._working.pop((number, outcome.session), None)
        if node is None or step is None:
            return
        if outcome.status == SupervisionStatus.SUCCESS and step.proves:
            self._prove(node, step)
        else:
            self._network.spawn(self._read_back(node, step.confirm), "final state")

    async def _confirm(self, node: Node, step: ZWaveSet, seconds: float) -> None:
        """Ask what the command did, unless the device tells it by itself."""
        missing = step.confirm
        if not node.record.sleepy:  # which is sent to sleep before the grace is over
            with ExitStack() as stack:
                found = [self._told(stack, node, get) for get in missing]
                if found:
                    await asyncio.wait(found, timeout=max(REPORT_GRACE, seconds))
                missing = tuple(get for get, waiting in zip(missing, found, strict=True) if not waiting.done())
        await self._read_back(node, missing)

    def _told(self, stack: ExitStack, node: Node, get: ZWaveGet) -> asyncio.Future[Received]:
        def told(received: Received) -> bool:
            command = received.command
            from_there = (received.node, received.endpoint) == (node.id, get.endpoint)
            return from_there and isinstance(command, ZwaveCommand) and get.answered_by(command)

        return stack.enter_context(self._network.messages.expecting(told)).found

    async def _read_back(self, node: Node, gets: tuple[ZWaveGet, ...]) -> None:
        if gets and node.awake(self._network.now()):
            async with self._attended(node):
                for get in gets:
                    await self._network.messages.read(node.id, get)

    # ---- nodes ------------------------------------------------------------------------------------------------------

    async def refresh(self, key: str) -> None:
        """Raises UnknownDevice, NotNow, DeviceUnreachable, StickJammed, DriverLost."""
        node = self._network.node(key)
        self._network.check()
        async with self._attended(node):
            await self._network.refresh(node.id)

    async def interview(self, key: str) -> None:
        """Raises UnknownDevice, NotNow, DeviceUnreachable, StickJammed, DriverLost."""
        self._network.check()
        await self._network.interview(key)

    # ---- the network ------------------------------------------------------------------------------------------------

    async def discover(self, request: Discovery) -> None:
        """Raises InvalidParameters, DriverError."""
        self._network.check()
        if request.duration <= 0:
            raise InvalidParameters("duration must be at least 1 second")
        found = material(request.material)
        facts = self._network.controller.facts
        if not facts.primary and not facts.sis:
            raise NotSupported("the stick is a secondary controller without a SIS: only its primary can include")
        known = found.credentials.of_one_device
        credentials = found.credentials if known else replace(found.credentials, attended=request.attended)
        await self._network.inclusion.open(request.duration, credentials, found.entry)

    def reply(self, key: str, text: str) -> None:
        """Raises NotNow, InvalidParameters."""
        self._network.check()
        self._network.inclusion.securing.answer(int(key) if key.isdecimal() else -1, text)

    async def stop_discovery(self) -> None:
        await self._network.inclusion.close()

    async def remove(self, key: str, *, force: bool) -> None:
        """Wait for the device's button; with `force`, take it off without the device.

        Raises UnknownDevice, DeviceUnreachable, DriverError.
        """
        network = self._network
        network.check()
        number = int(key) if key.isdecimal() else -1
        if number not in network.book.nodes:
            if not force:
                raise UnknownDevice(f"the radio has no device {key}")
            network.left(number, "the radio did not know it")
            return
        if not force:
            await network.inclusion.exclude(number, network.exclusion_timeout)
            return
        try:
            await network.inclusion.remove_failed(number)
        except DriverError as error:
            network.check()
            network.inclusion.give_up(number, f"removed by force; the stick still has it: {error}")

    async def reset(self) -> None:
        """Leave the network, and forget it. Raises StickSilent, DriverLost."""
        network = self._network
        await network.inclusion.close()
        await network.link.call("SetDefault")
        network.forget()
        network.link.close("the network was left; the next start forms another")

    async def backup(self) -> bytes:
        """Raises NotSupported."""
        self._network.check()
        raise NotSupported("backups of Z-Wave sticks come with a later version")

    async def restore(self, document: bytes) -> None:
        """Raises NotSupported."""
        self._network.check()
        raise NotSupported(f"a document of {len(document)} bytes cannot be restored: backups come with a later version")
