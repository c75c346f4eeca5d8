"""One device while the driver runs: its channel, its observations and when they are renewed, and what is done with it."""

import asyncio
import logging
from typing import Protocol

from aiocoap.numbers.codes import GET, PUT, Code

from agent.driver import DeviceRefused, DeviceUnreachable, DriverError, NotSupported, Sink
from agent.model import Action, Availability, AvailabilityChanged, Device, DeviceId, JsonValue, Report
from drivers.coap.availability import Reachability, Schedule, renewal
from drivers.coap.book import Record
from drivers.coap.catalog import DeviceMap, Flip, Read, Write
from drivers.coap.catalog_tables import number
from drivers.coap.client import Answer, Client, Observation, Target, Unanswered
from drivers.coap.values import ContentError, Reading, decode, encode
from drivers.told import Values

log = logging.getLogger(__name__)

GRACE = 0.5  # seconds in which a device may tell a change by itself
IMPATIENT = 1.0  # seconds after which a command does not wait for a question of ours that is under way


class Owner(Protocol):
    """What a node needs of the session that it belongs to."""

    client: Client
    sink: Sink
    silence: float
    poll_interval: float

    def now(self) -> float: ...

    async def connect(self, record: Record) -> Target:
        """A new channel to a device, with its key. Raises DriverError."""


