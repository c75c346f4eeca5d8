"""What goes on the air: one transmission at a time, the urgent ones first.

A stick that is jammed is brought back before any node is blamed for it.

A chip takes a second transmission only after the callback of the first (Host Application Programming Guide, "SendData"), and many take
nothing else that uses the radio meanwhile: so everything that does holds the `Air`.
"""

import asyncio
import heapq
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from agent.driver import DeviceUnreachable, DriverError, DriverLost
from drivers.zwave.controller import Controller
from drivers.zwave.function_tables import DEFAULT_OPTIONS, TransmitOption, TransmitStatus, UpdateStatus
from drivers.zwave.functions import FIRST_LONG_RANGE, rssi
from drivers.zwave.layout import Values
from drivers.zwave.link import Answer, CallAborted, StickRefused, StickSilent

log = logging.getLogger(__name__)

JAM_PAUSES = (0.1, 0.3, 1.0, 2.0)  # seconds before a transmission that the stick could not send is tried again
NODE_INFO_TIMEOUT = 10.0  # seconds; a listening node answers within one
TICK = 0.01  # seconds

Spawn = Callable[[Coroutine[Any, Any, None], str], object]  # run beside the others, until the session ends


class Urgency(IntEnum):
    """Who goes first. A nonce that comes late costs its peer the whole message."""

    NONCE = 0
    USER = 1
    NORMAL = 2
    INTERVIEW = 3
    BACKGROUND = 4


class Undelivered(DeviceUnreachable):
    """The node did not acknowledge: what was sent certainly had no effect that is known of. `status` is the stick's word."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class StickJammed(DriverError):  # noqa: N818
    """The stick could not transmit, not even after it was restarted. No node is to blame."""

    code = 503


@dataclass(frozen=True, slots=True)
class Sent:
    """A transmission that was acknowledged. `seconds` on the air; `rssi` of the ACK in dBm; `repeaters` are node ids, the first one first.

    Without `reported` nothing of it is known.
    """

    seconds: float = 0.0
    rssi: int | None = None
    repeaters: tuple[int, ...] = ()
    attempts: int | None = None
    power: int | None = None  # dBm
    reported: bool = False

    @classmethod
    def of(cls, callback: Values) -> "Sent":
        """From SendData's callback; without a report where the stick gives none."""
        report = callback.get("tx_report")
        if not report:
            return cls()
        return cls(
            report["ticks"] * TICK,
            rssi(report["ack_rssi"]),
            tuple(report["repeaters"][: report["repeater_count"]]),
            report["attempts"],
            None if report.get("tx_power") is None else rssi(report["tx_power"]),
            reported=True,
        )


def broken_hop(callback: Values) -> tuple[int, int] | None:
    """The nodes between which a transmission failed, where the stick tells."""
    report = callback.get("tx_report") or {}
    hop = (report.get("last_functional_node", 0), report.get("first_failed_node", 0))
    return hop if any(hop) else None


