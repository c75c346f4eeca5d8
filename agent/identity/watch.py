"""Renews the hub's certificate in time, sees its trial through, and says how near its end is. One life is a unit of the daemon."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from agent.clock import Clock
from agent.errors import HubError
from agent.identity.certificates import CertificateTroubleError
from agent.identity.credentials import Credentials
from agent.identity.record import BY_HAND, ROUNDS, Record
from agent.identity.renewal import DUE, EXPIRED, FINE, LATE, URGENT, Age, age, dice_of, renew_at
from agent.identity.sources import Source, fetch

log = logging.getLogger(__name__)

LOOK = 3600.0  # seconds between two looks at the certificate's age
FIRST, LONGEST = 60.0, 3600.0  # seconds between two attempts at a new certificate
UNSET = 60.0  # seconds until a clock that was never set is looked at again
HAND = "`agent identity csr` makes a request, `agent identity install FILE` takes the certificate"

_UNKNOWN: dict[str, object] = {
    "slot": "",
    "thing": "",
    "certificateId": "",
    "source": "",
    "expires": 0.0,
    "proved": 0.0,
}
_UNKNOWN |= {"daysLeft": None, "state": "unknown", "rotation": ""}


@dataclass(eq=False)
class _Wish:
    """Somebody asks for a new certificate now."""

    source: Source | None  # None: it has arrived already
    reason: str
    turns: int  # of a candidate, until it is given up
    done: "asyncio.Future[None]"


class Watch:
    """`source()`: where certificates come from by themselves, None for nowhere; `named(name)`: any source.

    `reconnect()`: the uplink that leads connects anew. `on_state()`: its age is another matter than before.
    """

    def __init__(
        self,
        credentials: Credentials,
        clock: Clock,
        source: Callable[[], Source | None],
        named: Callable[[str], Source | None],
        reconnect: Callable[[], None],
        on_state: Callable[[], None] = lambda: None,
    ) -> None:
        self._credentials, self._slots, self._clock = credentials, credentials.slots, clock
        self._source, self._named, self._reconnect = source, named, reconnect
        self._on_state = on_state
        self._wishes: list[_Wish] = []
        self._attention = asyncio.Event()
        self._said = FINE
        self._pause = self._not_before = 0.0  # seconds, monotonic seconds: after a renewal that failed
        credentials.on_change.append(self._attention.set)

    async def renew(self, source: Source | None, reason: str, *, turns: int = ROUNDS) -> None:
        """A new certificate, proved and confirmed; at once when this `reason` has had its own. Raises HubError: it was refused, or given up."""
        wish = _Wish(source, reason, turns, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._attention.set()
        await wish.done

    def age(self) -> Age | None:
        """Of the current certificate; None without one, or while the time is not known."""
        record, now = self._slots.record, self._credentials.wall()
        if record.identity is None or now is None:
            return None
        return age(record.identity, record.offline, now)

    def status(self) -> dict[str, object]:
        """As `told`; a record that cannot be read is trouble to be shown, not the end of the status."""
        try:
            return told(self._slots.record, self.age())
        except CertificateTroubleError as error:
            return {**_UNKNOWN, "trouble": error.advice}

    async def live(self) -> None:
        """For as long as the hub runs; trouble of a key store or a source costs a pause."""
        while True:
            try:
                self._credentials.settle()
                self._slots.tidy()
                await self._see_through()
                self._say_age()
                wish = self._next()
                if wish is None:
                    await self._rest()
                else:
                    await self._try(wish)
            except HubError as error:
                self._pauses()
                log.warning("the hub's certificate: %s", error.advice)
                await asyncio.sleep(FIRST)

    async def _try(self, wish: _Wish) -> None:
        try:
            await self._grant(wish)
        except HubError as error:
            self._pauses()
            log.warning("no new certificate (%s): %s", wish.reason, error.advice)
            if not wish.done.done():
                wish.done.set_exception(error)
                wish.done.exception()  # nobody may be waiting
        else:
            self._pause = self._not_before = 0.0
            if not wish.done.done():
                wish.done.set_result(None)
        finally:
            if wish in self._wishes:
                self._wishes.remove(wish)

    def _pauses(self) -> None:
        self._pause = min(LONGEST, max(FIRST, 2 * self._pause))
        self._not_before = self._clock.now().mono + self._pause * random.uniform(0.5, 1.0)  # noqa: S311  spreads a fleet

    def _next(self) -> _Wish | None:
        """What is to be done now: what somebody asks for, or what time asks for."""
        if self._wishes:
            return self._wishes[0]
        record, stand = self._slots.record, self.age()
        source = self._source()
        if (
            source is None
            or record.current is None
            or record.identity is None
            or record.candidate
            or record.unconfirmed
        ):
            return None
        if self._clock.now().mono < self._not_before:
            return None
        held = record.identity.certificate_id
        begun = record.asked is not None and record.reason != BY_HAND
        lost = self._credentials.unusable == held and not self._slots.sound(record.current)
        if not begun and not lost and (stand is None or stand.state == FINE):
            return None
        reason = record.reason if begun else f"loss of {held}" if lost else f"age of {held}"
        return _Wish(source, reason, ROUNDS, asyncio.get_running_loop().create_future())

    async def _grant(self, wish: _Wish) -> None:
        record = self._slots.record
        if record.candidate is not None and record.reason != wish.reason:
            await self._tried(ROUNDS)
            record = self._slots.record
        if wish.source is not None and (record.reason != wish.reason or record.asked):
            if record.asked and record.reason != wish.reason:
                self._slots.forget_asked()
            await fetch(self._slots, wish.source, wish.reason, told=log.info)
        if self._slots.record.candidate is not None:
            self._reconnect()
        await self._tried(wish.turns)
        record = self._slots.record
        if record.reason != wish.reason:
            raise HubError(
                f"the new certificate was given up: {record.trouble}", remedy="see what the broker says of it"
            )
        if record.unconfirmed and wish.source is not None:
            await self._confirm(wish.source, record)

    async def _tried(self, turns: int) -> None:
        """Until no candidate waits for its trial: it is current, or has had so many turns."""
        while (record := self._slots.record).candidate is not None:
            if record.rounds >= turns:
                self._slots.change(lambda now: now.given_up(now.trouble))
                return
            await self._turn()

    async def _turn(self) -> None:
        """Until a connection was judged, or a candidate has its next turn."""
        if self._credentials.unjudged:
            await asyncio.sleep(FIRST)
            self._credentials.settle()
            return
        turn = self._credentials.next_turn()
        wait = None if turn is None else max(0.0, turn - self._clock.now().mono)
        self._attention.clear()
        try:
            async with asyncio.timeout(wait or None):
                await self._attention.wait()
        except TimeoutError:
            self._reconnect()

    async def _see_through(self) -> None:
        """What an earlier life, or an earlier run, has begun."""
        record = self._slots.record
        if self._wishes:
            return
        if record.candidate is not None:
            await self._turn()
        elif record.unconfirmed and self._clock.now().mono >= self._not_before:
            source = self._named(record.unconfirmed)
            if source is not None:
                await self._confirm(source, record)

    async def _confirm(self, source: Source, record: Record) -> None:
        previous = record.held.get(record.fallback) if record.fallback else None
        await source.confirm(previous)
        self._slots.change(Record.confirmed)

    async def _rest(self) -> None:
        """Until the certificate is due, somebody asks, or a look is due."""
        self._attention.clear()
        self._credentials.lived(self._credentials.leader)
        record, now = self._slots.record, self._credentials.wall()
        wait = UNSET if now is None else LOOK
        if self._credentials.unjudged:
            wait = min(wait, FIRST)
        if record.unconfirmed:
            wait = min(wait, max(1.0, self._not_before - self._clock.now().mono))
        if now is not None and record.identity is not None and self._source() is not None:
            due = renew_at(record.identity, record.offline, dice_of(record.identity))
            if self._credentials.unusable == record.identity.certificate_id:
                due = now
            wait = min(wait, max(1.0, due - now, self._not_before - self._clock.now().mono))
        try:
            async with asyncio.timeout(wait):
                await self._attention.wait()
        except TimeoutError:
            return

    def _say_age(self) -> None:
        """An alarm for each worse state, long before the end."""
        stand = self.age()
        state = FINE if stand is None else stand.state
        if stand is None or state == self._said:
            return
        self._said = state
        self._on_state()
        remedy = "it is tried again and again" if self._source() is not None else HAND
        if state == DUE and self._source() is None:
            log.warning("the hub's certificate ends in %.0f days and has no source; %s", stand.days_left, HAND)
        elif state in (LATE, URGENT):
            log.error("the hub's certificate ends in %.1f days and is not renewed yet; %s", stand.days_left, remedy)
        elif state == EXPIRED:
            log.critical("the hub's certificate has expired %.1f days ago; %s", -stand.days_left, remedy)


def told(record: Record, stand: Age | None) -> dict[str, object]:
    """For `agent status`: `{"slot", "expires" (s), "proved" (s), "daysLeft", "state", "next", "trouble"}`; empty without a certificate."""
    held = record.identity
    if held is None:
        return {}
    step = "candidate" if record.candidate else "asked" if record.asked else "kept" if record.fallback else ""
    return {
        "slot": record.current,
        "thing": held.thing,
        "certificateId": held.certificate_id,
        "source": held.source,
        "expires": held.expires,
        "proved": held.proved,
        "daysLeft": round(stand.days_left, 2) if stand else None,
        "state": stand.state if stand else "unknown",
        "rotation": step,
        "trouble": record.trouble,
    }