class Node:
    """A device that the hub knows. `keep` is its life: one task."""

    def __init__(self, identifier: DeviceId, record: Record, owner: Owner) -> None:
        self.id, self.record = identifier, record
        self.reach = Reachability()
        self._owner = owner
        self._client = owner.client
        self._target: Target | None = None
        self._connecting = asyncio.Lock()
        self._wake, self._back = asyncio.Event(), asyncio.Event()
        self._scope: asyncio.Timeout | None = None  # of the question under way
        self._since = 0.0
        self.take(record)

    def take(self, record: Record) -> None:
        """The device as an interview told it, at the start and anew."""
        for observation in getattr(self, "_observations", {}).values():
            observation.stop()
        self.record = record
        self.map = DeviceMap(record.device())
        self._observations = {w.path: Observation(w.path, w.accept) for w in self.map.watched}
        self._schedule = Schedule()
        for path in self._observations:
            self._schedule.set(path, self._owner.now())
        facts = record.facts
        self.description = Device(
            id=self.id,
            node_id=f"coap.{self.id.key}",
            endpoints=self.map.endpoints,
            manufacturer=facts.get("manufacturer", ""),
            model=facts.get("model", ""),
            firmware=facts.get("firmware", ""),
            address=str(record.address),
            unmapped=self.map.unmapped,
            secure=bool(record.protection),
        )
        self._wake.set()

    # ---- the channel --------------------------------------------------------------------------------------------------

    async def target(self) -> Target:
        """The open channel, opened when there is none. Raises DriverError."""
        async with self._connecting:
            if self._target is None or self._target.channel.closed:
                self._target = await self._owner.connect(self.record)
            return self._target

    def uses(self, target: Target) -> bool:
        return self._target is target

    def adopt(self, target: Target) -> None:
        """Go on with the channel of the interview."""
        self.drop()
        self._target = target

    def drop(self) -> None:
        """Close the channel; observations end with it."""
        for observation in self._observations.values():
            observation.stop()
        target, self._target = self._target, None
        if target is not None:
            self._client.broken(target.channel, ConnectionError("the connection was given up"))
            target.channel.close()

    # ---- its life -----------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Observe everything, renew what falls silent, try again what does not answer. Ends by cancellation."""
        while True:
            path = self._schedule.due(self._owner.now())
            if path is None:
                await self._until(self._schedule.next(), self._wake)
                continue
            try:
                await self._look(path)
            except (NotSupported, DeviceRefused, Unanswered) as error:
                log.info("%s%s: %s", self.id, path, error.advice)
                self._schedule.set(path, self._owner.now() + self._owner.poll_interval)
            except DriverError as error:
                log.info("%s: %s", self.id, error.advice)
                self._schedule.set(path, self._owner.now())
                await self._away()

    async def _until(self, when: float | None, event: asyncio.Event) -> None:
        event.clear()
        try:
            async with asyncio.timeout(None if when is None else max(0.0, when - self._owner.now())):
                await event.wait()
        except TimeoutError:
            return

    async def _look(self, path: str) -> None:
        """Observe or renew one resource. A command that does not want to wait ends this; then it comes again."""
        observation = self._observations[path]
        try:
            async with asyncio.timeout(None) as scope:
                self._scope, self._since = scope, self._owner.now()
                target = await self.target()
                answer = await self._client.observe(target, observation, lambda a: self._told(observation, a))
        except TimeoutError:
            self._schedule.set(path, self._owner.now() + IMPATIENT)
            return
        finally:
            self._scope = None
        if self._observations.get(path) is observation:
            self._told(observation, answer, asked=True)

    def _told(self, observation: Observation, answer: Answer, *, asked: bool = False) -> None:
        path, now = observation.path, self._owner.now()
        if not answer.observed and not asked:  # the device has ended it, or has more to say than one datagram holds
            self._schedule.set(path, now)
            self._wake.set()
            return
        self.heard()
        later = (
            renewal(now, answer.max_age, self._owner.silence) if answer.observed else now + self._owner.poll_interval
        )
        self._schedule.set(path, later)
        self._report(path, answer)

    def _report(self, path: str, answer: Answer) -> tuple[Values, ...]:
        try:
            found = self.map.report(path, decode(answer.payload, answer.content_format))
        except (ContentError, ValueError) as error:
            log.info("%s%s is nonsense: %s", self.id, path, error)
            return ()
        for told in found:
            self._owner.sink(Report(self.id, told.endpoint, told.capability, told.properties))
        return found

    def heard(self) -> None:
        """A message of the device came in."""
        away = self.reach.missed > 0
        if self.reach.heard():
            self._owner.sink(AvailabilityChanged(self.id, Availability.ONLINE))
        if away:
            self._schedule.all_at(self._owner.now())  # its observations went with the channel
            self._back.set()
            self._wake.set()

    async def _away(self) -> None:
        """It did not answer: everything waits, longer each time, until it does or until something else reaches it."""
        self.missed()
        when = self._owner.now() + self.reach.pause()
        self._schedule.all_at(when)
        await self._until(when, self._back)

    def missed(self) -> None:
        if self.reach.unanswered():
            self._owner.sink(AvailabilityChanged(self.id, Availability.OFFLINE))
        self.drop()

    # ---- what is asked of it --------------------------------------------------------------------------------------------

    async def perform(self, action: Action) -> dict[str, JsonValue]:
        """Carry out one action; the values that it answered. Raises DriverError."""
        values: dict[str, JsonValue] = {}
        steps = self.map.translate(action)
        self._hurry()
        try:
            for step in steps:
                if isinstance(step, Read):
                    values.update(await self._read(step, action))
                elif isinstance(step, Write):
                    await self._write(step)
                else:
                    await self._flip(step)
        except Unanswered:
            raise
        except DeviceUnreachable:
            self.missed()
            self._schedule.all_at(self._owner.now() + self.reach.pause())
            self._wake.set()
            raise
        return values

    def _hurry(self) -> None:
        """One message at a time is under way to a device (RFC 7252, 4.7): a command does not stand behind a question that nobody answers."""
        now = self._owner.now()
        if self._scope is not None and now - self._since > IMPATIENT and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def ask(
        self, code: Code, path: str, *, accept: int | None = None, body: tuple[bytes, int] | None = None
    ) -> Answer:
        """One request. Raises as `Client.ask`.

        A DTLS session of which the device knows nothing any more (it has restarted) looks like silence: then once more in a new one. What is
        written is a value and no step, so twice is as good as once.
        """
        used = self._target is not None
        target = await self.target()
        try:
            answer = await self._client.ask(target, code, path, accept=accept, body=body)
        except Unanswered:
            raise
        except DeviceUnreachable:
            if not used or target.channel.scheme != "coaps":
                raise
            self.drop()
            self._schedule.all_at(self._owner.now())
            answer = await self._client.ask(await self.target(), code, path, accept=accept, body=body)
        self.heard()
        return answer

    async def _read(self, step: Read, action: Action) -> dict[str, JsonValue]:
        answer = await self.ask(GET, step.path, accept=step.accept)
        wanted = action.parameters.get("propertiesToRead") or ["*"]
        return {
            name: value
            for told in self._report(step.path, answer)
            if (told.endpoint, told.capability) == (action.endpoint, action.capability)
            for name, value in told.properties.items()
            if "*" in wanted or name in wanted
        }

    async def _write(self, step: Write) -> None:
        body = encode(step.value, step.content_format), step.content_format
        await self.ask(PUT, step.path, body=body)
        self._confirm(step.path)

    async def _flip(self, step: Flip) -> None:
        answer = await self.ask(GET, step.path)
        try:
            found = [r.value for r in decode(answer.payload, answer.content_format) if isinstance(r, Reading)]
            on = bool(number(found[0]))
        except (ContentError, ValueError, IndexError):
            raise DeviceRefused(f"{step.path} is neither on nor off: it cannot be toggled") from None
        await self._write(Write(step.path, not on, step.content_format))

    def _confirm(self, path: str) -> None:
        """Nothing is believed because it was asked for: what the device does not tell by itself is read back."""
        for watched in self._observations:
            if path == watched or path.startswith(f"{watched}/"):
                self._schedule.set(watched, self._owner.now() + GRACE)
        self._wake.set()

    async def refresh(self) -> None:
        """Read everything anew. Raises DeviceUnreachable when the device does not answer at all."""
        self._hurry()
        for watched in self.map.watched:
            try:
                answer = await self.ask(GET, watched.path, accept=watched.accept)
            except (NotSupported, DeviceRefused, Unanswered) as error:
                log.info("%s%s: %s", self.id, watched.path, error)
                continue
            except DeviceUnreachable:
                self.missed()
                self._schedule.all_at(self._owner.now() + self.reach.pause())
                raise
            self._report(watched.path, answer)

    async def release(self) -> None:
        """End all observations at the device. Raises DriverError when it does not answer."""
        target = await self.target()
        for observation in self._observations.values():
            await self._client.forget(target, observation)
