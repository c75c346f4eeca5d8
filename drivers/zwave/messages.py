"""Commands to and from nodes: encapsulated, matched with their answers, and told to a listener."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agent.driver import DeviceRefused, DeviceUnreachable, NotSupported
from drivers.zwave.catalog import ZWaveGet
from drivers.zwave.codec import Command, Raw, encode, make
from drivers.zwave.commands.transport import SupervisionStatus
from drivers.zwave.encapsulation import EncapsulationError, Layers, unwrap, wrap
from drivers.zwave.layout import Context, LayoutError
from drivers.zwave.nodes import MULTI_CHANNEL, SUPERVISION, NodeRecord
from drivers.zwave.secured import S2, Secured
from drivers.zwave.security.classes import SecurityClass
from drivers.zwave.supervision import Answered, Asked, NoSessionError, Outcome
from drivers.zwave.transmit import Spawn, Urgency

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 2.0  # seconds from the acknowledgement to the report; FLiRS nodes are awake by then
SUPERVISION_TIMEOUT = 3.0


class NoAnswer(DeviceUnreachable):
    """The node acknowledged and did not answer: it is there, and may not know what it was asked."""


@dataclass(frozen=True, slots=True)
class Received:
    """One command of a node. `security` is the class that it came with; `asked`: it answers a Get."""

    node: int
    endpoint: int
    command: Command | Raw
    security: SecurityClass | None
    asked: bool = False


@dataclass(slots=True, eq=False)
class _Waiter:
    matches: Callable[[Received], bool]
    found: asyncio.Future[Received]
    asks: bool


class Messages:
    """All commands of one stick. `record` finds what is known of a node; `listener` gets every command, answers included."""

    def __init__(self, secured: Secured, record: Callable[[int], NodeRecord | None], spawn: Spawn) -> None:
        self.secured = secured
        self.record = record
        self.listener: Callable[[Received], None] = lambda _received: None
        self.ended: Callable[[int, int, Outcome], None] = lambda _node, _endpoint, _outcome: None  # of supervision
        self.figures: defaultdict[str, int] = defaultdict(int)
        self.exchanges: dict[int, Callable[[bytes, SecurityClass | None], None]] = {}  # node -> its key exchange
        secured.segments.arrived = self.receive
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiter] = []
        self._asked = Asked()
        self._answered = Answered()
        self._asking: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    # ---- out --------------------------------------------------------------------------------------------------------

    def make(self, node: int, name: str, endpoint: int = 0, /, **values: Any) -> bytes:
        """A command in the version that the node has. Raises LayoutError."""
        record = self.record(node)
        version = 0 if record is None else record.version(Command(name).command_class, endpoint)
        return encode(Command(name, values), Context(version=version or None))

    def encode(self, node: int, command: Command, endpoint: int = 0) -> bytes:
        """As `make`. Raises NotSupported."""
        try:
            return self.make(node, command.name, endpoint, **command.values)
        except LayoutError as error:
            raise NotSupported(f"node {node} cannot be told: {error}") from error

    def security_for(self, node: int, payload: bytes, endpoint: int = 0) -> SecurityClass | None:
        """The class that a command must be sent with: the highest where the node supports it securely."""
        record = self.record(node)
        if record is None or not record.is_secure(payload[0], endpoint):
            return None
        return record.highest

    async def send(
        self,
        node: int,
        payload: bytes,
        endpoint: int = 0,
        *,
        urgency: Urgency = Urgency.NORMAL,
        security: SecurityClass | None = None,
    ) -> None:
        """Send a command to an endpoint; acknowledged when it returns. `security` None takes what the class needs.

        Raises Undelivered, DeviceUnreachable, StickJammed, DriverLost.
        """
        security = security or self.security_for(node, payload, endpoint)
        await self.secured.send(node, wrap(payload, self._layers(node, endpoint)), security, urgency)

    def _layers(self, node: int, endpoint: int, session: int | None = None) -> Layers:
        record = self.record(node)
        old = endpoint != 0 and record is not None and record.version(MULTI_CHANNEL) == 1
        return Layers(destinations=(endpoint,), instance_form=old, session=session, status_updates=session is not None)

    async def ask(
        self,
        node: int,
        payload: bytes,
        expects: str,
        endpoint: int = 0,
        *,
        matches: Callable[[Command], bool] = lambda _command: True,
        urgency: Urgency = Urgency.NORMAL,
        security: SecurityClass | None = None,
        tries: int = 2,
        timeout: float | None = None,  # ANSWER_TIMEOUT
    ) -> Received:
        """Send a command, and return the answer of that name. Raises NoAnswer, DeviceUnreachable, StickJammed, DriverLost."""

        def fits(received: Received) -> bool:
            command = received.command
            if not isinstance(command, Command) or command.name != expects:
                return False
            if (received.node, received.endpoint) != (node, endpoint):
                return False
            return (security is None or received.security is security) and matches(command)

        async with self._asking[node]:
            for left in range(tries - 1, -1, -1):
                with self.expecting(fits, asks=True) as waiter:
                    self.secured.illegible[node] = partial(_unread, node, waiter.found)
                    try:
                        await self.send(node, payload, endpoint, urgency=urgency, security=security)
                        async with asyncio.timeout(ANSWER_TIMEOUT if timeout is None else timeout):
                            return await waiter.found
                    except TimeoutError:
                        self.figures["unanswered"] += 1
                    except DeviceUnreachable:
                        if not left:
                            raise
                    finally:
                        del self.secured.illegible[node]
        raise NoAnswer(f"node {node} did not answer with {expects}")

    async def read(self, node: int, get: ZWaveGet, *, urgency: Urgency = Urgency.NORMAL, tries: int = 2) -> Command:
        """The answer to a Get. Raises as `ask`, and NotSupported where the node's version cannot say it."""
        request = self.encode(node, get.command, get.endpoint)
        received = await self.ask(
            node, request, get.answer, get.endpoint, matches=get.answered_by, urgency=urgency, tries=tries
        )
        assert isinstance(received.command, Command)  # noqa: S101  it has the name that was asked for
        return received.command

    async def set(
        self,
        node: int,
        payload: bytes,
        endpoint: int = 0,
        *,
        urgency: Urgency = Urgency.USER,
        group: int | None = None,
    ) -> Outcome | None:
        """Send a command that changes something, supervised where the node can: then the outcome is its word (SUCCESS or WORKING).

        None: acknowledged, no more is known. `group`: it follows up a multicast. `ended` hears of a later end.

        Raises DeviceRefused, NotSupported, DeviceUnreachable, StickJammed, DriverLost.
        """
        record = self.record(node)
        if record is None or not record.version(SUPERVISION):
            security = self.security_for(node, payload, endpoint)
            await self.secured.send(node, wrap(payload, self._layers(node, endpoint)), security, urgency, group)
            return None
        now = self._loop.time()
        self._asked.expire(now)
        try:
            session = self._asked.open(node, now)
        except NoSessionError as error:
            raise DeviceUnreachable(str(error)) from error
        security = self.security_for(node, payload, endpoint)

        def fits(received: Received) -> bool:
            command = received.command
            return (
                received.node == node
                and isinstance(command, Command)
                and command.name == "Supervision Report"
                and command["session"] == session
                and (security is None or received.security is security)
            )

        try:
            with self.expecting(fits, asks=True) as waiter:
                wrapped = wrap(payload, self._layers(node, endpoint, session))
                await self.secured.send(node, wrapped, security, urgency, group)
                async with asyncio.timeout(SUPERVISION_TIMEOUT):
                    outcome = self._outcome(await waiter.found)
        except (TimeoutError, DeviceUnreachable) as error:
            self._asked.close(node, session)
            if isinstance(error, DeviceUnreachable):
                raise
            raise DeviceUnreachable(f"node {node} acknowledged, and did not say what became of it") from None
        if outcome is None or outcome.status == SupervisionStatus.NO_SUPPORT:
            raise NotSupported(f"node {node} does not support this command")
        if outcome.status == SupervisionStatus.FAIL:
            raise DeviceRefused(f"node {node} refused the command")
        return outcome

    @contextmanager
    def overhearing(self, matches: Callable[[Received], bool]) -> Iterator["asyncio.Queue[Received]"]:
        """A block in which every command that matches is queued; its listeners get it all the same."""
        queue: asyncio.Queue[Received] = asyncio.Queue()

        def hear(received: Received) -> bool:
            if matches(received):
                queue.put_nowait(received)
            return False

        with self.expecting(hear):
            yield queue

    def expecting(self, matches: Callable[[Received], bool], *, asks: bool = False) -> "_Waiting":
        """A block in which the first command that matches ends `found` of the waiter. One that `asks` leaves it to no other that does."""
        return _Waiting(self._waiting, _Waiter(matches, self._loop.create_future(), asks))

    # ---- in ---------------------------------------------------------------------------------------------------------

    def receive(self, node: int, data: bytes) -> None:
        """A frame's command came in. Never raises for what a node sends."""
        unsealed = self.secured.receive(node, data) if data else None
        if unsealed is None:
            return
        inner, security = unsealed
        if inner[0] == S2 and node in self.exchanges:
            self.exchanges[node](inner, security)
            return
        try:
            found = unwrap(inner, secured=security is not None)
        except EncapsulationError as error:
            self.figures["unreadable"] += 1
            log.debug("node %d: %s", node, error)
            return
        if found.layers.session is not None and self._answer(node, found.layers, security):
            return
        for command in found.commands:
            self._deliver(Received(node, found.layers.source, command, security))

    def _answer(self, node: int, layers: Layers, security: SecurityClass | None) -> bool:
        """Report on a supervised command. True where it was done before: its report was lost."""
        session, now = layers.session or 0, self._loop.time()
        report = self._answered.repeated(node, layers.source, session, now)
        repeated = report is not None
        if report is None:
            report = make(
                "Supervision Report",
                more_updates=0,
                wake_up_request=0,
                session=session,
                status=SupervisionStatus.SUCCESS,
                duration=0,
            )
            self._answered.answered(node, layers.source, session, report, now)
        self._spawn(self._report(node, wrap(report, layers.answer()), security), "Supervision Report")
        return repeated

    async def _report(self, node: int, report: bytes, security: SecurityClass | None) -> None:
        with suppress(DeviceUnreachable):  # it asks again
            await self.secured.send(node, report, security, Urgency.NONCE)

    def _deliver(self, received: Received) -> None:
        command = received.command
        if not self._trusted(received):
            self.figures["insecure"] += 1
            log.warning("node %d sent %s with less security than it must", received.node, _name(command))
            return
        for waiter in self._waiting:
            if not waiter.found.done() and not (waiter.asks and received.asked) and waiter.matches(received):
                received = replace(received, asked=received.asked or waiter.asks)
                waiter.found.set_result(received)
        if isinstance(command, Command) and command.name == "Supervision Report" and not received.asked:
            outcome = self._outcome(received)
            if outcome is not None and outcome.final:
                self.ended(received.node, received.endpoint, outcome)
        self.listener(received)

    def _outcome(self, received: Received) -> Outcome | None:
        command = received.command
        if not isinstance(command, Command):
            return None
        return self._asked.report(received.node, command, self._loop.time())

    def _trusted(self, received: Received) -> bool:
        record = self.record(received.node)
        number = received.command.command_class
        if record is None or number == S2 or not record.is_secure(number, received.endpoint):
            return True
        return received.security is not None and received.security is record.highest

    def forget(self, node: int) -> None:
        """The node left."""
        self._answered.forget(node)
        self.secured.forget(node)


class _Waiting:
    """A waiter for as long as the block lasts."""

    def __init__(self, waiting: list[_Waiter], waiter: _Waiter) -> None:
        self._list, self._waiter = waiting, waiter

    def __enter__(self) -> _Waiter:
        self._list.append(self._waiter)
        return self._waiter

    def __exit__(self, *_: object) -> None:
        self._list.remove(self._waiter)


def _unread(node: int, found: "asyncio.Future[Received]") -> None:
    if not found.done():
        found.set_exception(NoAnswer(f"node {node} cannot read what is asked with this key"))
        found.exception()  # seen, also by who has stopped waiting


def _name(command: Command | Raw) -> str:
    return command.name if isinstance(command, Command) else f"class 0x{command.command_class:02X}"


def report_bytes(received: Received) -> bytes:
    """The command as bytes, for what keeps it."""
    return encode(received.command)
