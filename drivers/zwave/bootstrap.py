"""Giving a node its keys: the exchange of S2 and of S0 on the air. What is said and when is in `drivers.zwave.security.kex`.

A node that fails here must not stay in the network as if it were secure: `BootstrapError` says why, whoever includes removes it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from agent.driver import DeviceUnreachable, DriverError
from drivers.zwave.codec import Command, make
from drivers.zwave.messages import Messages, Received
from drivers.zwave.security import kex
from drivers.zwave.security.ckdf import Keys
from drivers.zwave.security.classes import AUTHENTICATED, KEY_SIZE, SecurityClass
from drivers.zwave.transmit import Urgency

log = logging.getLogger(__name__)

PRIVATE_KEY = 32
S0_TIMEOUT = 10.0  # seconds for each step (SDS13783, Security 0)
S0_SCHEME = 0x00


class BootstrapError(DriverError):
    """The node got no keys, or not those that the policy wants; the text says why."""

    code = 502


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is known of a device before it joins. `dsk`: all of it, from a QR code; `pin`: its first two bytes, as its owner typed them.

    `allowed` limits what it may be granted; `attended`: somebody can be asked for the PIN.
    """

    dsk: bytes | None = None
    pin: bytes | None = field(default=None, repr=False)
    allowed: frozenset[SecurityClass] = frozenset(SecurityClass) - {SecurityClass.TEMPORARY}
    attended: bool = False

    @property
    def authentic(self) -> bool:
        """Classes that need the DSK may be granted."""
        return self.attended or self.of_one_device

    @property
    def of_one_device(self) -> bool:
        """They let no other device in."""
        return self.dsk is not None or self.pin is not None

    def grant(self, requested: Iterable[SecurityClass]) -> tuple[SecurityClass, ...]:
        """What is granted of what was asked for. S0 is no part of an S2 exchange here: what a node has in S2 it needs in nothing else."""
        return tuple(
            one
            for one in requested
            if one in self.allowed and one is not SecurityClass.S0 and (self.authentic or not one.bit & AUTHENTICATED)
        )


class Attendant(Protocol):
    """Who sees a device join, and can be asked."""

    def negotiated(self, requested: tuple[SecurityClass, ...], granted: tuple[SecurityClass, ...]) -> None:
        """What the device asks for, and what of it it may have."""

    def ask_pin(self, dsk: bytes, answered: Callable[[bytes | None], None]) -> None:
        """Ask for the first two bytes of a DSK; `answered` takes them, or None where there is no answer."""


@dataclass(frozen=True, slots=True)
class _Pin:
    """What a person answered."""

    pin: bytes | None = field(repr=False)