class Air:
    """One holder at a time; the most urgent of those who wait is next, among equals the first."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    @asynccontextmanager
    async def hold(self, urgency: Urgency) -> AsyncIterator[None]:
        await self._take(urgency)
        try:
            yield
        finally:
            self._release()

    async def _take(self, urgency: Urgency) -> None:
        if not self._held:
            self._held = True
            return
        self._count += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, self._count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._held = False


class Transmitter:
    """The radio of one stick. `jammed` is true while it cannot send; `told` is called when that changes."""

    def __init__(self, controller: Controller, air: Air | None = None) -> None:
        self.controller = controller
        self.air = air or Air()
        self.jammed = False
        self.told: Callable[[bool], None] = lambda _jammed: None
        self.begins: Callable[[int], None] = lambda _node: None
        self.ended: Callable[[int, Sent | None], None] = lambda _node, _sent: None  # None: not acknowledged
        self.broken: tuple[int, int] | None = None  # the hop at which the last transmission failed
        self.recoveries = 0
        self._node_info: tuple[int, asyncio.Future[Values]] | None = None

    async def send(self, node: int, data: bytes, *, urgency: Urgency = Urgency.NORMAL) -> Sent:
        """Send one frame to one node. Raises Undelivered, StickJammed, DriverLost."""
        options = TransmitOption.ACK if node >= FIRST_LONG_RANGE else DEFAULT_OPTIONS
        facts = self.controller.facts
        values: dict[str, Any] = {"node": node, "payload": data, "options": options}
        if facts.bridge and facts.has("BridgeSendData"):
            name, values["source"] = "BridgeSendData", facts.node
        else:
            name = "SendData"
        answer = await self.run(name, urgency=urgency, **values)
        return Sent.of(answer.callback)

    async def run(self, name: str, *, urgency: Urgency = Urgency.NORMAL, **values: Any) -> Answer:
        """Any function that transmits to `node` and ends with a transmit status. Raises Undelivered, StickJammed, DriverLost."""
        async with self.air.hold(urgency):
            self.begins(values["node"])
            for pause in (*JAM_PAUSES, None):
                answer = await self._once(name, values)
                if answer is not None:
                    return self._delivered(answer, values["node"])
                if pause is None:
                    break
                self._jam(jammed=True)
                await asyncio.sleep(pause)
            await self.recover(f"{name} could not be sent")
            answer = await self._once(name, values)
            if answer is None:
                raise StickJammed("the stick cannot transmit; the channel may be taken by something else")
            return self._delivered(answer, values["node"])

    async def multicast(self, nodes: tuple[int, ...], data: bytes, *, urgency: Urgency = Urgency.USER) -> bool:
        """Send one frame that nobody acknowledges; False where it was not sent. Raises DriverLost."""
        facts = self.controller.facts
        bridge = facts.bridge and facts.has("BridgeSendDataMulti")
        values: dict[str, Any] = {"nodes": list(nodes), "payload": data, "options": TransmitOption.NONE}
        if bridge:
            values["source"] = facts.node
        async with self.air.hold(urgency):
            answer = await self._once("BridgeSendDataMulti" if bridge else "SendDataMulti", values)
        return answer is not None

    async def _once(self, name: str, values: dict[str, Any]) -> Answer | None:
        """None where the stick itself could not send."""
        try:
            answer = await self.controller.link.call(name, **values)
        except (StickRefused, CallAborted) as error:
            log.debug("%s", error)
            return None
        except StickSilent as error:
            await self.recover(str(error))
            return None
        failed = answer.callback["status"] in (TransmitStatus.FAIL, TransmitStatus.NOT_IDLE)
        return None if failed else answer

    def _delivered(self, answer: Answer, node: int) -> Answer:
        self._jam(jammed=False)
        status = answer.callback["status"]
        acknowledged = status in (TransmitStatus.OK, TransmitStatus.VERIFIED)
        self.broken = None if acknowledged else broken_hop(answer.callback)
        self.ended(node, Sent.of(answer.callback) if acknowledged else None)
        if not acknowledged:
            word = status.name.lower() if isinstance(status, TransmitStatus) else f"status {status}"
            raise Undelivered(f"node {node} did not acknowledge ({word})", status)
        return answer

    async def recover(self, reason: str) -> None:
        """Abort what hangs, then restart the chip, where it may be; where that fails too the port is given up, and whoever runs us opens it.

        Raises DriverLost.
        """
        self.recoveries += 1
        log.warning("the stick is brought back: %s", reason)
        link = self.controller.link
        try:
            if self.controller.facts.has("SendDataAbort"):
                await link.call("SendDataAbort")
            if self.controller.restarts:
                await self.controller.soft_reset()
                await self.controller.configure()
        except (StickSilent, StickRefused, CallAborted) as error:
            link.close(f"the stick hangs ({reason}), and a restart does not help: {error}")
            raise DriverLost(link.lost.result()) from error

    async def reconfigure(self) -> None:
        """The stick restarted by itself: what it lost is set again, before anything else is sent. Raises DriverLost."""
        async with self.air.hold(Urgency.NONCE):
            try:
                await self.controller.configure()
            except (StickSilent, StickRefused, CallAborted) as error:
                await self.recover(f"it restarted by itself and {error}")

    def _jam(self, *, jammed: bool) -> None:
        if jammed is not self.jammed:
            self.jammed = jammed
            self.told(jammed)

    # ---- node information -------------------------------------------------------------------------------------------

    async def node_info(self, node: int, *, urgency: Urgency = Urgency.NORMAL) -> Values:
        """The node's information frame: basic, generic, specific, command_classes. Raises Undelivered, StickSilent, DriverLost."""
        async with self.air.hold(urgency):
            waiting: asyncio.Future[Values] = asyncio.get_running_loop().create_future()
            self._node_info = (node, waiting)
            try:
                await self.controller.link.call("RequestNodeInfo", node=node)
                async with asyncio.timeout(NODE_INFO_TIMEOUT):
                    return await waiting
            except TimeoutError:
                raise Undelivered(f"node {node} sent no information", TransmitStatus.NO_ACK) from None
            except (StickRefused, CallAborted) as error:
                raise Undelivered(f"node {node} was not asked: {error}", TransmitStatus.FAIL) from error
            finally:
                self._node_info = None

    def application_update(self, values: Values) -> None:
        """An ApplicationUpdate came in; node information may be what is waited for."""
        if self._node_info is None:
            return
        node, waiting = self._node_info
        if waiting.done():
            return
        if values["status"] == UpdateStatus.NODE_INFO and values.get("node") == node:
            waiting.set_result(values)
        elif values["status"] == UpdateStatus.NODE_INFO_FAILED:
            waiting.set_exception(Undelivered(f"node {node} sent no information", TransmitStatus.NO_ACK))
