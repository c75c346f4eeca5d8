"""Both security classes on the air: nonces are fetched and given, what is sealed is sent, what comes is opened.

The cryptography is in `drivers.zwave.security`. A nonce that is asked for is answered before anything else; a peer that could not read our
last message says so with a Nonce Report, and gets it once more.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from agent.driver import DeviceUnreachable
from drivers.zwave.codec import make
from drivers.zwave.layout import LayoutError
from drivers.zwave.security.classes import Entropy, SecurityClass, SecurityError
from drivers.zwave.security.s0 import ENCAPSULATION_NONCE_GET, S0Keys, Security0
from drivers.zwave.security.s2 import NoSpanError, Opened, Security2
from drivers.zwave.segments import TRANSPORT_SERVICE, Segments
from drivers.zwave.transmit import Sent, Spawn, Transmitter, Urgency

log = logging.getLogger(__name__)

S0, S2 = 0x98, 0x9F
NONCE_TIMEOUT = 5.0  # seconds
MISSED = 32  # messages of a node in a key exchange: it repeats one every 10 s, and people have 240 s
REPEAT_WITHIN = 5.0  # seconds in which a peer may say that it could not read our last message

Unsealed = tuple[bytes, SecurityClass | None]


@dataclass(slots=True)
class _Last:
    payload: bytes
    security: SecurityClass
    until: float


class Secured:
    """What one stick sends and receives, with and without security."""

    def __init__(
        self,
        radio: Transmitter,
        keys: Mapping[SecurityClass, bytes],
        entropy: Entropy,
        spawn: Spawn,
    ) -> None:
        facts = radio.controller.facts
        self.radio = radio
        self.segments = Segments(radio, spawn)
        self.keys = keys
        self.entropy = entropy
        self.s2 = Security2(facts.node, facts.home_id.to_bytes(4, "big"), entropy)
        for security, key in keys.items():
            if security is not SecurityClass.S0:
                self.s2.add_key(security, key)
        self._s0 = Security0(facts.node, S0Keys.of(keys[SecurityClass.S0]), entropy)
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._nonces: dict[tuple[int, int], asyncio.Future[bytes]] = {}  # node and class -> what is waited for
        self._last: dict[int, _Last] = {}
        self._temporary: dict[int, Security0] = {}
        self.unreadable: dict[int, Callable[[], None]] = {}  # nodes whose unreadable S2 messages somebody must hear of
        self.illegible: dict[int, Callable[[], None]] = {}  # nodes that did not read a message again: they lack its key
        self.groups: dict[int, int] = {}  # node -> the multicast group that it was spoken to in last
        # Nodes in a key exchange before its temporary keys, and what they said under them.
        self.deaf: dict[int, list[bytes]] = {}
        self.figures: defaultdict[str, int] = defaultdict(int)

    def grant(self, node: int, granted: tuple[SecurityClass, ...]) -> None:
        """What a node may speak with."""
        self.s2.grant(node, (one for one in granted if one is not SecurityClass.S0))

    def forget(self, node: int) -> None:
        self.s2.forget(node)
        self._s0.forget(node)
        self._temporary.pop(node, None)
        self._last.pop(node, None)

    # ---- out --------------------------------------------------------------------------------------------------------

    async def send(
        self,
        node: int,
        payload: bytes,
        security: SecurityClass | None,
        urgency: Urgency = Urgency.NORMAL,
        group: int | None = None,
    ) -> Sent:
        """Send one command; it follows up a multicast to `group`.

        Raises Undelivered and DeviceUnreachable (no nonce came), StickJammed, DriverLost.
        """
        if security is None:
            return await self.segments.send(node, payload, urgency)
        async with self._locks[node]:
            if security is SecurityClass.S0:
                return await self._send_s0(self._s0, node, payload, urgency)
            sent = await self._send_s2(node, payload, security, urgency, group)
            self._last[node] = _Last(payload, security, self._loop.time() + REPEAT_WITHIN)
            return sent

    async def send_temporary_s0(self, node: int, payload: bytes) -> Sent:
        """Send with the key of all zeros: only the network key travels so (SDS13783, "Network Key Set")."""
        temporary = Security0(self._s0.own, S0Keys.of(bytes(16)), self.entropy)
        async with self._locks[node]:
            return await self._send_s0(temporary, node, payload, Urgency.USER)

    async def _send_s0(self, s0: Security0, node: int, payload: bytes, urgency: Urgency) -> Sent:
        sent = Sent()
        nonce: bytes | None = None
        parts = s0.split(node, payload, self.radio.controller.facts.max_payload)
        for part in parts:
            if nonce is None:
                nonce = await self._nonce(node, S0, make("Security 0 Nonce Get"), urgency)
            sealed = s0.seal(node, part, nonce)
            if part.command == ENCAPSULATION_NONCE_GET:
                nonce = await self._nonce(node, S0, sealed, urgency)
            else:
                sent = await self.radio.send(node, sealed, urgency=urgency)
        return sent

    async def _send_s2(
        self, node: int, payload: bytes, security: SecurityClass, urgency: Urgency, group: int | None = None
    ) -> Sent:
        for _ in range(2):
            try:
                sealed = self.s2.seal(node, payload, self._loop.time(), security, group)
            except NoSpanError:
                await self._nonce(node, S2, self.s2.nonce_get(node), urgency)
                continue
            except SecurityError as error:
                raise DeviceUnreachable(f"node {node}: {error}") from error
            return await self.segments.send(node, sealed, urgency)
        raise DeviceUnreachable(f"node {node}: its nonce is gone before it could be used")

    async def _nonce(self, node: int, security: int, request: bytes, urgency: Urgency) -> bytes:
        waiting: asyncio.Future[bytes] = self._loop.create_future()
        self._nonces[node, security] = waiting
        try:
            await self.radio.send(node, request, urgency=urgency)
            async with asyncio.timeout(NONCE_TIMEOUT):
                return await waiting
        except TimeoutError:
            raise DeviceUnreachable(f"node {node} gave no nonce") from None
        finally:
            self._nonces.pop((node, security), None)

    def _answer(self, node: int, data: bytes, what: str) -> None:
        self._spawn(self._send_answer(node, data), what)

    async def _send_answer(self, node: int, data: bytes) -> None:
        with suppress(DeviceUnreachable):  # it asks again
            await self.radio.send(node, data, urgency=Urgency.NONCE)

    async def _repeat(self, node: int, last: _Last) -> None:
        async with self._locks[node]:
            self.figures["s2_repeated"] += 1
            with suppress(DeviceUnreachable):
                await self._send_s2(node, last.payload, last.security, Urgency.USER)

    # ---- in ---------------------------------------------------------------------------------------------------------

    def receive(self, node: int, data: bytes) -> Unsealed | None:
        """The command inside `data` and the class that it came with; None where there is none, or not yet. Never raises."""
        if data[:1] == bytes((TRANSPORT_SERVICE,)):
            self.segments.receive(node, data)
            return None
        try:
            match data[:1], data[1:2]:
                case b"\x9f", _ if len(data) > 1:
                    return self._receive_s2(node, data)
                case b"\x98", _ if len(data) > 1:
                    return self._receive_s0(node, data)
        except (SecurityError, LayoutError) as error:
            self.figures["refused"] += 1
            log.debug("node %d: %s", node, error)
            return None
        return data, None

    def _receive_s2(self, node: int, data: bytes) -> Unsealed | None:
        match data[1]:
            case 0x01:  # Nonce Get
                self._answer(node, self.s2.receive_nonce_get(node, data), "S2 nonce")
            case 0x02:  # Nonce Report
                report = self.s2.receive_nonce_report(node, data)
                if report.sos:
                    self._on_s2_nonce(node)
                if report.mos:
                    self._tell_group(node)
            case 0x03:  # Message Encapsulation
                return self._open_s2(node, data)
            case _:
                return data, None
        return None

    def _open_s2(self, node: int, data: bytes) -> Unsealed | None:
        if node in self.deaf:
            if len(self.deaf[node]) < MISSED:
                self.deaf[node].append(data)
            return None
        opened = self.s2.open(node, data, self._loop.time())
        if isinstance(opened, Opened):
            self._last.pop(node, None)
            if opened.out_of_sync:
                self._tell_group(node)
            return (opened.payload, opened.security_class) if opened.payload else None
        self.figures["s2_resyncs"] += 1
        if opened.fresh:  # else it goes on from a message that came before its keys could be known
            self.unreadable.get(node, _nothing)()
        self._answer(node, opened.answer, "S2 resynchronisation")
        return None

    def _tell_group(self, node: int) -> None:
        """The node could not read the last multicast to it: it gets the state of that group."""
        if node in self.groups:
            self._spawn(self._send_group(node, self.groups[node]), "S2 multicast state")

    async def _send_group(self, node: int, group: int) -> None:
        async with self._locks[node]:
            with suppress(NoSpanError, DeviceUnreachable):  # the next multicast asks for it again
                await self.segments.send(node, self.s2.seal(node, b"", self._loop.time(), mpan=group), Urgency.NORMAL)

    def _on_s2_nonce(self, node: int) -> None:
        waiting = self._nonces.get((node, S2))
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(b"")
            return
        last = self._last.pop(node, None)
        if last is not None and self._loop.time() < last.until:
            self._spawn(self._repeat(node, last), "S2 repetition")
        elif last is None:  # it was repeated already; one that comes late says nothing of the key
            self.illegible.get(node, _nothing)()

    def _receive_s0(self, node: int, data: bytes) -> Unsealed | None:
        now = self._loop.time()
        match data[1]:
            case 0x40:  # Nonce Get
                self._answer(node, self._s0.nonce_report(node, now), "S0 nonce")
            case 0x80:  # Nonce Report
                waiting = self._nonces.get((node, S0))
                if waiting is not None and not waiting.done():
                    waiting.set_result(data[2:])
            case 0x81 | 0xC1:  # Message Encapsulation, the second asks for the next nonce
                payload = self._s0.open(node, data, now)
                if data[1] == ENCAPSULATION_NONCE_GET:
                    self._answer(node, self._s0.nonce_report(node, now), "S0 nonce")
                if payload:
                    return payload, SecurityClass.S0
            case _:
                return data, None
        return None


def _nothing() -> None:
    pass