@dataclass(slots=True)
class _Exchange:
    """One S2 exchange: the pure machine, and what came for it."""

    messages: Messages
    node: int
    machine: kex.Includer
    credentials: Credentials
    attendant: Attendant | None
    arrived: asyncio.Queue[tuple[bytes, SecurityClass | None] | _Pin | None] = field(default_factory=asyncio.Queue)
    granted: list[SecurityClass] = field(default_factory=list)
    refusal: str = ""  # why nothing was granted

    async def run(self) -> kex.Finished:
        secured, loop = self.messages.secured, asyncio.get_running_loop()
        self.messages.exchanges[self.node] = lambda data, security: self.arrived.put_nowait((data, security))
        secured.unreadable[self.node] = lambda: self.arrived.put_nowait(None)
        secured.deaf[self.node] = []
        try:
            effects = self.machine.start(loop.time())
            while True:
                ended = await self._perform(effects)
                if ended is not None:
                    return ended
                effects = await self._next()
        except BaseException:
            await self._cancel()
            raise
        finally:
            del self.messages.exchanges[self.node]
            secured.unreadable.pop(self.node, None)
            secured.deaf.pop(self.node, None)
            secured.s2.set_temporary(self.node, None)

    async def _next(self) -> list[kex.Effect]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(self.machine.deadline):
                came = await self.arrived.get()
        except TimeoutError:
            return self.machine.tick(max(loop.time(), self.machine.deadline or 0.0))
        if came is None:
            return self.machine.undecryptable()
        if isinstance(came, _Pin):
            return self._pin(came.pin)
        return self.machine.receive(*came, loop.time())

    async def _perform(self, effects: list[kex.Effect]) -> kex.Finished | None:
        secured = self.messages.secured
        todo = list(effects)
        while todo:
            match todo.pop(0):
                case kex.Send(data, security):
                    await self._send(data, security)
                case kex.AskGrant(requested):
                    todo += self._grant(requested)
                case kex.AskPin(dsk):
                    if self.credentials.pin is not None or self.attendant is None:
                        todo += self._pin(self.credentials.pin)
                    else:  # meanwhile the device may give up
                        self.attendant.ask_pin(dsk, lambda pin: self.arrived.put_nowait(_Pin(pin)))
                case kex.UseTemporary(keys):
                    self._use_temporary(keys)
                case kex.UseKey(security_class, _):
                    self.granted.append(security_class)
                    secured.s2.grant(self.node, self.granted)
                case kex.Finished() as finished:
                    return finished
                case kex.Failed(_, by_peer, reason):
                    raise BootstrapError(self.refusal or (f"the device gave up: {reason}" if by_peer else reason))
        return None

    def _grant(self, requested: tuple[SecurityClass, ...]) -> list[kex.Effect]:
        granted = self.credentials.grant(requested)
        if not granted:
            names = ", ".join(one.title for one in requested)
            self.refusal = f"the device wants {names}: give its PIN, DSK or QR code"
        elif self.attendant is not None:
            self.attendant.negotiated(requested, granted)
        return self.machine.grant(granted, asyncio.get_running_loop().time())

    def _use_temporary(self, keys: Keys) -> None:
        """What the node said while its PIN was looked for can be read now."""
        secured = self.messages.secured
        secured.s2.set_temporary(self.node, keys)
        for missed in secured.deaf.pop(self.node, ()):
            self.messages.receive(self.node, missed)

    def _pin(self, pin: bytes | None) -> list[kex.Effect]:
        if pin is not None:
            return self.machine.pin(pin, asyncio.get_running_loop().time())
        self.refusal = "nobody gave the device's PIN"
        return self.machine.cancel()

    async def _send(self, data: bytes, security: SecurityClass | None) -> None:
        try:
            await self.messages.secured.send(self.node, data, security, Urgency.USER)
        except DeviceUnreachable as error:  # the machine's own timer ends the step, the peer may have heard it
            log.info("key exchange with node %d: %s", self.node, error)

    async def _cancel(self) -> None:
        for effect in self.machine.cancel():
            if isinstance(effect, kex.Send):
                await self._send(effect.data, effect.security)


async def bootstrap_s2(
    messages: Messages,
    node: int,
    credentials: Credentials,
    *,
    long_range: bool = False,
    attendant: Attendant | None = None,
) -> kex.Finished:
    """Give a node its S2 keys. Raises BootstrapError, StickJammed, DriverLost."""
    secured = messages.secured
    secured.forget(node)
    machine = kex.Includer(secured.entropy(PRIVATE_KEY), long_range, keys=secured.keys, dsk=credentials.dsk)
    finished = await _Exchange(messages, node, machine, credentials, attendant).run()
    if not finished.granted:
        raise BootstrapError("the device took no key")
    secured.s2.drop_span(node)
    secured.grant(node, finished.granted)
    return finished


async def bootstrap_s0(messages: Messages, node: int) -> None:
    """Give a node the S0 key, which travels under a key that everybody knows: by policy only.

    Raises BootstrapError, StickJammed, DriverLost.
    """
    secured = messages.secured
    secured.forget(node)
    key = secured.keys[SecurityClass.S0]
    assert len(key) == KEY_SIZE  # noqa: S101  a key of another size is a bug of the key store

    def verified(received: Received) -> bool:
        command = received.command
        return (
            received.node == node
            and isinstance(command, Command)
            and command.name == "Security 0 Network Key Verify"
            and received.security is SecurityClass.S0
        )

    try:
        scheme = make("Security 0 Scheme Get", schemes=S0_SCHEME)
        await messages.ask(node, scheme, "Security 0 Scheme Report", urgency=Urgency.USER, timeout=S0_TIMEOUT)
        with messages.expecting(verified) as waiter:
            await secured.send_temporary_s0(node, make("Security 0 Network Key Set", key=key))
            async with asyncio.timeout(S0_TIMEOUT):
                await waiter.found
    except DeviceUnreachable as error:
        raise BootstrapError(f"S0: {error}") from error
    except TimeoutError:
        raise BootstrapError("S0: the device did not verify its key") from None
