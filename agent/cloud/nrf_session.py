"""Carries out what agent.cloud.nrf_pairing decides, on the connections of one uplink."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from agent.cloud.channel import Channel
from agent.cloud.dialect import MalformedMessage
from agent.cloud.mqtt import Inbound, Leaves, MqttConnection, MqttLost
from agent.cloud.nrf import NrfCloud, is_disconnect
from agent.cloud.nrf_pairing import (
    Control,
    Conversation,
    Leave,
    Pairing,
    Phase,
    Ready,
    Say,
    SetControl,
    Step,
    Subscribe,
    Wait,
)

log = logging.getLogger(__name__)

ANSWER = 30.0  # seconds for the cloud to say whose the device is
EARLY = 1000  # messages that wait for the pairing; a broker sends no more than its own window without acknowledgement
REMOVED = "nRF Cloud has removed this device from its account"
_NO_ANSWER = "nRF Cloud does not say whose this device is"


class NrfSession:
    """An agent.cloud.opening.Opening. `on_control` hears what the account sets, `on_paired` the topics of each connection that is open.

    `taps` hear every message first; True: it was for them alone.
    """

    def __init__(self, dialect: NrfCloud, conversation: Conversation, channel: Channel) -> None:
        self._dialect, self._conversation, self._channel = dialect, conversation, channel
        self.fresh = False
        self.counters: Counter[str] = Counter()  # the link's, once there is one
        self.leave: Callable[[MqttLost], None] = _nobody
        self.on_control: list[Callable[[Control], None]] = []
        self.on_paired: list[Callable[[Pairing], None]] = []
        self.taps: list[Callable[[Inbound], bool]] = []
        self._steps: asyncio.Queue[Step | MqttLost] = asyncio.Queue()
        self._early: list[Inbound] = []
        self._connection: MqttConnection | None = None

    # ---- Opening ----------------------------------------------------------------------------------------------------

    async def open(self, connection: MqttConnection, waits: Callable[[str], None]) -> None:
        """See Opening."""
        steps: asyncio.Queue[Step | MqttLost] = asyncio.Queue()
        self._steps, self._early, self._connection = steps, [], None
        self._dialect.pairing = None
        connection.closed.add_done_callback(
            lambda closed: steps.put_nowait(MqttLost(f"connection lost: {closed.result()}", place=self._channel.place))
        )
        self._take(self._conversation.begin())
        while not isinstance(step := await self._next(), Ready):
            match step:
                case Subscribe():
                    await connection.subscribe(step.topics)
                case Wait():
                    log.warning("uplink at %s waits: %s", self._channel.place, step.reason)
                    waits(step.reason)
                case _:
                    self._do(connection, step)
        self.fresh, self._connection = False, connection
        self._dialect.pairing = step.pairing
        for told in self.on_paired:
            told(step.pairing)

    def hear(self, inbound: Inbound) -> bool:
        """See Opening."""
        if inbound.topic in self._conversation.topics:
            inbound.acknowledge()
            if not self._tapped(inbound):
                self._told(inbound)
            return True
        if is_disconnect(inbound.payload):
            inbound.acknowledge()
            self._take([Leave(REMOVED, forget=True)])
            return True
        if self._connection is None:
            if len(self._early) < EARLY:
                self._early.append(inbound)
            return True
        if self._tapped(inbound):
            inbound.acknowledge()
            return True
        return False

    def _tapped(self, inbound: Inbound) -> bool:
        return any(tap(inbound) for tap in self.taps)

    def held(self) -> list[Inbound]:
        """See Opening."""
        early, self._early = self._early, []
        return early

    def abandon(self, error: MqttLost) -> None:
        """See Opening."""
        self._steps.put_nowait(error)

    # ---- steps ------------------------------------------------------------------------------------------------------

    def _told(self, inbound: Inbound) -> None:
        try:
            steps = self._conversation.heard(inbound.topic, inbound.payload)
        except MalformedMessage as error:
            self.counters["malformed"] += 1
            log.warning("message of the cloud refused: %s", error)
        else:
            self._take(steps)

    def _take(self, steps: list[Step]) -> None:
        """In their order: while a connection is being opened by `open`, later at once."""
        for step in steps:
            if self._connection is None:
                self._steps.put_nowait(step)
            elif not self._connection.closed.done():
                try:
                    self._do(self._connection, step)
                except MqttLost as error:
                    self.leave(error)

    async def _next(self) -> Step:
        """Raises MqttLost."""
        patience = ANSWER if self._conversation.phase is Phase.ASKING else None
        try:
            async with asyncio.timeout(patience):
                step = await self._steps.get()
        except TimeoutError:
            remedy = "see that the device's policy allows its shadow topics"
            raise MqttLost(_NO_ANSWER, place=self._channel.place, remedy=remedy) from None
        if isinstance(step, MqttLost):
            raise step
        return step

    def _do(self, connection: MqttConnection, step: Step) -> None:
        """Raises MqttLost."""
        match step:
            case Say():
                connection.publish(step.publication)
            case SetControl():
                self._dialect.control = step.control
                for told in self.on_control:
                    told(step.control)
            case Leave():
                raise self._left(step)

    def _left(self, step: Leave) -> MqttLost:
        self.fresh = self.fresh or step.forget
        if step.anew:
            return Leaves(step.reason, place=self._channel.place)
        remedy = "onboard it again: `agent onboard nrf-device --self`" if step.forget else ""
        return MqttLost(step.reason, place=self._channel.place, remedy=remedy)


def _nobody(_error: MqttLost) -> None:
    """No link is there yet."""
