"""An uplink to nRF Cloud without a connection: state, messages and the account's wishes by calls, from time to time.

For hubs behind networks that keep none. What somebody waits for (outcomes, events) goes at once, the rest each `interval` seconds. Nothing
comes to the hub this way but the shadow and firmware jobs: nRF Cloud has no call that fetches a command. Durability is that of
agent.cloud.link, with the answer to a POST in the place of PUBACK.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from agent.clock import Clock
from agent.cloud.channel import Channel
from agent.cloud.lane import LinkPolicy, Outbox, shift
from agent.cloud.nrf import Body, NrfCloud, encoded, hub_section
from agent.cloud.nrf_calls import NrfCalls, is_untaken
from agent.cloud.nrf_pairing import Control, Conversation
from agent.cloud.rest_answer import RestError
from agent.cloud.unsaved import Unsaved
from agent.errors import HubError
from agent.requests import LANE_EVENT, LANE_LOG, LANE_STATE, Message
from agent.wire.nrf import JsonObject, StateChange

log = logging.getLogger(__name__)

CHUNK = 200  # rows at a time
SPOOL = 1.0  # seconds that state may be on its way to the disk
SOON = 0.05  # seconds: what happens together goes together
_COMMA, _BRACKETS = 1, 2  # bytes of a list


class NrfCallsLink:
    """What the runtime knows as a link. `hold` keeps `client` for the process, by which `nrf` calls; `run` is one life of the uplink."""

    def __init__(
        self,
        name: str,
        client: AbstractAsyncContextManager[object],
        nrf: NrfCalls,
        policy: LinkPolicy,
        dialect: NrfCloud,
        conversation: Conversation,
        outbox: Outbox,
        clock: Clock,
        *,
        place: str,
        interval: float,
    ) -> None:
        self.name, self.policy = name, policy
        self.counters: Counter[str] = Counter()
        self.connected = self.proved = False
        self.last_error, self.protocol_level = "", 0
        self.channel = Channel(place)
        self.nrf = nrf
        self.ready = asyncio.Event()  # there is a client
        self.on_control: list[Callable[[Control], None]] = []
        self._client, self._dialect, self._conversation = client, dialect, conversation
        self._outbox, self._clock, self._interval = outbox, clock, interval
        self._attention, self._told = asyncio.Event(), asyncio.Event()
        self._hub: dict[str, Any] = {}
        self._live: OrderedDict[int, Message] = OrderedDict()
        self._unsaved = Unsaved(clock, policy.spool_after, self._spool)
        self._look_at = float("-inf")  # monotonic: for the account's wishes
        self._after = [0] * (LANE_LOG + 1)

    # ---- what the runtime calls -------------------------------------------------------------------------------------

    def offer(self, message: Message) -> None:
        """A durable message has been committed."""
        if message.lane <= LANE_EVENT:
            self._attention.set()

    def offer_live(self, message: Message) -> None:
        """State: it goes with the next call, and to disk within `spool_after` until then."""
        self._live[message.id] = message
        self._unsaved.keep(message)

    def set_status(self, status: Mapping[str, Any]) -> None:
        """The hub's status, told with the next call."""
        self._hub = hub_section(status, self._clock.now().iso)
        self._told.clear()
        self._attention.set()

    async def say_last(self, status: Mapping[str, Any], timeout: float) -> bool:
        """Tell a status that nothing may follow; False when the cloud did not take it in time."""
        self.set_status(status)
        try:
            async with asyncio.timeout(timeout):
                await self._told.wait()
        except TimeoutError:
            return False
        return True

    @property
    def waiting(self) -> int:
        """Messages in memory that the cloud has not got."""
        return len(self._live)

    def stalled(self) -> bool:
        """Each call has a time limit of its own."""
        return False

    def reconnect(self) -> None:
        """The next call is made now."""
        self._attention.set()

    async def stop(self, timeout: float) -> None:
        """Say offline and send what is left, or have it on disk."""
        self.set_status({**self._hub, "status": "offline", "reason": "stopped"})
        try:
            async with asyncio.timeout(timeout):
                if self.connected:
                    await self._told.wait()
        except TimeoutError:
            log.info("uplink %s did not take the last status in time", self.name)
        self._unsaved.spool_all()

    # ---- units ------------------------------------------------------------------------------------------------------

    async def hold(self) -> None:
        """Keep the client, for as long as the hub runs."""
        async with self._client:
            self.ready.set()
            await asyncio.Event().wait()

    async def run(self) -> None:
        """Call from time to time. Raises HubError when a call cannot be made: the next life begins with what is left."""
        await self.ready.wait()
        try:
            while True:
                self._attention.clear()
                if not self._told.is_set() or self._clock.now().mono >= self._look_at:
                    await self._state()
                await self._drain()
                if not self.connected:
                    log.info("uplink %s reaches %s", self.name, self.channel.place)
                    self.connected = self.proved = True  # each call is answered
                    self.last_error = ""
                    self.counters["connects"] += 1
                try:
                    async with asyncio.timeout(self._interval):
                        await self._attention.wait()
                    await asyncio.sleep(SOON)
                except TimeoutError:
                    continue
        except HubError as error:
            self.last_error = error.advice
            raise
        finally:
            self.connected = self.proved = False
            self._unsaved.spool_all()

    # ---- calls ------------------------------------------------------------------------------------------------------

    async def _state(self) -> None:
        """Tell what differs, and take the account's wishes on."""
        hub, before = self._hub, self._conversation.control

        def wanted(desired: JsonObject) -> StateChange:
            control, taken_back = self._conversation.wished(desired.get("control"))
            told: JsonObject = {"device": self._conversation.told(self.nrf.protocol), "control": control, "hub": hub}
            return StateChange(reported=told, desired={"control": dict(taken_back)} if taken_back else None)

        try:
            await self.nrf.settle(wanted)
        except RestError as error:
            if not is_untaken(error):
                raise
            self._untaken("the hub's state", error)  # told again with the next call; messages do not wait for it
            return
        self._look_at = self._clock.now().mono + self._interval
        if hub is self._hub:
            self._told.set()
        if self._conversation.control != before:
            self._control(self._conversation.control)

    def _control(self, control: Control) -> None:
        self._dialect.control = control
        for told in self.on_control:
            told(control)

    async def _drain(self) -> None:
        for lane in range(LANE_LOG + 1):
            while rows := await self._outbox.read_outbox(self.name, lane, self._after[lane], 0, CHUNK):
                await self._post(rows)
                self._after[lane] = rows[-1].id
                self._outbox.forget(self.name, [(lane, row.id) for row in rows], 0.0)
            if lane == LANE_STATE and self._live:
                await self._drain_live()

    async def _drain_live(self) -> None:
        """What is only in memory; not while older state is on its way to the disk."""
        if self._outbox.backlog(self.name, LANE_STATE):
            asyncio.get_running_loop().call_later(SPOOL, self._attention.set)
            return
        live = list(self._live.values())
        await self._post(live)
        for message in live:
            self._live.pop(message.id, None)
            if not self._unsaved.forget(message.id):  # it went to the disk meanwhile
                self._outbox.forget(self.name, [(LANE_STATE, message.id)], 0.0)

    async def _post(self, messages: list[Message]) -> None:
        """As few calls as the size allows. A call that was cut off is made again, and its messages have the same ids."""
        now = self._clock.now()
        bodies: list[Body] = []
        for message in messages:
            late = shift(message, now)
            found = self._dialect.bodies(message, self._outbox.message_id(message.id), late)
            bodies += found + self._dialect.alerts(message, late)
        for pack in packs(bodies, self.nrf.batch):
            await self._send(pack)
        self.counters["sent"] += len(messages)
        self.counters["acknowledged"] += len(messages)

    async def _send(self, pack: list[Body]) -> None:
        """What the cloud does not take is left out, so that it holds nothing up: a list is sent by halves to find it."""
        if len(pack) == 1 and len(encoded(pack[0])) > self.nrf.longest:
            self.counters["oversized"] += 1
            log.error(
                "a %s message of %s is too large and is dropped", pack[0]["appId"], pack[0].get("device", "the hub")
            )
            return
        try:
            await self.nrf.send_bulk(pack, again=True)
        except RestError as error:
            if not is_untaken(error):
                raise
            await self._refused(pack, error)

    async def _refused(self, pack: list[Body], error: RestError) -> None:
        if len(pack) > 1:
            middle = len(pack) // 2
            await self._send(pack[:middle])
            await self._send(pack[middle:])
        else:
            self._untaken(f"a message of {pack[0]['appId']}, which is dropped", error)

    def _untaken(self, what: str, error: RestError) -> None:
        self.counters["refused"] += 1
        log.error("nRF Cloud refuses %s: %s", what, error.advice)

    def _spool(self, messages: list[Message]) -> None:
        for message in messages:
            self._live.pop(message.id, None)
        self.counters["spooled"] += len(messages)
        self._outbox.spool(messages)


def packs(bodies: Iterable[Body], room: int) -> Iterator[list[Body]]:
    """Lists of at most `room` bytes as JSON, in order; what is longer comes alone."""
    pack: list[Body] = []
    size = _BRACKETS
    for body in bodies:
        more = len(encoded(body)) + _COMMA
        if pack and size + more > room:
            yield pack
            pack, size = [], _BRACKETS
        pack.append(body)
        size += more
    if pack:
        yield pack
