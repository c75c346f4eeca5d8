"""What the hub asks of a running network: commands, windows, removals. Each method of the contract, by its name."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from agent.driver import (
    DeviceRefused,
    DeviceUnreachable,
    DriverError,
    Firmware,
    InvalidParameters,
    NotNow,
    NotSupported,
    UnknownDevice,
    execute_each,
)
from agent.model import Action, Command, Discovery, JsonValue, Outcome
from drivers.told import Values
from drivers.zwave import backup as backups
from drivers.zwave.catalog import ZWaveGet, ZWaveSet, supersedes
from drivers.zwave.codec import Command as ZwaveCommand
from drivers.zwave.commands.transport import SupervisionStatus
from drivers.zwave.figures import metrics
from drivers.zwave.messages import Received
from drivers.zwave.network import Network
from drivers.zwave.node import Node
from drivers.zwave.provisioning import material
from drivers.zwave.routes import SPEEDS, Rebuilt, Routes
from drivers.zwave.supervision import Outcome as Supervised
from drivers.zwave.transmit import Undelivered, Urgency
from drivers.zwave.update import CLASS, LOOKS, FirmwareUpdate, Progress

AWAKE_AGAIN = 86_400.0  # seconds for a device that fell asleep as it restarted
T = TypeVar("T")
ARRIVAL = 10.0  # seconds until one is asked that was to say when it has arrived, and did not
REPORT_GRACE = 1.0  # seconds in which a device may report a change by itself


class Contract:
    """The driver's contract on one network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.routes = Routes(network.messages)
        self._rebuilding = asyncio.Lock()  # each takes the air for seconds: one at a time
        self._updating = asyncio.Lock()
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
                        await self.do(node, step)
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
        done = node.mailbox.put(supersedes(step), lambda: self.do(node, step), deadline)
        self._network.sleepers.attend(node)
        await done

    async def do(self, node: Node, step: ZWaveSet, group: int | None = None) -> None:
        """One set, and what follows from it; `group`: a multicast of it went before. Raises DeviceRefused, DeviceUnreachable, DriverError."""
        messages = self._network.messages
        request = messages.encode(node.id, step.command, step.endpoint)
        if not step.supervised:
            await messages.send(node.id, request, step.endpoint, urgency=Urgency.USER)
            outcome = None
        else:
            outcome = await messages.set(node.id, request, step.endpoint, group=group)
        if outcome is not None and not outcome.final:
            self._working[node.id, outcome.session] = step
        elif outcome is not None and step.proves:
            self._prove(node, step)
        else:
            told = 0.0 if outcome is not None else ARRIVAL  # a device that says that it is done has arrived
            seconds = told if step.seconds is None else step.seconds
            self._network.spawn(self._confirm(node, step, seconds), "read back")

    async def do_awake(self, node: Node, step: ZWaveSet, group: int | None = None) -> None:
        """As `do`, for a node that may sleep. Raises NotNow then."""
        async with self._attended(node):
            await self.do(node, step, group)

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

    def number(self, key: str) -> int:
        """The node id of a device. Raises UnknownDevice, DriverLost."""
        self._network.check()
        return self._network.node(key).id

    # ---- routes -----------------------------------------------------------------------------------------------------

    async def rebuild_routes(self, key: str, progress: Callable[[str], None], wait: float) -> Rebuilt:
        """A node that sleeps is waited for, at most `wait` seconds. Raises UnknownDevice, Expired, and as Routes.rebuild."""
        node = self._network.node(key)
        self._network.check()

        async def work() -> Rebuilt:
            async with self._rebuilding:
                return await self.routes.rebuild(node.id, progress)

        return await self._when_awake(node, "routes", work, wait)

    async def _when_awake(self, node: Node, kind: str, work: Callable[[], Awaitable[T]], wait: float) -> T:
        """Do it now, or when the node wakes up, which is sent to sleep afterwards. Raises Expired, NotNow, and what the work raises."""
        found: list[T] = []

        async def attended() -> None:
            async with self._attended(node):
                found.append(await work())

        now = self._network.now()
        await (attended() if node.awake(now) else node.mailbox.put(kind, attended, now + wait))
        return found[0]

    def figures(self) -> dict[str, dict[str, float]]:
        """Samples by name and device."""
        return metrics({node.id: node.link for node in self._network.nodes.values()})

    async def details(self, key: str) -> dict[str, JsonValue]:
        """What the radio knows of the way to a device."""
        node = self._network.node(key)
        told: dict[str, JsonValue] = {"link": node.link.told()}
        try:
            told["neighbors"] = list(await self.routes.neighbors(node.id))
            route = await self.routes.priority_route(node.id)
            if route is not None:
                told["priorityRoute"] = {"repeaters": list(route.repeaters), "speed": SPEEDS.get(route.speed, 0)}
        except NotSupported as error:
            told["routes"] = str(error)
        return told

    # ---- firmware ---------------------------------------------------------------------------------------------------

    def firmware(self, key: str) -> Firmware:
        """What a device runs, as it said last. Raises NotSupported where that cannot be replaced, UnknownDevice."""
        node = (
            self._network.nodes.get(int(key)) if key.isdecimal() else None
        )  # also while it is interviewed after an update
        if node is None:
            raise UnknownDevice(f"the radio has no device {key}")
        record = node.record
        if not record.version(CLASS):
            raise NotSupported("the device takes no firmware over the air", place=key)
        found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", record.firmware)
        if found is None or record.manufacturer is None:
            raise NotSupported("the device has not said what it runs", place=key, remedy="interview it again")
        major, minor, patch = (int(part or 0) for part in found.groups())
        product = (record.product_type or 0) << 16 | (record.product or 0)
        return Firmware(record.manufacturer, product, major << 16 | minor << 8 | patch)

    async def update_firmware(self, key: str, image: bytes, target: int, progress: Progress) -> None:
        """Returns once the device says that it runs; an interview follows.

        Raises UnknownDevice, InvalidParameters, NotNow, and as FirmwareUpdate.run and FirmwareUpdate.version.
        """
        network, node = self._network, self._network.node(key)
        network.check()
        if not image:
            raise InvalidParameters("image is empty")
        if not node.awake(network.now()):
            raise NotNow("it sleeps", place=key)
        if self._updating.locked():
            raise NotNow("another device is just getting its firmware")
        update = FirmwareUpdate(network.messages, node.record, image, target, progress)
        async with self._updating, self._attended(node):
            await self._transferred(node, update, target)
            version = await self._version_of(node, update)
        if not target:
            node.record.firmware = version
            network.book.save(node.id)
        network.spawn(network.interview(key), f"interview of node {node.id} after its update")

    async def _version_of(self, node: Node, update: FirmwareUpdate) -> str:
        """What it runs after its restart; one that fell asleep meanwhile is asked when it wakes up."""
        if not node.record.sleepy:
            return await update.version(LOOKS)
        try:
            return await update.version((0.0,))
        except DeviceUnreachable:
            return await self._when_awake(node, "firmware version", update.version, AWAKE_AGAIN)

    async def _transferred(self, node: Node, update: FirmwareUpdate, target: int) -> None:
        """The node has the image, and has had time to start it; where its last word was lost, its version shows whether it took it."""
        try:
            await asyncio.sleep(await update.run())
        except DeviceUnreachable:
            if not update.complete or target or await update.version() == node.record.firmware:
                raise

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
        """Raises NotSupported, NetworkBusy, NvmTrouble, DriverError."""
        network = self._network
        network.check()
        async with network.inclusion.still():
            document = await network.backups.take(network.wall())
            with suppress(DriverError):
                await network.inclusion.arm()  # which the stick forgets where it must restart
        return document

    async def restore(self, document: bytes) -> None:
        """Write a backup of the same firmware to the stick; the network that it has is backed up before.

        Raises InvalidParameters, NotSupported, NetworkBusy, NvmTrouble, DriverError.
        """
        network = self._network
        network.check()
        backup = backups.read(document)
        async with network.inclusion.still():
            await network.before_change()
            await network.backups.restore(backup)
        network.link.close("a backup was restored; the network starts afresh")
